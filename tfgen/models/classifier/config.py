"""The classifier's options and presets; no TensorFlow, so that `--help` is fast."""

import dataclasses
from dataclasses import dataclass

from tfgen.errors import UsageError, size_text
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import MAX_HALVINGS, ModelConfig


@dataclass(frozen=True)
class ClassifierConfig(ModelConfig):
    """A small convolutional classifier.

    Attributes:
        num_classes: number of classes, 2 or more; taken from the data, not a flag.
    """

    num_classes: int = dataclasses.field(default=10, metadata={"minimum": 0}, kw_only=True)
    channels: int = option(32, "channels at full size; they double up to 8 times", minimum=1)
    halvings: int = option(
        0,
        "how often the sides are halved; 0: down to at most 7 pixels",
        minimum=0,
        maximum=MAX_HALVINGS,
    )
    units: int = option(128, "length of a feature vector", minimum=1)
    dropout: float = option(
        0.5, "dropout rate between features and logits", minimum=0, maximum=0.99
    )

    def check_images(self) -> None:
        """Refuses events or numbers of classes that do not suit the network.

        Raises:
            UsageError: the events are no images, or there are fewer than two classes.
        """
        if len(self.image_shape) != 3:
            raise UsageError(
                f"events of size {size_text(self.image_shape)} are not images; a classifier needs "
                "height, width and channels"
            )
        if self.num_classes < 2:
            raise UsageError(f"num_classes = {self.num_classes} is too small; the least is 2")


FAMILY = Family(
    name="classifier",
    summary="convolutional classifier, whose features judge samples",
    model="tfgen.models.classifier.model:Classifier",
    config=ClassifierConfig,
    generative=False,
    presets={
        "conv": Preset(
            "three convolutions, a feature vector of 128",
            ClassifierConfig(),
            epochs=12,
            batch_size=128,
            learning_rate=2e-3,
            warmup_epochs=0.5,
            schedule="cosine",
            minutes=15,
            result="accuracy 99.5 %",
        ),
        "images": Preset(
            "any images: two convolutions at each size, down to 4 to 7 pixels",
            ClassifierConfig(),
            epochs=8,
            batch_size=128,
            learning_rate=2e-3,
            warmup_epochs=0.5,
            schedule="cosine",
        ),
    },
)
