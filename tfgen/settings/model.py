"""What every family's configuration holds. No TensorFlow here, so that `--help` answers at once."""

import dataclasses
from dataclasses import dataclass

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config


@dataclass(frozen=True)
class ModelConfig(Config):
    """Base of every family's configuration; each `option` of it is a flag of `tfgen-train`.

    Attributes:
        image_shape: height, width, channels; taken from the data, not a flag.
    """

    image_shape: tuple[int, ...] = dataclasses.field(default=(28, 28, 1), metadata={"minimum": 1})


@dataclass(frozen=True)
class ConditionalConfig(ModelConfig):
    """Base of the configuration of a family with class-conditional variants.

    Attributes:
        num_classes: number of classes of a class-conditional model, 0 for an unconditional one;
            taken from the data, not a flag.
    """

    num_classes: int = dataclasses.field(default=0, metadata={"minimum": 0}, kw_only=True)


def check_architecture(architecture: str, image_shape: tuple[int, ...]) -> None:
    """Refuses images for convolutional networks, whose two halvings they must allow.

    Args:
        architecture: `convolutional`, or another one, which takes events of any shape.
        image_shape: height, width, channels.

    Raises:
        UsageError: a side is not divisible by four, or the events are no images.
    """
    if architecture != "convolutional":
        return
    if len(image_shape) != 3:
        raise UsageError(
            f"events of size {size_text(image_shape)} are not images; use --architecture dense"
        )
    height, width, _ = image_shape
    if height % 4 or width % 4:
        raise UsageError(
            f"images of {height} × {width} do not suit the convolutional networks: "
            "both sides must be divisible by 4; use --architecture dense"
        )
