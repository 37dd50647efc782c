"""The options of a training run. No TensorFlow here, so that `--help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option
from tfgen.settings.model import ModelConfig

# Seeds are the first word of a pair of int32.
MAX_SEED = 2**31 - 1

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Augmentation = Literal["flip", "translate"]
TrainOn = Literal["train", "all"]


@dataclass(frozen=True)
class TrainingOptions(Config):
    """How a model is trained, beside the model's own configuration."""

    preset: str = option("mlp", "named set of defaults for the other flags")
    dataset: str = option(
        "mnist",
        "data set: mnist, colored_mnist, stacked_mnist, one in --data-dir, or one known to TFDS",
    )
    data_dir: Path | None = option(
        None, "folder of data sets prepared by tfgen-data or TFDS (default: that of TFDS)"
    )
    epochs: int = option(
        40,
        "total epochs; without --epochs, a data set of another size than the preset's gets about "
        "as many steps",
        minimum=1,
    )
    minutes: float | None = option(
        None, "time limit from the command to the published model [min]; replaces --epochs", above=0
    )
    batch_size: int = option(128, "images per step, of all devices together", minimum=1)
    learning_rate: float = option(1e-3, "peak learning rate of Adam", above=0, maximum=10.0)
    warmup_epochs: float = option(0.0, "epochs of linear learning-rate warm-up", minimum=0)
    schedule: Literal["constant", "cosine"] = option(
        "constant", "learning rate after warm-up: constant, or cosine decay to 0 at the last epoch"
    )
    clip_norm: float = option(0.0, "largest global gradient norm; 0 disables clipping", minimum=0)
    train_on: TrainOn = option("train", "images to train on: train, or all but the test images")
    augment: tuple[Augmentation, ...] = option(
        (), "random flips left-right, translations by up to an eighth of each side, or both"
    )
    seed: int = option(0, "seed for weights, batch order and noise", minimum=0, maximum=MAX_SEED)
    precision: Precision = option("float32", "dtype policy of the networks")
    xla: Literal["auto", "on", "off"] = option(
        "auto", "compile steps with XLA; auto: only on a GPU, and if the run is long enough to gain"
    )
    name: str | None = option(None, "name to publish under (default: from model and data set)")
    run_dir: Path | None = option(
        None, "run directory (default: runs/NAME-TIME; with --resume, the newest run)"
    )
    start_from: Path | None = option(
        None, "run, .keras file or published version to take the initial weights from"
    )
    resume: bool = option(False, "continue the run in --run-dir; a larger --epochs extends it")
    checkpoint_every: float = option(10.0, "minutes between checkpoints within an epoch", above=0)
    keep_every: int = option(
        0,
        "keep the weights of every N-th epoch, for --weights of other commands; 0 keeps only the "
        "best and the last",
        minimum=0,
    )
    strategy: Literal["none", "mirrored", "multiworker"] = option(
        "none", "distribution: one device, all devices of this machine, or the workers in TF_CONFIG"
    )
    deterministic: bool = option(
        False, "use deterministic operations, so that runs on a GPU are bit-equal; turns XLA off"
    )
    conditional: bool = option(False, "train a class-conditional model; needs labels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.xla == "on" and (self.deterministic or self.strategy != "none"):
            raise UsageError("--xla on cannot be combined with --deterministic or several devices")
        # In one order, since runs that differ in nothing else are alike.
        object.__setattr__(self, "augment", tuple(sorted(set(self.augment))))

    @property
    def is_validated(self) -> bool:
        """Whether the run is validated: not if it trains on the validation images too."""
        return self.train_on == "train"


# Options that may differ between a run and its resumption: they do not change what is computed.
# `epochs` does change it with the schedule `cosine`, which then ends at the new last epoch.
# Another `strategy` or number of workers changes rounding and noise.
RESUMABLE = (
    *("epochs", "run_dir", "resume", "checkpoint_every", "keep_every", "name", "data_dir"),
    *("minutes", "strategy"),
)


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes:
        family: the model's name in the registry.
        model: the model's configuration.
        options: how it is trained.
        preset_epochs: names of the options that still count epochs of the preset's own number of
            images; `tfgen.training.plan.with_data` turns them into epochs of the data set.
    """

    family: str
    model: ModelConfig
    options: TrainingOptions
    preset_epochs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dump` can write, without `preset_epochs`."""
        model, options = self.model.to_json(), self.options.to_json()
        return {"family": self.family, "model": model, "options": options}
