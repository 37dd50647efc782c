"""The mixture of discretized logistics, and the VAE of bytes, against closed forms."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import VAE, SymmetricPixels
from tfgen.models.vae.logistic_mixture import LogisticMixture, outputs_per_pixel
from tfgen.random import BatchNoise

tfd = tfp.distributions
BYTES = np.arange(256) / 127.5 - 1
OF_BYTES = {"likelihood": "logistic_mixture", "binarization": "none", "mixtures": 2}


def outputs(channels: int, mixtures: int, n: int = 20, spread: float = 4.0) -> np.ndarray:
    """Random outputs of a decoder for n images of a single pixel."""
    rng = np.random.default_rng(0)
    return spread * rng.normal(size=(n, 1, 1, outputs_per_pixel(channels, mixtures)))


def probabilities(
    parameters: np.ndarray, channels: int, mixtures: int, levels: int, **bounds: Any
) -> np.ndarray:
    """P(x) of a pixel by loops over components and channels, `[N, levels, …]`; no tricks."""

    def sigmoid(values: Any) -> Any:
        return 1 / (1 + np.exp(-np.clip(values, -700, 700)))

    half = 1 / (levels - 1)
    values = 2 * half * np.arange(levels) - 1
    result = np.zeros((len(parameters), *[levels] * channels))
    for index, row in enumerate(parameters.reshape(len(parameters), -1)):
        k, c = mixtures, channels
        logits, rest = row[:k], row[k:]
        means = rest[: c * k].reshape(c, k) + (2 * np.arange(k) + 1) / k - 1
        scales = np.exp(np.clip(rest[c * k : 2 * c * k].reshape(c, k) - np.log(k), -7, 7))
        coefficients = np.tanh(rest[2 * c * k :].reshape(-1, k))
        weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        for place in itertools.product(range(levels), repeat=channels):
            for component in range(k):
                p, pair = weights[component], 0
                for channel in range(c):
                    mean = means[channel, component]
                    for before in range(channel):
                        mean += coefficients[pair, component] * values[place[before]]
                        pair += 1
                    ends = values[place[channel]] + np.array([-half, half])
                    low, high = sigmoid((ends - mean) / scales[channel, component])
                    low = 0.0 if place[channel] == 0 else low
                    p *= (1.0 if place[channel] == levels - 1 else high) - low
                result[index][place] += p
    return result


@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (2, 8), (3, 8)])
def test_probabilities_are_those_of_the_formula_and_sum_to_one(channels: int, levels: int) -> None:
    parameters = outputs(channels, 2, 3, spread=1.5)
    mixture = LogisticMixture(tf.constant(parameters), channels, 2, levels)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, levels)] * channels, indexing="ij"), axis=-1)
    log_prob = mixture.log_prob(grid.reshape(-1, 1, 1, 1, channels))
    expected = probabilities(parameters, channels, 2, levels).reshape(3, -1).T
    np.testing.assert_allclose(np.exp(log_prob), expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=0), 1, rtol=1e-9)


def test_one_component_is_tfps_quantized_logistic() -> None:
    parameters = outputs(1, 1, spread=1.0)
    _, means, log_scales = np.moveaxis(parameters.reshape(-1, 3, 1), 1, 0)
    # TFP rounds up, hence the half level.
    logistic = tfd.Logistic(127.5 * (means + 1) - 0.5, 127.5 * np.exp(log_scales))
    quantized = tfd.QuantizedDistribution(logistic, low=0.0, high=255.0)
    ours = LogisticMixture(tf.constant(parameters), 1, 1)
    np.testing.assert_allclose(
        ours.log_prob(BYTES.reshape(256, 1, 1, 1, 1)),
        quantized.log_prob(np.arange(256.0)[:, None, None])[..., 0],
        rtol=1e-8,
    )


def test_tails_are_finite_and_exact_in_float32() -> None:
    # A narrow logistic around black, of which white is 2 · e⁷ scales away, and one beyond white.
    parameters = np.array([[0.0, -1.0, -20.0], [0.0, 40.0, -20.0]]).reshape(2, 1, 1, 3)
    values = BYTES.reshape(256, 1, 1, 1, 1)
    logs = {}
    for dtype in ("float32", "float64"):
        tensor = tf.constant(parameters, dtype)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            mixture = LogisticMixture(tensor, 1, 1)
            logs[dtype] = mixture.log_prob(tf.constant(values, dtype))
        assert np.all(np.isfinite(logs[dtype]))
        assert np.all(np.isfinite(tape.gradient(logs[dtype], tensor)))
    np.testing.assert_allclose(logs["float32"], logs["float64"], rtol=1e-5)
    # The log of e^(−x), for a level x scales from the mean.
    np.testing.assert_allclose(logs["float64"][255, 0], -(2 - 1 / 255) * np.exp(7), rtol=1e-9)
    assert logs["float64"][255, 1] == 0


def test_the_mean_of_a_grey_pixel_is_within_half_a_level() -> None:
    parameters = outputs(1, 3, 200)
    mixture = LogisticMixture(tf.constant(parameters), 1, 3)
    exact = np.exp(mixture.log_prob(BYTES.reshape(256, 1, 1, 1, 1))).T @ BYTES
    np.testing.assert_allclose(np.ravel(mixture.mean()), exact, atol=1 / 255)


def test_every_byte_is_in_its_own_bin() -> None:
    images = tf.constant(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1))
    events = SymmetricPixels().events(images, BatchNoise(tf.constant([0, 1])))
    # Outputs for a narrow logistic around each byte: it has nearly all of the probability.
    parameters = np.stack([np.zeros(256), BYTES, np.full(256, -7.0)], axis=-1)
    mixture = LogisticMixture(tf.constant(parameters.reshape(256, 1, 1, 3), tf.float32), 1, 1)
    expected = np.log(np.tanh(np.exp(7) / 255 / 2))
    log_prob = mixture.log_prob(events).numpy()
    np.testing.assert_allclose(log_prob[1:-1], expected, rtol=1e-4)
    assert np.all(log_prob[[0, -1]] > expected)


# --- the VAE ----------------------------------------------------------------------------


class Fixed(keras.layers.Layer):
    """The same outputs for all inputs."""

    def __init__(self, values: np.ndarray, **kwargs: Any):
        super().__init__(**kwargs)
        self.values = values

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.repeat(tf.constant(self.values[None], self.dtype), tf.shape(inputs)[0], axis=0)


def without_latents(parameters: np.ndarray, **fields: Any) -> VAE:
    """A VAE whose decoder ignores z and whose posterior is the prior: the bounds are exact."""
    raw_scale = np.log(np.expm1(1 - 1e-7))
    return VAE(
        image_shape=(2, 2, 3),
        latent_dim=2,
        encoder=Fixed(np.array([0, 0, raw_scale, raw_scale]), dtype="float64"),
        decoder=Fixed(parameters, dtype="float64"),
        dtype="float64",
        **{**OF_BYTES, **fields},
    )


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 2, 2, 3)).astype(np.uint8)


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_without_latents_all_bounds_are_the_likelihood(objective: str) -> None:
    parameters = np.random.default_rng(0).normal(size=(2, 2, 20))
    vae = without_latents(parameters, objective=objective, importance_samples=3)
    exact = np.zeros(6)
    # From the formula in plain numpy, pixel by pixel.
    for row, column in itertools.product(range(2), range(2)):
        pixel = parameters[row, column].reshape(1, 1, 1, 20)
        mixture = LogisticMixture(tf.constant(pixel), 3, 2)
        exact += mixture.log_prob(IMAGES[:, row, column].reshape(6, 1, 1, 3) / 127.5 - 1).numpy()
    # In a graph: outside of one, a loop over dozens of samples takes seconds.
    log_prob = tf.function(vae.log_prob, autograph=False)
    np.testing.assert_allclose(log_prob(IMAGES), exact, rtol=1e-9)
    vae.compile(jit_compile=False)
    logs = vae.test_step(tf.constant(IMAGES))
    assert float(logs["loss"]) == pytest.approx(-exact.mean(), rel=1e-6)
    assert float(logs["bits_per_dim"]) == pytest.approx(-exact.mean() / (12 * np.log(2)), rel=1e-6)
    np.testing.assert_allclose(vae.bits_per_dim(exact), -exact / (12 * np.log(2)), rtol=1e-12)
