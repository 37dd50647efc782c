"""Mode collapse by counting: how many modes samples reach, and how evenly.

On Stacked MNIST, a classifier of digits finds the mode of a sample, one of 1000, channel by
channel. Lin, Khetan, Fanti & Oh 2018 ("PacGAN"), after Metz et al. 2017 and Srivastava et al. 2017,
count the modes among 26 000 samples. They also measure the KL divergence of the samples' modes from
the uniform distribution.
"""

from dataclasses import dataclass

import numpy as np

from tfgen.errors import UsageError


@dataclass(frozen=True)
class ModeCounts:
    """How N samples spread over M modes, as Lin et al. 2018 ("PacGAN") count them.

    Attributes:
        captured: modes with at least one sample; `expected_modes` gives the number that N uniform
            draws reach.
        kl: KL(samples ‖ reference) of the modes, in nats. N draws from the reference have
            (M − 1) / 2N on average, to first order in 1/N.
        entropy: of the samples' modes, in nats; at most ln M.
        histogram: samples of each mode, `int64[M]`.
    """

    captured: int
    kl: float
    entropy: float
    histogram: np.ndarray


def captured_modes(
    labels: np.ndarray, num_modes: int, reference: np.ndarray | None = None
) -> ModeCounts:
    """Count the modes that samples reach (Lin et al. 2018, "PacGAN").

    A mode without samples adds nothing to KL and entropy.

    Args:
        labels: the mode of each sample, integers 0…M−1, `[N]` with N ≥ M.
        num_modes: M.
        reference: positive weights of the modes, `[M]`, such as counts of the training labels;
            None: equal weights, as in the paper. The digits of MNIST's training images are not
            quite equally frequent: three digits drawn from them differ by 0.0047 nats from uniform.

    Raises:
        UsageError: labels are not integers, out of range, or fewer than the modes; or a weight is
            not positive.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"labels are {labels.dtype}{list(labels.shape)}; they must be integers [N]"
        )
    _check_count("num_modes", num_modes, 1)
    _check_samples(len(labels), num_modes)
    if labels.min() < 0 or labels.max() >= num_modes:
        raise UsageError(
            f"labels run from {labels.min()} to {labels.max()}, but there are {num_modes} modes"
        )
    return counted_modes(np.bincount(labels, minlength=num_modes).astype(np.int64), reference)


def counted_modes(histogram: np.ndarray, reference: np.ndarray | None = None) -> ModeCounts:
    """The same as `captured_modes`, of the samples of each mode, `int64[M]`.

    Raises:
        UsageError: there are fewer samples than modes, or a weight is not positive.
    """
    num_modes, n = len(histogram), int(histogram.sum())
    _check_samples(n, num_modes)
    expected = _normalized(np.ones(num_modes) if reference is None else reference, num_modes)
    reached = histogram > 0
    p, q = histogram[reached] / n, expected[reached]
    return ModeCounts(
        captured=int(reached.sum()),
        kl=float(np.sum(p * np.log(p / q))),
        entropy=float(np.sum(p * np.log(1 / p))),
        histogram=histogram,
    )


def expected_modes(n: int, num_modes: int) -> float:
    """Modes that n uniform draws from M modes reach on average: M · (1 − (1 − 1/M)^n).

    Args:
        n: number of draws, such as the 26 000 of Lin et al. 2018.
        num_modes: M.

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
            f"reference has the weight {weights[wrong[0]]:g} for mode {wrong[0]}; "
            "all must be positive"
        )
    return weights / weights.sum()


def _check_samples(n: int, num_modes: int) -> None:
    # With fewer samples than modes, not even a perfect model could reach all modes.
    if n < num_modes:
        raise UsageError(
            f"{n} samples are too few for {num_modes} modes; the least is {num_modes}, "
            "and Lin et al. 2018 take 26 per mode"
        )


def _check_count(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise UsageError(f"{name} = {value} is too small; the least is {minimum}")
