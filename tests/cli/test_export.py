"""`tfgen-export`: a run's or a `.keras` file's sampler as the next version, or as one file."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import tfgen
from tests import commands
from tests.conftest import Trained
from tfgen.publishing.artifacts import identify
from tfgen.publishing.opening import starting_model
from tfgen.system import atomic
from tfgen.training.folder import RunFolder

pytestmark = pytest.mark.usefixtures("here")

NAME = "vae-2d-tiny"


def export(*argv: object) -> int:
    return commands.main("export", argv)


def files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def weights_of(version: Path) -> list[np.ndarray]:
    sampler = tfgen.load(version)
    return [variable.numpy() for variable in sampler._model.weights]


def test_a_run_is_published_with_the_weights_asked_for_as_the_next_version(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    run, version = trained.runs / "flat", Path("models") / NAME / "3"
    shutil.copytree(trained.saved_models, "models")
    assert export(run, "--to", "models", "--weights", "last") == 0
    *_, published = capfd.readouterr().out.splitlines()
    advice = f"draw samples with: tfgen-sample {NAME} --n 25 --saved-models models"
    assert published == f"published {version} from epoch 2, the last; {advice}"
    manifest = json.loads((version / "manifest.json").read_text())
    assert (manifest["family"], manifest["weights"]) == ("vae", "last")
    record = json.loads((run / "config.json").read_text())
    cost = RunFolder(run).read_cost()
    assert manifest["run"] == {**record, "epochs_done": 2, "cost": cost}
    assert "assets.extra/tf_serving_warmup_requests" in manifest["files"]
    live, sampler = tfgen.load(run, weights="last"), tfgen.load(version)
    seeds = np.arange(5, dtype=np.int32)
    images = sampler.call("sample", seed=seeds)["images"]
    np.testing.assert_allclose(images, live.sample(seeds=seeds), atol=1e-5)
    assert sorted(path.name for path in version.parent.iterdir()) == ["2", "3"]


def test_a_keras_file_is_published(capfd: pytest.CaptureFixture[str]) -> None:
    model = tfgen.GAN(
        image_shape=(8, 8, 1), generator_hidden=(4,), discriminator_hidden=(4,), seed=3
    )
    model.save("g.keras")
    assert export("g.keras", "--to", "models") == 0
    sampler, seeds = tfgen.load("models/gan/2"), np.arange(5, dtype=np.int32)
    images = sampler.call("sample", seed=seeds)["images"]
    np.testing.assert_allclose(images, model.sample(seeds=seeds), atol=1e-5)
    run = sampler.manifest["run"]
    assert (run["family"], run["options"]) == ("gan", {"seed": 3})


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_decoders_of_runs_and_versions(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "version.tflite").write_text("is replaced")
    version = trained.saved_models / NAME / "2"
    assert export(trained.runs / "flat", "--format", "litert") == 0
    assert export(version, "--format", "litert", "--out", "version.tflite") == 0
    paths = [f"{NAME}-decode.tflite", "version.tflite"]
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(",") for line in lines[::2]] == paths
    assert all('get_signature_runner("decode")(latents=latents)' in line for line in lines[1::2])
    latents = np.eye(2, dtype=np.float32)
    expected = tfgen.load(version).decode(latents)
    for path in paths:
        decode = tf.lite.Interpreter(path).get_signature_runner("decode")
        np.testing.assert_allclose(decode(latents=latents)["images"], expected, atol=1e-5)
    assert files(here) == sorted(paths)


def test_an_archive_takes_the_place_of_a_name(trained: Trained, here: Path) -> None:
    assert export(NAME, "--to", trained.saved_models, "--format", "archive") == 0
    archive, version = Path(f"{NAME}.tfgen"), trained.saved_models / NAME / "2"
    assert files(here) == [str(archive)]
    sampled = commands.npz("sample", archive, "--n", 3)
    expected = commands.npz("sample", version, "--n", 3)
    assert all(np.array_equal(sampled[key], value) for key, value in expected.items())
    models = starting_model(archive), starting_model(version)
    for weight, value in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(weight.numpy(), value.numpy())
    # Another file in the same place, as an import into a folder of models.
    shutil.unpack_archive(archive, "models", "zip")
    assert files(Path("models") / NAME / "2") == files(version)
    archive.unlink()
    assert export("vae", "--format", "archive", "--out", archive) == 0
    assert identify(archive, Path("models")).version[:2] == ("vae", 1)


def test_a_damaged_archive_is_refused(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    version = trained.saved_models / NAME / "2"
    inside = {f"x/2/{name}": (version / name).read_bytes() for name in files(version)}
    outside, whole = Path(gettempdir()) / "escaped", "x/2/saved_model.pb"
    archives = {
        "empty": {},
        "changed": inside | {whole: inside[whole] + b"?"},
        "escaping": inside | {f"../{outside.name}": b"", f"x/2/../../../{outside.name}": b""},
        "large": inside | {"x/2/zeros": bytes(5 * 10**7)},
    }
    monkeypatch.setattr(atomic, "_SLACK", 10**5)
    for name, members in archives.items():
        with zipfile.ZipFile(f"{name}.tfgen", "w", zipfile.ZIP_DEFLATED) as file:
            for member, content in members.items():
                file.writestr(member, content)
    Path("cut.tfgen").write_bytes(Path("changed.tfgen").read_bytes()[:-9])
    with zipfile.ZipFile("twice.tfgen", "w") as file, warnings.catch_warnings(action="ignore"):
        for _ in range(2):
            file.writestr(whole, b"")
    encrypted = b"PK\1\2\x14\3\x14\0\1\0"  # how the entry of an encrypted member begins
    content = Path("changed.tfgen").read_bytes().replace(encrypted[:8] + bytes(2), encrypted)
    Path("encrypted.tfgen").write_bytes(content)
    names = dict.fromkeys(("cut", "changed", "escaping", "twice", "encrypted", "large"), "damaged")
    for name, message in {"empty": "holds no version", **names}.items():
        commands.refused("sample", [f"{name}.tfgen"], message, status=1)
    shutil.copy("large.tfgen", "large.keras")
    commands.refused("export", ["large.keras"], "cannot hold", status=1)
    assert not outside.exists()
