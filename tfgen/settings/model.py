"""What every family's configuration holds. No TensorFlow here, so that `--help` answers at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Self

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import Config, hint

# More halvings than this would make a pixel of the largest images that fit into memory.
MAX_HALVINGS = 12
# Help of the options `halvings` and `ema_decay`.
HALVINGS_HELP = "how often the sides are halved; 0: until they have at most 7 pixels"
EMA_HELP = "EMA decay per step; evaluation and sampling use the EMA weights; 0 disables it"
# Networks that halve the sides of images as often as their size asks for end at 4 to 7 pixels.
_LONGEST_SMALL_SIDE = 7
# Entries of an image of MNIST.
_ENTRIES = 28 * 28


@dataclass(frozen=True)
class ModelConfig(Config):
    """Base of every family's configuration; each `option` of it is a flag of `tfgen-train`.

    Attributes:
        image_shape: height, width, channels; taken from the data, not a flag.
        num_classes: number of classes of a model that uses labels, else 0; taken from the data, not
            a flag.
    """

    image_shape: tuple[int, ...] = field(default=(28, 28, 1), metadata={"minimum": 1})
    num_classes: int = field(default=0, metadata={"minimum": 0}, kw_only=True)

    def check_options(self) -> None:
        """Refuses options that contradict each other, whatever the data; by default none do.

        `tfgen-train` calls it before it reads any data, and `with_sampling`.

        Raises:
            UsageError: the options contradict each other.
        """

    @classmethod
    def sampling_fields(cls) -> list[Field]:
        """The options of sampling: those that no weight depends on, such as a number of steps."""
        return [f for f in fields(cls) if f.metadata.get("sampling")]

    def with_sampling(self, options: Mapping[str, Any]) -> Self:
        """The configuration with other values of options of sampling.

        Args:
            options: values by name.

        Raises:
            UsageError: a name is none of `sampling_fields`, a value is wrong, or options
                contradict each other.
        """
        known = [f.name for f in self.sampling_fields()]
        for name in options:
            if name not in known:
                text = f"{type(self).__name__} has no option of sampling {name!r}"
                raise UsageError(f"{text}{hint(name, known)}")
        config = replace(self, **options)
        config.check_options()
        return config


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


def smallest_sides(image_shape: Sequence[int], times: int = 0) -> tuple[int, int]:
    """Height and width after all halvings; the arguments are those of `channels_at`."""
    return halved(image_shape, times or halvings(image_shape))


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


def check_are_images(image_shape: Sequence[int], advice: str) -> None:
    """Refuses events that are no images, with the `advice` what to do instead.

    Raises:
        UsageError: the shape of an event is not height, width and channels.
    """
    if len(image_shape) != 3:
        raise UsageError(f"events of size {size_text(image_shape)} are not images; {advice}")


def check_image_architecture(architecture: str, image_shape: Sequence[int]) -> None:
    """Refuses events that are no images for every architecture but the dense one."""
    if architecture != "dense":
        check_are_images(image_shape, "use --architecture dense")
