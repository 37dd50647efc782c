"""A request for many images, written as shards: one at a time, in any order, by any process.

`write_shard` needs a sampler, a request and an index, and nothing of the other shards. A
`SamplingJob` keeps account of the shards of a folder, so that an interrupted request continues. No
TensorFlow here until a shard is written.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfgen.data import shards
from tfgen.data.shards import ShardRequest
from tfgen.errors import UsageError, WorkError, first_line, size_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.random import image_seeds
from tfgen.sampling import batches, byte_pixels, request_labels
from tfgen.system.atomic import file_sha256, fresh_file, locked, read_json, write_json
from tfgen.system.ray_cluster import RayCluster

# The request, while it is not finished. A file that has a shard's name is whole.
REQUEST = ".request.json"
# How often the shard of a lost worker is tried again.
_RETRIES = 3
# The sampler of each request in this process, a worker of a cluster, which writes several shards.
_opened: dict[ShardRequest, SignatureSampler] = {}


def shard_request(
    sampler: SignatureSampler,
    n: int,
    *,
    label: int | None = None,
    pixels: Literal["png", "raw"] = "png",
    **fields: Any,
) -> ShardRequest:
    """The request for n images of a sampler; see `ShardRequest` for the arguments.

    Raises:
        UsageError: a value is out of range, the model has no such label, or PNG files cannot hold
            its images.
    """
    request_labels(0, sampler.num_classes, label)
    shape = sampler.signature("decode").outputs["images"].sides
    # A PNG file holds images of one to four channels.
    if pixels == "png" and (len(shape) != 3 or not 1 <= shape[2] <= 4):
        raise UsageError(f"images of {size_text(shape)} cannot be stored as PNG; pass --pixels raw")
    options, data = (sampler.training.get(name) or {} for name in ("options", "data"))
    names = data.get("class_names")
    return ShardRequest(
        name=sampler.name,
        version=sampler.number,
        fingerprint=sampler.fingerprint,
        n=n,
        label=label,
        pixels=pixels,
        image_shape=shape,
        num_classes=sampler.num_classes,
        class_names=tuple(names) if names and sampler.num_classes else None,
        dataset=options.get("dataset"),
        data_fingerprint=data.get("fingerprint"),
        # Only `all`, so that a folder of an earlier version is continued.
        train_on="all" if options.get("train_on") == "all" else None,
        **fields,
    )


def write_shard(
    sampler: SignatureSampler,
    request: ShardRequest,
    index: int,
    folder: Path,
    advance: Callable[[int], object] = lambda count: None,
) -> shards.ShardRecord:
    """Sample the images of a shard and write its file, whole or not at all.

    A batch of images is in memory at once. Several processes may write shards of a folder.

    Args:
        sampler: the sampler that the request names.
        request: the request.
        index: number of the shard, from 0.
        folder: an existing folder for the file.
        advance: called after each batch with the number of its images.

    Raises:
        UsageError: the sampler is not the one of the request.
        WorkError: a server gives no answer.
        OSError: the folder is not writable.
        tf.errors.OpError: the disk is full.
    """
    identity = sampler.name, sampler.number, sampler.fingerprint
    if identity != (request.name, request.version, request.fingerprint):
        expected = f"{request.name} version {request.version}"
        raise UsageError(f"{sampler.title} is not the sampler of the request, {expected}")
    import tensorflow as tf

    name, count, first = request.place(index)
    with fresh_file(folder / name) as temporary:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for part in batches(count, request.batch_size):
                size = part.stop - part.start
                for record in _sample_records(sampler, request, first + part.start, size):
                    writer.write(record)
                advance(size)
        # Before the file has its name: afterwards it may be replaced by another process.
        return _record(request, index, temporary)


def _record(request: ShardRequest, index: int, path: Path) -> shards.ShardRecord:
    """The record of a shard whose bytes are in a file."""
    return shards.ShardRecord(*request.place(index), file_sha256(path), path.stat().st_size)


def _sample_records(
    sampler: SignatureSampler, request: ShardRequest, first: int, count: int
) -> Iterator[bytes]:
    """The records of a batch; one call of each signature, whatever the sampler's batch size."""
    import tensorflow as tf

    seeds = image_seeds(request.seed, count, first)
    labels = request_labels(count, request.num_classes, request.label, first)
    latents = sampler.call("latents", seed=seeds)["latents"]
    if request.temperature != 1:
        latents = latents * np.float32(request.temperature)
    classes = {} if labels is None else {"label": labels}
    pixels = byte_pixels(sampler.call("decode", latents=latents, **classes)["images"])
    with tf.device("CPU:0"):
        is_raw = request.pixels == "raw"
        images = [*map(bytes, pixels)] if is_raw else tf.io.encode_png(pixels).numpy().tolist()
    numbers = {"seed": seeds} | classes
    for index, image in enumerate(images):
        example = tf.train.Example()
        features = example.features.feature
        features["image"].bytes_list.value.append(image)
        for name, values in numbers.items():
            features[name].int64_list.value.append(int(values[index]))
        # Else the order of the features would differ from process to process.
        yield example.SerializeToString(deterministic=True)


# --- the folder -------------------------------------------------------------------------


def is_job(folder: Path) -> bool:
    """Whether a folder has some or all shards of a request."""
    return (folder / REQUEST).is_file() or shards.has_manifest(folder)


class SamplingJob:
    """The shards of a request in a folder: which are whole, and which are missing.

    Args:
        folder: the folder; it need not exist yet.
        request: the request.

    Attributes:
        records: the shards that are whole, by index.
    """

    def __init__(self, folder: Path, request: ShardRequest):
        self.folder, self.request = folder, request
        self.records: dict[int, shards.ShardRecord] = {}

    @property
    def missing(self) -> list[int]:
        """The shards that are to be written, by index."""
        return [index for index in range(self.request.num_shards) if index not in self.records]

    @property
    def images_done(self) -> int:
        """Number of images in the shards that are whole."""
        return sum(record.images for record in self.records.values())

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the folder belongs to this process; creates it where it is missing.

        Raises:
            UsageError: another process uses the folder, or it is not writable.
            OSError: it cannot be created.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return locked(self.folder, f"folder {self.folder}", "choose another --out")

    def prepare(self) -> None:
        """Find the shards that are whole, and make the folder ready for the missing ones.

        A file of a finished folder whose bytes are not those of its record is removed.

        Raises:
            UsageError: the folder has shards of another request.
            WorkError: the manifest or the request in the folder is damaged.
        """
        if shards.has_manifest(self.folder):
            saved, records = shards.read_manifest(self.folder)
            saved.check_same(self.request, self.folder)
            for shard in records:
                if not shard.is_sound(self.folder):
                    (self.folder / shard.file).unlink(missing_ok=True)
        elif (self.folder / REQUEST).is_file():
            path = self.folder / REQUEST
            try:
                saved = ShardRequest.from_json(read_json(path))
            except (ValueError, TypeError) as error:
                raise WorkError(f"{path} is damaged ({error}); choose another folder") from error
            saved.check_same(self.request, self.folder)
        # Left by a process that was killed while it wrote a shard.
        for path in self.folder.glob(f".{self.request.name}-*-of-*.tfrecord-*"):
            path.unlink(missing_ok=True)
        for index in range(self.request.num_shards):
            if (path := self.folder / self.request.file_name(index)).is_file():
                self.records[index] = _record(self.request, index, path)
        if self.missing:
            write_json(self.folder / REQUEST, self.request.to_json())
            # Only a folder that has all shards has a manifest.
            (self.folder / shards.MANIFEST).unlink(missing_ok=True)

    def add(self, record: shards.ShardRecord) -> None:
        """Record a shard that was just written."""
        self.records[record.first // self.request.shard_size] = record

    def finish(self) -> None:
        """Write the manifest once all shards are whole, and remove the file for continuing."""
        records = tuple(self.records[index] for index in range(self.request.num_shards))
        shards.write_manifest(self.folder, shards.Manifest(self.request, records))
        (self.folder / REQUEST).unlink(missing_ok=True)


# --- on a Ray cluster -------------------------------------------------------------------


def write_missing(
    cluster: RayCluster,
    job: SamplingJob,
    open_sampler: Callable[[], SignatureSampler],
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Write the missing shards of a folder, each by one of the workers.

    Args:
        cluster: where the workers run.
        job: the folder, which is locked and prepared, in a place that all machines share.
        open_sampler: opens the sampler in a worker; is pickled.
        advance: called with the number of images of each shard that is done.

    Raises:
        UsageError: the sampler of a worker is not the one of the request.
        WorkError: a server gives no answer, or workers were lost several times.
        OSError: the folder is not writable or the disk is full.
    """
    ray, request, folder = cluster.ray, job.request, job.folder.absolute()

    task = ray.remote(**cluster.resources, max_retries=_RETRIES, scheduling_strategy="SPREAD")
    write = task(_write)
    waiting, running = job.missing, list[Any]()
    while waiting or running:
        while waiting and len(running) < cluster.workers:
            running.append(write.remote(open_sampler, request, waiting.pop(0), folder))
        (done, *_), running = ray.wait(running)
        try:
            record = ray.get(done)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception):
                raise cause from None
            raise WorkError(f"a worker of the Ray cluster was lost: {first_line(error)}") from None
        job.add(record)
        advance(record.images)


def _write(
    open_sampler: Callable[[], SignatureSampler], request: ShardRequest, index: int, folder: Path
) -> shards.ShardRecord:
    """Write a shard in a worker, which opens the sampler once."""
    if request not in _opened:
        _opened[request] = open_sampler()
    return write_shard(_opened[request], request, index, folder)
