"""Connections to Ray clusters, by a double of Ray; those to real ones are in tests marked `ray`."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tfgen.errors import UsageError, WorkError
from tfgen.system.ray_cluster import connected

LATE = Exception("The current node timed out during startup.\nThe cause may be a raylet.")


class RayDouble:
    """A module `ray` whose starts end with the given errors; None: with a cluster."""

    def __init__(self, *ends: Exception | None):
        self.ends = list(ends)
        self.calls: list[str] = []

    def init(self, **arguments: Any) -> None:
        self.calls.append("init")
        end = self.ends.pop(0)
        if end is not None:
            raise end

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}


def calls(
    monkeypatch: pytest.MonkeyPatch, ends: Sequence[Exception | None], address: str | None = None
) -> list[str]:
    """The calls of Ray by a connection to a cluster of four cores."""
    double = RayDouble(*ends)
    monkeypatch.setitem(sys.modules, "ray", double)
    with connected(address) as cluster:
        assert (cluster.num_cpus, cluster.num_gpus) == (4, 0)
    assert not double.ends
    return double.calls


def test_a_local_cluster_that_is_late_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls(monkeypatch, [None]) == ["init", "shutdown"]
    assert calls(monkeypatch, [LATE, None]) == ["init", "shutdown"] * 2


def test_a_cluster_that_stays_away_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkError) as local:
        calls(monkeypatch, [LATE, LATE])
    late = "The current node timed out during startup."
    assert str(local.value) == f"a Ray cluster cannot be started: {late}"
    # A second try at an address would only double the wait.
    with pytest.raises(WorkError, match="does not answer at host:6379: "):
        calls(monkeypatch, [LATE], "host:6379")
    with pytest.raises(UsageError, match="--ray-address host is wrong: no port"):
        calls(monkeypatch, [ValueError("no port")], "host")
