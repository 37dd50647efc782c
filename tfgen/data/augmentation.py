"""Random changes of training images, a function of (seed, step, place in the batch) alone."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, get_args

from tfgen.errors import UsageError, size_text
from tfgen.settings.fields import hint
from tfgen.settings.training import Augmentation
from tfgen.system.quiet import import_quietly

if TYPE_CHECKING:
    import tensorflow as tf

# Images are shifted by up to this part of their sides, rounded down.
_LARGEST_SHIFT = 8
# Each kind of change has its own stream of random numbers. Therefore a run draws the same flips
# with and without translations. "au" in ASCII, and a number.
_FLIP, _ROWS, _COLUMNS = 0x61750, 0x61751, 0x61752


def augmentation(
    names: Collection[str], seed: int, shape: Sequence[int]
) -> Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]:
    """A function that flips and translates the images of a batch, each at random.

    Args:
        names: `flip` mirrors left and right with probability 1/2. `translate` shifts rows and
            columns by up to an eighth of the side, rounded down; pixels of the edge are repeated.
        seed: seed of the run.
        shape: height, width and channels of an image.

    Returns:
        A function of images `[B, H, W, C]`, B known, and a global step `int64`, which returns
        images of the same shape and dtype.

    Raises:
        UsageError: a name is unknown, or the events are no images.
    """
    known = get_args(Augmentation)
    for name in names:
        if name not in known:
            raise UsageError(f"unknown augmentation {name!r}{hint(name, known)}")
    if names and len(shape) != 3:
        raise UsageError(f"augmentation is for images, not for events of {size_text(shape)}")
    # Imported outside of the functions that follow, because AutoGraph rewrites their code.
    (tf,) = import_quietly()

    def draw(stream: int, step: Any, batch: int, bound: tuple[int, int]) -> Any:
        fold = tf.random.experimental.stateless_fold_in
        key = fold(tf.constant([seed, stream], tf.int32), step)
        return tf.random.stateless_uniform([batch, 1], key, *bound, tf.int32)

    def shifted(stream: int, step: Any, batch: int, side: int) -> Any:
        """Where the pixels of each place along a side come from, `[B, side]`."""
        largest = side // _LARGEST_SHIFT
        places = tf.range(side) - draw(stream, step, batch, (-largest, largest + 1))
        return tf.clip_by_value(places, 0, side - 1)

    def augmented(images: Any, step: Any) -> Any:
        batch, height, width, _ = images.shape
        columns = tf.tile(tf.range(width)[None], [batch, 1])
        if "flip" in names:
            columns = tf.where(draw(_FLIP, step, batch, (0, 2)) == 1, width - 1 - columns, columns)
        if "translate" in names:
            columns = tf.gather(columns, shifted(_COLUMNS, step, batch, width), batch_dims=1)
            images = tf.gather(images, shifted(_ROWS, step, batch, height), batch_dims=1)
        return tf.gather(images, columns, axis=2, batch_dims=1)

    return augmented
