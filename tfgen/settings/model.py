"""What every family's configuration holds. No TensorFlow here, so that `--help` answers at once."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config

# More halvings than this would make a pixel of the largest images that fit into memory.
MAX_HALVINGS = 12
# Help of the option `ema_decay`.
EMA_HELP = "EMA decay per step; evaluation and sampling use the EMA weights; 0 disables it"
# Networks that halve the sides of images as often as their size asks for end at 4 to 7 pixels.
_LONGEST_SMALL_SIDE = 7
# Entries of an image of MNIST.
_ENTRIES = 28 * 28
# The halvings of all convolutional networks of versions without the field `halvings`.
_EARLIER_HALVINGS = 2


@dataclass(frozen=True)
class ModelConfig(Config):
    """Base of every family's configuration; each `option` of it is a flag of `tfgen-train`.

    Attributes:
        image_shape: height, width, channels; taken from the data, not a flag.
        num_classes: number of classes of a model that uses labels, else 0; taken from the data, not
            a flag.
    """

    image_shape: tuple[int, ...] = dataclasses.field(default=(28, 28, 1), metadata={"minimum": 1})
    num_classes: int = dataclasses.field(default=0, metadata={"minimum": 0}, kw_only=True)

    def check_options(self) -> None:
        """Refuses options that contradict each other, whatever the data; by default none do.

        `tfgen-train` calls it before it reads any data.

        Raises:
            UsageError: the options contradict each other.
        """

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote, in this version of tfgen or an earlier one.

        Raises:
            UsageError: `data` is no table, a field is unknown, or a value is wrong.
        """
        super().from_json(data)  # checks what `upgrade` reads
        return super().from_json(cls.upgrade(data))

    @classmethod
    def upgrade(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a configuration that an earlier version of tfgen wrote, as this one's.

        `data` has the fields by name.
        Convolutional networks had two halvings, whatever the size of the images, and no field
        `halvings`. Where two are the default of the image size, the field keeps its default 0.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if "halvings" not in names or "halvings" in data:
            return data
        architecture = data.get("architecture", getattr(cls, "architecture", "convolutional"))
        shape = data.get("image_shape", cls.image_shape)
        if architecture != "convolutional" or len(shape) != 3:
            return data
        is_default = halvings(shape) == _EARLIER_HALVINGS
        return data if is_default else {**data, "halvings": _EARLIER_HALVINGS}


def halvings(image_shape: Sequence[int]) -> int:
    """How often the sides of images are halved until the longer one has at most 7 pixels.

    A half is rounded up: 37 pixels become 19, 10 and 5. There is at least one halving.

    Args:
        image_shape: height and width; what follows does not count.
    """
    times = 1
    while max(halved(image_shape, times)) > _LONGEST_SMALL_SIDE:
        times += 1
    return times


def halved(image_shape: Sequence[int], times: int) -> tuple[int, int]:
    """Height and width of images after that many halvings, each rounded up.

    Args:
        image_shape: height and width; what follows does not count.
        times: number of halvings.
    """
    height, width = (-(-side // 2**times) for side in image_shape[:2])
    return height, width


def channels_at(image_shape: Sequence[int], channels: int, times: int = 0) -> list[int]:
    """Channels after each halving: they double, up to 8 times as many.

    Args:
        image_shape: height and width; what follows does not count.
        channels: channels after the first halving.
        times: number of halvings; 0: as `halvings`.
    """
    return [channels * min(2**index, 8) for index in range(times or halvings(image_shape))]


def images_at_once(most: int, image_shape: Sequence[int]) -> int:
    """How many images to compute at once, so that larger ones do not take more memory.

    Args:
        most: the number of images of up to 28 × 28 × 1; it falls as the size of an image grows.
        image_shape: shape of an image.

    Returns:
        At least 1.
    """
    return max(1, most * _ENTRIES // max(_ENTRIES, math.prod(image_shape)))


def check_architecture(architecture: str, image_shape: Sequence[int]) -> None:
    """Refuses events that are no images for every architecture but the dense one.

    Args:
        architecture: name of the architecture.
        image_shape: height, width, channels.

    Raises:
        UsageError: the events are no images.
    """
    if architecture != "dense" and len(image_shape) != 3:
        raise UsageError(
            f"events of size {size_text(image_shape)} are not images; use --architecture dense"
        )
