"""A mean with its standard error."""

import math
from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError


class Estimate(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


def mean(values: np.ndarray) -> Estimate:
    """The mean of values of independent images, `[N]`.

    Raises:
        UsageError: there are fewer than two.
    """
    if len(values) < 2:
        raise UsageError(f"{len(values)} images are too few for a standard error; the least is 2")
    values = values.astype(np.float64)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
