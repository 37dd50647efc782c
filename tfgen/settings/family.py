"""What a family of models says about itself before TensorFlow is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tfgen.errors import UsageError
from tfgen.settings.fields import hint
from tfgen.settings.model import ModelConfig

DEFAULT_DATASET = "mnist"
# Of what belongs to no family.
NEUTRAL_COLOUR = "#777777"
# The preset of data sets that no preset is for, where a family has it.
_ANY_IMAGES = "images"


@dataclass(frozen=True)
class Preset:
    """A named, complete setting: a model's configuration, and how it is trained by default.

    Attributes:
        summary: one line for the table of presets.
        model: the model's configuration.
        epochs: passes over the training images, for `images` of them. With another number of
            images, `tfgen-train` makes about as many steps.
        batch_size: images per step.
        learning_rate: peak learning rate of Adam.
        warmup_epochs: epochs of linear learning-rate warm-up, also for `images` training images.
        schedule: learning rate after warm-up.
        clip_norm: global gradient norm that longer gradients are clipped to; 0 disables clipping.
        minutes: training time on two CPU cores, for the table of presets; None if it was not
            measured.
        result: what the trained model reaches on the test images, for the table of presets.
        dataset: name of the data set that the preset is for.
        images: number of training images of that data set.
    """

    summary: str
    model: ModelConfig
    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: float = 0.0
    minutes: float | None = None
    result: str = ""
    dataset: str = DEFAULT_DATASET
    images: int = 50_000

    def training(self) -> dict[str, Any]:
        """The preset's training options by name."""
        return {name: getattr(self, name) for name in PRESET_OPTIONS}

    def scaled_warmup(self, epochs: int) -> float:
        """Warm-up epochs of a run of `epochs` epochs, in proportion to those of the preset."""
        return self.warmup_epochs * (epochs / self.epochs)


# The options of a training run that a preset sets.
PRESET_OPTIONS = ("epochs", "batch_size", "learning_rate", "warmup_epochs", "schedule", "clip_norm")


@dataclass(frozen=True)
class Family:
    """A family of models, as the registry looks it up by name.

    Attributes:
        name: what the commands call the family.
        summary: one line for `--help`.
        model: path of the `ImageModel` subclass, `module:Class`; imported when it is needed.
        config: the family's configuration class; each of its options is a flag of `tfgen-train`.
        presets: named settings. The first one for a data set is its default. The default for all
            other data sets is the one named `images`, or else the first one.
        timed_preset: name of the preset of MNIST by the clock, if that is not the default.
        generative: whether the models generate images; models that do not are trained on labels.
        conditional: whether the models can be class-conditional.
        compiles_long: whether compiling a training step takes tens of seconds; `--dry-run` then
            times a validation instead.
        sentence: what the models are, for a reader who sees their samples.
        colour: in every picture and on the page, `#rrggbb`.
        shares_cores: whether a training step has independent chains of operations. On a CPU, each
            operation then runs on half of the cores; see `tfgen.nn.cores.share_cores`.
    """

    name: str
    summary: str
    model: str
    config: type[ModelConfig]
    presets: Mapping[str, Preset]
    timed_preset: str = ""
    generative: bool = True
    conditional: bool = False
    shares_cores: bool = False
    compiles_long: bool = False
    sentence: str = ""
    colour: str = NEUTRAL_COLOUR

    def preset_for(self, dataset: str, is_timed: bool = False) -> str:
        """Name of the preset that a data set is trained with unless another one is asked for.

        Args:
            dataset: name of the data set, as TFDS takes it; `mnist:3.0.1` is MNIST too.
            is_timed: whether it is trained by the clock.
        """
        plain = dataset.partition(":")[0]
        if is_timed and self.timed_preset and plain == DEFAULT_DATASET:
            return self.timed_preset
        names = (name for name, preset in self.presets.items() if preset.dataset == plain)
        return next(names, _ANY_IMAGES if _ANY_IMAGES in self.presets else next(iter(self.presets)))

    def preset(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.presets:
            raise UsageError(f"unknown preset {name!r} of {self.name}{hint(name, self.presets)}")
        return self.presets[name]
