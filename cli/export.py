"""`tfgen-export`: publishes a run or a `.keras` file as the next version, or writes one file.

With `--format archive`, the file is a whole published version; with `litert` or `onnx`, the decoder
of any model. With `page`, published versions become a page for any web host; with `hub`, one
becomes a folder for a model hub.
"""

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.publishing import listing, versions
from tfgen.publishing.artifacts import check_sampling, identify, kind_at
from tfgen.publishing.signatures import describe_signature
from tfgen.settings.fields import option
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly
from tfgen.system.status import status
from tfgen.system.terminal import format_bytes
from tfgen.training.checkpoint import WEIGHTS_HELP, check_choice
from tfgen.training.folder import RunFolder, run_name, saved_config

from . import _command
from ._flags import SamplingOptions, argument

# The extension of each format that is one file, and the expression that runs it.
FORMATS = {
    "litert": (
        ".tflite",
        'ai_edge_litert.interpreter.Interpreter("{path}")'
        '.get_signature_runner("decode")({arguments})["images"]',
    ),
    "onnx": (".onnx", 'onnxruntime.InferenceSession("{path}").run(None, dict({arguments}))[0]'),
}


@dataclass(frozen=True)
class ExportOptions(SamplingOptions):
    """The arguments of `tfgen-export`."""

    runs: tuple[Path, ...] = argument(
        "RUN",
        "what to export: a run directory or .keras file (savedmodel, litert, onnx); or a published "
        "name such as vae, the folder of a version, or an archive (all formats but savedmodel); "
        "page takes several",
    )
    format: Literal["savedmodel", "archive", "litert", "onnx", "page", "hub"] = option(
        "savedmodel",
        "savedmodel: publish a version; archive: a published version as one file, which all "
        "commands take in place of a name; litert, onnx: the decoder as one file that needs no "
        "TensorFlow; page: a folder for any web host, with the models in the browser; hub: a "
        "folder for a model hub, such as Hugging Face (onnx, page, hub need the extra [formats])",
    )
    out: Path | None = option(
        None, "file or folder to write in the other formats (default: named after model or format)"
    )
    license: str | None = option(
        None,
        "hub: licence in the card, as the hub names it, such as cc-by-4.0 (default: that of a "
        "shipped model, else none)",
    )
    url: str | None = option(
        None, "page: address where it will be published, for the preview picture of links to it"
    )
    to: Path = option(_command.SAVED_MODELS, "folder of published models")
    name: str | None = option(None, "name to publish under (default: from model and data set)")
    weights: str = option("best", WEIGHTS_HELP)
    dry_run: bool = option(False, "print what would be published, and write nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.weights)
        if self.format == "savedmodel" and self.out is not None:
            text = "--format savedmodel publishes a version in the folder of --to"
            raise UsageError(f"{text}; leave out --out")
        if self.format != "savedmodel" and (self.name is not None or self.dry_run):
            raise UsageError(f"--format {self.format} takes neither --name nor --dry-run")
        versions.check_name(self.name or "default")
        for flag, value, owner in (("license", self.license, "hub"), ("url", self.url, "page")):
            if value is not None and self.format != owner:
                text = f"--{flag} is for --format {owner} only"
                raise UsageError(f"{text}; leave out --{flag} with --format {self.format}")
        if len(self.runs) > 1 and self.format != "page":
            raise UsageError(f"--format {self.format} takes one RUN, not {len(self.runs)}")


@_command.command("tfgen-export", ExportOptions)
def main(options: ExportOptions) -> None:
    """Publish a run or a .keras file as the next version of its name.

    With another --format, write a published version or a decoder to one file, several versions to a
    web page, or one to a folder for a model hub.
    """
    if options.format in ("archive", "page", "hub"):
        (pack if options.format == "archive" else write_folder)(options)
        return
    if options.format != "savedmodel":
        convert(options, *FORMATS[options.format])
        return
    path = options.runs[0]
    if kind_at(path) not in ("run", "keras"):
        raise UsageError(f"{path} is neither a run directory nor a .keras file")
    import_quietly("tensorflow_probability", "tfgen.publishing.export", "tfgen.publishing.opening")
    from tfgen.models.export import in_float32, trace
    from tfgen.publishing import export

    model, weights = open_model(path, options)
    # What `export.publish` gets beside the configuration, for the manifest.
    about: dict[str, Any] = {}
    if weights is None:
        run = registry.describe_model(model)
        default = registry.default_name(run["family"], registry.DEFAULT_DATASET, model.config)
    else:
        run = RunFolder(path).read_record() | {"model": model.config.to_json()}
        default = run_name(saved_config(path))
        evaluation = RunFolder(path).read_evaluation(export.weights_sha256(model))
        about = {"weights": weights.name, "origin": weights.origin, "evaluation": evaluation}
    name = default if options.name is None else options.name
    if options.dry_run:
        plain = in_float32(model)
        traced = trace(plain)
        export.check_publishable(plain, options.to, name, traced)
        source = "last weights" if weights is None else f"weights of {weights}"
        number = str(versions.next_number(options.to, name))
        print(f"would publish {options.to / name / number}, {source}")
        for signature, tensors in export.manifest_signatures(traced).items():
            print(f"  {signature:<10}{describe_signature(tensors)}")
        return
    with status("publishing"):
        version = export.publish(model, options.to, name, run=run, **about)
    source = "" if weights is None else f" from {weights}"
    print(f"published {version}{source}; {_command.suggest_next(run['family'], version)}")
    if advice := listing.shipped_advice(versions.Version.at(version)):
        print(advice)
    if not (version / export.WARMUP).exists():
        text = "the version has no warm-up requests for TensorFlow Serving; they need the extra"
        print(f"{text} [serving]: pip install '.[serving]' in the checkout")


def pack(options: ExportOptions) -> None:
    """Write a published version to an archive.

    Raises:
        UsageError: there is no such version, or the file cannot be written.
        WorkError: the version is damaged.
    """
    version = find_version(options.runs[0], options)
    out = options.out or Path(f"{version.name}{versions.ARCHIVE}")
    _command.check_output(out, (versions.ARCHIVE,))
    versions.write_archive(version, out)
    size = format_bytes(out.stat().st_size)
    print(f"wrote {out}, {size}; every command takes it in place of a name")


def find_version(run: Path, options: ExportOptions) -> versions.Version:
    """The published version that an argument names.

    Raises:
        UsageError: there is none, or options of sampling were passed.
        WorkError: an archive is damaged.
    """
    version = identify(run, options.to).version
    if version is None:
        raise UsageError(f"{run} is not published; first run: tfgen-export {run}")
    check_sampling("version", run, options.sampling)
    return version


def write_folder(options: ExportOptions) -> None:
    """Write published versions to a folder: a page for any web host, or one for a model hub.

    Raises:
        UsageError: one of them is not published, or the folder cannot be written.
        WorkError: a version is damaged, or cannot be converted.
    """
    check_extra(options)
    out = options.out or Path(options.format)
    _command.check_folder(out)
    chosen = [find_version(run, options) for run in options.runs]
    import_quietly("tfgen.publishing.sampler", "tfgen.publishing.formats", "tensorflow_datasets")
    from tfgen.serving import card, static

    if options.format == "page":
        static.write_page(chosen, out, options.url or "")
        advice = f"look at it with: python -m http.server --directory {shlex.quote(str(out))}"
    else:
        card.write_hub(chosen[0], out, options.license)
        advice = f"upload it with: hf upload USER/{chosen[0].name} {shlex.quote(str(out))}"
        if not options.license and not versions.is_shipped(chosen[0].path):
            advice = f"the card states no licence; pass --license to add one\n{advice}"
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    names = ", ".join(version.name for version in chosen)
    print(f"wrote {out}, {format_bytes(size)}: {names}\n{advice}")


def open_model(path: Path, options: ExportOptions) -> tuple[Any, Any]:
    """The model of a run with its weights, or of a file or a version, whose weights are None.

    Raises:
        UsageError: the run does not have these weights, or the model no such option of sampling.
        WorkError: the run, file or version is damaged.
    """
    from tfgen.publishing import opening

    with status(f"opening {path}"):
        if kind_at(path) != "run":
            return opening.load(path, **options.sampling), None
        model, weights = opening.load_run(path, options.weights)
        model.set_sampling(**options.sampling)
    _command.say_missing_best(path, options.weights, weights.name)
    return model, weights


def convert(options: ExportOptions, suffix: str, call: str) -> None:
    """Write the decoder of a run, a file or a published version to one file.

    Args:
        options: RUN is a run directory, `.keras` file, archive, folder of a version, or a name,
            which is looked up in `to`.
        suffix: the extension of the file.
        call: the Python expression that runs it.

    Raises:
        UsageError: there is no such model, it makes no images, or the file cannot be written.
        WorkError: the model is damaged, or it cannot be converted.
    """
    check_extra(options)
    artifact = identify(options.runs[0], options.to)
    path = artifact.path
    name = path.stem if artifact.version is None else artifact.version.name
    if artifact.kind == "run":
        name = run_name(saved_config(path))
    out = options.out or Path(f"{name}-decode{suffix}")
    _command.check_output(out, (suffix,))
    import_quietly("tensorflow_probability", "tfgen.publishing.opening", "tfgen.publishing.formats")
    from tfgen.publishing import formats

    sampler, _ = open_model(path, options)
    with status(f"converting to {options.format}"):
        content, signature = formats.convert(sampler, options.format)
    write_bytes(out, content)
    print(f"wrote {out}, {format_bytes(len(content))}: {describe_signature(signature)}")
    arguments = ", ".join(f"{name}={name}" for name in signature["inputs"])
    print(f"run it with: {call.format(path=out, arguments=arguments)}")


def check_extra(options: ExportOptions) -> None:
    """Refuse a format whose converter is not installed.

    Raises:
        UsageError: the extra `[formats]` is missing.
    """
    if options.format != "litert" and importlib.util.find_spec("tf2onnx") is None:
        extra = "the extra [formats]: pip install '.[formats]' in the checkout"
        raise UsageError(f"--format {options.format} needs {extra}")
