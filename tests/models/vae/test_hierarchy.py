"""The hierarchical VAE against closed forms: its levels, its bounds, and the latents it encodes."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.arrays import normal
from tests.models.vae.test_vae import noise
from tfgen import VAE, Identity
from tfgen.evaluation.sources import density_of
from tfgen.models.vae.bounds import kl_of_noise
from tfgen.models.vae.hierarchy import Level

tfd: Any = tfp.distributions


def small(image_shape: tuple[int, ...] = (9, 6, 1), **config: Any) -> VAE:
    """A small model whose priors and posteriors are not standard normal, as if it were trained."""
    fields = {"latent_dim": 3, "channels": 4, "levels": 3, "level_channels": 2, "seed": 1}
    vae = VAE(image_shape=image_shape, architecture="hierarchical", **{**fields, **config})
    for level in vae.decoder.levels:
        zeros = [level.moments, *([level.prior_moments] if isinstance(level, Level) else [])]
        for weight in (weight for layer in zeros for weight in layer.weights):
            weight.assign(0.1 * normal(*weight.shape))
    return vae


def normal64(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.cast(normal(*shape, seed=seed), tf.float64)


def pictures(vae: VAE, n: int = 4) -> np.ndarray:
    shape = (n, *vae.config.image_shape)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def events_of(vae: VAE, n: int = 4) -> tf.Tensor:
    return vae.preprocessing.likely_events(tf.constant(pictures(vae, n)), vae.likelihood_dtype)


# --- a linear model of two levels, whose log p(x) is known --------------------------------

# x = w₁ z₁ + w₂ z₂ + b + ε with z₁ ~ N(0, 1), z₂ ~ N(m z₁, s²) and ε ~ N(0, I).
W1, W2 = np.array([0.7, -1.2, 0.4, 2.0]), np.array([0.9, 0.5, -1.0, 0.3])
M, S, B = 0.8, 0.6, 0.25
# z₁|x has the variance V1 and the mean V1 · G1 · (x − b); z₂|z₁, x has the variance V2.
U, C = W1 + M * W2, np.eye(4) + S**2 * np.outer(W2, W2)
G1 = np.linalg.solve(C, U)
V1, V2 = 1 / (1 + U @ G1), 1 / (1 / S**2 + W2 @ W2)
EXACT = tfd.MultivariateNormalFullCovariance(np.full(4, B), C + np.outer(U, U))
X = np.random.default_rng(0).normal(size=(6, 4)) * 1.5


def raw(log_scale: float) -> float:
    """What a log-scale is before it is bounded to ±5."""
    return 5 * math.atanh(log_scale / 5)


def set_weights(layer: Any, bias: Any, **entries: float) -> None:
    """Sets a layer's bias, and its kernel to zeros but for entries such as `k_1_2_0_3`."""
    kernel = np.zeros(layer.kernel.shape)
    for name, value in entries.items():
        kernel[tuple(map(int, name.split("_")[1:]))] = value
    layer.set_weights([kernel, np.broadcast_to(bias, layer.bias.shape)])


def two_levels(error_1: float = 0.0, error_2: float = 0.0) -> VAE:
    """That model as a hierarchical VAE of 2 × 2 images; errors shift the exact posterior's means.

    A ReLU passes v as the pair of channels v and −v. The last convolutions of all blocks are zero,
    and so the blocks change nothing.
    """
    vae = VAE(
        image_shape=(2, 2, 1),
        architecture="hierarchical",
        latent_dim=1,
        levels=1,
        level_channels=1,
        channels=4,
        likelihood="normal",
        preprocessing=Identity(),
        dtype="float64",
    )
    (_, halving, block), (top, level) = vae.encoder.layers, vae.decoder.levels
    for layer in (block.outer, level.block.outer):
        set_weights(layer, 0.0)
    # The image is under the four taps in the middle of a 4 × 4 kernel.
    taps = [(1 + i // 2, 1 + i % 2) for i in range(4)]
    of_z1 = {f"k_{r}_{c}_0_0": V1 * g for (r, c), g in zip(taps, G1, strict=True)}
    of_z2 = {f"k_{r}_{c}_0_1": V2 * w for (r, c), w in zip(taps, W2, strict=True)}
    constants = [error_1 - V1 * G1.sum() * B, error_2 - V2 * W2.sum() * B, 0, 0]
    set_weights(halving, constants, **of_z1, **of_z2)
    set_weights(top.moments, [0, raw(math.log(V1) / 2)], k_0_0=1)
    set_weights(top.expand, 0.0, k_0_0=1, k_0_1=-1)
    set_weights(level.prior_moments, [0, raw(math.log(S))], k_0_0_0_0=M)
    # Δμ = V2 (w₂·(x − b) − w₂·w₁ z₁ + m z₁ / s²) − m z₁, and with it its negative.
    of_top = V2 * (M / S**2 - W1 @ W2) - M
    signs = {"k_0_0_0_0": of_top, "k_0_0_0_1": -of_top, "k_0_0_5_0": 1, "k_0_0_5_1": -1}
    set_weights(level.join, 0.0, **signs)
    center = {"k_1_1_0_0": 1, "k_1_1_1_0": -1}
    set_weights(level.moments, [0, raw(math.log(V2) / 2 - math.log(S))], **center)
    set_weights(level.expand, 0.0, k_0_0_0_2=1, k_0_0_0_3=-1)
    out = {}
    for (row, column), first, second in zip(taps, W1, W2, strict=True):
        for channel, weight in enumerate((first, -first, second, -second)):
            out[f"k_{row}_{column}_0_{channel}"] = weight
    set_weights(vae.decoder.tail[-1], B, **out)
    return vae


def repeated(n: int) -> tf.Tensor:
    return tf.repeat(tf.constant(X[:1].reshape(1, 2, 2, 1)), n, axis=0)


def test_the_importance_bound_is_exact_with_the_exact_posterior() -> None:
    vae, events = two_levels(), tf.constant(X.reshape(6, 2, 2, 1))
    # Each importance weight is p(x) itself, whatever z: no Monte Carlo error is left.
    expected = EXACT.log_prob(X)
    bound = vae.sample_terms(events, noise(6), samples=3).importance_weighted()
    np.testing.assert_allclose(bound, expected, rtol=1e-9)
    density: Any = density_of(vae)
    np.testing.assert_allclose(density.bounds.log_prob(events, (0, 1), 5), expected, rtol=1e-9)
    # The mean path: the posterior's mean of z₁, and that of ε₂ = (z₂ − m z₁) / s given this z₁.
    mean, stddev = (value.numpy().T for value in vae.posterior_moments(events))
    z1 = V1 * (X - B) @ G1
    z2 = V2 * (M * z1 / S**2 + (X - B - np.outer(z1, W1)) @ W2)
    np.testing.assert_allclose(mean, [z1, (z2 - M * z1) / S], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stddev.T, [[V1**0.5, V2**0.5 / S]] * 6, rtol=1e-6)


def test_the_bounds_are_below_log_prob_by_the_kl() -> None:
    errors, draws = (0.2, -0.3), 4000
    vae, events = two_levels(*errors), repeated(4000)
    log_prob, gap = EXACT.log_prob(X[0]).numpy(), errors[0] ** 2 / V1 / 2 + errors[1] ** 2 / V2 / 2
    density: Any = density_of(vae)
    terms = vae.sample_terms(events, noise(draws))
    # One sample: of the KL in closed form, of the sampled log-ratio, and in evaluation.
    for values in (
        terms.elbo().numpy(),
        terms.importance_weighted().numpy(),
        density.bounds.elbo(events, (0, 1)),
    ):
        error = values.std() / np.sqrt(draws)
        np.testing.assert_allclose(log_prob - values.mean(), gap, atol=4 * error)
    # With K samples about Var(w/p) / 2K is left; log w is normal with variance 2 · gap.
    values = vae.sample_terms(events, noise(draws), samples=50).importance_weighted().numpy()
    left = np.expm1(2 * gap) / (2 * 50)
    atol = 4 * values.std() / np.sqrt(draws)
    np.testing.assert_allclose(log_prob - values.mean(), left, rtol=0.1, atol=atol)


# --- a level, and the distributions ---------------------------------------------------------


def test_before_training_the_posterior_is_the_prior() -> None:
    vae = VAE(latent_dim=3, architecture="hierarchical", channels=4, levels=3, level_channels=2)
    kls = vae.sample_terms(events_of(vae), noise(4)).kls
    assert [float(np.abs(kl).max()) for kl in kls] == [0.0] * 4


def test_ratio_and_kl_of_a_level_are_those_of_its_latents() -> None:
    level = Level(2, seed=1, dtype="float64")
    level.build((None, 3, 2, 4))
    level.prior_moments.kernel.assign(normal(1, 1, 4, 4))
    level.moments.kernel.assign(0.3 * normal(3, 3, 4, 4, seed=2))
    shape = (5, 3, 2, 4)
    maps, features, eta = normal64(*shape), normal64(*shape, seed=1), normal64(5, 12)
    prior = level.prior(maps, tf.float64)
    mean, log_stddev = level.posterior(maps, features, prior, tf.float64)
    epsilon = mean + tf.exp(log_stddev) * eta
    flat = [tf.reshape(moment, [5, 12]) for moment in prior]
    p = tfd.Normal(flat[0], tf.exp(flat[1]))
    # μ_q = μ_p + Δμ with Δμ = σ_p · mean, and σ_q = σ_p exp(Δ log σ).
    q = tfd.Normal(p.loc + p.scale * mean, p.scale * tf.exp(log_stddev))
    z = p.loc + p.scale * epsilon
    ratio = (eta**2 - epsilon**2) / 2 + log_stddev
    np.testing.assert_allclose(ratio, p.log_prob(z) - q.log_prob(z), rtol=1e-9)
    np.testing.assert_allclose(kl_of_noise(mean, log_stddev), tfd.kl_divergence(q, p), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_decode_follows_the_path_that_encode_took(dtype: str) -> None:
    vae = small(dtype=dtype)
    posterior = vae.posterior(events_of(vae))
    eta = np.concatenate([np.zeros((1, 4, vae.latent_dim)), normal(1, 4, vae.latent_dim)])
    outputs, latents, *_ = posterior.draw(tf.constant(eta, tf.float32))
    assert outputs.dtype == latents.dtype == tf.float32
    # Bfloat16 has three digits, and another batch size may round the last of them otherwise.
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 0.05, "atol": 0.05}
    decoded = vae.decoder(tf.reshape(latents, [8, -1]))
    np.testing.assert_allclose(outputs, decoded, **close)
    # The second path is another one.
    assert np.abs(outputs[:4] - outputs[4:]).max() > 1
    np.testing.assert_allclose(vae.encode(pictures(vae)), latents[0], **close)
    np.testing.assert_allclose(vae(pictures(vae)), tf.sigmoid(outputs[:4]), **close)


# --- training ---------------------------------------------------------------------------------


def test_free_bits_take_the_kl_below_them_out_of_the_gradient() -> None:
    vae = small(dtype="float64", free_bits=4.0)
    events = events_of(vae)
    terms = vae.sample_terms(events, noise(4), training=True)
    assert np.min(terms.kls) < 4 < np.max(terms.kls)  # for some levels and images, not for all
    np.testing.assert_allclose(terms.kl, np.sum(terms.kls, axis=0), rtol=1e-9)
    np.testing.assert_allclose(vae.bound(terms), terms.reconstruction - terms.kl, rtol=1e-9)
    penalty = np.maximum(terms.kls, 4).sum(axis=0)
    trained = vae.bound(terms, training=True)
    np.testing.assert_allclose(trained, terms.reconstruction - penalty, rtol=1e-9)
    # With more than any level has, nothing is left of the KL's gradient.
    gradients = []
    for model, weight, free_bits in ((small(dtype="float64"), 1.0, 1e3), (vae, 0.0, 0.0)):
        with tf.GradientTape() as tape:
            terms = model.sample_terms(events, noise(4), training=True)
            loss = terms.elbo(weight, free_bits)
        gradients.append(tape.gradient(loss, model.encoder.trainable_variables))
    for gradient, of_reconstruction in zip(*gradients, strict=True):
        np.testing.assert_allclose(gradient, of_reconstruction, rtol=1e-9, atol=1e-12)
