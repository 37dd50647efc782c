"""Stacked MNIST: three digits drawn at random, one in each colour channel, so 1000 modes in equal
parts.

How many of the modes a generator reaches measures its mode collapse (Metz, Poole, Pfau &
Sohl-Dickstein 2017, "Unrolled generative adversarial networks"; Srivastava et al. 2017, "VEEGAN";
Lin, Khetan, Fanti & Oh 2018, "PacGAN"); `tfgen.evaluation.modes` counts them.
"""

import numpy as np

from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.data.memory import check_memory
from tfgen.errors import UsageError

NAME = "stacked_mnist"
# The images are a fixed function of MNIST's: whoever changes them or the seed changes the version.
VERSION = "1.0.0"
CHANNELS = 3
DIGITS = 10
_SEED = 0x736D


def stacked_mnist(mnist: Dataset, memory: int | None = None) -> Dataset:
    """Stacked MNIST, each split made of the same split of MNIST and as large.

    Args:
        mnist: the source, with labels of 0…9.
        memory: bytes that the pixels may take; None asks the machine.

    Raises:
        UsageError: it does not fit into memory.
    """
    sources = (mnist.train, mnist.validation, mnist.test)
    height, width, _ = mnist.image_shape
    check_memory(NAME, (height, width, CHANNELS), sum(map(len, sources)), memory)
    bits = np.random.PCG64(_SEED)
    train, validation, test = (_stacked(source, bits) for source in sources)
    return Dataset(
        name=NAME,
        version=VERSION,
        train=train,
        validation=validation,
        test=test,
        num_classes=DIGITS**CHANNELS,
        fingerprint=fingerprint((train, validation, test)),
    )


def spelled(digits: np.ndarray) -> np.ndarray:
    """The numbers that rows of decimal digits spell, the first digit the highest: int64[N] from
    int[N,C]."""
    return digits.astype(np.int64) @ DIGITS ** np.arange(digits.shape[1], dtype=np.int64)[::-1]


def _stacked(source: Split, bits: np.random.PCG64) -> Split:
    """Each channel shows all images of the source once, in an order of its own."""
    if source.labels is None:
        raise UsageError(f"{NAME} is made of images with labels; these have none")
    # Ranks of raw words: numpy promises that PCG64's integers stay as they are, and of
    # `Generator`'s permutations it does not.
    orders = np.argsort(bits.random_raw((CHANNELS, len(source))), axis=1, kind="stable")
    images = np.empty((*source.images.shape[:3], CHANNELS), np.uint8)
    for channel, order in enumerate(orders):
        images[..., channel] = source.images[order, :, :, 0]
    return Split(images, spelled(source.labels[orders].T))
