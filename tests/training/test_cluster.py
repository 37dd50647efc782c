"""TF_CONFIG as launchers set it, and as it must not be."""

import json
from typing import Any

import pytest

from tfgen.errors import UsageError
from tfgen.training.cluster import read_cluster

pytestmark = pytest.mark.quick

TWO = {"worker": ["a:1", "b:2"]}


def read(cluster: Any, kind: str = "worker", index: Any = 0, **entries: Any) -> Any:
    config = {"cluster": cluster, "task": {"type": kind, "index": index}, **entries}
    return read_cluster({"TF_CONFIG": json.dumps(config)})


def test_a_cluster_without_a_chief_as_ray_sets_it() -> None:
    cluster = read({"worker": ["10.0.0.1:40001", "10.0.0.2:40002"]}, index=1)
    assert not cluster.task.is_chief
    assert str(cluster.chief) == "the chief at 10.0.0.1:40001"
    assert str(cluster.task) == "worker 1 at 10.0.0.2:40002"
    assert cluster.addresses() == {"worker": ["10.0.0.1:40001", "10.0.0.2:40002"]}


def test_a_cluster_with_a_chief_as_kubeflow_sets_it() -> None:
    addresses = {
        "chief": ["job-chief-0.team.svc:2222"],
        "worker": ["job-worker-0.team.svc:2222", "job-worker-1.team.svc:2222"],
    }
    cluster = read(addresses, "worker", "0", environment="cloud")
    assert [str(task).split(" at ")[0] for task in cluster.tasks] == [
        "the chief",
        "worker 0",
        "worker 1",
    ]
    assert cluster.number == 1 and not cluster.task.is_chief
    assert cluster.addresses() == addresses
    assert read(addresses, "chief", 0, environment="cloud").task.is_chief


def test_a_cluster_with_other_tasks_as_vertex_ai_sets_it() -> None:
    addresses = {"chief": ["c:2222"], "worker": ["w:2222"], "ps": ["p:2222"], "evaluator": ["e:1"]}
    task = {"type": "worker", "index": 0, "trial": "1"}
    config = {"cluster": addresses, "environment": "cloud", "task": task, "job": '{"region": "x"}'}
    cluster = read_cluster({"TF_CONFIG": json.dumps(config)})
    assert cluster.addresses() == {"chief": ["c:2222"], "worker": ["w:2222"]}
    for kind in ("ps", "evaluator"):
        with pytest.raises(UsageError, match=f"a task of type {kind} in TF_CONFIG"):
            read(addresses, kind, 0)


def test_an_address_of_ip_version_6() -> None:
    assert read({"worker": ["[::1]:2222"]}).task.endpoint == ("::1", 2222)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "needs the environment variable TF_CONFIG, such as .* pass --strategy none"),
        (" ", "needs the environment variable TF_CONFIG"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ("{}", "has no cluster"),
        ('{"cluster": {"worker": ["a:1"]}}', "has no task with type and index"),
    ],
)
def test_text_that_is_no_cluster_is_refused(text: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_cluster({} if text is None else {"TF_CONFIG": text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "message"),
    [
        (TWO, "worker", 2, "its task is worker 2, but its cluster has 2 of type worker"),
        (TWO, "worker", -1, "its task is worker -1"),
        (TWO, "chief", 0, "its task is chief 0, but its cluster has 0 of type chief"),
        (TWO, "worker", None, "the index of its task is None"),
        (TWO, "master", 0, "its task has the unknown type 'master'"),
        ({"master": ["a:1"]}, "worker", 0, "its cluster has the unknown type 'master'"),
        ({"worker": "a:1"}, "worker", 0, "the entry worker of its cluster is no list"),
        ({"worker": []}, "worker", 0, "neither a chief nor a worker"),
        ({"ps": ["a:1"]}, "worker", 0, "neither a chief nor a worker"),
        ({"chief": ["a:1", "b:2"]}, "chief", 0, "its cluster has 2 chiefs"),
        ({"chief": ["a:1"], "worker": ["a:1"]}, "chief", 0, "the address a:1 twice"),
        ({"worker": ["a"]}, "worker", 0, "'a' is no address of the form HOST:PORT"),
        ({"worker": ["a:0"]}, "worker", 0, "'a:0' is no address"),
        ({"worker": ["a:70000"]}, "worker", 0, "'a:70000' is no address"),
        ({"worker": [7]}, "worker", 0, "7 is no address"),
    ],
)
def test_a_wrong_cluster_is_refused(cluster: Any, kind: str, index: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(cluster, kind, index)
