"""Mode collapse by counting: how many of a data set's modes the samples reach, and how evenly.

On Stacked MNIST a classifier of digits tells the mode of a sample, one of 1000, channel by channel.
Lin, Khetan, Fanti & Oh 2018 ("PacGAN"), after Metz et al. 2017 and Srivastava et al. 2017, count
the modes among 26 000 samples, and take the KL divergence of the samples' modes from the uniform.
"""

from dataclasses import dataclass

import numpy as np

from tfgen.errors import UsageError


@dataclass(frozen=True)
class ModeCounts:
    """What N samples reach of M modes.

    Attributes:
        captured: modes with at least one sample; `expected_modes` is what N draws from the uniform
            reach.
        kl: KL(samples ‖ reference) of the modes, in nats; N draws from the reference itself have (M
            − 1) / 2N on average, to first order in 1/N.
        entropy: of the samples' modes, in nats; at most ln M.
        histogram: samples of each mode, int64[M].
    """

    captured: int
    kl: float
    entropy: float
    histogram: np.ndarray


def captured_modes(
    labels: np.ndarray, num_modes: int, reference: np.ndarray | None = None
) -> ModeCounts:
    """Counts the modes that samples reach; a mode without any adds nothing to KL and entropy.

    Args:
        labels: the mode of each sample, integers of 0…M−1 [N], N ≥ M.
        num_modes: M.
        reference: weights of the modes, positive [M], such as the training labels' counts; None:
            equal ones, as in the paper. The digits of MNIST's training images are not quite equally
            frequent: three drawn from them are by that alone 0.0047 nats from the uniform.

    Raises:
        UsageError: labels are no integers or out of range, are fewer than the modes, or a weight is
            not positive.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"labels are {labels.dtype}{list(labels.shape)}; they must be integers [N]"
        )
    _check_count("num_modes", num_modes, 1)
    # Fewer could not reach all modes, however good the model.
    if len(labels) < num_modes:
        raise UsageError(
            f"{len(labels)} samples are too few for {num_modes} modes; the least is {num_modes}, "
            "and Lin et al. 2018 take 26 a mode"
        )
    if labels.min() < 0 or labels.max() >= num_modes:
        raise UsageError(
            f"labels run from {labels.min()} to {labels.max()}, but there are {num_modes} modes"
        )
    expected = _normalized(np.ones(num_modes) if reference is None else reference, num_modes)
    histogram = np.bincount(labels, minlength=num_modes).astype(np.int64)
    reached = histogram > 0
    p, q = histogram[reached] / len(labels), expected[reached]
    return ModeCounts(
        captured=int(reached.sum()),
        kl=float(np.sum(p * np.log(p / q))),
        entropy=float(np.sum(p * np.log(1 / p))),
        histogram=histogram,
    )


def expected_modes(n: int, num_modes: int) -> float:
    """Modes that n draws from the uniform over M reach on average: M · (1 − (1 − 1/M)^n).

    Raises:
        UsageError: n is negative, or there is no mode.
    """
    _check_count("n", n, 0)
    _check_count("num_modes", num_modes, 1)
    return num_modes * (1 - (1 - 1 / num_modes) ** n)


def _normalized(weights: np.ndarray, num_modes: int) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if weights.shape != (num_modes,):
        raise UsageError(
            f"reference has {list(weights.shape)} weights; there are {num_modes} modes"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if wrong.size:
        raise UsageError(
            f"reference has the weight {weights[wrong[0]]:g} for mode {wrong[0]}; all must be positive"
        )
    return weights / weights.sum()


def _check_count(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise UsageError(f"{name} = {value} is too small; the least is {minimum}")
