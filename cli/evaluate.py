"""`tfgen-evaluate`: judges a model by its samples and its likelihood."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfgen.errors import UsageError
from tfgen.evaluation.request import DEFAULT_N, EvaluationRequest
from tfgen.publishing import versions
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder

from ._command import SAVED_MODELS, check_output, run_command, terminable
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-evaluate"

# What the parts of an evaluation are called at the terminal, with the unit.
LABELS = {
    "fid": "FID",
    "kid": "KID",
    "modes": "modes",
    "modes_kl": "KL of modes [nats]",
    "class_entropy": "class entropy [nats]",
    "captured": "modes captured",
    "kl": "KL of modes [nats]",
    "captured_by_uniform": "modes captured by as many uniform draws",
    "kl_of_uniform": "KL of modes of as many uniform draws [nats]",
    "n": "samples for the modes",
    "events": "likelihood of",
    "negative_elbo": "−ELBO [nats]",
    "nll": "NLL [nats]",
    "bits_per_dim_one_draw": "bits/dim, one dequantization draw",
    "bits_per_dim": "bits/dim, averaged over the dequantization draws",
    "dequantizations": "dequantization draws",
    "active_units": "active latents",
    "seconds_an_epoch": "training [s/epoch], median",
    "seconds": "training [s]",
    "peak_mib": "peak memory [MiB]",
    "images_a_second": "images per second",
}


@dataclass(frozen=True)
class EvaluateOptions(Config):
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
        "seed for samples, binarization, dequantization and importance samples",
        minimum=0,
        maximum=MAX_SEED,
    )
    dataset: str | None = option(
        None, "name of the data set (default: the one that the model was trained on)"
    )
    data_dir: Path | None = option(None, "folder of prepared data sets, as tfgen-data writes it")
    classifier: str | None = option(
        None,
        "name, or version's folder, of the classifier that features come from "
        "(default: the classifier of the data set)",
    )
    weights: Literal["best", "last"] = option(
        "best", "weights of a run: the best by validation, or the last"
    )
    saved_models: Path = option(SAVED_MODELS, "folder of published models")
    version: int | None = option(
        None,
        "version of a published name (default: the newest); as the only argument, --version shows "
        "the version of tfgen",
        minimum=1,
    )
    out: Path | None = option(
        None,
        "JSON file to write (default: evaluation.json of the run, or the manifest of the version; "
        "for a shipped version, NAME-1-evaluation.json)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.samples and not self.likelihood:
            raise UsageError(
                "--no-samples and --no-likelihood leave nothing to judge; leave one of them out"
            )
        for name in ("dataset", "classifier"):
            if getattr(self, name) == "":
                raise UsageError(f"--{name} is empty; leave it out for the default")

    def request(self) -> EvaluationRequest:
        """What the evaluation is asked to measure."""
        return EvaluationRequest(
            self.split, self.n, self.seed, self.importance_samples, self.dequantizations
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Judge a run or a published version by its samples and its likelihood.",
        conflict_handler="resolve",  # --version is a flag of its own
    )
    parser.add_argument(
        "what",
        metavar="RUN|VERSION",
        help="run directory, folder of a version, or published name",
    )
    add_flags(parser, EvaluateOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, EvaluateOptions)
    import_quietly(
        "tensorflow_probability", "tfgen.evaluation.evaluate", "tfgen.evaluation.subject"
    )
    with terminable("terminated; run the same command again to continue"):
        evaluate(namespace.what, options)


def evaluate(what: str, options: EvaluateOptions) -> None:
    """Evaluate a run or a version, write the result and print it.

    Raises:
        UsageError: the request is wrong.
        WorkError: what is evaluated is damaged.
    """
    from rich.console import Console

    from tfgen.evaluation import evaluate as evaluation
    from tfgen.evaluation.classifier import open_classifier
    from tfgen.evaluation.job import Job
    from tfgen.evaluation.subject import open_subject
    from tfgen.system.status import status
    from tfgen.system.terminal import print_line

    console = Console()
    with status(f"opening {what}"):
        subject = open_subject(what, options.saved_models, options.version, options.weights)
    out = destination(subject, options.out)
    if not options.samples and subject.density is None:
        reason = subject.no_model or f"{subject.title} has no likelihood"
        raise UsageError(f"{reason}; leave out --no-samples")
    with status("loading the data set"):
        dataset = open_data(subject, options)
    classifier = None
    if options.samples:
        with status("opening the classifier"):
            classifier = open_classifier(dataset.name, options.classifier, options.saved_models)
    if options.likelihood and subject.no_model:
        print_line(console, f"no likelihood, samples only: {subject.no_model}")
    # Not in a version's folder: a version with an unknown file is broken.
    hidden = Path(f".{subject.path.parent.name}-{subject.path.name}")
    partial_path = hidden if subject.kind == "version" else out
    job = Job(subject, dataset, options.request(), partial_path, console)
    result = evaluation.evaluate(job, classifier, options.likelihood)
    # Read only now: another evaluation may have ended in the meantime.
    result = evaluation.merge(read_result(out), result)
    write_result(out, result)
    for partial in job.partial_values:
        partial.remove()
    if subject.kind == "run" and out == RunFolder(subject.path).evaluation:
        write_nearest(result, subject.path / "figures")
    print_result(result, console)
    print_line(console, f"written to {out}")


def open_data(subject: Any, options: EvaluateOptions) -> Any:
    """The data set that the model was trained on, or the one of `--dataset`.

    Raises:
        UsageError: it is unknown, it is not the one of the training, or it does not suit the model.
    """
    from tfgen.data import load

    name = options.dataset or subject.training_option("dataset")
    if name is None:
        raise UsageError(
            f"the data set that {subject.title} was trained on is unknown; name it with --dataset"
        )
    folder = options.data_dir
    if folder is None and options.dataset is None:
        own = subject.training_option("data_dir")
        folder = Path(own) if own else None
    dataset = load(name, folder)
    expected = subject.run.get("data", {}).get("fingerprint")
    if options.dataset is None and expected not in (None, dataset.fingerprint):
        raise UsageError(
            f"data set {name} is not the one that {subject.title} was trained on; pass the folder "
            f"of that one with --data-dir, or pass --dataset {name} to use this one"
        )
    subject.check_images(dataset, options.split)
    return dataset


# --- files
# ------------------------------------------------------------------------------------------------


def destination(subject: Any, asked: Path | None) -> Path:
    """The file that the result is written to.

    By default evaluation.json of a run, or the manifest of a version. Version 1, which is shipped,
    keeps its manifest; its default is a file in the current folder.

    Args:
        subject: what is evaluated.
        asked: the value of `--out`.

    Raises:
        UsageError: the file cannot be written, or is not a place for an evaluation.
    """
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
        if (asked.parent / versions.MANIFEST).is_file():
            raise UsageError(
                f"cannot write {asked}: a version may not hold further files; choose another folder"
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


# --- at the terminal
# --------------------------------------------------------------------------------------


def print_result(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples, then likelihood and cost."""
    from tfgen.system.terminal import print_line

    if "samples" in result:
        print_samples(result, console)
    for part in ("modes", "likelihood", "cost"):
        values = result.get(part, {})
        for key, value in values.items():
            if not key.endswith("_error"):
                text = format_value(value, values.get(f"{key}_error"))
                print_line(console, f"{label(key)}: {text}")


def print_samples(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples next to those of real images and of noise."""
    from rich.table import Table

    from tfgen.system.terminal import print_line

    split = result["dataset"]["split"]
    table = Table(title=f"{result['title']}: {result['n']} samples against {split} images")
    for heading in ("", "samples", "real images (floor)", "noise (ceiling)"):
        table.add_column(heading, justify="right" if heading else "left")
    parts = [result[part] for part in ("samples", "floor", "ceiling")]
    for key, value in result["samples"].items():
        if isinstance(value, float | int) and not key.endswith("_error"):
            cells = [
                format_value(part[key], part.get(f"{key}_error"), 4) if key in part else ""
                for part in parts
            ]
            table.add_row(label(key), *cells)
    console.print(table)
    if "floor_images" in result:
        print_line(console, f"floor: as many {result['floor_images']} images")
    copied, classifier = result["samples"]["copies"], result["classifier"]
    print_line(
        console,
        f"median distance to the nearest training image: {copied['distance']:.2f}, of held-out "
        f"images {copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} of the samples "
        "are nearer than the nearest 1 % of held-out images",
    )
    accuracy = f", accuracy {classifier['accuracy']:.2%}" if "accuracy" in classifier else ""
    print_line(
        console, f"features of {classifier['name']} version {classifier['version']}{accuracy}"
    )


def label(key: str) -> str:
    """What a part of an evaluation is called at the terminal."""
    return LABELS.get(key, key.replace("_", " "))


def format_value(value: Any, error: float | None = None, digits: int = 5) -> str:
    """A value as a text, with its standard error if it has one."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits}g}" + ("" if error is None else f" ± {error:.2g}")


if __name__ == "__main__":
    raise SystemExit(main())
