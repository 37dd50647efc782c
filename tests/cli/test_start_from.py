"""`tfgen-train --start-from`: a training that goes on from a run, a file or a published version."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.conftest import Trained
from tfgen import GAN, VAE, Flow
from tfgen.errors import UsageError
from tfgen.publishing import export
from tfgen.publishing.opening import starting_model
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.slow

SHAPE = (6, 6, 1)


def train(trained: Trained, folder: Path, *flags: object) -> int:
    """Trains a VAE of the size of the run `flat`, in steps too short to change it."""
    words = ["vae", "--preset", "mlp", "--latent-dim", 2, "--hidden", 4, "--epochs", 1]
    words += ["--dataset", "tiny", "--data-dir", trained.data, "--batch-size", 40]
    words += ["--learning-rate", 1e-12, "--run-dir", folder / "run", "--no-publish", *flags]
    return commands.main("train", words)


def test_a_run_starts_with_the_loss_of_the_version(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = tmp_path / "vae-2d-tiny" / "2"
    shutil.copytree(trained.saved_models / "vae-2d-tiny" / "2", version)
    assert train(trained, tmp_path, "--start-from", version) == 0
    assert f", from the weights of {version}; run" in " ".join(capsys.readouterr().out.split())
    folder = RunFolder(tmp_path / "run")
    source = RunFolder(trained.runs / "flat").read_metrics()[-1]
    (row,) = folder.read_metrics()
    # Both validations draw the same noise.
    assert row["val_loss"] == pytest.approx(source["val_loss"], rel=1e-5)
    assert folder.read_config()["options"]["start_from"] == str(version)
    # A resumption needs the checkpoint alone.
    shutil.rmtree(version)
    words = ["vae", "--resume", "--run-dir", tmp_path / "run", "--epochs", 2]
    assert commands.main("train", words) == 0
    assert len(folder.read_metrics()) == 2
    commands.refused("train", [*words, "--start-from", "elsewhere"], "started with --start-from")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("nowhere", "nowhere is neither a run nor a .keras file nor a published version"),
        ("deep", "have other shapes; settings that differ: latent_dim = 20 there, 2 here\n"),
        ("gan.keras", "the weights to start from are of a GAN, not of a VAE"),
    ],
)
def test_what_cannot_be_a_start_is_named(
    start: str,
    message: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    GAN(image_shape=SHAPE, generator_hidden=(4,), discriminator_hidden=(4,)).save("gan.keras")
    Path("deep").symlink_to(trained.runs / "deep")
    assert train(trained, tmp_path, "--start-from", start) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_versions_give_back_all_that_was_trained(tmp_path: Path) -> None:
    models = {
        "vae": VAE(image_shape=SHAPE, hidden=(4,), latent_dim=2, ema_decay=0.9),
        "flow": Flow(image_shape=SHAPE, couplings=2, hidden=(4,), ema_decay=0.9),
    }
    for name, model in models.items():
        for weight in model.trainable_variables:  # the EMA stays
            weight.assign_add(np.full(weight.shape, 0.1))
        fresh = type(model)(model.config, seed=1)
        fresh.start_from(starting_model(export.publish(model, tmp_path, name)))
        with model.averaged():
            expected = [weight.numpy() for weight in model.trainable_variables]
        np.testing.assert_equal([weight.numpy() for weight in fresh.trainable_variables], expected)


def test_a_published_gan_lacks_its_discriminator(tmp_path: Path) -> None:
    gan = GAN(image_shape=SHAPE, generator_hidden=(4,), discriminator_hidden=(4,), ema_decay=0.9)
    with pytest.raises(UsageError, match="lacks weights of a training"):
        starting_model(export.publish(gan, tmp_path, "gan"))
    gan.save(tmp_path / "gan.keras")
    loaded = starting_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.sample(n=2), gan.sample(n=2))
