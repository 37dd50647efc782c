"""The data set that a model is judged on: `--dataset`, or the one that it was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgen.errors import UsageError

if TYPE_CHECKING:
    from tfgen.data import Dataset


def open_data_set(
    name: str | None, folder: Path | None, training: Mapping[str, Any], title: str
) -> "Dataset":
    """Loads a data set.

    Args:
        name: the value of `--dataset`; None: the data set that the model was trained on.
        folder: the value of `--data-dir`; None: the folder of the training if `name` is None.
        training: how the model was trained, the content of its config.json; may be empty.
        title: what messages call the model.

    Raises:
        UsageError: it is unknown, is not the one of the training, or cannot be read.
        WorkError: it is not in the folder and could not be downloaded.
    """
    from tfgen.data import load

    options = training.get("options", {})
    asked = name
    name = name or options.get("dataset")
    if name is None:
        raise UsageError(
            f"the data set that {title} was trained on is unknown; name it with --dataset"
        )
    if folder is None and asked is None and options.get("data_dir"):
        folder = Path(options["data_dir"])
    dataset = load(name, folder)
    expected = training.get("data", {}).get("fingerprint")
    if asked is None and expected not in (None, dataset.fingerprint):
        raise UsageError(
            f"data set {name} is not the one that {title} was trained on; pass the folder of that "
            f"one with --data-dir, or pass --dataset {name} to use this one"
        )
    return dataset
