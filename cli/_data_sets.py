"""The data set that a model is judged on: `--dataset`, or the one that it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option

if TYPE_CHECKING:
    from tfgen.data import Dataset


@dataclass(frozen=True)
class DataSetOptions(Config):
    """The flags of the data set that a model or images are judged by."""

    dataset: str | None = option(
        None, "data set to compare with (default: the one that the model was trained on)"
    )
    data_dir: Path | None = option(None, "folder of data sets prepared by tfgen-data or by TFDS")


def open_data_set(options: DataSetOptions, training: Mapping[str, Any], title: str) -> "Dataset":
    """Load the data set of the flags; without them, the one that the model was trained on.

    Args:
        options: the flags.
        training: how the model was trained, the content of its config.json; may be empty.
        title: what messages call the model.

    Raises:
        UsageError: the data set is unknown, differs from that of the training, or cannot be read.
        WorkError: the data set is not in the folder and could not be downloaded.
    """
    from tfgen.data import load

    if options.dataset is not None:
        return load(options.dataset, options.data_dir)
    trained = training.get("options", {})
    name, folder = trained.get("dataset"), options.data_dir or trained.get("data_dir")
    if name is None:
        raise UsageError(f"the data set of {title} is unknown; name it with --dataset")
    dataset = load(name, folder and Path(folder))
    if training.get("data", {}).get("fingerprint") not in (None, dataset.fingerprint):
        text = f"{title} was trained on another data set named {name}; pass the folder of that"
        raise UsageError(f"{text} one with --data-dir, or pass --dataset {name} to use this one")
    return dataset
