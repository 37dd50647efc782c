"""Threefry against its published vectors, and the latents against the normal distribution."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfgen import random
from tfgen.models import preprocessing
from tfgen.models.gan import model as gan
from tfgen.models.vae import bounds as vae

# Random123's known-answer file, threefry2x32 with 20 rounds: counter, key, result.
VECTORS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def pair(words: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(words[0], tf.uint32), tf.constant(words[1], tf.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_threefry_published_vectors(counter, key, result) -> None:
    for function in (random.threefry2x32, tf.function(random.threefry2x32, jit_compile=True)):
        assert tuple(int(word) for word in function(pair(key), pair(counter))) == result


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return random.standard_normal(tf.constant(random.image_seeds(0, 10_000)), 20).numpy()


def test_latents_are_standard_normal(latents: np.ndarray) -> None:
    # 20 tests each; 1e-4 keeps the chance of a false alarm, fixed for ever by the seed, below 1 %.
    assert min(scipy.stats.kstest(column, "norm").pvalue for column in latents.T) > 1e-4
    assert min(scipy.stats.kstest(row, "norm").pvalue for row in latents[:50].reshape(5, -1)) > 1e-4
    correlations = np.corrcoef(latents.T) - np.eye(20)
    assert np.abs(correlations).max() < 5 / np.sqrt(len(latents))
    neighbours = [np.corrcoef(latents[:-1, d], latents[1:, d])[0, 1] for d in range(20)]
    assert np.abs(neighbours).max() < 5 / np.sqrt(len(latents))


def test_normal_is_the_quantile_of_its_bits() -> None:
    seeds = tf.constant(random.image_seeds(4, 500))
    bits = random.random_bits(seeds, 7, random.LATENTS).numpy().astype(np.uint64)
    tail = (2 * (bits & 0x7FFFFFFF).astype(np.float64) + 1) / 2**33
    exact = -scipy.stats.norm.ppf(tail) * np.where(bits >> np.uint64(31), -1, 1)
    np.testing.assert_allclose(random.standard_normal(seeds, 7), exact, atol=1e-6)


def test_streams_are_independent() -> None:
    seeds = tf.constant(random.image_seeds(0, 5000))
    a, b = (
        random.standard_normal(seeds, 1, stream).numpy()[:, 0]
        for stream in (random.LATENTS, random.PARTS)
    )
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(5000)


def test_no_two_streams_are_the_same_number() -> None:
    # A part of a batch adds its index to PARTS.
    streams = [random.LATENTS, random.DRAWS, *(random.PARTS + index for index in range(8))]
    streams += [vae.POSTERIOR, gan.PENALTY, preprocessing.BINARIZATION]
    streams += [preprocessing.DEQUANTIZATION]
    assert len(set(streams)) == len(streams)


def test_seed_noise_rows_do_not_depend_on_the_batch() -> None:
    seeds = tf.constant(random.image_seeds(0, 6))
    whole = random.SeedNoise(seeds).normal(6, (3, 2), 1)
    np.testing.assert_array_equal(whole[4:], random.SeedNoise(seeds[4:]).normal(2, (3, 2), 1))
