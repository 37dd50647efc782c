"""`tfgen-evaluate`: judges a run or a published version by its samples, and by a likelihood if it has one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.options import EvaluateOptions
from tfgen.quiet import import_quietly
from tfgen.training.folder import RunFolder

from ._command import check_output, run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, "Judge a run, or a published version, by its samples and its likelihood.")
    parser.add_argument(
        "what", metavar="RUN|VERSION", help="run directory, version's folder or published name"
    )
    add_flags(parser, EvaluateOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, EvaluateOptions)
    if not options.samples and not options.likelihood:
        raise UsageError("--no-samples and --no-likelihood leave nothing to judge")
    import_quietly("tensorflow_probability", "tfgen.evaluation.evaluate")
    judge(namespace.what, options)


def judge(what: str, options: EvaluateOptions) -> None:
    """Evaluates, shows the result and writes it.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is judged is damaged.
    """
    from rich.console import Console

    from tfgen.atomic import write_bytes
    from tfgen.data import load
    from tfgen.evaluation.compare import decoded
    from tfgen.evaluation.evaluate import evaluate
    from tfgen.evaluation.judge import open_judge
    from tfgen.evaluation.subject import open_subject
    from tfgen.figures import png_bytes
    from tfgen.versions import MANIFEST

    console = Console()
    subject = open_subject(what, options.saved_models, options.version, options.weights)
    name = options.dataset or subject.dataset
    if name is None:
        raise UsageError(f"{what} does not tell what it was trained on; name its data set with --dataset")
    out = options.out or default_out(subject)
    into_manifest = out == subject.path / MANIFEST
    check_output(out, (".json",))
    has_density = subject.model is not None and subject.model.density is not None
    if not options.samples and not has_density:
        raise UsageError(f"{subject.title} gives no likelihood; leave out --no-samples")
    dataset = load(name, options.data_dir)
    subject.check_images(dataset)
    classifier = open_judge(name, options.classifier, options.saved_models) if options.samples else None
    result = evaluate(subject, dataset, classifier, options, out, console)
    show(result, console)
    written: dict[str, Any] = result
    if into_manifest:
        written = json.loads(out.read_text()) | {"evaluation": result}
    write_bytes(out, (json.dumps(written, indent=1) + "\n").encode())
    if subject.kind == "run" and "nearest_picture" in result:
        # Samples above, the training images that are nearest to them below.
        pixels = decoded(result["nearest_picture"])
        write_bytes(subject.path / "figures" / "nearest.png", png_bytes(np.atleast_3d(pixels)))
    console.print(f"written to {out}", highlight=False, soft_wrap=True)


def default_out(subject: Any) -> Path:
    """A run's evaluation.json, a version's manifest; of a shipped one, not the user's own, a file here."""
    from tfgen import versions

    if subject.kind == "run":
        return RunFolder(subject.path).evaluation
    if subject.path.parent.parent.resolve() == versions.shipped_folder().resolve():
        return Path(f"{subject.path.parent.name}-{subject.path.name}-evaluation.json")
    manifest: Path = subject.path / versions.MANIFEST
    return manifest


def show(result: dict[str, Any], console: Any) -> None:
    """Prints the figures: of samples beside those of real images and of noise."""
    from rich.table import Table

    if "samples" in result:
        table = Table(title=f"{result['title']}: {result['n']} samples, {result['dataset']['split']} images")
        for heading in ("", "samples", "real (floor)", "noise (ceiling)"):
            table.add_column(heading, justify="left" if not heading else "right")
        for key, value in result["samples"].items():
            if isinstance(value, float | int) and key != "kid_error":
                row = [result[part].get(key) for part in ("samples", "floor", "ceiling")]
                table.add_row(key.replace("_", " "), *(f"{each:.4g}" for each in row))
        console.print(table)
        copied = result["samples"]["copies"]
        console.print(
            f"nearest training image: {copied['distance']:.2f} away in the median, of held-out images "
            f"{copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} nearer than 1 % of these",
            highlight=False,
            soft_wrap=True,
        )
    for part in ("likelihood", "cost"):
        for key, value in result.get(part, {}).items():
            shown = f"{value:.5g}" if isinstance(value, float) else value
            console.print(f"{key.replace('_', ' ')}: {shown}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
