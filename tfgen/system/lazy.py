"""Modules that are imported when they are first used."""

import importlib
from typing import Any


class LazyModule:
    """Stands for a module and imports it at the first attribute that is asked for.

    For files that need TensorFlow to compute, but not to say what there is: `--help` lists the
    GAN's losses and a client of a server hashes seeds without TensorFlow's start-up time.

    Args:
        name: of the module.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
