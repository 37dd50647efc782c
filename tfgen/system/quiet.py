"""Imports of TensorFlow without its start-up messages."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2; writes it only if the block raises.

    TensorFlow's C++ code writes to the descriptor, so replacing `sys.stderr` would not catch it.
    """
    import tempfile  # not needed by --help

    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(terminal, 2)
            messages.seek(0)
            os.write(2, messages.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def import_quietly(*names: str) -> list[ModuleType]:
    """Imports TensorFlow and modules that use it, with standard error held back.

    Returns:
        TensorFlow, then the named modules.
    """
    # Level 2 hides warnings but not errors. The user's own setting has precedence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with hold_back_stderr():
        modules = [importlib.import_module(name) for name in ("tensorflow", *names)]
        # The first search for a GPU writes warnings on a machine without one.
        modules[0].config.list_physical_devices()
        return modules
