"""Draws what trainings reach against the minutes of their training, a figure for each measure.

A training is a folder with a `metrics.jsonl`, whose name begins with that of the family. Minutes
are the sum of the logged seconds of its epochs, without validation and pictures.

`minutes-nats.png` has −ELBO of validation images, for VAEs of binary pixels. `minutes-bits.png` has
bits/dim of validation images, for flows and VAEs of bytes. `minutes-fid.png` has the FID of MNIST's
test images, for trainings whose folder has evaluations of kept epochs, which these commands write:

    tfgen-train gan --preset dcgan --keep-every 5 --run-dir runs/gan --no-publish
    for n in 5 10 15 20 25 30 35 40; do
      tfgen-evaluate runs/gan --weights $n --out docs/gan-dcgan-kept/epoch-$n.json
    done
    cp runs/gan/metrics.jsonl docs/gan-dcgan-kept/

A figure leaves out trainings that end far from its best one, and the first minutes of the others.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen import figures
from tfgen.errors import UsageError, WorkError
from tfgen.figures import Progress

PROG = "draw_minutes"
LOG = "metrics.jsonl"
# Largest value of a figure, relative to its smallest one.
LARGEST = {"nats": 1.25, "bits": 2.0, "fid": 5.0}

# Epochs and the values after them.
Points: TypeAlias = dict[int, float]


class Training(NamedTuple):
    """A training and its log.

    Attributes:
        folder: its folder.
        rows: the lines of its log, one for each epoch.
    """

    folder: Path
    rows: list[dict[str, Any]]

    @property
    def family(self) -> str:
        """The family that the folder's name begins with."""
        return self.folder.name.partition("-")[0]

    def progress(self, points: Points) -> Progress:
        """The values after epochs, with the minutes of training until then."""
        ends = itertools.accumulate(row["seconds"] / 60 for row in self.rows)
        minutes = dict(zip((row["epoch"] for row in self.rows), ends, strict=True))
        times = [minutes[epoch] for epoch in points]
        return Progress(self.folder.name, self.family, times, list(points.values()))

    def logged(self, name: str) -> Points:
        """A logged value after each epoch; empty if it is not logged."""
        return {row["epoch"]: row[name] for row in self.rows if name in row}


def nats(training: Training) -> Points:
    """−ELBO of validation images, of a VAE whose pixels are binary."""
    if training.family != "vae" or training.logged("val_bits_per_dim"):
        return {}
    # Their sum is −ELBO whatever the loss is.
    parts = training.logged("val_reconstruction"), training.logged("val_kl")
    return {epoch: parts[0][epoch] + parts[1][epoch] for epoch in parts[0]}


def bits(training: Training) -> Points:
    """Bits/dim of validation images."""
    return training.logged("val_bits_per_dim")


def fid(training: Training) -> Points:
    """FID of test images, from the evaluations in the folder of the weights of an epoch."""
    points = {}
    for path in training.folder.glob("*.json"):
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        kind, _, number = str(evaluation.get("weights")).partition(" ")
        if kind == "epoch" and evaluation["dataset"]["name"] == "mnist" and "samples" in evaluation:
            points[int(number)] = evaluation["samples"]["fid"]
    return dict(sorted(points.items()))


MEASURES: dict[str, tuple[Callable[[Training], Points], str]] = {
    "nats": (nats, "negative ELBO of validation images [nats]"),
    "bits": (bits, "negative bound of validation images [bits/dim]"),
    "fid": (fid, "FID against test images"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figures."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, __doc__)
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="*",
        type=Path,
        help=f"trainings (default: the folders in docs that have a {LOG})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs"),
        metavar="PATH",
        help="folder of the figures (default: docs)",
    )
    arguments = parser.parse(argv)
    folders = arguments.folders or sorted(path.parent for path in Path("docs").glob(f"*/{LOG}"))
    trainings = [read_training(folder) for folder in folders]
    if not trainings:
        raise UsageError(f"no folder in docs has a {LOG}; run this at the root of the repository")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (measure, label) in MEASURES.items():
        progresses = [training.progress(measure(training)) for training in trainings]
        drawn = near_best([progress for progress in progresses if progress.values], LARGEST[name])
        path = arguments.out / f"minutes-{name}.png"
        if drawn:
            figures.save_figure(figures.against_minutes(drawn, label, LARGEST[name]), path)
            print(f"{path}: {', '.join(progress.name for progress in drawn)}")
        else:
            print(f"{path}: not drawn, since no training has such values")


def read_training(folder: Path) -> Training:
    """The training in a folder.

    Raises:
        WorkError: its log is missing or damaged.
    """
    path = folder / LOG
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise WorkError(f"{path} cannot be read: {error}") from error
    return Training(folder, rows)


def near_best(progresses: list[Progress], largest: float) -> list[Progress]:
    """Those whose smallest value is at most `largest` times that of all."""
    if not progresses:
        return []
    bound = largest * min(min(progress.values) for progress in progresses)
    return [progress for progress in progresses if min(progress.values) <= bound]


if __name__ == "__main__":
    raise SystemExit(main())
