"""What a version says of itself: preset, changed settings, date."""

from pathlib import Path
from typing import Any

import pytest

from tfgen.models.gan.config import GANConfig
from tfgen.publishing import listing, versions
from tfgen.registry import family
from tfgen.settings.training import RunConfig, TrainingOptions


def gan_run(preset: str, model: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The configuration of a run with some settings changed."""
    entry = family("gan").preset(preset)
    config = GANConfig.build(entry.model, model)
    training = TrainingOptions(**{**entry.training(), "preset": preset, **options})
    return RunConfig("gan", config, training).to_json()


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (
            gan_run(
                "mlp",
                {"spectral_norm": True, "generator_hidden": (8, 16)},
                **{"epochs": 1, "learning_rate": 1e-5, "start_from": "/home/me/runs/gan-1"},
            ),
            "preset mlp, learning rate 1e-05, start from runs/gan-1, generator hidden 8 16, "
            "spectral norm, 1 epoch",
        ),
        (
            gan_run("dcgan", {"discriminator_batch_norm": False}),
            "preset dcgan, no discriminator batch norm, 40 epochs",
        ),
        # What is no setting of the training, and what comes from the data.
        (
            gan_run(
                "mlp",
                {"image_shape": (8, 8, 3), "num_classes": 3},
                **{"name": "mine", "data_dir": "data", "run_dir": "run", "conditional": True},
            ),
            "preset mlp, conditional, 200 epochs",
        ),
        # What is not known is left out.
        ({"family": None}, ""),
    ],
)
def test_a_version_is_described_by_what_differs_from_its_preset(
    run: dict[str, Any], text: str
) -> None:
    assert listing.training_text({"run": run}) == text
    parts = [text, "published 2026-11-27"] if text else ["published 2026-11-27"]
    assert listing.training_text({"run": run, "published": "2026-11-27"}) == ", ".join(parts)


@pytest.mark.parametrize(("weights", "epochs"), [("epoch 60", 60), ("last", 67), ("epoch abc", 67)])
def test_the_epochs_of_a_kept_one_are_those_before_it(weights: str, epochs: int) -> None:
    manifest = {"run": {**gan_run("mlp", {}), "epochs_done": 67}, "weights": weights}
    assert listing.training_text(manifest) == f"preset mlp, {epochs} epochs"


def test_a_version_is_found_by_the_run_that_it_is_of(tmp_path: Path) -> None:
    run = gan_run("mlp", {})
    for seed in (0, 1, 0):
        manifest = {"run": {**run, "seed": seed}, "signatures": {}}
        versions.write_version(tmp_path, "gan", lambda folder, manifest=manifest: manifest)
    (tmp_path / "gan" / "5").mkdir()
    (tmp_path / "gan" / "5" / "manifest.json").write_text("{")
    assert versions.find_run({**run, "seed": 0}, "gan", tmp_path) == tmp_path / "gan" / "4"
    assert versions.find_run({**run, "seed": 1}, "gan", tmp_path) == tmp_path / "gan" / "3"
    assert versions.find_run({**run, "seed": 2}, "gan", tmp_path) is None
    assert versions.find_run(run, "vae", tmp_path) is None


def test_the_advice_on_a_shipped_version_is_a_line_with_its_likelihood(tmp_path: Path) -> None:
    def advice(name: str) -> str:
        return listing.shipped_advice(versions.Version(name, 7, tmp_path / name / "7"))

    shipped = versions.read_manifest(versions.shipped_folder() / "vae" / "1")["evaluation"]
    line = advice("vae")
    assert f"{shipped['likelihood']['nll']:.2f} nats" in line and "--version 1" in line
    assert "version 7" in line and "\n" not in line
    assert "FID" in advice("gan")
    assert not advice("vae-of-mine") and not advice("classifier")
