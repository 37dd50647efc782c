"""The convolutional VAE: batches of no images."""

import keras
import pytest
import tensorflow as tf

from tfgen import VAE


class NeverEmpty(keras.layers.Layer):
    """Fails for an empty batch, as oneDNN's convolutions do."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_positive(tf.shape(inputs)[0])
        return inputs


def own_networks() -> tuple[keras.Sequential, keras.Sequential]:
    """Convolutional networks of the user's own, of 8 × 8 images and 2 latents."""
    layers = keras.layers
    transposed = layers.Conv2DTranspose(1, 4, strides=2, padding="same")
    encoder = [NeverEmpty(), layers.Conv2D(3, 3, strides=2), layers.Flatten(), layers.Dense(4)]
    decoder = [NeverEmpty(), layers.Dense(32), layers.Reshape((4, 4, 2)), transposed]
    return (
        keras.Sequential([keras.Input((8, 8, 1)), *encoder]),
        keras.Sequential([keras.Input((2,)), *decoder]),
    )


def test_networks_of_the_caller_get_no_empty_batch() -> None:
    encoder, decoder = own_networks()
    vae = VAE(image_shape=(8, 8, 1), latent_dim=2, encoder=encoder, decoder=decoder)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoder(tf.zeros([0, 2]))
    images = tf.TensorSpec([None, 8, 8, 1], tf.uint8)
    for function, specs, shapes in (
        (vae.encode, [images], [(2,), (2,)]),
        (vae.decode, [tf.TensorSpec([None, 2])], [(8, 8, 1)]),
        (
            lambda images, seeds: vae.log_prob(images, seeds, samples=3),
            [images, tf.TensorSpec([None], tf.int32)],
            [()],
        ),
    ):
        traced = tf.function(function, input_signature=specs)
        for batch in (0, 2):
            inputs = [tf.zeros([batch, *spec.shape[1:]], spec.dtype) for spec in specs]
            for called in (function, traced):
                outputs = tf.nest.flatten(called(*inputs))
                assert [output.shape for output in outputs] == [(batch, *shape) for shape in shapes]
