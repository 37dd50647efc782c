"""Stacked MNIST: three random digits, one in each colour channel; 1000 modes.

All modes are about equally likely. The number of modes that a generator reaches measures its mode
collapse (Metz, Poole, Pfau & Sohl-Dickstein 2017, "Unrolled generative adversarial networks";
Srivastava et al. 2017, "VEEGAN"; Lin, Khetan, Fanti & Oh 2018, "PacGAN");
`tfgen.evaluation.modes` counts them. As in PacGAN, there are 128 000 training images.
"""

import numpy as np

from tfgen.data.dataset import Dataset, Split, fingerprint
from tfgen.errors import UsageError

NAME = "stacked_mnist"
# The images are a fixed function of MNIST. If this function or the seed changes, the version must.
VERSION = "2.0.0"
CHANNELS = 3
DIGITS = 10
TRAINING_IMAGES = 128_000
_SEED = 0x736D


def stacked_mnist(mnist: Dataset) -> Dataset:
    """Stacked MNIST; each split comes from that split of MNIST.

    The training split has 128 000 images, whose digits are drawn with replacement. The other splits
    have the size of MNIST's, and each of its images once in each channel.

    Args:
        mnist: the source, with labels 0…9.

    Raises:
        UsageError: the source has no labels.
    """
    # Raw words, not `Generator`: numpy guarantees the output of PCG64 in future versions, but not
    # that of `Generator`.
    bits = np.random.PCG64(_SEED)
    draws = bits.random_raw((CHANNELS, TRAINING_IMAGES)) % len(mnist.train)
    train = _stack(mnist.train, draws)
    validation, test = (
        _stack(source, np.argsort(bits.random_raw((CHANNELS, len(source))), kind="stable"))
        for source in (mnist.validation, mnist.test)
    )
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


def _stack(source: Split, indices: np.ndarray) -> Split:
    """Images whose channels are images of the source.

    Args:
        source: images of digits, with labels.
        indices: of the image in each channel, `[CHANNELS, N]`.
    """
    if source.labels is None:
        raise UsageError(f"{NAME} is made from images with labels, and the source has none")
    images = np.stack([source.images[rows, :, :, 0] for rows in indices], axis=-1)
    return Split(images, join_digits(source.labels[indices].T))
