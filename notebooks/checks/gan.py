"""Checks of notebook 2, the generative adversarial network."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from . import Mistake, exercise

# Answers are mostly in float32, whose rounding error is about 1e-7 of a value.
_TOLERANCE = 1e-4
# Logits of seven real and five generated images. No two mistakes give the same loss for them.
_REAL = np.array([1.7, -0.4, 0.3, 2.9, -1.1, 0.8, 1.2], np.float32)
_FAKE = np.array([-2.1, 0.6, -0.2, 1.4, -3.0], np.float32)
_LABELS_SWAPPED = (
    "the labels are swapped: with these signs, D learns to call generated images real; real images "
    "need −log D(x) = softplus(−a), generated images −log(1 − D(x)) = softplus(a)"
)
_SIGMOID_TWICE = (
    "the sigmoid is applied twice: softplus of a probability is not a logarithm of it; pass the "
    "logits themselves, since softplus(−a) is already −log σ(a)"
)
_NO_PROBABILITIES = (
    "logits are taken for probabilities, so the logarithms are of numbers outside 0…1; the "
    "probability is σ(a), and −log σ(a) is softplus(−a)"
)
_SUMMED = (
    "the loss is summed over the batch; take its mean, which does not depend on the batch's size"
)
_ROUNDED = (
    "the loss is not finite for logits of ±200: σ(a) rounds to 0 or 1 there, whose logarithm is "
    "infinite; use softplus, since log σ(a) = −softplus(−a)"
)


def _softplus(logits: Any) -> np.ndarray:
    return np.logaddexp(0.0, np.asarray(logits, np.float64))


def _sigmoid(logits: Any) -> np.ndarray:
    return np.exp(-_softplus(-np.asarray(logits, np.float64)))


def _clipped(logits: np.ndarray) -> np.ndarray:
    """Numbers clipped to 0…1, as Keras's cross-entropy does it, in float32."""
    epsilon = np.float32(1e-7)
    return np.clip(logits, epsilon, 1 - epsilon)


def _text(logits: np.ndarray) -> str:
    return ", ".join(f"{logit:.1f}" for logit in logits)


def _is_close(answer: Any, value: Any) -> bool:
    shapes_agree = np.shape(answer) == np.shape(value)
    return shapes_agree and np.allclose(answer, value, rtol=_TOLERANCE, atol=_TOLERANCE)


def _numbers(answer: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """An answer as float64 of the shape that it must have."""
    if answer is None:
        raise Mistake("the function returns nothing; end it with `return` and the result")
    numbers = np.asarray(answer, np.float64)
    if numbers.shape != shape:
        raise Mistake(f"the shape of the result is {numbers.shape}; {what}")
    return numbers


def _scalar(answer: Any) -> float:
    """A loss, which may be infinite, but not a value that is no number."""
    what = "a loss is one number, the mean over the batch: end with tf.reduce_mean"
    loss = float(_numbers(answer, (), what))
    if np.isnan(loss):
        raise Mistake(f"the loss is not a number: {_NO_PROBABILITIES}")
    return loss


def _compare(answer: Any, right: Any, mistakes: Mapping[str, Any], general: str) -> None:
    """Raises the mistake whose value an answer has, or the general one, unless it is right."""
    if _is_close(answer, right):
        return
    for words, value in mistakes.items():
        if _is_close(answer, value):
            raise Mistake(words)
    raise Mistake(general)


# --- losses -------------------------------------------------------------------------------------


@exercise(points=2)
def check_discriminator_loss(discriminator_loss: Callable[..., Any]) -> None:
    """The mean of softplus(−a) over real images plus that of softplus(a) over generated ones."""
    real, fake = _softplus(-_REAL), _softplus(_FAKE)
    right = real.mean() + fake.mean()
    answer = _scalar(discriminator_loss(tf.constant(_REAL), tf.constant(_FAKE)))
    halved = "the loss is half of what it should be: add the two means, as V has two expectations"
    mistakes = {
        _LABELS_SWAPPED: _softplus(_REAL).mean() + _softplus(-_FAKE).mean(),
        "the sign is wrong: this is V itself, which D maximizes; a loss is minimized, so return "
        "−V": -right,
        _SIGMOID_TWICE: _softplus(-_sigmoid(_REAL)).mean() + _softplus(_sigmoid(_FAKE)).mean(),
        _NO_PROBABILITIES: (-np.log(_clipped(_REAL)).mean() - np.log(1 - _clipped(_FAKE)).mean()),
        _SUMMED: real.sum() + fake.sum(),
        halved: right / 2,
        "the term of the generated images is missing: add the mean of softplus(a) over them": (
            real.mean()
        ),
        "the term of the real images is missing: add the mean of softplus(−a) over them": (
            fake.mean()
        ),
        "both terms are those of real images: generated images need softplus(a)": (
            real.mean() + _softplus(-_FAKE).mean()
        ),
        "both terms are those of generated images: real images need softplus(−a)": (
            _softplus(_REAL).mean() + fake.mean()
        ),
        "the mean is taken over all images together; the two expectations have one mean each": (
            np.concatenate([real, fake]).mean()
        ),
    }
    general = (
        f"for the logits {_text(_REAL)} and {_text(_FAKE)} the loss is {answer:.4f}; it should "
        f"be {right:.4f}, the mean of softplus(−a) over real plus that of softplus(a) over "
        "generated images"
    )
    _compare(answer, right, mistakes, general)
    certain = _scalar(discriminator_loss(tf.constant([-200.0]), tf.constant([200.0])))
    _compare(certain, 400.0, {}, _ROUNDED)


@exercise(points=2)
def check_generator_loss(generator_loss: Callable[..., Any]) -> None:
    """The mean of softplus(−a), whose gradient does not vanish where D is certain."""
    logits = tf.constant(_FAKE)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = generator_loss(logits)
    right, answer = _softplus(-_FAKE).mean(), _scalar(loss)
    mistakes = {
        "this is the saturating loss log(1 − D(G(z))), whose gradient vanishes where D is certain; "
        "use the non-saturating loss −log D(G(z))": -_softplus(_FAKE).mean(),
        "the labels are swapped: this is the discriminator's loss of generated images, which is "
        "small where D recognizes them; G needs −log D(G(z)) = softplus(−a)": (
            _softplus(_FAKE).mean()
        ),
        "the sign is wrong: this is log D(G(z)), which G maximizes; a loss is minimized": -right,
        _SIGMOID_TWICE: _softplus(-_sigmoid(_FAKE)).mean(),
        _NO_PROBABILITIES: -np.log(_clipped(_FAKE)).mean(),
        _SUMMED: right * len(_FAKE),
        "this is the probability 1 − D(G(z)), not a logarithm: return the mean of −log D(G(z))": (
            (1 - _sigmoid(_FAKE)).mean()
        ),
    }
    general = (
        f"for the logits {_text(_FAKE)} the loss is {answer:.4f}; it should be {right:.4f}, the "
        "mean of softplus(−a)"
    )
    _compare(answer, right, mistakes, general)
    gradient = tape.gradient(loss, logits) if tf.is_tensor(loss) else None
    if gradient is None:
        raise Mistake(
            "the loss has no gradient by the logits; compute it with TensorFlow's own ops"
        )
    slope = -(1 - _sigmoid(_FAKE)) / len(_FAKE)
    _compare(gradient, slope, {}, "the gradient by the logits is not −(1 − σ(a)) / B")
    _compare(_scalar(generator_loss(tf.constant([-200.0]))), 200.0, {}, _ROUNDED)


class _Pair:
    """A linear generator and discriminator, whose gradients have a closed form."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = tf.Variable(rng.normal(size=(2, 3)), dtype=tf.float32)
        self.slope = tf.Variable(rng.normal(size=(3, 1)), dtype=tf.float32)
        self.real = tf.constant(rng.normal(size=(5, 3)) + 1, tf.float32)
        self.latents = tf.constant(rng.normal(size=(5, 2)), tf.float32)

    def generator(self, latents: Any, training: bool = False) -> Any:
        return tf.matmul(latents, self.weights)

    def discriminator(self, images: Any, training: bool = False) -> Any:
        return tf.matmul(images, self.slope)

    def gradients(self, function: Callable[..., Any]) -> tuple[Any, Any, Any]:
        """The loss of the discriminator's step, and its gradients by the two weights."""
        with tf.GradientTape() as tape:
            loss = function(self.generator, self.discriminator, self.real, self.latents)
        if not tf.is_tensor(loss):
            raise Mistake("return the loss as a tensor, so that it has gradients")
        by_discriminator, by_generator = tape.gradient(loss, [self.slope, self.weights])
        return loss, by_discriminator, by_generator


@exercise(points=3)
def check_discriminator_step_loss(discriminator_step_loss: Callable[..., Any]) -> None:
    """The discriminator's loss, through which no gradient reaches the generator."""
    pair = _Pair()
    loss, by_discriminator, by_generator = pair.gradients(discriminator_step_loss)
    fake = pair.generator(pair.latents).numpy()
    real = pair.real.numpy()
    real_logits, fake_logits = (events @ pair.slope.numpy() for events in (real, fake))
    right = _softplus(-real_logits).mean() + _softplus(fake_logits).mean()
    mistakes = {
        _LABELS_SWAPPED: _softplus(real_logits).mean() + _softplus(-fake_logits).mean(),
        "the term of the generated images is missing": _softplus(-real_logits).mean(),
        "the term of the real images is missing": _softplus(fake_logits).mean(),
        "this is the generator's loss; D's step needs the discriminator's": (
            _softplus(-fake_logits).mean()
        ),
    }
    general = (
        f"the loss is {_scalar(loss):.4f} and should be {right:.4f}: discriminator_loss of the "
        "logits of the real images x and of those of G(z)"
    )
    _compare(_scalar(loss), right, mistakes, general)
    if by_generator is not None and np.any(np.abs(by_generator) > 1e-7):
        raise Mistake(
            "no stop-gradient: a gradient reaches the generator, which a step with this loss would "
            "train to help D; put tf.stop_gradient around the generated images"
        )
    if by_discriminator is None:
        raise Mistake("no gradient reaches the discriminator; stop it at G(z), not at D's output")
    of_real = -real.T @ (1 - _sigmoid(real_logits)) / len(real)
    of_fake = fake.T @ _sigmoid(fake_logits) / len(fake)
    stopped = {
        "the gradient is stopped at D(G(z)), so D does not learn from generated images; stop it at "
        "G(z)": of_real,
        "the gradient is stopped at D(x), so D does not learn from real images": of_fake,
    }
    _compare(
        by_discriminator.numpy(), of_real + of_fake, stopped, "the gradient by D's weights is wrong"
    )


# --- densities ----------------------------------------------------------------------------------


def _log_normal(points: np.ndarray, mean: float, stddev: float) -> np.ndarray:
    scaled = (points - mean) / stddev
    return -0.5 * scaled**2 - np.log(stddev) - 0.5 * np.log(2 * np.pi)


@exercise(points=2)
def check_optimal_discriminator(optimal_discriminator: Callable[..., Any]) -> None:
    """The probability y that maximizes p_data log y + p_g log(1 − y) at each point."""
    points = np.linspace(-2.0, 3.0, 11)
    log_p, log_g = _log_normal(points, 0.0, 1.0), _log_normal(points, 1.0, 0.7)
    p, g = np.exp(log_p), np.exp(log_g)
    what = "there is one probability for each point"
    answer = _numbers(optimal_discriminator(log_p, log_g), points.shape, what)
    right = p / (p + g)
    mistakes = {
        "the two densities are swapped: this is the probability that x is generated; D(x) is that "
        "of a real one, p_data / (p_data + p_g)": 1 - right,
        "this is the ratio p_data / p_g, which may exceed 1; divide p_data by p_data + p_g": p / g,
        "this is the logit log p_data − log p_g; its sigmoid is the probability": log_p - log_g,
        "the logarithms are divided as if they were densities; take their exponentials first": (
            log_p / (log_p + log_g)
        ),
        "this is p_data divided by the mean of the densities; divide by their sum": 2 * right,
    }
    # At the maximum over y of p log y + g log(1 − y), its derivative p / y − g / (1 − y) is 0.
    general = (
        "the answer y does not maximize p_data log y + p_g log(1 − y): there, p_data (1 − y) would "
        "be p_g y"
    )
    _compare(answer, right, mistakes, general)
    far = np.array([-2000.0, -1000.0])
    answer = _numbers(optimal_discriminator(far, far[::-1].copy()), (2,), what)
    if not _is_close(answer, [0.0, 1.0]):
        raise Mistake(
            "log densities of −1000 and −2000 give no probability: exp of both is 0, and 0 / 0 is "
            "not a number; use the difference of the log densities, as in "
            "1 / (1 + exp(log p_g − log p_data))"
        )


@exercise(points=3)
def check_jensen_shannon(jensen_shannon: Callable[..., Any]) -> None:
    """½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, between 0 and ln 2 nats."""
    points = np.linspace(-12.0, 12.0, 2401)
    spacing = points[1] - points[0]
    log_p, log_q = _log_normal(points, 0.0, 1.0), _log_normal(points, 1.5, 0.8)
    what = "the divergence is one number: sum over the grid, times the spacing"
    answer = float(_numbers(jensen_shannon(log_p, log_q, spacing), (), what))
    p, q, log_m = np.exp(log_p), np.exp(log_q), np.logaddexp(log_p, log_q) - np.log(2)
    left, right_part = np.sum(p * (log_p - log_m)), np.sum(q * (log_q - log_m))
    right = 0.5 * spacing * (left + right_part)
    kl, reverse_kl = spacing * np.sum(p * (log_p - log_q)), spacing * np.sum(q * (log_q - log_p))
    mistakes = {
        "the divergence is in bits; in nats, two densities without overlap have ln 2": (
            right / np.log(2)
        ),
        "the factors ½ of the two KL divergences are missing: this is twice the divergence, more "
        "than its bound ln 2": 2 * right,
        "m is the sum of the densities; it is their mean, (p + q) / 2, a density again": (
            right - np.log(2)
        ),
        "the spacing of the grid is missing: an integral is the sum times the spacing": (
            right / spacing
        ),
        "this is KL(p ‖ q), which is not symmetric; compare both densities with their mean m": kl,
        "this is KL(q ‖ p), which is not symmetric; compare both densities with their mean m": (
            reverse_kl
        ),
        "the mean of the two KL divergences between p and q has no bound; compare both with m": (
            (kl + reverse_kl) / 2
        ),
        "one half is missing: add ½ KL(q ‖ m)": spacing * left / 2,
        "this is KL(p ‖ m) alone; take ½ KL(p ‖ m) + ½ KL(q ‖ m)": spacing * left,
        "the sign is wrong: no divergence is negative": -right,
    }
    general = (
        f"for N(0, 1) and N(1.5, 0.8²) the result is {answer:.4f}; it should be {right:.4f}, since "
        "the value of the game at D* is −2 ln 2 + 2 JSD"
    )
    _compare(answer, right, mistakes, general)
    # Both densities round to 0 far outside: exp(−(60 / 0.05)² / 2).
    narrow, shifted = _log_normal(points, -6.0, 0.05), _log_normal(points, 6.0, 0.05)
    answer = float(_numbers(jensen_shannon(narrow, shifted, spacing), (), what))
    _compare(
        answer,
        np.log(2),
        {},
        "for two normals without overlap the result is not ln 2: where a density rounds to 0, "
        "0 · log 0 is not a number; work with the log densities and np.logaddexp",
    )


# --- paths --------------------------------------------------------------------------------------


@exercise(points=2)
def check_spherical_path(spherical_path: Callable[..., Any]) -> None:
    """Points at equal angles from start to end; their norms stay if both ends have the same."""
    rng = np.random.default_rng(1)
    start, end = rng.normal(size=(2, 20)).astype(np.float32)
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    steps, radius = 7, float(np.linalg.norm(start))
    what = f"{steps} steps of 20 latents have the shape ({steps}, 20)"
    answer = _numbers(spherical_path(start, end, steps), (steps, 20), what)
    share = np.linspace(0, 1, steps)[:, None]
    _diagnose_path(answer, start, end, share)
    norms = np.linalg.norm(answer, axis=1)
    _compare(norms, np.full(steps, radius), {}, "the norms change along the path; they should not")
    cosines = np.sum(answer[1:] * answer[:-1], axis=1) / (norms[1:] * norms[:-1])
    angles = np.arccos(np.clip(cosines, -1, 1))
    if np.ptp(angles) > 1e-3:
        raise Mistake("the angles between neighbours differ; the shares of the angle are equal")
    longer = np.asarray(spherical_path(2 * start, 3 * end, steps), np.float64)
    if not (_is_close(longer[0], 2 * start) and _is_close(longer[-1], 3 * end)):
        raise Mistake(
            "for ends of other norms the path misses them: divide by the norms only in the angle, "
            "and keep start and end themselves in the sum"
        )


def _diagnose_path(
    answer: np.ndarray, start: np.ndarray, end: np.ndarray, share: np.ndarray
) -> None:
    if not np.all(np.isfinite(answer)):
        raise Mistake(
            "the path has values that are no numbers: the cosine of the angle is the inner product "
            "divided by both norms"
        )
    if _is_close(answer, (1 - share) * start + share * end):
        raise Mistake(
            "this is the straight line, whose norm drops in the middle; go along the great circle"
        )
    if _is_close(answer[0], end) and _is_close(answer[-1], start):
        raise Mistake("the path runs backwards: the first point is start, the last one is end")
    if _is_close(answer[0], start / np.linalg.norm(start)):
        raise Mistake("the points have norm 1: start and end in the sum are not normalized")
    if not _is_close(answer[0], start):
        raise Mistake("the path does not begin at start")
    if not _is_close(answer[-1], end):
        raise Mistake("the path does not stop at end: the shares run from 0 to 1, both included")
