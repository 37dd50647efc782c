"""Modules that are imported when they are first used."""

import importlib
from typing import Any


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
