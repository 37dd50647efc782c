"""`tfgen-score`: the likelihood of images of the user's own, beside that of test images."""

import contextlib
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgen import __version__, figures
from tfgen.errors import TfgenError, UsageError
from tfgen.evaluation.job import check_data_set
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays
from tfgen.settings.fields import option
from tfgen.system.atomic import write_arrays, write_bytes
from tfgen.system.status import note, status
from tfgen.system.terminal import count_noun

from ._command import check_folder, command
from ._data_sets import DataSetOptions, open_data_set
from ._images import ImageOptions, OwnImages, compute, evaluate_files, evaluate_images
from ._samplers import csv_bytes, write_pairs

if TYPE_CHECKING:
    from tfgen.data import Dataset

# Maximum number of images in the table at the terminal.
MAX_ROWS = 20
# Images above this percentile get a warning.
_TOO_TYPICAL = 99.9

# The columns at the terminal: the heading and the text of a value.
_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "log_prob": ("nats", "{:.2f}".format),
    "bits_per_dim": ("bits/dim", "{:.3f}".format),
    "percentile": ("more typical than", lambda p: {0: "none", 100: "all"}.get(p, f"{p:.1f} %")),
    "unusual": ("unusual", lambda is_unusual: "yes" if is_unusual else ""),
    "distance": ("distance", "{:.2f}".format),
}
# The columns of a CSV file, and those of them with another name than the array.
_CSV = ("names", *_COLUMNS, "seeds", "labels")
_CSV_NAMES = {"names": "image", "log_prob": "nats", "seeds": "seed", "labels": "label"}


@dataclass(frozen=True)
class ScoreOptions(ImageOptions, DataSetOptions):
    """The arguments of `tfgen-score`."""

    # Fewer than elsewhere: log p(x) takes long, and progress is by batches.
    batch_size: int = option(50, "images computed at once", minimum=1)
    out: Path | None = option(None, "file to write the scores of all images to, .csv or .npz")
    test_images: int = option(
        1000, "maximum number of test images to compare with; 0 disables the comparison", minimum=0
    )
    against: Path | None = option(
        None, "images to compare with in place of test images; also writes NAME-histogram.png"
    )
    false_alarms: float | None = option(
        None,
        "mark images whose log p(x) is below this quantile of those compared with, such as 0.01",
        above=0,
        maximum=1,
    )
    nearest: bool = option(False, "write also the nearest training images, NAME-nearest.png")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.false_alarms and not (self.test_images or self.against):
            raise UsageError("--false-alarms and --test-images 0 exclude each other")


@command("tfgen-score", ScoreOptions)
def main(options: ScoreOptions) -> None:
    """Compute the log-likelihood of images under a model, in nats and in bits/dim.

    The most unusual image comes first. The values are compared with those of test images or of
    other images.
    """
    from tfgen.data.pictures import find_files

    reference_files = [] if options.against is None else find_files([options.against])
    if options.against or options.nearest:
        check_folder(Path())
    own = evaluate_images(options, "log_prob", options.out, (".csv", ".npz"))
    names, images = np.array(own.collection.names), own.collection.images
    arrays = {"names": names, "images": images, **own.outputs, **own.inputs}
    # A flow may overflow far from the data.
    order = np.argsort(np.nan_to_num(arrays["log_prob"], nan=-np.inf), kind="stable")
    dataset, notes = find_data_set(own.sampler, options)
    if options.against is not None:
        reference = evaluate_files(options, own.sampler, "log_prob", reference_files)
        own.lines.extend(reference.lines)
        scores = reference.outputs["log_prob"]
        words = f"{count_noun(len(scores), 'image')} of {options.against}"
        notes += [*compare(arrays, scores, words, options), write_histogram(own, scores, words)]
    elif dataset is not None and options.test_images:
        scores = test_scores(own.sampler, dataset, options)
        words = f"{count_noun(len(scores), 'test image')} of {dataset.name}"
        notes += compare(arrays, scores, words, options)
    if options.nearest and dataset is not None:
        notes.append(write_nearest(own, arrays, order, dataset))
    lines = [*table_lines(arrays, order), likelihood_line(own.sampler), *notes, *own.lines]
    if options.out is not None:
        write(options.out, arrays, order)
        lines.append(f"written to {options.out}")
    print("\n".join(lines))


# --- what scores are compared with ------------------------------------------------------


def find_data_set(
    sampler: SignatureSampler, options: ScoreOptions
) -> tuple["Dataset | None", list[str]]:
    """The data set, if it is needed and known, and a line that says why there is none.

    Raises:
        UsageError: the data set of a flag cannot be loaded, or does not suit the model.
    """
    if not options.nearest and (options.against or not options.test_images):
        return None, []
    try:
        with status("loading the data set"):
            dataset = open_data_set(options, sampler.training, sampler.title)
        shape = sampler.signature("log_prob").inputs["images"].sides
        check_data_set(dataset, "test", sampler.title, shape, sampler.num_classes)
    except TfgenError as error:
        if options.nearest or options.false_alarms or options.dataset or options.data_dir:
            raise
        return None, [f"no comparison with test images: {error}"]
    return dataset, []


def test_scores(sampler: SignatureSampler, dataset: "Dataset", options: ScoreOptions) -> np.ndarray:
    """log p(x) of the first test images, `float32[M]`.

    They are computed once and kept in the cache, except those of a model behind a server.
    """
    from tfgen.data.cache import cache_root

    test = dataset.test.take(0, options.test_images)
    key = [__version__, sampler.fingerprint, dataset.fingerprint, options.seed]
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    path, is_kept = cache_root() / f"test-scores-{digest}.float32", bool(sampler.fingerprint)
    if is_kept:
        with contextlib.suppress(OSError):
            scores = np.fromfile(path, np.float32)
            if len(scores) >= len(test):
                return scores[: len(test)]
        note(f"computing log p(x) of {len(test)} test images, once, into {path.parent}")
    labels = test.labels if sampler.num_classes else None
    scores = compute(sampler, "log_prob", test.images, labels, options.seed)[0]["log_prob"]
    if is_kept:
        with contextlib.suppress(OSError):  # the cache is not writable: next time again
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, scores.astype(np.float32).tobytes())
    return scores


def compare(arrays: Arrays, reference: np.ndarray, words: str, options: ScoreOptions) -> list[str]:
    """Add the comparison with other images to the scores, and say what it means.

    Args:
        arrays: the scores; gets `percentile`, `float64[N]`, and `reference_log_prob`, `float32[M]`;
            with `--false-alarms` also `unusual`, `bool[N]`.
        reference: log p(x) of the other images, `float32[M]`.
        words: what these are.
        options: the flags.

    Raises:
        UsageError: there are too few other images for `--false-alarms`.
    """
    values, ascending, count = arrays["log_prob"], np.sort(reference), len(reference)
    lower, not_higher = (np.searchsorted(ascending, values, side) for side in ("left", "right"))
    arrays["percentile"] = np.where(np.isnan(values), np.nan, 100 * lower / count)
    arrays["reference_log_prob"] = reference
    lines = [f"more typical than: share of {words} with a lower log p(x)"]
    if options.against is not None:
        auroc = 1 - np.mean(lower + not_higher) / (2 * count)
        lines.append(f"AUROC {auroc:.3f}: how often an image has a lower log p(x) than one of them")
    if (share := options.false_alarms) is not None:
        if share * count < 1:
            text = f"{math.ceil(1 / share)} images to compare with; there are {words}"
            raise UsageError(f"--false-alarms {share:g} needs {text}")
        limit = ascending[min(int(share * count), count - 1)]
        arrays["unusual"] = ~(values >= limit)
        marked = f"{arrays['unusual'].sum()} of {count_noun(len(values), 'image')}"
        least = f"log p(x) below {limit:.2f} nats, as {100 * share:g} % of those compared with have"
        lines.append(f"unusual: {least}; {marked}")
    if high := int(np.sum(arrays["percentile"] >= _TOO_TYPICAL)):
        share_of = "all" if 100 in arrays["percentile"] else f"{_TOO_TYPICAL} % of"
        lines.append(
            f"caution: {count_noun(high, 'image')} more typical than {share_of} {words}; log p(x) "
            "misleads there: it is also high for plain images (Nalisnick et al. 2019)"
        )
    return lines


# --- pictures ---------------------------------------------------------------------------


def write_histogram(own: OwnImages, reference: np.ndarray, words: str) -> str:
    """Write NAME-histogram.png, the scores of both sets of images; return where it is."""
    path, sampler = Path(f"{own.sampler.name}-histogram.png"), own.sampler
    sets = {f"{len(own.collection.names)} images": own.outputs["log_prob"], words: reference}
    finite = {name: values[np.isfinite(values)] for name, values in sets.items()}
    about = (f"log-likelihood under {sampler.title}", sampler.training.get("family"), words)
    figures.save_figure(figures.histograms(finite, "log p(x) [nats]", *about), path)
    return f"histogram in {path}"


def write_nearest(own: OwnImages, arrays: Arrays, order: np.ndarray, dataset: "Dataset") -> str:
    """Write NAME-nearest.png, and add the training images nearest to the images to the scores.

    Args:
        own: the images.
        arrays: the scores; gets `nearest`, indices of training images, `int[N]`, and `distance`,
            the Euclidean distance to them for pixels in 0…1, `float64[N]`.
        order: indices of the images in the picture.
        dataset: has the training images.

    Returns:
        Where the picture is.
    """
    from tfgen.evaluation.coverage import nearest

    path, images = Path(f"{own.sampler.name}-nearest.png"), own.collection.images
    train_on = own.sampler.training.get("options", {}).get("train_on", "train")
    with status("looking for the nearest training images"):
        train = dataset.training_split(train_on).images
        neighbours = nearest(images, train)
    arrays |= {"nearest": neighbours.indices, "distance": neighbours.distances / 255}
    pairs = (images[order] / 255, train[arrays["nearest"][order]] / 255)
    write_pairs(path, *pairs, "images, and below each the nearest training image", "nearest")
    return f"distance: Euclidean, to the nearest training image of {dataset.name}, in {path}"


# --- tables -----------------------------------------------------------------------------


def write(path: Path, arrays: Arrays, order: np.ndarray) -> None:
    """Write the scores as CSV in that order, or all arrays as NPZ, whole or not at all."""
    if path.suffix == ".npz":
        write_arrays(path, arrays)
    else:
        columns = {_CSV_NAMES.get(key, key): arrays[key][order] for key in _CSV if key in arrays}
        write_bytes(path, csv_bytes(columns))


def table_lines(arrays: Arrays, order: np.ndarray) -> list[str]:
    """The table at the terminal, whose rows are in that order, then a line on all images."""
    nats, n, top = arrays["log_prob"], len(order), order[:MAX_ROWS]
    columns = {key: column for key, column in _COLUMNS.items() if key in arrays}
    table = [[heading for heading, _ in columns.values()]]
    table += [[text(arrays[key][i]) for key, (_, text) in columns.items()] for i in top]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    # Names come last, where long ones move no column.
    lines = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), name])
        for cells, name in zip(table, ["image", *arrays["names"][top]], strict=True)
    ]
    if n > MAX_ROWS:
        lines.append(f"… and {n - MAX_ROWS} more; --out has all")
    if n > 1:
        low, middle, high = np.min(nats), np.median(nats), np.max(nats)
        spread = f"median {middle:.2f} nats, from {low:.2f} to {high:.2f}"
        lines.append(f"{n} images, the most unusual first: {spread}")
    return lines


def likelihood_line(sampler: SignatureSampler) -> str:
    """The model and the data of the log-likelihood."""
    if "bits_per_dim" in sampler.signature("log_prob").outputs:
        return f"log p(x) of bytes under {sampler.title}"
    model = sampler.training.get("model", {})
    settings = [f"{name} {model[name]}" for name in ("likelihood", "binarization") if name in model]
    kind = f" ({', '.join(settings)})" if settings else ""
    return f"log p(x) under {sampler.title} is not that of bytes{kind}, so there are no bits/dim"
