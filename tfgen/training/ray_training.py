"""A training by the workers of a Ray cluster, started and restarted by Ray Train.

Ray's workers do not train themselves: each starts `tfgen-train --strategy multiworker` as a process
and waits for it. Training, signals and checkpoints work as without Ray. If Ray kills a worker, the
operating system kills its process.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tfgen.errors import InterruptedRunError, WorkerLostError, WorkError
from tfgen.system.ray_cluster import RayCluster, first_line
from tfgen.training.folder import RunFolder
from tfgen.training.interrupt import InterruptRequest

# How often lost workers are started again.
RESTARTS = 3
# Seconds between two looks at a process, or at what the workers have said.
_INTERVAL = 0.2
# Lines of standard error that are kept for the end.
_LAST_LINES = 50
# Set by Ray for its workers: Keras 2, and one thread for each core that Ray has reserved.
_SET_BY_RAY = {"TF_USE_LEGACY_KERAS", "OMP_NUM_THREADS"}
# Without a sign of life for so long after a signal, no worker is running [s].
_SILENCE = 15.0
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Command:
    """The command that each worker runs as a process.

    Attributes:
        module: the module that Python runs.
        start_arguments: the arguments while there is no run.
        resume_arguments: the arguments after a worker was lost.
        run_dir: the run directory, an absolute path.
        folder: the working directory, an absolute path.
        environment: further environment variables.
    """

    module: str
    start_arguments: Sequence[str]
    resume_arguments: Sequence[str]
    run_dir: Path
    folder: Path
    environment: Mapping[str, str]

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the process, with the variable TF_CONFIG that Ray Train has set here.

        Raises:
            OSError: the working directory does not exist on this machine.
        """
        is_begun = RunFolder(self.run_dir).config.exists()
        arguments = self.resume_arguments if is_begun else self.start_arguments
        inherited = {name: value for name, value in os.environ.items() if name not in _SET_BY_RAY}
        environment = {**inherited, **self.environment, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", self.module, *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C comes from the command that has started the training
            preexec_fn=_as_child_of_worker(),
        )


class ProcessEnd(NamedTuple):
    """How a process ended.

    Attributes:
        status: exit status, or minus the number of the signal that killed the process.
        errors: the last lines of standard error.
    """

    status: int
    errors: str

    @property
    def is_loss(self) -> bool:
        """Whether this process, or another worker that it trained with, was killed."""
        return self.status < 0 or self.status == WorkerLostError.exit_status

    @property
    def is_failure(self) -> bool:
        """Whether the process has failed, and would fail again after a restart."""
        return not self.is_loss and 0 < self.status < 128


class Mailbox:
    """Messages between the workers and the command that has started them; an actor of Ray."""

    def __init__(self) -> None:
        self._output: list[bytes] = []
        self._ends: dict[int, ProcessEnd] = {}
        self._starts = 0
        self._signum: int | None = None
        self._seen_at = time.monotonic()

    def begin(self, rank: int) -> bool:
        """Notes that a worker begins; returns whether there is anything to do."""
        if self._signum is not None or self._has_failed():
            return False
        self._starts += rank == 0
        return True

    def write(self, output: bytes) -> None:
        """Keeps output of the chief for the command."""
        self._output.append(output)

    def end(self, rank: int, end: ProcessEnd) -> None:
        """Notes how the process of a worker ended."""
        self._ends[rank] = end

    def interrupt(self, signum: int) -> None:
        """Asks all workers to pass a signal to their processes."""
        self._signum = signum

    def signum(self) -> int | None:
        """The signal to pass on, or None; each worker asks for it all the time.

        It is SIGTERM if a process has failed, since the others may be waiting for it.
        """
        self._seen_at = time.monotonic()
        return self._signum or (signal.SIGTERM if self._has_failed() else None)

    def read(self) -> tuple[int, bytes]:
        """How often the chief has begun, and its output since the last call."""
        output, self._output = b"".join(self._output), []
        return self._starts, output

    def silence(self) -> float:
        """Time since the last sign of life of a worker [s]."""
        return time.monotonic() - self._seen_at

    def ends(self) -> dict[int, ProcessEnd]:
        """How the processes have ended, by rank."""
        return self._ends

    def _has_failed(self) -> bool:
        return any(end.is_failure for end in self._ends.values())


def run_worker(arguments: Mapping[str, Any]) -> None:
    """Runs the process of one worker; Ray Train calls it in each of them.

    Args:
        arguments: the `command` to run, and the actor `mailbox`.

    Raises:
        RuntimeError: Ray Train is to end all workers, and to start them again.
    """
    import ray.train

    command: Command = arguments["command"]
    mailbox, rank = arguments["mailbox"], ray.train.get_context().get_world_rank()
    if not ray.get(mailbox.begin.remote(rank)):
        return
    try:
        process = command.start()
    except OSError as error:
        end = ProcessEnd(1, f"{command.folder} cannot be used on a machine of the cluster: {error}")
    else:
        write = mailbox.write.remote if rank == 0 else None
        end = _wait(process, write, lambda: ray.get(mailbox.signum.remote()))
    ray.get(mailbox.end.remote(rank, end))
    if end.is_loss:
        raise RuntimeError(f"the process of worker {rank} has ended with status {end.status}")


def _wait(
    process: "subprocess.Popen[bytes]",
    write: Callable[[bytes], Any] | None,
    read_signal: Callable[[], int | None],
) -> ProcessEnd:
    """Waits for a process, and passes on its output and a signal."""
    errors: deque[bytes] = deque(maxlen=_LAST_LINES)
    readers = [
        threading.Thread(target=_read_output, args=(process.stdout, write)),
        threading.Thread(target=errors.extend, args=(process.stderr,)),
    ]
    for reader in readers:
        reader.start()
    is_signal_sent = False
    while process.poll() is None:
        if not is_signal_sent and (signum := read_signal()) is not None:
            process.send_signal(signum)
            is_signal_sent = True
        time.sleep(_INTERVAL)
    for reader in readers:
        reader.join()
    return ProcessEnd(process.returncode, b"".join(errors).decode(errors="replace"))


def _read_output(stream: Any, write: Callable[[bytes], Any] | None) -> None:
    while output := stream.read1(1 << 16):
        if write is not None:
            write(output)


def _as_child_of_worker() -> Callable[[], None]:
    """A `preexec_fn` that makes a process end with the worker that has started it."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        # Ray blocks SIGINT in its workers.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


def train_on(
    cluster: RayCluster,
    command: Command,
    workers: int,
    show: Callable[[bytes], None],
    say: Callable[[str], None],
) -> ProcessEnd:
    """Trains with the workers of a cluster, and starts them again when one is lost.

    Args:
        cluster: where the workers run.
        command: what each of them runs.
        workers: their number.
        show: shows output of the chief.
        say: prints a line about the workers.

    Returns:
        How the chief ended; if a worker failed without it, how that worker ended.

    Raises:
        WorkerLostError: workers were lost too often.
        InterruptedRunError: a signal ended the workers before they trained.
        WorkError: the cluster cannot start the workers.
    """
    ray = cluster.ray
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    failures: list[Exception] = []

    def fit(storage: str) -> None:
        try:
            _trainer(cluster, command, workers, mailbox, storage).fit()
        except Exception as error:
            failures.append(error)

    with tempfile.TemporaryDirectory() as storage, InterruptRequest() as request:
        # A thread, since Ray Train would take Ctrl-C for the end of its workers.
        thread = threading.Thread(target=fit, args=(storage,), daemon=True)
        thread.start()
        is_running, is_signal_sent, starts = True, False, 1
        while is_running:
            thread.join(_INTERVAL)
            is_running = thread.is_alive()
            if request.signum is not None and not is_signal_sent:
                ray.get(mailbox.interrupt.remote(request.signum))
                is_signal_sent = True
            if is_signal_sent and ray.get(mailbox.silence.remote()) > _SILENCE:
                break  # Ray Train is waiting for a machine that it can start a worker on
            count, output = ray.get(mailbox.read.remote())
            if count > starts:
                say(f"a worker was lost; the workers are started again, {count - 1} of {RESTARTS}")
                starts = count
            show(output)
    ends = ray.get(mailbox.ends.remote())
    return _decide(dict(sorted(ends.items())), request.signum, failures)


def _decide(
    ends: Mapping[int, ProcessEnd], signum: int | None, failures: Sequence[Exception]
) -> ProcessEnd:
    """How the training ended, from the ends of the processes by rank."""
    for end in ends.values():
        if end.is_failure:
            return end
    if 0 in ends and not ends[0].is_loss:
        return ends[0]
    if signum is not None:
        raise InterruptedRunError("interrupted", signum)
    if any(end.is_loss for end in ends.values()):
        raise WorkerLostError(f"a worker was lost {RESTARTS + 1} times")
    raise WorkError(f"Ray Train has failed: {first_line(failures[0])}")


def _trainer(
    cluster: RayCluster, command: Command, workers: int, mailbox: Any, storage: str
) -> Any:
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer

    resources = cluster.worker_resources
    return TensorflowTrainer(
        run_worker,
        train_loop_config={"command": command, "mailbox": mailbox},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=resources["num_gpus"] > 0,
            resources_per_worker={"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]},
        ),
        run_config=ray.train.RunConfig(
            name=command.run_dir.name,
            storage_path=storage,
            failure_config=ray.train.FailureConfig(max_failures=RESTARTS),
        ),
    )
