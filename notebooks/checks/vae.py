"""The checks of the exercises on the VAE, notebook 1."""

import math
from typing import Any

import numpy as np

from .._runner import Rng, Tensor, Toy
from . import exercise
from ._arrays import Generator, by_numpy, size, tensor
from ._common import compare_log_means
from ._compare import Answer, compare, compare_function, is_close, numbers, parts, refuse

# A mean may be this many standard errors off: of correct answers, fewer than one in 10⁶ is.
_ERRORS = 6.0
_PIXELS = 20
_NEIGHBOURS = "different images depend on each other; draw new random numbers for each image"


# --- exercise 1.a: ancestral sampling ---------------------------------------------------


@exercise(points=2)
def check_sample_images(answer: Answer, rng: Generator) -> None:
    """Checks a sampler on a decoder whose means are known for every z."""
    # The means of the toy's pixels: two that z decides, and others that it does not.
    decoder = Toy(
        "lambda z: np.concatenate([np.asarray(z)[:, :2] > edges, np.broadcast_to(means, "
        "(len(z), len(means)))], axis=1).astype(float)",
        {"edges": rng.normal(scale=0.3, size=2), "means": rng.uniform(0.3, 0.7, _PIXELS)},
    )
    # So many that Student's t of 30 degrees of freedom has another kurtosis.
    n, latents, first = size(rng, 20_000, 25_000), size(rng, 3, 5), size(rng, 0, 1 << 30)
    draws = []
    for seed in (first, first, first + 1):
        pair = parts(answer(decoder, n, latents, Rng(seed))[0], "the latents z", "the images x")
        draws.append([numbers(array) for array in pair])
        for name, array, width in zip("zx", draws[-1], (latents, 2 + _PIXELS), strict=True):
            wrong_shape = f"{name} has the shape {array.shape}, not {(n, width)}"
            refuse({wrong_shape: array.shape != (n, width)})
    z, x = draws[0]
    _check_latents(z)
    _check_pixels(x, by_numpy(decoder)(z))
    # Of x, the pixels that z does not decide.
    for index, name in enumerate("zx"):
        own, same, new = (draw[index][:, 2 * index :] for draw in draws)
        foreign = f"{name} is not drawn with the rng that is passed, but with another one"
        refuse({foreign: not is_close(own, same) or is_close(own, new)})


def _check_latents(z: np.ndarray) -> None:
    """Checks that latents `[n, D]` are independent and standard normal."""
    errors, squares = _ERRORS / np.sqrt(len(z)), np.square(z)
    moments = z.T @ z / len(z) - np.eye(z.shape[1])
    # A sample's second moment has variance 2 / n.
    is_off = np.abs(z.mean(axis=0)).max() > errors or np.abs(moments).max() > np.sqrt(2) * errors
    has_copies = len(np.unique(np.abs(z), axis=0)) < len(z)
    # The kurtosis of n normal samples has variance 24 / n.
    kurtosis = np.mean(squares**2) / np.mean(squares) ** 2
    has_other_shape = abs(kurtosis - 3) > _ERRORS * math.sqrt(24 / z.size)
    refuse(
        {
            "several images have the same z, or −z; draw a new z for each image": has_copies,
            "no z is negative; draw z from a standard normal, not a uniform one": z.min() >= 0,
            "z is not standard normal; latents have mean 0, variance 1, no correlation": is_off,
            "z is not normal, although its mean is 0 and its variance 1": has_other_shape,
            f"the z of {_NEIGHBOURS}": _is_lagged(z),
        }
    )


def _is_lagged(values: np.ndarray) -> bool:
    """Whether rows of numbers with mean 0 depend on other rows, at any distance."""
    scaled = values / values.std(axis=0)
    powers = np.abs(np.fft.fft(scaled, axis=0)) ** 2
    correlations = np.fft.ifft(powers.sum(axis=1)).real[1:] / math.sqrt(values.size)
    return bool(np.abs(correlations).max() > 10)


def _check_pixels(x: np.ndarray, means: np.ndarray) -> None:
    """Checks that images are independent Bernoulli draws with the means of their own z."""
    # Given z, the pixels after the first two are independent.
    residuals, errors = (x - means)[:, 2:], _ERRORS / np.sqrt(len(x))
    shared = np.abs(np.triu(residuals.T @ residuals, 1)).max() / len(x) > errors / 4
    # Of the first two, z decides all.
    own, decided, draw = x[:, :2], means[:, :2], "draw each pixel from Bernoulli(f(z))"
    is_off = np.abs(residuals.mean(axis=0)).max() > errors / 2 or not is_close(own, decided)
    refuse(
        {
            f"x has the means f(z); {draw}": is_close(x, means),
            f"x has values besides 0 and 1; {draw}": not np.isin(x, (0, 1)).all(),
            f"x is f(z), rounded; {draw}": is_close(x, means > 0.5),
            "black and white are swapped; 1 has probability f(z)": is_close(1 - own, decided),
            "x does not belong to the z beside it; decode this z": np.mean(own != decided) > 0.2,
            "all images share one row of random numbers": np.ptp(x[:, 2:], axis=0).max() == 0,
            "all pixels of an image share one random number; draw one for each pixel": shared,
            f"the pixels' frequencies are not f(z); {draw}": is_off,
            f"the pixels of {_NEIGHBOURS}": _is_lagged(residuals),
        }
    )


# --- exercise 1.b: KL divergence to the prior ---------------------------------------------


def _kl(mean: np.ndarray, log_stddev: np.ndarray) -> np.ndarray:
    """The KL to the prior of each latent."""
    return (np.exp(2 * log_stddev) + mean**2 - 1) / 2 - log_stddev


@exercise(points=2)
def check_kl_to_prior(answer: Answer, rng: Generator) -> None:
    """Compares with the closed form of two normals, and its gradient."""

    def outcomes(mean: np.ndarray, log_stddev: np.ndarray) -> dict[str, Any]:
        terms, variance = _kl(mean, log_stddev), np.exp(2 * log_stddev)
        of_image = terms.sum(axis=1)
        return {
            "the result must be ½ Σ_d (σ_d² + μ_d² − 1 − log σ_d²) for each image": of_image,
            "the KL is averaged over the latents; sum it; latents are independent": terms.mean(1),
            "log_stddev is taken for the log-variance": _kl(mean, log_stddev / 2).sum(axis=1),
            "the KL is summed over the batch too; return one for each image": terms.sum(),
            "the KL is averaged over the batch; return one for each image": of_image.mean(),
            "the KL of each latent is returned; sum over the latents": terms,
            "the factor ½ is missing": 2 * of_image,
            "the sign is wrong; a KL divergence is never negative": -of_image,
            "σ is taken for σ²": of_image + (np.exp(log_stddev) - variance).sum(axis=1) / 2,
        }

    shapes = [(2, size(rng, 2, 4), size(rng, 5, 8)) for _ in range(2)]
    draws = [[tensor(values) for values in rng.normal(size=shape)] for shape in shapes]
    draws[0][1].values[:2] += [[8], [-8]]  # without limits and without 1e-7 in the logarithm
    compare_function(answer, draws, outcomes, ("mean", "log_stddev"))


# --- exercise 1.c: the logarithm of a mean ------------------------------------------------


@exercise(points=2)
def check_log_mean_exp(answer: Answer, rng: Generator) -> None:
    """Checks a log of means near 0, and of those of images, far below."""
    compare_log_means(answer, rng, np.float32, "samples")


# --- exercise 1.d: the reconstruction term ------------------------------------------------


def _log_prob(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """log p(x|z) of each pixel; logaddexp neither overflows nor rounds to log 1."""
    return x * logits - np.logaddexp(0, logits)


def _pixels_and_logits(rng: Generator, batch: int) -> list[Tensor]:
    """Random ones, of which a logit is above 1 and another one below 0."""
    shape = batch, size(rng, 6, 9)
    x, logits = rng.integers(0, 2, shape), rng.normal(size=shape)
    x[:, :2], logits[:, :2] = (0, 1), (1.5, -0.5)
    return [tensor(x), tensor(logits)]


@exercise(points=2)
def check_bernoulli_log_prob(answer: Answer, rng: Generator) -> None:
    """Compares with the closed form, at 0 and at large logits, too."""

    def outcomes(x: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        terms = _log_prob(x, logits)
        right, white = terms.sum(axis=1), -(x * np.logaddexp(0, -logits)).sum(axis=1)
        return {
            "the result must be Σ (x log f + (1 − x) log(1 − f)), f = sigmoid(logits)": right,
            "the log-likelihood is summed over the batch; return one for each image": terms.sum(),
            "it is averaged over the pixels; the log of a product is a sum": terms.mean(axis=1),
            "the log-likelihood of each pixel is returned; sum over the pixels": terms,
            "the sign is wrong; this is the cross-entropy, −log p(x|z)": -right,
            "black pixels are missing; add (1 − x) log(1 − f)": white,
            "not a number: the decoder returns logits, whose sigmoid is f(z)": right * np.nan,
        }

    draws = [_pixels_and_logits(rng, size(rng, 2, 4)) for _ in range(2)]
    compare_function(answer, draws, outcomes, ("", "logits"))
    large = rng.uniform(150, 250, (1, 2)) * [1, -1]
    values = [answer(tensor(x), tensor(large))[0] for x in ([[1, 0]], [[0, 1]])]
    lost = "at logits of ±200, sigmoid rounds to 0 or 1, and its log is lost; use softplus"
    compare([(values[0], np.zeros(1), {}), (values[1], [large[0, 1] - large[0, 0]], {})], lost)


# --- exercise 1.e: the negative ELBO of a batch -------------------------------------------


_STAND_INS = {
    "kl_to_prior": "lambda mean, log_stddev: tf.reduce_sum(mean**2 + log_stddev, axis=-1)",
    "bernoulli_log_prob": "lambda x, logits: -tf.reduce_sum((x - logits)**2, axis=-1)",
}


@exercise(points=2, stand_ins=_STAND_INS)
def check_negative_elbo(answer: Answer, rng: Generator, stood_in: bool = False) -> None:
    """Compares with both closed forms, summed and averaged as they must be."""

    def outcomes(x: Any, logits: Any, mean: Any, log_stddev: Any) -> dict[str, Any]:
        kl = mean**2 + log_stddev if stood_in else _kl(mean, log_stddev)
        log_p = -((x - logits) ** 2) if stood_in else _log_prob(x, logits)
        of_x, of_z = -log_p.sum(axis=1), kl.sum(axis=1)
        right = (of_x + of_z).mean()
        return {
            "it must be the mean of KL(q ‖ p) − log p(x|z), whose checks must pass": right,
            "the loss is summed over the batch; average over the images": (of_x + of_z).sum(),
            "the reconstruction is summed over the batch; average it": of_z.mean() + of_x.sum(),
            "the KL is summed over the batch; average it": of_z.sum() + of_x.mean(),
            "the loss of each image is returned; average over the batch": of_x + of_z,
            "this is the ELBO; the loss is its negative": -right,
            "the KL has the wrong sign; it must make the loss larger": (of_x - of_z).mean(),
            "the KL is averaged over the latents; sum it": (kl.mean(axis=1) + of_x).mean(),
            "the reconstruction is averaged over the pixels": (of_z - log_p.mean(axis=1)).mean(),
        }

    draws = []
    for batch, shift in ((size(rng, 3, 6), shift) for shift in (8, -8, 0)):
        mean, log_stddev = rng.normal(size=(2, batch, size(rng, 3, 5))) / 2
        posterior = tensor(mean), tensor(log_stddev + shift)
        draws.append([*_pixels_and_logits(rng, batch), *posterior])
    compare_function(answer, draws, outcomes, ("", "logits", "mean", "log_stddev"))


# --- exercise 1.f: reparameterization -----------------------------------------------------


@exercise(points=2)
def check_sample_posterior(answer: Answer, rng: Generator) -> None:
    """Checks the value of a sample, and its gradient with respect to mean and log_stddev."""

    def outcomes(mean: np.ndarray, s: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
        stddev = np.exp(s)
        return {
            "the result must be z = μ + σ ε, with σ = exp(log_stddev)": mean + stddev * noise,
            "log_stddev is taken for the log-variance": mean + np.sqrt(stddev) * noise,
            "the noise is multiplied by the variance; its factor is σ": mean + stddev**2 * noise,
            "the sign of the noise is wrong; z = μ + σ ε, not μ − σ ε": mean - stddev * noise,
        }

    shapes = [(3, size(rng, 2, 4), size(rng, 3, 6)) for _ in range(2)]
    draws = [[tensor(values) for values in rng.normal(size=shape)] for shape in shapes]
    draws[0][1].values[0] += 8
    mean, log_stddev, noise = draws[1]
    first, second = (answer(mean, log_stddev, tensor(e * noise.values))[0] for e in (1, 0))
    own = is_close(first, second) and not is_close(first, mean.values)
    refuse({"z has noise of its own; use the noise that is passed": own})
    compare_function(answer, draws, outcomes, ("mean", "log_stddev", ""))
