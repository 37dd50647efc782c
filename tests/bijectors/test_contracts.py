"""Every bijector against the same contract. A new bijector adds one entry to `CASES`."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.bijectors import contracts
from tests.bijectors.contracts import Case
from tfgen import bijectors as b

IMAGE = (4, 6, 2)


def numbers(dtype: str, *shape: int, seed: int = 0, scale: float = 0.5) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(scale=scale, size=shape), dtype)


def conditioner(dtype: str, inputs: int, outputs: tuple[int, ...], seed: int = 0) -> b.Conditioner:
    """tanh of a linear map of the flattened part; any function would do."""
    kernel = numbers(dtype, inputs, int(np.prod(outputs)), seed=seed)

    def function(fixed: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.tanh(tf.reshape(fixed, [-1, inputs]) @ kernel), [-1, *outputs])

    return function


def coupling(kind: Any, parameters: int, mask: b.Mask, shape: tuple[int, ...]) -> Case:
    fixed, changed = (part.shape[1:] for part in mask.split(tf.zeros([1, *shape])))
    outputs = (*changed[:-1], parameters * changed[-1])
    size = int(np.prod(fixed))
    return Case(lambda dtype: kind(mask, conditioner(dtype, size, outputs)), shape, shape)


def normalization(dtype: str, channels: int) -> b.ActivationNormalization:
    return b.ActivationNormalization(numbers(dtype, channels), numbers(dtype, channels, seed=1))


def convolution(dtype: str, channels: int, event_ndims: int = 3) -> b.InvertibleConvolution:
    rng = np.random.default_rng(2)
    return b.InvertibleConvolution(
        tf.constant(np.eye(channels)[rng.permutation(channels)], dtype),
        numbers(dtype, channels, channels),
        numbers(dtype, channels, channels, seed=1),
        numbers(dtype, channels, seed=3),
        event_ndims,
    )


def multi_scale(dtype: str) -> b.Chain:
    """Two scales, as in a flow: squeeze, steps, factor out, squeeze again."""
    inner = b.Chain([b.Squeeze((2, 2, 2)), normalization(dtype, 8), b.Unflatten((1, 1, 8))])
    return b.Chain(
        [
            b.InverseLogit(0.01),
            b.Squeeze((4, 4, 1)),
            convolution(dtype, 4),
            coupling(b.AffineCoupling, 2, b.Half(3), (2, 2, 4)).make(dtype),
            b.FactorOut(inner, (2, 2, 4)),
        ]
    )


def near(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """|x| below 4, where 1 − σ(x) has enough digits in float32."""
    return rng.uniform(-4, 4, shape)


CASES: dict[str, Case] = {
    "affine-half": coupling(b.AffineCoupling, 2, b.Half(), (5,)),
    "affine-half-swapped": coupling(b.AffineCoupling, 2, b.Half(swap=True), (5,)),
    "affine-checkerboard": coupling(b.AffineCoupling, 2, b.Checkerboard(), IMAGE),
    "affine-checkerboard-swapped": coupling(b.AffineCoupling, 2, b.Checkerboard(True), IMAGE),
    "affine-channels": coupling(b.AffineCoupling, 2, b.Half(3), (2, 3, 4)),
    "affine-channels-swapped": coupling(b.AffineCoupling, 2, b.Half(3, True), (2, 3, 4)),
    "mixture-half": coupling(b.MixtureCoupling, 14, b.Half(), (5,)),
    "mixture-checkerboard": coupling(b.MixtureCoupling, 14, b.Checkerboard(), IMAGE),
    "activation-normalization": Case(lambda dtype: normalization(dtype, 2), IMAGE, IMAGE),
    "invertible-convolution": Case(lambda dtype: convolution(dtype, 2), IMAGE, IMAGE),
    "invertible-matrix": Case(lambda dtype: convolution(dtype, 5, event_ndims=1), (5,), (5,)),
    "squeeze": Case(lambda dtype: b.Squeeze(IMAGE), (2, 3, 8), IMAGE),
    "unflatten": Case(lambda dtype: b.Unflatten(IMAGE), (48,), IMAGE),
    "factor-out": Case(lambda dtype: b.FactorOut(b.Unflatten((4, 6, 1)), IMAGE), (48,), IMAGE),
    "inverse-logit": Case(lambda dtype: b.InverseLogit(0.05), (3,), (3,), near),
    "invert-multi-scale": Case(
        lambda dtype: b.Invert(multi_scale(dtype)),
        (4, 4, 1),
        (16,),
        lambda rng, shape: rng.uniform(0.05, 0.95, shape),
    ),
    "multi-scale": Case(
        multi_scale, (16,), (4, 4, 1), lambda rng, shape: rng.normal(scale=0.5, size=shape)
    ),
}


# Shapes and sums do not depend on the precision; dtypes and rounding are in the other checks.
ONE_PRECISION = {"check_unknown_batch", "check_event_ndims", "check_composition"}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("check", "dtype"),
    [
        pytest.param(check, dtype, id=f"{check.__name__}-{dtype}")
        for check in contracts.CHECKS
        for dtype in ("float32", "float64")
        if dtype == "float64" or check.__name__ not in ONE_PRECISION
    ],
)
def test_contract(check: Any, name: str, dtype: str) -> None:
    check(CASES[name], dtype)
