"""A batch of `fit`, `evaluate` or `predict`: its images, labels and sample weights, checked."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.sampling import check_labels, wrong_shape


def split(data: Any) -> tuple[Any, Any, Any]:
    """Images, labels and sample weights of a batch; None for what the batch does not have.

    A batch `((images, labels),)`, which `predict((images, labels))` makes, is one of images and
    labels.
    """
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if labels is None and isinstance(images, tuple | list) and len(images) == 2:
        images, labels = images
    return images, labels, weights


def shaped_images(images: Any, image_shape: Sequence[int]) -> tf.Tensor:
    """Images whose static shape is `[B, *image_shape]`.

    Unknown sides are set to those of `image_shape` and checked at run time.

    Raises:
        UsageError: the images have another shape, or are several arrays.
    """
    if isinstance(images, tuple | list | dict):
        raise UsageError(f"x is a {type(images).__name__}; pass an array of images, labels as y")
    images = tf.convert_to_tensor(images)
    if not images.shape.is_compatible_with([None, *image_shape]):
        raise UsageError(wrong_shape(images.shape, image_shape))
    is_known = images.shape[1:] == tuple(image_shape)  # as in an export
    return images if is_known else tf.ensure_shape(images, [None, *image_shape])


def class_labels(labels: Any, images: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Labels `int32[B]` of labels `[B]` or `[B, 1]`; a label that is no class fails at run time.

    Raises:
        UsageError: there is not one label for each image.
    """
    labels = tf.convert_to_tensor(labels)
    with tf.control_dependencies([label_check(labels, num_classes)]):
        return column(tf.cast(labels, tf.int32), images, "label")


def column(values: tf.Tensor, images: tf.Tensor, name: str) -> tf.Tensor:
    """One value for each image, `[B]`, of values `[B]` or `[B, 1]`.

    Raises:
        UsageError: there is not one value for each image; the message calls it `name`.
    """
    batch = images.shape[0]
    if not any(values.shape.is_compatible_with(shape) for shape in ([batch], [batch, 1])):
        text = f"{name}s have shape {list(values.shape)} for images {list(images.shape)}"
        raise UsageError(f"{text}; pass one {name} for each image")
    return tf.reshape(values, [-1])


def label_check(labels: tf.Tensor, num_classes: int) -> tf.Operation:
    """The operation that fails if a label is no class of 0…num_classes − 1.

    Raises:
        UsageError: a label that has a value is out of range.
    """
    if not tf.is_symbolic_tensor(labels):
        check_labels(np.asarray(labels), num_classes)
    classes = tf.cast(labels, tf.int64)
    is_whole = tf.equal(tf.cast(classes, labels.dtype), labels)
    is_class = is_whole & (classes >= 0) & (classes < num_classes)
    message = f"labels must be 0…{num_classes - 1}"
    return tf.debugging.Assert(tf.reduce_all(is_class), [message, labels])
