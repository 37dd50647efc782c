"""Checks of notebook 2, the generative adversarial network."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._runner import Tensor, Toy
from . import exercise
from ._arrays import Generator, by_numpy, differences, size, tensor
from ._compare import Answer, compare, compare_function, compare_gradients, first, is_close, refuse

_SUMMED = "the loss is summed over the batch; take its mean, whatever the batch's size"


def _softplus(logits: Any) -> np.ndarray:
    return np.logaddexp(0.0, np.asarray(logits, np.float64))


def _sigmoid(logits: Any) -> np.ndarray:
    return np.exp(-_softplus(-np.asarray(logits, np.float64)))


def _logits(rng: Generator, *others: int) -> Tensor:
    """Some logits, of which one is above 1 and one below 0."""
    logits = rng.normal(size=(size(rng, 4, 8), *others), scale=1.5)
    logits[:2] = [[1.6], [-0.7]] if others else [1.6, -0.7]
    return tensor(logits)


# --- losses -------------------------------------------------------------------------------------


def _discriminator_loss(real: np.ndarray, fake: np.ndarray) -> float:
    return float(_softplus(-real).mean() + _softplus(fake).mean())


def _check_loss(answer: Answer, rng: Generator, outcomes: Any, names: Sequence[str]) -> None:
    """Checks a loss of logits.

    Args:
        answer: the loss.
        rng: source of the logits.
        outcomes: what the loss and its mistakes return, for `compare_function`.
        names: what the logits are called, those of images that D must call real first.

    Raises:
        Mistake: the loss is wrong.
    """

    def tables(*logits: np.ndarray) -> dict[str, Any]:
        # Keras's cross-entropy clips what it takes for probabilities, in float32.
        clipped = (np.clip(a.astype(np.float32), 1e-7, 1 - 1e-7) for a in logits)
        twice = first(outcomes(*map(_sigmoid, logits)))
        not_logits = "logits are taken for probabilities; −log σ(a) is softplus(−a)"
        return outcomes(*logits) | {
            "the sigmoid is applied twice; softplus(−a) of the logits is already −log σ(a)": twice,
            not_logits: first(outcomes(*(np.log(p) - np.log(1 - p) for p in clipped))),
            f"the loss is not a number: {not_logits}": np.nan,
        }

    draws = [[_logits(rng, *others) for _ in names] for others in ((), (1,), ())]
    compare_function(answer, draws, tables, names)
    large = rng.uniform(150, 250, len(names))
    certain = [tensor([logit]) for logit in large * [-1, 1][: len(names)]]
    rounded = "at logits of ±200, σ(a) rounds to 0 or 1, and its log is lost: it is −softplus(−a)"
    compare([(answer(*certain)[0], large.sum(), {})], rounded)


@exercise(points=2)
def check_discriminator_loss(answer: Answer, rng: Generator) -> None:
    """The mean of softplus(−a) over real images plus that of softplus(a) over generated ones."""

    def outcomes(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
        real, fake, right = _softplus(-a), _softplus(b), _discriminator_loss(a, b)
        return {
            "the loss is one number: mean softplus(−a) of real + mean softplus(a) of others": right,
            "the labels are swapped; use softplus(−a) for x": _discriminator_loss(-a, -b),
            "the sign is wrong: this is V, which D maximizes; return −V": -right,
            _SUMMED: real.sum() + fake.sum(),
            "the loss is half of what it should be: add the two means": right / 2,
            "the term of the generated images is missing: the mean of softplus(a)": real.mean(),
            "the term of the real images is missing: the mean of softplus(−a)": fake.mean(),
            "there is one mean of all images": np.concatenate([real, fake]).mean(),
        }

    _check_loss(answer, rng, outcomes, ("real_logits", "fake_logits"))


# As with batch normalization, the toys depend on `training` and on what is in a batch.
_GENERATOR = "lambda latents, training=False: latents @ weights * (1.0 if training else 0.5)"
_JUDGE = (
    "lambda images, training=False: (images - (0.5 if training else 0.1) / images.shape[0]"
    " * (xp.ones((1, images.shape[0])) @ images)) @ slope"
)


_STAND_IN = (
    "lambda real_logits, fake_logits: "
    "3.0 * tf.reduce_mean(fake_logits**2) - tf.reduce_mean(real_logits)"
)


@exercise(points=3, stand_ins={"discriminator_loss": _STAND_IN})
def check_discriminator_step_loss(answer: Answer, rng: Generator, stood_in: bool = False) -> None:
    """The discriminator's loss, through which no gradient reaches the generator."""

    def loss_of(real: np.ndarray, fake: np.ndarray) -> float:
        if stood_in:
            return float(3.0 * np.mean(fake**2) - np.mean(real))
        return _discriminator_loss(real, fake)

    def outcomes(generate: Any, judge: Any, real: np.ndarray, z: np.ndarray) -> dict[str, Any]:
        fake = generate(z, training=True)
        a, b = judge(real, training=True), judge(fake, training=True)
        together = judge(np.concatenate([real, fake]), training=True)
        without = "called without training=True, which batch normalization and dropout need"
        return {
            "it is not discriminator_loss of the logits of x and G(z)": loss_of(a, b),
            "this is the generator's loss; take the discriminator's": _softplus(-b).mean(),
            f"both networks are {without}": loss_of(judge(real), judge(generate(z))),
            f"the generator is {without}": loss_of(a, judge(generate(z), training=True)),
            f"the discriminator of G(z) is {without}": loss_of(a, judge(fake)),
            f"the discriminator of x is {without}": loss_of(judge(real), b),
            "x and G(z) are in one batch, in which D mixes them": loss_of(*np.split(together, 2)),
        }

    draws = []
    for _ in range(3):
        batch, latents, pixels = size(rng, 4, 7), size(rng, 2, 3), size(rng, 3, 5)
        generator = Toy(_GENERATOR, {"weights": tensor(rng.normal(size=(latents, pixels)))})
        slope = rng.normal(size=(pixels, 1))
        discriminator = Toy(_JUDGE, {"slope": tensor(slope)})
        real, z = rng.normal(size=(batch, pixels)) + 1, rng.normal(size=(batch, latents))
        draws.append((generator, discriminator, tensor(real), tensor(z)))
    compare_function(answer, draws, outcomes)
    by_generator, by_slope, *_ = answer(*draws[-1])[1][0]
    generate, _, real, z = map(by_numpy, draws[-1])
    images = real, generate(z, training=True)

    def loss(*slopes: np.ndarray) -> float:
        judges = (by_numpy(Toy(_JUDGE, {"slope": slope})) for slope in slopes)
        return loss_of(*(judge(part, True) for judge, part in zip(judges, images, strict=True)))

    by_x, by_fake = (differences(loss, (slope, slope), index) for index in (0, 1))
    through = by_generator is not None and np.abs(by_generator).max() > 1e-7
    stopped, instead = "the gradient is stopped at", "stop it at G(z), so that D learns"
    refuse(
        {
            "no stop-gradient: a gradient reaches G; put tf.stop_gradient around G(z)": through,
            f"{stopped} D(G(z)); {instead}": is_close(by_slope, by_x, 1e-3),
            f"{stopped} D(x); {instead}": is_close(by_slope, by_fake, 1e-3),
        }
    )
    compare_gradients([by_slope], lambda slope: loss(slope, slope), [slope], ["the discriminator"])


# --- densities ----------------------------------------------------------------------------------


@exercise(points=2)
def check_optimal_discriminator(answer: Answer, rng: Generator) -> None:
    """The probability y that maximizes p_data log y + p_g log(1 − y) at each point."""

    def outcomes(log_p: np.ndarray, log_g: np.ndarray) -> dict[str, Any]:
        p, g = np.exp(log_p), np.exp(log_g)
        right = p / (p + g)
        return {
            "the answer y does not maximize p_data log y + p_g log(1 − y)": right,
            "the two densities are swapped; D(x) is p_data / (p_data + p_g)": 1 - right,
            "this is p_data / p_g, which may exceed 1; divide by p_data + p_g": p / g,
            "this is the logit; its sigmoid is the probability": log_p - log_g,
            "the logarithms are divided; take their exponentials": log_p / (log_p + log_g),
            "p_data is divided by the mean of the densities; divide by their sum": 2 * right,
        }

    shapes = (2, size(rng, 5, 11)), (2, size(rng, 2, 3), size(rng, 4, 6))
    draws = [rng.normal(size=shape, scale=1.5) - 1 for shape in shapes]
    # At the maximum over y of p log y + g log(1 − y), its derivative p / y − g / (1 − y) is 0.
    compare_function(answer, draws, outcomes)
    far = -rng.uniform([1800, 900], [2200, 1100])
    underflow = "exp of −1000 and −2000 is 0, and 0 / 0 is not a number; use log p_data − log p_g"
    compare([(answer(far, far[::-1].copy())[0], np.array([0.0, 1.0]), {})], underflow, 1e-6)


def _log_normal(points: np.ndarray, mean: float, stddev: float) -> np.ndarray:
    scaled = (points - mean) / stddev
    return -0.5 * scaled**2 - np.log(stddev) - 0.5 * np.log(2 * np.pi)


@exercise(points=3)
def check_jensen_shannon(answer: Answer, rng: Generator) -> None:
    """½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, between 0 and ln 2 nats."""

    def outcomes(log_p: np.ndarray, log_q: np.ndarray, spacing: float) -> dict[str, Any]:
        p, q, log_m = np.exp(log_p), np.exp(log_q), np.logaddexp(log_p, log_q) - np.log(2)
        left, second = np.sum(p * (log_p - log_m)), np.sum(q * (log_q - log_m))
        right = 0.5 * spacing * (left + second)
        log_ratio = log_p - log_q
        return {
            "it is one number, ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2": right,
            "the divergence is in bits; return nats, at most ln 2": right / np.log(2),
            "the factors ½ are missing: this is twice the divergence": 2 * right,
            "m is the sum of the densities; it is their mean (p + q) / 2": right - np.log(2),
            "the spacing of the grid is missing: multiply the sum by it": right / spacing,
            "this is KL(p ‖ q), which is not symmetric; use m": spacing * np.sum(p * log_ratio),
            "the mean of both KLs has no bound; use m": spacing * np.sum((p - q) * log_ratio) / 2,
        }

    draws = []
    for unit in (1e6, 1, 1):  # densities near 1e-7
        points, spacing = np.linspace(-12, 12, size(rng, 1500, 2500), retstep=True)
        log_p = _log_normal(points, 0.0, rng.uniform(0.8, 1.2)) - np.log(unit)
        log_q = _log_normal(points, rng.uniform(1, 2), rng.uniform(0.6, 0.8)) - np.log(unit)
        draws.append((log_p, log_q, float(unit * spacing)))
    compare_function(answer, draws, outcomes)
    # Both densities round to 0 far outside: exp(−(60 / 0.05)² / 2). Between, float64 has numbers
    # of few digits, of which half is 0.
    far = [_log_normal(points, side * rng.uniform(5, 7), 0.05) for side in (-1, 1)]
    log_p, log_q = (np.where(log < -700, -9000.0, log) for log in far)
    zero = "where a density rounds to 0, 0 · log 0 is not a number; use np.logaddexp"
    compare([(answer(log_p, log_q, float(spacing))[0], np.log(2), {})], zero)


@exercise(points=2)
def check_generator_loss(answer: Answer, rng: Generator) -> None:
    """The mean of softplus(−a), whose gradient does not vanish where D is certain."""

    def outcomes(a: np.ndarray) -> dict[str, Any]:
        right = _softplus(-a).mean()
        return {
            "the loss is one number, the mean of softplus(−a)": right,
            "this is the saturating loss log(1 − D(G(z))); use −log D(G(z))": -_softplus(a).mean(),
            "the labels are swapped: D minimizes this; G needs −log D(G(z))": _softplus(a).mean(),
            "the sign is wrong: this is log D(G(z)), which G maximizes": -right,
            _SUMMED: right * len(a),
            "this is 1 − D(G(z)), not a logarithm; use −log D(G(z))": (1 - _sigmoid(a)).mean(),
        }

    _check_loss(answer, rng, outcomes, ["the logits"])


# --- paths --------------------------------------------------------------------------------------


@exercise(points=2)
def check_spherical_path(answer: Answer, rng: Generator) -> None:
    """The points of z(t): at equal angles if both ends have the same norm."""

    def outcomes(start: np.ndarray, end: np.ndarray, steps: int) -> dict[str, Any]:
        shares, radius = np.arange(steps) / (steps - 1), np.linalg.norm(start)
        path, straight = _path(start, end, shares), start + np.outer(shares, end - start)
        norms = np.linalg.norm(straight, axis=1)[:, None]
        early, late = (np.arange(steps) + shift for shift in (0, 1))
        return {
            "the points [steps, d] are not those of z(t) at equal steps of t": path,
            "this is the straight line; go along the great circle": straight,
            "this is the straight line with all norms made equal": straight * radius / norms,
            "the path runs backwards: the first point is start, the last one is end": path[::-1],
            "the points have norm 1; do not normalize start and end in the sum": path / radius,
            "the path does not stop at end; there, t is 1": _path(start, end, early / steps),
            "the path does not begin at start; there, t is 0": _path(start, end, late / steps),
            "not a number: the cosine is the inner product divided by both norms": path * np.nan,
        }

    draws = []
    for _ in range(2):
        start, end = rng.normal(size=(2, size(rng, 10, 30))).astype(np.float32)
        end *= np.linalg.norm(start) / np.linalg.norm(end)
        draws.append((start, end, size(rng, 5, 9)))
    compare_function(answer, draws, outcomes, tolerance=3e-6)
    more, less = (np.float32(rng.uniform(*span) / 1000) for span in ((1.5, 4), (0.2, 0.7)))
    ends = more * start, less * end, draws[-1][-1]
    norms = "ends of different norms: normalize in the angle only, not in the sum"
    compare([(answer(*ends)[0], first(outcomes(*ends)), {})], norms, 1e-7)


def _path(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    unit = np.linalg.norm(start) * np.linalg.norm(end)
    angle = np.arccos(np.float64(start @ end) / unit)
    first, second = np.sin((1 - shares) * angle), np.sin(shares * angle)
    path: np.ndarray = (np.outer(first, start) + np.outer(second, end)) / np.sin(angle)
    return path
