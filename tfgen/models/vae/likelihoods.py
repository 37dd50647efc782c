"""The likelihoods p(x|z) of a VAE: a product over the entries of an event."""

from typing import Any, Literal, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution, for the reader: TFP ships no types


class Bernoulli(tfd.Bernoulli):
    """TFP's Bernoulli with log p(x) = x·l − log(1 + eˡ), for logits l.

    This form takes one softplus instead of two.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self._logits_parameter_no_checks()
        return event * logits - tf.nn.softplus(logits)


def make_likelihood(
    kind: Literal["bernoulli", "continuous_bernoulli", "normal"],
    parameters: tf.Tensor,
    event_ndims: int,
) -> Distribution:
    """p(x|z) of the decoder's outputs.

    Args:
        kind: `bernoulli`, `continuous_bernoulli`, or `normal` with unit variance.
        parameters: logits, or means of `normal`, `[..., *event_shape]`.
        event_ndims: number of axes of an event.
    """
    entries: Distribution
    if kind == "bernoulli":
        entries = Bernoulli(logits=parameters, dtype=parameters.dtype)
    elif kind == "continuous_bernoulli":
        entries = tfd.ContinuousBernoulli(logits=parameters)
    else:
        entries = tfd.Normal(parameters, tf.ones([], parameters.dtype))
    return tfd.Independent(entries, reinterpreted_batch_ndims=event_ndims)
