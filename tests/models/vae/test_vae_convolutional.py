"""The convolutional VAE: its networks, labels, sides, and batches of no images."""

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.arrays import normal
from tests.told import fails
from tfgen import VAE, Identity, image_seeds, registry
from tfgen.models.vae.networks import convolutional_decoder, convolutional_encoder

pytestmark = pytest.mark.newest

COMMON = {"seed": 0, "dtype": "float32", "name": "network", "activation": "relu"}


def small(image_shape: tuple[int, ...] = (8, 8, 1), **config: Any) -> VAE:
    common = {"latent_dim": 3, "hidden": (5,), "channels": 2}
    return VAE(image_shape=image_shape, **{**common, "architecture": "convolutional", **config})


def kinds(network: keras.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network.layers]


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 12, 3)])
@pytest.mark.parametrize(("blocks", "hidden"), [(0, ()), (2, (5, 6))])
def test_networks_fit_the_images(
    shape: tuple[int, int, int], blocks: int, hidden: tuple[int, ...]
) -> None:
    decoder = convolutional_decoder(6, (3, 6), blocks, hidden, shape, **COMMON)
    logits = decoder(30 * normal(5, 6))
    assert logits.shape == (5, *shape)
    assert np.abs(logits).max() > 1
    assert convolutional_encoder(shape, (3, 6), blocks, hidden, 7, **COMMON)(logits).shape == (5, 7)


def test_networks_mirror_each_other() -> None:
    encoder = convolutional_encoder((8, 8, 1), (4, 8), 2, (5,), 6, **COMMON)
    decoder = convolutional_decoder(3, (4, 8), 2, (5,), (8, 8, 1), **COMMON)
    blocks = ["GatedResidual", "GatedResidual", "Activation"]
    smaller, larger = ["Conv2D", *blocks], [*blocks, "Upsampling"]
    assert kinds(encoder) == [*smaller, *smaller, "Flatten", "Dense", "Activation", "Dense"]
    assert kinds(decoder) == ["Dense", "Activation", "Dense", "Reshape", *larger, *larger]
    sizes = [
        tuple(layer.output.shape[1:])
        for layer in encoder.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert sizes == [(4, 4, 4), (2, 2, 8)]
    shapes = [tuple(layer.output.shape[1:]) for layer in decoder.layers[3:]]
    assert shapes == [(2, 2, 8)] * 4 + [(4, 4, 4)] * 4 + [(8, 8, 1)]


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_the_decoder_has_the_hidden_layers_in_reverse(architecture: str) -> None:
    vae = small(architecture=architecture, hidden=(5, 6))
    encoder, decoder = (
        [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
        for network in (vae.encoder, vae.decoder)
    )
    assert encoder == [5, 6, 2 * 3]
    assert decoder[:2] == [6, 5]


def test_a_seed_decides_the_weights_and_layers_differ() -> None:
    def kernels(seed: int) -> list[np.ndarray]:
        vae = small(channels=4, blocks=2, hidden=(4, 4), seed=seed)
        return [v.numpy() for v in vae.trainable_variables if v.name == "kernel"]

    first, again, other = kernels(0), kernels(0), kernels(1)
    for kernel, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(kernel, same)
    flat = [kernel.tobytes() for kernel in (*first, *other)]
    assert len(set(flat)) == len(flat)


def multiply_adds(network: keras.Sequential) -> int:
    """Those of a network's kernels for one example."""

    def of_kernels(places: int, *kernels: Any) -> int:
        return places * sum(math.prod(kernel.shape) for kernel in kernels)

    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense):
            total += of_kernels(1, layer.kernel)
        elif hasattr(layer, "inner"):  # a residual block
            total += of_kernels(
                math.prod(layer.input.shape[1:3]), layer.inner.kernel, layer.outer.kernel
            )
        elif hasattr(layer, "kernel"):  # transposed: each pixel of the input meets the whole kernel
            total += of_kernels(math.prod(layer.input.shape[1:3]), layer.kernel)
    return total


def test_the_presets_decoder_is_cheap_enough_for_thousands_of_samples() -> None:
    vae = VAE(**registry.family("vae").preset("conv").model.to_json())
    # By hand, of 28 × 28 with 20 latents, 500 units, 16 channels, a block at each size.
    dense, quarter, half = (
        20 * 500 + 500 * 49 * 32,
        49 * 11 * 32**2 + 49 * 16 * 32 * 16,
        196 * 11 * 16**2,
    )
    assert multiply_adds(vae.decoder) == dense + quarter + half + 196 * 16 * 16
    assert multiply_adds(vae.decoder) < 2.5e6


@pytest.mark.parametrize("shape", [(8, 4, 1), (4, 4, 3)])
def test_both_networks_see_the_label(shape: tuple[int, ...]) -> None:
    vae = small(shape, num_classes=3, channels=8, hidden=(20,), activation="tanh")
    pictures = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.uint8)
    latents = vae.latents(image_seeds(0, 4))
    for function in (
        lambda label: vae.decode(latents, label),
        lambda label: vae.encode(pictures, label)[0],
    ):
        first, second = (function(tf.fill([4], label)).numpy().reshape(4, -1) for label in (0, 1))
        assert np.all(np.abs(first - second).max(axis=1) > 1e-4)
        mixed = function(tf.constant([0, 1, 0, 1])).numpy().reshape(4, -1)
        np.testing.assert_allclose(mixed[::2], first[::2], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "halvings", "sizes"),
    [
        ((37, 37, 1), 0, [(19, 19), (10, 10), (5, 5)]),
        ((26, 15, 3), 0, [(13, 8), (7, 4)]),
        ((5, 9, 3), 1, [(3, 5)]),
    ],
)
def test_sides_are_halved_until_seven_pixels_and_cut_again(
    shape: tuple[int, ...], halvings: int, sizes: list[tuple[int, int]]
) -> None:
    vae = small(shape, halvings=halvings, likelihood="logistic_mixture", binarization="none")
    strided = [layer for layer in vae.encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [tuple(layer.output.shape[1:3]) for layer in strided] == sizes
    widths = [2, 4, 8, 16][: len(sizes)]
    assert [layer.filters for layer in strided] == widths
    # Where a doubled side is too long, a layer cuts it; the last size is that of the image.
    grown = [layer for layer in vae.decoder.layers if type(layer).__name__ == "GatedResidual"]
    assert [tuple(layer.output.shape[1:]) for layer in grown] == [
        (*size, width) for size, width in reversed(list(zip(sizes, widths, strict=True)))
    ]
    assert vae.sample(2).shape == (2, *shape)
    assert vae.encode(np.zeros((2, *shape), np.uint8))[0].shape == (2, 3)


def test_events_that_are_no_images_are_refused() -> None:
    flat = {"likelihood": "normal", "preprocessing": Identity()}
    fails(lambda: small((8,), **flat), "events of size 8 are not images", "--architecture dense")


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
