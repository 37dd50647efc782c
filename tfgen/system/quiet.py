"""Imports TensorFlow without its start-up chatter on the terminal."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and shows it only if the block raises.

    The C++ part of TensorFlow writes to the descriptor, so replacing `sys.stderr` would not catch
    it.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def import_quietly(*names: str) -> list[ModuleType]:
    """Imports modules that pull in TensorFlow, with standard error held back."""
    # Level 2 keeps errors. The user's own settings win.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with held_back_stderr():
        modules = [importlib.import_module(name) for name in ("tensorflow", *names)]
        # The first look for a GPU complains where there is none.
        modules[0].config.list_physical_devices()
        return modules
