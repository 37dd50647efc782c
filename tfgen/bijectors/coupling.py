"""Couplings: one part of an event is changed by functions of the other (Dinh et al. 2014, 2016)."""

import abc
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape, sum_last
from tfgen.bijectors.masks import Mask

Conditioner: TypeAlias = Callable[[tf.Tensor], tf.Tensor]

# exp of it is the largest factor by which one coupling stretches.
LOG_SCALE_BOUND = 2.0


def bounded(raw: tf.Tensor, bound: float) -> tf.Tensor:
    """b tanh(r / b): about r where that is small, and never beyond ±b."""
    return bound * tf.tanh(raw / bound)


class Coupling(Bijector):
    """Changes one part of an event, element by element, as the other part says.

    The Jacobian is triangular, so its determinant is the product of the elements' derivatives; and
    the conditioner is never inverted, so it may be any network.

    Args:
        mask: what is kept and what is changed.
        conditioner: of the kept part `[B, …, C]`, to what the change depends on: as the changed
            part `[B, …, C']`, its last axis longer by the factor `parameters`.
        parameters: numbers for each changed element.
        name: of the bijector.
    """

    def __init__(self, mask: Mask, conditioner: Conditioner, parameters: int, name: str):
        self.mask, self.conditioner, self._parameters_each = mask, conditioner, parameters
        super().__init__(mask.event_ndims, name)

    @abc.abstractmethod
    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """y of the changed part x and the logarithm of each element's derivative."""

    @abc.abstractmethod
    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """x of the changed part y and the logarithm of each element's derivative."""

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self.mask.split(x)
        changed, log_derivative = self._generate(changed, self._condition(kept))
        return self.mask.merge(kept, changed), sum_last(log_derivative, self.mask.event_ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self.mask.split(y)
        changed, log_derivative = self._normalize(changed, self._condition(kept))
        return self.mask.merge(kept, changed), sum_last(log_derivative, self.mask.event_ndims)

    def _condition(self, kept: tf.Tensor) -> list[tf.Tensor]:
        """The conditioner's output, in the state's precision, a tensor for each parameter."""
        ndims, event = self.mask.event_ndims, kept.shape[-self.mask.event_ndims :]
        # A network has one batch axis.
        output = tf.cast(self.conditioner(tf.reshape(kept, [-1, *event])), kept.dtype)
        output = tf.reshape(output, tf.concat([batch_shape(kept, ndims), output.shape[1:]], axis=0))
        return tf.split(output, self._parameters_each, axis=-1)


class AffineCoupling(Coupling):
    """y = x · exp(s) + t, with s and t from the conditioner (Dinh et al. 2016).

    The conditioner gives t and then a raw r; s = b tanh(r / b), so that no step can stretch by more
    than exp(b). A conditioner that ends in zeros makes it the identity.

    Args:
        mask: what is kept and what is changed.
        conditioner: the kept part → t and r, side by side on the last axis.
        log_scale_bound: b.
        name: of the bijector.
    """

    def __init__(
        self,
        mask: Mask,
        conditioner: Conditioner,
        log_scale_bound: float = LOG_SCALE_BOUND,
        name: str = "affine_coupling",
    ):
        self.log_scale_bound = log_scale_bound
        super().__init__(mask, conditioner, 2, name)

    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        return x * tf.exp(log_scale) + shift, log_scale

    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        return (y - shift) * tf.exp(-log_scale), -log_scale


class AdditiveCoupling(Coupling):
    """y = x + t, with t from the conditioner: it keeps volumes (Dinh et al. 2014, "NICE").

    Args:
        mask: what is kept and what is changed.
        conditioner: the kept part → t.
        name: of the bijector.
    """

    def __init__(self, mask: Mask, conditioner: Conditioner, name: str = "additive_coupling"):
        super().__init__(mask, conditioner, 1, name)

    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return x + parameters[0], tf.zeros_like(x)

    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return y - parameters[0], tf.zeros_like(y)
