"""Statistics of test images under a model, held against their definitions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import SHAPE, wait_for
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.publishing.versions import Version
from tfgen.sampling import Arrays
from tfgen.serving import statistics
from tfgen.serving.catalog import Entry
from tfgen.serving.pool import Pool
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
    for name, expected in (("first", vectors[:, -1]), ("second", vectors[:, -2])):
        largest = np.abs(result[name]).argmax()
        np.testing.assert_allclose(result[name], expected * np.sign(expected[largest]), atol=1e-4)
    assert principal_directions(np.ones((5, 1), np.float32)) is None


class Digits:
    """Images in place of a data set's: white strokes on black."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.pixels = (rng.random((400, *SHAPE)) < 0.2).astype(np.uint8) * 255
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


def computed(
    monkeypatch: pytest.MonkeyPatch, open_sampler: Callable[[str, int], SignatureSampler]
) -> dict[str, Any]:
    """The statistics of a version when they are computed."""
    monkeypatch.setattr(statistics, "CALM", 0.0)
    images: Any = Digits()
    collection = Statistics(open_sampler, images, Pool(1, 0, 1.0))
    wait_for(lambda: collection.get(VERSION, "digits") is not None)
    collection.close()
    result = collection.get(VERSION, "digits")
    assert result is not None
    return result


def test_test_images_are_likelier_than_inverted_ones_and_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = Digits()
    model = Histogram(images.pixels)
    result = computed(monkeypatch, lambda name, number: model)
    assert result.keys() == {"bits_per_dim"}
    bits = result["bits_per_dim"]
    pixels = images.pixels[: statistics.SCORED]
    for kind, some in (("test", pixels), ("inverted", 255 - pixels)):
        expected = np.quantile(model.bits[some].mean((1, 2, 3)), QUANTILES)
        np.testing.assert_allclose(bits[kind], expected, rtol=1e-6)
    assert bits["test"][2] < bits["inverted"][0] < bits["noise"][0]
    # A conditional model is told the class of each image.
    labels = np.concatenate([batch["label"] for batch in model.batches])
    np.testing.assert_array_equal(labels, np.tile(images.labels[: statistics.SCORED], 3))
    assert max(len(batch["label"]) for batch in model.batches) == statistics.AT_ONCE


def test_those_of_a_published_vae_are_of_its_encoder(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    sampler = Sampler(folder / "vae-tiny" / "2")
    result = computed(monkeypatch, lambda name, number: sampler)
    assert result.keys() == {"latent_directions", "bits_per_dim"}
    directions = principal_directions(sampler.evaluate("encode", Digits().pixels)["mean"])
    assert directions is not None
    for key, value in directions.items():
        np.testing.assert_allclose(result["latent_directions"][key], value, atol=1e-4)


def test_a_failure_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, number: int) -> SignatureSampler:
        raise np.linalg.LinAlgError("SVD did not converge")

    # None would mean that they are not computed yet.
    assert computed(monkeypatch, fail) == {}
    error = capsys.readouterr().err
    assert "no statistics of name version 1" in error and error.count("\n") == 1
