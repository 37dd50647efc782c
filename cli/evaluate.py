"""`tfgen-evaluate`: judges a model by its samples and its likelihood, or images of any source."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfgen.errors import UsageError, size_text
from tfgen.evaluation.compare import (
    decode_picture,
    feature_remarks,
    features_text,
    training_text,
)
from tfgen.evaluation.job import DEFAULT_N, EvaluationRequest
from tfgen.evaluation.metrics import find_metric
from tfgen.evaluation.reading import extractor
from tfgen.publishing import versions
from tfgen.publishing.artifacts import Artifact, identify
from tfgen.settings.fields import option
from tfgen.settings.training import MAX_SEED
from tfgen.system.quiet import import_quietly
from tfgen.system.terminal import count_noun, print_line
from tfgen.training.folder import RunFolder

from ._command import check_output, run_command, say_missing_best, terminable
from ._data_sets import DataSetOptions, open_data_set
from ._flags import Parser, add_flags, read_flags
from ._images import describe_skipped
from ._samplers import ModelOptions

PROG = "tfgen-evaluate"
# Pixels of black and white that a network of the user's own may take.
RANGES = ("0,1", "-1,1", "0,255")


@dataclass(frozen=True)
class EvaluateOptions(DataSetOptions, ModelOptions):
    """The flags of `tfgen-evaluate`."""

    split: Literal["test", "validation"] = option(
        EvaluationRequest.split, "held-out images that the model is judged by"
    )
    n: int | None = option(
        EvaluationRequest.n,
        "number of samples, and of held-out images "
        f"(default: the size of the split, at most {DEFAULT_N})",
        minimum=2,
    )
    importance_samples: int = option(
        EvaluationRequest.importance_samples,
        "importance samples per image, for a model with latent variables",
        minimum=1,
    )
    dequantizations: int = option(
        EvaluationRequest.dequantizations,
        "dequantization draws per image, for a model with an exact density",
        minimum=1,
    )
    samples: bool = option(True, "judge samples")
    likelihood: bool = option(True, "estimate the likelihood")
    seed: int = option(
        EvaluationRequest.seed,
        "seed for samples, random subsets of images, binarization, dequantization and importance "
        "samples",
        minimum=0,
        maximum=MAX_SEED,
    )
    features: str | None = option(
        None,
        "where features come from: classifier, random (a fixed random network), or the path of a "
        "network of your own, a SavedModel or a .keras file (default: the classifier of the data "
        "set if there is one, else random)",
    )
    features_range: str | None = option(
        None,
        "pixels that the network of --features PATH takes, from black to white: 0,1 or -1,1 or "
        "0,255; required unless it takes bytes",
    )
    classifier: str | None = option(
        None,
        "name, or version's folder, of the classifier that features come from "
        "(default: the classifier of the data set)",
    )
    out: Path | None = option(
        None,
        "JSON file to write (default: evaluation.json of the run, or the manifest of the version; "
        "for a shipped version, NAME-1-evaluation.json, for images, NAME-evaluation.json)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.samples and not self.likelihood:
            raise UsageError(
                "--no-samples and --no-likelihood leave nothing to judge; leave one of them out"
            )
        for name in ("features", "classifier"):
            if getattr(self, name) == "":
                raise UsageError(f"--{name} is empty; leave it out for the default")
        if self.classifier is not None and self.features not in (None, "classifier"):
            raise UsageError(f"--classifier and --features {self.features} exclude each other")
        if self.features_range and self.features in (None, "classifier", "random"):
            raise UsageError("--features-range is of a network of your own; pass --features PATH")
        if self.features_range not in (None, *RANGES):
            raise UsageError(
                f"--features-range {self.features_range} is unknown; use {' or '.join(RANGES)}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Judge a run or a published version by its samples and its likelihood, or images of any "
        "other source, against a data set.",
        conflict_handler="resolve",  # --version is a flag of its own
    )
    parser.add_argument(
        "what",
        metavar="RUN|NAME|FOLDER|FILE.npz",
        help="run directory, published name, folder of a version, of pictures or of shards, or NPZ "
        "file of images",
    )
    add_flags(parser, EvaluateOptions)
    namespace = parser.parse(_join_range(argv))
    options = read_flags(namespace, EvaluateOptions)
    import_quietly(
        "tensorflow_probability", "tfgen.evaluation.evaluate", "tfgen.evaluation.subject"
    )
    with terminable("terminated; run the same command again"):
        evaluate(namespace.what, options)


def _join_range(argv: Sequence[str]) -> list[str]:
    """The arguments with `--features-range -1,1` as one: argparse would read a flag -1,1."""
    words = list(argv)
    for index, word in enumerate(words[:-1]):
        if word == "--features-range" and words[index + 1] in RANGES:
            return [*words[:index], f"{word}={words[index + 1]}", *words[index + 2 :]]
    return words


def evaluate(what: str, options: EvaluateOptions) -> None:
    """Evaluate a run, a version or images, write the result and print it.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is evaluated is damaged.
    """
    from rich.console import Console

    from tfgen.evaluation import evaluate as evaluation
    from tfgen.evaluation.own_network import choose_extractor
    from tfgen.system.status import status

    console = Console()
    subject, dataset = open_both(what, options, console)
    out = destination(subject, options.out)
    if options.likelihood and subject.no_model:
        print_line(console, f"no likelihood, samples only: {subject.no_model}")
    # Not in a version's folder: a version with an unknown file is broken.
    hidden = Path(f".{subject.path.parent.name}-{subject.path.name}")
    partial_path = hidden if subject.kind == "version" else out
    request = EvaluationRequest(
        options.split,
        options.n,
        options.seed,
        options.importance_samples,
        options.dequantizations,
    )
    job, network = evaluation.Job(subject, dataset, request, partial_path, console), None
    if options.samples:
        with status("opening the network for features"):
            network = choose_extractor(
                dataset.name,
                job.n,
                options.saved_models,
                options.features,
                options.classifier,
                options.features_range,  # type: ignore[arg-type]
            )
    result = evaluation.evaluate(job, network, options.likelihood)
    # Read only now: another evaluation may have ended in the meantime.
    result = evaluation.merge(read_result(out), result)
    write_result(out, result)
    for path in job.partial_files:
        path.unlink(missing_ok=True)
    if subject.kind == "run" and out == RunFolder(subject.path).evaluation:
        write_nearest(result, subject.path / "figures")
    print_result(result, console)
    print_line(console, f"written to {out}")


# --- what is evaluated
# ------------------------------------------------------------------------------------------------


def open_both(what: str, options: EvaluateOptions, console: Any) -> tuple[Any, Any]:
    """The model or the images to evaluate, and the data set.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is evaluated is damaged.
    """
    from tfgen.evaluation.subject import open_subject
    from tfgen.system.status import status

    artifact = identify(what, options.saved_models, options.version)
    if artifact.kind in ("npz", "folder", "shards"):
        return open_images(what, artifact, options, console)
    if artifact.kind not in ("run", "version"):
        raise UsageError(
            f"{what} is neither a run nor a version; pass one of these, a folder of pictures or "
            "shards, an NPZ file of images, or the name of a published model"
        )
    if artifact.path != Path(what) and Path(what).is_dir():
        raise UsageError(
            f"{what} is a folder and the name of a published model; for the folder, pass ./{what}, "
            "for the model, run the command in another folder"
        )
    with status(f"opening {what}"):
        subject = open_subject(artifact, options.weights)
    if subject.kind == "run":
        say_missing_best(subject.path, options.weights, subject.weights)
    destination(subject, options.out)  # refuses a wrong one before the data set is loaded
    if not options.samples and subject.density is None:
        reason = subject.no_model or f"{subject.title} has no likelihood"
        raise UsageError(f"{reason}; leave out --no-samples")
    with status("loading the data set"):
        dataset = open_data_set(options, subject.training, subject.title)
    subject.check_images(dataset, options.split)
    return subject, dataset


def open_images(
    what: str, artifact: Artifact, options: EvaluateOptions, console: Any
) -> tuple[Any, Any]:
    """A folder, an NPZ file or shards to evaluate, and the data set; says what was read.

    Raises:
        UsageError: the request is wrong, or there are no images like those of the data set.
        WorkError: a shard is missing, or the manifest of the shards is damaged.
    """
    from tfgen.data.pictures import find_files
    from tfgen.evaluation import shards, subject
    from tfgen.evaluation.job import phase
    from tfgen.system.status import status

    if not options.samples:
        raise UsageError(f"{what} holds images, which have no likelihood; leave out --no-samples")
    path, is_shards = artifact.path, artifact.kind == "shards"
    manifest = shards.find_shards(path) if is_shards else None
    files = [] if is_shards else find_files([path])
    if not is_shards and options.dataset is None:
        raise UsageError(
            f"{what} holds images; name the data set that they are judged against with --dataset"
        )
    training = {} if manifest is None else manifest.request.training
    with status("loading the data set"):
        name = f"the model of {what}"
        dataset = open_data_set(options, training, name)
    held_out = len(getattr(dataset, options.split))
    most = min(options.n or DEFAULT_N, held_out)
    if manifest is not None:
        images = shards.open_shards(path, manifest, most, options.seed)
        images.check_images(dataset, options.split)
        available = manifest.request.n
        number = count_noun(manifest.request.num_shards, "shard")
        print_line(console, f"{what}: {count_noun(available, 'image')} in {number}")
    else:
        shape = dataset.image_shape
        with phase(console, "reading images", len(files)) as advance:
            images = subject.open_images(path, files, shape, most, options.seed, advance)
        available = images.n or 0
        for line in describe_reading(images):
            print_line(console, line)
    if options.n is not None and min(available, held_out) < options.n:
        raise UsageError(
            f"n = {options.n} is too large; there are {available} images in {what}, and "
            f"{held_out} in the {options.split} split"
        )
    return images, dataset


# --- files
# ------------------------------------------------------------------------------------------------


def destination(subject: Any, asked: Path | None) -> Path:
    """The file that the result is written to.

    By default evaluation.json of a run, or the manifest of a version. Version 1, which is shipped,
    keeps its manifest; its default is a file in the current folder, as that of images is.

    Args:
        subject: what is evaluated.
        asked: the value of `--out`.

    Raises:
        UsageError: the file cannot be written, or is not a place for an evaluation.
    """
    manifest: Path = subject.path / versions.MANIFEST
    is_version = subject.kind == "version"
    if asked is not None:
        if is_version and asked.resolve() == manifest.resolve():
            return manifest
        if asked.name in (versions.MANIFEST, "config.json"):
            raise UsageError(
                f"cannot write {asked}: the name {asked.name} is taken by runs and versions; "
                "choose another"
            )
        out = asked
    elif subject.kind == "run":
        out = RunFolder(subject.path).evaluation
    elif is_version and subject.path.name != str(versions.SHIPPED):
        return manifest
    else:
        name = f"{subject.path.parent.name}-{subject.path.name}" if is_version else subject.title
        out = Path(f"{name}-evaluation.json")
    check_output(out, (".json",))
    return out


def read_result(out: Path) -> dict[str, Any]:
    """The previous evaluation; empty if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        content = json.loads(out.read_text())
        return dict((content.get("evaluation") if out.name == versions.MANIFEST else content) or {})
    return {}


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Write an evaluation, whole or not at all."""
    from tfgen.system.atomic import write_bytes

    if out.name == versions.MANIFEST:
        versions.write_evaluation(out.parent, result)
    else:
        write_bytes(out, (json.dumps(result, indent=1) + "\n").encode())


def write_nearest(result: dict[str, Any], folder: Path) -> None:
    """Write nearest.png: samples, and below them the training images nearest to them."""
    from tfgen.figures import GridAxis, grid_figure, save_figure

    if "nearest_picture" in result:
        folder.mkdir(exist_ok=True)
        pixels = np.atleast_3d(decode_picture(result["nearest_picture"]))
        rows = GridAxis("", ("samples", "training images"))
        title = "samples, and below each the nearest training image"
        save_figure(grid_figure(pixels, title, rows), folder / "nearest.png")


# --- the terminal
# ------------------------------------------------------------------------------------------------


def print_result(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples, then likelihood and cost."""
    if "samples" in result:
        print_samples(result, console)
    for part in ("modes", "likelihood", "cost"):
        for key in result.get(part, {}):
            if not key.endswith("_error"):
                print_line(console, f"{label(part, key)}: {format_value(result, part, key)}")
    if result.get("train_on") == "all":
        print_line(console, training_text([result["title"]]))
    if "images" in result:
        print_line(console, "no likelihood and no cost: these are images, not a model")


def print_samples(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples next to those of real images and of noise."""
    from rich.markup import escape
    from rich.table import Table

    split, n, samples = result["dataset"]["split"], result["n"], result["samples"]
    kind = "images" if "images" in result else "samples"
    table = Table(title=escape(f"{result['title']}: {n} {kind} against {split} images"))
    for heading in ("", kind, "real images (floor)", "noise (ceiling)"):
        table.add_column(heading, justify="right" if heading else "left")
    for key, value in samples.items():
        if isinstance(value, float | int) and not key.endswith("_error"):
            sets = [{"samples": result[part]} for part in ("samples", "floor", "ceiling")]
            cells = [format_value(of_set, "samples", key) for of_set in sets]
            table.add_row(escape(label("samples", key)), *cells)
    console.print(table)
    lines = []
    if "fid" not in samples:
        lines.append(f"no FID: n = {n} images are too few for so many features")
    if "floor_images" in result:
        lines.append(f"floor: as many {result['floor_images']} images")
    copied = samples["copies"]
    lines.append(
        f"median distance to the nearest training image: {copied['distance']:.2f}, of held-out "
        f"images {copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} of the {kind} "
        "are nearer than the nearest 1 % of held-out images"
    )
    if "all_images" in result:
        lines.append(describe_all_images(result["all_images"], n))
    for line in [*lines, *describe_features(result)]:
        print_line(console, line)


def describe_all_images(metrics: Mapping[str, Any], n: int) -> str:
    """What was computed of all images of a folder of shards, in one line.

    Args:
        metrics: the part `all_images` of an evaluation.
        n: number of images that the table is of.
    """
    of_all = {"samples": metrics}
    values = (
        f"{label('samples', key)} {format_value(of_all, 'samples', key)}"
        for key, value in metrics.items()
        if isinstance(value, float | int) and key != "n"
    )
    drawn = "" if metrics["n"] == n else f" (the table is of {n}, drawn at random)"
    return f"all {metrics['n']} images{drawn}: {', '.join(values)}"


def describe_features(result: Mapping[str, Any]) -> list[str]:
    """Where features come from, and what they cannot tell."""
    description = extractor(result)
    text = f"features of {features_text(result)}"
    if "classifier" not in result:
        text += f", sha256 {description['sha256'][:12]}"
    if "range" in description:
        text += f", pixels in {description['range'].replace(',', ' … ')}"
    if description.get("accuracy") is not None:
        text += f", accuracy {description['accuracy']:.2%}"
    return [text, *feature_remarks(result)]


def describe_reading(images: Any) -> list[str]:
    """Which images were read, resized and skipped.

    Args:
        images: the subject of an evaluation.
    """
    reading, n = images.reading, len(images.images)
    lines = []
    if n < reading["available"] - reading["skipped"]:
        lines.append(f"{n} of {reading['available']} images, drawn at random")
    if reading["resized"]:
        size = size_text(images.image_shape[:2])
        lines.append(f"{reading['resized']} of other sizes: resized to {size}, {reading['rule']}")
    return [*lines, *describe_skipped(images.skipped)]


def label(part: str, key: str) -> str:
    """What a value of an evaluation is called at the terminal."""
    metric = find_metric(part, key)
    return key.replace("_", " ") if metric is None else metric.heading


def format_value(evaluation: Mapping[str, Any], part: str, key: str) -> str:
    """A value of an evaluation as a text, with its standard error if it has one."""
    metric, value = find_metric(part, key), evaluation[part].get(key, "")
    if metric is None or not isinstance(value, float):
        return f"{value:.5g}" if isinstance(value, float) else str(value)
    has_error = f"{key}_error" in evaluation[part]
    error = f" ± {metric.error(evaluation):.2g}" if has_error else ""
    return f"{metric.scale * value:.5g}{error}"


if __name__ == "__main__":
    raise SystemExit(main())
