"""Couplings: maps of one part of an event that depend on the rest of it.

Dinh, Krueger & Bengio 2014, "NICE: non-linear independent components estimation"; Dinh,
Sohl-Dickstein & Bengio 2016, "Density estimation using Real NVP".
"""

import abc
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape, sum_last
from tfgen.bijectors.masks import Mask

Conditioner: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""The network of a coupling: from the fixed part `[B, …, C]` to the parameters `[B, …, P]`.

P is the number of changed elements on the last axis times the parameters per changed element.
"""

# A coupling scales an element by a factor of exp(−2) to exp(2).
LOG_SCALE_BOUND = 2.0


def bounded(raw: tf.Tensor, bound: float) -> tf.Tensor:
    """b tanh(r / b): close to r if |r| is small, and within ±b."""
    return bound * tf.tanh(raw / bound)


class Coupling(Bijector):
    """Changes one part of an event elementwise and leaves the fixed part as it is.

    A conditioner computes the parameters of the change from the fixed part. The Jacobian is
    triangular, so its determinant is the product of the elementwise derivatives. The conditioner is
    never inverted, so it may be any network (Dinh et al. 2014, 2016).

    Args:
        mask: splits an event into the fixed and the changed part.
        conditioner: maps the fixed part `[B, …, C]` to parameters `[B, …, parameters · C']`, where
            the changed part is `[B, …, C']`.
        parameters: parameters per changed element.
        name: name of the bijector.
    """

    def __init__(self, mask: Mask, conditioner: Conditioner, parameters: int, name: str):
        self.mask, self.conditioner, self._num_parameters = mask, conditioner, parameters
        super().__init__(mask.event_ndims, name)

    @abc.abstractmethod
    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The changed part y from x, and log|dy/dx| of each element."""

    @abc.abstractmethod
    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The changed part x from y, and log|dx/dy| of each element."""

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        fixed, changed = self.mask.split(x)
        changed, log_derivative = self._generate(changed, self._condition(fixed))
        return self.mask.merge(fixed, changed), sum_last(log_derivative, self.mask.event_ndims)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        fixed, changed = self.mask.split(y)
        changed, log_derivative = self._normalize(changed, self._condition(fixed))
        return self.mask.merge(fixed, changed), sum_last(log_derivative, self.mask.event_ndims)

    def _condition(self, fixed: tf.Tensor) -> list[tf.Tensor]:
        """The conditioner's output in the dtype of the event, one tensor per parameter."""
        ndims, event = self.mask.event_ndims, fixed.shape[-self.mask.event_ndims :]
        # A network takes exactly one batch axis.
        output = tf.cast(self.conditioner(tf.reshape(fixed, [-1, *event])), fixed.dtype)
        shape = tf.concat([batch_shape(fixed, ndims), output.shape[1:]], axis=0)
        output = tf.reshape(output, shape)
        return tf.split(output, self._num_parameters, axis=-1)


class AffineCoupling(Coupling):
    """y = x · exp(s) + t, with s and t from the conditioner (Dinh et al. 2016).

    The conditioner returns t and r, and s = b tanh(r / b), so that no coupling scales by more than
    exp(b). If the conditioner returns zeros, the coupling is the identity.

    Args:
        mask: splits an event into the fixed and the changed part.
        conditioner: maps the fixed part to t and r, concatenated on the last axis.
        log_scale_bound: b.
        name: name of the bijector.
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
