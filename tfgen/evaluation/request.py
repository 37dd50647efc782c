"""The flags of `tfgen-evaluate`; no TensorFlow here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED

# As many samples as MNIST has test images.
DEFAULT_N = 10_000


@dataclass(frozen=True)
class EvaluateOptions(Config):
    """How a model is judged."""

    split: Literal["test", "validation"] = option("test", "held-out images that it is judged by")
    n: int | None = option(
        None,
        "samples, and real images beside them (default: as many as the split has, 10000 at most)",
        minimum=2,
    )
    importance_samples: int = option(
        500, "of z for each image, of a model with a posterior", minimum=1
    )
    dequantizations: int = option(8, "draws for each image, of a flow", minimum=1)
    samples: bool = option(True, "judge the likelihood alone")
    likelihood: bool = option(True, "judge the samples alone")
    seed: int = option(
        0, "of samples, binarization and importance samples", minimum=0, maximum=MAX_SEED
    )
    dataset: str | None = option(
        None, "name of the data set (default: the one that it was trained on)"
    )
    data_dir: Path | None = option(None, "folder of prepared data sets, as tfgen-data makes it")
    classifier: str | None = option(
        None, "name or version's folder of the classifier that sees (default: the data set's own)"
    )
    weights: Literal["best", "last"] = option(
        "best", "of a run: the best by validation, or the last"
    )
    saved_models: Path = option(Path("saved_models"), "folder of published models")
    version: int | None = option(None, "of a published name (default: the newest)", minimum=1)
    out: Path | None = option(
        None,
        "JSON file to write (default: evaluation.json of the run; the version's manifest; of a shipped "
        "version NAME-1-evaluation.json)",
    )
