"""The organization of the code: imports go down only, and what must be light is."""

import ast
import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the top, as docs/architecture.md draws them: a module imports from its own tier and below.
TIERS = (
    ("__main__",),
    ("notebooks",),
    ("cli",),
    ("serving",),
    ("testing",),
    ("callbacks",),
    ("evaluation",),
    ("publishing",),
    ("training",),
    ("models",),
    ("data", "figures"),
    ("registry",),
    ("settings", "random", "sampling", "system", "nn", "bijectors"),
    ("errors",),
)
# What must work without TensorFlow: `--help`, and sampling from a server.
LIGHT = re.compile(
    r"tfgen\.((settings|system)\.\w+|registry|random|sampling|errors|models\.\w+\.config"
    r"|models\.gan\.losses|publishing\.(versions|listing|served|rest|grpc)|serving\.\w+|cli\.\w+)"
)
HEAVY = {"tensorflow", "keras", "tensorflow_probability", "matplotlib"}
# TensorFlow Probability keeps out newer TensorFlows; CONTRIBUTING.md says what would replace it.
WITH_PROBABILITY = {"tfgen.bijectors.base", "tfgen.models.flow.model", "tfgen.models.vae.bounds"}


def module_paths() -> dict[str, Path]:
    """Every module by its dotted name; commands and notebooks are installed within `tfgen`."""
    paths = {}
    folders = {"tfgen": "tfgen", "cli": "tfgen.cli", "notebooks": "tfgen.notebooks"}
    for folder, prefix in ((ROOT / name, prefix) for name, prefix in folders.items()):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            paths[".".join((prefix, *(part for part in parts if part != "__init__")))] = path
    return paths


MODULES = module_paths()


def imports(name: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that statements of a module import, those outside of tfgen too."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            inside = [f"{origin}.{alias.name}" for alias in node.names]
            yield from (target if target in MODULES else origin for target in inside)


def imported_modules(name: str) -> set[str]:
    """The modules of tfgen that a module imports, within its functions too."""
    targets = set(imports(name, ast.walk(ast.parse(MODULES[name].read_text()))))
    return (targets & MODULES.keys()) - {name, "tfgen"}


# The package itself names its public parts, and imports each when it is used.
GRAPH = {name: imported_modules(name) for name in MODULES if name != "tfgen"}


def tier(name: str) -> int:
    """The tier of a module, 0 at the top."""
    place = name.split(".")[1]
    return next(index for index, places in enumerate(TIERS) if place in places)


def test_every_module_has_a_tier() -> None:
    known = {place for places in TIERS for place in places}
    assert {name.split(".")[1] for name in GRAPH} == known


def test_imports_go_down_only() -> None:
    edges = [(name, target) for name, targets in GRAPH.items() for target in targets]
    assert not [f"{name} → {target}" for name, target in edges if tier(target) < tier(name)]


def test_no_two_files_import_each_other() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names a circle of any length


def test_the_light_modules_import_no_tensorflow() -> None:
    reached: dict[str, set[str]] = {}
    queue = [name for name in MODULES if LIGHT.fullmatch(name)]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached[name] = set(imports(name, ast.parse(MODULES[name].read_text()).body))
            queue += reached[name] & MODULES.keys()
    heavy = {
        name: {target for target in targets if target.split(".")[0] in HEAVY}
        for name, targets in reached.items()
    }
    assert not {name: targets for name, targets in heavy.items() if targets}


def test_few_modules_import_tensorflow_probability() -> None:
    importing = {
        name
        for name, path in MODULES.items()
        if path.is_relative_to(ROOT / "tfgen")
        for target in imports(name, ast.walk(ast.parse(path.read_text())))
        if target.split(".")[0] == "tensorflow_probability"
    }
    assert importing == WITH_PROBABILITY
