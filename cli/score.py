"""`tfgen-score`: the likelihood of images of the user's own, beside that of test images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfgen.errors import TfgenError, UsageError, size_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays, check_labels
from tfgen.settings.fields import option
from tfgen.system.atomic import write_bytes
from tfgen.system.status import status
from tfgen.system.terminal import count_noun

from ._command import command
from ._data_sets import DataSetOptions, open_data_set
from ._images import ImageOptions, compute, evaluate_images, image_shape
from ._samplers import csv_bytes, write_npz

# Maximum number of images in the table at the terminal.
MAX_ROWS = 20
# The columns at the terminal: the heading and the format of an array.
_COLUMNS = {
    "log_prob": ("nats", "10.2f"),
    "bits_per_dim": ("bits/dim", "8.3f"),
    "percentile": ("percentile", "10.1f"),
}
# The columns of a CSV file.
_CSV = {
    "names": "image",
    "log_prob": "nats",
    "bits_per_dim": "bits_per_dim",
    "percentile": "percentile",
    "seeds": "seed",
    "labels": "label",
}


@dataclass(frozen=True)
class ScoreOptions(ImageOptions, DataSetOptions):
    """The arguments of `tfgen-score`."""

    out: Path | None = option(None, "file to write the scores of all images to, .csv or .npz")
    test_images: int = option(
        1000,
        "maximum number of test images to compute percentiles from; 0 disables percentiles",
        minimum=0,
    )


@command(
    "tfgen-score",
    ScoreOptions,
    "Compute the log-likelihood of images under a model, in nats and in bits/dim, and the share of "
    "the data set's test images that have a lower one.",
)
def main(options: ScoreOptions) -> None:
    """Print the scores of the images, and write them to `--out`."""
    own = evaluate_images(options, "log_prob", "likelihood", options.out, (".csv", ".npz"))
    images = {"names": np.array(own.collection.names), "images": own.collection.images}
    arrays = {**images, **own.outputs, **own.inputs}
    note = add_percentiles(arrays, own.sampler, options) if options.test_images else ""
    lines = [*describe(arrays), describe_likelihood(own.sampler), *filter(None, [note])]
    lines += own.lines
    if options.out is not None:
        write(options.out, arrays)
        lines.append(f"written to {options.out}")
    print("\n".join(lines))


def add_percentiles(arrays: Arrays, sampler: SignatureSampler, options: ScoreOptions) -> str:
    """Add `percentile` and `test_log_prob` to the scores, where the test images are known.

    Args:
        arrays: the scores; gets `percentile`, `float64[N]`, and `test_log_prob`, `float32[M]`.
        sampler: the model.
        options: the flags.

    Returns:
        What percentiles are, or why there are none.

    Raises:
        UsageError: the data set of `--dataset` cannot be loaded, or does not suit the model.
    """
    try:
        name, images, labels = open_test_images(sampler, options)
    except TfgenError as error:
        if options.dataset is not None or options.data_dir is not None:
            raise
        return f"no percentiles: {error}"
    scores = compute(sampler, "log_prob", images, labels, options.seed)[0]["log_prob"]
    values = arrays["log_prob"]
    percentiles = 100 * np.searchsorted(np.sort(scores), values) / len(scores)
    arrays["percentile"] = np.where(np.isnan(values), np.nan, percentiles)
    arrays["test_log_prob"] = scores
    count = count_noun(len(scores), "test image")
    return f"percentile: share of {count} of {name} with a lower log p(x) [%]"


def open_test_images(
    sampler: SignatureSampler, options: ScoreOptions
) -> tuple[str, np.ndarray, np.ndarray | None]:
    """The data set's name, and its first test images with labels if the model takes them.

    Raises:
        UsageError: the data set is unknown, differs from that of the training, or does not suit
            the model.
        WorkError: the data set could not be downloaded.
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
    if not sampler.num_classes:
        return dataset.name, test.images, None
    if test.labels is None:
        raise UsageError(f"{sampler.title} is conditional, but {dataset.name} has no labels")
    check_labels(np.asarray(test.labels), sampler.num_classes)
    return dataset.name, test.images, test.labels


def write(path: Path, arrays: Arrays) -> None:
    """Write the scores as CSV, or all arrays as NPZ, whole or not at all."""
    if path.suffix == ".npz":
        write_npz(path, arrays)
    else:
        columns = {heading: arrays[key] for key, heading in _CSV.items() if key in arrays}
        write_bytes(path, csv_bytes(columns))


def describe(arrays: Arrays) -> list[str]:
    """The table at the terminal, then a line on all images."""
    nats, n = arrays["log_prob"], len(arrays["log_prob"])
    columns = {key: column for key, column in _COLUMNS.items() if key in arrays}
    headings = [f"{heading:>{form.partition('.')[0]}}" for heading, form in columns.values()]
    # Names come last, where long ones move no column.
    lines = ["  ".join([*headings, "image"])]
    for index, name in enumerate(arrays["names"][:MAX_ROWS]):
        cells = [f"{arrays[key][index]:{form}}" for key, (_, form) in columns.items()]
        lines.append("  ".join([*cells, name]))
    if n > MAX_ROWS:
        lines.append(f"… and {n - MAX_ROWS} more; --out has all")
    if n > 1:
        low, middle, high = np.min(nats), np.median(nats), np.max(nats)
        lines.append(f"{n} images: median {middle:.2f} nats, from {low:.2f} to {high:.2f}")
    return lines


def describe_likelihood(sampler: SignatureSampler) -> str:
    """The model and the data of the log-likelihood."""
    if "bits_per_dim" in sampler.signature("log_prob").outputs:
        return f"log p(x) of bytes under {sampler.title}"
    model = sampler.training.get("model", {})
    settings = [f"{name} {model[name]}" for name in ("likelihood", "binarization") if name in model]
    kind = f" ({', '.join(settings)})" if settings else ""
    return f"log p(x) under {sampler.title}, not of bytes{kind}: no bits/dim"


if __name__ == "__main__":
    raise SystemExit(main())
