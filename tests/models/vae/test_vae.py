"""The VAE against closed forms."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import VAE, Identity, Pixels
from tfgen.models.vae.likelihoods import Bernoulli
from tfgen.nn import cores
from tfgen.random import BatchNoise, SeedNoise, image_seeds

tfd = tfp.distributions


def noise(n: int) -> SeedNoise:
    return SeedNoise(tf.constant(image_seeds(0, n)))


def linear(inputs: int, kernel: np.ndarray, bias: np.ndarray) -> keras.Layer:
    layer = keras.layers.Dense(kernel.shape[1], dtype="float64")
    layer.build((None, inputs))
    layer.set_weights([kernel, bias])
    return layer


def linear_gaussian(
    encoder_error: float, **config: Any
) -> tuple[VAE, tfd.Distribution, np.ndarray]:
    """x = w z + b + ε with one latent: the VAE, the exact p(x), and some x.

    The exact posterior is normal with variance s² = 1 / (1 + w·w) and mean s² w·(x − b);
    `encoder_error` shifts it.
    """
    w, b = np.array([[0.7, -1.2, 0.4, 2.0]]), np.array([0.1, -0.5, 0.0, 1.0])
    variance = 1 / (1 + (w @ w.T).item())
    raw_scale = np.log(np.expm1(np.sqrt(variance) - 1e-7))
    kernel = np.hstack([variance * w.T, np.zeros((4, 1))])
    bias = np.array([-variance * (w @ b).item() + encoder_error, raw_scale])
    vae = VAE(
        image_shape=(4,),
        latent_dim=1,
        likelihood="normal",
        encoder=linear(4, kernel, bias),
        decoder=linear(1, w, b),
        preprocessing=Identity(),
        dtype="float64",
        **config,
    )
    exact = tfd.MultivariateNormalFullCovariance(b, np.eye(4) + w.T @ w)
    return vae, exact, np.random.default_rng(0).normal(size=(6, 4)) * 1.5


def test_importance_bound_is_exact_with_the_exact_posterior() -> None:
    vae, exact, x = linear_gaussian(encoder_error=0.0)
    # Each importance weight is p(x) itself, whatever z: no Monte Carlo error is left.
    np.testing.assert_allclose(
        vae.sample_terms(tf.constant(x), noise(6), samples=3).importance_weighted(),
        exact.log_prob(x),
        rtol=1e-6,
    )


def test_elbo_below_importance_bound_below_log_prob() -> None:
    vae, exact, x = linear_gaussian(encoder_error=0.5)
    draws, events = 4000, tf.repeat(tf.constant(x[:1]), 4000, axis=0)
    terms = [vae.sample_terms(events, noise(draws), samples=k) for k in (1, 2, 5, 50)]
    bounds = [terms[0].elbo().numpy(), *(of_k.importance_weighted().numpy() for of_k in terms[1:])]
    error = max(b.std() for b in bounds) / np.sqrt(draws)
    means = [b.mean() for b in bounds]
    log_prob = exact.log_prob(x[0]).numpy()
    highs = [*means[1:], log_prob]
    assert all(low < high + 3 * error for low, high in zip(means, highs, strict=True))
    assert means[0] < means[-1] - 3 * error
    # The gap of the ELBO is KL(q ‖ p(z|x)) = shift² / (2 s²), s² = 1 / (1 + w·w).
    np.testing.assert_allclose(log_prob - means[0], 0.5**2 / 2 * (1 + 6.09), atol=4 * error)
    # With K samples about Var(w) / 2K is left (Nowozin 2018), Var(w) = exp(shift² / s²) − 1 here.
    left = np.expm1(0.5**2 * (1 + 6.09)) / (2 * 50)
    np.testing.assert_allclose(log_prob - means[-1], left, rtol=0.25)


def test_kl_is_the_closed_form() -> None:
    vae = VAE(image_shape=(4, 4, 1), latent_dim=5, hidden=(8,), dtype="float64")
    events = tf.constant(np.random.default_rng(0).random((7, 4, 4, 1)))
    posterior = vae.posterior(events)
    mean, stddev = posterior.mean().numpy(), posterior.stddev().numpy()
    closed = 0.5 * (stddev**2 + mean**2 - 1 - 2 * np.log(stddev)).sum(-1)
    kl = vae.sample_terms(events, noise(7)).kl
    np.testing.assert_allclose(kl, closed, rtol=1e-9)
    np.testing.assert_allclose(kl, tfd.kl_divergence(posterior, vae.prior()), rtol=1e-9)


def test_a_step_on_two_halves_is_one_step_on_both() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 1)).astype(np.uint8)
    vae = VAE(image_shape=(6, 6, 1), latent_dim=3, hidden=(8,), seed=2, dtype="float64")
    vae.compile(optimizer=keras.optimizers.SGD(1 / 8))  # exact in float32, as Keras holds it
    noise, before, losses = vae.training_noise(), [v.numpy() for v in vae.trainable_variables], []
    with tf.GradientTape() as tape:
        for index, half in enumerate((images[:8], images[8:])):
            own = noise.part(index)
            events = vae.preprocessing.events(tf.constant(half), own, "float64")
            losses.append(-vae.sample_terms(events, own).elbo())
        loss = tf.reduce_mean(tf.concat(losses, axis=0))
    gradients = tape.gradient(loss, vae.trainable_variables)
    with cores.speedups(True):
        logs = vae.train_on_batch(images, return_dict=True)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-9)
    for variable, old, gradient in zip(vae.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(variable, old - gradient / 8, rtol=1e-9, atol=1e-9)


def test_halves_draw_their_own_noise_and_come_back_in_order() -> None:
    vae = VAE(image_shape=(6, 6, 1), latent_dim=3, hidden=(8,))
    vae.compile()
    images = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 36, axis=1).reshape(16, 6, 6, 1)

    def draws(images: tf.Tensor, noise: BatchNoise, labels: None) -> tuple[tf.Tensor, tf.Tensor]:
        return images, noise.normal(tf.shape(images)[0], (3,), 1)

    with cores.speedups(True):
        same, normal = vae.side_by_side(draws, tf.constant(images), vae.training_noise(), None)
    np.testing.assert_array_equal(same, images)
    assert normal.shape == (16, 3) and len(np.unique(normal)) == 48


def test_bernoulli_is_tfp_s() -> None:
    logits = tf.constant(np.linspace(-60, 60, 241), tf.float32)
    grey = tf.constant(np.random.default_rng(0).random(241), tf.float32)
    for x in (grey, tf.round(grey)):
        results = []
        for kind in (Bernoulli, tfd.Bernoulli):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                log_prob = kind(logits=logits, dtype=tf.float32).log_prob(x)
            results.append((log_prob, tape.gradient(log_prob, logits)))
        (ours, gradient), (theirs, expected) = results
        # What is left of two numbers of up to 60 has their rounding, some units of 4e-6. The
        # gradient is what is left of two numbers of up to 1.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=2e-5)
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_likelihoods_are_tfp_densities_summed_over_the_event() -> None:
    x = np.random.default_rng(0).random((3, 4, 4, 1))
    for likelihood, pixel in (
        ("bernoulli", lambda p: tfd.Bernoulli(logits=p, dtype=tf.float64)),
        ("continuous_bernoulli", lambda p: tfd.ContinuousBernoulli(logits=p)),
        ("normal", lambda p: tfd.Normal(p, np.float64(1))),
    ):
        # Identity, because a Bernoulli likelihood of `none` is refused.
        fields = {"latent_dim": 2, "hidden": (8,), "likelihood": likelihood, "binarization": "none"}
        vae = VAE(image_shape=(4, 4, 1), **fields, preprocessing=Identity(), dtype="float64")
        latents = vae.latents(image_seeds(0, 3))
        expected = tf.reduce_sum(pixel(vae.decoder(latents)).log_prob(x), [1, 2, 3])
        np.testing.assert_allclose(vae.likelihood(latents).log_prob(x), expected, rtol=1e-9)


def test_dynamic_binarization_has_the_pixels_as_means() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    batch = tf.constant(np.repeat(grey, 4000, axis=0))
    events = Pixels("dynamic").events(batch, BatchNoise(tf.constant([0, 1]))).numpy()
    assert set(np.unique(events)) == {0.0, 1.0}
    # Five standard errors of a mean of 4000 draws; black and white are certain.
    atol = 5 * 0.5 / np.sqrt(4000)
    np.testing.assert_allclose(events.mean(0).ravel(), np.arange(256) / 255, atol=atol)
    assert events[:, 0, 0].max() == 0
    assert events[:, -1, -1].min() == 1
