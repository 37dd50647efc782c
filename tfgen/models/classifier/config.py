"""The classifier's options and presets; no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass, field, replace

from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import HALVINGS_HELP, MAX_HALVINGS, ModelConfig


@dataclass(frozen=True)
class ClassifierConfig(ModelConfig):
    """A small convolutional classifier.

    Attributes:
        num_classes: number of classes, 2 or more; taken from the data, not a flag.
    """

    num_classes: int = field(default=10, metadata={"minimum": 2}, kw_only=True)
    channels: int = option(
        32, "channels at full size; each halving doubles them, up to 8 times as many", minimum=1
    )
    halvings: int = option(0, HALVINGS_HELP, minimum=0, maximum=MAX_HALVINGS)
    units: int = option(128, "length of a feature vector", minimum=1)
    dropout: float = option(0.5, "dropout rate of the features", minimum=0, maximum=0.99)


_CONV = Preset(
    "three convolutions, a feature vector of 128",
    ClassifierConfig(),
    epochs=12,
    learning_rate=2e-3,
    warmup_epochs=0.5,
    schedule="cosine",
    minutes=15,
    result="accuracy 99.5 %",
)
_IMAGES = "any images: two convolutions at each size, down to 4 to 7 pixels"

FAMILY = Family(
    name="classifier",
    summary="convolutional classifier, whose features judge samples",
    model="tfgen.models.classifier.model:Classifier",
    config=ClassifierConfig,
    generative=False,
    colour="#9467bd",
    presets={
        "conv": _CONV,
        "images": replace(_CONV, summary=_IMAGES, epochs=8, minutes=None, result=""),
    },
)
