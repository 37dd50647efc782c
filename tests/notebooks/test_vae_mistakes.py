"""Typical wrong answers to the exercises on the VAE, each named by the check that catches it."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from notebooks.checks import find_mistake, load_exercises

pytestmark = [pytest.mark.quick, pytest.mark.newest]

EXERCISES = load_exercises("vae")


# --- right answers ------------------------------------------------------------------------


def sample_images(decode, n, latent_dim, rng):
    z = rng.standard_normal((n, latent_dim))
    f = decode(z)
    return z, (rng.random(f.shape) < f).astype("float32")


def log_mean_exp(log_p):
    top = log_p.max(axis=0)
    return top + np.log(np.mean(np.exp(log_p - top), axis=0))


def kl_to_prior(mean, log_stddev):
    terms = tf.exp(2 * log_stddev) + mean**2 - 1 - 2 * log_stddev
    return tf.reduce_sum(terms, axis=-1) / 2


def bernoulli_log_prob(x, logits):
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    return -tf.reduce_sum(losses, axis=-1)


def negative_elbo(x, logits, mean, log_stddev):
    return tf.reduce_mean(kl_to_prior(mean, log_stddev) - bernoulli_log_prob(x, logits))


def sample_posterior(mean, log_stddev, noise):
    return mean + tf.exp(log_stddev) * noise


RIGHT = [
    sample_images,
    log_mean_exp,
    kl_to_prior,
    bernoulli_log_prob,
    negative_elbo,
    sample_posterior,
]


@pytest.mark.parametrize("function", RIGHT, ids=lambda function: function.__name__)
def test_a_right_answer_has_no_mistake(function: Callable) -> None:
    assert find_mistake(EXERCISES[function.__name__], function) is None


def test_every_exercise_has_a_right_answer() -> None:
    assert [function.__name__ for function in RIGHT] == list(EXERCISES)


# --- mistakes -----------------------------------------------------------------------------


def means_for_samples(decode, n, latent_dim, rng):
    z = rng.standard_normal((n, latent_dim))
    return z, decode(z)


def rounded(decode, n, latent_dim, rng):
    z = rng.standard_normal((n, latent_dim))
    return z, np.round(decode(z))


def uniform_latents(decode, n, latent_dim, rng):
    z = rng.random((n, latent_dim))
    return z, rng.random((n, 6)) < decode(z)


def shared_latents(decode, n, latent_dim, rng):
    z = np.repeat(rng.standard_normal((1, latent_dim)), n, axis=0)
    return z, rng.random((n, 6)) < decode(z)


def images_of_new_latents(decode, n, latent_dim, rng):
    z, again = rng.standard_normal((2, n, latent_dim))
    return z, rng.random((n, 6)) < decode(again)


def pixels_that_share_a_number(decode, n, latent_dim, rng):
    z = rng.standard_normal((n, latent_dim))
    return z, rng.random((n, 1)) < decode(z)


def swapped_pixels(decode, n, latent_dim, rng):
    z = rng.standard_normal((n, latent_dim))
    return z, rng.random((n, 6)) > decode(z)


def own_rng(decode, n, latent_dim, rng):
    return sample_images(decode, n, latent_dim, np.random.default_rng(5))


def log_variance(mean, log_variance):
    return tf.reduce_sum(tf.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1) / 2


def as_array(mean, log_stddev):
    return kl_to_prior(mean, log_stddev).numpy()


def log_of_sigmoid(x, logits):
    f = tf.sigmoid(logits)
    return tf.reduce_sum(x * tf.math.log(f) + (1 - x) * tf.math.log(1 - f), axis=-1)


def logits_for_means(x, f):
    return tf.reduce_sum(x * tf.math.log(f) + (1 - x) * tf.math.log(1 - f), axis=-1)


def white_pixels_alone(x, logits):
    return tf.reduce_sum(x * tf.math.log_sigmoid(logits), axis=-1)


def kl_subtracted(x, logits, mean, log_stddev):
    return tf.reduce_mean(-bernoulli_log_prob(x, logits) - kl_to_prior(mean, log_stddev))


def reconstruction_summed(x, logits, mean, log_stddev):
    reconstruction = -tf.reduce_sum(bernoulli_log_prob(x, logits))
    return reconstruction + tf.reduce_mean(kl_to_prior(mean, log_stddev))


def reconstruction_by_pixel(x, logits, mean, log_stddev):
    return tf.reduce_mean(kl_to_prior(mean, log_stddev) - bernoulli_log_prob(x, logits) / 7)


def stopped(mean, log_stddev, noise):
    return tf.stop_gradient(sample_posterior(mean, log_stddev, noise))


def plain_sample(mean, log_stddev, noise):
    return tf.random.normal(tf.shape(mean), mean, tf.exp(log_stddev))


def scale_stopped(mean, log_stddev, noise):
    return mean + tf.stop_gradient(tf.exp(log_stddev)) * noise


MISTAKES = [
    ("sample_images", means_for_samples, "x has the means"),
    ("sample_images", rounded, "rounded"),
    ("sample_images", uniform_latents, "not a uniform one"),
    ("sample_images", shared_latents, "a new z for each image"),
    ("sample_images", images_of_new_latents, "does not belong to the z"),
    ("sample_images", pixels_that_share_a_number, "share one random number"),
    ("sample_images", swapped_pixels, "swapped"),
    ("sample_images", own_rng, "the rng that is passed"),
    ("sample_images", lambda *arguments: sample_images(*arguments)[1], "two arrays"),
    ("log_mean_exp", lambda log_p: log_mean_exp(log_p) + np.log(len(log_p)), "1/K is missing"),
    ("log_mean_exp", lambda log_p: np.mean(log_p, axis=0), "mean of the logs"),
    ("log_mean_exp", lambda log_p: np.log(np.mean(np.exp(log_p), axis=0)), "underflows"),
    ("log_mean_exp", lambda log_p: log_mean_exp(log_p.T), "over the samples"),
    ("log_mean_exp", lambda log_p: log_mean_exp(log_p) - log_p.max(axis=0), "not added again"),
    ("kl_to_prior", lambda mean, s: kl_to_prior(mean, s) / mean.shape[-1], "averaged over the lat"),
    ("kl_to_prior", log_variance, "taken for the log-variance"),
    ("kl_to_prior", lambda mean, s: 2 * kl_to_prior(mean, s), "½ is missing"),
    ("kl_to_prior", lambda mean, s: -kl_to_prior(mean, s), "never negative"),
    ("kl_to_prior", lambda mean, s: tf.reduce_sum(kl_to_prior(mean, s)), "over the batch"),
    ("kl_to_prior", as_array, "no gradient"),
    ("kl_to_prior", lambda mean, s: None, "return statement"),
    (
        "bernoulli_log_prob",
        lambda x, logits: tf.reduce_sum(bernoulli_log_prob(x, logits)),
        "summed over the batch",
    ),
    (
        "bernoulli_log_prob",
        lambda x, logits: bernoulli_log_prob(x, logits) / x.shape[-1],
        "averaged over the pixels",
    ),
    ("bernoulli_log_prob", lambda x, logits: -bernoulli_log_prob(x, logits), "cross-entropy"),
    ("bernoulli_log_prob", log_of_sigmoid, "rounds to 0 or 1"),
    ("bernoulli_log_prob", logits_for_means, "returns logits"),
    ("bernoulli_log_prob", white_pixels_alone, "black pixels"),
    ("negative_elbo", kl_subtracted, "KL has the wrong sign"),
    ("negative_elbo", lambda *arguments: -negative_elbo(*arguments), "this is the ELBO"),
    ("negative_elbo", lambda *arguments: 4 * negative_elbo(*arguments), "loss is summed"),
    ("negative_elbo", reconstruction_summed, "reconstruction is summed over the batch"),
    ("negative_elbo", reconstruction_by_pixel, "averaged over the pixels"),
    ("sample_posterior", stopped, "no gradient passes"),
    ("sample_posterior", plain_sample, "draw none"),
    ("sample_posterior", scale_stopped, "nothing may stop it"),
    (
        "sample_posterior",
        lambda mean, s, noise: sample_posterior(mean, s / 2, noise),
        "taken for the log-variance",
    ),
    (
        "sample_posterior",
        lambda mean, s, noise: sample_posterior(mean, 2 * s, noise),
        "multiplied by the variance",
    ),
]


@pytest.mark.parametrize(("name", "function", "words"), MISTAKES)
def test_the_check_names_the_mistake(name: str, function: Callable, words: str) -> None:
    mistake = find_mistake(EXERCISES[name], function)
    assert mistake is not None
    assert words in mistake
