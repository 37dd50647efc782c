"""The missing shards of a folder, each a task of a Ray cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfgen.data.shards import ShardRecord, ShardRequest
from tfgen.errors import WorkError
from tfgen.publishing.sampling_job import SamplingJob, write_shard
from tfgen.publishing.signatures import SignatureSampler
from tfgen.system.ray_cluster import RayCluster, first_line

# How often the shard of a lost worker is tried again.
_RETRIES = 3
# The sampler of each request in this process, which writes several shards.
_opened: dict[ShardRequest, SignatureSampler] = {}


def write_missing(
    cluster: RayCluster,
    job: SamplingJob,
    open_sampler: Callable[[], SignatureSampler],
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Writes the missing shards of a folder, each by one of the workers.

    Args:
        cluster: where the workers run.
        job: the folder, which is locked and prepared, in a place that all machines share.
        open_sampler: opens the sampler in a worker; by pickle.
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
            lost = f"a worker of the Ray cluster was lost: {first_line(error)}"
            raise WorkError(lost) from None
        job.add(record)
        advance(record.images)


def _write(
    open_sampler: Callable[[], SignatureSampler], request: ShardRequest, index: int, folder: Path
) -> ShardRecord:
    """Writes a shard in a worker, which opens the sampler once."""
    if request not in _opened:
        _opened[request] = open_sampler()
    return write_shard(_opened[request], request, index, folder)
