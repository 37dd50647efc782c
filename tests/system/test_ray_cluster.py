"""Connections to Ray clusters, by a double of Ray; those to real ones are in tests marked `ray`."""

import sys
from types import SimpleNamespace

import pytest

from tfgen.errors import UsageError, WorkError
from tfgen.system.ray_cluster import connected


def double(monkeypatch: pytest.MonkeyPatch, **resources: float) -> list[str]:
    """A stand-in for the module `ray`, whose calls are returned; without resources, it fails."""
    calls: list[str] = []

    def init(**arguments: object) -> None:
        calls.append("init")
        if not resources:
            raise Exception("The current node timed out.\nThe cause may be a raylet.")

    ray = SimpleNamespace(
        init=init,
        shutdown=lambda: calls.append("shutdown"),
        cluster_resources=lambda: resources,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    return calls


def test_numbers_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for resources, asked, expected in (
        ({"CPU": 10.0}, 0, 3),
        ({"CPU": 10.0}, 10, 10),
        ({"CPU": 16.0, "GPU": 2.0}, 0, 2),
    ):
        calls = double(monkeypatch, **resources)
        with connected("host:6379", asked) as cluster:
            assert cluster.workers == expected
            assert cluster.resources == {"num_cpus": 1, "num_gpus": int("GPU" in resources)}
        assert calls == ["init", "shutdown"]
    with (
        pytest.raises(UsageError, match="--ray 3 is too large; the cluster has 2 GPUs"),
        connected("host:6379", 3),
    ):
        pass


def test_no_cluster_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, fault in ((None, "cannot be started"), ("host:6379", "does not answer at host")):
        double(monkeypatch)
        with pytest.raises(WorkError, match=fault) as caught, connected(address):
            pass
        assert "\n" not in str(caught.value)
