"""`tfgen-export`: publishes the sampler of a run or of a `.keras` file as the next version.

With `--format litert` or `onnx`, it writes the decoder of any sampler to one file instead.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.publishing import versions
from tfgen.publishing.artifacts import identify, kind_at
from tfgen.settings.fields import Config, option
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly
from tfgen.training.checkpoint import WEIGHTS_HELP, check_choice
from tfgen.training.folder import RunFolder, run_name, saved_config

from ._command import (
    SAVED_MODELS,
    check_output,
    run_command,
    say_missing_best,
    suggest_next,
    terminable,
)
from ._flags import Parser, add_flags, read_flags, read_path

PROG = "tfgen-export"
# The extension of each format that is one file.
SUFFIXES = {"litert": ".tflite", "onnx": ".onnx"}


@dataclass(frozen=True)
class ExportOptions(Config):
    """The flags of `tfgen-export`."""

    format: Literal["savedmodel", "litert", "onnx"] = option(
        "savedmodel",
        "savedmodel: publish a version; litert, onnx: write one file that computes images from "
        "latents without TensorFlow (onnx needs the extra [formats])",
    )
    out: Path | None = option(
        None, "file of --format litert or onnx (default: NAME-decode.tflite, NAME-decode.onnx)"
    )
    to: Path = option(SAVED_MODELS, "folder of published samplers")
    name: str | None = option(
        None, "name to publish under (default: from model and data set, as tfgen-train does)"
    )
    weights: str = option("best", WEIGHTS_HELP)
    dry_run: bool = option(False, "print what would be published, and write nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.weights)
        if self.format == "savedmodel" and self.out is not None:
            raise UsageError(
                "--out is the file of --format litert or onnx; a version is published in --to"
            )
        if self.format != "savedmodel" and (self.name is not None or self.dry_run):
            raise UsageError(
                f"--format {self.format} publishes nothing; leave out --name and --dry-run"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Publish the sampler of a run or of a .keras file as the next version of its name, or "
        "write its decoder to one file.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        type=read_path,
        help="run directory or .keras file; with --format litert or onnx also the name of a "
        "published sampler, for example vae, or the folder of a version",
    )
    add_flags(parser, ExportOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, ExportOptions)
    path = namespace.run
    if options.format != "savedmodel":
        convert(path, options)
        return
    if kind_at(path) not in ("run", "keras"):
        raise UsageError(f"{path} is neither a run directory nor a .keras file")
    import_quietly("tensorflow_probability", "tfgen.publishing.export", "tfgen.publishing.opening")
    export_model(path, options)


def export_model(path: Path, options: ExportOptions) -> None:
    """Publishes the model of a run or of a file, or prints what would be published.

    Raises:
        UsageError: there is no model to publish, or it cannot be published under that name.
        WorkError: the run or the file is damaged.
    """
    from tfgen.publishing import export, opening
    from tfgen.system.status import status

    if path.is_file():
        with status(f"opening {path}"):
            model, weights, evaluation = opening.load(path), None, None
        run = registry.describe_model(model)
        default = registry.default_name(run["family"], registry.DEFAULT_DATASET, model.config)
    else:
        with status(f"opening {path}"):
            model, weights = opening.load_run(path, options.weights)
        run, default = RunFolder(path).read_record(), run_name(saved_config(path))
        say_missing_best(path, options.weights, weights.name)
        evaluation = RunFolder(path).read_evaluation(export.weights_sha256(model))
    name = default if options.name is None else options.name
    if options.dry_run:
        plain = export.in_float32(model)
        traced = export.trace(plain)
        export.check_publishable(plain, options.to, name, traced)
        source = "last weights" if weights is None else f"weights of {weights}"
        print(describe(name, export.describe(traced), source, options.to))
        return
    with status("publishing"):
        version = export.publish(
            model,
            options.to,
            name,
            run=run,
            weights="last" if weights is None else weights.name,
            origin=None if weights is None else weights.origin,
            evaluation=evaluation,
        )
    source = "" if weights is None else f" from {weights}"
    print(f"published {version}{source}; {suggest_next(run['family'], version)}")
    if not (version / export.WARMUP).exists():
        print(
            "without warm-up requests: they need the extra [serving], pip install 'tfgen[serving]'"
        )


def describe(name: str, signatures: dict[str, Any], source: str, to: Path) -> str:
    """The text of `--dry-run`: name, number, what weights, and all signatures."""
    lines = [f"would publish {to / name / str(versions.next_number(to, name))}, {source}"]
    for signature, tensors in signatures.items():
        lines.append(f"  {signature:<10}{describe_signature(tensors)}")
    return "\n".join(lines)


def describe_signature(tensors: dict[str, dict[str, Any]]) -> str:
    """Inputs and outputs of a signature: names, dtypes, and shapes with the batch size B."""
    return " → ".join(
        ", ".join(
            f"{name}: {tensor['dtype']}[{', '.join(['B', *map(str, tensor['shape'][1:])])}]"
            for name, tensor in tensors[side].items()
        )
        for side in ("inputs", "outputs")
    )


def convert(path: Path, options: ExportOptions) -> None:
    """Writes the decoder of a run, a file or a published version to one file.

    Args:
        path: run directory, `.keras` file, folder of a version, or name of a published sampler.
        options: the flags; `to` is the folder in which a name is looked up.

    Raises:
        UsageError: there is no such sampler, it makes no images, or the file cannot be written.
        WorkError: the sampler is damaged, or it cannot be converted.
    """
    if options.format == "onnx" and importlib.util.find_spec("tf2onnx") is None:
        raise UsageError("--format onnx needs the extra [formats]: pip install 'tfgen[formats]'")
    artifact = identify(path, options.to)
    path, kind = artifact.path, artifact.kind
    if artifact.version is not None:
        name = artifact.version.name
    elif kind in ("run", "keras"):
        name = path.stem if kind == "keras" else run_name(saved_config(path))
    else:
        raise UsageError(
            f"{path} is neither a run directory nor a .keras file nor a published version"
        )
    suffix = SUFFIXES[options.format]
    out = options.out or Path(f"{name}-decode{suffix}")
    check_output(out, (suffix,))
    import_quietly("tensorflow_probability", "tfgen.publishing.opening", "tfgen.publishing.formats")
    from tfgen.publishing import formats, opening
    from tfgen.system.status import status

    with terminable("terminated; nothing was written"):
        with status(f"opening {path}"):
            if kind == "run":
                sampler, weights = opening.load_run(path, options.weights)
                say_missing_best(path, options.weights, weights.name)
            else:
                sampler = opening.load(path)
        with status(f"converting to {options.format}"):
            decoder = formats.convert(sampler, options.format)
        write_bytes(out, decoder.content)
    megabytes = len(decoder.content) / 1e6
    print(f"wrote {out}, {megabytes:.1f} MB: {describe_signature(decoder.signature)}")
    print(f"run it with: {describe_call(options.format, out, list(decoder.signature['inputs']))}")


def describe_call(file_format: str, path: Path, inputs: list[str]) -> str:
    """The expression of Python that runs a converted decoder."""
    if file_format == "onnx":
        arguments = ", ".join(f'"{name}": {name}' for name in inputs)
        return f'onnxruntime.InferenceSession("{path}").run(None, {{{arguments}}})[0]'
    arguments = ", ".join(f"{name}={name}" for name in inputs)
    interpreter = f'ai_edge_litert.interpreter.Interpreter("{path}")'
    return f'{interpreter}.get_signature_runner("decode")({arguments})["images"]'


if __name__ == "__main__":
    raise SystemExit(main())
