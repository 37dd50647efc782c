"""`tfgen-evaluate`: evaluates samples and likelihood of a model, or images from anywhere."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tfgen.errors import UsageError, size_text
from tfgen.evaluation.compare import compare, copied_images, decode_picture
from tfgen.evaluation.job import EvaluationRequest, count_images
from tfgen.evaluation.reading import read_evaluation
from tfgen.publishing import versions
from tfgen.publishing.artifacts import Artifact, identify
from tfgen.settings.fields import option
from tfgen.system.atomic import read_json, write_json
from tfgen.system.quiet import import_quietly
from tfgen.system.status import status
from tfgen.system.terminal import count_noun, print_line
from tfgen.training.folder import RunFolder

from ._command import check_output, command, describe_skipped, say_missing_best
from ._data_sets import DataSetOptions, open_data_set
from ._flags import argument
from ._samplers import ModelOptions
from .compare import show


@dataclass(frozen=True)
class EvaluateOptions(EvaluationRequest, DataSetOptions, ModelOptions):
    """The arguments of `tfgen-evaluate`."""

    what: str = argument(
        "RUN|NAME|FOLDER|FILE.npz",
        "run, published name, archive or version; or folder of pictures or shards, or NPZ file",
    )
    samples: bool = option(True, "judge samples")
    likelihood: bool = option(True, "estimate the likelihood")
    features: str | None = option(
        None,
        "source of features: classifier, random, or the path of your own SavedModel or .keras file "
        "(default: the classifier of the data set if there is one, else random)",
    )
    features_range: str | None = option(
        None,
        "values of black and white that the network of --features PATH takes: 0,1 or -1,1 or "
        "0,255, as in --features-range=-1,1; required unless it takes bytes",
    )
    classifier: str | None = option(
        None, "classifier that computes the features, by name or folder (default: by the data set)"
    )
    out: Path | None = option(
        None,
        "JSON file to write (default: evaluation.json of the run, the manifest of your own "
        "version, or NAME-evaluation.json)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.samples and not self.likelihood:
            text = "--no-samples and --no-likelihood leave nothing to evaluate"
            raise UsageError(f"{text}; leave out one of the two flags")
        if self.classifier is not None and self.features not in (None, "classifier"):
            raise UsageError(f"--classifier and --features {self.features} exclude each other")
        if self.features_range and self.features in (None, "classifier", "random"):
            raise UsageError("--features-range is for a network of your own; pass --features PATH")


@command("tfgen-evaluate", EvaluateOptions)
def main(options: EvaluateOptions) -> None:
    """Evaluate samples and likelihood of a run or of a published version on a data set.

    Images from any program can be evaluated as well.
    """
    import_quietly("tensorflow_probability", "tfgen.evaluation.evaluate")
    from tfgen.evaluation import evaluate as evaluation
    from tfgen.evaluation.own_network import choose_extractor

    console = Console()
    source, dataset = open_both(options, console)
    out = destination(source, options)
    if options.likelihood and source.no_model:
        print_line(console, f"no likelihood, samples only: {source.no_model}")
    # Not in a version's folder: a version with an unknown file is broken.
    hidden = Path(f".{source.path.parent.name}-{source.path.name}")
    partial_path = hidden if source.kind == "version" else out
    job, network = evaluation.Job(source, dataset, options, partial_path, console), None
    if options.samples:
        with status("opening the network for features"):
            choice: Any = options.classifier or options.features, options.features_range
            network = choose_extractor(dataset.name, job.n, options.saved_models, *choice)
    result = evaluation.evaluate(job, network, options.likelihood)
    # Read only now: another evaluation may have ended in the meantime.
    result = evaluation.merge(read_result(out), result)
    write_result(out, result)
    written = [out]
    is_of_run = source.kind == "run" and out == RunFolder(source.path).evaluation
    if is_of_run:
        written += write_to_versions(result, options.saved_models)
    for path in job.partial_files:
        path.unlink(missing_ok=True)
    tables = compare([read_evaluation(str(out), options.saved_models)])
    if options.samples and (is_of_run or any(copied_images(row.group) for row in tables[0].rows)):
        picture = out.with_name(f"{out.stem}-nearest.png")
        if is_of_run:
            picture = source.path / "figures" / "nearest.png"
        elif out.name == versions.MANIFEST:  # a version may not hold further files
            picture = Path(f"{source.path.parent.name}-{source.path.name}-nearest.png")
        write_nearest(result, picture)
        written.append(picture)
    show(tables)
    for line in [*sample_notes(result), *(f"written to {path}" for path in written)]:
        print_line(console, line)


# --- what is evaluated
# ------------------------------------------------------------------------------------------------


def open_both(options: EvaluateOptions, console: Console) -> tuple[Any, Any]:
    """The model or the images to evaluate, and the data set.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is evaluated is damaged.
    """
    from tfgen.evaluation.sources import open_source

    what = options.what
    artifact = identify(what, options.saved_models, options.version)
    if artifact.kind in ("npz", "folder", "shards"):
        return open_images(artifact, options, console)
    if artifact.kind not in ("run", "version"):
        text = f"{what} cannot be evaluated; pass a run, a published name, an archive, a version"
        raise UsageError(f"{text}, a folder of pictures or shards, or an NPZ file")
    if artifact.path != Path(what) and Path(what).is_dir():
        text = f"{what} is a folder and the name of a model; for the folder, pass ./{what}"
        raise UsageError(f"{text}, for the model, run the command in another folder")
    with status(f"opening {what}"):
        source = open_source(artifact, options.weights, options.sampling)
    if source.kind == "run":
        say_missing_best(source.path, options.weights, source.weights)
    destination(source, options)  # refuses a wrong one before the data set is loaded
    if not options.samples and source.density is None:
        reason = source.no_model or f"{source.title} has no likelihood"
        raise UsageError(f"{reason}; leave out --no-samples")
    with status("loading the data set"):
        dataset = open_data_set(options, source.training, source.title)
    source.check_images(dataset, options.split)
    return source, dataset


def open_images(artifact: Artifact, options: EvaluateOptions, console: Console) -> tuple[Any, Any]:
    """A folder, an NPZ file or shards to evaluate, and the data set; says what was read.

    Raises:
        UsageError: the request is wrong, or there are no images like those of the data set.
        WorkError: a shard is missing, or the manifest of the shards is damaged.
    """
    from tfgen.data.pictures import find_files
    from tfgen.evaluation import sources
    from tfgen.evaluation.job import phase

    what, path = options.what, artifact.path
    if not options.samples:
        raise UsageError(f"{what} holds images, which have no likelihood; leave out --no-samples")
    manifest = sources.find_shards(path) if artifact.kind == "shards" else None
    files = [] if manifest else find_files([path])
    if not manifest and options.dataset is None:
        raise UsageError(f"{what} holds images; name the data set to compare with: --dataset")
    with status("loading the data set"):
        training = manifest.request.training if manifest else {}
        dataset = open_data_set(options, training, f"the model of {what}")
    most = count_images(dataset, options)  # before they are read, which takes long
    if manifest is not None:
        images = sources.open_shards(path, manifest, most, options.seed)
        images.check_images(dataset, options.split)
        available, number = manifest.request.n, count_noun(manifest.request.num_shards, "shard")
        lines = [f"{what}: {count_noun(available, 'image')} in {number}"]
    else:
        shape = dataset.image_shape
        with phase(console, "reading images", len(files)) as advance:
            images = sources.open_images(path, files, shape, most, options.seed, advance)
        available, lines = images.n or 0, reading_notes(images)
    for line in lines:
        print_line(console, line)
    if options.n is not None and available < options.n:
        raise UsageError(f"n = {options.n} is too large; {what} has {available} images")
    return images, dataset


def reading_notes(images: Any) -> list[str]:
    """Which images of a `SampleSource` were read, resized and skipped."""
    reading, n, lines = images.reading, len(images.images), []
    if n < reading["available"] - reading["skipped"]:
        lines.append(f"{n} of {reading['available']} images, drawn at random")
    if reading["resized"]:
        size = size_text(images.image_shape[:2])
        lines.append(f"{reading['resized']} of other sizes: resized to {size}, {reading['rule']}")
    return [*lines, *describe_skipped(images.skipped)]


# --- files
# ------------------------------------------------------------------------------------------------


def destination(source: Any, options: EvaluateOptions) -> Path:
    """The file that the result is written to.

    The default is evaluation.json of a run, or the manifest of a version. For a shipped version, an
    archive and images, it is a file in the current folder.

    Args:
        source: what is evaluated.
        options: `what` and `out` are read.

    Raises:
        UsageError: the file cannot be written, or is not a place for an evaluation.
    """
    is_version, manifest = source.kind == "version", Path(source.path / versions.MANIFEST)
    out, is_archive = options.out, Path(options.what).is_file()
    has_own = is_version and not is_archive and source.path.name != str(versions.SHIPPED)
    if has_own if out is None else is_version and out.resolve() == manifest.resolve():
        return manifest
    if out is None and source.kind == "run":
        out = RunFolder(source.path).evaluation
    elif out is None:
        name = f"{source.path.parent.name}-{source.path.name}" if is_version else source.title
        out = Path(f"{name}-evaluation.json")
    elif out.name in (versions.MANIFEST, "config.json"):
        raise UsageError(f"cannot write {out}: runs and versions have a file of that name")
    check_output(out, (".json",))
    return out


def read_result(out: Path) -> dict[str, Any]:
    """The previous evaluation; empty if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        content = read_json(out)
        return dict((content.get("evaluation") if out.name == versions.MANIFEST else content) or {})
    return {}


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Write an evaluation, whole or not at all."""
    if out.name == versions.MANIFEST:
        versions.write_evaluation(out.parent, result)
    else:
        write_json(out, result)


def write_to_versions(result: dict[str, Any], saved_models: Path) -> list[Path]:
    """Write an evaluation into the versions that were published from the same weights."""
    from tfgen.evaluation.evaluate import merge

    found, sha256 = versions.manifests(saved_models), result["weights_sha256"]
    paths = [path / versions.MANIFEST for path, m in found if m["weights_sha256"] == sha256]
    for path in paths:
        write_result(path, merge(read_result(path), result))
    return paths


def write_nearest(result: dict[str, Any], path: Path) -> None:
    """Write a picture of samples, and below them the training images nearest to them."""
    from tfgen.figures import GridAxis, grid_figure, save_figure

    path.parent.mkdir(exist_ok=True)
    pixels = np.atleast_3d(decode_picture(result["nearest_picture"]))
    rows = GridAxis("", ("samples", "training images"))
    title = "samples, and below each the nearest training image"
    save_figure(grid_figure(pixels, title, rows), path)


def sample_notes(result: dict[str, Any]) -> list[str]:
    """Notes on the metrics of samples, one per line; none without samples."""
    if "samples" not in result:
        return []
    copies = result["samples"]["copies"]
    few = f"no FID: it needs more images than the network has features, and n is {result['n']}"
    return [
        *[few] * ("fid" not in result["samples"]),
        *[f"real images: as many {result.get('floor_images')} images"] * ("floor_images" in result),
        f"median distance to the nearest training image: {copies['distance']:.2f}, of held-out "
        f"images {copies['distance_of_held_out']:.2f}",
    ]
