"""TFDS without its output on the terminal; the only file that imports it."""

import contextlib
import io
import logging
from collections.abc import Iterator
from types import ModuleType

from tfgen.system.quiet import import_quietly


def import_tfds() -> ModuleType:
    """Imports TFDS and turns its progress bars off."""
    _, tfds = import_quietly("tensorflow_datasets")
    tfds.disable_progress_bar()
    return tfds


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppresses what TFDS prints and logs within the block; exceptions pass through."""
    logging.disable()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
