"""The hierarchical VAE against closed forms: its levels, its bounds, and the latents it encodes."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.arrays import normal
from tests.models.vae.test_vae import noise
from tests.told import fails
from tfgen import VAE, Identity, figures, image_seeds, registry
from tfgen.evaluation.subject import density_of
from tfgen.models.export import in_float32
from tfgen.models.vae.bounds import FreeBits, kl_of_noise
from tfgen.models.vae.hierarchy import Level

pytestmark = pytest.mark.newest

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


@pytest.mark.quick
def test_the_importance_bound_is_exact_with_the_exact_posterior() -> None:
    vae, events = two_levels(), tf.constant(X.reshape(6, 2, 2, 1))
    # Each importance weight is p(x) itself, whatever z: no Monte Carlo error is left.
    expected = EXACT.log_prob(X)
    np.testing.assert_allclose(vae.importance_log_prob(events, noise(6), 3), expected, rtol=1e-9)
    density: Any = density_of(vae)
    np.testing.assert_allclose(density.bounds.log_prob(events, (0, 1), 5), expected, rtol=1e-9)
    # The mean path: the posterior's mean of z₁, and that of ε₂ = (z₂ − m z₁) / s given this z₁.
    mean, stddev = (value.numpy().T for value in vae.encode(events))
    z1 = V1 * (X - B) @ G1
    z2 = V2 * (M * z1 / S**2 + (X - B - np.outer(z1, W1)) @ W2)
    np.testing.assert_allclose(mean, [z1, (z2 - M * z1) / S], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stddev.T, [[V1**0.5, V2**0.5 / S]] * 6, rtol=1e-6)


def test_the_bounds_are_below_log_prob_by_the_kl() -> None:
    errors, draws = (0.2, -0.3), 4000
    vae, events = two_levels(*errors), repeated(4000)
    log_prob, gap = EXACT.log_prob(X[0]).numpy(), errors[0] ** 2 / V1 / 2 + errors[1] ** 2 / V2 / 2
    density: Any = density_of(vae)
    terms = vae.importance_weighted(events, noise(draws))
    # One sample: of the KL in closed form, of the sampled log-ratio, and in evaluation.
    for values in (
        vae.elbo(events, noise(draws)).elbo.numpy(),
        terms.bound().numpy(),
        density.bounds.elbo(events, (0, 1)),
    ):
        error = values.std() / np.sqrt(draws)
        np.testing.assert_allclose(log_prob - values.mean(), gap, atol=4 * error)
    # With K samples about Var(w/p) / 2K is left; log w is normal with variance 2 · gap.
    values = vae.importance_log_prob(events, noise(draws), 50).numpy()
    left = np.expm1(2 * gap) / (2 * 50)
    np.testing.assert_allclose(
        log_prob - values.mean(), left, rtol=0.1, atol=4 * values.std() / np.sqrt(draws)
    )


def test_the_sampled_log_ratio_is_minus_the_kl_in_the_mean() -> None:
    vae, draws = small(dtype="float64"), 3000
    for event in events_of(vae, 2):
        _, ratios, kls = vae.sampled_terms(tf.repeat(event[None], draws, axis=0), noise(draws))
        kl = tf.add_n(kls).numpy()
        # Both depend on the path from level to level; given this path, the sum has the mean 0.
        difference = ratios[0].numpy() + kl
        error = difference.std() / np.sqrt(draws)
        assert abs(difference.mean()) < 4 * error < 0.1 * kl.mean()


# --- a level, and the distributions ---------------------------------------------------------


@pytest.mark.quick
def test_before_training_the_posterior_is_the_prior() -> None:
    vae = VAE(latent_dim=3, architecture="hierarchical", channels=4, levels=3, level_channels=2)
    *_, kls = vae.sampled_terms(events_of(vae), noise(4))
    assert [float(np.abs(kl).max()) for kl in kls] == [0.0] * 4


@pytest.mark.quick
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


def test_the_posterior_is_a_distribution_of_the_noise() -> None:
    vae = small(num_classes=3, dtype="float64")
    labels = tf.one_hot([0, 1, 2, 0], 3, dtype=tf.float64)
    posterior = vae.posterior(events_of(vae), labels)
    eta = normal64(5, 4, vae.latent_dim)
    draws = posterior.draw(eta)
    # By a second pass, along the samples of the first.
    expected = vae.prior().log_prob(draws.latents) - posterior.log_prob(draws.latents)
    np.testing.assert_allclose(draws.log_ratios, expected, rtol=1e-9)
    samples = posterior.sample(2, seed=(0, 1))
    assert samples.shape == (2, 4, vae.latent_dim) and posterior.event_shape == samples.shape[2:]
    assert np.ptp(samples, axis=0).min() > 0
    # Without noise, every level is at its mean.
    still = posterior.draw(tf.zeros_like(eta[:1]))
    np.testing.assert_allclose(still.latents[0], posterior.mean(), rtol=1e-12)
    kls = kl_of_noise(posterior.mean(), tf.math.log(posterior.stddev()))
    np.testing.assert_allclose(tf.add_n(still.kls), tf.reduce_sum(kls, -1), rtol=1e-9)
    assert len(still.kls) == 4


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_decode_follows_the_path_that_encode_took(dtype: str) -> None:
    vae = small(dtype=dtype)
    posterior = vae.posterior(events_of(vae))
    eta = np.concatenate([np.zeros((1, 4, vae.latent_dim)), normal(1, 4, vae.latent_dim)])
    draws = posterior.draw(tf.constant(eta, tf.float32))
    assert draws.outputs.dtype == draws.latents.dtype == tf.float32
    outputs = vae.decoder(tf.reshape(draws.latents, [8, -1]))
    np.testing.assert_allclose(draws.outputs, outputs, rtol=1e-5, atol=1e-6)
    # The second path is another one.
    assert np.abs(outputs[:4] - outputs[4:]).max() > 1e-3
    mean, _ = vae.encode(pictures(vae))
    np.testing.assert_allclose(mean, draws.latents[0], rtol=1e-5, atol=1e-6)
    expected = tf.sigmoid(draws.outputs[:4])
    np.testing.assert_allclose(vae(pictures(vae)), expected, rtol=1e-5, atol=1e-6)


def test_decode_draws_each_level_from_its_prior() -> None:
    vae = small(dtype="float64")
    latents = tf.cast(vae.latents(image_seeds(0, 4)), tf.float64)
    top, *levels = vae.decoder.levels
    first, *others = tf.split(latents, vae.decoder.sizes, axis=-1)
    maps = tf.reshape(top.expand(first), [4, *top.output_maps])
    for level, epsilon in zip(levels, others, strict=True):
        moments = level.prior_moments(maps)
        prior = tfd.Normal(moments[..., :2], tf.exp(5 * tf.tanh(moments[..., 2:] / 5)))
        # The quantile of the probability of ε is a sample of the prior.
        probability = tfd.Normal(tf.zeros([], tf.float64), 1.0).cdf(epsilon)
        z = prior.quantile(tf.reshape(probability, moments[..., :2].shape))
        maps = level.block(maps + level.expand(z))
    expected = tf.sigmoid(vae.decoder.outputs(maps))
    np.testing.assert_allclose(vae.decode_events(latents), expected, rtol=1e-6)
    np.testing.assert_allclose(vae.sample(4), expected, rtol=1e-5)


def test_bytes_are_weighed_one_sample_at_a_time() -> None:
    fields = {"likelihood": "logistic_mixture", "binarization": "none", "mixtures": 2}
    vae = small((6, 5, 3), dtype="float64", **fields)
    images = tf.constant(pictures(vae))
    events = vae.preprocessing.events(images, noise(4), "float64")
    terms, together = (
        vae.importance_weighted(events, noise(4), samples=3, training=training)
        for training in (False, True)
    )
    for value, same in zip(terms, together, strict=True):
        np.testing.assert_allclose(value, same, rtol=1e-9)


# --- training ---------------------------------------------------------------------------------


def test_free_bits_take_the_kl_below_them_out_of_the_gradient() -> None:
    vae = small(dtype="float64", free_bits=4.0)
    events = events_of(vae)
    *_, kls = vae.sampled_terms(events, noise(4))
    assert np.min(kls) < 4 < np.max(kls)  # for some levels and images, not for all
    terms = vae.elbo(events, noise(4), training=True)
    assert isinstance(terms, FreeBits)
    np.testing.assert_allclose(terms.penalty, np.maximum(kls, 4).sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(terms.kl, np.sum(kls, axis=0), rtol=1e-9)
    np.testing.assert_allclose(terms.bound(), terms.elbo, rtol=1e-9)
    np.testing.assert_allclose(
        terms.bound(vae.kl_weight()), terms.reconstruction - terms.penalty, rtol=1e-9
    )
    # With more than any level has, nothing is left of the KL's gradient.
    gradients = []
    for model, weight in ((small(dtype="float64", free_bits=1e3), 1.0), (vae, 0.0)):
        with tf.GradientTape() as tape:
            loss = model.elbo(events, noise(4), training=True).bound(
                tf.constant(weight, tf.float64)
            )
        gradients.append(tape.gradient(loss, model.encoder.trainable_variables))
    for gradient, of_reconstruction in zip(*gradients, strict=True):
        np.testing.assert_allclose(gradient, of_reconstruction, rtol=1e-9, atol=1e-12)


def test_a_step_logs_the_bound_without_free_bits() -> None:
    logs = []
    for free_bits in (0.0, 1e3):
        vae = small(free_bits=free_bits)
        vae.compile(**vae.default_optimizers(1e-3), run_eagerly=True)
        logs.append(vae.train_on_batch(pictures(vae), return_dict=True))
    assert logs[0] == logs[1]


# --- networks, names, pictures ------------------------------------------------------------------


def test_the_preset_has_six_levels_of_7_by_7_and_no_block_at_full_size() -> None:
    vae = VAE(registry.family("vae").preset("hierarchical").model, dtype="mixed_bfloat16")
    assert vae.decoder.sizes == [32, *[7 * 7 * 8] * 6]
    assert vae.latent_dim == vae.config.latents == 2384
    assert vae.latents([0]).shape == (1, 2384)
    assert [output.shape[1:] for output in vae.encoder.outputs] == [(7, 7, 64)] * 3
    kinds = [type(layer).__name__ for layer in vae.decoder.tail]
    blocks = ["GatedResidual"] * 2
    assert kinds == ["Activation", "Upsampling", *blocks, "Activation", "Upsampling"]
    sizes = [tuple(layer.output.shape[1:]) for layer in vae.decoder.tail]
    assert sizes == [(7, 7, 64), *[(14, 14, 32)] * 4, (28, 28, 1)]
    assert vae.decoder.tail[-1].compute_dtype == "float32"
    assert vae.decoder.levels[1].join.compute_dtype == "bfloat16"
    # Glorot's bound, divided by the root of the number of levels.
    bound = math.sqrt(6 / (64 + 128)) / math.sqrt(6)
    blocks = [level.block for level in vae.decoder.levels[1:]] + vae.encoder.layers[-3:]
    for block in blocks:
        np.testing.assert_allclose(np.abs(block.outer.kernel).max(), bound, rtol=0.01)


def test_an_export_of_a_mixed_model_is_in_float32() -> None:
    mixed = small(dtype="mixed_bfloat16")
    plain = in_float32(mixed)
    assert {layer.compute_dtype for layer in plain._flatten_layers()} == {"float32"}
    # bfloat16 has 8 significant bits.
    np.testing.assert_allclose(plain.sample(4), mixed.sample(4), atol=0.05)
    assert np.abs(plain.sample(4) - mixed.sample(4)).max() > 0


def test_levels_differ_and_a_seed_decides_their_weights() -> None:
    def kernels(seed: int) -> list[bytes]:
        vae = VAE(image_shape=(6, 6, 1), architecture="hierarchical", channels=4, seed=seed)
        return [w.numpy().tobytes() for w in vae.trainable_variables if np.any(w.numpy())]

    first, again, another = kernels(0), kernels(0), kernels(1)
    assert first == again
    assert len({*first, *another}) == len(first) + len(another)


def test_a_level_comes_back_from_its_configuration() -> None:
    top, level, *_ = small().decoder.levels
    for layer, inputs in ((top, (None, 0)), (level, (None, 5, 3, 4))):
        again = type(layer).from_config(layer.get_config())
        again.build(inputs)
        # The weights of the prior start at zero, and `small` changes them.
        for weight, same in zip(again.weights, layer.weights, strict=True):
            assert weight.shape == same.shape
            if np.any(weight.numpy()):
                np.testing.assert_array_equal(weight, same)


def test_an_interpolation_varies_the_top_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, decoded = small(latent_dim=2), []
    decode = vae.decode
    monkeypatch.setattr(
        vae, "decode", lambda *arguments: decoded.append(arguments[0]) or decode(*arguments)
    )
    assert set(vae.pictures(pictures(vae))) == {"interpolation", "manifold"}
    path, plane = decoded
    ends = vae.latents(image_seeds(0, 2)).numpy()
    np.testing.assert_allclose(path[[0, 6], :2], ends[:, :2], atol=1e-5)
    np.testing.assert_array_equal(path[:, 2:], np.repeat(ends[:1, 2:], len(path), axis=0))
    np.testing.assert_array_equal(plane[:, :2], figures.manifold_latents(20))
    assert not np.any(plane[:, 2:])


def test_published_under_a_name_of_its_own() -> None:
    model = registry.family("vae").preset("hierarchical").model
    assert registry.default_name("vae", "mnist", model) == "vae-hierarchical"
    assert registry.default_name("vae", "emoji", model) == "vae-hierarchical-emoji"
    fewer = VAE.Config(architecture="hierarchical", latent_dim=2)
    assert registry.default_name("vae", "mnist", fewer) == "vae-hierarchical-2d"


def test_what_does_not_suit_is_refused() -> None:
    hierarchical = {"architecture": "hierarchical", "image_shape": (8, 8, 1)}
    fails(lambda: VAE(encoder=tf.keras.layers.Flatten(), **hierarchical), "leave out encoder=")
    fails(lambda: VAE(decoder=tf.keras.layers.Flatten(), **hierarchical), "leave out decoder=")
    fails(lambda: VAE(objective="iwae", free_bits=0.5, **hierarchical), "--free-bits 0")
    fails(lambda: VAE(levels=0, **hierarchical), "levels = 0 is too small")
    flat = {"likelihood": "normal", "preprocessing": Identity(), "image_shape": (8,)}
    fails(lambda: VAE(architecture="hierarchical", **flat), "are not images")
