"""Compares tfgen's GAN with GAN recipes of other libraries, at equal minutes of training.

    python benchmarks/gan_peers.py --dataset photos --data-dir data --minutes 30 --out gan-peers

tfgen-train trains a preset with several seeds, and each recipe of gan_recipes.py is trained on the
same images for as many minutes, or for as many as the slowest of tfgen's took. Only the time of
training steps counts: compiling, validation and looking at samples do not. Of all, those weights
are taken whose samples are nearest to the validation images by the distance of `tfgen-train`: after
any epoch of tfgen's, at one of about twenty moments of a recipe. Each draws as many samples as
there are test images, and tfgen-evaluate judges them.

The results of each row are kept in its folder in --out. The same command again continues a row that
was interrupted and repeats none that is done. Everything runs on the CPU.
"""

import argparse
import datetime
import importlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen import figures
from tfgen.data import Dataset, load, steps_per_epoch
from tfgen.errors import UsageError, WorkError
from tfgen.system import machine
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly
from tfgen.training.folder import RunFolder

PROG = "gan_peers"
RECIPE_NAMES = ("keras-dcgan", "studiogan-dcgan")
# How often a recipe's samples are compared with validation images, and its state is saved.
LOOKS = 20
# Epochs of the short run that says how many epochs there is time for.
TRIAL_EPOCHS = 4
# Samples on the picture of a row, and in one line of it.
PICTURED, COLUMNS = 100, 10
METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Row:
    """A GAN to train and to judge.

    Attributes:
        name: `tfgen` or a recipe's name.
        seed: seed of its weights, batches and noise.
        folder: where its results are kept.
    """

    name: str
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """Name and seed."""
        return f"{self.name}-{self.seed}"

    @property
    def log(self) -> Path:
        """File of what tfgen's commands print."""
        return self.folder / "log.txt"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison; its exit status does not depend on which is better."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    rows = [row for row in find_rows(arguments) if row.title in (arguments.only or [row.title])]
    if not rows:
        titles = ", ".join(row.title for row in find_rows(arguments))
        raise UsageError(f"--only names no row; the rows are {titles}")
    dataset = load(arguments.dataset, arguments.data_dir)
    check_folder(arguments, dataset)
    for row in rows:
        row.folder.mkdir(exist_ok=True)
        if not (row.folder / "training.json").is_file():
            train(row, arguments, dataset)
        for features in arguments.features:
            if not (row.folder / f"{features}.json").is_file():
                judge(row, features, arguments)
    write_picture(dataset.test.images, "test images", arguments.out / "test-images.png")
    report = describe(arguments)
    write_json(arguments.out / "comparison.json", report)
    print_report(report)


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        UsageError: an argument is wrong.
    """
    parser = Parser(PROG, __doc__)
    parser.add_argument("--dataset", required=True, metavar="NAME", help="data set of RGB images")
    parser.add_argument("--data-dir", type=Path, metavar="PATH", help="TFDS root")
    parser.add_argument(
        "--minutes", type=float, default=30, metavar="X", help="training time (default: 30)"
    )
    parser.add_argument(
        "--preset", default="images", metavar="NAME", help="preset of the GAN (default: images)"
    )
    for name, default, whose in (("seeds", [0, 1, 2], "tfgen"), ("recipe-seeds", [0], "a recipe")):
        text = f"seeds of {whose}, a row each (default: {' '.join(map(str, default))})"
        parser.add_argument(
            f"--{name}", type=int, nargs="+", default=default, metavar="N", help=text
        )
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows to train, such as tfgen-0")
    parser.add_argument(
        "--features",
        nargs="+",
        choices=("random", "classifier"),
        default=["random"],
        metavar="NAME",
        help="random, classifier or both: --features of tfgen-evaluate (default: random)",
    )
    parser.add_argument(
        "--saved-models",
        type=Path,
        default=Path("saved_models"),
        metavar="PATH",
        help="folder with the classifier (default: saved_models)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="folder of all results"
    )
    arguments = parser.parse(argv)
    if not arguments.minutes > 0:
        raise UsageError(f"--minutes {arguments.minutes:g} is too small; it must be above 0")
    return arguments


def find_rows(arguments: argparse.Namespace) -> list[Row]:
    """All rows, tfgen's first."""
    pairs = [("tfgen", seed) for seed in arguments.seeds]
    pairs += [(name, seed) for name in RECIPE_NAMES for seed in arguments.recipe_seeds]
    return [Row(name, seed, arguments.out / f"{name}-{seed}") for name, seed in pairs]


def check_folder(arguments: argparse.Namespace, dataset: Dataset) -> None:
    """Creates the folder of results, and notes there what its rows have in common.

    Raises:
        UsageError: it has rows of another comparison.
    """
    settings = {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "minutes": arguments.minutes,
        "preset": arguments.preset,
    }
    path = arguments.out / "settings.json"
    if path.is_file():
        if (saved := json.loads(path.read_text())) != settings:
            raise UsageError(
                f"{arguments.out} holds rows with other settings, {saved}; choose another --out"
            )
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


# --- training -----------------------------------------------------------------------------------


def train(row: Row, arguments: argparse.Namespace, dataset: Dataset) -> None:
    """Trains a row; writes samples.npz, a picture of them, and training.json, which comes last."""
    print(f"training {row.title} for {arguments.minutes:g} minutes", flush=True)
    if row.name == "tfgen":
        training = train_tfgen(row, arguments, dataset)
    else:
        training = train_recipe(row, arguments, dataset)
    with np.load(row.folder / "samples.npz") as file:
        title = f"samples of {row.title}, {training['minutes']:.1f} minutes"
        write_picture(file["images"], title, arguments.out / f"{row.title}.png")
    write_json(row.folder / "training.json", {**training, "machine": machine.describe()})


def train_tfgen(row: Row, arguments: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Trains the preset by tfgen-train, for as many epochs as a short run says that there is time.

    The learning rate falls to 0 at the last epoch, so the number of epochs must be known.
    """
    run, trial, log = RunFolder(row.folder / "run"), RunFolder(row.folder / "trial"), row.log
    common = ["--preset", arguments.preset, "--seed", row.seed, "--no-publish"]
    common += data_flags(arguments)
    if run.config.is_file():
        call("train", "gan", "--resume", "--run-dir", run.path, log=log)
    else:
        shutil.rmtree(trial.path, ignore_errors=True)
        flags = ["--epochs", TRIAL_EPOCHS, "--run-dir", trial.path]
        call("train", "gan", *common, *flags, log=log)
        epochs = max(1, round(60 * arguments.minutes / epoch_seconds(trial)))
        flags = ["--epochs", epochs, "--run-dir", run.path]
        call("train", "gan", *common, *flags, log=log)
    call("sample", run.path, "--n", len(dataset.test), "--out", row.folder / "samples.npz", log=log)
    rows, options = run.read_metrics(), run.read_config()["options"]
    steps = steps_per_epoch(len(dataset.train), options["batch_size"])
    best = importlib.import_module("tfgen.training.checkpoint").read_best(run.checkpoints)
    chosen = len(rows) if best is None else int(best.state["epoch"])
    minutes = len(rows) * epoch_seconds(run if len(rows) > 1 else trial) / 60
    times = {"minutes": minutes, "steps": len(rows) * steps, "chosen_step": chosen * steps}
    return {**times, "looks": rows}


def epoch_seconds(run: RunFolder) -> float:
    """Mean time of a run's epochs, without the first one, in which TensorFlow compiles."""
    seconds = [row["seconds"] for row in run.read_metrics()]
    return statistics.mean(seconds[1:] or seconds)


def train_recipe(row: Row, arguments: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Trains a recipe, and draws from the weights of the best of its looks."""
    # TensorFlow is silent if it is imported so first.
    import_quietly("tfgen.evaluation.monitoring")
    recipes, monitoring = find_recipes(), importlib.import_module("tfgen.evaluation.monitoring")
    recipe = recipes.RECIPES[row.name](dataset.image_shape, row.seed)
    comparison = monitoring.SampleComparison(dataset.validation.images)
    state: dict[str, Any] = {"seconds": 0.0, "steps": 0, "looks": []}
    last, best, state_path = (row.folder / name for name in ("last", "best", "state.json"))
    if state_path.is_file():
        state = json.loads(state_path.read_text())
        recipe.restore(last)
    batches = recipes.training_batches(dataset.train.images, recipe, (row.seed, state["steps"]))
    recipe.step(next(batches))  # compiles
    total = 60 * recipe_minutes(arguments)
    while state["seconds"] < total:
        next_look = min(total, state["seconds"] + total / LOOKS)
        while state["seconds"] < next_look:
            batch, start = next(batches), time.perf_counter()
            recipe.step(batch)
            state["seconds"] += time.perf_counter() - start
            state["steps"] += 1
        values = comparison.compare(recipes.draw(recipe, comparison.n, seed=0))
        if values["val_distance"] < least(state["looks"]):
            recipe.save(best)
        state["looks"].append({"step": state["steps"], "seconds": state["seconds"], **values})
        recipe.save(last)
        write_json(state_path, state)
        words = f"{row.title}: {state['seconds'] / 60:.1f} minutes, {state['steps']} steps"
        print(f"{words}, val_distance {values['val_distance']:.4f}", flush=True)
    chosen = min(state["looks"], key=lambda look: look["val_distance"])
    recipe.restore(best)
    images = recipes.draw(recipe, len(dataset.test), seed=1)
    np.savez(row.folder / "samples.npz", images=images)
    times = {"minutes": state["seconds"] / 60, "steps": state["steps"]}
    return {**times, "chosen_step": chosen["step"], "looks": state["looks"]}


def recipe_minutes(arguments: argparse.Namespace) -> float:
    """Training time of a recipe: --minutes, or what a row of tfgen's took if that is more."""
    paths = (row.folder / "training.json" for row in find_rows(arguments) if row.name == "tfgen")
    taken = [json.loads(path.read_text())["minutes"] for path in paths if path.is_file()]
    return float(max([arguments.minutes, *taken]))


def least(looks: list[dict[str, float]]) -> float:
    """The smallest distance so far."""
    return min((look["val_distance"] for look in looks), default=math.inf)


def find_recipes() -> Any:
    """The module gan_recipes.

    Raises:
        WorkError: PyTorch is not installed.
    """
    try:
        return importlib.import_module("gan_recipes")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise WorkError(
            "the recipes need PyTorch, the [bench] extra: pip install '.[bench]'"
        ) from None


# --- judging ------------------------------------------------------------------------------------


def judge(row: Row, features: str, arguments: argparse.Namespace) -> None:
    """Has tfgen-evaluate judge a row's samples."""
    out = row.folder / f"{features}.json"
    flags = [*data_flags(arguments), "--features", features, "--out", out]
    flags += ["--saved-models", arguments.saved_models]
    call("evaluate", row.folder / "samples.npz", *flags, log=row.log)


def data_flags(arguments: argparse.Namespace) -> list[object]:
    """The flags that name the data set."""
    folder = [] if arguments.data_dir is None else ["--data-dir", arguments.data_dir]
    return ["--dataset", arguments.dataset, *folder]


def call(command: str, *words: object, log: Path) -> None:
    """Runs a command of tfgen's, whose output is appended to a file.

    Raises:
        WorkError: it failed.
    """
    line = [sys.executable, "-m", f"tfgen.cli.{command}", *map(str, words)]
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(line, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise WorkError(f"tfgen-{command} failed; see {log}")


# --- results ------------------------------------------------------------------------------------


def describe(arguments: argparse.Namespace) -> dict[str, Any]:
    """The results of all rows that are done, for `json.dump`."""
    settings = json.loads((arguments.out / "settings.json").read_text())
    tables: dict[str, Any] = {}
    for features in arguments.features:
        table = tables[features] = {}
        for row in find_rows(arguments):
            path, training = row.folder / f"{features}.json", row.folder / "training.json"
            if not path.is_file() or not training.is_file():
                continue
            evaluation = json.loads(path.read_text())
            times = json.loads(training.read_text())
            table["real images"] = {"metrics": evaluation["floor"]}
            metrics = {
                name: value for name, value in evaluation["samples"].items() if name != "copies"
            }
            table[row.title] = {"metrics": metrics, **times}
    date = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return {"date": date, "settings": settings, "tables": tables}


def print_report(report: dict[str, Any]) -> None:
    """Prints a Markdown table for each kind of features."""
    for features, table in report["tables"].items():
        print(f"\n{report['settings']['dataset']}, features: {features}\n")
        print(f"| | {' | '.join(METRICS)} | minutes | steps | taken at step |")
        print("|---|" + "---:|" * (len(METRICS) + 3))
        for title, row in table.items():
            cells = [format_metric(name, row["metrics"]) for name in METRICS]
            times = [""] * 3
            if "steps" in row:
                times = [f"{row['minutes']:.1f}", str(row["steps"]), str(row["chosen_step"])]
            print(f"| {title} | {' | '.join([*cells, *times])} |")


def format_metric(name: str, metrics: dict[str, Any]) -> str:
    """A metric with three significant digits, and KID with its standard error."""
    if name not in metrics:
        return "–"
    text = f"{metrics[name]:.3g}"
    return f"{text} ± {metrics['kid_error']:.1g}" if name == "kid" else text


def write_picture(images: np.ndarray, title: str, path: Path) -> None:
    """Writes a grid of the first images."""
    images = images[:PICTURED]
    scaled = images / 255 if images.dtype == np.uint8 else images
    figures.save_figure(figures.picture(scaled, title, COLUMNS), path)


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, whole or not at all."""
    write_bytes(path, f"{json.dumps(value, indent=2)}\n".encode())


if __name__ == "__main__":
    raise SystemExit(main())
