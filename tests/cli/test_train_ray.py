"""`tfgen-train --ray`: a training that loses workers ends as two processes would have ended it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import commands
from tests.training.cluster_processes import PATIENCE, start
from tests.training.test_run import assert_same_end

pytestmark = [pytest.mark.ray, pytest.mark.newest]


def words(data: Path, *flags: str) -> list[str]:
    sizes = ["--latent-dim", "2", "--hidden", "16", "--batch-size", "8", "--epochs", "2"]
    place = ["--dataset", "tiny", "--data-dir", str(data), "--run-dir", "run", "--preset", "mlp"]
    return ["vae", *sizes, *place, *flags]


class Training:
    """The command with two workers, as a process."""

    def __init__(self, folder: Path, argv: list[str]):
        self.folder, self.log = folder, folder / "output.txt"
        environment = {**os.environ, "PYTHONPATH": str(commands.ROOT)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"{commands.PACKAGE}.train", *argv, "--ray", "2"],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, self.output
            time.sleep(0.02)

    def wait_for_steps(self) -> None:
        """Waits until a checkpoint is written."""
        folder = self.folder / "run" / "checkpoints"
        before = set(folder.glob("step-*"))
        self.wait_for(lambda: set(folder.glob("step-*")) - before)

    def status(self) -> int:
        return self.process.wait(PATIENCE)


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
    training = Training(tmp_path, words(tiny_data, "--checkpoint-every", "1e-9"))
    run_dir = tmp_path / "run"
    # The process of a worker, then the worker of Ray itself, which takes its process with it.
    for restarts, of_ray in enumerate((False, True), 1):
        training.wait_for_steps()
        before = processes_of(run_dir)
        victim = max(before)
        os.kill(parent_of(victim) if of_ray else victim, signal.SIGKILL)
        training.wait_for(lambda n=restarts: f"started again, {n} of 3" in training.output)
        assert not {*before} & {*processes_of(run_dir)}
    training.wait_for_steps()
    training.process.send_signal(signal.SIGINT)
    assert training.status() == 130
    last = training.output.splitlines()[-1]
    assert "the state is saved. Resume with: tfgen-train vae --resume --run-dir" in last
    assert last.endswith(" --ray 2")
    training = Training(tmp_path, ["vae", "--resume", "--run-dir", "run"])
    assert training.status() == 0
    assert "published saved_models/vae-2d-tiny/2 from epoch" in training.output
    assert not processes_of(run_dir)
    assert_same_end(run_dir, tmp_path / "disk0" / "run")


def test_the_error_of_a_worker_is_that_of_the_command(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    training = Training(tmp_path, words(tmp_path / "nowhere"))
    assert training.status() == 2
    first, last = training.output.splitlines()
    assert first == "training with 2 workers of a Ray cluster"
    assert last.startswith("tfgen-train: error: ") and "tiny" in last
    assert not (tmp_path / "run").exists()
