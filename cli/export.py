"""`tfgen-export`: publishes the sampler of a run or of a `.keras` file as the next version."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.publishing import versions
from tfgen.settings.fields import Config, option
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder, run_name, saved_config

from ._command import SAVED_MODELS, run_command, suggest_next
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-export"


@dataclass(frozen=True)
class ExportOptions(Config):
    """The flags of `tfgen-export`."""

    to: Path = option(SAVED_MODELS, "folder of published samplers")
    name: str | None = option(
        None, "name to publish under (default: from model and data set, as tfgen-train does)"
    )
    weights: Literal["best", "last"] = option(
        "best",
        "weights of a run: best (by validation loss, if the family has one) or last",
    )
    dry_run: bool = option(False, "print what would be published, and write nothing")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG, "Publish the sampler of a run or of a .keras file as the next version of its name."
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory or .keras file")
    add_flags(parser, ExportOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, ExportOptions)
    path = namespace.run
    if not RunFolder(path).config.is_file() and not (path.suffix == ".keras" and path.is_file()):
        raise UsageError(f"{path} is no run directory and no .keras file")
    import_quietly("tensorflow_probability", "tfgen.publishing.export", "tfgen.publishing.opening")
    export_model(path, options)


def export_model(path: Path, options: ExportOptions) -> None:
    """Publishes the model of a run or of a file, or prints what would be published.

    Raises:
        UsageError: there is no model to publish, or it cannot be published under that name.
        WorkError: the run or the file is damaged.
    """
    from tfgen.publishing import export, opening

    if path.is_file():
        model, weights, evaluation = opening.load(path), "last", None
        run = registry.describe_model(model)
        default = registry.default_name(run["family"], registry.DEFAULT_DATASET, model.config)
    else:
        model, weights = opening.load_run(path, options.weights)
        run, default = RunFolder(path).read_config(), run_name(saved_config(path))
        evaluation = RunFolder(path).read_evaluation(export.weights_sha256(model))
    name = default if options.name is None else options.name
    if options.dry_run:
        plain = export.in_float32(model)
        traced = export.trace(plain)
        export.check_publishable(plain, options.to, name, traced)
        print(describe(name, export.describe(traced), weights, options.to))
        return
    version = export.publish(
        model, options.to, name, run=run, weights=weights, evaluation=evaluation
    )
    print(f"published {version}; {suggest_next(run['family'], version)}")
    if not (version / export.WARMUP).exists():
        print(
            "without warm-up requests: they need the extra [serving], pip install 'tfgen[serving]'"
        )


def describe(name: str, signatures: dict[str, Any], weights: str, to: Path) -> str:
    """The text of `--dry-run`: name, number, weights, and all signatures."""

    def list_tensors(tensors: dict[str, Any]) -> str:
        sizes = {key: ["B", *map(str, tensor["shape"][1:])] for key, tensor in tensors.items()}
        return ", ".join(
            f"{key}: {tensors[key]['dtype']}[{', '.join(size)}]" for key, size in sizes.items()
        )

    lines = [f"would publish {to / name / str(versions.next_number(to, name))}, {weights} weights"]
    for signature, tensors in signatures.items():
        inputs, outputs = list_tensors(tensors["inputs"]), list_tensors(tensors["outputs"])
        lines.append(f"  {signature:<10}{inputs} → {outputs}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
