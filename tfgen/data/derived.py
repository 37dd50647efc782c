"""Data sets that are made from MNIST: colour images with labels that need no download.

The images are a fixed function of MNIST. If a function or its seed changes, the version must.
Random numbers are raw words, not those of `Generator`: numpy guarantees the output of PCG64 in
future versions, but not the output of `Generator`.
"""

from collections.abc import Iterable

import numpy as np

from tfgen.data.dataset import Dataset, Split, fingerprint

CHANNELS = 3
# The two colours of an image of Colored MNIST differ by at least this in every channel, so that the
# digit is legible in each channel alone, and in grey.
CONTRAST = 64
_COLORED_SEED = 0x636D
_IMAGES_PER_BLOCK = 1024
DIGITS = 10
TRAINING_IMAGES = 128_000
_STACKED_SEED = 0x736D


def colored_mnist(mnist: Dataset) -> Dataset:
    """Colored MNIST: each digit in a colour of its own, on a background of another colour.

    Each split comes from that split of MNIST, in its order and with its labels. In every channel,
    the darker colour of an image is uniform in 0…191, and the lighter one is uniform from
    `CONTRAST` above it up to 255. A fair coin decides which of the two is the digit's.

    Args:
        mnist: the source, of one channel.
    """
    bits = np.random.PCG64(_COLORED_SEED)
    splits = [
        Split(_paint(source.images, *_draw_colors(bits, len(source))), source.labels)
        for source in (mnist.train, mnist.validation, mnist.test)
    ]
    return _derive("colored_mnist", "1.0.0", splits, mnist.num_classes)


def stacked_mnist(mnist: Dataset) -> Dataset:
    """Stacked MNIST: three random digits, one in each colour channel; 1000 modes.

    All modes are about equally likely. The number of modes that a generator reaches measures its
    mode collapse (Metz, Poole, Pfau & Sohl-Dickstein 2017, "Unrolled generative adversarial
    networks"; Srivastava et al. 2017, "VEEGAN"; Lin, Khetan, Fanti & Oh 2018, "PacGAN");
    `tfgen.evaluation.modes` counts them.

    Each split comes from that split of MNIST. The training split has 128 000 images, as in PacGAN,
    whose digits are drawn with replacement. The other splits have the size of MNIST's, and each of
    its images once in each channel.

    Args:
        mnist: the source, with labels 0…9.
    """
    bits = np.random.PCG64(_STACKED_SEED)
    draws = bits.random_raw((CHANNELS, TRAINING_IMAGES)) % len(mnist.train)
    splits = [_stack(mnist.train, draws)]
    for source in (mnist.validation, mnist.test):
        order = np.argsort(bits.random_raw((CHANNELS, len(source))), kind="stable")
        splits.append(_stack(source, order))
    return _derive("stacked_mnist", "2.0.0", splits, DIGITS**CHANNELS)


def _derive(name: str, version: str, splits: Iterable[Split], num_classes: int | None) -> Dataset:
    train, validation, test = splits
    digest = fingerprint((train, validation, test))
    return Dataset(name, version, train, validation, test, num_classes, digest)


def _draw_colors(bits: np.random.PCG64, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours of n backgrounds and of n digits, each `uint16[n, CHANNELS]` of 0…255."""
    # Each word has 16 bits for either colour and the coin.
    words = bits.random_raw((n, CHANNELS))
    low, high, coin = words & 0xFFFF, (words >> 16) & 0xFFFF, words >> 63
    levels = 256 - CONTRAST
    darker = (low * levels) >> 16
    lighter = darker + CONTRAST + ((high * (levels - darker)) >> 16)
    # The coin of the first channel decides for all channels.
    is_digit_darker = coin[:, :1] == 1
    background = np.where(is_digit_darker, lighter, darker)
    digit = np.where(is_digit_darker, darker, lighter)
    return background.astype(np.uint16), digit.astype(np.uint16)


def _paint(images: np.ndarray, background: np.ndarray, digit: np.ndarray) -> np.ndarray:
    """Mixes two colours per image by its grey values: 0 is the background, 255 the digit.

    Args:
        images: uint8[N,H,W,1].
        background: uint16[N,C], 0…255.
        digit: uint16[N,C], 0…255.

    Returns:
        uint8[N,H,W,C], rounded to the nearest byte.
    """
    painted = np.empty((*images.shape[:3], CHANNELS), np.uint8)
    # In blocks, so that the products, which take 16 bits, are never all in memory. The largest is
    # 255 · 255 + 127.
    for start in range(0, len(images), _IMAGES_PER_BLOCK):
        block = slice(start, start + _IMAGES_PER_BLOCK)
        grey = images[block].astype(np.uint16)
        mix = grey * digit[block, None, None] + (255 - grey) * background[block, None, None]
        painted[block] = (mix + 127) // 255
    return painted


def _stack(source: Split, indices: np.ndarray) -> Split:
    """Images whose channels are images of the source.

    Args:
        source: images of digits, with labels.
        indices: of the image in each channel, `[CHANNELS, N]`.
    """
    assert source.labels is not None
    images = np.stack([source.images[rows, :, :, 0] for rows in indices], axis=-1)
    # The number that the digits spell, that of the first channel in front.
    units = DIGITS ** np.arange(CHANNELS, dtype=np.int64)[::-1]
    return Split(images, units @ source.labels[indices])
