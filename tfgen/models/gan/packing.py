"""Packs of images, which the discriminator judges together.

Lin, Khetan, Fanti & Oh 2018, "PacGAN: the power of two samples in generative adversarial networks".
A generator that draws too few modes repeats itself within a pack more often than real images do.
"""

import tensorflow as tf


def pack(batch: tf.Tensor, count: int) -> tf.Tensor:
    """Puts consecutive rows of a batch side by side, along the last axis.

    If B is not divisible by M, rows from the start of the batch complete the last pack, each as
    often as is needed. Real and generated batches of one size thus repeat the same rows.

    Args:
        batch: `[B, …, C]`.
        count: M, the number of rows in a pack.

    Returns:
        `[⌈B/M⌉, …, M·C]`.
    """
    if count == 1:
        return batch
    size = batch.shape[0] or tf.shape(batch)[0]
    completion = tf.gather(batch, tf.range(-size % count) % size)
    *sides, depth = batch.shape[1:]
    rows = tf.reshape(tf.concat([batch, completion], axis=0), [-1, count, *sides, depth])
    places = range(2, 2 + len(sides))
    packs = tf.transpose(rows, [0, *places, 1, 2 + len(sides)])
    return tf.reshape(packs, [-1, *sides, count * depth])


def pack_weights(weights: tf.Tensor, count: int) -> tf.Tensor:
    """The sample weights of packs: the products of those of their images.

    If each image occurred w times, a pack would occur as often as this product. A pack with an
    image of weight 0 does not count.

    Args:
        weights: `[B]`.
        count: M, the number of images in a pack.

    Returns:
        `[⌈B/M⌉]`.
    """
    return weights if count == 1 else tf.reduce_prod(pack(weights[:, None], count), axis=1)
