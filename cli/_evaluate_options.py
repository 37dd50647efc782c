"""The flags of `tfgen-evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfgen.errors import UsageError
from tfgen.evaluation.request import DEFAULT_N, EvaluationRequest
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED
from tfgen.training.weights import WEIGHTS_HELP, check_choice

from ._command import SAVED_MODELS

# Pixels of black and white that a network of the user's own may take.
RANGES = ("0,1", "-1,1", "0,255")


@dataclass(frozen=True)
class EvaluateOptions(Config):
    """The flags of `tfgen-evaluate`."""

    split: Literal["test", "validation"] = option(
        EvaluationRequest.split, "held-out images that the model is judged by"
    )
    n: int | None = option(
        EvaluationRequest.n,
        "number of samples, and of held-out images "
        f"(default: the size of the split, at most {DEFAULT_N})",
        minimum=2,
    )
    importance_samples: int = option(
        EvaluationRequest.importance_samples,
        "importance samples per image, for a model with latent variables",
        minimum=1,
    )
    dequantizations: int = option(
        EvaluationRequest.dequantizations,
        "dequantization draws per image, for a model with an exact density",
        minimum=1,
    )
    samples: bool = option(True, "judge samples")
    likelihood: bool = option(True, "estimate the likelihood")
    seed: int = option(
        EvaluationRequest.seed,
        "seed for samples, drawn images, binarization, dequantization and importance samples",
        minimum=0,
        maximum=MAX_SEED,
    )
    dataset: str | None = option(
        None,
        "name of the data set (default: the one that the model was trained on; pictures and NPZ "
        "files have no default)",
    )
    data_dir: Path | None = option(None, "folder of prepared data sets, as tfgen-data writes it")
    features: str | None = option(
        None,
        "where features come from: classifier, random (a fixed random network), or the path of a "
        "network of your own, a SavedModel or a .keras file (default: the classifier of the data "
        "set if there is one, else random)",
    )
    features_range: str | None = option(
        None,
        "pixels that the network of --features PATH takes, from black to white: 0,1 or -1,1 or "
        "0,255; required unless it takes bytes",
    )
    classifier: str | None = option(
        None,
        "name, or version's folder, of the classifier that features come from "
        "(default: the classifier of the data set)",
    )
    weights: str = option("best", WEIGHTS_HELP)
    saved_models: Path = option(SAVED_MODELS, "folder of published models")
    version: int | None = option(
        None,
        "version of a published name (default: the newest); as the only argument, --version shows "
        "the version of tfgen",
        minimum=1,
    )
    out: Path | None = option(
        None,
        "JSON file to write (default: evaluation.json of the run, or the manifest of the version; "
        "for a shipped version, NAME-1-evaluation.json, for images, NAME-evaluation.json)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.weights)
        if not self.samples and not self.likelihood:
            raise UsageError(
                "--no-samples and --no-likelihood leave nothing to judge; leave one of them out"
            )
        for name in ("dataset", "features", "classifier"):
            if getattr(self, name) == "":
                raise UsageError(f"--{name} is empty; leave it out for the default")
        if self.classifier is not None and self.features not in (None, "classifier"):
            raise UsageError(f"--classifier and --features {self.features} exclude each other")
        if self.features_range and self.features in (None, "classifier", "random"):
            raise UsageError("--features-range is of a network of your own; pass --features PATH")
        if self.features_range not in (None, *RANGES):
            raise UsageError(
                f"--features-range {self.features_range} is unknown; use {' or '.join(RANGES)}"
            )

    def request(self) -> EvaluationRequest:
        """What the evaluation is asked to measure."""
        return EvaluationRequest(
            self.split, self.n, self.seed, self.importance_samples, self.dequantizations
        )
