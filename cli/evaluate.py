"""`tfgen-evaluate`: judges a run or a published version by its samples, and by a likelihood if it
has one."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.options import EvaluateOptions
from tfgen.publishing import versions
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder

from ._command import check_output, run_command, terminable
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, "Judge a run, or a published version, by its samples and its likelihood.")
    parser.add_argument(
        "what", metavar="RUN|VERSION", help="run directory, version's folder, published name"
    )
    add_flags(parser, EvaluateOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, EvaluateOptions)
    if not options.samples and not options.likelihood:
        raise UsageError("--no-samples and --no-likelihood leave nothing to judge")
    import_quietly(
        "tensorflow_probability", "tfgen.evaluation.evaluate", "tfgen.evaluation.subject"
    )
    with terminable("terminated; the same command goes on where it stood"):
        judge(namespace.what, options)


def judge(what: str, options: EvaluateOptions) -> None:
    """Evaluates, writes the result and shows it.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is judged is damaged.
    """
    from rich.console import Console

    from tfgen.evaluation.evaluate import evaluate, merged
    from tfgen.evaluation.judge import open_judge
    from tfgen.evaluation.subject import open_subject
    from tfgen.evaluation.work import Work

    console = Console()
    subject = open_subject(what, options.saved_models, options.version, options.weights)
    out = destination(subject, options.out)
    no_likelihood = subject.no_model or f"{subject.title} gives no likelihood"
    if not options.samples and (subject.model is None or subject.model.density is None):
        raise UsageError(f"{no_likelihood}; leave out --no-samples")
    dataset = open_data(subject, options)
    classifier = None
    if options.samples:
        classifier = open_judge(dataset.name, options.classifier, options.saved_models)
    if options.likelihood and subject.no_model:
        console.print(f"samples alone: {subject.no_model}", highlight=False, soft_wrap=True)
    # Not in a version's folder, which a file too many would break.
    partial = Path(f".{subject.path.parent.name}-{subject.path.name}")
    work = Work(subject, dataset, options, partial if subject.kind == "version" else out, console)
    found = evaluate(work, classifier)
    # Only now: another evaluation may have ended meanwhile.
    result = merged(read_result(out), found)
    write_result(out, result)
    for kept in work.kept:
        kept.remove()
    if subject.kind == "run" and out == RunFolder(subject.path).evaluation:
        write_nearest(result, subject.path / "figures")
    show(result, console)
    console.print(f"written to {out}", highlight=False, soft_wrap=True)


def open_data(subject: Any, options: EvaluateOptions) -> Any:
    """The data set that the model was trained on, or the one asked for.

    Raises:
        UsageError: it is not known, is not the one that it was trained on, or does not suit.
    """
    from tfgen.data import load

    name = options.dataset or subject.trained_on("dataset")
    if name is None:
        raise UsageError(
            f"{subject.title} does not tell what it was trained on; name it with --dataset"
        )
    folder = options.data_dir
    if folder is None and options.dataset is None and (own := subject.trained_on("data_dir")):
        folder = Path(own)
    dataset = load(name, folder)
    expected = subject.run.get("data", {}).get("fingerprint")
    if options.dataset is None and expected not in (None, dataset.fingerprint):
        raise UsageError(
            f"data set {name} is not the one that {subject.title} was trained on; name the folder of that "
            f"one with --data-dir, or say --dataset {name} to judge by this one"
        )
    subject.check_images(dataset, options.split)
    return dataset


def destination(subject: Any, asked: Path | None) -> Path:
    """A run's evaluation.json, a version's manifest; of version 1, the shipped one, a file here.

    Raises:
        UsageError: a file that is asked for cannot be written, or is none for an evaluation.
    """
    manifest: Path = subject.path / versions.MANIFEST
    if asked is not None:
        check_output(asked, (".json",))
        if subject.kind == "version" and asked.resolve() == manifest.resolve():
            return manifest
        if asked.name in (versions.MANIFEST, "config.json"):
            raise UsageError(f"cannot write {asked}: that is no name for an evaluation")
        if (asked.parent / versions.MANIFEST).is_file():
            raise UsageError(
                f"cannot write {asked}: a version is broken by a file that is not in its manifest"
            )
        return asked
    if subject.kind == "run":
        out = RunFolder(subject.path).evaluation
    elif subject.path.name == str(versions.SHIPPED):
        out = Path(f"{subject.path.parent.name}-{subject.path.name}-evaluation.json")
    else:
        out = manifest
    check_output(out, (".json",))
    return out


def read_result(out: Path) -> dict[str, Any]:
    """What was found before; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        found = json.loads(out.read_text())
        return dict((found.get("evaluation") if out.name == versions.MANIFEST else found) or {})
    return {}


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Writes an evaluation, whole or not at all."""
    from tfgen.system.atomic import write_bytes

    if out.name == versions.MANIFEST:
        versions.write_evaluation(out.parent, result)
    else:
        write_bytes(out, (json.dumps(result, indent=1) + "\n").encode())


def write_nearest(result: dict[str, Any], folder: Path) -> None:
    """Writes nearest.png: samples above, the training images that are nearest to them below."""
    from tfgen.evaluation.compare import decoded
    from tfgen.figures import png_bytes
    from tfgen.system.atomic import write_bytes

    if "nearest_picture" in result:
        folder.mkdir(exist_ok=True)
        write_bytes(
            folder / "nearest.png", png_bytes(np.atleast_3d(decoded(result["nearest_picture"])))
        )


def show(result: dict[str, Any], console: Any) -> None:
    """Prints the figures: of samples beside those of real images and of noise."""
    from rich.table import Table

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    if "samples" in result:
        table = Table(
            title=f"{result['title']}: {result['n']} samples, {result['dataset']['split']} images"
        )
        floor = f"real, {result.get('floor_images', '')} (floor)"
        for heading in ("", "samples", floor, "noise (ceiling)"):
            table.add_column(heading, justify="left" if not heading else "right")
        parts = [result[part] for part in ("samples", "floor", "ceiling")]
        for key, value in result["samples"].items():
            if not isinstance(value, float | int) or key == "kid_error":
                continue
            cells = [f"{part[key]:.4g}" if key in part else "" for part in parts]
            if key == "kid":
                cells = [f"{part['kid']:.2g} ± {part['kid_error']:.1g}" for part in parts]
            table.add_row(key.replace("_", " "), *cells)
        console.print(table)
        copied, seen_by = result["samples"]["copies"], result["classifier"]
        line(
            f"nearest training image: {copied['distance']:.2f} away in the median, of held-out images "
            f"{copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} nearer than 1 % of these"
        )
        accuracy = f", right in {seen_by['accuracy']:.2%}" if "accuracy" in seen_by else ""
        line(f"seen by {seen_by['name']} version {seen_by['version']}{accuracy}")
    for part in ("modes", "likelihood", "cost"):
        for key, value in result.get(part, {}).items():
            line(
                f"{key.replace('_', ' ')}: {f'{value:.5g}' if isinstance(value, float) else value}"
            )


if __name__ == "__main__":
    raise SystemExit(main())
