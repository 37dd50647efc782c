"""The images from which a flow's activation normalizations are set."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Number of images from which the activation normalizations are set.
ADAPTATION_IMAGES = 512


def first_images(x: Any, y: Any = None) -> tuple[tf.Tensor, Any]:
    """The first images of arguments `x` and `y` of `fit`, at most `ADAPTATION_IMAGES`.

    Returns:
        Images `uint8[B, H, W, C]`, and their labels `[B]`, None if there are none.

    Raises:
        ValueError: there are no images, or reading them from `x` would consume them.
    """
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.unbatch().batch(ADAPTATION_IMAGES)), None)
        if batch is None:
            raise ValueError("the data set has no images; pass one with images")
        return keras.utils.unpack_x_y_sample_weight(batch)[:2]
    if isinstance(x, np.ndarray | tf.Tensor):
        labels = None if y is None else y[:ADAPTATION_IMAGES]
        return tf.convert_to_tensor(x[:ADAPTATION_IMAGES]), labels
    if isinstance(x, keras.utils.PyDataset):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(x[0])
        return tf.convert_to_tensor(images), labels
    raise ValueError(
        f"cannot read the first images of a {type(x).__name__} without consuming them; "
        "call flow.adapt(images) before fit"
    )
