"""The processes of one training while it runs.

Each worker has a connection to the chief. The operating system closes it when a process ends,
however it ends, so a thread knows at once, even while TensorFlow waits in C++ code for that
process. Signals, too, are taken by a thread of their own.
"""

import contextlib
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tfgen.errors import (
    InterruptedRunError,
    UsageError,
    WorkerLostError,
    WorkError,
    os_error_text,
)
from tfgen.training.channel import Channel, ChannelError
from tfgen.training.cluster import Cluster, Task
from tfgen.training.interrupt import SIGNALS, InterruptRequest
from tfgen.training.rendezvous import SILENCE, gather, join

if TYPE_CHECKING:
    import numpy as np

# Time between two signs of life [s].
_BEAT = 5.0
# Longest text that another process may have printed here.
_LONGEST = 2000
_NOT_STARTED = "nothing was written"


class Word(NamedTuple):
    """What all workers do after a step.

    Attributes:
        saves: whether the state is saved.
        signum: the signal that ends the training, or None.
    """

    saves: bool
    signum: int | None


class Crew:
    """This process among those of one training.

    From its construction on, SIGINT and SIGTERM end the process at once with one line, until
    `recording` lets a training end in its own way. Construct it before numpy or TensorFlow start
    threads, which would take the signals.

    As a context it tells the others if an exception ends this process.

    Args:
        cluster: the processes, more than one.
        report: prints the line with which a process ends early; takes the text and whether it is
            an error.

    Attributes:
        cluster: the processes.
        advice: how to go on after an early end.
    """

    def __init__(self, cluster: Cluster, report: Callable[[str, bool], None]):
        self.cluster, self.advice = cluster, _NOT_STARTED
        self._report = report
        self._channels: dict[Task, Channel] = {}
        self._inboxes: dict[Task, queue.Queue[Any]] = {}
        self._interrupt: InterruptRequest | None = None
        # Whether the others may end without ending this process.
        self._is_released = False
        self._ending = threading.Lock()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _start(self._take_signals)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes for all."""
        return self.cluster.task.is_chief

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self.cluster.tasks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or (self._is_released and not self.is_chief):
            return
        if kind.__module__.startswith("tensorflow") and self._channels:
            # Probably because another process has ended, which a thread is about to notice; it
            # ends this process with a better message.
            time.sleep(SILENCE + _BEAT)
        self._ending.acquire()  # the ends of the others, which follow, are not reported
        if isinstance(error, InterruptedRunError):
            self.finish(str(error))
            return
        text = os_error_text(error) if isinstance(error, OSError) else str(error)
        text = f"{self.cluster.task}: {text}" if text else f"{self.cluster.task} has failed"
        self._tell_all({"failed": text, "status": getattr(error, "exit_status", 1)})

    # --- meeting ------------------------------------------------------------------------

    def gather(
        self,
        versions: Mapping[str, str],
        minutes: float,
        say: Callable[[str], None],
        welcome: Mapping[str, Any],
    ) -> None:
        """Waits for the others and sends them a first message; see `rendezvous.gather`."""
        channels = gather(self.cluster, versions, minutes, say)
        self._open(dict(zip(self.cluster.tasks[1:], channels, strict=True)))
        self.send(welcome)

    def join(
        self, versions: Mapping[str, str], minutes: float, say: Callable[[str], None]
    ) -> dict[str, Any]:
        """Connects to the chief; returns its first message; see `rendezvous.join`."""
        channel, welcome = join(self.cluster, versions, minutes, say)
        self._open({self.cluster.chief: channel})
        return welcome

    def _open(self, channels: Mapping[Task, Channel]) -> None:
        self._channels = dict(channels)
        # Bounded, so that a process that sends without end is not read on.
        self._inboxes = {task: queue.Queue(16) for task in channels}
        for task in channels:
            _start(self._read, task)
        _start(self._beat)

    def compare(self, name: str, value: Any, explain: Callable[[Task, Any], str]) -> None:
        """Ends the training of all if a worker has another value than the chief.

        Args:
            name: what the value is called in messages between the processes.
            value: this process's value, for JSON.
            explain: the error, from a worker and its value.

        Raises:
            UsageError: a worker has another value; in the chief.
        """
        if not self.is_chief:
            self.send({name: value})
            return
        for task in self._channels:
            theirs = self._message(task, name)
            if theirs != value:
                raise UsageError(explain(task, theirs))

    # --- messages -----------------------------------------------------------------------

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message to the chief; as the chief, to all workers."""
        for task, channel in self._channels.items():
            self._try(task, channel.send, message)

    def receive(self, name: str) -> Any:
        """The chief's next message, which must be of that name; in a worker."""
        return self._message(self.cluster.chief, name)

    def send_arrays(self, arrays: Mapping[str, "np.ndarray"]) -> None:
        """Sends arrays to the chief; as the chief, to all workers."""
        import numpy as np

        names = {name: [array.dtype.str, *array.shape] for name, array in arrays.items()}
        self.send({"arrays": names})
        for task, channel in self._channels.items():
            for array in arrays.values():
                content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                self._try(task, channel.send_bytes, content.data)

    def receive_arrays(
        self, expected: Mapping[str, "np.ndarray"], task: Task | None = None
    ) -> dict[str, "np.ndarray"]:
        """Arrays from the chief, or from a worker.

        Args:
            expected: arrays of the same names, shapes and dtypes, which bound what is received.
            task: the worker.

        Raises:
            WorkError: other arrays come.
        """
        import numpy as np

        task = task or self.cluster.chief
        names = {name: [array.dtype.str, *array.shape] for name, array in expected.items()}
        if self._message(task, "arrays") != names:
            raise WorkError(f"{task} has sent arrays of another model")
        arrays = {}
        for name, array in expected.items():
            content = b"".join(self._parts(task, math.prod(array.shape) * array.itemsize))
            arrays[name] = np.frombuffer(content, array.dtype).reshape(array.shape)
        return arrays

    def gather_arrays(self, own: Mapping[str, "np.ndarray"]) -> list[Mapping[str, "np.ndarray"]]:
        """The arrays of all processes, in the order of the cluster; in the chief.

        Args:
            own: those of this process; the others' have the same names, shapes and dtypes.
        """
        return [own, *(self.receive_arrays(own, task) for task in self._channels)]

    def _parts(self, task: Task, length: int) -> list[bytes]:
        parts: list[bytes] = []
        while length > 0:
            part = self._inboxes[task].get()
            if not isinstance(part, bytes) or len(part) > length:
                raise WorkError(f"{task} has sent something else than an array")
            parts.append(part)
            length -= len(part)
        return parts

    def _message(self, task: Task, name: str) -> Any:
        message = self._inboxes[task].get()
        if not isinstance(message, dict) or name not in message:
            raise WorkError(f"{task} has sent something else than {name}")
        return message[name]

    def _try(self, task: Task, action: Callable[[Any], None], argument: Any) -> None:
        try:
            action(argument)
        except OSError as error:
            self._lose(task, error)

    # --- steps --------------------------------------------------------------------------

    @contextlib.contextmanager
    def recording(self, interrupt: InterruptRequest) -> Any:
        """A context in which the first signal, to whichever process, is recorded in `interrupt`."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self._interrupt = None

    def agree(self, word: Word | None = None) -> Word:
        """What all do after the step that has just ended.

        The chief says it before it begins the next step, and the others wait for it. So all of them
        stop after the same step.

        Args:
            word: the chief's decision; None in a worker.
        """
        if word is not None:
            self.send({"word": list(word)})
            return word
        saves, signum = self.receive("word")
        return Word(bool(saves), None if signum is None else signal.Signals(signum))

    # --- end ----------------------------------------------------------------------------

    def release(self) -> None:
        """Says that the training is over: whoever ends from now on does not end the chief.

        From now on, a signal has its usual effect in the chief.
        """
        self._is_released = True
        self.send({"trained": True})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def finish(self, text: str) -> None:
        """Tells the workers that the work is over, and how it ended."""
        self._is_released = True
        self._tell_all({"end": text})

    def await_end(self) -> str:
        """Waits in a worker until the chief has finished; returns the text of `finish`."""
        return str(self.receive("end"))[:_LONGEST]

    def _tell_all(self, message: Mapping[str, Any], but: Task | None = None) -> None:
        for task, channel in self._channels.items():
            if task != but:
                with contextlib.suppress(OSError, ChannelError):
                    channel.send(message)

    # --- threads ------------------------------------------------------------------------

    def _read(self, task: Task) -> None:
        channel = self._channels[task]
        try:
            while True:
                message = channel.receive()
                if isinstance(message, dict):
                    if "beat" in message:
                        continue
                    if "interrupt" in message and self.is_chief:
                        self._record(signal.Signals(message["interrupt"]))
                        continue
                    if "end" in message:
                        self._is_released = True  # the chief may end now
                    if "failed" in message and not (self._is_released and self.is_chief):
                        self._fail(task, message)
                self._inboxes[task].put(message)
        except (OSError, ChannelError, ValueError, TypeError) as error:
            self._lose(task, error)

    def _fail(self, task: Task, message: Mapping[str, Any]) -> None:
        status = message.get("status")
        text = " ".join(str(message["failed"])[:_LONGEST].split())
        self._end(text, status if isinstance(status, int) and 0 < status < 256 else 1, but=task)

    def _lose(self, task: Task, error: Exception) -> None:
        if self._is_released:
            return
        fault = "has ended"
        if isinstance(error, TimeoutError):
            fault = f"has not answered for {SILENCE:g} s"
        elif isinstance(error, ChannelError | ValueError | TypeError):
            fault = f"has sent what cannot be read ({error})"
        self._end(f"{task} {fault}; {self.advice}", WorkerLostError.exit_status, but=task)

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT)
            self._tell_all({"beat": 1})

    def _take_signals(self) -> None:
        is_second = False
        while True:
            signum = signal.sigwait(SIGNALS)
            if self._is_released and self.is_chief:
                # The main thread takes it as it would without this class.
                signal.pthread_kill(threading.main_thread().ident or 0, signum)
                continue
            self._record(signum, is_second)
            is_second = True
            if not self.is_chief:
                self._tell_all({"interrupt": signum})

    def _record(self, signum: int, is_second: bool = False) -> None:
        """Asks for the end of the training; ends at once if there is none, or at the second time.

        The signals of other processes do not count, since launchers send one to each of them.
        """
        if self._interrupt is None or is_second:
            self._end(f"interrupted; {self.advice}", 128 + signum, is_error=False)
        elif self._interrupt.signum is None:
            self._interrupt.signum = signum

    def _end(
        self, text: str, status: int, but: Task | None = None, *, is_error: bool = True
    ) -> None:
        """Ends this process at once, whatever the main thread waits for, and tells the others."""
        self._ending.acquire()  # never released: the first reason counts
        source = "" if is_error else f"{self.cluster.task} was "
        _start(self._tell_all, {"failed": f"{source}{text}", "status": status}, but)
        self._report(text, is_error)
        time.sleep(0.2)  # for the messages
        leave(status)


def _start(target: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def leave(status: int) -> None:
    """Ends the process without TensorFlow's clean-up, which would wait for the other processes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if stream.isatty():
                stream.write("\x1b[?25h")  # a progress bar hides the cursor
            stream.flush()
    os._exit(status)


def describe_difference(task: Task, theirs: Any, ours: Mapping[str, Any]) -> str:
    """How the settings of a worker differ from those of the chief, in one line."""
    theirs = theirs if isinstance(theirs, dict) else {}
    for name, value in ours.items():
        if theirs.get(name) != value:
            return (
                f"{task} was started with {name} = {str(theirs.get(name))[:80]}, the chief with "
                f"{name} = {str(value)[:80]}; start the same command everywhere"
            )
    return f"{task} was started with other settings than the chief; start the same command"
