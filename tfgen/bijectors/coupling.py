"""Couplings: maps of one part of an event that depend on the rest of it.

Dinh, Krueger & Bengio 2014, "NICE: non-linear independent components estimation"; Dinh,
Sohl-Dickstein & Bengio 2016, "Density estimation using Real NVP".
"""

import abc
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from tfgen.bijectors.base import Bijector, batch_shape, sum_last, with_batch_of


class Mask(abc.ABC):
    """Splits an event into a fixed part and a part that a coupling changes.

    Attributes:
        event_ndims: axes of an event and of its parts.
    """

    event_ndims: int

    @abc.abstractmethod
    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The fixed and the changed part of `[*batch, *event]`."""

    @abc.abstractmethod
    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """The event `[*batch, *event]` of its parts `fixed` and `changed`; undoes `split`."""


class Half(Mask):
    """Splits the last axis in two halves (Dinh et al. 2014, 2016).

    The last axis holds the elements of a vector or the channels of an image. If its size is odd,
    the first half is the smaller one.

    Args:
        event_ndims: axes of an event: 1 for vectors, 3 for images.
        swap: if False, the first half is fixed; if True, the second half is.
    """

    def __init__(self, event_ndims: int = 1, swap: bool = False):
        self.event_ndims, self.swap = event_ndims, swap

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits `[…, C]` into parts of C // 2 and of C − C // 2."""
        half = event.shape[-1] // 2
        first, second = event[..., :half], event[..., half:]
        return (second, first) if self.swap else (first, second)

    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Concatenates the halves on the last axis."""
        return tf.concat([changed, fixed] if self.swap else [fixed, changed], axis=-1)


class Checkerboard(Mask):
    """Splits the pixels of an image like the squares of a checkerboard.

    Both parts are images of half the width: of every two neighbours in a row, one pixel belongs to
    the fixed part and one to the changed part (Dinh et al. 2016, figure 3).

    Args:
        swap: if False, the pixel at the top left is fixed; if True, it is changed.
    """

    event_ndims = 3

    def __init__(self, swap: bool = False):
        self.swap = swap

    def _left_is_fixed(self, height: int) -> tf.Tensor:
        """Whether the left pixel of a pair is the fixed one, for each row."""
        return tf.reshape(tf.range(height) % 2 == int(self.swap), [height, 1, 1])

    def split(self, event: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits `[…, H, W, C]`, W even, into two parts of `[…, H, W / 2, C]`."""
        height, width, channels = event.shape[-3:]
        pairs = with_batch_of(event, [height, width // 2, 2, channels], 3)
        # unstack instead of slices, because the gradient of slices is slow.
        left, right = tf.unstack(pairs, axis=-2)
        left_is_fixed = self._left_is_fixed(height)
        return tf.where(left_is_fixed, left, right), tf.where(left_is_fixed, right, left)

    def merge(self, fixed: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Puts the pixels back in their places."""
        height, half, channels = fixed.shape[-3:]
        left_is_fixed = self._left_is_fixed(height)
        left = tf.where(left_is_fixed, fixed, changed)
        right = tf.where(left_is_fixed, changed, fixed)
        pairs = tf.stack([left, right], axis=-2)
        return with_batch_of(pairs, [height, 2 * half, channels], 4)


Conditioner: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""The network of a coupling: from the fixed part `[B, …, C]` to the parameters `[B, …, P]`.

P is the number of changed elements on the last axis times the parameters per changed element.
"""

# A coupling scales an element by a factor of exp(−2) to exp(2).
SCALE_BOUND = 2.0


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
        bound: bound of the log-scales among the parameters.
    """

    def __init__(self, mask: Mask, conditioner: Conditioner, parameters: int, bound: float):
        self.mask, self.conditioner = mask, conditioner
        self._num_parameters, self.log_scale_bound = parameters, bound
        super().__init__(forward_min_event_ndims=mask.event_ndims)

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
    """

    def __init__(self, mask: Mask, conditioner: Conditioner, log_scale_bound: float = SCALE_BOUND):
        super().__init__(mask, conditioner, 2, log_scale_bound)

    def _generate(self, x: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        return x * tf.exp(log_scale) + shift, log_scale

    def _normalize(self, y: tf.Tensor, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = parameters[0], bounded(parameters[1], self.log_scale_bound)
        return (y - shift) * tf.exp(-log_scale), -log_scale
