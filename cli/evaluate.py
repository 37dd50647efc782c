"""`tfgen-evaluate`: judges a model by its samples and its likelihood, or images of any source."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.publishing import versions
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder

from ._command import check_output, run_command, say_missing_best, terminable
from ._data_sets import open_data_set
from ._evaluate_images import open_shards, read_images
from ._evaluate_options import RANGES, EvaluateOptions
from ._flags import Parser, add_flags, read_flags
from ._metrics import print_result

PROG = "tfgen-evaluate"


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
    from tfgen.evaluation.job import Job
    from tfgen.system.terminal import print_line

    console = Console()
    subject, dataset = open_both(what, options, console)
    out = destination(subject, options.out)
    if options.likelihood and subject.no_model:
        print_line(console, f"no likelihood, samples only: {subject.no_model}")
    # Not in a version's folder: a version with an unknown file is broken.
    hidden = Path(f".{subject.path.parent.name}-{subject.path.name}")
    partial_path = hidden if subject.kind == "version" else out
    request = options.request()
    if subject.kind == "images":
        request = replace(request, n=subject.n)
    job = Job(subject, dataset, request, partial_path, console)
    extractor = open_extractor(job, options) if options.samples else None
    result = evaluation.evaluate(job, extractor, options.likelihood)
    # Read only now: another evaluation may have ended in the meantime.
    result = evaluation.merge(read_result(out), result)
    write_result(out, result)
    for partial in job.partial_values:
        partial.remove()
    if subject.kind == "run" and out == RunFolder(subject.path).evaluation:
        write_nearest(result, subject.path / "figures")
    print_result(result, console)
    print_line(console, f"written to {out}")


# --- what is evaluated, and by what
# ------------------------------------------------------------------------------------------------


def open_both(what: str, options: EvaluateOptions, console: Any) -> tuple[Any, Any]:
    """The model or the images to evaluate, and the data set.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is evaluated is damaged.
    """
    from tfgen.evaluation.images import find_images
    from tfgen.evaluation.shards import find_shards
    from tfgen.evaluation.subject import open_subject
    from tfgen.system.status import status

    manifest = find_shards(what, options.saved_models)
    if manifest is not None:
        return open_shards(what, manifest, options, console)
    source = find_images(what, options.saved_models)
    if source is not None:
        return read_images(what, source, options, console)
    with status(f"opening {what}"):
        subject = open_subject(what, options.saved_models, options.version, options.weights)
    if subject.kind == "run":
        say_missing_best(subject.path, options.weights, subject.weights)
    destination(subject, options.out)  # refuses a wrong one before the data set is loaded
    if not options.samples and subject.density is None:
        reason = subject.no_model or f"{subject.title} has no likelihood"
        raise UsageError(f"{reason}; leave out --no-samples")
    with status("loading the data set"):
        return subject, open_data(subject, options)


def open_extractor(job: Any, options: EvaluateOptions) -> Any:
    """The network that features come from.

    Raises:
        UsageError: there is no such network, or it is none that extracts features.
        WorkError: it is damaged, or holds what is not allowed.
    """
    from tfgen.evaluation.choice import choose_extractor
    from tfgen.system.status import status

    with status("opening the network for features"):
        return choose_extractor(
            job.dataset.name,
            job.n,
            options.saved_models,
            options.features,
            options.classifier,
            options.features_range,  # type: ignore[arg-type]
        )


def open_data(subject: Any, options: EvaluateOptions) -> Any:
    """The data set that the model was trained on, or the one of `--dataset`.

    Raises:
        UsageError: it is unknown, it is not the one of the training, or it does not suit the model.
    """
    dataset = open_data_set(options.dataset, options.data_dir, subject.run, subject.title)
    subject.check_images(dataset, options.split)
    return dataset


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
    from tfgen.evaluation.images import default_out

    manifest: Path = subject.path / versions.MANIFEST
    if asked is not None:
        check_output(asked, (".json",))
        if subject.kind == "version" and asked.resolve() == manifest.resolve():
            return manifest
        if asked.name in (versions.MANIFEST, "config.json"):
            raise UsageError(
                f"cannot write {asked}: the name {asked.name} is taken by runs and versions; "
                "choose another"
            )
        out = asked
    elif subject.kind == "run":
        out = RunFolder(subject.path).evaluation
    elif subject.kind == "images":
        out = default_out(subject.title)
    elif subject.path.name == str(versions.SHIPPED):
        out = Path(f"{subject.path.parent.name}-{subject.path.name}-evaluation.json")
    else:
        out = manifest
    check_output(out, (".json",))
    if out != manifest and (out.parent / versions.MANIFEST).is_file():
        raise UsageError(
            f"cannot write {out}: a version may not hold further files; choose another folder"
        )
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
    from tfgen.evaluation.compare import decode_picture
    from tfgen.figures import GridAxis, grid_figure, save_figure

    if "nearest_picture" in result:
        folder.mkdir(exist_ok=True)
        pixels = np.atleast_3d(decode_picture(result["nearest_picture"]))
        rows = GridAxis("", ("samples", "training images"))
        title = "samples, and below each the nearest training image"
        save_figure(grid_figure(pixels, title, rows), folder / "nearest.png")


if __name__ == "__main__":
    raise SystemExit(main())
