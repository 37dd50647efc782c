"""Shards: the sampler's own images, the same bytes whatever is interrupted, damaged or repeated."""

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.worlds import cut, flip, hold_lock
from tests.sampler_double import HEIGHT, WIDTH, SamplerDouble
from tfgen.data.shards import MANIFEST, ShardBatch, ShardRequest, read_shards
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.sampling_job import REQUEST, SamplingJob, shard_request, write_shard
from tfgen.sampling import byte_pixels

# Five shards of 7 images, the last one of 2; batches of 3, 3 and 1.
SIZES: dict[str, Any] = {"shard_size": 7, "batch_size": 3}
N = 30


def complete(
    folder: Path, request: ShardRequest, most: int | None = None, channels: int = 1
) -> list[int]:
    """Writes the missing shards, or the first few of them; returns those that it wrote."""
    job, sampler = SamplingJob(folder, request), SamplerDouble(request.num_classes, channels)
    with job.locked():
        job.prepare()
        missing = job.missing[:most]
        for index in missing:
            job.add(write_shard(sampler, request, index, folder))
        if not job.missing:
            job.finish()
    return missing


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def joined(batches: Iterable[ShardBatch]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    images, labels, seeds = zip(*batches, strict=True)
    all_labels = None if labels[0] is None else np.concatenate(labels)
    return np.concatenate(images), all_labels, np.concatenate(seeds)


@pytest.fixture
def request_of_30() -> ShardRequest:
    return shard_request(SamplerDouble(), N, seed=5, **SIZES)


@pytest.fixture
def whole(tmp_path: Path, request_of_30: ShardRequest) -> Path:
    """The folder of a request that was never interrupted."""
    complete(tmp_path / "whole", request_of_30)
    return tmp_path / "whole"


@pytest.mark.parametrize("pixels", ["png", "raw"])
@pytest.mark.parametrize(("num_classes", "label"), [(0, None), (3, None), (3, 2)])
def test_shards_have_the_images_and_seeds_of_the_sampler(
    tmp_path: Path, pixels: Any, num_classes: int, label: int | None
) -> None:
    sampler = SamplerDouble(num_classes, channels=3)
    request = shard_request(sampler, N, seed=5, label=label, pixels=pixels, **SIZES)
    complete(tmp_path, request, channels=3)
    images, labels, seeds = joined(read_shards(tmp_path, batch_size=4))
    expected = sampler.sample(N, seed=5, labels=label)
    assert images.shape == (N, HEIGHT, WIDTH, 3)
    assert len(np.unique(images)) > 100
    np.testing.assert_array_equal(images, byte_pixels(expected))
    np.testing.assert_array_equal(byte_pixels(sampler.sample(seeds=seeds, labels=labels)), images)
    if num_classes:
        classes = np.arange(N) % 3 if label is None else np.full(N, 2)
        np.testing.assert_array_equal(labels, classes)
    else:
        assert labels is None


def test_never_more_than_a_batch_is_computed_or_read(tmp_path: Path) -> None:
    sampler = SamplerDouble()
    request, steps = shard_request(sampler, 1000, shard_size=250, batch_size=60), []
    sampler.batch_size = 7  # the request decides
    for index in range(request.num_shards):
        write_shard(sampler, request, index, tmp_path, steps.append)
    assert set(sampler.batches) == {60, 10}
    assert steps == [60, 60, 60, 60, 10] * 4
    complete(tmp_path / "folder", request)
    assert max(len(batch.images) for batch in read_shards(tmp_path / "folder", 50)) == 50


def test_a_shard_is_the_same_bytes_alone_and_in_any_order(
    tmp_path: Path, whole: Path, request_of_30: ShardRequest
) -> None:
    # A worker gets the request by pickle.
    request = pickle.loads(pickle.dumps(request_of_30))
    records = {index: write_shard(SamplerDouble(), request, index, tmp_path) for index in (4, 1)}
    for record in records.values():
        assert (tmp_path / record.file).read_bytes() == (whole / record.file).read_bytes()
    assert records[4].to_json() == json.loads((whole / MANIFEST).read_text())["shards"][4]
    assert pickle.loads(pickle.dumps(records[4])) == records[4]


def test_another_sampler_than_that_of_the_request_is_refused(
    tmp_path: Path, request_of_30: ShardRequest
) -> None:
    for name, value in (("fingerprint", "1" * 64), ("number", 4), ("name", "vae")):
        sampler = SamplerDouble()
        setattr(sampler, name, value)
        with pytest.raises(UsageError, match="is not the sampler of the request, double version 3"):
            write_shard(sampler, request_of_30, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_folder_continues_to_the_same_bytes(
    tmp_path: Path, whole: Path, request_of_30: ShardRequest
) -> None:
    folder = tmp_path / "new" / "folder"
    assert complete(folder, request_of_30, most=2) == [0, 1]
    names = [request_of_30.file_name(index) for index in range(5)]
    assert contents(folder).keys() == {".lock", REQUEST, *names[:2]}
    # What a process leaves that is killed while it writes a shard.
    (folder / ".double-00002-of-00005.tfrecord-x1y2").write_bytes(b"part")
    assert complete(folder, request_of_30, most=1) == [2]
    assert complete(folder, request_of_30) == [3, 4]
    assert contents(folder).keys() == {".lock", MANIFEST, *names}
    assert contents(folder) == contents(whole)
    assert complete(folder, request_of_30) == []
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize(
    "damage", [Path.unlink, flip, lambda path: cut(path, 100)], ids=["gone", "flipped", "cut"]
)
def test_a_damaged_shard_is_written_again(
    whole: Path, request_of_30: ShardRequest, damage: Callable[[Path], object]
) -> None:
    before = contents(whole)
    damage(whole / request_of_30.file_name(1))
    assert complete(whole, request_of_30, most=0) == []
    assert not (whole / MANIFEST).exists()
    assert complete(whole, request_of_30) == [1]
    assert contents(whole) == before


@pytest.mark.parametrize("most", [2, None], ids=["interrupted", "finished"])
@pytest.mark.parametrize("changes", [{"n": 31}, {"label": 1, "num_classes": 3}, {"version": 4}])
def test_another_request_is_refused(
    tmp_path: Path, request_of_30: ShardRequest, changes: dict[str, Any], most: int | None
) -> None:
    complete(tmp_path, request_of_30, most)
    before = contents(tmp_path)
    other = ShardRequest.from_json(request_of_30.to_json() | changes)
    with pytest.raises(UsageError, match=f"images of another request .*{next(iter(changes))} "):
        complete(tmp_path, other)
    assert contents(tmp_path) == before


def test_a_second_process_is_refused(tmp_path: Path, request_of_30: ShardRequest) -> None:
    hold_lock(tmp_path)
    with pytest.raises(UsageError, match="is in use by another process"):
        complete(tmp_path, request_of_30)
    assert contents(tmp_path).keys() == {".lock"}


def test_a_damaged_request_is_an_error(tmp_path: Path, request_of_30: ShardRequest) -> None:
    complete(tmp_path, request_of_30, most=1)
    for content in ("{", "[]", "{}", '{"name": 1}'):
        (tmp_path / REQUEST).write_text(content)
        with pytest.raises(WorkError, match=r"request.json is damaged"):
            complete(tmp_path, request_of_30)


def test_what_a_sampler_cannot_draw_is_refused() -> None:
    for arguments in ({"label": 1}, {"shard_size": 0}, {"n": 0}, {"pixels": "gif"}):
        with pytest.raises(UsageError):
            shard_request(SamplerDouble(), **{"n": 5} | arguments)
    with pytest.raises(UsageError, match="label 3 is out of range"):
        shard_request(SamplerDouble(3), 5, label=3)
    with pytest.raises(UsageError, match="cannot be stored as PNG; pass --pixels raw"):
        shard_request(SamplerDouble(channels=5), 5)
    assert shard_request(SamplerDouble(channels=5), 5, pixels="raw").image_shape == (4, 3, 5)
