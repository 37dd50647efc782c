"""Two workers train one run, and continue it after a signal or a kill to the same end."""

import functools
import json
import signal
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.commands import ROOT, main, python
from tests.training.cluster_processes import Command, start, tf_configs
from tests.training.test_run import assert_same_end
from tfgen.errors import UsageError, WorkError
from tfgen.training import cluster
from tfgen.training.folder import RunFolder

RESUME = ["vae", "--resume", "--run-dir", "run"]


def words(data: Path, *flags: str) -> list[str]:
    sizes = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "32", "--epochs", "6"]
    place = ["--dataset", "tiny", "--data-dir", str(data), "--run-dir", "run"]
    return ["vae", "--preset", "mlp", "--strategy", "multiworker", *sizes, *place, *flags]


def finish(processes: list[Command]) -> None:
    for process in processes:
        assert process.status() == 0, process.output


@functools.cache
def undisturbed(data: Path) -> Path:
    """The folder of a run that is neither interrupted nor killed."""
    folder = data.with_name("undisturbed")
    finish(start(folder, words(data)))
    return folder


def has_epoch(folder: Path, epoch: int) -> bool:
    rows = RunFolder(folder / "run").read_metrics()
    return bool(rows) and rows[-1]["epoch"] >= epoch


@pytest.mark.slow
def test_a_run_that_is_interrupted_and_killed_ends_like_one_that_is_not(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = undisturbed(tiny_data), tmp_path / "part"
    names = {path.name for path in whole.iterdir()}
    assert names == {"output0.txt", "output1.txt", "run", "saved_models"}
    published = (whole / "output0.txt").read_text().splitlines()[-1]
    assert published.startswith("published saved_models/vae-2d-tiny/2 from epoch")
    assert RunFolder(whole / "run").read_config()["workers"] == 2

    chief, worker = start(part, words(tiny_data, "--no-publish"))
    chief.wait_until(lambda: has_epoch(part, 2))  # epoch 1 is saved
    chief.kill()
    assert worker.status() == 1, worker.output
    line = worker.output.splitlines()[-1]
    assert line.startswith("tfgen-train: error: another worker has ended or does not answer")
    chief, worker = start(part, RESUME)
    chief.wait_until(lambda: has_epoch(part, 4))
    worker.send(signal.SIGTERM)  # both end after the same epoch
    assert [chief.status(), worker.status()] == [143, 143], chief.output
    assert "the state is saved. Resume in every worker with:" in chief.output
    finish(start(part, RESUME))
    assert_same_end(part / "run", whole / "run")

    # One process continues the run of two.
    monkeypatch.chdir(part)
    assert main("train", [*RESUME, "--strategy", "none", "--epochs", "7"]) == 0
    resumed = RunFolder(part / "run").read_config()["resumed"]
    assert [entry["workers"] for entry in resumed][-2:] == [2, 1]


def test_workers_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "exchange", lambda _, value: [value, {**value, "seed": 1}])
    with pytest.raises(UsageError, match="seed of worker 1 is 1, that of the chief 0"):
        cluster.check_alike(None, {"data": "tiny", "seed": 0})


@pytest.mark.parametrize("index", range(2))
def test_a_folder_that_the_workers_do_not_share_is_refused(
    index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(strategy: Any, value: Any) -> list[Any]:
        return ["written", ""] if isinstance(value, str) else [True, False]

    monkeypatch.setenv("TF_CONFIG", tf_configs(2)[index])
    monkeypatch.setattr(cluster, "exchange", exchange)
    monkeypatch.setattr(cluster, "_PATIENCE", 0)
    with pytest.raises(UsageError, match="worker 1 does not see the run directory"):
        cluster.check_shared(None, tmp_path)
    assert not list(tmp_path.iterdir())


def read(monkeypatch: pytest.MonkeyPatch, workers: Any, kind: str, index: Any) -> tuple[int, int]:
    config = {"cluster": workers, "task": {"type": kind, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    task = cluster.read_task()
    assert task.is_chief == (task.number == 0)
    return task.number, task.workers


def test_the_variable_of_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"worker": ["a:1", "b:2"]}
    assert read(monkeypatch, two, "worker", 1) == (1, 2)
    # Kubeflow and Vertex AI name a chief, and some launchers write numbers as strings.
    assert read(monkeypatch, {"chief": ["a:1"], **two}, "worker", "0") == (1, 3)
    for workers, kind, index in ((two, "worker", 2), (two, "chief", 0), ([], "worker", 0)):
        with pytest.raises(UsageError, match="TF_CONFIG"):
            read(monkeypatch, workers, kind, index)
    for text in ("", "{", "[]", "{}"):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(UsageError, match="TF_CONFIG"):
            cluster.read_task()


@pytest.mark.slow
def test_a_default_preset_trains_with_two_workers(tmp_path: Path) -> None:
    """The command of docs/distributed.md, for one preset."""
    script = ROOT / "benchmarks" / "worker_presets.py"
    done = python([str(script), "gan/packed"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_error_of_tensorflow_that_keras_hides_is_told() -> None:
    class Lost(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            raise tf.errors.UnavailableError(None, None, "worker 1 is gone")

    with (
        pytest.raises(WorkError, match=r"another worker has ended.*UnavailableError.*1 is gone"),
        cluster.losses_named("multiworker"),
    ):
        Lost()(keras.Input((1,)))
