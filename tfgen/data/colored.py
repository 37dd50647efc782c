"""Colored MNIST: each digit in a colour of its own, on a background of another colour.

The smallest data set of colour images with labels that needs no download. Every image of MNIST is
there once, in the same split, place and class.
"""

import numpy as np

from tfgen.data.dataset import Dataset, Split, fingerprint

NAME = "colored_mnist"
# The images are a fixed function of MNIST. If this function or the seed changes, the version must.
VERSION = "1.0.0"
CHANNELS = 3
# The two colours of an image differ by at least this in every channel, so that the digit is
# legible in each channel alone, and in grey.
CONTRAST = 64
_SEED = 0x636D
_IMAGES_PER_BLOCK = 1024


def colored_mnist(mnist: Dataset) -> Dataset:
    """Colored MNIST; each split comes from that split of MNIST, in its order and with its labels.

    In every channel, the darker colour of an image is uniform in 0…191, and the lighter one is
    uniform from `CONTRAST` above it up to 255. A fair coin decides which of the two is the digit's.

    Args:
        mnist: the source, of one channel.
    """
    sources = (mnist.train, mnist.validation, mnist.test)
    bits = np.random.PCG64(_SEED)
    train, validation, test = (
        Split(_paint(source.images, *_draw_colors(bits, len(source))), source.labels)
        for source in sources
    )
    return Dataset(
        name=NAME,
        version=VERSION,
        train=train,
        validation=validation,
        test=test,
        num_classes=mnist.num_classes,
        fingerprint=fingerprint((train, validation, test)),
    )


def _draw_colors(bits: np.random.PCG64, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours of n backgrounds and of n digits, each `uint16[n, CHANNELS]` of 0…255."""
    # Raw words, not `Generator.integers`: numpy guarantees the output of PCG64 in future versions,
    # but not the output of `Generator`. Each word has 16 bits for either colour and the coin.
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
        grey = images[block, ..., 0].astype(np.uint16)
        inverse = 255 - grey
        for channel in range(CHANNELS):
            mix = grey * digit[block, channel, None, None]
            mix += inverse * background[block, channel, None, None]
            painted[block, ..., channel] = (mix + 127) // 255
    return painted
