"""The estimate of memory and disk space: what it counts, what it says, and that it costs little."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tests import commands
from tests.conftest import Trained, blank_dataset
from tfgen import VAE, registry
from tfgen.data import Split, cache
from tfgen.data.load import load
from tfgen.data.reading import Prepared
from tfgen.data.writing import write_prepared
from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.system import machine
from tfgen.training import cost
from tfgen.training.plan import count_parameters
from tfgen.training.run import Run

DATA = blank_dataset("data", (8, 8, 1), 3, 100, 100, 100)


def run_config(family: str, batch_size: int = 4, **fields: Any) -> RunConfig:
    """The default preset of a family for small images."""
    entry = registry.family(family)
    if not entry.generative:
        fields["num_classes"] = 3
    preset = entry.presets[entry.default_preset]
    model = dataclasses.replace(preset.model, image_shape=(8, 8, 1), **fields)
    options = TrainingOptions(**preset.training() | {"batch_size": batch_size})
    return RunConfig(family, model, options)


@pytest.mark.parametrize("family", ["gan", "flow"])
def test_every_family_is_counted_without_values_of_its_weights(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Smaller than the preset, which has eight couplings.
    fields = {"couplings": 2, "hidden": (64,)} if family == "flow" else {}
    config = run_config(family, **fields)
    model, memory, _ = cost.estimate(config, DATA)
    assert all(variable._value is None for variable in model.trainable_variables)
    assert count_parameters(model) == count_parameters(registry.build_model(config))
    # Each parameter has two moments, and a gradient.
    assert memory["weights and optimizer"] >= 3 * 4 * count_parameters(model)
    assert memory["a step"] > 4 * count_parameters(model)
    # A family of another package may compute with its weights while it is built.
    build = registry.build_model
    monkeypatch.setattr(registry, "build_model", lambda c: _computed(build(c)))
    memory = cost.estimate(config, DATA)[1]
    assert memory["weights and optimizer"] >= 3 * 4 * count_parameters(model)


def test_what_cannot_be_counted_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: VAE, data: Any) -> None:
        raise error

    monkeypatch.setattr(VAE, "test_step", fail)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**6)
    error: Exception = ValueError("no such shape")
    cost.check(run_config("vae"), DATA)
    assert capsys.readouterr().err.count("ValueError: no such shape") == 1
    error = UsageError("refused")
    with pytest.raises(UsageError, match="refused"):
        cost.check(run_config("vae"), DATA)


def _computed(model: Any) -> Any:
    model.trainable_variables[0].numpy()[0, 0] += 1
    return model


def test_a_blank_data_set_is_like_the_loaded_one_and_decodes_nothing(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("tiny", tiny_data)
    monkeypatch.setattr(Prepared, "batches", None)
    blank = cost.blank_dataset("tiny", tiny_data)
    for name in ("name", "version", "image_shape", "num_classes"):
        assert getattr(blank, name) == getattr(loaded, name)
    for split in ("train", "validation", "test"):
        assert len(getattr(blank, split)) == len(getattr(loaded, split))


def test_images_of_the_cache_are_on_the_disk_and_not_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = 300 * 64
    for limit, in_memory, on_disk in ((pixels, 2 * pixels, 0), (0, 0, pixels)):
        monkeypatch.setattr(cache, "MAX_IN_MEMORY", limit)
        _, memory, disk = cost.estimate(run_config("vae"), DATA)
        assert (memory["images"], disk["cache of the data set"]) == (in_memory, on_disk)


def test_too_little_memory_and_disk_space_is_said(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 100 * 10**6)
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 1000)
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    words += ["--hidden", "4", "--dry-run", "--run-dir", str(tmp_path / "new" / "run")]
    assert commands.main("train", words) == 0
    lines = capsys.readouterr().out.splitlines()
    memory, disk = (line for line in lines if line.startswith("warning"))
    assert "100 MB of this machine" in memory and "--batch-size" in memory
    assert str(tmp_path) in disk and "--run-dir" in disk
    assert not (tmp_path / "new").exists()


def test_a_training_of_large_images_starts_with_the_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared("large", {"train": Split(np.zeros((6, 64, 64, 3), np.uint8))}, tmp_path)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 100 * 10**6)
    options = TrainingOptions(dataset="large", data_dir=tmp_path, batch_size=2)
    Run(RunConfig("vae", VAEConfig(latent_dim=2, hidden=(2,)), options), Console())
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("warning: this run needs about ") and "100 MB of this machine" in out


def test_a_check_leaves_no_variable_to_be_created_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the chief of several workers checks, and all must create the same variables.
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**6)
    assert cost.check(run_config("vae"), DATA)
    names: list[str] = []

    def note(create: Any, **arguments: Any) -> Any:
        names.append(arguments["name"])
        return create(**arguments)

    with tf.variable_creator_scope(note):
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="own")])
    assert sorted(names) == ["bias", "kernel"]
