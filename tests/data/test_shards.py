"""Reading shards: what is damaged or missing is an error, never an image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.worlds import cut, edit_json, flip
from tests.publishing.test_sampling_job import complete
from tests.sampler_double import SamplerDouble
from tfgen.data.shards import MANIFEST, read_manifest, read_shards
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.sampling_job import shard_request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards, of 4 images and of 2."""
    complete(tmp_path, shard_request(SamplerDouble(), 6, shard_size=4))
    return tmp_path


def test_batches_are_of_one_shard_each(folder: Path) -> None:
    assert [len(batch.seeds) for batch in read_shards(str(folder), batch_size=3)] == [3, 1, 2]
    assert [len(batch.seeds) for batch in read_shards(folder)] == [4, 2]


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_the_shards_before_a_damaged_one_are_read(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    damage(folder / "double-00001-of-00002.tfrecord")
    batches = read_shards(folder)
    assert len(next(batches).seeds) == 4
    with pytest.raises(WorkError, match=r"00001-of-00002.tfrecord is (missing|damaged)"):
        next(batches)


def test_a_folder_without_a_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(UsageError, match=r"has no manifest.json: it lacks shards"):
        next(read_shards(folder))


def change(folder: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    edit(content)
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: cut(f / MANIFEST, 99),
        lambda f: edit_json(f / MANIFEST, format=2),
        lambda f: (f / MANIFEST).write_text('{"request":' + "[" * 100_000),
        lambda f: change(f, lambda content: content["request"].pop("n")),
        lambda f: change(f, lambda content: content["shards"].reverse()),
        lambda f: change(f, lambda content: content["shards"][0].update(file="../other")),
    ],
)
def test_a_damaged_manifest_is_an_error(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    with pytest.raises(WorkError, match=r"manifest.json is damaged"):
        read_manifest(folder)
