"""The shards of `tfgen-sample`: writes the missing ones, shows progress, and says what was done."""

import contextlib
import signal
import time
from collections.abc import Callable
from typing import TypeAlias

from rich.console import Console

from tfgen.errors import InterruptedRunError
from tfgen.publishing.sampling_job import SamplingJob, write_missing, write_shard
from tfgen.publishing.signatures import SignatureSampler
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, format_rate, progress

from ._command import terminable
from ._ray import RayOptions

# Writes the missing shards of a folder, and shows the progress.
Writing: TypeAlias = Callable[[SamplingJob], None]


def complete(job: SamplingJob, write: Writing) -> str:
    """Writes the shards that a folder lacks; returns what was done, in one line.

    Args:
        job: the folder.
        write: `in_this_process` or `on_cluster`.

    Raises:
        UsageError: the folder has shards of another request, another process uses it, or the
            cluster has too few cores.
        WorkError: the state of the folder is damaged, or a server or a cluster gives no answer.
        InterruptedRunError: a signal ended the work; the message says how much is done.
        OSError: the folder is not writable or the disk is full.
    """
    import_quietly()
    with job.locked():
        with status(f"checking the shards in {job.folder}"):
            job.prepare()
        present = job.images_done
        start = time.perf_counter()
        try:
            with terminable(""), interruptible():
                if job.missing:
                    write(job)
                job.finish()
        except InterruptedRunError as error:
            raise InterruptedRunError(_describe_state(job), error.signum) from error
        except KeyboardInterrupt as error:
            raise InterruptedRunError(_describe_state(job), signal.SIGINT) from error
        seconds = time.perf_counter() - start
    images = job.request.n - present
    if not images:
        return "all shards were there already; no image was sampled"
    rest = f"; {present} were there already" if present else ""
    rate = format_rate(images / seconds)
    return f"{count_noun(images, 'image')} sampled in {seconds:.1f} s, {rate}{rest}"


def in_this_process(sampler: SignatureSampler) -> Writing:
    """Writes one shard after the other."""

    def write(job: SamplingJob) -> None:
        with _bar(job) as advance:
            for index in job.missing:
                job.add(write_shard(sampler, job.request, index, job.folder, advance))

    return write


def on_cluster(open_sampler: Callable[[], SignatureSampler], options: RayOptions) -> Writing:
    """Writes shards with the workers of a Ray cluster.

    Args:
        open_sampler: opens the sampler in a worker.
        options: which cluster, and how many workers.
    """

    def write(job: SamplingJob) -> None:
        from tfgen.system.ray_cluster import connected

        with connected(options.ray_address, options.ray or 0) as cluster, _bar(job) as advance:
            write_missing(cluster, job, open_sampler, advance)

    return write


def _bar(job: SamplingJob) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    console, present = Console(stderr=True), job.images_done
    return progress(console, "sampling images", job.request.n, present, has_rate=True)


def _describe_state(job: SamplingJob) -> str:
    done, total = len(job.records), job.request.num_shards
    return (
        f"interrupted; {done} of {count_noun(total, 'shard')} in {job.folder} are complete; the "
        "same command writes the missing ones"
    )
