"""The public names of tfgen, and the page of the reference that each of them has.

What is public is read from the source without importing it, so that a build needs no TensorFlow.
"""

import ast
import dataclasses
import functools
import importlib
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ALL = "*"
# The public names of each public submodule. ALL: those of its `__all__`, or else every function and
# class that it defines; a dotted name is that of a module within it.
SUBMODULES: dict[str, tuple[str, ...]] = {
    "bijectors": (ALL,),
    "callbacks": (ALL,),
    "data": (
        ALL,
        "shards.read_shards",
        "writing.write_prepared",
        "writing.write_batches",
        "importers.base.Imported",
    ),
    "errors": (ALL,),
    "evaluation": (
        *(f"distances.{name}" for name in ("Moments", "moments", "frechet_distance", "fid", "kid")),
        *(f"coverage.{name}" for name in ("Coverage", "coverage")),
        *(f"modes.{name}" for name in ("ModeCounts", "captured_modes", "expected_modes")),
        *(f"likelihood.{name}" for name in ("Bounds", "LatentVariables", "AncestralLatents")),
        *(f"likelihood.{name}" for name in ("dequantized_log_prob", "bits_per_dim")),
        "likelihood.active_units",
        "densities.density_of",
        "estimate.Estimate",
        "features.Extractor",
        "choice.choose_extractor",
        "sample_metrics.sample_metrics",
        "reading.read_evaluation",
    ),
    "figures": (ALL,),
    "models": (
        *(f"base.{name}" for name in ("Curve", "Signatures")),
        *(f"preprocessing.{name}" for name in ("Preprocessing", "check_images")),
        *(f"vae.bounds.{name}" for name in ("ELBO", "ImportanceWeighted", "kl_to_prior")),
        "vae.distributions.LatentVariableModel",
        "vae.likelihoods.Bernoulli",
        "vae.logistic_mixture.LogisticMixture",
        *(f"gan.losses.{name}" for name in ("AdversarialLoss", "classifier_loss")),
        *(f"gan.losses.{name}" for name in ("non_saturating_loss", "minimax_loss")),
        "gan.losses.least_squares_discriminator_loss",
        "gan.losses.least_squares_generator_loss",
        "gan.losses.hinge_discriminator_loss",
        "gan.losses.critic_generator_loss",
        "gan.losses.wasserstein_critic_loss",
        "gan.losses.relativistic_discriminator_loss",
        "gan.losses.relativistic_generator_loss",
        "gan.losses.gradient_penalty",
        "flow.dequantization.VariationalDequantization",
        "flow.steps.FlowStep",
    ),
    "nn": (
        "average.MovingAverage",
        "blocks.dense_network",
        *(f"layers.{name}" for name in ("Dropout", "BatchNormalization", "GatedResidual")),
        *(f"layers.{name}" for name in ("Upsampling", "SpectralNormalization")),
        "optimizers.Schedule",
        "replicas.cond",
        "cpu.speedups",
    ),
    "publishing": (
        "opening.load_run",
        "opening.exported_model",
        "export.publish",
        "formats.convert",
        "versions.shipped_folder",
        "served.ServedSampler",
        "rest.Rest",
        "grpc.Grpc",
    ),
    "random": (ALL,),
    "registry": (ALL, "Family", "Preset"),
    "sampling": (ALL,),
    "settings": (
        "fields.option",
        "fields.Config",
        "model.ModelConfig",
        "model.ConditionalConfig",
        "training.TrainingOptions",
    ),
    "system": (),
    "testing": ("checks", "contract.Check", "contract.check", "contract.images_of"),
    "training": (),
}


def module_file(module: str) -> Path:
    """The source of a module of tfgen."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def assigned_value(module: str, name: str) -> Any:
    """The literal that a module assigns to a name; None if there is none."""
    for node in _parsed(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def top_level_homes() -> dict[str, str]:
    """The names that `tfgen` itself offers, with the module of each."""
    return dict(assigned_value("tfgen", "_HOMES"))


def defined_names(module: str) -> list[str]:
    """The public functions and classes of a module, in the order of its source."""
    if (names := assigned_value(module, "__all__")) is not None:
        return list(names)
    definitions = (ast.FunctionDef, ast.ClassDef)
    return [
        node.name
        for node in _parsed(module).body
        if isinstance(node, definitions) and not node.name.startswith("_")
    ]


def names_of(submodule: str) -> list[str]:
    """The public names of a submodule, each with its dotted path.

    A name that `tfgen` itself offers has its page there alone.
    """
    homes = {f"{home}.{name}" for name, home in top_level_homes().items()}
    module = f"tfgen.{submodule}"
    names: list[str] = []
    for entry in SUBMODULES[submodule]:
        paths = defined_names(module) if entry == ALL else [entry]
        names += [f"{module}.{path}" for path in paths]
    return [name for name in dict.fromkeys(names) if name not in homes]


def public_names() -> dict[str, list[str]]:
    """Every public name by the module that presents it: `tfgen`, `tfgen.bijectors`, …."""
    top_level = [f"tfgen.{name}" for name in top_level_homes()]
    return {"tfgen": top_level, **{f"tfgen.{part}": names_of(part) for part in SUBMODULES}}


def page_uri(module: str, name: str = "") -> str:
    """Path of a page within the site: of a module, or of a name that it presents."""
    folder = "reference" if module == "tfgen" else f"reference/{module.removeprefix('tfgen.')}"
    return f"{folder}/{name.rpartition('.')[2] or 'index'}.md"


def summary_of(name: str) -> str:
    """The first line of the docstring of a module or of a name within it."""
    if module_file(name).exists():
        return _first_line(ast.get_docstring(_parsed(name)))
    module, _, attribute = name.rpartition(".")
    home = top_level_homes().get(attribute, module) if module == "tfgen" else module
    attribute = "load" if attribute == "load_data" else attribute
    body = _parsed(home).body
    for index, node in enumerate(body):
        if getattr(node, "name", None) == attribute:
            return _first_line(ast.get_docstring(node))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == attribute:
            return _first_line(_text_of(body[index + 1]))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tfgen"):
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return summary_of(f"{node.module}.{alias.name}")
    raise LookupError(f"{name} is not defined in {home}")


@functools.cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(module_file(module).read_text(encoding="utf-8"))


def _text_of(node: ast.stmt) -> str:
    """The string that stands alone as a statement: the docstring of the assignment before it."""
    return str(ast.literal_eval(node.value)) if isinstance(node, ast.Expr) else ""


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n\n")[0].replace("\n", " ")


def module_page(module: str, names: list[str]) -> str:
    """The page of a module: what it is for, and its public names."""
    docstring = ast.get_docstring(_parsed(module)) or ""
    lines = [f"# {module}", "", docstring, ""]
    if names:
        lines += ["| name | what it is |", "|---|---|"]
        lines += [
            f"| [`{name.removeprefix(f'{module}.')}`]({name.rpartition('.')[2]}.md) "
            f"| {_cell(summary_of(name))} |"
            for name in names
        ]
        return "\n".join([*lines, ""])
    lines += ["The commands use this package; none of its names is public. Its modules:", ""]
    lines += ["| module | what it is for |", "|---|---|"]
    paths = sorted(module_file(module).parent.glob("[a-z]*.py"))
    return "\n".join(
        [*lines, *(f"| `{p.stem}` | {_cell(summary_of(f'{module}.{p.stem}'))} |" for p in paths), ""]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def name_page(name: str) -> str:
    """The page of a function or a class, which mkdocstrings fills from its docstring."""
    head = ["---", f"title: {name}", "---", ""]
    if table := options_table(name):
        # The options come first; the constructor's arguments are the same once more.
        options = ["    options:", "      show_root_heading: false", "      show_bases: false"]
        options.append("      show_docstring_description: false")
        head += [f"# {name}", "", summary_of(name), "", *table, ""]
        return "\n".join([*head, f"::: {name}", *options, ""])
    return "\n".join([*head, f"::: {name}", ""])


def options_table(name: str) -> list[str]:
    """The options of a configuration, from their declarations; empty for anything else."""
    module, _, attribute = name.rpartition(".")
    module = top_level_homes().get(attribute, module) if module == "tfgen" else module
    if not module.endswith(".config") and not module.startswith("tfgen.settings."):
        return []
    target = getattr(importlib.import_module(module), attribute)
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    fields = tuple(field for field in fields if "help" in field.metadata)
    if not fields:
        return []
    types = typing.get_type_hints(target)
    rows = [
        f"| `{field.name}` | `{_cell(_type_text(types[field.name]))}` "
        f"| {_default_text(field)} | {_cell(_help_text(field))} |"
        for field in fields
    ]
    return ["| option | type | default | what it is |", "|---|---|---|---|", *rows]


def _type_text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else _plain(str(annotation))


def _plain(text: str) -> str:
    return text.replace("typing.", "").replace("pathlib.", "")


def _default_text(field: dataclasses.Field[Any]) -> str:
    return "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def _help_text(field: dataclasses.Field[Any]) -> str:
    words = {"minimum": "at least", "maximum": "at most", "above": "more than"}
    limits = [f"{words[key]} {field.metadata[key]:g}" for key in words if field.metadata[key] is not None]
    return "; ".join([field.metadata["help"], *limits])
