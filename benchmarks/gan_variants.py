"""Compares variants of the GAN's preset `images` after equal training times on the CPU.

    python benchmarks/gan_variants.py --dataset photos --data-dir data --minutes 6 --out variants

The variants train in turns, a minute or less at a time, so that other work on the machine slows all
of them alike. Their learning rate is constant, because the number of steps is not known in advance.
Samples from the moving average are judged by the fixed random network, against the validation
images. --out gets `results.json`, which is printed as a table, and a picture for each variant.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen import figures, registry
from tfgen.data import Dataset, load, on_host, train_batches
from tfgen.errors import UsageError
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system import machine
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly

PROG = "gan_variants"
# Steps of a turn.
CHUNK = 64
# Samples that are judged, in chunks of what a model draws at a time, and samples on a picture.
SAMPLES, PICTURED = 1000, 100
METRICS = ("fid", "kid", "precision", "recall", "density", "coverage")
# For each variant: a preset, and the changed options of its model and its training.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "images": ("images", {}),
    "weakest-penalties": ("images", {"r1": 0.1, "r2": 0.1}),
    "weak-penalties": ("images", {"r1": 1.0, "r2": 1.0}),
    "strong-penalties": ("images", {"r1": 16.0, "r2": 16.0}),
    "non-saturating": ("images", {"loss": "non_saturating"}),
    "hinge": ("images", {"loss": "hinge"}),
    "hinge-spectral": ("images", {"loss": "hinge", "r1": 0.0, "r2": 0.0, "spectral_norm": True}),
    "translation": ("images", {"diff_augment": ("translation",)}),
    "augmentation": ("images", {"diff_augment": ("color", "translation", "cutout")}),
    "24-channels": ("images", {"channels": 24}),
    "large-batches": ("images", {"batch_size": 32}),
    "dcgan": ("dcgan", {}),
}


@dataclass
class Variant:
    """A variant in training.

    Attributes:
        name: its name in `VARIANTS`.
        config: configuration of its run.
        model: the compiled model.
        seconds: time of its steps so far, without the first turn, which traces the step.
        processor: processor time of the same steps [s].
        steps: number of its steps so far.
    """

    name: str
    config: RunConfig
    model: Any
    seconds: float = 0.0
    processor: float = 0.0
    steps: int = 0

    def train(self, images: Any) -> None:
        """One turn."""
        options = self.config.options
        batches = train_batches(
            images, batch_size=options.batch_size, seed=options.seed, start_step=self.steps
        ).take(CHUNK)
        start, processor = time.perf_counter(), time.process_time()
        self.model.fit(batches, shuffle=False, verbose=0)
        if self.steps:
            self.seconds += time.perf_counter() - start
            self.processor += time.process_time() - processor
        self.steps += CHUNK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; its exit status does not depend on the results."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = _arguments(argv)
    tf, cores = import_quietly("tfgen.nn.cores")
    tf.config.set_visible_devices([], "GPU")
    cores.share_cores()
    dataset = load(arguments.dataset, arguments.data_dir)
    variants = [_variant(name, dataset, arguments) for name in arguments.variants]
    images = on_host(dataset.train.images)
    while waiting := [v for v in variants if v.seconds < 60 * arguments.minutes]:
        for variant in waiting:
            variant.train(images)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    rows = [_judge(variant, dataset, out) for variant in variants]
    results = {
        "dataset": dataset.fingerprint,
        "minutes": arguments.minutes,
        "precision": arguments.precision,
        "channels": arguments.channels,
        "machine": machine.describe(),
        "variants": rows,
    }
    write_bytes(out / "results.json", json.dumps(results, indent=2).encode())
    print(_table(rows))


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = Parser(PROG, __doc__)
    names = ", ".join(VARIANTS)
    parser.add_argument("--dataset", default="mnist", metavar="NAME", help="data set")
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="folder of data sets")
    parser.add_argument(
        "--minutes", type=float, default=6.0, metavar="X", help="of each variant (default: 6)"
    )
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), metavar="V", help=f"of {names}"
    )
    parser.add_argument(
        "--precision", default="float32", metavar="P", help="dtype policy (default: float32)"
    )
    parser.add_argument(
        "--channels",
        type=int,
        metavar="N",
        help="channels of all variants that set none, dcgan too (default: those of their preset)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the results")
    arguments = parser.parse(argv)
    if arguments.minutes <= 0:
        raise UsageError("--minutes must be more than 0")
    if unknown := sorted(set(arguments.variants) - set(VARIANTS)):
        raise UsageError(f"unknown variant {unknown[0]!r}; known: {names}")
    return arguments


def _variant(name: str, dataset: Dataset, arguments: argparse.Namespace) -> Variant:
    plan = import_quietly("tfgen.training.plan")[1]
    preset_name, changes = VARIANTS[name]
    preset = registry.family("gan").preset(preset_name)
    training = {**preset.training(), "schedule": "constant", "preset": preset_name}
    training["precision"] = arguments.precision
    fields: dict[str, Any] = {"image_shape": dataset.train.images.shape[1:]}
    if arguments.channels is not None:
        fields["channels"] = arguments.channels
    for option, value in changes.items():
        (training if option in training else fields)[option] = value
    options = TrainingOptions(**training)
    model_config = dataclasses.replace(preset.model, **fields)
    config = RunConfig("gan", model_config, options)
    model = plan.compiled_model(config, None, len(dataset.train) // options.batch_size)
    return Variant(name, config, model)


def _judge(variant: Variant, dataset: Dataset, out: Path) -> dict[str, Any]:
    network = import_quietly("tfgen.evaluation.features")[1]
    metrics = import_quietly("tfgen.evaluation.metrics")[1]
    real = dataset.validation.images[:SAMPLES]
    images = variant.model.sample(SAMPLES, seed=0).numpy()
    picture = figures.picture(images[:PICTURED], f"{variant.name}, {variant.steps} steps", 10)
    picture.savefig(out / f"{variant.name}.png", dpi=150)
    extractor = network.RandomNetwork(min(SAMPLES, len(real)))
    features = [
        extractor.extract(pixels) for pixels in (np.round(255 * images).astype(np.uint8), real)
    ]
    return {
        "name": variant.name,
        "changes": VARIANTS[variant.name][1],
        "steps": variant.steps,
        "seconds": round(variant.seconds, 1),
        "processor_seconds_per_step": variant.processor / max(1, variant.steps - CHUNK),
        **metrics.sample_metrics(*features, num_modes=0),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [["variant", "steps", "seconds", "cpu s/step", *METRICS]]
    for row in rows:
        values = [f"{row[name]:.3f}" if name in row else "–" for name in METRICS]
        processor = f"{row['processor_seconds_per_step']:.3f}"
        times = [str(row["steps"]), f"{row['seconds']:.0f}", processor]
        lines.append([row["name"], *times, *values])
    return "\n".join("".join(f"{cell:>16}" for cell in line) for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
