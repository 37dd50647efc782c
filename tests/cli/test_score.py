"""`tfgen-score`: the model's log_prob of images from anywhere, from disk and from a server."""

import csv
import functools
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests import commands
from tests.arrays import shows_grid
from tests.cli.conftest import OwnImages, OwnModels
from tests.conftest import Trained, make_images
from tfgen.data import Dataset, Split
from tfgen.errors import UsageError
from tfgen.figures import image_grid
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.versions import find

score = importlib.import_module(f"{commands.PACKAGE}.score")

pytestmark = pytest.mark.usefixtures("here")

NAME = "vae-2d-tiny"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of scores of test images, empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TFGEN_CACHE", str(folder))
    return folder


arrays = functools.partial(commands.npz, "score")


@pytest.mark.parametrize("way", ["disk", "rest"])
def test_scores_of_a_flow_are_the_log_prob_of_the_live_model(
    way: str, own_models: OwnModels, own_images: OwnImages, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, images = own_images
    stored = arrays("flow", *paths, *own_models.flags(way), "--seed", 5)
    np.testing.assert_array_equal(stored["images"], images)
    np.testing.assert_array_equal(stored["seeds"], [5, 6, 7, 8])
    expected = own_models.live["flow"].log_prob(images, seeds=stored["seeds"]).numpy()
    np.testing.assert_allclose(stored["log_prob"], expected, rtol=1e-5)
    bits = -expected / (images[0].size * np.log(2))
    np.testing.assert_allclose(stored["bits_per_dim"], bits, rtol=1e-5)
    names = [Path(entry).name for entry in stored["names"]]
    assert names == ["a.png", "b.png", "wide.png", "more.npz[0]"]
    out = capfd.readouterr().out
    assert "no comparison with test images: the data set of flow version 2" in out
    assert "1 image of another size was resized to 6 × 6 (Lanczos, crop)" in out
    assert re.search("1 file skipped:\n  .*broken.png is not a PNG", out)


@pytest.mark.parametrize("way", ["disk", "grpc"])
def test_scores_of_a_conditional_vae_are_those_of_labelled_images(
    way: str, own_models: OwnModels
) -> None:
    images, labels = make_images(5), np.arange(5) % 3
    np.savez("images.npz", images=images, labels=labels)
    flags = [*own_models.flags(way), "--batch-size", 3]
    stored = arrays("vae", "images.npz", *flags)
    np.testing.assert_array_equal(stored["labels"], labels)
    expected = own_models.live["vae"].log_prob(images, labels=labels)
    np.testing.assert_allclose(stored["log_prob"], expected, rtol=1e-5)
    assert "bits_per_dim" not in stored


def test_percentiles_are_shares_of_the_test_images(trained: Trained) -> None:
    np.savez("images.npz", images=np.concatenate([make_images(3), make_images(1) * 0]))
    flags = ["--saved-models", trained.saved_models, "--test-images", 30]
    stored = arrays(NAME, "images.npz", *flags)
    model = tfgen.load(trained.saved_models / NAME / "2")
    test = tfgen.load_data("tiny", trained.data).test
    expected = model.log_prob(np.asarray(test.images[:30]))
    np.testing.assert_allclose(stored["reference_log_prob"], expected, rtol=1e-5)
    shares = [100 * np.mean(stored["reference_log_prob"] < value) for value in stored["log_prob"]]
    np.testing.assert_allclose(stored["percentile"], shares)
    # From the run, and with the name of the data set: the same.
    named = ["--dataset", "tiny", "--data-dir", trained.data, "--test-images", 30]
    of_run = arrays(trained.runs / "flat", "images.npz", *named)
    np.testing.assert_allclose(of_run["log_prob"], stored["log_prob"], rtol=1e-5)
    key = "reference_log_prob"
    np.testing.assert_allclose(of_run[key], stored[key], rtol=1e-5)


def test_scores_of_test_images_are_computed_once(
    trained: Trained, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("images.npz", images=make_images(3))
    flags = ["--saved-models", trained.saved_models, "--test-images"]
    first = arrays(NAME, "images.npz", *flags, 30)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(score, "compute", None)  # computes those of test images
    again, fewer = (arrays(NAME, "images.npz", *flags, count) for count in (30, 20))
    for stored, count in ((again, 30), (fewer, 20)):
        expected = first["reference_log_prob"][:count]
        np.testing.assert_array_equal(stored["reference_log_prob"], expected)


def test_outliers_are_marked_by_the_rate_of_false_alarms() -> None:
    stored = {"log_prob": np.array([2000, 9.5, np.nan, 10.5, -5])}
    options = score.ScoreOptions(name="", images=(), false_alarms=0.01)
    lines = score.compare(stored, np.arange(1000, dtype=np.float32), "1000 images", options)
    assert list(stored["unusual"]) == [False, True, True, False, True]  # 10 of 1000 are below 10
    np.testing.assert_allclose(stored["percentile"], [100, 1, np.nan, 1.1, 0])
    # No other image is as likely as the first: the score misleads.
    assert "1 image more typical than all 1000 images" in lines[-1]
    stored["names"] = np.array(list("abcde"))
    table = score.table_lines(stored, np.array([2, 4, 1, 3, 0]))[:6]
    assert [line.split()[-1] for line in table] == ["image", *"cebda"]
    assert "all" in table[-1] and "none" in table[2]
    with pytest.raises(UsageError, match="needs 100 images"):
        score.compare(stored, np.arange(99, dtype=np.float32), "99 images", options)


def test_two_sets_of_images_are_compared(
    own_models: OwnModels, capfd: pytest.CaptureFixture[str]
) -> None:
    np.savez("images.npz", images=make_images(9))
    np.savez("normal.npz", images=make_images(5) // 2)
    stored = arrays("flow", "images.npz", *own_models.flags("rest"), "--against", "normal.npz")
    other = own_models.live["flow"].log_prob(make_images(5) // 2).numpy()
    np.testing.assert_allclose(stored["reference_log_prob"], other, rtol=1e-5)
    auroc = np.mean(stored["log_prob"][:, None] < stored["reference_log_prob"])
    assert f"AUROC {auroc:.3f}" in capfd.readouterr().out
    assert Path("flow-histogram.png").stat().st_size
    arrays("flow", "images.npz", *own_models.flags("disk"), "--against", "images.npz")
    assert "AUROC 0.500" in capfd.readouterr().out


def test_the_nearest_training_images_are_shown(trained: Trained) -> None:
    train = np.asarray(tfgen.load_data("tiny", trained.data).train.images)
    images = train[[7, 2]].copy()
    images[1, 0, 0] ^= 51
    np.savez("images.npz", images=images)
    flags = ["--saved-models", trained.saved_models, "--test-images", 0, "--nearest"]
    stored = arrays(NAME, "images.npz", *flags)
    np.testing.assert_array_equal(train[stored["nearest"]], train[[7, 2]])
    np.testing.assert_allclose(stored["distance"], [0, abs(images - train[[7, 2]]).max() / 255])
    order = np.argsort(stored["log_prob"])
    rows = np.concatenate([images[order], train[[7, 2]][order]]) / np.float32(255)
    assert shows_grid(Path(f"{NAME}-nearest.png"), image_grid(rows, 2))


def test_the_table_has_the_first_images_and_the_csv_all(
    own_models: OwnModels, capfd: pytest.CaptureFixture[str]
) -> None:
    np.savez("images.npz", make_images(25))
    flags = [*own_models.flags("disk"), "--out", "scores.csv"]
    assert commands.main("score", ["flow", "images.npz", *flags, "--test-images", "0"]) == 0
    heading, *lines = capfd.readouterr().out.splitlines()
    assert heading.split() == ["nats", "bits/dim", "image"]
    assert lines[20] == "… and 5 more; --out has all"
    assert lines[21].startswith("25 images, the most unusual first: median ")
    assert lines[22:] == ["log p(x) of bytes under flow version 2", "written to scores.csv"]
    with Path("scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "nats", "bits_per_dim", "seed"]
    # The order is that of the exported model. Where two images are nearly alike, the live model may
    # order them the other way round.
    nats = np.array([float(row["nats"]) for row in rows])
    assert (np.diff(nats) >= 0).all()
    names = [row["image"] for row in rows]
    order = [int(re.sub(r"\D", "", name)) for name in names]
    assert sorted(order) == [*range(25)]
    expected = own_models.live["flow"].log_prob(make_images(25)).numpy()
    np.testing.assert_allclose(nats, expected[order], rtol=1e-5)
    assert [line.split()[2] for line in lines[:20]] == names[:20]
    # The table has two decimals: it is off by half of the last one, and by the rounding of float32.
    shown = [float(line.split()[0]) for line in lines[:20]]
    np.testing.assert_allclose(shown, nats[:20], rtol=0, atol=0.0051)


def test_test_images_must_suit_the_model(
    own_models: OwnModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = score.ScoreOptions(name="", images=(), dataset="made")
    for name, side, message in (
        ("flow", 7, "images of flow version 2 are 6 × 6 × 1, but those of made are 6 × 7 × 1"),
        ("vae", 6, "vae version 2 has 3 classes, made has no labels"),
    ):
        split = Split(np.zeros((9, 6, side, 1), np.uint8))
        dataset = Dataset("made", "1.0.0", split, split, split, None, "")
        monkeypatch.setattr(tfgen.data, "load", lambda *args, dataset=dataset: dataset)
        with pytest.raises(UsageError, match=message):
            score.find_data_set(Sampler(find(name, own_models.folder)), options)
