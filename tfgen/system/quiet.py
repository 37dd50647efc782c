"""Imports of slow packages: without messages, at first use, or followed by a call."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import Any

from tfgen.errors import InterruptedRunError


@contextlib.contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2; writes it only if the block raises.

    After Ctrl-C nothing is written, because nothing failed. TensorFlow's C++ code writes to the
    descriptor, so replacing `sys.stderr` would not catch it.
    """
    import tempfile  # not needed by --help

    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


# The signals since the outermost `interruptible` context was entered.
_signals: list[int] = []
# The handlers that a context replaces: those of a caller's own or of an outer context stay.
_USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interrupted(KeyboardInterrupt):
    """The end by a signal, whose number is `signum`."""

    def __init__(self, signum: int):
        super().__init__()
        self.signum = signum


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A context that Ctrl-C and SIGTERM end with `Interrupted`, whatever the code in it does.

    While TensorFlow is imported, C++ code turns the exception into an `ImportError`, and callbacks
    drop it. SIGTERM by itself would end the process without removing temporary files.
    """
    import threading  # not needed by --help

    is_main = threading.current_thread() is threading.main_thread()  # others may set no handlers
    replaced = {s: usual for s, usual in _USUAL.items() if is_main and signal.getsignal(s) == usual}
    for signum in replaced:
        signal.signal(signum, _interrupt)
    try:
        yield
    except InterruptedRunError:  # it says what the signal has left
        _signals.clear()
        raise
    finally:
        last = _signals[-1] if _signals else None
        if replaced:
            _signals.clear()
        for signum, usual in replaced.items():
            signal.signal(signum, usual)
        if last is not None:
            raise Interrupted(last) from None


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _signals.append(signum)
    raise Interrupted(signum)


_EAGER = "keras.src.optimizers"


def import_quietly(*names: str) -> list[ModuleType]:
    """Imports TensorFlow and modules that use it, with standard error held back.

    A terminal shows that TensorFlow is started, which takes several seconds. Unless it is imported
    already, it computes in float32 what is float32, and takes memory of a GPU as it needs it.

    Returns:
        TensorFlow, then the named modules.
    """
    from tfgen.system.status import status  # not needed by --help

    # Level 2 hides warnings but not errors. The user's own setting has precedence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Else a process takes all memory of a GPU, and a second one beside it fails.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    started = "tensorflow" in sys.modules
    step = contextlib.nullcontext() if started else status("starting TensorFlow")
    with step, hold_back_stderr(), interruptible():
        if not started:
            # TensorFlow imports this module of Keras if it can, which takes a third of its start.
            # A published version needs no Keras, and everything else imports it itself.
            sys.modules.setdefault(_EAGER, None)  # type: ignore[arg-type]
        tensorflow = importlib.import_module("tensorflow")
        if sys.modules.get(_EAGER) is None:
            sys.modules.pop(_EAGER, None)
        # The first search for a GPU writes warnings on a machine without one.
        tensorflow.config.list_physical_devices()
        if not started:
            # Products of float32 would be rounded to TF32 on a GPU, and likelihoods with them.
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        return [tensorflow, *map(importlib.import_module, names)]


class LazyModule:
    """Stands for a module and imports it when an attribute is first used.

    It is for files that need TensorFlow for some of their functions only: `--help` lists the GAN's
    losses, and a client of a server hashes seeds, without TensorFlow's start-up time.

    Args:
        name: the module's dotted name.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def after_import(name: str, function: Callable[[], None]) -> None:
    """Calls a function once a top-level module is imported; at once if it is already.

    An exception in a later call is dropped, because it must not stop somebody else's import.
    """

    class Finder:
        """Finds the module on the path, and adds a call to its import."""

        @staticmethod
        def find_spec(wanted: str, *_: Any) -> ModuleSpec | None:
            spec = PathFinder.find_spec(name) if wanted == name else None
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module

                def execute_and_call(module: ModuleType) -> None:
                    execute(module)
                    with contextlib.suppress(Exception):
                        function()

                spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
            return spec

    if name in sys.modules:
        function()
    else:
        sys.meta_path.insert(0, Finder)
