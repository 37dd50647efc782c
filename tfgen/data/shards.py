"""Shards of sampled images: TFRecord files of many images each, and the manifest that lists them.

A record is a `tf.train.Example` with the features `image`, `seed` and, for a conditional model,
`label`. The manifest appears when all shards are whole. TensorFlow is imported only where records
are read.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tfgen.data.reading import decoded
from tfgen.errors import UsageError, WorkError
from tfgen.sampling import BATCH
from tfgen.settings.fields import Config
from tfgen.system.atomic import file_sha256, read_json, write_json
from tfgen.system.quiet import import_quietly

MANIFEST = "manifest.json"
# Version of the manifest and of the records.
_FORMAT = 1
_AT_LEAST_1, _AT_LEAST_0 = {"minimum": 1}, {"minimum": 0}


@dataclass(frozen=True, kw_only=True)
class ShardRequest(Config):
    """What is sampled into shards: all that the bytes of a shard depend on.

    Image i has the seed i of the request's seeds. The batches of a shard begin at its first image,
    so a shard does not depend on the other ones.

    Attributes:
        name: name of the sampler; the files' names begin with it.
        version: number of the published version; 0 for a run.
        fingerprint: SHA-256 that tells the sampler's graph and weights from others; empty if
            unknown.
        n: number of images in all shards.
        seed: seed of the whole request.
        label: class of all images; None: image i has the class i mod K.
        temperature: scale of the latents.
        shard_size: images in each shard but the last, which may have fewer.
        batch_size: images that are computed at once. Rounding, and so a pixel, may depend on it.
        pixels: how a record holds an image: `png`, a PNG file, or `raw`, `uint8[H, W, C]`.
        image_shape: height, width and channels.
        num_classes: number of classes of a conditional model, K; 0 of an unconditional one.
        class_names: names of the classes; None if unknown.
        dataset: name of the data set that the model was trained on; None if unknown.
        data_fingerprint: hash that tells this data set from others; None if unknown.
        train_on: `all` if the model was trained on the validation images, too; else None.
    """

    name: str
    version: int
    fingerprint: str
    n: int = field(metadata=_AT_LEAST_1)
    seed: int = field(default=0, metadata=_AT_LEAST_0)
    label: int | None = None
    temperature: float = field(default=1.0, metadata={"above": 0})
    shard_size: int = field(default=10_000, metadata=_AT_LEAST_1)
    batch_size: int = field(default=BATCH, metadata=_AT_LEAST_1)
    pixels: Literal["png", "raw"]
    image_shape: tuple[int, ...] = field(metadata=_AT_LEAST_1)
    num_classes: int = field(metadata=_AT_LEAST_0)
    class_names: tuple[str, ...] | None
    dataset: str | None
    data_fingerprint: str | None
    train_on: Literal["all"] | None = None

    @property
    def training(self) -> dict[str, Any]:
        """How the model was trained, as far as that is known: parts of its config.json."""
        train_on = {} if self.train_on is None else {"train_on": self.train_on}
        data = {"fingerprint": self.data_fingerprint}
        return {"options": {"dataset": self.dataset, **train_on}, "data": data}

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.n / self.shard_size)

    def place(self, index: int) -> tuple[str, int, int]:
        """Name of a shard's file, number of its images, and index of the first one."""
        first = index * self.shard_size
        return self.file_name(index), min(self.shard_size, self.n - first), first

    def file_name(self, index: int) -> str:
        """Name of a shard's file, for example `gan-00000-of-00100.tfrecord`."""
        return f"{self.name}-{index:05}-of-{self.num_shards:05}.tfrecord"

    def check_same(self, request: "ShardRequest", folder: Path) -> None:
        """Refuses another request for a folder that has shards of this one.

        Raises:
            UsageError: they differ.
        """
        after, before = request.to_json(), self.to_json().items()
        differences = [f"{name} {v}, not {after[name]}" for name, v in before if v != after[name]]
        if differences:
            text = f"{folder} has images of another request ({'; '.join(differences)})"
            raise UsageError(f"{text}; repeat its flags to continue it, or choose another folder")


@dataclass(frozen=True)
class ShardRecord(Config):
    """A shard that is whole.

    Attributes:
        file: name of its file.
        images: number of its images.
        first: index of its first image in the request.
        sha256: SHA-256 of the file, in hexadecimal.
        bytes: size of the file.
    """

    file: str
    images: int
    first: int
    sha256: str
    bytes: int

    def is_sound(self, folder: Path, hashes: bool = True) -> bool:
        """Whether the file is in a folder in its size and, unless told otherwise, its bytes."""
        path = folder / self.file
        if not path.is_file() or path.stat().st_size != self.bytes:
            return False
        return not hashes or file_sha256(path) == self.sha256

    def check(self, folder: Path, hashes: bool = True) -> None:
        """Checks that `is_sound`.

        Raises:
            WorkError: it is not.
        """
        if not self.is_sound(folder, hashes):
            path = folder / self.file
            fault = "damaged" if path.exists() else "missing"
            raise WorkError(f"{path} is {fault}; repeat its tfgen-sample command to restore it")


class Manifest(NamedTuple):
    """The request of a folder and its shards, in the order of their images."""

    request: ShardRequest
    shards: tuple[ShardRecord, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, whole or not at all."""
    content = {"format": _FORMAT, "request": manifest.request.to_json()}
    content["shards"] = [shard.to_json() for shard in manifest.shards]
    write_json(folder / MANIFEST, content)


def has_manifest(folder: Path) -> bool:
    """Whether a folder has a manifest of shards; those of published versions are others."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return {"request", "shards"} <= {*read_json(folder / MANIFEST)}
    return False


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        UsageError: the folder has no manifest: it has no shards, or not all of them.
        WorkError: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        text = f"{folder} has no {MANIFEST}: it lacks shards"
        raise UsageError(f"{text}; run its tfgen-sample command again, or choose a new folder")
    try:
        content = read_json(path)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, not {_FORMAT}")
        request = ShardRequest.from_json(content["request"])
        shards = tuple(ShardRecord.from_json(shard) for shard in content["shards"])
        places = [(shard.file, shard.images, shard.first) for shard in shards]
        if places != [request.place(index) for index in range(request.num_shards)]:
            raise ValueError("its shards are not those of its request")
    except (ValueError, KeyError, TypeError) as error:
        raise WorkError(f"{path} is damaged ({error}); sample into another folder") from error
    return Manifest(request, shards)


# --- reading ----------------------------------------------------------------------------


class ShardBatch(NamedTuple):
    """Images of a shard.

    Attributes:
        images: `uint8[B, H, W, C]`.
        labels: classes `int64[B]`; None of an unconditional model.
        seeds: `int32[B]`.
    """

    images: np.ndarray
    labels: np.ndarray | None
    seeds: np.ndarray


def read_shards(folder: str | Path, batch_size: int = BATCH) -> Iterator[ShardBatch]:
    """The images of a folder of shards in their order, with a batch at a time in memory.

    The bytes of each shard are compared with the manifest before it is read.

    Args:
        folder: the folder.
        batch_size: most images of a batch. No batch has images of two shards.

    Raises:
        UsageError: the folder has no manifest.
        WorkError: the manifest or a shard is damaged, or a shard is missing.
    """
    folder = Path(folder)
    request, shards = read_manifest(folder)
    (tf,) = import_quietly()
    names = ["seed", *(["label"] if request.num_classes else [])]
    for shard in shards:
        shard.check(folder)
        records = tf.data.TFRecordDataset(str(folder / shard.file)).batch(batch_size)
        batches = decoded(records, request.image_shape, names, request.pixels == "raw")
        for batch in batches.as_numpy_iterator():
            yield ShardBatch(batch["image"], batch.get("label"), batch["seed"].astype(np.int32))
