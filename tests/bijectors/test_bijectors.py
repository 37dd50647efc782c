"""Each bijector against its closed form, or against TFP's."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijectors.test_contracts import conditioner, convolution
from tfgen import bijectors as b

tfb, tfd = tfp.bijectors, tfp.distributions


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


# --- couplings


def test_affine_coupling_is_tfp_real_nvp() -> None:
    """With the same function of the first two of five numbers."""
    function = conditioner("float64", 2, (6,))
    ours = b.AffineCoupling(b.Half(), function, log_scale_bound=1.5)

    def shift_and_log_scale(fixed: tf.Tensor, units: int, **_: Any) -> tuple[tf.Tensor, tf.Tensor]:
        shift, raw = tf.split(function(fixed), 2, axis=-1)
        return shift, 1.5 * tf.tanh(raw / 1.5)

    theirs = tfb.RealNVP(num_masked=2, shift_and_log_scale_fn=shift_and_log_scale)
    x = normal(7, 5)
    for name in ("forward", "inverse"):
        actual, log_det = getattr(ours, f"{name}_and_log_det")(x, 1)
        np.testing.assert_allclose(actual, getattr(theirs, name)(x), rtol=1e-9)
        np.testing.assert_allclose(
            log_det, getattr(theirs, f"{name}_log_det_jacobian")(x, 1), rtol=1e-9
        )


def test_the_fused_pair_asks_the_conditioner_once_and_tfp_methods_twice() -> None:
    calls = []

    def counted(fixed: tf.Tensor) -> tf.Tensor:
        calls.append(1)
        return tf.zeros([len(fixed), 6], fixed.dtype)

    bijector = b.Chain([b.AffineCoupling(b.Half(), counted), b.AffineCoupling(b.Half(), counted)])
    bijector.inverse_and_log_det(normal(4, 5), 1)
    assert len(calls) == 2
    bijector.forward_and_log_det(normal(4, 5), 1)
    assert len(calls) == 4
    x = normal(4, 5)
    bijector.inverse(x), bijector.inverse_log_det_jacobian(x, 1)
    assert len(calls) == 8


def test_the_state_stays_in_float32_where_the_conditioner_computes_in_half() -> None:
    def in_bfloat16(fixed: tf.Tensor) -> tf.Tensor:
        fixed = tf.cast(fixed, tf.bfloat16)
        return tf.concat([fixed[:, :1]] * 6, axis=-1)

    x = tf.cast(normal(4, 5), tf.float32)
    y, log_det = b.AffineCoupling(b.Half(), in_bfloat16).forward_and_log_det(x, 1)
    assert y.dtype == log_det.dtype == tf.float32
    np.testing.assert_array_equal(y[:, :2], x[:, :2])


# --- linear bijectors


def test_invertible_convolution_is_a_matrix_with_that_determinant() -> None:
    bijector = convolution("float64", 5, event_ndims=1)
    matrix = bijector.inverse_and_log_det(tf.eye(5, dtype=tf.float64), 1)[0].numpy()
    y = normal(7, 5)
    x, log_det = bijector.inverse_and_log_det(y, 1)
    np.testing.assert_allclose(x, y.numpy() @ matrix, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_det, np.log(abs(np.linalg.det(matrix))), rtol=1e-9)


# --- shapes


def test_squeeze_puts_each_block_of_four_pixels_into_channels() -> None:
    image = tf.reshape(tf.range(4 * 6 * 2), [1, 4, 6, 2])
    squeezed = b.Squeeze((4, 6, 2)).inverse(image)
    np.testing.assert_array_equal(squeezed, tf.nn.space_to_depth(image, 2))


def test_factored_out_channels_are_latents_untouched_by_the_inner_bijector() -> None:
    inner = b.InverseLogit(0.1)
    y = tf.sigmoid(normal(3, 2, 2, 2))
    chain = b.Chain([inner, b.Unflatten((2, 2, 1))])
    x, _ = b.FactorOut(chain, (2, 2, 2)).inverse_and_log_det(y, 3)
    expected = np.reshape(inner.inverse(y[..., 0]), [3, 4])
    np.testing.assert_allclose(x[:, :4], expected, rtol=1e-9)
    np.testing.assert_array_equal(x[:, 4:], np.reshape(y[..., 1], [3, 4]))


# --- the logit


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_inverse_logit_is_tfp_sigmoid_of_a_wider_interval(alpha: float) -> None:
    low, high = -alpha / 2 / (1 - alpha), 1 + alpha / 2 / (1 - alpha)
    theirs, ours = (
        tfb.Sigmoid(*(tf.constant(end, tf.float64) for end in (low, high))),
        b.InverseLogit(alpha),
    )
    x = 3 * normal(6, 2)
    y, log_det = ours.forward_and_log_det(x, 1)
    np.testing.assert_allclose(y, theirs.forward(x), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(log_det, theirs.forward_log_det_jacobian(x, 1), rtol=1e-6)
