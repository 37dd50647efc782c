"""The report's figures and its closing table, and each family's best presets.

    python examples/reproduce.py --to reproduction     # about 12 hours on two cores, estimated
    python examples/reproduce.py --to trial --quick    # the same steps in minutes, as a trial

Each step is a command of tfgen, which is printed. Start the script again after an interruption: it
skips the steps that are done and resumes an interrupted training.
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
from matplotlib.figure import Figure
from PIL import Image

import tfgen
from tfgen import figures
from tfgen.publishing import versions
from tfgen.system.atomic import write_bytes

SEEDS = (0, 1, 2)
# Importance samples of the values in the tables.
IMPORTANCE_SAMPLES = 5000


@dataclass(frozen=True)
class Step:
    """A command of tfgen.

    Attributes:
        verb: of the console script, such as `train`.
        arguments: its arguments.
        run: run directory of a training; None for other commands.
    """

    verb: str
    arguments: tuple[str, ...]
    run: Path | None = None

    def key(self, folder: Path) -> str:
        """What identifies the step, wherever `folder`, in which it writes, is moved to."""
        return " ".join((self.verb, *self.arguments)).replace(str(folder), ".")


# Family, preset, and flags of a smaller network, for `--quick`.
REPORTED = (("vae", "mlp"), ("gan", "mlp"), ("flow", "mlp", "--hidden", "64"))
BEST = (
    ("vae", "long"),
    ("vae", "iwae"),
    ("vae", "conv", "--channels", "4"),
    ("gan", "dcgan"),
    ("flow", "multiscale", "--scale-steps", "1", "1", "--scale-channels", "8", "8"),
)

# The report's figures, apart from the sixth: a run, and its pictures. Of `samples-*`, those from
# before training, halfway through and at the end are shown.
FIGURES = {
    1: ("vae-mlp-0", "curves.png"),
    2: ("vae-mlp-0", "samples-*.png"),
    3: ("vae-mlp-2d-0", "manifold.png"),
    4: ("gan-mlp-0", "curves.png"),
    5: ("gan-mlp-0", "samples-*.png"),
    7: ("flow-mlp-0", "curves.png"),
    8: ("flow-mlp-0", "samples-*.png"),
}
# Figure 6 goes from a 2 to a 6 in seven steps. The two digits are chosen from so many samples.
DIGITS, STEPS, CANDIDATES = (2, 6), 7, 1000


def steps(folder: Path, quick: bool) -> list[Step]:
    """All steps in their order.

    Args:
        folder: where they write.
        quick: one epoch of small networks, and few samples.
    """
    models = str(folder / "saved_models")
    short = ("--epochs", "1") if quick else ()
    evaluation = ("--importance-samples", str(IMPORTANCE_SAMPLES))
    if quick:
        evaluation = ("--importance-samples", "20", "--n", "500", "--dequantizations", "2")
    result, runs = [], []
    seeds = SEEDS[:2] if quick else SEEDS
    trainings = [(model, seed) for seed in seeds for model in REPORTED]
    trainings += [(model, 0) for model in BEST]
    for (family, preset, *small), seed in trainings:
        run = folder / "runs" / f"{family}-{preset}-{seed}"
        train = (family, "--preset", preset, "--seed", str(seed), "--run-dir", str(run))
        train = (*train, *short, *(small if quick else ()), "--saved-models", models)
        result.append(Step("train", train, run))
        result.append(Step("evaluate", (str(run), *evaluation)))
        runs.append(str(run))
    plane = folder / "runs" / "vae-mlp-2d-0"
    train = ("vae", "--preset", "mlp-2d", "--run-dir", str(plane), *short, "--saved-models", models)
    result.append(Step("train", train, plane))
    result.append(Step("compare", (*runs, "--out", str(folder / "comparison"))))
    return result


def command(step: Step) -> list[str]:
    """The words of a step's command; a training whose run directory exists is resumed."""
    words = [f"tfgen-{step.verb}", *step.arguments]
    if step.run is not None and (step.run / "config.json").exists():
        words.append("--resume")
    return words


def report_figures(folder: Path) -> None:
    """Write `figures/figure-1.png` … `figure-8.png` from the runs in a folder."""
    target = folder / "figures"
    target.mkdir(exist_ok=True)
    for number, (run, pattern) in FIGURES.items():
        pictures = (folder / "runs" / run / "figures").glob(pattern)
        # By the number of the epoch: shorter names first.
        in_order = sorted(pictures, key=lambda path: (len(path.name), path.name))
        shown = in_order[:: max(1, len(in_order) // 2)]
        panels = [np.asarray(Image.open(path).convert("RGB")) for path in shown]
        strip = figures.png_bytes(np.concatenate(panels, axis=1), least_side=0)
        write_bytes(target / f"figure-{number}.png", strip)
    figures.save_figure(interpolation(folder / "runs" / "gan-mlp-0"), target / "figure-6.png")


def interpolation(run: Path) -> Figure:
    """Figure 6: images between two digits, in equal steps of the latents.

    For each digit, the sample that the shipped classifier assigns to it with the largest margin.
    """
    gan = tfgen.load(run)
    latents = gan.latents(tfgen.image_seeds(0, CANDIDATES)).numpy()
    images = np.round(255 * gan.decode(latents).numpy()).astype(np.uint8)
    classifier = tfgen.Sampler(
        versions.find("classifier", versions.shipped_folder(), versions.SHIPPED)
    )
    logits = classifier.call("features", images=images)["logits"]
    margins = logits - np.sort(logits, axis=1)[:, -2:-1]
    ends = [latents[margins[:, digit].argmax()] for digit in DIGITS]
    path = figures.interpolated_latents(*ends, STEPS)
    title = f"from a {DIGITS[0]} to a {DIGITS[1]}, in equal steps of the latents"
    return figures.picture(gan.decode(path).numpy(), title, STEPS)


def closing_table(runs: Sequence[str], out: Path) -> int:
    """Write the closing table of evaluated runs; returns the exit status."""
    script = Path(__file__).with_name("closing_table.py")
    return run([sys.executable, str(script), *runs, "--out", str(out)])


def run(words: Sequence[str]) -> int:
    """Run a command to its end; returns its exit status.

    Ctrl-C at the terminal reaches the command, too, which may save its state before it ends; so
    this script only waits.
    """
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.call(words)
    finally:
        signal.signal(signal.SIGINT, handler)
    return status if status >= 0 else 128 - status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps that are left; returns 0, or the status of a step that fails."""
    parser = argparse.ArgumentParser(description="Reproduces docs/reproduction.md.")
    parser.add_argument("--to", type=Path, default=Path("reproduction"), help="folder to write to")
    parser.add_argument(
        "--quick", action="store_true", help="one epoch of small networks, 500 samples"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands that are left")
    args = parser.parse_args(arguments)
    # In a folder of its own, so that a trial is not taken for the reproduction.
    folder = args.to / "quick" if args.quick else args.to
    progress = folder / "done.json"
    done: dict[str, float] = json.loads(progress.read_text()) if progress.exists() else {}
    whole = steps(folder, args.quick)
    if args.dry_run:
        todo = [step for step in whole if step.key(folder) not in done]
        print("\n".join(" ".join(command(step)) for step in todo))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    if status := run_steps(whole, folder, done, progress):
        return status
    report_figures(folder)
    table = folder / "closing-table.md"
    runs = [step.arguments[0] for step in whole if step.verb == "evaluate"]
    if status := closing_table(runs, table):
        return status
    print(
        f"tables: {table} and {folder / 'comparison'}; the report's figures: {folder / 'figures'}"
    )
    return 0


def run_steps(whole: Sequence[Step], folder: Path, done: dict[str, float], progress: Path) -> int:
    """Run the steps that are left; returns 0, or the status of a step that fails.

    Args:
        whole: all steps.
        folder: where they write.
        done: minutes of the steps that are done, by their key; steps are added.
        progress: file to write `done` to after each step.
    """
    todo = [step for step in whole if step.key(folder) not in done]
    for index, step in enumerate(todo):
        words = command(step)
        print(f"[{index + 1}/{len(todo)}] {' '.join(words)}", flush=True)
        start = time.perf_counter()
        # The command that is installed next to this Python.
        script = Path(sys.executable).with_name(words[0])
        if status := run([str(script), *words[1:]]):
            return status
        done[step.key(folder)] = round((time.perf_counter() - start) / 60, 2)
        write_bytes(progress, (json.dumps(done, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
