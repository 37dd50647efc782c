"""Shards that workers of a Ray cluster write: the bytes of one process, whatever is lost."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.publishing.test_sampling_job import complete, contents
from tests.sampler_double import SamplerDouble
from tfgen.data.shards import ShardRequest
from tfgen.errors import UsageError
from tfgen.publishing.sampling_job import SamplingJob, shard_request, write_missing
from tfgen.system.ray_cluster import RayCluster, connected

pytestmark = pytest.mark.slow

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A local cluster, whose workers find the modules of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(commands.ROOT))
        with connected(asked=2) as cluster:
            yield cluster


@pytest.fixture
def request_of_30() -> ShardRequest:
    return shard_request(SamplerDouble(), 30, seed=5, shard_size=4, batch_size=3)


def open_once_killed(path: Path) -> SamplerDouble:
    """A sampler; the first process that asks for it is killed as by the system."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return SamplerDouble()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL did not end the process")


def open_other() -> SamplerDouble:
    sampler = SamplerDouble()
    sampler.fingerprint = "1"
    return sampler


def test_two_workers_write_the_bytes_of_one_process(
    cluster: RayCluster, tmp_path: Path, request_of_30: ShardRequest
) -> None:
    complete(tmp_path / "alone", request_of_30)
    complete(tmp_path / "cluster", request_of_30, most=2)
    job, steps = SamplingJob(tmp_path / "cluster", request_of_30), []
    with job.locked():
        job.prepare()
        assert len(job.missing) == 6
        # One of the two workers is lost.
        opening = functools.partial(open_once_killed, tmp_path / "killed")
        write_missing(cluster, job, opening, steps.append)
        job.finish()
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "cluster") == contents(tmp_path / "alone")
    assert sum(steps) == 30 - 8


def test_the_error_of_a_worker_is_that_of_the_command(cluster: RayCluster, tmp_path: Path) -> None:
    job = SamplingJob(tmp_path, shard_request(SamplerDouble(), 8, seed=6, shard_size=4))
    with job.locked():
        job.prepare()
        with pytest.raises(UsageError, match="is not the sampler of the request, double version 3"):
            write_missing(cluster, job, open_other)
