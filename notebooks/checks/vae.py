"""The checks of the exercises on the VAE, notebook 1."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from . import Mistake, exercise

# Rounding of float32, with room for sums in another order.
RTOL, ATOL = 1e-4, 1e-5
# A mean may be this many standard errors off: of correct answers, fewer than one in 10⁶ is.
ERRORS = 5.0


def compare(answer: Any, right: Any, mistakes: Mapping[str, Any], advice: str) -> None:
    """Compare an answer with the right one.

    Args:
        answer: what the student's function returned.
        right: the right values.
        mistakes: what a typical mistake would return, by the sentence that names the mistake.
        advice: the sentence for any mistake that is not among them.

    Raises:
        Mistake: the answer differs from the right one by more than rounding.
    """
    if answer is None:
        raise Mistake("the function returns None; it needs a return statement")
    values, expected = np.asarray(answer, np.float64), np.asarray(right, np.float64)
    if is_equal(values, expected):
        return
    for sentence, wrong in mistakes.items():
        if is_equal(values, np.asarray(wrong, np.float64)):
            raise Mistake(sentence)
    if values.shape != expected.shape:
        raise Mistake(f"the result has shape {values.shape}, not {expected.shape}; {advice}")
    raise Mistake(advice)


def is_equal(values: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays have the same shape and differ only by rounding."""
    return values.shape == expected.shape and np.allclose(values, expected, RTOL, ATOL)


def tensor(values: Any) -> tf.Tensor:
    """Values as a `float32` tensor, as the notebook passes them."""
    return tf.constant(values, tf.float32)


def constant(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A pixel whose mean is the same for all latents `[n, D]`."""
    return lambda z: np.full(len(z), value)


# --- exercise 1.a: ancestral sampling ---------------------------------------------------

# The means of the toy's pixels: two that z decides, and four that it does not.
PIXELS = (
    lambda z: (z[:, 0] > 0).astype(float),
    lambda z: (z[:, 1] < 0.5).astype(float),
    constant(0.3),
    constant(0.3),
    constant(0.5),
    constant(0.9),
)
IMAGES, LATENTS = 4000, 2


def toy_decoder(z: Any) -> np.ndarray:
    """Pixel means `[n, 6]` of latents `[n, 2]`."""
    latents = np.asarray(z)
    return np.stack([pixel(latents) for pixel in PIXELS], axis=1)


@exercise(points=2)
def check_sample_images(function: Callable) -> None:
    """Check `sample_images` on a decoder whose means are known for every z."""
    answer = function(toy_decoder, IMAGES, LATENTS, np.random.default_rng(0))
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Mistake("the function must return two arrays, the latents z and the images x")
    z, x = (np.asarray(array, np.float64) for array in answer)
    if z.shape != (IMAGES, LATENTS):
        raise Mistake(f"z has shape {z.shape}, not [n, latent_dim] = {(IMAGES, LATENTS)}")
    if x.shape != (IMAGES, len(PIXELS)):
        raise Mistake(f"x has shape {x.shape}, not [n, pixels] = {(IMAGES, len(PIXELS))}")
    check_latents(z)
    check_pixels(z, x)
    again = function(toy_decoder, IMAGES, LATENTS, np.random.default_rng(1))
    if is_equal(np.asarray(again[0], np.float64), z):
        raise Mistake("another rng gives the same z; draw with the rng that is passed")


def check_latents(z: np.ndarray) -> None:
    """Check that latents `[n, D]` are independent and standard normal."""
    if np.ptp(z, axis=0).max() == 0:
        raise Mistake("all images have the same z; draw a new z for each image")
    if z.min() >= 0:
        raise Mistake("no z is negative; draw z from a standard normal, not a uniform one")
    errors = ERRORS / np.sqrt(len(z))
    # A sample's second moment has variance 2 / n.
    moments = np.abs(z.mean(axis=0)).max() < errors and np.all(
        np.abs((z**2).mean(axis=0) - 1) < np.sqrt(2) * errors
    )
    if not moments or abs((z[:, 0] * z[:, 1]).mean()) > errors:
        raise Mistake("z is not standard normal; each latent has mean 0 and variance 1")


def check_pixels(z: np.ndarray, x: np.ndarray) -> None:
    """Check that images are independent Bernoulli draws with the means of their own z."""
    means = toy_decoder(z)
    if is_equal(x, means):
        raise Mistake("x has the means f(z); draw each pixel from Bernoulli(f(z)) instead")
    if not np.isin(x, (0, 1)).all():
        raise Mistake("x has values besides 0 and 1; draw each pixel from Bernoulli(f(z))")
    if is_equal(x, (means > 0.5).astype(float)) or is_equal(x, (means >= 0.5).astype(float)):
        raise Mistake("x is f(z), rounded; draw each pixel from Bernoulli(f(z)) instead")
    if is_equal(x, 1 - means) or is_equal(1 - x[:, :2], means[:, :2]):
        raise Mistake("black and white are swapped; a pixel is 1 with probability f(z)")
    if not is_equal(x[:, :2], means[:, :2]):
        raise Mistake("x does not belong to the z beside it; decode the z that you return")
    # Given z, pixels 2 and 3 are independent.
    if is_equal(x[:, 2], x[:, 3]):
        raise Mistake("all pixels of an image share one random number; draw one for each pixel")
    spread = np.sqrt(means[:, 2:] * (1 - means[:, 2:])).mean(axis=0)
    if np.any(np.abs((x - means)[:, 2:].mean(axis=0)) > ERRORS * spread / np.sqrt(len(x))):
        raise Mistake("the pixels' frequencies are not f(z); draw from Bernoulli(f(z))")


# --- exercise 1.b: the logarithm of a mean ------------------------------------------------


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """log Σ exp over the first axis, in float64."""
    return np.logaddexp.reduce(values.astype(np.float64), axis=0)


@exercise(points=2)
def check_log_mean_exp(function: Callable) -> None:
    """Check `log_mean_exp` on numbers near 0, and on those of images, near −800."""
    samples = 6
    near = np.random.default_rng(0).normal(size=(samples, 4)).astype(np.float32)
    right = log_sum_exp(near) - np.log(samples)
    advice = "the result must be log((1/K) Σ_k exp(log_p[k])), one number for each column"
    compare(
        function(near),
        right,
        {
            "the 1/K is missing; this is the log of the sum, not the log of the mean": (
                log_sum_exp(near)
            ),
            "this is the mean of the logs, which is below the log of the mean": near.mean(axis=0),
            "the mean is over the images; it must be over the samples, the first axis": (
                log_sum_exp(near.T) - np.log(near.shape[1])
            ),
            "all images are averaged together; return one number for each column": (
                np.log(np.exp(near).mean())
            ),
            "this is the mean itself; return its logarithm": np.exp(right),
            "the maximum is subtracted, but not added again": right - near.max(axis=0),
        },
        advice,
    )
    with np.errstate(all="ignore"):
        far = np.asarray(function(near - 800), np.float64)
    if not np.isfinite(far).all():
        raise Mistake(
            "exp(−800) underflows to 0; subtract the largest log_p before exp, and add it again "
            "after log"
        )
    # float32 has a spacing of 6e-5 near 800.
    if far.shape != right.shape or not np.allclose(far + 800, right, atol=1e-3):
        raise Mistake("adding a constant to log_p must add the same constant to the result")


# --- exercise 1.c: KL divergence to the prior ---------------------------------------------


@exercise(points=2)
def check_kl_to_prior(function: Callable) -> None:
    """Check `kl_to_prior` against the closed form of two normals, and its gradient."""
    rng = np.random.default_rng(0)
    mean, log_stddev = rng.normal(size=(3, 5)), rng.normal(scale=0.5, size=(3, 5))
    mu, s = tensor(mean), tensor(log_stddev)
    terms = (np.exp(2 * log_stddev) + mean**2 - 1) / 2 - log_stddev
    as_variance = (np.exp(log_stddev) + mean**2 - 1 - log_stddev) / 2
    reverse = (1 + mean**2) / (2 * np.exp(2 * log_stddev)) - 0.5 + log_stddev
    with tf.GradientTape() as tape:
        tape.watch((mu, s))
        answer = function(mu, s)
    compare(
        answer,
        terms.sum(axis=1),
        {
            "the KL is averaged over the latents; independent latents add up, so sum them": (
                terms.mean(axis=1)
            ),
            "log_stddev is taken for the log-variance; σ² = exp(2 · log_stddev)": (
                as_variance.sum(axis=1)
            ),
            "the KL is summed over the batch too; return one number for each image": terms.sum(),
            "the KL is averaged over the batch; return one number for each image": (
                terms.sum(axis=1).mean()
            ),
            "the KL of each latent is returned; sum them over the latents": terms,
            "the factor ½ is missing": 2 * terms.sum(axis=1),
            "the sign is wrong; a KL divergence is never negative": -terms.sum(axis=1),
            "this is KL(p ‖ q), the other way round; the expectation must be over q": (
                reverse.sum(axis=1)
            ),
            "σ is taken for σ²; the closed form has the variance exp(2 · log_stddev)": (
                (np.exp(log_stddev) + mean**2 - 1) / 2 - log_stddev
            ).sum(axis=1),
        },
        "the result must be ½ Σ_d (σ_d² + μ_d² − 1 − log σ_d²) of each image",
    )
    is_tensor = tf.is_tensor(answer)
    if not is_tensor or any(gradient is None for gradient in tape.gradient(answer, (mu, s))):
        raise Mistake("no gradient reaches mean and log_stddev; compute with TensorFlow alone")


# --- exercise 1.d: the reconstruction term ------------------------------------------------


@exercise(points=2)
def check_bernoulli_log_prob(function: Callable) -> None:
    """Check `bernoulli_log_prob` against the closed form, at 0 and at large logits."""
    rng = np.random.default_rng(0)
    x, logits = rng.integers(0, 2, (3, 8)).astype(float), rng.normal(size=(3, 8))
    # log(1 + exp(·)), which neither overflows nor rounds to log 1.
    terms = x * logits - np.logaddexp(0, logits)
    with np.errstate(invalid="ignore"):
        as_means = np.where(x == 1, np.log(logits), np.log(1 - logits)).sum(axis=1)
    answer = function(tensor(x), tensor(logits))
    if np.isnan(np.asarray(answer, np.float64)).any() and np.isnan(as_means).any():
        raise Mistake(
            "the result is not a number; the decoder returns logits, of which sigmoid gives f(z)"
        )
    compare(
        answer,
        terms.sum(axis=1),
        {
            "the log-likelihood is summed over the batch; return one number for each image": (
                terms.sum()
            ),
            "the log-likelihood is averaged over the batch; return one number for each image": (
                terms.sum(axis=1).mean()
            ),
            "it is averaged over the pixels; the log of a product is the sum of the logs": (
                terms.mean(axis=1)
            ),
            "the log-likelihood of each pixel is returned; sum over the pixels": terms,
            "the sign is wrong; this is the cross-entropy, −log p(x|z)": -terms.sum(axis=1),
            "black pixels are missing; add (1 − x) log(1 − f)": (
                -(x * np.logaddexp(0, -logits)).sum(axis=1)
            ),
        },
        "the result must be Σ_i x_i log f_i + (1 − x_i) log(1 − f_i), with f = sigmoid(logits)",
    )
    zero, ones = function(tensor(x), tensor(np.zeros_like(x))), np.ones((1, 2))
    compare(zero, np.full(3, -8 * np.log(2)), {}, "at logits of 0, each pixel costs ln 2 nats")
    large = np.asarray(function(tensor(ones), tensor([[200.0, -200.0]])), np.float64)
    if not np.isfinite(large).all() or not np.allclose(large, -200):
        raise Mistake(
            "at logits of ±200, sigmoid rounds to 0 or 1 and its log is lost; compute from the "
            "logits, as tf.nn.sigmoid_cross_entropy_with_logits does"
        )


# --- exercise 1.e: the negative ELBO of a batch -------------------------------------------


@exercise(points=2)
def check_negative_elbo(function: Callable) -> None:
    """Check `negative_elbo` against both closed forms, summed and averaged as they must be."""
    rng = np.random.default_rng(0)
    x, logits = rng.integers(0, 2, (4, 7)).astype(float), rng.normal(size=(4, 7))
    mean, log_stddev = rng.normal(size=(4, 3)), rng.normal(scale=0.5, size=(4, 3))
    log_p = x * logits - np.logaddexp(0, logits)
    kl = (np.exp(2 * log_stddev) + mean**2 - 1) / 2 - log_stddev
    loss = kl.sum(axis=1) - log_p.sum(axis=1)
    compare(
        function(*map(tensor, (x, logits, mean, log_stddev))),
        loss.mean(),
        {
            "the loss is summed over the batch; average over the images": loss.sum(),
            "the reconstruction is summed over the batch, the KL averaged; average both": (
                kl.sum(axis=1).mean() - log_p.sum()
            ),
            "the loss of each image is returned; average over the batch": loss,
            "this is the ELBO; the loss that is minimized is its negative": -loss.mean(),
            "the KL has the wrong sign; a larger KL must make the loss larger": (
                -(log_p.sum(axis=1) + kl.sum(axis=1)).mean()
            ),
            "the reconstruction has the wrong sign; log p(x|z) must make the loss smaller": (
                (log_p.sum(axis=1) + kl.sum(axis=1)).mean()
            ),
            "the KL is missing": -log_p.sum(axis=1).mean(),
            "the reconstruction is missing": kl.sum(axis=1).mean(),
            "the KL is averaged over the latents, the reconstruction summed; sum both": (
                (kl.mean(axis=1) - log_p.sum(axis=1)).mean()
            ),
            "the reconstruction is averaged over the pixels, the KL summed; sum both": (
                (kl.sum(axis=1) - log_p.mean(axis=1)).mean()
            ),
        },
        "the result must be the mean over the batch of KL(q ‖ p) − log p(x|z); if it is, see "
        "whether the checks of kl_to_prior and bernoulli_log_prob pass",
    )


# --- exercise 1.f: reparameterization -----------------------------------------------------


@exercise(points=2)
def check_sample_posterior(function: Callable) -> None:
    """Check the value of `sample_posterior`, and its gradient by mean and log_stddev."""
    rng = np.random.default_rng(0)
    mean, log_stddev, noise = (rng.normal(size=(3, 4)) for _ in range(3))
    mu, s, epsilon = tensor(mean), tensor(log_stddev), tensor(noise)
    with tf.GradientTape() as tape:
        tape.watch((mu, s))
        z = function(mu, s, epsilon)
        total = tf.reduce_sum(z)
    if not is_equal(np.asarray(z, np.float64), np.asarray(function(mu, s, epsilon), np.float64)):
        raise Mistake("the same noise gives another z; use the noise that is passed, and draw none")
    compare(
        z,
        mean + np.exp(log_stddev) * noise,
        {
            "log_stddev is taken for the log-variance; σ = exp(log_stddev)": (
                mean + np.exp(log_stddev / 2) * noise
            ),
            "the noise is multiplied by the variance; its factor is σ": (
                mean + np.exp(2 * log_stddev) * noise
            ),
            "the noise is multiplied by log σ; its factor is σ = exp(log_stddev)": (
                mean + log_stddev * noise
            ),
            "this is the mean alone; add σ times the noise": mean,
            "the mean is missing; z = μ + σ ε": np.exp(log_stddev) * noise,
            "σ is missing; z = μ + σ ε": mean + noise,
        },
        "the result must be z = μ + σ ε, with σ = exp(log_stddev)",
    )
    by_mean, by_log_stddev = tape.gradient(total, (mu, s))
    if by_mean is None and by_log_stddev is None:
        raise Mistake(
            "no gradient passes through the sample; z must be a function of mean and log_stddev, "
            "without stop_gradient"
        )
    advice = "the gradient of z is 1 by μ, and σ ε by log σ; nothing may stop it on its way"
    absent = np.zeros_like(mean)
    compare(absent if by_mean is None else by_mean, np.ones_like(mean), {}, advice)
    compare(
        absent if by_log_stddev is None else by_log_stddev,
        np.exp(log_stddev) * noise,
        {},
        advice,
    )
