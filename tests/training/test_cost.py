"""The estimate of memory and disk space: what it counts, what it says, and that it costs little."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tests import commands
from tests.conftest import SIDE, Trained
from tfgen import registry
from tfgen.data import Split, cache
from tfgen.data.load import load
from tfgen.data.outline import Outline, outline
from tfgen.data.reading import Prepared
from tfgen.data.writing import write_prepared
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system import machine
from tfgen.training import cost, tracing
from tfgen.training.plan import compiled_model, count_parameters
from tfgen.training.run import Run

pytestmark = pytest.mark.newest

FAMILIES = ("vae", "gan", "flow", "classifier")


def run_config(family: str, shape: tuple[int, ...] = (8, 8, 1), **fields: Any) -> RunConfig:
    """The default preset of a family with small batches."""
    entry = registry.family(family)
    if not entry.generative:
        fields["num_classes"] = 3
    preset = entry.presets[entry.default_preset]
    model = dataclasses.replace(preset.model, image_shape=shape, **fields)
    return RunConfig(family, model, TrainingOptions(**preset.training() | {"batch_size": 4}))


def data_of(shape: tuple[int, int, int], count: int = 100) -> Outline:
    return Outline("data", shape, 3, count, count, count)


def graph_of(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Any:
    """The graph of a function of float32 tensors."""
    graph = tf.__internal__.FuncGraph("test")
    with graph.as_default():
        inputs = [tf.compat.v1.placeholder(tf.float32, shape) for shape in shapes]
        graph.structured_outputs = function(*inputs)
    return graph


# --- the memory of a graph --------------------------------------------------------------


def test_elementwise_operations_share_a_buffer() -> None:
    # The input is not counted, and has no buffer to write into.
    graph = graph_of(lambda x: tf.tanh(tf.exp(tf.sin(x))), (1000,))
    assert tracing.peak_bytes(graph) == 4000


def test_a_product_needs_its_input_and_its_output() -> None:
    graph = graph_of(lambda x, y: tf.matmul(tf.exp(x), y), (10, 20), (20, 30))
    assert tracing.peak_bytes(graph) == 4 * (10 * 20 + 10 * 30)


def test_a_gradient_holds_all_activations() -> None:
    depth = 7

    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in range(depth):
                y = tf.tanh(y)
        return tape.gradient(y, x)

    peak = tracing.peak_bytes(graph_of(gradient, (1000,)))
    # Each output of tanh is kept for its gradient; beside them there is the upstream gradient.
    assert 4000 * depth <= peak <= 4000 * (depth + 2)


def test_what_nothing_needs_is_not_computed() -> None:
    def sum_of(x: tf.Tensor) -> tf.Tensor:
        tf.matmul(x, x)
        return tf.reduce_sum(x)

    assert tracing.peak_bytes(graph_of(sum_of, (50, 50))) < 50 * 50 * 4


def test_the_branches_of_a_condition_count() -> None:
    def branch(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(x[0, 0] > 0, lambda: tf.reduce_sum(tf.matmul(x, x)), lambda: 0.0)

    assert tracing.peak_bytes(graph_of(branch, (50, 50))) >= 50 * 50 * 4


# --- the model --------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_counted_without_memory(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_SMALL", 64)
    # Smaller than the preset, which has eight couplings.
    fields = {"couplings": 2, "hidden": (64,)} if family == "flow" else {}
    config = run_config(family, **fields)
    with tracing.without_memory():
        model = compiled_model(config, None, 10)
    sizes = [math.prod(variable.shape) for variable in model.trainable_variables]
    large = model.trainable_variables[int(np.argmax(sizes))]
    assert large.numpy().size == 0
    assert count_parameters(model) == count_parameters(compiled_model(config, None, 10))
    counted, problem = cost.estimate(model, config, data_of((8, 8, 1)))
    assert not problem
    # Each parameter has two moments.
    assert counted.weights >= 3 * 4 * count_parameters(model)
    assert counted.step is not None and counted.step > 4 * count_parameters(model)


def test_a_step_needs_memory_in_proportion_to_its_batch() -> None:
    config = run_config("vae", latent_dim=2, hidden=(64,))
    with tracing.without_memory():
        model = compiled_model(config, None, 10)
    small, large = (
        tracing.peak_bytes(tracing.trace_step(model, size, training=True)) for size in (200, 2000)
    )
    assert 5 < large / small < 11


def step_bytes(batch_size: int, **fields: Any) -> int:
    """Peak memory of the tensors of a training step of a VAE."""
    with tracing.without_memory():
        model = compiled_model(run_config("vae", **fields), None, 10)
    return tracing.peak_bytes(tracing.trace_step(model, batch_size, training=True))


def test_a_step_of_a_hierarchical_vae_counts_each_level() -> None:
    # Two levels share a block of the encoder: the third and the fourth differ in the decoder alone.
    fields = {"architecture": "hierarchical", "latent_dim": 2, "channels": 64, "blocks": 0}
    batch, maps = 200, 4 * 4 * 64
    more, fewer = (step_bytes(batch, levels=levels, **fields) for levels in (4, 3))
    # For the gradient, a level keeps at least its inputs and the features, the output of `join`,
    # and of its block the inputs and outputs of both convolutions.
    assert more - fewer > 4 * batch * 7 * maps


def test_a_step_counts_the_decoder_for_each_sample() -> None:
    fields = {"latent_dim": 2, "hidden": (512,)}
    more, fewer = (step_bytes(1000, importance_samples=count, **fields) for count in (9, 5))
    # The hidden layer of the decoder, and its outputs.
    assert more - fewer > 4 * 1000 * 4 * (512 + 64)


def test_a_model_that_reads_its_weights_is_built_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "_SMALL", 64)
    read = []

    def build(*arguments: Any) -> Any:
        model = compiled_model(*arguments)
        read.append(model.trainable_variables[0].numpy())
        read[-1][0, 0]  # an IndexError if there is no value
        return model

    monkeypatch.setattr(cost, "compiled_model", build)
    cost._build(run_config("vae", latent_dim=2, hidden=(4,)), 10)
    assert [values.size for values in read] == [0, 64 * 4]


def test_a_step_that_cannot_be_traced_is_said(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise TypeError("a step of Python alone")

    monkeypatch.setattr(cost, "trace_step", fail)
    out = dry_run(trained, capsys)
    assert "memory                      at least" in out
    assert "cannot be traced (TypeError: a step of Python alone)" in out


# --- the data set -----------------------------------------------------------------------


def test_the_outline_is_that_of_the_loaded_data(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFGEN_CACHE", str(tmp_path))
    loaded = Outline.of(load("tiny", tiny_data))
    mapped = Outline.of(load("tiny", tiny_data, memory=0))
    monkeypatch.setattr(Prepared, "batches", None)  # nothing may be decoded
    assert outline("tiny", tiny_data) == loaded
    monkeypatch.setattr(cache, "MAX_IN_MEMORY", 0)
    assert outline("tiny", tiny_data) == mapped
    assert not mapped.in_memory
    monkeypatch.setenv("TFGEN_CACHE", str(tmp_path / "empty"))
    pixels = 440 * SIDE * SIDE
    assert pixels < outline("tiny", tiny_data).cache_bytes <= pixels + 440 * 8


def test_images_of_the_cache_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = run_config("vae", latent_dim=2, hidden=(4,)), data_of((8, 8, 1), 10**6)
    model = compiled_model(config, None, 10)
    monkeypatch.setattr(cost, "_trace", lambda *_: (0, 0))
    in_memory, _ = cost.estimate(model, config, data)
    mapped, _ = cost.estimate(model, config, dataclasses.replace(data, in_memory=False))
    assert in_memory.images >= 3 * 10**6 * 64
    assert mapped.images < 10**6


# --- what is said -----------------------------------------------------------------------


def dry_run(trained: Trained, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    common = ["--dataset", "tiny", "--data-dir", str(trained.data), "--hidden", "4"]
    assert commands.main("train", ["vae", "--preset", "mlp", *common, "--dry-run", *flags]) == 0
    return capsys.readouterr().out


def test_nothing_is_said_where_there_is_enough(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    out = dry_run(trained, capsys)
    assert "warning" not in out
    assert "334 training images: 7800 epochs of 2 steps, about as many steps as the 40" in out
    rows = dict(re.findall(r"^(\S.*?)  +(\S.*)$", out, re.MULTILINE))
    assert rows["memory"].startswith("about ") and rows["disk"].startswith("about ")


def test_too_little_memory_and_disk_space_is_said(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 100 * 10**6)
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 1000)
    out = dry_run(trained, capsys, "--run-dir", str(tmp_path / "new" / "run"))
    memory, disk = (line for line in out.splitlines() if line.startswith("warning"))
    assert "more than the 100 MB of this machine; " in memory
    assert f"free in {tmp_path}; " in disk and "--run-dir" in disk
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        (
            {"weights": 10**12},
            "another --preset (mlp-2d, long, iwae, conv, hierarchical, images, bytes), or smaller",
        ),
        ({"step": 10**12}, "use a smaller --batch-size, such as 2, or smaller images"),
        ({"images": 10**12}, "or fewer of them"),
    ],
)
def test_the_advice_is_about_the_largest_part(part: dict[str, int], advice: str) -> None:
    sizes = dict.fromkeys(("weights", "step", "images", "checkpoint", "run", "publishing"), 1)
    needed = cost.Cost(**sizes | part, cache=0)
    (warning,) = cost._warnings(needed, run_config("vae"), None)
    assert advice in warning and f"about {cost.bytes_text(needed.memory)} of memory" in warning


def test_the_memory_of_a_gpu_is_not_that_of_the_machine() -> None:
    sizes = dict.fromkeys(("images", "checkpoint", "run", "publishing", "cache"), 1)
    needed = cost.Cost(weights=10**12, step=10**12, **sizes, on_gpu=True)
    assert not cost._warnings(needed, run_config("vae"), None)


def test_a_training_of_large_images_starts_with_the_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 64
    images = np.zeros((6, side, side, 3), np.uint8)
    write_prepared("large", {"train": Split(images)}, tmp_path)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 100 * 10**6)
    options = TrainingOptions(dataset="large", data_dir=tmp_path, batch_size=2)
    Run(RunConfig("vae", VAEConfig(latent_dim=2, hidden=(2,)), options), Console())
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("warning: this run needs about ")
    assert "more than the 100 MB of this machine" in out
