"""The missing shards of a folder, written by several workers of a Ray cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfgen.data.shards import ShardRecord, ShardRequest
from tfgen.publishing.sampling_job import SamplingJob, write_shard
from tfgen.publishing.signatures import SignatureSampler
from tfgen.system.ray_cluster import RayCluster, original_error

# How often a worker that was lost is started again; its shard is then written again.
_RESTARTS = 3
# Seconds between two looks at the progress.
_INTERVAL = 0.5


class ShardWorker:
    """A process that opens a sampler once, and writes whole shards.

    Args:
        open_sampler: opens the sampler; Ray sends it to the process by pickle.
        request: the request.
        folder: of the shards, in a place that all machines of the cluster share.
    """

    def __init__(
        self,
        open_sampler: Callable[[], SignatureSampler],
        request: ShardRequest,
        folder: Path,
    ):
        self._open_sampler = open_sampler
        self._sampler: SignatureSampler | None = None
        self._request, self._folder = request, folder

    def write(self, index: int, counter: Any) -> ShardRecord:
        """Writes a shard; see `write_shard`.

        The sampler is opened here, because Ray reports an error of a constructor without its type.

        Args:
            index: number of the shard.
            counter: a `ShardCounter` of the cluster. As an argument of the constructor, it would
                make Ray warn that a worker may not be able to start again.
        """
        if self._sampler is None:
            self._sampler = self._open_sampler()
        count = 0

        def advance(images: int) -> None:
            nonlocal count
            count += images
            counter.set.remote(index, count)

        return write_shard(self._sampler, self._request, index, self._folder, advance)


class ShardCounter:
    """How many images of each shard are done; a shard that is written again starts at 0."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def set(self, index: int, count: int) -> None:
        """Sets the number of images of a shard."""
        self._counts[index] = count

    def total(self) -> int:
        """Number of images of all shards."""
        return sum(self._counts.values())


def write_missing(
    cluster: RayCluster,
    job: SamplingJob,
    workers: int,
    open_sampler: Callable[[], SignatureSampler],
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Writes the missing shards of a folder, each by one of the workers.

    The shard of a worker that is lost, for example with its machine, is written again by the same
    worker, which Ray starts again.

    Args:
        cluster: where the workers run.
        job: the folder, which is locked and prepared.
        workers: number of workers.
        open_sampler: opens the sampler in a worker.
        advance: called with the number of images that were just finished.

    Raises:
        UsageError: the sampler of a worker is not the one of the request.
        WorkError: a server gives no answer, or a worker was lost several times.
        OSError: the folder is not writable or the disk is full.
    """
    ray, missing = cluster.ray, iter(job.missing)
    total, shown = job.request.n - job.images_done, 0
    workers = min(workers, len(job.missing))
    counter = ray.remote(num_cpus=0)(ShardCounter).remote()
    actor = ray.remote(
        **cluster.worker_resources,
        max_restarts=_RESTARTS,
        max_task_retries=_RESTARTS,
        scheduling_strategy="SPREAD",
    )(ShardWorker)
    arguments = (open_sampler, job.request, job.folder.absolute())
    running = {
        worker.write.remote(index, counter): worker
        for worker, index in zip(
            [actor.remote(*arguments) for _ in range(workers)], missing, strict=False
        )
    }
    while running:
        for reference in ray.wait(list(running), timeout=_INTERVAL)[0]:
            worker = running.pop(reference)
            try:
                job.add(ray.get(reference))
            except ray.exceptions.RayError as error:
                raise original_error(error) from None
            if (index := next(missing, None)) is not None:
                running[worker.write.remote(index, counter)] = worker
        done = min(ray.get(counter.total.remote()), total) if running else total
        # A shard that is written again has fewer images than before.
        if done > shown:
            advance(done - shown)
            shown = done
