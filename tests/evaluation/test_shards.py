"""Shards as they are judged: like the same images in one array, and never with all in memory."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.conftest import job, tiny
from tests.publishing.test_sampling_job import complete, joined
from tests.sampler_double import HEIGHT, WIDTH, SamplerDouble
from tfgen.data import Dataset
from tfgen.data.pictures import find_files
from tfgen.data.shards import read_shards
from tfgen.errors import WorkError
from tfgen.evaluation import sources
from tfgen.evaluation.distances import fid
from tfgen.evaluation.evaluate import evaluate
from tfgen.evaluation.features import Extractor, ImageFeatures
from tfgen.evaluation.job import silent
from tfgen.evaluation.modes import captured_modes
from tfgen.evaluation.sources import SampleSource, open_images
from tfgen.publishing.sampling_job import shard_request

N, HELD_OUT, CLASSES = 70, 40, 3
SHAPE = (HEIGHT, WIDTH, 1)


class ExtractorDouble(Extractor):
    """Five features of each image, and the class of the largest of the first three.

    Attributes:
        batches: number of images of each call.
    """

    name = "double"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self._weights = np.random.default_rng(1).normal(size=(HEIGHT * WIDTH, 5))

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": "0", "features": 5}

    def check_images(self, shape: tuple[int, ...]) -> None:
        assert shape == SHAPE

    def dimensions(self, shape: tuple[int, ...]) -> int:
        return 5

    def num_modes(self, shape: tuple[int, ...]) -> int:
        return CLASSES

    def compute(self, images: np.ndarray) -> ImageFeatures:
        self.batches.append(len(images))
        # Far from 0, where a sum of squares would cancel.
        features = 1000 + images.reshape(len(images), -1) @ self._weights / 255
        return ImageFeatures(features.astype(np.float32), features[:, :CLASSES].argmax(1))


def write(folder: Path, n: int = N, num_classes: int = 0, **flags: Any) -> Path:
    """A folder of n images in shards of 20."""
    complete(folder, shard_request(SamplerDouble(num_classes), n, **{"shard_size": 20} | flags))
    return folder


def read_all(folder: Path) -> np.ndarray:
    return joined(read_shards(folder))[0]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    images = np.random.default_rng(2).integers(0, 256, (3 * HELD_OUT, *SHAPE), np.uint8)
    return tiny(images, np.arange(3 * HELD_OUT) % CLASSES)


def judge(source: Any, dataset: Dataset) -> dict[str, Any]:
    return evaluate(job(source, dataset, n=source.n), ExtractorDouble())


def open_folder(folder: Path, most: int = HELD_OUT, seed: int = 0) -> SampleSource:
    return sources.open_shards(folder, sources.find_shards(folder), most, seed)


@pytest.mark.parametrize("pixels", ["png", "raw"])
@pytest.mark.parametrize("n", [N, 30])
def test_shards_are_judged_like_the_same_images_in_an_array(
    tmp_path: Path, dataset: Dataset, n: int, pixels: str
) -> None:
    folder = write(tmp_path / "shards", n, pixels=pixels)
    images = read_all(folder)
    np.savez(tmp_path / "array.npz", images=images)
    path = tmp_path / "array.npz"
    array = open_images(path, find_files([path]), SHAPE, HELD_OUT, 0, silent)
    expected, result = judge(array, dataset), judge(open_folder(folder), dataset)
    assert result["n"] == min(n, HELD_OUT)
    for part in ("samples", "floor", "ceiling"):
        for name, value in expected[part].items():
            if name != "copies":
                assert result[part][name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert result["samples"]["copies"] == expected["samples"]["copies"]
    assert result["picture"] == expected["picture"]
    assert "likelihood" not in result and "cost" not in result
    extractor = ExtractorDouble()
    features = extractor.extract(images)
    reference = extractor.extract(dataset.test.images[: result["n"]]).features
    whole, modes = result["all_images"], captured_modes(features.classes, CLASSES)
    assert whole["n"] == n
    assert whole["fid"] == pytest.approx(fid(features.features, reference), rel=1e-9)
    assert (whole["modes"], whole["classes"]) == (modes.captured, modes.histogram.tolist())
    assert whole["class_entropy"] == pytest.approx(modes.entropy)
    if n < HELD_OUT:
        assert whole["fid"] == pytest.approx(result["samples"]["fid"], rel=1e-9)
    else:
        assert abs(whole["fid"] - result["samples"]["fid"]) > 1e-6


def test_the_images_are_a_function_of_the_seed(tmp_path: Path) -> None:
    folder = write(tmp_path)
    images, subsets = read_all(folder), []
    for seed in (0, 0, 1):
        summary = sources.ShardSummary(open_folder(folder, 15, seed), ExtractorDouble())
        summary.read()
        subsets.append(summary.images)
        rows = [np.flatnonzero((images == image).all((1, 2, 3)))[0] for image in summary.images]
        assert rows == sorted(set(rows)) and len(rows) == 15
    np.testing.assert_array_equal(subsets[0], subsets[1])
    assert (subsets[0] != subsets[2]).any()
    more = open_folder(write(tmp_path / "more", N + 1))
    assert more.weights_sha256 != open_folder(folder).weights_sha256


def test_never_more_than_a_batch_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, 1000, shard_size=100)
    monkeypatch.setattr(sources, "READ_AT_ONCE", 30)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def counted(*arguments: Any) -> Iterator[Any]:
        nonlocal most
        for batch in read_shards(*arguments):
            alive.append(weakref.ref(batch.images))
            yield batch
            most = max(most, sum(reference() is not None for reference in alive))

    monkeypatch.setattr(sources, "read_shards", counted)
    extractor, steps = ExtractorDouble(), []
    summary = sources.ShardSummary(open_folder(folder, 25), extractor)
    summary.read(steps.append)
    assert extractor.batches == steps == [30, 30, 30, 10] * 10
    assert most <= 2
    assert summary.moments.n == 1000
    arrays = (summary.images, summary.features, summary.classes, summary.histogram)
    assert [len(array) for array in arrays] == [25, 25, 25, CLASSES]


def test_the_classes_of_a_conditional_model_are_compared_with_its_labels(
    tmp_path: Path, dataset: Dataset
) -> None:
    folder = write(tmp_path, num_classes=CLASSES)
    result = judge(open_folder(folder), dataset)
    batches = list(read_shards(folder))
    classes = np.concatenate([ExtractorDouble().extract(b.images).classes for b in batches])
    labels = np.concatenate([batch.labels for batch in batches if batch.labels is not None])
    assert result["all_images"]["label_accuracy"] == (classes == labels).mean()
    assert result["images"]["request"]["num_classes"] == CLASSES
    # Other classes than those of the extractor have other meanings.
    other = judge(open_folder(write(tmp_path / "other", num_classes=4)), dataset)
    assert "label_accuracy" not in other["all_images"]


def test_what_is_missing_is_found_before_the_work(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "double-00002-of-00004.tfrecord").unlink()
    with pytest.raises(WorkError, match="is missing; repeat its tfgen-sample command"):
        open_folder(folder)
