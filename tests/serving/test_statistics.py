"""Statistics of test images under a model, held against their definitions."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.serving.conftest import SHAPE, StubModels, wait_for
from tfgen.publishing import versions
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.sampling import Arrays
from tfgen.serving import listing
from tfgen.serving.listing import Listing, principal_directions, statistics
from tfgen.serving.pool import Pool

QUANTILES = (0.05, 0.5, 0.95)
DIGITS = (np.random.default_rng(0).random((400, *SHAPE)) < 0.2).astype(np.uint8) * 255
LABELS = np.arange(400) % 3


def test_principal_directions_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    mean = np.array([1.0, -2.0, 3.0, 0.5])
    latents = mean + rng.standard_normal((500, 4)) * [0.1, 5, 0.2, 2] @ axes.T
    result = principal_directions(np.float32(latents))
    assert result is not None
    # Sums of 500 float32 of both signs, up to about 15.
    np.testing.assert_allclose(result["mean"], latents.mean(0), rtol=1e-5, atol=1e-5)
    _, vectors = np.linalg.eigh(np.cov(latents.T))
    for name, expected in (("first", vectors[:, -1]), ("second", vectors[:, -2])):
        largest = np.abs(result[name]).argmax()
        np.testing.assert_allclose(result[name], expected * np.sign(expected[largest]), atol=1e-4)
    assert principal_directions(np.ones((5, 1), np.float32)) is None


class Histogram(SignatureSampler):
    """A model of bytes in which all pixels are independent and have the same distribution.

    Args:
        images: the images whose bytes are counted.
    """

    name, number, num_classes = "histogram", 1, 3
    signature_names = ("log_prob",)

    def __init__(self, images: np.ndarray):
        counts = np.bincount(images.ravel(), minlength=256) + 0.01
        self.bits = -np.log2(counts / counts.sum())
        self.batches: list[Mapping[str, np.ndarray]] = []

    def signature(self, name: str) -> Signature:
        inputs = {key: TensorSpec(np.int32, (None,)) for key in ("seed", "label")}
        inputs["images"] = TensorSpec(np.uint8, (None, *SHAPE))
        return Signature(inputs, {"bits_per_dim": TensorSpec(np.float32, (None,))})

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        self.batches.append(inputs)
        return {"bits_per_dim": np.float32(self.bits[inputs["images"]].mean((1, 2, 3)))}


def test_test_images_are_likelier_than_inverted_ones_and_noise() -> None:
    model = Histogram(DIGITS)
    result = statistics(model, DIGITS, LABELS)
    assert result.keys() == {"bits_per_dim"}
    bits = result["bits_per_dim"]
    pixels = DIGITS[: listing.SCORED]
    for kind, some in (("test", pixels), ("inverted", 255 - pixels)):
        expected = np.quantile(model.bits[some].mean((1, 2, 3)), QUANTILES)
        np.testing.assert_allclose(bits[kind], expected, rtol=1e-6)
    assert bits["test"][2] < bits["inverted"][0] < bits["noise"][0]
    # A conditional model is told the class of each image.
    labels = np.concatenate([batch["label"] for batch in model.batches])
    np.testing.assert_array_equal(labels, np.tile(LABELS[: listing.SCORED], 3))


def test_those_of_a_published_vae_are_of_its_encoder(folder: Path) -> None:
    sampler = Sampler(folder / "vae-tiny" / "2")
    result = statistics(sampler, DIGITS, LABELS)
    assert result.keys() == {"latent_directions", "bits_per_dim"}
    directions = principal_directions(sampler.encode(DIGITS))
    assert result["latent_directions"] == directions


@pytest.mark.slow
def test_they_wait_for_requests_and_a_failure_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "CALM", 0.0)
    pool, models = Pool(1, 0, 1.0), StubModels(bytes)
    model = Histogram(DIGITS)
    opened = SimpleNamespace(sampler=model)
    monkeypatch.setattr(models, "open", lambda name, number: opened)
    shown = Listing(models, pool, None)
    monkeypatch.setattr(shown, "test_images", lambda dataset: (DIGITS, LABELS))

    def shipped(name: str) -> dict[str, object]:
        return next(entry for entry in shown.content()["models"] if entry["name"] == name)

    pool.pending = 1
    assert shipped("vae")["test_statistics"] is None
    time.sleep(0.2)
    assert not model.batches
    pool.pending = 0
    wait_for(lambda: shipped("vae")["test_statistics"] is not None)
    assert {len(batch["label"]) for batch in model.batches} == {listing.AT_ONCE}
    wait_for(lambda: all(m["test_statistics"] is not None for m in shown.content()["models"]))
    shown.close()

    failing = Listing(models, pool, None)
    monkeypatch.setattr(listing, "statistics", lambda *_: np.linalg.cholesky(-np.eye(2)))
    wait_for(lambda: all(m["test_statistics"] == {} for m in failing.content()["models"]))
    failing.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(versions.shipped_names())
    assert "no statistics of vae" in "".join(lines)
