"""`tfgen-sample`, used rightly: what is in the files, and that a seed means the same images."""

import csv
import importlib
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tests.arrays import shows_grid
from tests.conftest import SIDE, Trained
from tfgen import figures
from tfgen.data.pictures import Fitting, find_pictures, read_pictures
from tfgen.figures import image_grid
from tfgen.random import image_seeds

pytestmark = pytest.mark.newest

NAME = "vae-2d-tiny"
# The same image in batches of different sizes: float32 sums in another order.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sample(trained: Trained, *flags: object, name: str = NAME) -> None:
    argv = [name, "--saved-models", trained.saved_models, *flags]
    assert commands.main("sample", [str(word) for word in argv]) == 0


def arrays(trained: Trained, *flags: object, name: str = NAME) -> dict[str, np.ndarray]:
    """What the command writes as NPZ."""
    out = Path("out.npz")
    sample(trained, *flags, "--out", out, name=name)
    with np.load(out, allow_pickle=False) as stored:
        return dict(stored)


def grid_side(images: int) -> int:
    """Pixels of so many images and the lines around them, before the picture is enlarged."""
    return images * (SIDE + 1) + 1


def test_a_picture_is_a_grid_of_all_images(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    sample(trained, "--n", 6, "--out", "out.png")
    out, err = capfd.readouterr()
    source, result = out.splitlines()
    assert re.fullmatch(
        rf"{NAME} version 2: preset mlp, dataset tiny, batch size 64, latent dim 2, hidden 4, "
        r"2 epochs, published \d{4}-\d\d-\d\d",
        source,
    )
    assert (result, err) == (f"6 images of {NAME} version 2 in out.png", "")
    with Image.open("out.png") as picture:
        factor = picture.width // grid_side(3)
        assert (picture.mode, picture.size) == ("L", (factor * grid_side(3), factor * grid_side(2)))
        pixels = np.asarray(picture)[::factor, ::factor]
    np.testing.assert_array_equal(pixels, image_grid(arrays(trained, "--n", 6)["images"])[..., 0])


def test_arrays_are_images_latents_and_seeds(trained: Trained) -> None:
    stored = arrays(trained, "--n", 6, "--seed", 3)
    assert stored.keys() == {"images", "latents", "seeds"}
    assert (stored["images"].dtype, stored["images"].shape) == (np.float32, (6, SIDE, SIDE, 1))
    assert stored["images"].min() >= 0
    assert stored["images"].max() <= 1
    assert (stored["latents"].dtype, stored["latents"].shape) == (np.float32, (6, 2))
    np.testing.assert_array_equal(stored["seeds"], image_seeds(3, 6))
    assert arrays(trained, "--n", 2, name="vae-tiny")["latents"].shape == (2, 20)


def test_a_temperature_scales_the_latents(trained: Trained) -> None:
    plain, cool = arrays(trained, "--n", 4), arrays(trained, "--n", 4, "--temperature", 0.5)
    np.testing.assert_array_equal(cool["latents"], plain["latents"] / 2)
    assert np.any(cool["images"] != plain["images"])
    same = arrays(trained, "--n", 4, "--temperature", 1.0)
    np.testing.assert_array_equal(same["images"], plain["images"])


def test_a_folder_has_a_file_for_each_image_and_their_seeds(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    sample(trained, "--n", 5, "--seed", 3, "--out", "images/new/")
    assert capfd.readouterr().out.endswith(f"5 images of {NAME} version 2 in images/new/\n")
    stored = arrays(trained, "--n", 5, "--seed", 3)
    with Path("images/new/samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [f"{index:06}.png" for index in range(5)]
    assert [row["file"] for row in rows] == names
    assert [int(row["seed"]) for row in rows] == list(stored["seeds"])
    assert sorted(path.name for path in Path("images/new").iterdir()) == [*names, "samples.csv"]
    # Read as tfgen reads pictures: the images of the array, rounded to bytes.
    pictures = read_pictures(find_pictures([Path("images/new")]), Fitting())
    np.testing.assert_array_equal(pictures.images, np.round(255 * stored["images"]))


def test_a_folder_is_written_only_where_nothing_is(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "empty").mkdir()
    (here / "empty" / ".hidden").write_text("")
    flags = ["--saved-models", str(trained.saved_models), "--n", "2", "--out"]
    # An existing folder needs no / at its end.
    assert commands.main("sample", [NAME, *flags, "empty"]) == 0
    before = {path: path.read_bytes() for path in (here / "empty").iterdir()}
    for out, message in (
        ("empty/", "cannot write empty/: the folder is not empty; choose a new folder"),
        ("empty/000000.png/", "cannot write empty/000000.png/: empty/000000.png is a file"),
        ("empty/000000.png/new/", "empty/000000.png is a file; choose another folder"),
        ("/proc/new/", "cannot write /proc/new/: /proc is not writable"),
    ):
        capfd.readouterr()
        if out.startswith("/proc") and os.access("/proc", os.W_OK):  # as root
            continue
        assert commands.main("sample", [NAME, *flags, out]) == 2
        assert message in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (here / "empty").iterdir()} == before


def test_a_folder_that_is_interrupted_leaves_nothing(
    trained: Trained, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = figures.png_bytes, []

    def interrupt(*args: Any, **kwargs: Any) -> bytes:
        calls.append(args)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(figures, "png_bytes", interrupt)
    flags = ["--saved-models", str(trained.saved_models), "--n", "5", "--out", "new/folder/"]
    assert commands.main("sample", [NAME, *flags]) == 143
    assert len(calls) == 3
    assert not list(here.iterdir())


def test_a_run_gives_the_images_of_the_version_that_was_published_from_it(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trained.runs / "flat"
    published = arrays(trained, "--n", 5, "--seed", 3)
    capfd.readouterr()
    stored = arrays(trained, "--n", 5, "--seed", 3, name=str(run))
    assert capfd.readouterr().out.splitlines() == [
        f"{run} (best weights): preset mlp, dataset tiny, batch size 64, latent dim 2, hidden 4, "
        "2 epochs",
        f"5 images of {run} (best weights) in out.npz",
    ]
    assert stored.keys() == published.keys()
    for key, value in published.items():
        np.testing.assert_array_equal(stored[key], value)
    assert commands.main("sample", [str(run), "--weights", "last", "--n", "1"]) == 0
    assert (here / f"{NAME}-samples.png").exists()
    assert f"1 image of {run} (last weights) in {NAME}-samples.png" in capfd.readouterr().out
    assert commands.main("sample", [str(run), "--version", "2"]) == 2
    assert "is a path and has no versions" in capfd.readouterr().err


@pytest.mark.parametrize("out", ["out.png", "out.npz"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    trained: Trained, out: str
) -> None:
    contents = []
    for seed in (5, 5, 6):
        sample(trained, "--n", 4, "--seed", seed, "--out", out)
        contents.append(Path(out).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_fewer_images_are_the_first_of_more(trained: Trained) -> None:
    few, many = arrays(trained, "--n", 4), arrays(trained, "--n", 9)
    np.testing.assert_array_equal(many["seeds"][:4], few["seeds"])
    np.testing.assert_array_equal(many["latents"][:4], few["latents"])
    np.testing.assert_allclose(many["images"][:4], few["images"], atol=TOLERANCE)


def test_a_version_is_chosen_by_number_and_else_the_newest(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {"3": "vae-tiny", "10": NAME}
    for number, name in names.items():
        (here / "models" / "both").mkdir(parents=True, exist_ok=True)
        (here / "models" / "both" / number).symlink_to(trained.saved_models / name / "2")
    flags = ["both", "--saved-models", "models", "--n", "1", "--out", "out.npz"]
    assert commands.main("sample", flags) == 0
    assert "version 10 in" in capfd.readouterr().out
    assert commands.main("sample", [*flags, "--version", "3"]) == 0
    assert "version 3 in" in capfd.readouterr().out
    with np.load("out.npz", allow_pickle=False) as stored:
        assert stored["latents"].shape == (1, 20)


def test_a_manifold_is_a_grid_through_the_latents(trained: Trained) -> None:
    grid = arrays(trained, "--manifold", 5)
    assert grid["images"].shape == (25, SIDE, SIDE, 1)
    latents = grid["latents"].reshape(5, 5, 2)
    # Rows share the second coordinate, columns the first; the middle is the prior's.
    assert (latents[:, :, 1] == latents[:, :1, 1]).all()
    assert (latents[:, :, 0] == latents[:1, :, 0]).all()
    np.testing.assert_allclose(latents[2, 2], 0, atol=1e-7)
    sample(trained, "--manifold", 5, "--out", "out.png")
    assert shows_grid(Path("out.png"), image_grid(grid["images"], 5))


def test_an_interpolation_runs_between_the_samples_of_neighbouring_seeds(trained: Trained) -> None:
    stored, ends = arrays(trained, "--n", 2, "--interpolate", 4), arrays(trained, "--n", 3)
    images, latents = (
        stored["images"].reshape(2, 4, SIDE, SIDE, 1),
        stored["latents"].reshape(2, 4, 2),
    )
    for row in range(2):
        for place, end in ((0, row), (-1, row + 1)):
            np.testing.assert_array_equal(latents[row, place], ends["latents"][end])
            np.testing.assert_allclose(images[row, place], ends["images"][end], atol=TOLERANCE)
        # On the line: equal steps.
        np.testing.assert_allclose(np.diff(latents[row], n=2, axis=0), 0, atol=TOLERANCE)


def test_the_words_beside_a_picture_say_what_rows_and_columns_are(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    original = figures.save_figure
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path: (drawn.append(figure), original(figure, path))
    )
    sample(trained, "--seeds", 4, 5, -6, "--interpolate", 3, "--path", "spherical")
    sample(trained, "--manifold", 3)
    interpolation, manifold = (figure.axes[0] for figure in drawn)
    assert interpolation.get_title() == "between samples, spherical path"
    assert (interpolation.get_ylabel(), tick_words(interpolation.yaxis)) == (
        "seeds",
        ["4 → 5", "5 → -6"],
    )
    assert (interpolation.get_xlabel(), tick_words(interpolation.xaxis)) == (
        "share of the way",
        ["0", "0.5", "1"],
    )
    assert (manifold.get_ylabel(), tick_words(manifold.yaxis)) == (
        "second latent",
        ["0.97", "0.00", "-0.97"],
    )
    assert (manifold.get_xlabel(), tick_words(manifold.xaxis)) == (
        "first latent",
        ["-0.97", "0.00", "0.97"],
    )


def tick_words(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_a_grid_too_large_for_words_is_drawn_without(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        importlib.import_module(f"{commands.PACKAGE}._samplers"), "MAX_FIGURE_SIDE", 9
    )
    sample(trained, "--manifold", 5, "--out", "out.png")
    with Image.open("out.png") as picture:
        assert picture.width % grid_side(5) == 0


def test_the_default_file_is_named_after_the_model(trained: Trained, here: Path) -> None:
    sample(trained)
    assert [path.name for path in here.iterdir()] == [f"{NAME}-samples.png"]
    with Image.open(f"{NAME}-samples.png") as picture:
        assert picture.width == picture.height  # 25 images


# The flow, which takes long to load, is sampled by .ci/run and by tests of the shipped versions.
@pytest.mark.parametrize("name", ["vae", "gan"])
def test_where_nothing_was_trained_the_shipped_version_answers(
    name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert commands.main("sample", [name, "--n", "4", "--saved-models", "none"]) == 0
    trained = {
        "vae": "preset conv, 100 epochs",
        "gan": "preset packed, train on all, precision mixed_bfloat16, 60 epochs, "
        "published 2026-11-29",
    }
    assert capfd.readouterr().out.splitlines() == [
        f"{name} version 1: {trained[name]}",
        f"4 images of {name} version 1 in {name}-samples.png",
    ]
    assert [path.name for path in here.iterdir()] == [f"{name}-samples.png"]


def test_a_list_shows_all_versions_and_what_is_wrong_with_some(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = here / "models"
    shutil.copytree(trained.saved_models, models)
    for number in ("3", "4"):
        shutil.copytree(models / NAME / "2", models / NAME / number)
    (models / NAME / "3" / "saved_model.pb").write_bytes(b"damaged")
    (models / NAME / "4" / "manifest.json").unlink()
    (models / NAME / "5").mkdir()
    (models / NAME / "5" / "manifest.json").write_text('{"files": {}, "signatures": {}, "run": 1}')
    (models / ".hidden").mkdir()
    assert commands.main("sample", ["--list", "--saved-models", str(models)]) == 0
    heading, *lines = (line.split("\t") for line in capfd.readouterr().out.splitlines())
    rows = {tuple(cells[:2]): dict(zip(heading, cells, strict=True)) for cells in lines}
    shipped = [(name, "1") for name in ("classifier", "flow", "gan", "vae", "vae-hierarchical")]
    assert list(rows) == [*((NAME, number) for number in "2345"), ("vae-tiny", "2"), *shipped]
    notes = {key: row["preset and settings"] for key, row in rows.items()}
    assert notes[NAME, "2"] == "preset mlp, dataset tiny, batch size 64, latent dim 2, hidden 4"
    assert "saved_model.pb is damaged" in notes[NAME, "3"]
    assert notes[NAME, "4"] == "not published by tfgen: it has no manifest.json"
    assert notes[NAME, "5"] == ""
    row = rows["vae", "1"]
    assert (row["epochs"], row["published"], row["FID"]) == ("100", "shipped", "6.34")
    assert row["likelihood"] == "−ELBO 87.62 nats"
    assert rows["flow", "1"]["likelihood"] == "0.982 bits/dim"


def test_a_list_is_restricted_to_a_name_and_imports_no_tensorflow(
    trained: Trained, here: Path
) -> None:
    flags = ["--list", "--saved-models", str(trained.saved_models)]
    code = (
        f"import sys; from {commands.PACKAGE}.sample import main; assert main(['vae-tiny', "
        f"*{flags!r}]) == 0; sys.exit('tensorflow' in sys.modules)"
    )
    done = commands.python(["-c", code], here)
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert names == ["name", "vae-tiny"]
    assert not list(here.iterdir())


@pytest.mark.quick
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["vea", "--list"], "'vea'"),
        (["--list", "--url", "http://localhost:8501"], "leave out --url and --grpc"),
        (["--list", "--saved-models", "file"], "file is a file"),
    ],
)
def test_a_list_of_what_cannot_be_listed_is_refused(
    argv: list[str], message: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    assert commands.main("sample", argv) == 2
    assert message in capfd.readouterr().err


def test_an_interruption_leaves_no_part_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder = importlib.import_module(f"{commands.PACKAGE}.sample").write_folder
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "000002.png":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new", {"images": np.zeros((4, 6, 6, 1), np.float32)})
    assert not (tmp_path / "new").exists()
