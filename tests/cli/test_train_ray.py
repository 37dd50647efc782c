"""`tfgen-train --ray`: a training that loses workers ends as two processes would have ended it."""

import os
import signal
from pathlib import Path

import pytest

from tests.training.cluster_processes import Command, start
from tests.training.test_run import assert_same_end

pytestmark = [pytest.mark.ray, pytest.mark.newest]


def words(data: Path, *flags: str) -> list[str]:
    sizes = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "8", "--epochs", "2"]
    place = ["--dataset", "tiny", "--data-dir", str(data), "--run-dir", "run", "--preset", "mlp"]
    return ["vae", *sizes, *place, *flags]


def train_on_ray(folder: Path, argv: list[str]) -> Command:
    return Command(folder, [*argv, "--ray", "2"])


def processes_of(run_dir: Path) -> list[int]:
    """The processes of the workers of a run."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if str(run_dir).encode() in arguments:
            processes.append(int(path.parent.name))
    return processes


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_lost_workers_and_an_interruption_do_not_change_the_result(
    tiny_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    for process in start(tmp_path, words(tiny_data, "--strategy", "multiworker")):
        assert process.status() == 0, process.output
    training = train_on_ray(tmp_path, words(tiny_data, "--checkpoint-every", "1e-9"))
    run_dir = tmp_path / "run"
    # The process of a worker, then the worker of Ray itself, which takes its process with it.
    for restarts, of_ray in enumerate((False, True), 1):
        training.wait_for_steps()
        before = processes_of(run_dir)
        victim = max(before)
        os.kill(parent_of(victim) if of_ray else victim, signal.SIGKILL)
        training.wait_for(f"started again, {restarts} of 3")
        assert not {*before} & {*processes_of(run_dir)}
    training.wait_for_steps()
    training.send(signal.SIGINT)
    assert training.status() == 130
    last = training.output.splitlines()[-1]
    assert "the state is saved. Resume with: tfgen-train vae --resume --run-dir" in last
    assert last.endswith(" --ray 2")
    training = train_on_ray(tmp_path, ["vae", "--resume", "--run-dir", "run"])
    assert training.status() == 0
    assert "published saved_models/vae-2d-tiny/2 from epoch" in training.output
    assert not processes_of(run_dir)
    assert_same_end(run_dir, tmp_path / "disk0" / "run")


def test_the_error_of_a_worker_is_that_of_the_command(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    training = train_on_ray(tmp_path, words(tmp_path / "nowhere"))
    assert training.status() == 2
    first, last = training.output.splitlines()
    assert first == "training with 2 workers of a Ray cluster"
    assert last.startswith("tfgen-train: error: ") and "tiny" in last
    assert not (tmp_path / "run").exists()
