"""Work that waits for the import of a package that takes long to import."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def after_import(name: str, function: Callable[[], None]) -> None:
    """Calls a function once a top-level module is imported; at once if it is already.

    An exception of the function is dropped, because it must not stop somebody else's import.
    """
    if name in sys.modules:
        _call(function)
    else:
        sys.meta_path.insert(0, _Finder(name, function))


def _call(function: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        function()


class _Finder:
    """Finds one module by the other finders, and adds a call to its import."""

    def __init__(self, name: str, function: Callable[[], None]):
        self.name, self.function = name, function
        self.is_searching = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of the module; None for any other module."""
        if name != self.name or self.is_searching:
            return None
        self.is_searching = True  # another finder like this one asks this one in turn
        try:
            specs = (finder.find_spec(name, path, target) for finder in list(sys.meta_path))
            spec = next((spec for spec in specs if spec is not None), None)
        finally:
            self.is_searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_call(module: ModuleType) -> None:
                execute(module)
                _call(self.function)

            with contextlib.suppress(AttributeError):  # a loader without attributes of its own
                spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec
