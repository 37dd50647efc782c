"""Typical mistakes in the exercises of the GAN's notebook; the check of each one names it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from notebooks.checks import find_mistake, load_exercises

pytestmark = pytest.mark.newest

softplus, mean = tf.nn.softplus, tf.reduce_mean
cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits


def discriminator_loss(real: Any, fake: Any) -> Any:
    return mean(softplus(-real)) + mean(softplus(fake))


def step_loss(*, stop: Any = tf.identity, stop_score: Any = tf.identity) -> Callable[..., Any]:
    """The loss of the discriminator's step, with a stop of the gradient at G(z) or at D(G(z))."""

    def loss(generator: Any, discriminator: Any, real: Any, latents: Any) -> Any:
        fake = stop(generator(latents, training=True))
        scores = stop_score(discriminator(fake, training=True))
        return discriminator_loss(discriminator(real, training=True), scores)

    return loss


def step_loss_with_swapped_labels(generator: Any, discriminator: Any, real: Any, z: Any) -> Any:
    fake = tf.stop_gradient(generator(z))
    return discriminator_loss(discriminator(fake), discriminator(real))


def jensen_shannon(log_p: Any, log_q: Any, spacing: float, log_half: float = np.log(0.5)) -> Any:
    log_m = np.logaddexp(log_p, log_q) + log_half
    terms = np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)
    return 0.5 * spacing * np.sum(terms)


def jensen_shannon_of_densities(log_p: Any, log_q: Any, spacing: float) -> Any:
    p, q = np.exp(log_p), np.exp(log_q)
    m = (p + q) / 2
    with np.errstate(all="ignore"):
        return 0.5 * spacing * np.sum(p * np.log(p / m) + q * np.log(q / m))


def kl(log_p: Any, log_q: Any, spacing: float) -> Any:
    return spacing * np.sum(np.exp(log_p) * (log_p - log_q))


def straight_line(start: Any, end: Any, steps: int) -> Any:
    return np.linspace(start, end, steps)


def great_circle(start: Any, end: Any, steps: int) -> Any:
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    share, angle = np.linspace(0, 1, steps)[:, None], np.arccos(cosine)
    return (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)


def great_circle_of_unit_vectors(start: Any, end: Any, steps: int) -> Any:
    return great_circle(start / np.linalg.norm(start), end / np.linalg.norm(end), steps)


def great_circle_without_norms(start: Any, end: Any, steps: int) -> Any:
    with np.errstate(all="ignore"):
        share, angle = np.linspace(0, 1, steps)[:, None], np.arccos(100 * np.dot(start, end))
        return (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)


def keras_loss_of_logits(real: Any, fake: Any) -> Any:
    import keras

    loss = keras.losses.BinaryCrossentropy()
    return loss(tf.ones_like(real), real) + loss(tf.zeros_like(fake), fake)


def density_ratio_by_exponentials(log_p: Any, log_g: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.exp(log_p) / (np.exp(log_p) + np.exp(log_g))


MISTAKES: dict[str, list[tuple[Callable[..., Any], str]]] = {
    "discriminator_loss": [
        (lambda a, b: mean(softplus(a)) + mean(softplus(-b)), "labels are swapped"),
        (
            lambda a, b: mean(softplus(-tf.sigmoid(a))) + mean(softplus(tf.sigmoid(b))),
            "sigmoid is applied twice",
        ),
        (
            lambda a, b: -mean(tf.math.log(a)) - mean(tf.math.log(1 - b)),
            "taken for probabilities",
        ),
        (keras_loss_of_logits, "taken for probabilities"),
        (lambda a, b: -discriminator_loss(a, b), "sign is wrong"),
        (lambda a, b: discriminator_loss(a, b) / 2, "half of what it should be"),
        (
            lambda a, b: tf.reduce_sum(softplus(-a)) + tf.reduce_sum(softplus(b)),
            "summed over the batch",
        ),
        (lambda a, b: mean(softplus(-a)), "term of the generated images is missing"),
        (lambda a, b: mean(softplus(b)), "term of the real images is missing"),
        (lambda a, b: mean(tf.concat([softplus(-a), softplus(b)], 0)), "one mean each"),
        (
            lambda a, b: -mean(tf.math.log(tf.sigmoid(a))) - mean(tf.math.log(1 - tf.sigmoid(b))),
            "not finite",
        ),
        (lambda a, b: softplus(-a), "is one number"),
        (lambda a, b: None, "returns nothing"),
        (lambda a, b: mean(a) - mean(b), "it should be"),
    ],
    "generator_loss": [
        (lambda a: -mean(softplus(a)), "saturating loss"),
        (lambda a: mean(softplus(a)), "labels are swapped"),
        (lambda a: -mean(softplus(-a)), "sign is wrong"),
        (lambda a: mean(cross_entropy(tf.ones_like(a), tf.sigmoid(a))), "sigmoid is applied twice"),
        (lambda a: tf.reduce_sum(softplus(-a)), "summed over the batch"),
        (lambda a: mean(1 - tf.sigmoid(a)), "not a logarithm"),
        (lambda a: -mean(tf.math.log(tf.sigmoid(a))), "not finite"),
        (lambda a: -mean(tf.math.log(a)), "taken for probabilities"),
        (lambda a: np.mean(np.logaddexp(0, -a.numpy())), "no gradient"),
        (lambda a: -mean(a), "it should be"),
    ],
    "discriminator_step_loss": [
        (step_loss(), "no stop-gradient"),
        (step_loss(stop_score=tf.stop_gradient), "stopped at D(G(z))"),
        (step_loss_with_swapped_labels, "labels are swapped"),
        (lambda g, d, x, z: mean(softplus(-d(g(z)))), "generator's loss"),
        (lambda g, d, x, z: mean(softplus(-d(x))), "generated images is missing"),
        (lambda g, d, x, z: 1.0, "as a tensor"),
    ],
    "optimal_discriminator": [
        (lambda p, g: 1 / (1 + np.exp(p - g)), "densities are swapped"),
        (lambda p, g: np.exp(p - g), "may exceed 1"),
        (lambda p, g: p - g, "is the logit"),
        (lambda p, g: p / (p + g), "take their exponentials"),
        (lambda p, g: 2 / (1 + np.exp(g - p)), "divide by their sum"),
        (density_ratio_by_exponentials, "0 / 0 is not a number"),
        (lambda p, g: np.full_like(p, 0.5), "does not maximize"),
    ],
    "jensen_shannon": [
        (lambda p, q, dx: jensen_shannon(p, q, dx) / np.log(2), "in bits"),
        (lambda p, q, dx: 2 * jensen_shannon(p, q, dx), "factors ½"),
        (lambda p, q, dx: jensen_shannon(p, q, dx, log_half=0), "m is the sum"),
        (lambda p, q, dx: jensen_shannon(p, q, 1), "spacing of the grid is missing"),
        (kl, "not symmetric"),
        (lambda p, q, dx: kl(q, p, dx), "not symmetric"),
        (lambda p, q, dx: (kl(p, q, dx) + kl(q, p, dx)) / 2, "has no bound"),
        (jensen_shannon_of_densities, "0 · log 0"),
        (lambda p, q, dx: 0.0, "should be"),
    ],
    "spherical_path": [
        (straight_line, "straight line"),
        (lambda a, b, n: great_circle(b, a, n), "runs backwards"),
        (great_circle_of_unit_vectors, "have norm 1"),
        (great_circle_without_norms, "divided by both norms"),
        (lambda a, b, n: great_circle(a, b, n + 1)[:-1], "does not stop at end"),
        (lambda a, b, n: great_circle(a, b, n + 1)[1:], "does not begin at start"),
        (lambda a, b, n: great_circle(a, b, n + 2)[1:-1], "does not begin at start"),
        (lambda a, b, n: great_circle(a, b, n)[0], "have the shape"),
    ],
}
CASES = [
    pytest.param(name, function, words, id=f"{name}-{words}-{index}")
    for name, mistakes in MISTAKES.items()
    for index, (function, words) in enumerate(mistakes)
]
RIGHT = {
    "discriminator_loss": discriminator_loss,
    "generator_loss": lambda logits: mean(softplus(-logits)),
    "discriminator_step_loss": step_loss(stop=tf.stop_gradient),
    "optimal_discriminator": lambda log_p, log_g: tf.sigmoid(log_p - log_g),
    "jensen_shannon": jensen_shannon,
    "spherical_path": great_circle,
}


@pytest.mark.parametrize(("name", "function", "words"), CASES)
def test_a_mistake_is_named(name: str, function: Callable[..., Any], words: str) -> None:
    mistake = find_mistake(load_exercises("gan")[name], function)
    assert mistake is not None
    assert words in mistake


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_of_other_words_passes(name: str) -> None:
    assert find_mistake(load_exercises("gan")[name], RIGHT[name]) is None


def test_each_exercise_has_mistakes() -> None:
    assert load_exercises("gan").keys() == MISTAKES.keys() == RIGHT.keys()
