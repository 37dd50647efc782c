"""The likelihoods p(x|z) of a VAE: a product over the pixels of an event."""

import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.models.preprocessing import Dequantized, Pixels, Preprocessing, SymmetricPixels
from tfgen.models.vae.bounds import Distribution, tfd
from tfgen.models.vae.config import VAEConfig
from tfgen.models.vae.logistic_mixture import LogisticMixture, outputs_per_pixel
from tfgen.settings.model import check_are_images


class Bernoulli(tfd.Bernoulli):
    """TFP's Bernoulli with log p(x) = x·l − log(1 + eˡ), for logits l.

    This form takes one softplus instead of two.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self._logits_parameter_no_checks()
        return event * logits - tf.nn.softplus(logits)


def make_preprocessing(config: VAEConfig, own: Preprocessing | None) -> Preprocessing:
    """What turns bytes into the events that the likelihood is of: `own`, if it is not None.

    Raises:
        UsageError: the likelihood does not suit the binarization, or is of bytes and `own` does not
            give the events that stand for bytes.
    """
    if own is None:
        config.check_options()
        return SymmetricPixels() if config.is_of_bytes else Pixels(config.binarization)
    if config.is_of_bytes and isinstance(own, Pixels | Dequantized):
        text = f"{type(own).__name__} gives no events in −1…1, as {config.likelihood!r} needs"
        raise UsageError(f"{text}; leave out preprocessing")
    return own


def outputs_shape(config: VAEConfig) -> tuple[int, ...]:
    """Shape of a decoder's output for an event.

    It is that of the event, except for `logistic_mixture`: there, a pixel of C channels has
    `outputs_per_pixel(C, mixtures)` numbers, (1 + 2 C + C (C − 1) / 2) times the mixtures.

    Raises:
        UsageError: the likelihood is one of images, and the events are none.
    """
    if config.likelihood != "logistic_mixture":
        return config.image_shape
    check_are_images(config.image_shape, "use another likelihood than 'logistic_mixture'")
    height, width, channels = config.image_shape
    return height, width, outputs_per_pixel(channels, config.mixtures)


def make_likelihood(config: VAEConfig, outputs: tf.Tensor) -> Distribution:
    """p(x|z) of the decoder's outputs.

    Args:
        config: says which likelihood; a `normal` one has unit variance.
        outputs: logits, or means of `normal`, `[..., *event_shape]`; for `logistic_mixture` what
            `LogisticMixture` takes, `[..., *outputs_shape(config)]`.
    """
    kind = config.likelihood
    if kind == "logistic_mixture":
        return LogisticMixture(outputs, config.image_shape[-1], config.mixtures)
    if kind == "bernoulli":
        entries = Bernoulli(logits=outputs, dtype=outputs.dtype)
    elif kind == "continuous_bernoulli":
        entries = tfd.ContinuousBernoulli(logits=outputs)
    else:
        entries = tfd.Normal(outputs, tf.ones([], outputs.dtype))
    return tfd.Independent(entries, reinterpreted_batch_ndims=len(config.image_shape))
