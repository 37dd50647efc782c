"""`tfgen-sample` of shards: any sampler and any flag, continued where it was interrupted."""

import importlib
import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.cli.conftest import CLASSES, OwnModels
from tests.cli.worlds import NAME, flip
from tests.conftest import SIDE, Trained
from tests.publishing.test_sampling_job import contents, joined
from tests.serving.processes import start
from tfgen.data.shards import MANIFEST, read_manifest, read_shards
from tfgen.sampling import byte_pixels

pytestmark = pytest.mark.usefixtures("here")


def sample(*argv: object) -> None:
    assert commands.main("sample", argv) == 0


def shards(folder: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The images, labels and seeds of a folder."""
    return joined(read_shards(folder))


@pytest.mark.parametrize("pixels", ["png", "raw"])
def test_shards_have_the_images_of_the_arrays(
    trained: Trained, pixels: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [NAME, "--saved-models", trained.saved_models, "--n", 10, "--seed", 3]
    flags += ["--temperature", 0.5, "--batch-size", 4]
    sample(*flags, "--shard-size", 4, "--pixels", pixels)
    out, err = capfd.readouterr()
    source, result, rate = out.splitlines()
    assert source.startswith(f"{NAME} version 2: preset mlp, dataset tiny")
    assert result == f"10 images of {NAME} version 2 in 3 shards in {NAME}-samples/"
    assert re.fullmatch(r"10 images sampled in \d+\.\d s, \S+ images/s", rate)
    assert err == ""
    images, labels, seeds = shards(f"{NAME}-samples")
    stored = commands.npz("sample", *flags)
    assert images.shape == (10, SIDE, SIDE, 1)
    assert labels is None
    np.testing.assert_array_equal(seeds, stored["seeds"])
    # The batches differ, and with them the rounding: by one grey level at most.
    difference = images.astype(int) - stored["images"]
    assert abs(difference).max() <= 1


@pytest.mark.slow
def test_many_images_become_shards(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    options = importlib.import_module(f"{commands.PACKAGE}.sample")
    monkeypatch.setattr(options, "MAX_PICTURES", 20)
    monkeypatch.setattr(options, "SHARD_SIZE", 8)
    flags = [NAME, "--saved-models", trained.saved_models, "--n"]
    for out in ("few/", "many/", "many-without-slash"):
        sample(*flags, 20 if out == "few/" else 21, "--out", out)
    assert len(list((here / "few").glob("*.png"))) == 20
    for folder in ("many", "many-without-slash"):
        names = sorted(path.name for path in (here / folder).iterdir() if path.suffix)
        files = [f"{NAME}-0000{index}-of-00003.tfrecord" for index in range(3)]
        assert names == [MANIFEST, *files]
    # A file stays a file.
    assert commands.npz("sample", *flags, 21)["images"].shape[0] == 21
    sample(*flags, 21)
    assert (here / f"{NAME}-samples.png").exists()


@pytest.mark.parametrize(("way", "label"), [("disk", None), ("rest", None), ("grpc", 2)])
def test_a_conditional_model_writes_its_labels(
    own_models: OwnModels, way: str, label: int | None
) -> None:
    chosen = [] if label is None else ["--label", label]
    flags = ["vae", "--n", 8, *chosen, *own_models.flags(way)]
    sample(*flags, "--out", "shards", "--shard-size", 5)
    images, labels, seeds = shards("shards")
    classes = np.arange(8) % CLASSES if label is None else np.full(8, label)
    np.testing.assert_array_equal(labels, classes)
    expected = own_models.live["vae"].sample(seeds=seeds, labels=classes).numpy()
    assert abs(images.astype(int) - byte_pixels(expected)).max() <= 1
    request = read_manifest(Path("shards")).request
    assert (request.num_classes, request.label, request.version) == (CLASSES, label, 2)
    assert len(request.fingerprint) == (64 if way == "disk" else 0)


def test_a_run_is_told_from_its_published_version_by_its_fingerprint(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--n", "6", "--shard-size", "4", "--out"]
    run, models = str(trained.runs / "flat"), ["--saved-models", str(trained.saved_models)]
    sample(run, *flags, "run")
    assert f"6 images of {run} (best weights) in 2 shards in run" in capfd.readouterr().out
    sample(NAME, *models, *flags, "version")
    # Live model and version agree up to rounding, and their bytes to one grey level.
    difference = shards("run")[0].astype(int) - shards("version")[0]
    assert abs(difference).max() <= 1
    assert read_manifest(Path("run")).request.version == 0
    commands.refused("sample", [NAME, *models, *flags, "run"], "version 0, not 2; fingerprint")


def test_the_same_command_restores_a_damaged_shard(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [NAME, "--saved-models", trained.saved_models, "--n", 10, "--shard-size", 4]
    flags += ["--out", "shards/"]
    sample(*flags)
    flip(here / "shards" / f"{NAME}-00001-of-00003.tfrecord")
    capfd.readouterr()
    sample(*flags)
    text = capfd.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"4 images sampled in .* images/s; 6 were there already", text)
    sample(*flags)
    text = capfd.readouterr().out.splitlines()[-1]
    assert text == "all shards were there already; no image was sampled"


# The command, which waits for a signal before its third shard.
WAITING = f"""
import signal, sys
from {commands.PACKAGE} import sample
write_shard = sample.write_shard
def wait_or_write(sampler, request, index, *rest):
    if index == 2:
        signal.pause()
    return write_shard(sampler, request, index, *rest)
sample.write_shard = wait_or_write
sys.exit(sample.main())
"""


@pytest.mark.slow
def test_an_interrupted_command_continues_to_the_same_bytes(trained: Trained, here: Path) -> None:
    flags = [NAME, "--saved-models", str(trained.saved_models), "--n", "400"]
    flags += ["--shard-size", "100", "--batch-size", "10", "--out"]
    process = start(here, *flags, "shards", code=WAITING)
    while process.poll() is None and not list(here.glob("shards/*00001-of-00004.tfrecord")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=commands.PATIENCE)
    assert (process.returncode, out) == (143, "")
    # The second shard may have its name before it is counted.
    words = "interrupted; [12] of 4 shards in shards are complete; the same command continues\n"
    assert re.fullmatch(f"tfgen-sample: {words}", err)
    assert len(list(here.glob("shards/*.tfrecord"))) == 2
    assert not list(here.glob("shards/.*.tfrecord-*"))
    # In processes that divide the cores as the first one did.
    for folder in ("shards", "whole"):
        assert commands.process("sample", [*flags, folder], here).returncode == 0
    assert contents(here / "shards") == contents(here / "whole")
    manifest = json.loads((here / "shards" / MANIFEST).read_text())
    assert sum(shard["images"] for shard in manifest["shards"]) == 400
