"""The inputs of checks: random ones, and arrays in place of tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._runner import Tensor, Toy

Generator = np.random.Generator


def differences(function: Callable[..., Any], inputs: Sequence[Any], index: int) -> np.ndarray:
    """The gradient of the sum of a function by one of its inputs, by central differences."""
    slopes = np.zeros(inputs[index].shape)
    for position in np.ndindex(slopes.shape):
        step = np.zeros(slopes.shape)
        step[position] = 1e-5
        moved = (inputs[index] + step, inputs[index] - step)
        up, down = (np.sum(function(*inputs[:index], x, *inputs[index + 1 :])) for x in moved)
        slopes[position] = (up - down) / 2e-5
    return slopes


def size(rng: Generator, low: int, high: int) -> int:
    """A random size from `low` to `high`."""
    return int(rng.integers(low, high + 1))


def tensor(values: Any) -> Tensor:
    """Values as a `float32` tensor."""
    return Tensor(np.asarray(values, np.float32))


def by_numpy(item: Any) -> Any:
    """An input as the check uses it: arrays, of real numbers in `float64`, in place of tensors."""
    if isinstance(item, Toy):
        names = {name: by_numpy(value) for name, value in item.inputs.items()}
        return eval(item.source, {"np": np, "xp": np, **names})
    if isinstance(item, Tensor):
        array = np.asarray(item.values)
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    return [by_numpy(part) for part in item] if isinstance(item, list) else item
