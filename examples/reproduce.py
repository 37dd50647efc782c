"""The report's eight figures and its closing table, beside each family's best presets, in one
command.

    python examples/reproduce.py --to reproduction     # some 12 hours on two cores, estimated
    python examples/reproduce.py --to trial --quick    # the same steps in minutes, of no worth as
    numbers

Each step is a command of tfgen's, which is printed; one that is done is not done again, and a
training that was interrupted goes on where it stood. So the script may be stopped at any time, and
started anew.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import tfgen
from tfgen import figures
from tfgen.publishing import versions
from tfgen.system.atomic import write_bytes

SEEDS = (0, 1, 2)
# Importance samples of the tables.
SAMPLES = 5000


@dataclass(frozen=True)
class Step:
    """A command, and what tells that it was run.

    Attributes:
        verb: of the console script, `train` for one.
        arguments: its arguments.
        minutes: that it takes on two cores, roughly.
        run: of a training, its run directory.
    """

    verb: str
    arguments: tuple[str, ...]
    minutes: float
    run: Path | None = None

    def key(self, folder: Path) -> str:
        """What it is known by among all that is written below `folder`, wherever that is moved
        to."""
        return " ".join((self.verb, *self.arguments)).replace(str(folder), ".")


@dataclass(frozen=True)
class Model:
    """A preset to train and to judge.

    Attributes:
        family: of the model.
        preset: of the family.
        minutes: of training.
        judging: minutes of judging.
        small: flags of a smaller network, for `--quick`.
    """

    family: str
    preset: str
    minutes: float
    judging: float
    small: tuple[str, ...] = ()


REPORTED = (
    Model("vae", "mlp", 2.5, 10),
    Model("gan", "mlp", 40, 2),
    Model("flow", "mlp", 45, 15, ("--hidden", "64")),
)
BEST = (
    Model("vae", "long", 25, 11),
    Model("vae", "iwae", 90, 12),
    Model("vae", "conv", 45, 75, ("--channels", "4")),
    Model("gan", "dcgan", 20, 2),
    Model("flow", "multiscale", 75, 30, ("--scale-steps", "1", "1", "--scale-channels", "8", "8")),
)

# The report's figures but the sixth: a run, and its pictures; `samples-*` are those before
# training, half way and after.
FIGURES = {
    1: ("vae-mlp-0", "curves.png"),
    2: ("vae-mlp-0", "samples-*.png"),
    3: ("vae-mlp-2d-0", "manifold.png"),
    4: ("gan-mlp-0", "curves.png"),
    5: ("gan-mlp-0", "samples-*.png"),
    7: ("flow-mlp-0", "curves.png"),
    8: ("flow-mlp-0", "samples-*.png"),
}
# Figure 6 goes from a 2 to a 6 in seven steps, found among so many samples.
DIGITS, STEPS, CANDIDATES = (2, 6), 7, 1000


def steps(folder: Path, quick: bool) -> list[Step]:
    """All steps in their order, each written below `folder`."""
    models = str(folder / "saved_models")
    short = ("--epochs", "1") if quick else ()
    made, judged = [], []
    seeds = SEEDS[:2] if quick else SEEDS
    runs = [(model, seed) for seed in seeds for model in REPORTED] + [(model, 0) for model in BEST]
    for model, seed in runs:
        run = folder / "runs" / f"{model.family}-{model.preset}-{seed}"
        train = (model.family, "--preset", model.preset, "--seed", str(seed), "--run-dir", str(run))
        train = (*train, *short, *(model.small if quick else ()))
        made.append(Step("train", (*train, "--saved-models", models), model.minutes, run))
        evaluate = (
            ("--importance-samples", "20", "--n", "500", "--dequantizations", "2") if quick else ()
        )
        evaluate = evaluate or ("--importance-samples", str(SAMPLES))
        made.append(Step("evaluate", (str(run), *evaluate), model.judging))
        judged.append(str(run))
    plane = folder / "runs" / "vae-mlp-2d-0"
    flat = ("vae", "--preset", "mlp-2d", "--run-dir", str(plane), *short, "--saved-models", models)
    made.append(Step("train", flat, 2, plane))
    made.append(Step("compare", (*judged, "--to", str(folder / "comparison")), 0.1))
    return made


def command(step: Step) -> list[str]:
    """The words of a step's command; a training that was begun is resumed."""
    words = [f"tfgen-{step.verb}", *step.arguments]
    if step.run is not None and (step.run / "config.json").exists():
        words.append("--resume")
    return words


def report_figures(folder: Path) -> None:
    """Writes `figures/figure-1.png` … `figure-8.png` of the runs that are there."""
    shown = folder / "figures"
    shown.mkdir(exist_ok=True)
    for number, (run, pattern) in FIGURES.items():
        pictures = (folder / "runs" / run / "figures").glob(pattern)
        # Shorter names first: by the number of the epoch.
        in_order = sorted(pictures, key=lambda path: (len(path.name), path.name))
        panels = [np.asarray(Image.open(path).convert("RGB")) for path in in_order]
        strip = figures.png_bytes(np.concatenate(panels, axis=1), least_side=0)
        write_bytes(shown / f"figure-{number}.png", strip)
    write_bytes(shown / "figure-6.png", interpolation(folder / "runs" / "gan-mlp-0"))


def interpolation(run: Path) -> bytes:
    """Figure 6, a PNG: what the shipped classifier most surely takes for each digit, and the way
    between."""
    gan = tfgen.load(run)
    latents = gan.latents(tfgen.image_seeds(0, CANDIDATES)).numpy()
    images = np.round(255 * gan.decode(latents).numpy()).astype(np.uint8)
    classifier = tfgen.Sampler(
        versions.find("classifier", versions.shipped_folder(), versions.SHIPPED)
    )
    logits = classifier.call("features", images=images)["logits"]
    margins = logits - np.sort(logits, axis=1)[:, -2:-1]
    ends = [latents[margins[:, digit].argmax()] for digit in DIGITS]
    way = figures.interpolated_latents(*ends, STEPS)
    return figures.png_bytes(figures.image_grid(gan.decode(way).numpy(), STEPS))


def closing_table(runs: Sequence[str], out: Path) -> int:
    """Writes the report's closing table of judged runs; the exit status."""
    script = Path(__file__).with_name("closing_table.py")
    return run([sys.executable, str(script), *runs, "--out", str(out)])


def left(todo: Sequence[Step], pace: float) -> str:
    """How long the steps will take at a pace relative to what they are said to."""
    minutes = round(pace * sum(step.minutes for step in todo))
    return f"{minutes // 60} h {minutes % 60:02} min"


def run(words: Sequence[str]) -> int:
    """Runs a command to its end and gives its exit status.

    In a session of its own, lest a terminal's Ctrl-C come to it twice: a signal is handed on once,
    and it is waited for while it saves what it has.
    """
    process = subprocess.Popen(words, start_new_session=True)
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {
        each: signal.signal(each, lambda signum, _: process.send_signal(signum)) for each in signals
    }
    try:
        status = process.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return status if status >= 0 else 128 - status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not done; the status of the first command that fails, 0 if none does."""
    parser = argparse.ArgumentParser(description="Reproduces docs/reproduction.md.")
    parser.add_argument(
        "--to", type=Path, default=Path("reproduction"), help="folder of all that is made"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one epoch of small networks, 500 samples"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands that are left")
    args = parser.parse_args(arguments)
    # Apart, lest the one be taken for the other.
    folder = args.to / "quick" if args.quick else args.to
    done = folder / "done.json"
    finished: dict[str, float] = json.loads(done.read_text()) if done.exists() else {}
    whole = steps(folder, args.quick)
    todo = [step for step in whole if step.key(folder) not in finished]
    if args.dry_run:
        print("\n".join(" ".join(command(step)) for step in todo))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    for index, step in enumerate(todo):
        words = command(step)
        estimated = sum(each.minutes for each in whole if each.key(folder) in finished)
        # By what was measured, once that is more than a few minutes.
        pace = sum(finished.values()) / estimated if estimated > 10 else 0.02 if args.quick else 1.0
        print(
            f"[{index + 1}/{len(todo)}, about {left(todo[index:], pace)} left] {' '.join(words)}",
            flush=True,
        )
        begun = time.perf_counter()
        # The commands that belong to this very Python.
        script = Path(sys.executable).with_name(words[0])
        if status := run([str(script), *words[1:]]):
            return status
        finished[step.key(folder)] = round((time.perf_counter() - begun) / 60, 2)
        write_bytes(done, (json.dumps(finished, indent=1) + "\n").encode())
    report_figures(folder)
    table = folder / "closing-table.md"
    if status := closing_table(
        [step.arguments[0] for step in whole if step.verb == "evaluate"], table
    ):
        return status
    print(
        f"tables: {table} and {folder / 'comparison'}; the report's figures: {folder / 'figures'}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
