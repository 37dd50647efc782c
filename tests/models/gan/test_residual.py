"""The layers of the residual networks against plain operations, and the shapes of networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen import GAN
from tfgen.models.gan.networks import DoublingConv2D, HalvingConv2D, quick_leaky_relu

RNG = np.random.default_rng(0)


def test_layers_are_convolutions_of_doubled_and_means_of_convolved_images() -> None:
    images = tf.constant(RNG.normal(size=(2, 4, 6, 3)))
    bias = keras.initializers.RandomNormal(seed=0)
    double, halve = (
        kind(5, bias_initializer=bias, dtype="float64") for kind in (DoublingConv2D, HalvingConv2D)
    )
    doubled = tf.repeat(tf.repeat(images, 2, 1), 2, 2)
    outputs = double(images)
    wanted = tf.nn.conv2d(doubled, double.kernel.value, 1, "SAME") + double.bias.value
    np.testing.assert_allclose(outputs, wanted, atol=1e-14)
    assert double.compute_output_shape(images.shape) == outputs.shape
    outputs = halve(images)
    wanted = tf.nn.conv2d(images, halve.kernel.value, 1, "SAME") + halve.bias.value
    np.testing.assert_allclose(outputs, tf.nn.avg_pool2d(wanted, 2, 2, "VALID"), atol=1e-14)
    odd = halve(images[:, :3, :5])
    assert odd.shape == halve.compute_output_shape((2, 3, 5, 3)) == (2, 2, 3, 5)
    np.testing.assert_allclose(odd[:, :1, :2], halve(images[:, :4, :5])[:, :1, :2], atol=1e-14)


def test_the_leaky_relu_has_the_gradients_of_max() -> None:
    inputs = tf.constant(RNG.normal(size=20))
    with tf.GradientTape() as second:
        second.watch(inputs)
        with tf.GradientTape() as first:
            first.watch(inputs)
            total = tf.reduce_sum(quick_leaky_relu(inputs) ** 2)
        slope = first.gradient(total, inputs)
    factor = np.where(inputs > 0, 1, 0.2)
    np.testing.assert_allclose(quick_leaky_relu(inputs), factor * inputs)
    np.testing.assert_allclose(slope, 2 * factor**2 * inputs)
    np.testing.assert_allclose(second.gradient(slope, inputs), 2 * factor**2)


@pytest.mark.parametrize("architecture", ["convolutional", "residual"])
@pytest.mark.parametrize(
    ("shape", "halvings", "smallest"),
    [((32, 32, 3), 0, (4, 4)), ((37, 37, 1), 0, (5, 5)), ((20, 12, 3), 3, (3, 2))],
)
def test_networks_take_images_of_any_size(
    architecture: str, shape: tuple[int, ...], halvings: int, smallest: tuple[int, int]
) -> None:
    fields = {"channels": 1, "units": 2, "latent_dim": 2, "halvings": halvings}
    model = GAN(image_shape=shape, architecture=architecture, **fields)
    maps = [layer.output.shape[1:3] for layer in model.generator.layers]
    assert next(sides for sides in maps if len(sides) == 2) == smallest
    images = model.sample(2, seed=0)
    assert images.shape == (2, *shape)
    assert model.score(tf.cast(255 * images, tf.uint8)).shape == (2,)
