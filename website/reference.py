"""The reference: a page for each public name, filled from its docstring."""

import ast
import dataclasses
import importlib
import inspect
import re
import typing
from typing import Any

from website.names import module_file, parsed, top_level_homes

MODELS = ("tfgen.VAE", "tfgen.GAN", "tfgen.Flow", "tfgen.FlowMatching", "tfgen.Classifier")
INHERITED = (
    *("compile", "fit", "evaluate", "summary", "default_optimizers", "signatures"),
    *("save", "start_from"),
    *("sample", "latents", "decode", "encode", "log_prob", "posterior", "prior", "likelihood"),
    *("sample_terms", "bound", "posterior_moments", "networks"),
)


def page_uri(module: str, name: str = "") -> str:
    """Path of a page within the site: of a module, or of a name that it presents."""
    folder = "reference" if module == "tfgen" else f"reference/{module.removeprefix('tfgen.')}"
    return f"{folder}/{name.rpartition('.')[2] or 'index'}.md"


def summary_of(name: str) -> str:
    """The first line of the docstring of a module or of a name within it."""
    if module_file(name).exists():
        return _first_line(ast.get_docstring(parsed(name)))
    home, attribute = _home_of(name)
    attribute = "load" if attribute == "load_data" else attribute
    body = parsed(home).body
    for index, node in enumerate(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return _first_line(ast.get_docstring(node))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == attribute:
            return _first_line(_text_of(body[index + 1]))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tfgen"):
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return summary_of(f"{node.module}.{alias.name}")
    raise LookupError(f"{name} is not defined in {home}")


def _home_of(name: str) -> tuple[str, str]:
    """The module that defines a name, and its name there."""
    module, _, attribute = name.rpartition(".")
    return top_level_homes().get(attribute, module) if module == "tfgen" else module, attribute


def _text_of(node: ast.stmt) -> str:
    """The string that stands alone as a statement: the docstring of the assignment before it."""
    return str(ast.literal_eval(node.value)) if isinstance(node, ast.Expr) else ""


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n\n")[0].replace("\n", " ")


def module_page(module: str, names: list[str]) -> str:
    """The page of a module: what it is for, and its public names."""
    lines = [f"# {module}", "", ast.get_docstring(parsed(module)) or "", ""]
    if names:
        lines += ["| name | what it is |", "|---|---|"]
        for name in names:
            link = f"[`{name.removeprefix(f'{module}.')}`]({name.rpartition('.')[2]}.md)"
            lines.append(f"| {link} | {_cell(summary_of(name))} |")
        return "\n".join([*lines, ""])
    lines += ["The commands use this package; none of its names is public. Its modules:", ""]
    lines += ["| module | what it is for |", "|---|---|"]
    for path in sorted(module_file(module).parent.glob("[a-z]*.py")):
        lines.append(f"| `{path.stem}` | {_cell(summary_of(f'{module}.{path.stem}'))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def name_page(name: str) -> str:
    """The page of a function or a class, which mkdocstrings fills from its docstring."""
    lines = ["---", f"title: {name}", "---", ""]
    options: list[str] = []
    if table := options_table(name):
        # The options come first; the constructor's arguments are the same once more.
        lines += [f"# {name}", "", summary_of(name), "", *table, ""]
        hidden = ("root_heading", "bases", "docstring_description")
        options = [f"show_{part}: false" for part in hidden]
    elif name in MODELS:
        # Of what models inherit, a script uses these; the base classes have pages with the rest.
        options = [f"inherited_members: [{', '.join(INHERITED)}]"]
    block = ["    options:", *(f"      {option}" for option in options)] if options else []
    return "\n".join([*lines, f"::: {name}", *block, ""])


def options_table(name: str) -> list[str]:
    """The options of a configuration, from their declarations; empty for anything else."""
    module, attribute = _home_of(name)
    if not module.endswith(".config") and not module.startswith("tfgen.settings."):
        return []
    target = getattr(importlib.import_module(module), attribute)
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    if not any("help" in field.metadata for field in fields):
        return []
    types = typing.get_type_hints(target)
    rows = [
        f"| `{field.name}` | {_type_text(types[field.name])} "
        f"| {_default_text(field)} | {_cell(_help_text(target, field))} |"
        for field in sorted(fields, key=lambda field: "help" not in field.metadata)
    ]
    return ["| option | type | default | what it is |", "|---|---|---|---|", *rows]


def _type_text(annotation: Any) -> str:
    """A type for a cell of a table; of a literal its values."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value!r}`" for value in typing.get_args(annotation))
    if isinstance(annotation, type):
        return f"`{annotation.__name__}`"
    text = str(annotation).replace("typing.", "").replace("pathlib.", "")
    return f"`{_cell(text)}`"


def _default_text(field: dataclasses.Field[Any]) -> str:
    return "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def _help_text(target: type, field: dataclasses.Field[Any]) -> str:
    """What a field is, with its range; a field without a flag is an attribute of a docstring."""
    words = {"minimum": "at least", "maximum": "at most", "above": "more than"}
    limits = [
        f"{word} {field.metadata[key]:g}"
        for key, word in words.items()
        if field.metadata.get(key) is not None
    ]
    if "help" in field.metadata:
        return "; ".join([field.metadata["help"], *limits])
    docstrings = "\n".join(inspect.getdoc(base) or "" for base in target.__mro__)
    attribute = re.search(rf"^    {field.name}: (.*(?:\n {{8}}.*)*)", docstrings, re.M)
    return re.sub(r"\s+", " ", attribute[1]) if attribute else ""
