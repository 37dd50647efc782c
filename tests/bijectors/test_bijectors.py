"""Each bijector against its closed form, or against TFP's."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijectors.test_contracts import conditioner, convolution
from tfgen import bijectors as b

pytestmark = pytest.mark.quick

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
        np.testing.assert_allclose(actual, getattr(theirs, name)(x), rtol=1e-12)
        np.testing.assert_allclose(
            log_det, getattr(theirs, f"{name}_log_det_jacobian")(x, 1), rtol=1e-12
        )


@pytest.mark.parametrize("kind, parameters", [(b.AffineCoupling, 2), (b.AdditiveCoupling, 1)])
def test_a_conditioner_of_zeros_makes_the_identity(kind: Any, parameters: int) -> None:
    bijector = kind(b.Half(), lambda fixed: tf.zeros([len(fixed), 3 * parameters], fixed.dtype))
    x = normal(4, 5)
    for method in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
        value, log_det = method(x, 1)
        np.testing.assert_array_equal(value, x)
        np.testing.assert_array_equal(log_det, 0)


def test_log_scale_is_bounded() -> None:
    huge = b.AffineCoupling(
        b.Half(), lambda fixed: tf.fill([len(fixed), 6], tf.constant(1e3, fixed.dtype))
    )
    _, log_det = huge.forward_and_log_det(normal(4, 5), 1)
    np.testing.assert_allclose(log_det, 3 * 2.0)


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


def test_mixture_coupling_is_the_distribution_function_of_tfp_mixture() -> None:
    components, numbers = 3, normal(4, 2, 11, seed=1)
    bijector = b.MixtureCoupling(
        b.Half(), lambda fixed: tf.reshape(tf.transpose(numbers, [0, 2, 1]), [4, 22]), components
    )
    y = normal(4, 4)
    x, log_det = bijector.inverse_and_log_det(y, 1)
    bound = lambda raw: 2 * tf.tanh(raw / 2)  # noqa: E731
    logits, means, log_scales = numbers[..., 2:5], numbers[..., 5:8], bound(numbers[..., 8:11])
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=logits),
        tfd.Logistic(means + np.linspace(-1, 1, 3), tf.exp(log_scales)),
    )
    cdf = mixture.cdf(y[:, 2:])
    logit = tf.math.log(cdf) - tf.math.log1p(-cdf)
    np.testing.assert_array_equal(x[:, :2], y[:, :2])
    np.testing.assert_allclose(
        x[:, 2:], logit * tf.exp(bound(numbers[..., 1])) + numbers[..., 0], rtol=1e-9
    )
    slope = (
        mixture.log_prob(y[:, 2:]) - tf.math.log(cdf) - tf.math.log1p(-cdf) + bound(numbers[..., 1])
    )
    np.testing.assert_allclose(log_det, tf.reduce_sum(slope, -1), rtol=1e-9)


# --- masks


@pytest.mark.parametrize("swap", [False, True])
def test_a_checkerboard_keeps_every_other_pixel(swap: bool) -> None:
    height, width = 3, 4
    mask = b.Checkerboard(swap)
    numbers = np.arange(2 * height * width).reshape(2, height, width)
    fixed, changed = mask.split(tf.constant(numbers[..., None]))
    even = np.add.outer(np.arange(height), np.arange(width)) % 2 == 0
    white, black = (np.ravel(numbers[:, places]).tolist() for places in (even, ~even))
    assert np.ravel(fixed).tolist() == (black if swap else white)
    assert np.ravel(changed).tolist() == (white if swap else black)
    np.testing.assert_array_equal(np.ravel(mask.merge(fixed, changed)), range(24))


def test_masks_refuse_what_has_no_halves() -> None:
    with pytest.raises(ValueError, match="odd width, 5"):
        b.Checkerboard().split(tf.zeros([1, 4, 5, 1]))
    with pytest.raises(ValueError, match="has no two halves"):
        b.Half(3).split(tf.zeros([1, 4, 4, 1]))


# --- linear bijectors


def test_activation_normalization_normalizes_the_data_that_set_it() -> None:
    data = 3 * normal(50, 2, 3, 4) + 1
    mean, deviation = tf.reduce_mean(data, [0, 1, 2]), tf.math.reduce_std(data, [0, 1, 2])
    bijector = b.ActivationNormalization(mean, tf.math.log(deviation))
    x, log_det = bijector.inverse_and_log_det(data, 3)
    np.testing.assert_allclose(tf.reduce_mean(x, [0, 1, 2]), 0, atol=1e-12)
    np.testing.assert_allclose(tf.math.reduce_std(x, [0, 1, 2]), 1, rtol=1e-12)
    np.testing.assert_allclose(log_det, -6 * np.log(deviation).sum())


def test_invertible_convolution_is_a_matrix_with_that_determinant() -> None:
    bijector = convolution("float64", 5, event_ndims=1)
    matrix = bijector.inverse_and_log_det(tf.eye(5, dtype=tf.float64), 1)[0].numpy()
    y = normal(7, 5)
    x, log_det = bijector.inverse_and_log_det(y, 1)
    np.testing.assert_allclose(x, y.numpy() @ matrix, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(log_det, np.log(abs(np.linalg.det(matrix))), rtol=1e-10)


# --- shapes


def test_squeeze_puts_each_block_of_four_pixels_into_channels() -> None:
    image = tf.reshape(tf.range(4 * 6 * 2), [1, 4, 6, 2])
    squeezed = b.Squeeze((4, 6, 2)).inverse(image)
    np.testing.assert_array_equal(squeezed, tf.nn.space_to_depth(image, 2))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 × 4 cannot be squeezed"):
        b.Squeeze((3, 4, 1))
    with pytest.raises(ValueError, match="of 3 channels no half"):
        b.FactorOut(b.Unflatten((2, 2, 1)), (2, 2, 3))


def test_factored_out_channels_are_latents_untouched_by_the_inner_bijector() -> None:
    shift = b.Chain([tfb.Shift(tf.constant(5.0, tf.float64)), b.Unflatten((2, 2, 1))])
    y = normal(3, 2, 2, 2)
    x, _ = b.FactorOut(shift, (2, 2, 2)).inverse_and_log_det(y, 3)
    np.testing.assert_allclose(x[:, :4], np.reshape(y[..., 0], [3, 4]) - 5)
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


@pytest.mark.parametrize("alpha", [-0.1, 1.0])
def test_a_logit_keeps_off_by_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        b.InverseLogit(alpha)


def test_black_and_white_have_finite_logits() -> None:
    alpha = 1e-5
    x, log_det = b.InverseLogit(alpha).inverse_and_log_det(tf.constant([0.0, 1.0]), 0)
    np.testing.assert_allclose(
        x, np.array([-1, 1]) * np.log((1 - alpha / 2) / (alpha / 2)), rtol=1e-6
    )
    assert np.all(np.isfinite(log_det))


# --- gradients


def variables_of(kind: str) -> tuple[list[tf.Variable], b.Bijector]:
    rng = np.random.default_rng(0)
    if kind == "normalization":
        variables = [tf.Variable(rng.normal(size=4)) for _ in range(2)]
        return variables, b.ActivationNormalization(*variables, event_ndims=1)
    if kind == "convolution":
        lower, upper = (tf.Variable(rng.normal(size=(4, 4))) for _ in range(2))
        log_diagonal = tf.Variable(rng.normal(size=4))
        permutation, signs = np.eye(4)[[2, 0, 3, 1]], np.array([1.0, -1.0, 1.0, 1.0])
        bijector = b.InvertibleConvolution(
            permutation, lower, upper, signs, log_diagonal, event_ndims=1
        )
        return [lower, upper, log_diagonal], bijector
    coupling, parameters = {"affine": (b.AffineCoupling, 2), "mixture": (b.MixtureCoupling, 14)}[
        kind
    ]
    kernel, bias = (
        tf.Variable(rng.normal(size=(2, 2 * parameters))),
        tf.Variable(rng.normal(size=2 * parameters)),
    )
    return [kernel, bias], coupling(b.Half(), lambda fixed: fixed @ kernel + bias)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("kind", ["normalization", "convolution", "affine", "mixture"])
def test_gradients_of_value_and_log_det_are_those_of_differences(kind: str, direction: str) -> None:
    variables, bijector = variables_of(kind)
    x, weights = normal(3, 4), normal(3, 4, seed=1)

    def loss() -> tf.Tensor:
        value, log_det = getattr(bijector, f"{direction}_and_log_det")(x, 1)
        return tf.reduce_sum(value * weights) + tf.reduce_sum(log_det)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.any(gradient.numpy() != 0)
        offset, step = np.random.default_rng(2).normal(size=variable.shape), 1e-5
        start = variable.numpy()
        ends = []
        for sign in (1, -1):
            variable.assign(start + sign * step * offset)
            ends.append(float(loss()))
        variable.assign(start)
        # The error of a central difference is of the second order in the step.
        np.testing.assert_allclose(
            np.sum(gradient * offset), (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("farthest", [1.0, 50.0, 150.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mixture_is_solved_far_out_too(dtype: str, farthest: float) -> None:
    numbers = tf.cast(normal(1, 28, seed=3), dtype)
    coupling = b.MixtureCoupling(b.Half(), lambda fixed: tf.tile(numbers, [tf.shape(fixed)[0], 1]))
    changed = tf.reshape(tf.linspace(-farthest, farthest, 18), [9, 2])
    latents = tf.concat([tf.cast(normal(9, 2), dtype), tf.cast(changed, dtype)], axis=1)
    data, log_det = coupling.forward_and_log_det(latents, 1)
    back, inverse_log_det = coupling.inverse_and_log_det(tf.identity(data), 1)
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(back, latents, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=tolerance, atol=tolerance)


# --- chains


def test_a_chain_is_tfp_chain_and_takes_tfp_members() -> None:
    members = [tfb.Scale(tf.constant(3.0, tf.float64)), b.InverseLogit(0.01), b.Squeeze((2, 4, 1))]
    ours, theirs = b.Chain(members), tfb.Chain(members)
    assert (ours.forward_min_event_ndims, ours.inverse_min_event_ndims) == (3, 3)
    x = normal(5, 1, 2, 4)
    y, log_det = ours.forward_and_log_det(x, 3)
    np.testing.assert_allclose(y, theirs.forward(x))
    np.testing.assert_allclose(log_det, theirs.forward_log_det_jacobian(x, 3))
    back, inverse_log_det = ours.inverse_and_log_det(y, 3)
    np.testing.assert_allclose(back, x, rtol=1e-10)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-10)


@pytest.mark.parametrize(
    ("members", "least"),
    [
        ([b.InverseLogit(0.1), b.InverseLogit(0.1)], (0, 0)),
        ([b.Unflatten((2, 2, 1)), b.InverseLogit(0.1)], (1, 3)),
        ([b.InverseLogit(0.1), b.Squeeze((2, 2, 1)), b.Unflatten((1, 1, 4))], (1, 3)),
    ],
)
def test_the_least_event_of_a_chain(members: list, least: tuple[int, int]) -> None:
    chain = b.Chain(members)
    assert (chain.forward_min_event_ndims, chain.inverse_min_event_ndims) == least
