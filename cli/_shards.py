"""The shards of `tfgen-sample`: writes the missing ones, shows progress, and says what was done."""

import signal
import time

from rich.console import Console

from tfgen.errors import InterruptedRunError
from tfgen.publishing.sampling_job import SamplingJob, write_shard
from tfgen.publishing.signatures import SignatureSampler
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, format_rate, progress

from ._command import terminable


def complete(sampler: SignatureSampler, job: SamplingJob) -> str:
    """Writes the shards that a folder lacks; returns what was done, in one line.

    Raises:
        UsageError: the folder has shards of another request, or another process uses it.
        WorkError: the state of the folder is damaged, or a server gives no answer.
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
                _write_missing(sampler, job)
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


def _write_missing(sampler: SignatureSampler, job: SamplingJob) -> None:
    console, request = Console(stderr=True), job.request
    title, present = "sampling images", job.images_done
    with progress(console, title, request.n, present, has_rate=True) as advance:
        for index in job.missing:
            job.add(write_shard(sampler, request, index, job.folder, advance))


def _describe_state(job: SamplingJob) -> str:
    done, total = len(job.records), job.request.num_shards
    return (
        f"interrupted; {done} of {count_noun(total, 'shard')} in {job.folder} are complete; the "
        "same command writes the missing ones"
    )
