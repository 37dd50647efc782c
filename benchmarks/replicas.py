"""Trains on a part of MNIST over two replicas, and on one device; prints how much they differ.

    python -m benchmarks.replicas
    python -m benchmarks.replicas flow/mlp flow/multiscale

Each family trains three epochs, dense and convolutional, in three precisions: on one device, on two
logical CPUs, and in two processes. The noise of an image is a function of its pixels, and no unit
is dropped, so that all draw the same noise. The table has the largest relative deviation from the
training on one device, of both distributed trainings:

- of the losses and other values that are logged in each epoch, for training and validation images;
- of the last validation from the mean over all images in one batch on one device.

"Another order" is the largest deviation of a training on one device, with the images of each batch
in reverse order: mathematically the same, too, but rounded differently. "Unequal" counts the arrays
of weights, states of optimizers and logs in which the two processes differ by a bit.
"""

import dataclasses
import functools
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.distributed import Case, Images, main, run
from tfgen import load_data, registry
from tfgen.nn.optimizers import Schedule
from tfgen.registry import Preset

PRESETS = (
    *("vae/mlp", "vae/conv", "gan/mlp", "gan/dcgan", "flow/mlp", "flow/multiscale"),
    *("flow-matching/mlp", "flow-matching/unet", "classifier/conv"),
)
POLICIES = ("float64", "float32", "mixed_bfloat16")
EPOCHS = 3
# In batches of 128, 64 or 32, the last ones have 51 or 19 images, and a single one.
IMAGES, HELD_OUT = 1203, 257
# How the names of the values begin that one device computes of all validation images at once.
WHOLE = "in one batch "
HEAD = " training | validation | mean over images | another order | unequal |"


@functools.cache
def part_of_mnist() -> Images:
    """The images of all cases."""
    data = load_data("mnist")
    train, held_out = data.train.take(0, IMAGES), data.validation.take(0, HELD_OUT)
    return Images(train.images, train.labels, held_out.images, held_out.labels)


def in_another_order(batch_size: int) -> Images:
    """The same batches with their images in reverse order."""
    images, starts = part_of_mnist(), range(0, IMAGES, batch_size)
    reverse = np.concatenate([np.arange(IMAGES)[start:][:batch_size][::-1] for start in starts])
    return images._replace(train=images.train[reverse], labels=images.labels[reverse])


@dataclass
class PresetCase(Case):
    """A preset of a family, with the optimizers that `tfgen-train` gives it."""

    preset: Preset | None = None

    def optimizers(self, model: Any) -> dict[str, Any]:
        """Arguments of `compile`."""
        preset = self.preset
        steps = math.ceil(IMAGES / self.batch_size)
        schedule = Schedule(
            warmup_steps=round(preset.warmup_epochs * steps),
            cosine_steps=EPOCHS * steps if preset.schedule == "cosine" else None,
            clip_norm=preset.clip_norm,
        )
        optimizers = model.default_optimizers(preset.learning_rate, schedule)
        for adam in optimizers.values():
            # Over replicas, Keras computes the step, and takes them for float32 even in float64.
            adam.beta_1, adam.beta_2 = (float(np.float32(b)) for b in (adam.beta_1, adam.beta_2))
        return optimizers


def make_case(name: str, policy: str) -> PresetCase:
    """A preset, such as `vae/mlp`, without dropout."""
    family_name, _, preset_name = name.partition("/")
    family = registry.family(family_name)
    preset = family.preset(preset_name)
    fields = {"config": preset.model, "dtype": policy}
    if hasattr(preset.model, "dropout"):
        fields["dropout"] = 0.0
    if not family.generative:
        fields["num_classes"] = 10
    return PresetCase(
        registry.load_class(family.name),
        fields,
        data=part_of_mnist,
        batch_size=preset.batch_size,
        epochs=EPOCHS,
        eagerly=False,
        preset=preset,
    )


def make_row(name: str, policy: str) -> str:
    """Trains a preset on one device and over replicas; returns its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), __spec__.name, [name, policy])
        results = {path.stem: dict(np.load(path)) for path in Path(folder).iterdir()}
    one, reverse = results["given-single"], results["reverse-single"]
    workers = [results[f"given-worker{index}"] for index in range(2)]
    replicas = [results["given-mirrored"], *workers]
    logs = [key for key in one if key.startswith("log ")]
    validation = [key for key in logs if key.startswith("log val_")]
    training = [key for key in logs if key not in validation]
    whole = {key: f"log val_{key.removeprefix(WHOLE)}" for key in one if key.startswith(WHOLE)}
    last = [{key: values[log][-1] for key, log in whole.items()} for values in replicas]
    deviations = [
        max(deviation(values[key], one[key]) for values in group for key in keys)
        for group, keys in (
            *((replicas, training), (replicas, validation)),
            *((last, whole), ([reverse], logs)),
        )
    ]
    unequal = sum(not np.array_equal(workers[0][key], workers[1][key]) for key in workers[0])
    cells = [name, policy, *(f"{value:.1e}" for value in deviations), str(unequal)]
    return "| " + " | ".join(cells) + " |"


def deviation(values: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative difference."""
    return float(np.max(np.abs(values - expected) / np.abs(expected)))


def train_in_process(kind: str, folder: str, name: str, policy: str) -> None:
    """Trains a preset in a process that `run` has started."""
    case = make_case(name, policy)
    reverse = dataclasses.replace(case, data=lambda: in_another_order(case.batch_size))
    cases = {"given": case.train}
    if kind == "mirrored":
        cases["reverse"] = lambda strategy: {} if strategy else reverse.train(None)
    main(kind, Path(folder), cases)


def print_table(names: Sequence[str]) -> None:
    """Prints the table, a line as soon as it is there."""
    print(f"| preset | precision |{HEAD}\n|---|---|{HEAD.count('|') * '---:|'}", flush=True)
    for name in names:
        for policy in POLICIES:
            print(make_row(name, policy), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] in (["mirrored"], ["multiworker"]):
        train_in_process(*sys.argv[1:])
    else:
        print_table(sys.argv[1:] or PRESETS)
