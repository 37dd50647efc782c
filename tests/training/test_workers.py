"""Two workers train one run, and continue it after a signal or a kill to the same end."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.cluster_processes import Command, start, tf_configs
from tests.training.test_run import assert_same_end
from tfgen.errors import UsageError
from tfgen.training.cluster import read_task
from tfgen.training.folder import RunFolder

RESUME = ["vae", "--resume", "--run-dir", "run"]


def words(data: Path, *flags: str) -> list[str]:
    sizes = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "8", "--epochs", "5"]
    place = ["--dataset", "tiny", "--data-dir", str(data), "--run-dir", "run"]
    return ["vae", "--preset", "mlp", "--strategy", "multiworker", *sizes, *place, *flags]


def finish(processes: list[Command]) -> None:
    for process in processes:
        assert process.status() == 0, process.output


def has_epoch(folder: Path, epoch: int) -> bool:
    rows = RunFolder(folder / "run").read_metrics()
    return bool(rows) and rows[-1]["epoch"] >= epoch


@pytest.mark.newest
def test_a_run_that_is_interrupted_and_killed_ends_like_one_that_is_not(
    tiny_data: Path, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    finish(start(whole, words(tiny_data)))
    names = {path.name for path in whole.iterdir()}
    assert names == {"output0.txt", "output1.txt", "run", "saved_models"}
    published = (whole / "output0.txt").read_text().splitlines()[-1]
    assert published.startswith("published saved_models/vae-2d-tiny/2 from epoch")
    assert RunFolder(whole / "run").read_config()["workers"] == 2

    processes = start(part, words(tiny_data))
    processes[0].wait_until(lambda: has_epoch(part, 1))
    processes[1].send(signal.SIGTERM)  # both end after the same epoch
    assert [process.status() for process in processes] == [143, 143], processes[0].output
    assert "the state is saved. Resume in every worker with:" in processes[0].output
    for victim, epoch in ((1, 3), (0, 4)):
        processes = start(part, RESUME)
        processes[0].wait_until(lambda epoch=epoch: has_epoch(part, epoch))
        processes[victim].kill()
        survivor = processes[1 - victim]
        assert survivor.status() == 1, survivor.output
        line = survivor.output.splitlines()[-1]
        assert line.startswith("tfgen-train: error: another worker has ended or does not answer")
    finish(start(part, RESUME))
    assert_same_end(part / "run", whole / "run")

    # One process continues the run of two.
    alone = Command(part, [*RESUME, "--no-publish", "--strategy", "none", "--epochs", "6"])
    finish([alone])
    resumed = RunFolder(part / "run").read_config()["resumed"]
    assert [entry["workers"] for entry in resumed][-2:] == [2, 1]


@pytest.mark.newest
def test_workers_that_differ_or_share_no_folder_end_with_one_line(
    tiny_data: Path, tmp_path: Path
) -> None:
    for name, flags in (("seeds", ["--seed", "1"]), ("folders", [])):
        processes = [
            Command(
                tmp_path / f"{name}{index}",
                words(tiny_data, *(flags if index else [])),
                TF_CONFIG=config,
            )
            for index, config in enumerate(tf_configs(2))
        ]
        for process in processes:
            assert process.status() == 2
            (line,) = (text for text in process.output.splitlines() if "error" in text)
            assert ("seed of worker 1" if flags else "worker 1 does not see") in line


def read(monkeypatch: pytest.MonkeyPatch, cluster: Any, kind: str, index: Any) -> tuple[int, int]:
    config = {"cluster": cluster, "task": {"type": kind, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    task = read_task()
    assert task.is_chief == (task.number == 0)
    return task.number, task.count


def test_the_variable_of_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"worker": ["a:1", "b:2"]}
    assert read(monkeypatch, two, "worker", 1) == (1, 2)
    # Kubeflow and Vertex AI name a chief, and some launchers write numbers as strings.
    assert read(monkeypatch, {"chief": ["a:1"], **two}, "worker", "0") == (1, 3)
    for cluster, kind, index in ((two, "worker", 2), (two, "chief", 0), ([], "worker", 0)):
        with pytest.raises(UsageError, match="TF_CONFIG"):
            read(monkeypatch, cluster, kind, index)
    for text in ("", "{", "[]", "{}"):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(UsageError, match="TF_CONFIG"):
            read_task()
