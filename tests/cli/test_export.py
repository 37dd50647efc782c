"""`tfgen-export`: a run's or a `.keras` file's sampler as the next version, or as one file."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import tfgen
from tests import commands
from tests.conftest import Trained
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.usefixtures("here")

NAME = "vae-2d-tiny"


def export(*argv: object) -> int:
    return commands.main("export", [str(word) for word in argv])


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def weights_of(version: Path) -> list[np.ndarray]:
    sampler = tfgen.load(version)
    return [variable.numpy() for variable in sampler._model.weights]


def test_a_run_is_published_with_the_weights_asked_for_as_the_next_version(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trained.runs / "flat"
    for number, weights in ((2, "best"), (3, "last")):
        assert export(run, "--to", "models", "--weights", weights) == 0
        version = Path("models") / NAME / str(number)
        *_, published = capfd.readouterr().out.splitlines()
        assert re.fullmatch(
            rf"published {version} from epoch 2, the {weights}( by val_loss [\d.]+)?; "
            rf"draw samples with: tfgen-sample {NAME} --n 25 --saved-models models",
            published,
        )
        manifest = json.loads((version / "manifest.json").read_text())
        assert (manifest["family"], manifest["weights"]) == ("vae", weights)
        record = json.loads((run / "config.json").read_text())
        cost = RunFolder(run).read_cost()
        assert manifest["run"] == {**record, "epochs_done": 2, "cost": cost}
        assert "assets.extra/tf_serving_warmup_requests" in manifest["files"]
        live, sampler = tfgen.load(run, weights=weights), tfgen.load(version)
        seeds = np.arange(5, dtype=np.int32)
        np.testing.assert_allclose(
            sampler.call("sample", seed=seeds)["images"], live.sample(seeds=seeds), atol=1e-5
        )
    assert sorted(path.name for path in version.parent.iterdir()) == ["2", "3"]


def test_a_keras_file_is_published(capfd: pytest.CaptureFixture[str]) -> None:
    model = tfgen.GAN(
        image_shape=(8, 8, 1), generator_hidden=(4,), discriminator_hidden=(4,), seed=3
    )
    model.save("g.keras")
    assert export("g.keras", "--to", "models") == 0
    sampler, seeds = tfgen.load("models/gan/2"), np.arange(5, dtype=np.int32)
    np.testing.assert_allclose(
        sampler.call("sample", seed=seeds)["images"], model.sample(seeds=seeds), atol=1e-5
    )
    assert sampler.manifest["run"]["family"] == "gan" and sampler.manifest["run"]["options"] == {
        "seed": 3
    }


def test_a_dry_run_tells_all_and_writes_nothing(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert export(trained.runs / "flat", "--dry-run") == 0
    lines = capfd.readouterr().out.splitlines()
    start = f"would publish saved_models/{NAME}/2, weights of epoch 2, the best by val_loss "
    assert lines[0].startswith(start)
    assert [line.split() for line in lines[1:4]] == [
        ["sample", "seed:", "int32[B]", "→", "images:", "float32[B,", "6,", "6,", "1]"],
        ["latents", "seed:", "int32[B]", "→", "latents:", "float32[B,", "2]"],
        ["decode", "latents:", "float32[B,", "2]", "→", "images:", "float32[B,", "6,", "6,", "1]"],
    ]
    assert list(here.iterdir()) == []


def test_a_decoder_is_written_without_logs_and_runs_as_the_command_says(
    trained: Trained, here: Path
) -> None:
    saved_models = str(trained.saved_models)
    flags = [NAME, "--format", "onnx", "--to", saved_models]
    done = commands.process("export", flags, here)
    assert (done.returncode, done.stderr) == (0, "")
    written, advice = done.stdout.splitlines()
    path = f"{NAME}-decode.onnx"
    size = (here / path).stat().st_size / 1e6
    tensors = "latents: float32[B, 2] → images: float32[B, 6, 6, 1]"
    assert written == f"wrote {path}, {size:.1f} MB: {tensors}"
    latents = np.eye(2, dtype=np.float32)
    names = {"onnxruntime": onnxruntime, "latents": latents}
    images = eval(advice.removeprefix("run it with: "), names)
    expected = tfgen.load(trained.saved_models / NAME / "2").decode(latents)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert files(here) == [path]


def test_decoders_of_runs_files_and_versions(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tfgen.load(trained.runs / "flat").save("mine.keras")
    (here / "version.tflite").write_text("is replaced")
    version = trained.saved_models / NAME / "2"
    assert export(trained.runs / "flat", "--format", "litert") == 0
    assert export("mine.keras", "--format", "litert") == 0
    assert export(version, "--format", "litert", "--out", "version.tflite") == 0
    paths = [f"{NAME}-decode.tflite", "mine-decode.tflite", "version.tflite"]
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(",") for line in lines[::2]] == paths
    assert all('get_signature_runner("decode")(latents=latents)' in line for line in lines[1::2])
    latents = np.eye(2, dtype=np.float32)
    expected = tfgen.load(version).decode(latents)
    for path in paths:
        decode = tf.lite.Interpreter(path).get_signature_runner("decode")
        np.testing.assert_allclose(decode(latents=latents)["images"], expected, atol=1e-5)
    assert files(here) == sorted(["mine.keras", *paths])


def test_wrong_uses(trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "damaged.keras").write_bytes(b"PK")
    model = tfgen.VAE(image_shape=(8, 8, 1), latent_dim=2, hidden=(4,))
    model.save("other.keras")
    shutil.copytree(trained.saved_models, here / "models")
    before = files(here)
    capfd.readouterr()
    cases = {
        ("nowhere",): (2, "nowhere is neither"),
        ("damaged.keras",): (1, "damaged.keras cannot be loaded"),
        ("nowhere", "--format", "litert"): (2, "unknown model 'nowhere'"),
        ("vae", "--format", "onnx", "--out", "vae.tflite"): (2, "file that ends in .onnx"),
        ("classifier", "--format", "litert"): (2, "makes no images; it offers features"),
        ("other.keras", "--to", "models", "--name", NAME, "--dry-run"): (
            2,
            f"models/{NAME} cannot take this model: ",
        ),
    }
    for argv, (status, message) in cases.items():
        assert export(*argv) == status, argv
        out, err = capfd.readouterr()
        assert out == "" and len(err.splitlines()) == 1
        assert err.startswith("tfgen-export: error: ") and message in err
        assert files(here) == before
