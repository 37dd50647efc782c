"""Statistics of test images under a model, held against their definitions."""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import PATIENCE
from tests.serving.conftest import SHAPE, wait_for
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.publishing.versions import Version
from tfgen.sampling import Arrays
from tfgen.serving import statistics
from tfgen.serving.catalog import Entry
from tfgen.serving.pool import Pool
from tfgen.serving.refusal import not_found
from tfgen.serving.statistics import Statistics, principal_directions

pytestmark = pytest.mark.newest

QUANTILES = (0.05, 0.5, 0.95)
VERSION = Entry(Version("name", 1, Path("name/1")), False, (0, 0))


def test_principal_directions_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    mean = np.array([1.0, -2.0, 3.0, 0.5])
    latents = mean + rng.standard_normal((500, 4)) * [0.1, 5, 0.2, 2] @ axes.T
    result = principal_directions(np.float32(latents))
    assert result is not None
    np.testing.assert_allclose(result["mean"], latents.mean(0), rtol=1e-5)
    _, vectors = np.linalg.eigh(np.cov(latents.T))
    for direction, expected in zip(
        (result["first"], result["second"]), (vectors[:, -1], vectors[:, -2]), strict=True
    ):
        largest = np.abs(direction).argmax()
        assert direction[largest] > 0
        np.testing.assert_allclose(direction, expected * np.sign(expected[largest]), atol=1e-4)
    # The directions are nearly those along which the latents were spread.
    assert abs(np.dot(result["first"], axes[:, 1])) > 0.99
    assert abs(np.dot(result["second"], axes[:, 3])) > 0.99


def test_a_single_latent_has_no_plane() -> None:
    assert principal_directions(np.ones((5, 1), np.float32)) is None


class Digits:
    """Images in place of a data set's: white strokes on black."""

    def __init__(self, shape: tuple[int, ...]):
        rng = np.random.default_rng(0)
        self.pixels = (rng.random((400, *shape)) < 0.2).astype(np.uint8) * 255
        self.labels = np.arange(400) % 3

    def read(self, name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self.pixels[:n], self.labels[:n]


class Histogram(SignatureSampler):
    """A model of bytes in which all pixels are independent and have the same distribution.

    Args:
        images: the images whose bytes are counted.
    """

    name, number, num_classes = "histogram", 1, 3

    def __init__(self, images: np.ndarray):
        counts = np.bincount(images.ravel(), minlength=256) + 0.01
        self.bits = -np.log2(counts / counts.sum())
        self.batches: list[Mapping[str, np.ndarray]] = []

    def has_signature(self, name: str) -> bool:
        return name == "log_prob"

    def signature(self, name: str) -> Signature:
        inputs = {
            "images": TensorSpec(np.uint8, (None, *SHAPE)),
            "seed": TensorSpec(np.int32, (None,)),
            "label": TensorSpec(np.int32, (None,)),
        }
        return Signature(inputs, {"bits_per_dim": TensorSpec(np.float32, (None,))})

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        self.batches.append(inputs)
        return {"bits_per_dim": np.float32(self.bits[inputs["images"]].mean((1, 2, 3)))}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(statistics, "CALM", 0.0)
    pool = Pool(1, 0, 1.0)
    yield pool
    pool.close()


def computed(
    pool: Pool, open_sampler: Callable[[str, int], SignatureSampler], images: Any
) -> dict[str, Any] | None:
    """The statistics of a version when they are computed."""
    collection = Statistics(open_sampler, images)
    assert collection.get(VERSION, "digits") is None
    collection.start(pool)
    wait_for(lambda: not collection._asked)
    collection.close()
    return collection.get(VERSION, "digits")


def test_test_images_are_likelier_than_inverted_ones_and_noise(pool: Pool) -> None:
    images = Digits(SHAPE)
    model = Histogram(images.pixels)
    result = computed(pool, lambda name, number: model, images)
    assert result is not None and result.keys() == {"bits_per_dim"}
    bits = result["bits_per_dim"]
    pixels = images.pixels[: statistics.SCORED]
    for kind, some in (("test", pixels), ("inverted", 255 - pixels)):
        expected = np.quantile(model.bits[some].mean((1, 2, 3)), QUANTILES)
        np.testing.assert_allclose(bits[kind], expected, rtol=1e-6)
    for quantiles in bits.values():
        assert quantiles == sorted(quantiles)
    assert bits["test"][2] < bits["inverted"][0] < bits["noise"][0]
    # A conditional model is told the class of each image.
    labels = np.concatenate([batch["label"] for batch in model.batches])
    np.testing.assert_array_equal(labels, np.tile(images.labels[: statistics.SCORED], 3))
    assert max(len(batch["label"]) for batch in model.batches) == statistics.AT_ONCE


def test_those_of_a_published_vae_are_of_its_encoder(pool: Pool, folder: Path) -> None:
    sampler, images = Sampler(folder / "vae-tiny" / "2"), Digits(SHAPE)
    result = computed(pool, lambda name, number: sampler, images)
    assert result is not None and result.keys() == {"latent_directions", "bits_per_dim"}
    means = sampler.evaluate("encode", images.pixels)["mean"]
    directions = principal_directions(means)
    assert directions is not None
    for key, value in directions.items():
        np.testing.assert_allclose(result["latent_directions"][key], value, atol=1e-4)


def test_a_version_that_cannot_be_opened_has_none(pool: Pool) -> None:
    def fail(name: str, number: int) -> SignatureSampler:
        raise not_found(name, number)

    # None would mean that they are not computed yet.
    assert computed(pool, fail, Digits(SHAPE)) == {}


def test_a_failure_is_told_and_tried_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, opened = Digits(SHAPE), []

    def fail_once(name: str, number: int) -> SignatureSampler:
        opened.append(name)
        if len(opened) == 1:
            raise np.linalg.LinAlgError("SVD did not converge")
        return Histogram(images.pixels)

    monkeypatch.setattr(statistics, "RETRY", 0.0)
    collection = Statistics(fail_once, images)
    collection.start(pool)
    wait_for(lambda: bool(collection.get(VERSION, "digits")))
    collection.close()
    assert len(opened) > 1
    told = "tfgen-serve: error: no statistics of name version 1: LinAlgError: SVD did not converge"
    assert capsys.readouterr().err == told + "\n"


def test_a_version_in_the_place_of_another_has_its_own(pool: Pool) -> None:
    images = Digits(SHAPE)
    collection = Statistics(lambda name, number: Histogram(images.pixels), images)
    collection.start(pool)
    wait_for(lambda: collection.get(VERSION, "digits") is not None)
    other = dataclasses.replace(VERSION, stamp=(1, 1))
    assert collection.get(other, "digits") is None
    collection.close()


def test_it_ends_even_if_it_is_closed_just_when_it_wakes(pool: Pool) -> None:
    class Wake(threading.Event):
        def clear(self) -> None:
            collection._closed = True
            self.set()
            super().clear()

    collection = Statistics(lambda name, number: Histogram(np.zeros(1, np.uint8)), Digits(SHAPE))
    collection._wake = Wake()
    collection.start(pool)
    collection._wake.set()
    assert collection._thread is not None
    collection._thread.join(PATIENCE)
    assert not collection._thread.is_alive()


def test_requests_come_first(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CALM", 3600.0)
    opened: list[str] = []
    collection = Statistics(lambda name, number: opened.append(name), Digits(SHAPE))
    collection.get(VERSION, "digits")
    collection.start(pool)
    time.sleep(0.3)
    collection.close()
    assert not opened
