"""Which preset a data set gets, and for how many epochs it is trained."""

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.conftest import Trained, blank_dataset
from tfgen import registry
from tfgen.data import Dataset
from tfgen.publishing.listing import changed_settings
from tfgen.settings.training import RunConfig

train = importlib.import_module(f"{commands.PACKAGE}.train")


def config(*argv: str) -> RunConfig:
    return train.parse(list(argv)).config


@pytest.mark.parametrize("name", ["vae", "gan", "flow", "flow-matching", "classifier"])
def test_any_images_but_mnist_get_the_preset_for_images(name: str) -> None:
    family = registry.family(name)
    first = next(iter(family.presets))
    expected = {
        (): first,
        ("--dataset", "mnist:3.0.1"): first,
        ("--dataset", "photos"): "images",
        ("--dataset", "colored_mnist"): "images",
        ("--dataset", "photos", "--preset", first): first,
        ("--preset", "images"): "images",
    }
    for argv, preset in expected.items():
        asked = config(name, *argv)
        assert (asked.options.preset, asked.model) == (preset, family.preset(preset).model)
    assert registry.default_name(name, "photos", config(name, "--dataset", "photos").model) == (
        f"{name}-photos"
    )


def test_a_preset_for_a_data_set_and_the_data_set_imply_each_other() -> None:
    from tfgen.training.plan import with_data

    stacked = blank_dataset("stacked_mnist", (28, 28, 3), 1000, 128_000, 10_000, 10_000)
    for argv in (("--preset", "stacked"), ("--dataset", "stacked_mnist")):
        asked = config("gan", *argv)
        assert (asked.options.preset, asked.options.dataset) == ("stacked", "stacked_mnist")
        decided = with_data(asked, stacked)
        assert decided.options.epochs == asked.options.epochs
        assert registry.default_name("gan", "stacked_mnist", decided.model) == "gan-stacked_mnist"
    elsewhere = config("gan", "--preset", "stacked", "--dataset", "photos")
    assert (elsewhere.options.preset, elsewhere.options.dataset) == ("stacked", "photos")
    assert with_data(elsewhere, data(50_000)).options.epochs == 64
    assert config("vae", "--dataset", "stacked_mnist").options.preset == "images"


def test_all_images_are_trained_on_for_as_many_steps() -> None:
    from tfgen.training.plan import notes, with_data

    mnist = blank_dataset("mnist", (28, 28, 1), 10, 50_000, 10_000, 10_000)
    asked = config("vae", "--preset", "mlp", "--train-on", "all")
    decided = with_data(asked, mnist)
    # 40 epochs of 390 steps are 15 600 steps, and 33 of 468 are 15 444.
    assert (asked.options.epochs, decided.options.epochs) == (40, 33)
    epochs, train_on = notes(asked, decided, mnist)
    assert epochs.startswith("60,000 training images: 33 epochs of 468 steps, about as many steps")
    assert train_on.startswith("--train-on all: 60,000 training images, the 10,000 validation")
    assert with_data(config("vae"), mnist) == dataclasses.replace(config("vae"), preset_epochs=())
    assert not notes(config("vae"), config("vae"), mnist)


def data(train_images: int) -> Dataset:
    return blank_dataset("photos", (28, 28, 1), 10, train_images, 10, 10)


# 8 epochs of 390 steps and a warm-up of 195 steps.
CLASSIFIER = ("classifier", "--dataset", "photos")


@pytest.mark.parametrize(
    ("argv", "images", "epochs", "warmup"),
    [
        (CLASSIFIER, 50_000, 8, 0.5),
        (CLASSIFIER, 2521, 164, 10.25),  # 3116 of 3120 steps, in epochs of 19 steps
        (CLASSIFIER, 2_000_000, 1, 0.0625),
        # With the user's own epochs, the warm-up keeps its steps, as far as they fit into the run.
        ((*CLASSIFIER, "--epochs", "80"), 2521, 80, 10.25),
        ((*CLASSIFIER, "--epochs", "8"), 2521, 8, 2),
        ((*CLASSIFIER, "--epochs", "4", "--warmup-epochs", "3"), 2521, 4, 3),
        ((*CLASSIFIER, "--epochs", "1"), 50_000, 1, 0.25),
        ((*CLASSIFIER, "--batch-size", "100000"), 100_000, 8, 0.5),
    ],
)
def test_a_preset_is_trained_for_the_same_number_of_steps(
    argv: tuple[str, ...], images: int, epochs: int, warmup: float
) -> None:
    from tfgen.training.plan import notes, with_data

    asked = config(*argv)
    decided = with_data(asked, data(images))
    assert (decided.options.epochs, decided.options.warmup_epochs) == (epochs, warmup)
    assert with_data(decided, data(images)) == decided
    assert bool(notes(asked, decided, data(images))) == (epochs != asked.options.epochs)
    run = {**decided.to_json(), "family": "classifier"}
    changed = changed_settings(run)
    has_preset_warmup = warmup == 0.5 or warmup / epochs == 0.5 / 8
    assert ("warmup_epochs" in changed) == (not has_preset_warmup)
    assert "epochs" not in changed


@pytest.mark.parametrize(
    ("images", "batch_size", "steps", "lines"),
    [(28, 16, 36, 3), (4, 4, 250, 3), (999, 128, 14, 1), (1000, 128, 7, 1)],
)
def test_few_images_make_small_batches_and_epochs_of_several_passes(
    images: int, batch_size: int, steps: int, lines: int
) -> None:
    from tfgen.training.plan import epoch_steps, notes, with_data

    asked, few = config(*CLASSIFIER), data(images)
    decided = with_data(asked, few)
    assert decided.options.batch_size == batch_size
    assert epoch_steps(decided.options, few) == steps
    assert decided.options.epochs == round(8 * 390 / steps)
    assert with_data(decided, few) == decided
    assert len(notes(asked, decided, few)) == lines


def test_the_command_says_how_many_epochs_the_data_makes(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    presets: Any = registry.family("vae").presets
    # The data set has 334 training images, which an epoch passes three times; a batch has 64.
    short = dataclasses.replace(presets["mlp"], epochs=1, images=1984)
    monkeypatch.setitem(presets, "short", short)
    run = str(tmp_path / "run")
    argv = ["vae", "--preset", "short", "--dataset", "tiny", "--data-dir", str(trained.data)]
    argv += ["--hidden", "2", "--batch-size", "64", "--no-publish", "--run-dir", run]
    assert commands.main("train", argv) == 0
    assert "334 training images: 2 epochs of 15 steps, about as" in capsys.readouterr().out
    assert json.loads(Path(run, "config.json").read_text())["options"]["epochs"] == 2
    resumed = config("vae", "--resume", "--run-dir", run)
    assert (resumed.options.epochs, resumed.preset_epochs) == (2, ())
