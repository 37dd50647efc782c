"""Fixtures: small images with a structure, a small prepared data set, two short trainings."""

import gc
import os
import re
import signal
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import commands
from tfgen.data import Dataset, Split
from tfgen.system import machine

SIDE = 6

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Graphs are made of many objects that stay. With Python's threshold of 700 new objects, the garbage
# collector takes a sixth of the time of the tests.
gc.set_threshold(200_000, 50, 1000)

# oneDNN computes in 16 bits with AVX-512 alone. Where ONEDNN_MAX_CPU_ISA forbids AVX-512 to a
# processor that has it, TensorFlow calls oneDNN all the same, and crashes; a processor without it
# computes in software, ten times as slowly.
HAS_16_BITS = machine.has_avx512()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("--slow"):
        terminalreporter.write_line("without the tests marked slow; --slow runs them, too")


def make_images(n: int, side: int = SIDE, channels: int = 1) -> np.ndarray:
    """Bars of random position and grey value, which a model can learn.

    Returns:
        `uint8[n, side, side, channels]`.
    """
    rng = np.random.default_rng(0)
    images = np.zeros((n, side, side, channels), np.uint8)
    for image in images:
        row, grey = rng.integers(side), rng.integers(128, 256)
        if rng.random() < 0.5:
            image[row] = grey
        else:
            image[:, row] = grey
    return images


def blank_dataset(
    name: str, shape: tuple[int, ...], num_classes: int | None, *sizes: int
) -> Dataset:
    """A data set of blank images, which take no memory; `sizes` of train, validation and test."""
    splits = [Split(np.broadcast_to(np.uint8(0), (size, *shape))) for size in sizes]
    return Dataset(name, "1.0.0", *splits, num_classes=num_classes, fingerprint="")


@pytest.fixture(autouse=True, scope="session")
def _skip_without_16_bits() -> None:
    """Skips a test that makes a policy of 16 bits where oneDNN has no instructions for it."""
    # Keras is imported here, since the process that only distributes the tests does not need it.
    import keras

    make_policy = keras.DTypePolicy.__init__

    def skip_16_bits(self: Any, name: str | None = None, *args: Any) -> None:
        if "float16" in str(name):
            pytest.skip("oneDNN has no instructions for 16 bits here")
        make_policy(self, name, *args)

    if not HAS_16_BITS:
        keras.DTypePolicy.__init__ = skip_16_bits


@pytest.fixture(autouse=True, scope="module")
def _no_graphs_of_other_modules() -> Iterator[None]:
    """Frees the graphs of a module's models.

    TensorFlow registers the gradient of a custom gradient, and of a function that another one
    calls, under a name with a number, and never removes it. Thousands of graphs would stay, with
    millions of objects, which Python's garbage collector visits again and again. What is alive at
    the end of a module mostly stays until the end, so it is not visited again.
    """
    yield
    from tensorflow.python.framework import ops

    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if re.fullmatch(r"\w+-\d+", name)]:
        del gradients[name]
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Seeds the global generators, which decide in which order `fit` takes arrays."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_images(64)


CLASS_NAMES = ["ant", "bee", "café"]


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set `tiny`: 400 training and 40 test images of 6 × 6, with labels."""
    from tfgen.data.writing import write_prepared

    folder = tmp_path_factory.mktemp("data")
    pixels, labels = make_images(440), np.arange(440) % 3
    tiny = Split(pixels, labels)
    splits = {"train": tiny.take(0, 400), "test": tiny.take(400, 440)}
    write_prepared("tiny", splits, folder, class_names=CLASS_NAMES)
    return folder


@dataclass(frozen=True)
class Trained:
    """The results of two short trainings on `tiny`.

    Attributes:
        data: the TFDS root that contains `tiny`.
        runs: the runs `flat`, of 2 latents and 2 epochs, and `deep`, of 20 latents and 1 epoch.
        saved_models: version 2 of `vae-2d-tiny` and of `vae-tiny`.
    """

    data: Path
    runs: Path
    saved_models: Path


@pytest.fixture(scope="session")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    results = Trained(tiny_data, folder / "runs", folder / "saved_models")
    common = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(tiny_data)]
    common += ["--saved-models", str(results.saved_models), "--hidden", "4", "--batch-size", "64"]
    flat = ["--latent-dim", "2", "--epochs", "2", "--run-dir", str(results.runs / "flat")]
    deep = ["--name", "vae-tiny", "--epochs", "1", "--run-dir", str(results.runs / "deep")]
    assert [commands.main("train", [*common, *flags]) for flags in (flat, deep)] == [0, 0]
    return results
