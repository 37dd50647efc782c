"""Mode collapse by counting: how many modes samples reach, and how evenly.

On Stacked MNIST, a classifier of digits finds the mode of a sample, one of 1000, channel by
channel. Lin, Khetan, Fanti & Oh 2018 ("PacGAN"), after Metz et al. 2017 and Srivastava et al. 2017,
count the modes among 26 000 samples. They also measure the KL divergence of the samples' modes from
the uniform distribution.
"""

from typing import NamedTuple

import numpy as np


class ModeCounts(NamedTuple):
    """How N samples spread over M modes, as Lin et al. 2018 ("PacGAN") count them.

    Attributes:
        captured: modes with at least one sample; `expected_modes` gives the number that N uniform
            draws reach.
        kl: KL(samples ‖ uniform) of the modes, in nats. N uniform draws have (M − 1) / 2N on
            average, to first order in 1/N.
        entropy: of the samples' modes, in nats; at most ln M.
        histogram: samples of each mode, `int64[M]`.
    """

    captured: int
    kl: float
    entropy: float
    histogram: np.ndarray


def captured_modes(labels: np.ndarray, num_modes: int) -> ModeCounts:
    """Count the modes that samples reach (Lin et al. 2018, "PacGAN").

    A mode without samples adds nothing to KL and entropy.

    Args:
        labels: the mode of each sample, integers 0…M−1, `[N]`.
        num_modes: M.
    """
    return counted_modes(np.bincount(labels, minlength=num_modes).astype(np.int64))


def counted_modes(histogram: np.ndarray) -> ModeCounts:
    """The same as `captured_modes`, of the samples of each mode, `int64[M]`."""
    reached = histogram > 0
    p, uniform = histogram[reached] / histogram.sum(), 1 / len(histogram)
    kl, entropy = (float(np.sum(p * np.log(ratio))) for ratio in (p / uniform, 1 / p))
    return ModeCounts(int(reached.sum()), kl, entropy, histogram)


def expected_modes(n: int, num_modes: int) -> float:
    """Modes that n uniform draws from M modes reach on average: M · (1 − (1 − 1/M)^n).

    Args:
        n: number of draws, such as the 26 000 of Lin et al. 2018.
        num_modes: M.
    """
    return num_modes * (1 - (1 - 1 / num_modes) ** n)
