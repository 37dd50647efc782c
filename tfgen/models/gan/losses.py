"""Adversarial losses: pairs of functions, for generator and discriminator.

Logits are the discriminator's outputs before any sigmoid, `float[B]`. A loss is `float[B]` too, one
value per example, in nats if the discriminator is a classifier. The discriminator's loss is the sum
of a term of real and a term of generated images; sample weights apply to the first. No function
takes the logarithm of a sigmoid, which is −∞ once the sigmoid rounds to 0. Instead,
log σ(a) = −softplus(−a) and log(1 − σ(a)) = −softplus(a).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from tfgen.system.quiet import LazyModule

# `--help` lists the losses without importing TensorFlow.
tf: Any = LazyModule("tensorflow")

# The terms of real and of generated images, `float[B]` each.
Terms: TypeAlias = "tuple[tf.Tensor, tf.Tensor]"


class AdversarialLoss(NamedTuple):
    """The losses that generator and discriminator minimize.

    Attributes:
        generator: the generator's loss, from the logits of generated images, and, if `relative`,
            from those of real images.
        discriminator: the two terms of the discriminator's loss, that of real and that of generated
            images, from the logits of both and the label smoothing.
        classifies: whether σ(logit) is the probability that an image is real.
        penalized: whether `gradient_penalty` is added to the discriminator's loss.
        relative: whether both losses depend on the differences between the logits of real and of
            generated images alone.
    """

    generator: Callable[..., tf.Tensor]
    discriminator: Callable[[tf.Tensor, tf.Tensor, float], Terms]
    classifies: bool = False
    penalized: bool = False
    relative: bool = False


def classifier_loss(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> Terms:
    """−log D(x) and −log(1 − D(G(z))), the discriminator's cross-entropy.

    Goodfellow et al. 2014, "Generative adversarial nets". With one-sided label smoothing s
    (Salimans et al. 2016), the target of real images is 1 − s, and the first term is
    −(1 − s) log D(x) − s log(1 − D(x)). In nats.

    Args:
        real: logits of real images, `float[B]`.
        fake: logits of generated images, `float[B]`.
        smoothing: s.

    Returns:
        The terms of real and of generated images, `float[B]` each.
    """
    return tf.nn.softplus(-real) + smoothing * real, tf.nn.softplus(fake)


def non_saturating_loss(fake: tf.Tensor) -> tf.Tensor:
    """−log D(G(z)), the generator's non-saturating loss (Goodfellow et al. 2014).

    Its gradient does not vanish where the discriminator is certain. In nats.

    Takes the logits of generated images, `fake`, `float[B]`, and returns `float[B]`.
    """
    return tf.nn.softplus(-fake)


def minimax_loss(fake: tf.Tensor) -> tf.Tensor:
    """log(1 − D(G(z))), the generator's minimax loss (Goodfellow et al. 2014).

    Its gradient vanishes where the discriminator is certain, as early in training. In nats.

    Takes the logits of generated images, `fake`, `float[B]`, and returns `float[B]`.
    """
    return -tf.nn.softplus(fake)


def least_squares_discriminator_loss(
    real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0
) -> Terms:
    """½ (D(x) − 1 + s)² and ½ D(G(z))², with label smoothing s.

    Mao et al. 2017, "Least squares generative adversarial networks".

    Args:
        real: logits of real images, `float[B]`.
        fake: logits of generated images, `float[B]`.
        smoothing: s.

    Returns:
        The terms of real and of generated images, `float[B]` each.
    """
    return 0.5 * tf.square(real - (1 - smoothing)), 0.5 * tf.square(fake)


def least_squares_generator_loss(fake: tf.Tensor) -> tf.Tensor:
    """½ (D(G(z)) − 1)² (Mao et al. 2017).

    Takes the logits of generated images, `fake`, `float[B]`, and returns `float[B]`.
    """
    return 0.5 * tf.square(fake - 1)


def hinge_discriminator_loss(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> Terms:
    """max(0, 1 − D(x)) and max(0, 1 + D(G(z))) (Lim & Ye 2017, "Geometric GAN").

    Args:
        real: logits of real images, `float[B]`.
        fake: logits of generated images, `float[B]`.
        smoothing: has no effect.

    Returns:
        The terms of real and of generated images, `float[B]` each.
    """
    return tf.nn.relu(1 - real), tf.nn.relu(1 + fake)


def critic_generator_loss(fake: tf.Tensor) -> tf.Tensor:
    """−D(G(z)), the generator's loss with the hinge and the Wasserstein critic.

    Lim & Ye 2017, "Geometric GAN"; Arjovsky et al. 2017, "Wasserstein GAN".

    Takes the logits of generated images, `fake`, `float[B]`, and returns `float[B]`.
    """
    return -fake


def wasserstein_critic_loss(real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0) -> Terms:
    """−D(x) and D(G(z)) (Arjovsky et al. 2017, "Wasserstein GAN").

    Args:
        real: logits of real images, `float[B]`.
        fake: logits of generated images, `float[B]`.
        smoothing: has no effect.

    Returns:
        The terms of real and of generated images, `float[B]` each.
    """
    return -real, fake


def relativistic_discriminator_loss(
    real: tf.Tensor, fake: tf.Tensor, smoothing: float = 0.0
) -> Terms:
    """−log σ(D(x) − D(G(z))), for pairs of a real and a generated image.

    Jolicoeur-Martineau 2019, "The relativistic discriminator: a key element missing from standard
    GAN", and Huang, Gokaslan, Kuleshov & Tompkin 2024, "The GAN is dead; long live the GAN! A
    modern GAN baseline" (R3GAN). The loss is that of a pair; it is all in the first term.

    Args:
        real: logits of real images, `float[B]`.
        fake: logits of generated images, `float[B]`.
        smoothing: has no effect.

    Returns:
        The terms of real and of generated images, `float[B]` each.
    """
    return tf.nn.softplus(fake - real), tf.zeros_like(fake)


def relativistic_generator_loss(fake: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """−log σ(D(G(z)) − D(x)), in nats (Jolicoeur-Martineau 2019).

    Takes the logits of generated images, `fake`, and those of the real images that they are paired
    with, `real`, `float[B]` each. Returns `float[B]`.
    """
    return tf.nn.softplus(real - fake)


def squared_slope(critic: Callable[[tf.Tensor], tf.Tensor], events: tf.Tensor) -> tf.Tensor:
    """‖∇D(x)‖², the term of the penalties R₁ and R₂, `[B]`.

    Mescheder, Geiger & Nowozin 2018, "Which training methods for GANs do actually converge?": R₁ is
    its mean over real events, and R₂ its mean over generated events.

    Args:
        critic: events `[B, *event_shape]` → `[B]`; each output depends on one event alone.
        events: `[B, *event_shape]`.
    """
    with tf.GradientTape() as tape:
        tape.watch(events)
        logits = critic(events)
    gradient = tape.gradient(logits, events)
    return tf.reduce_sum(tf.square(gradient), axis=list(range(1, events.shape.rank)))


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, fake: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """(‖∇D(x̂)‖ − 1)² at x̂ = ε x + (1 − ε) G(z).

    Gulrajani et al. 2017, "Improved training of Wasserstein GANs".

    Args:
        critic: events `[B, *event_shape]` → `[B]`.
        real: real events, `[B, *event_shape]`.
        fake: generated events, `[B, *event_shape]`.
        weights: ε, uniform in [0, 1), `[B]`.

    Returns:
        `[B]`. Where ∇D(x̂) is zero, the gradient of its norm is defined as zero; that of the square
        root would be NaN.
    """
    weights = tf.reshape(weights, [-1, *[1] * (real.shape.rank - 1)])
    between = weights * real + (1 - weights) * fake
    squares = squared_slope(critic, between)
    positive = squares > 0
    norm = tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)
    return tf.square(norm - 1)


LOSSES: dict[str, AdversarialLoss] = {
    "non_saturating": AdversarialLoss(non_saturating_loss, classifier_loss, classifies=True),
    "minimax": AdversarialLoss(minimax_loss, classifier_loss, classifies=True),
    "least_squares": AdversarialLoss(
        least_squares_generator_loss, least_squares_discriminator_loss
    ),
    "hinge": AdversarialLoss(critic_generator_loss, hinge_discriminator_loss),
    "wasserstein": AdversarialLoss(critic_generator_loss, wasserstein_critic_loss, penalized=True),
    "relativistic": AdversarialLoss(
        relativistic_generator_loss, relativistic_discriminator_loss, relative=True
    ),
}
