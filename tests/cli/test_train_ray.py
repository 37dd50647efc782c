"""`tfgen-train --ray`: a training that loses a worker ends as two workers would have ended it."""

import os
import signal
from pathlib import Path

import pytest

from tests import commands
from tests.training.cluster_processes import Command, start
from tests.training.test_run import assert_same_end
from tests.training.test_workers import RESUME, finish, has_epoch, undisturbed, words

pytestmark = pytest.mark.slow

pytest.importorskip("ray")


def ray_workers() -> list[int]:
    """The processes in which Ray Train's workers are."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"RayTrainWorker" in path.read_bytes():
                processes.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return processes


def test_a_lost_worker_and_an_interruption_do_not_change_the_result(
    tiny_data: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    training = Command(part, words(tiny_data, "--no-publish", "--ray", "2"))
    training.wait_until(lambda: has_epoch(part, 2))
    os.kill(ray_workers()[0], signal.SIGKILL)
    training.wait_until(lambda: has_epoch(part, 3))
    training.send(signal.SIGINT)
    assert training.status() == 130, training.output
    last = training.output.splitlines()[-1]
    assert "interrupted; continue with: tfgen-train vae --resume --run-dir" in last
    assert last.endswith(" --ray 2")
    # A lost worker was resumed on Ray. Now workers without Ray continue the run.
    finish(start(part, RESUME))
    assert_same_end(part / "run", undisturbed(tiny_data) / "run")


def test_the_error_of_a_worker_is_that_of_the_command(tmp_path: Path) -> None:
    code = f"import {commands.PACKAGE}._train_ray as module; module._RESTARTS = 0; "
    code += f"from {commands.PACKAGE}.train import main; raise SystemExit(main())"
    flags = [*words(tmp_path / "nowhere"), "--ray", "1"]
    done = commands.python(["-c", code, *flags], tmp_path)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tfgen-train: error: ") and "tiny" in last
