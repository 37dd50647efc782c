"""Two processes train together: as one run, whatever happens to one of them."""

import importlib
import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.commands import PACKAGE, PATIENCE
from tests.training.cluster_processes import Process, free_ports, start
from tests.training.test_run import assert_same_end
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.newest

RESUME = ["vae", "--resume", "--run-dir", "run"]


def words(data: Path, *flags: str) -> list[str]:
    sizes = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "8", "--epochs", "2"]
    place = ["--dataset", "tiny", "--data-dir", str(data), "--run-dir", "run"]
    return ["vae", "--preset", "mlp", "--strategy", "multiworker", *sizes, *place, *flags]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def finish(processes: Sequence[Process]) -> None:
    for process in processes:
        assert process.status() == 0, process.output


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, words(tiny_data)))
    return folder


def test_only_the_chief_writes_and_the_other_prints_two_lines(whole: Path) -> None:
    assert names(whole / "disk0") == {"output.txt", "run", "saved_models"}
    assert names(whole / "disk1") == {"output.txt"}
    *_, published = (whole / "disk0" / "output.txt").read_text().splitlines()
    assert published.startswith("published saved_models/vae-2d-tiny/2 from epoch")
    first, last = (whole / "disk1" / "output.txt").read_text().splitlines()
    assert first.startswith("worker 1 at 127.0.0.1:") and "trains vae-2d-tiny with" in first
    assert last.endswith("has finished: the chief has finished")
    assert RunFolder(whole / "disk0" / "run").read_config()["workers"] == 2


def test_signals_and_kills_of_either_process_and_resumptions_without_a_shared_disk(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    command = words(tiny_data, "--checkpoint-every", "1e-9")
    events = [(1, signal.SIGTERM), (1, signal.SIGKILL), (0, signal.SIGKILL)]
    for victim, signum in events:
        processes = start(tmp_path, command)
        processes[0].wait_for_steps(2)
        if signum == signal.SIGTERM:
            # A pause that is longer than TensorFlow's own patience, and shorter than that of tfgen.
            processes[0].send(signal.SIGSTOP)
            time.sleep(16)
            processes[0].send(signal.SIGCONT)
            processes[0].wait_for_steps(2)
        processes[victim].send(signum)
        survivor = processes[1 - victim]
        if signum == signal.SIGTERM:
            lines = set()
            for process in processes:
                assert process.status() == 128 + signum, process.output
                lines.add(process.lines[-1])
            (line,) = lines  # both stopped after the same step
            assert "the state is saved. Resume in every worker with: tfgen-train vae" in line
        else:
            assert survivor.status(60) == 3, survivor.output
            name = "worker 1" if victim else "the chief"
            address = f"{name} at 127.0.0.1:"
            assert survivor.lines[-1].startswith(f"tfgen-train: error: {address}")
            assert survivor.lines[-1].endswith(
                "has ended; resume in every worker with: tfgen-train vae --resume --run-dir run"
            )
        for process in processes:
            process.status()
        shutil.rmtree(tmp_path / "disk1")
        command = RESUME
    finish(start(tmp_path, [*RESUME, "--checkpoint-every", "10"]))
    assert_same_end(tmp_path / "disk0" / "run", whole / "disk0" / "run")


def test_signals_to_all_of_three_processes_a_second_signal_and_a_failure(
    tiny_data: Path, tmp_path: Path
) -> None:
    command = words(tiny_data, "--checkpoint-every", "1e-9")
    processes = start(tmp_path, command, 3)
    processes[0].wait_for_steps()
    for process in processes:  # as launchers do
        process.send(signal.SIGTERM)
    statuses = [process.status() for process in processes]
    assert statuses == [128 + signal.SIGTERM] * 3, processes[0].output
    (line,) = {process.lines[-1] for process in processes}
    assert "the state is saved. Resume in every worker with: tfgen-train vae" in line

    chief, worker, other = start(tmp_path, RESUME, 3)
    chief.wait_for_steps()
    chief.send(signal.SIGSTOP)  # so that nobody can end after the same step
    for _ in range(2):
        worker.send(signal.SIGTERM)
        time.sleep(0.5)
    assert worker.status(10) == 128 + signal.SIGTERM, worker.output
    assert worker.lines[-1].startswith("tfgen-train: interrupted; resume in every worker with")
    chief.send(signal.SIGCONT)
    for process in (chief, other):
        assert process.status(30) == 128 + signal.SIGTERM, process.output
        assert re.search("error: worker 1 at .* was interrupted; resume in", process.lines[-1])

    chief, *others = start(tmp_path, RESUME, 3)
    chief.wait_for_steps()
    chief.limit_files(1000)
    for process in (chief, *others):
        assert process.status(60) == 1, process.output
    assert chief.lines[-1].startswith("tfgen-train: error: File too large")
    for process in others:
        assert re.search("error: the chief at .*: File too large", process.lines[-1])


def test_a_run_goes_on_with_one_process_and_again_with_two(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk0"
    shutil.copytree(whole / "disk0" / "run", folder / "run")
    flags = [*RESUME, "--no-publish", "--strategy"]
    alone = Process(0, ["127.0.0.1:1"], folder, [*flags, "none", "--epochs", "3"])
    finish([alone])
    assert "the run was saved by 2 workers and continues with 1; " in alone.output
    processes = start(tmp_path, [*flags, "multiworker", "--epochs", "4"])
    finish(processes)
    assert "the run was saved by 1 worker and continues with 2; " in processes[0].output
    resumed = RunFolder(folder / "run").read_config()["resumed"]
    changes = [entry["changed"]["strategy"] for entry in resumed]
    assert changes == [["multiworker", "none"], ["none", "multiworker"]]
    assert [row["epoch"] for row in RunFolder(folder / "run").read_metrics()] == [1, 2, 3, 4]


def test_the_chief_alone_reads_the_weights_to_start_from(
    whole: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run = whole / "disk0" / "run"
    shutil.copytree(run, tmp_path / "disk0" / "source")
    flags = ["--start-from", "source", "--learning-rate", "1e-12", "--epochs", "1", "--no-publish"]
    finish(start(tmp_path, words(tiny_data, *flags)))
    (row,) = RunFolder(tmp_path / "disk0" / "run").read_metrics()
    best = min(row["val_loss"] for row in RunFolder(run).read_metrics())
    assert row["val_loss"] == pytest.approx(best, rel=1e-5)


def test_after_a_kill_while_publishing_both_resume_and_the_chief_publishes(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / "disk0" / "run", tmp_path / "disk0" / "run")
    ends = [
        ("published saved_models/vae-2d-tiny/2 from epoch", "the chief has finished"),
        ("nothing to do: run has 2 epochs; it is published", "nothing to do: run has"),
    ]
    for chief_end, worker_end in ends:
        processes = start(tmp_path, RESUME)
        finish(processes)
        assert processes[0].lines[-1].startswith(chief_end)
        assert f" has finished: {worker_end}" in processes[1].lines[-1]


def test_a_process_with_other_settings_ends_both_with_one_line(
    tiny_data: Path, tmp_path: Path
) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [
        Process(index, addresses, tmp_path / str(index), words(tiny_data, "--seed", str(index)))
        for index in range(2)
    ]
    for process in processes:
        assert process.status() == 2, process.output
        (line,) = process.lines
        assert "was started with seed = 1, the chief with seed = 0; start the same" in line
    assert names(tmp_path / "0") == names(tmp_path / "1") == {"output.txt"}


def test_a_chief_that_waits_says_for_whom_and_takes_a_signal_at_once(
    tiny_data: Path, tmp_path: Path
) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    chief = Process(0, addresses, tmp_path, words(tiny_data))
    chief.wait_for(f"waiting for worker 1 at {addresses[1]}")
    chief.send(signal.SIGTERM)
    assert chief.status(30) == 128 + signal.SIGTERM
    assert chief.lines[-1] == "tfgen-train: interrupted; nothing was written"
    assert names(tmp_path) == {"output.txt"}


def test_a_message_is_one_write_so_that_no_thread_prints_inside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module(f"{PACKAGE}._workers")
    writes: list[str] = []
    stream = SimpleNamespace(write=writes.append, flush=lambda: None)
    monkeypatch.setattr("sys.stdout", stream)
    module._say("waiting for worker 1")
    monkeypatch.undo()
    assert [text for text in writes if text] == ["waiting for worker 1\n"]


def test_a_kill_while_tensorflow_connects_the_processes_ends_the_other(
    tiny_data: Path, tmp_path: Path
) -> None:
    ports = free_ports(2)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    chief, worker = (
        Process(index, addresses, tmp_path / str(index), words(tiny_data)) for index in range(2)
    )
    worker.wait_for_library("libtensorflow_cc")  # so they have met
    chief.send(signal.SIGSTOP)
    end = time.monotonic() + PATIENCE
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", ports[1])):  # until TensorFlow's server is there
            assert worker.is_alive() and time.monotonic() < end, worker.output
            time.sleep(0.1)
    time.sleep(1)
    assert worker.is_alive()
    chief.kill()
    assert worker.status(20) == 3
    assert worker.lines[-1].endswith("has ended; nothing was written")


def test_the_commands_in_the_document_make_one_cluster() -> None:
    document = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    configs = [json.loads(part.split("'")[0]) for part in document.split("TF_CONFIG='")[1:]]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": index} for index in range(2)
    ]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len(configs[0]["cluster"]["worker"]) == 2
