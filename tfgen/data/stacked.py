"""Stacked MNIST: three random digits, one in each colour channel; 1000 modes.

All modes are equally likely. The number of modes that a generator reaches measures its mode
collapse (Metz, Poole, Pfau & Sohl-Dickstein 2017, "Unrolled generative adversarial networks";
Srivastava et al. 2017, "VEEGAN"; Lin, Khetan, Fanti & Oh 2018, "PacGAN");
`tfgen.evaluation.modes` counts them.
"""

import numpy as np

from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.errors import UsageError

NAME = "stacked_mnist"
# The images are a fixed function of MNIST. If this function or the seed changes, the version must.
VERSION = "1.0.0"
CHANNELS = 3
DIGITS = 10
_SEED = 0x736D


def stacked_mnist(mnist: Dataset) -> Dataset:
    """Stacked MNIST; each split comes from that split of MNIST and has its size.

    Args:
        mnist: the source, with labels 0…9.

    Raises:
        UsageError: the source has no labels.
    """
    sources = (mnist.train, mnist.validation, mnist.test)
    bits = np.random.PCG64(_SEED)
    train, validation, test = (_stack(source, bits) for source in sources)
    return Dataset(
        name=NAME,
        version=VERSION,
        train=train,
        validation=validation,
        test=test,
        num_classes=DIGITS**CHANNELS,
        fingerprint=fingerprint((train, validation, test)),
    )


def join_digits(digits: np.ndarray) -> np.ndarray:
    """The number that each row of digits spells, most significant digit first.

    Args:
        digits: int[N,C], each 0…9.

    Returns:
        int64[N].
    """
    return digits.astype(np.int64) @ DIGITS ** np.arange(digits.shape[1], dtype=np.int64)[::-1]


def _stack(source: Split, bits: np.random.PCG64) -> Split:
    """Images of three channels, each of which has every image of the source once."""
    if source.labels is None:
        raise UsageError(f"{NAME} is made from images with labels, and the source has none")
    # Ranks of raw words, not `Generator.permutation`: numpy guarantees the output of PCG64 in
    # future versions, but not the output of `Generator`.
    orders = np.argsort(bits.random_raw((CHANNELS, len(source))), axis=1, kind="stable")
    images = np.empty((*source.images.shape[:3], CHANNELS), np.uint8)
    for channel, order in enumerate(orders):
        images[..., channel] = source.images[order, :, :, 0]
    return Split(images, join_digits(source.labels[orders].T))
