"""Imports of TensorFlow without its start-up messages."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType


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
        except KeyboardInterrupt:
            raise
        except BaseException:
            os.dup2(terminal, 2)
            messages.seek(0)
            os.write(2, messages.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


# The signals since the outermost `interruptible` context was entered.
_interrupts: list[int] = []


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A context that Ctrl-C ends with a `KeyboardInterrupt`, whatever the code in it does.

    While TensorFlow is imported, C++ code turns the exception into an `ImportError`, and callbacks
    drop it.
    """
    import threading  # not needed by --help

    is_main = threading.current_thread() is threading.main_thread()
    # Only the main thread may set handlers. A caller's own one, or that of an outer context, stays.
    is_outer = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_outer:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except BaseException:
        if _interrupts:
            raise KeyboardInterrupt from None
        raise
    else:
        if _interrupts:
            raise KeyboardInterrupt
    finally:
        if is_outer:
            _interrupts.clear()
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _interrupts.append(signum)
    raise KeyboardInterrupt


def import_quietly(*names: str) -> list[ModuleType]:
    """Imports TensorFlow and modules that use it, with standard error held back.

    A terminal shows that TensorFlow is started, which takes several seconds.

    Returns:
        TensorFlow, then the named modules.
    """
    from tfgen.system.status import status  # not needed by --help

    # Level 2 hides warnings but not errors. The user's own setting has precedence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    started = "tensorflow" in sys.modules
    step = contextlib.nullcontext() if started else status("starting TensorFlow")
    with step, hold_back_stderr(), interruptible():
        modules = [importlib.import_module(name) for name in ("tensorflow", *names)]
        # The first search for a GPU writes warnings on a machine without one.
        modules[0].config.list_physical_devices()
        return modules
