"""`tfgen-score`: the likelihood of images of the user's own, beside that of test images."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfgen.errors import TfgenError, UsageError, size_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays, check_labels
from tfgen.settings.fields import option
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import interruptible
from tfgen.system.status import status
from tfgen.system.terminal import count_noun

from ._command import run_command
from ._data_sets import DataSetOptions, open_data_set
from ._flags import read_flags
from ._images import describe_reading, evaluate, image_shape, open_images, parse
from ._samplers import write_npz

if TYPE_CHECKING:
    from tfgen.data import Split

PROG = "tfgen-score"
# Images that the table at the terminal has at most.
MAX_ROWS = 20


@dataclass(frozen=True)
class ScoreOptions(DataSetOptions):
    """The flags that say what `tfgen-score` compares with and writes."""

    out: Path | None = option(None, "file to write the scores of all images to, .csv or .npz")
    test_images: int = option(
        1000,
        "maximum number of test images to compute percentiles from; 0 disables percentiles",
        minimum=0,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    flags, _ = parse(
        PROG,
        "Compute the log-likelihood of images under a model, in nats and in bits/dim, and the "
        "share of the data set's test images that have a lower one.",
        ScoreOptions,
        argv,
    )
    options = read_flags(flags, ScoreOptions)
    with interruptible():
        own = open_images(flags, "log_prob", "likelihood", options.out, (".csv", ".npz"))
        sampler, images = own.sampler, own.collection.images
        scores = score(sampler, images, own.labels, own.options.seed)
        arrays = {"names": np.array(own.collection.names), "images": images, **scores}
        note = add_percentiles(arrays, sampler, options, own.options.seed)
    lines = [*describe(sampler, arrays, note)]
    lines += describe_reading(own, image_shape(sampler, "log_prob"))
    if options.out is not None:
        write(options.out, arrays)
        lines.append(f"written to {options.out}")
    print("\n".join(lines))


def score(
    sampler: SignatureSampler, images: np.ndarray, labels: np.ndarray | None, seed: int
) -> Arrays:
    """`log_prob` in nats and, of a likelihood of bytes, `bits_per_dim`, `float32[N]`.

    Beside them the `seeds` and `labels` that they were computed with; see `evaluate`.
    """
    outputs, inputs = evaluate(sampler, "log_prob", images, labels, seed)
    return outputs | inputs


# --- among the test images --------------------------------------------------------------


def add_percentiles(
    arrays: Arrays, sampler: SignatureSampler, options: ScoreOptions, seed: int
) -> str:
    """Adds `percentile` and `test_log_prob` to the scores, where the test images are known.

    Args:
        arrays: the scores; gets `percentile`, `float64[N]`, and `test_log_prob`, `float32[M]`.
        sampler: the model.
        options: the flags.
        seed: of the noise of the first test image.

    Returns:
        What percentiles are, or why there are none; empty if none were asked for.

    Raises:
        UsageError: the data set of `--dataset` cannot be loaded, or does not suit the model.
    """
    if not options.test_images:
        return ""
    try:
        name, test = open_test_images(sampler, options)
    except TfgenError as error:
        if options.dataset is not None or options.data_dir is not None:
            raise
        return f"no percentiles: {error}"
    labels = test.labels if sampler.num_classes else None
    test_scores = score(sampler, test.images, labels, seed)["log_prob"]
    arrays["percentile"] = percentiles(arrays["log_prob"], test_scores)
    arrays["test_log_prob"] = test_scores
    return (
        f"percentile: share of {count_noun(len(test_scores), 'test image')} of {name} with a "
        "lower log p(x) [%]"
    )


def percentiles(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The share of the reference that is lower than each value, in percent, `float64[N]`."""
    ranks = np.searchsorted(np.sort(reference), values, side="left")
    return np.where(np.isnan(values), np.nan, 100 * ranks / len(reference))


def open_test_images(sampler: SignatureSampler, options: ScoreOptions) -> tuple[str, "Split"]:
    """The name of the data set, `--dataset` or that of the training, and its first test images.

    Raises:
        UsageError: it is unknown, is not the one of the training, or does not suit the model.
        WorkError: it could not be downloaded.
    """
    with status("loading the data set"):
        dataset = open_data_set(options, sampler.training, sampler.title)
    shape = image_shape(sampler, "log_prob")
    if dataset.image_shape != shape:
        raise UsageError(
            f"{sampler.title} takes images of {size_text(shape)}, but those of {dataset.name} are "
            f"{size_text(dataset.image_shape)}; name another data set with --dataset"
        )
    test = dataset.test.take(0, options.test_images)
    if sampler.num_classes:
        if test.labels is None:
            raise UsageError(f"{sampler.title} is conditional, but {dataset.name} has no labels")
        check_labels(np.asarray(test.labels), sampler.num_classes)
    return dataset.name, test


# --- what is written --------------------------------------------------------------------


def write(path: Path, arrays: Arrays) -> None:
    """Writes the scores as CSV, or all arrays as NPZ, whole or not at all."""
    if path.suffix == ".npz":
        write_npz(path, arrays)
        return
    headings = {
        "names": "image",
        "log_prob": "nats",
        "bits_per_dim": "bits_per_dim",
        "percentile": "percentile",
        "seeds": "seed",
        "labels": "label",
    }
    columns = {heading: arrays[key] for key, heading in headings.items() if key in arrays}
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    write_bytes(path, text.getvalue().encode())


def describe(sampler: SignatureSampler, arrays: Arrays, note: str) -> list[str]:
    """The table at the terminal, then a line on all images and one on what was computed."""
    nats, n = arrays["log_prob"], len(arrays["log_prob"])
    columns = [["nats", *(f"{value:.2f}" for value in nats[:MAX_ROWS])]]
    for key, heading, digits in (("bits_per_dim", "bits/dim", 3), ("percentile", "percentile", 1)):
        if key in arrays:
            cells = [f"{value:.{digits}f}" for value in arrays[key][:MAX_ROWS]]
            columns.append([heading, *cells])
    widths = [max(map(len, column)) for column in columns]
    names = ["image", *arrays["names"][:MAX_ROWS]]
    # Names come last, where long ones move no column.
    lines = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)), name])
        for *cells, name in zip(*columns, names, strict=True)
    ]
    if n > MAX_ROWS:
        lines.append(f"… and {n - MAX_ROWS} more; --out has all")
    if n > 1:
        low, middle, high = np.min(nats), np.median(nats), np.max(nats)
        lines.append(f"{n} images: median {middle:.2f} nats, from {low:.2f} to {high:.2f}")
    lines.append(describe_likelihood(sampler))
    return [*lines, note] if note else lines


def describe_likelihood(sampler: SignatureSampler) -> str:
    """What the log-likelihood is of."""
    if "bits_per_dim" in sampler.signature("log_prob").outputs:
        return f"log p(x) of bytes under {sampler.title}"
    model = sampler.training.get("model", {})
    settings = [f"{name} {model[name]}" for name in ("likelihood", "binarization") if name in model]
    kind = f" ({', '.join(settings)})" if settings else ""
    return f"log p(x) under {sampler.title}, not of bytes{kind}: no bits/dim"


if __name__ == "__main__":
    raise SystemExit(main())
