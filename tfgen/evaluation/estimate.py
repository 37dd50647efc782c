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
        UsageError: there are fewer than two.
        WorkError: one is no number, or not finite.
    """
    if len(values) < 2:
        raise UsageError(f"{len(values)} images are too few for a standard error; the least is 2")
    values = values.astype(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(values))):
        raise WorkError(
            f"of {len(values)} images {len(wrong)} have no finite value, the first is image {wrong[0]} with "
            f"{values[wrong[0]]:g}: there is no mean"
        )
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
