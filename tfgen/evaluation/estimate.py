"""A mean with its standard error."""

import math
from typing import NamedTuple

import numpy as np

from tfgen.errors import UsageError, WorkError


class Estimate(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


def mean(values: np.ndarray) -> Estimate:
    """The mean of values of independent images, `[N]`.

    Raises:
        UsageError: there are fewer than two values.
        WorkError: a value is not finite.
    """
    if len(values) < 2:
        raise UsageError(f"{len(values)} images are too few for a standard error; the least is 2")
    values = values.astype(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(values))):
        raise WorkError(
            f"{len(wrong)} of {len(values)} images have no finite value, so there is no mean; "
            f"the first is image {wrong[0]} with {values[wrong[0]]:g}"
        )
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
