"""`tfgen-sample`, used rightly: what is in the files, and that a seed means the same images."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tests.arrays import shows_grid
from tests.cli.conftest import OwnModels
from tests.cli.worlds import edit_json
from tests.conftest import SIDE, Trained, make_images
from tfgen.data.pictures import Fitting, find_files, read_images
from tfgen.figures import image_grid
from tfgen.publishing import versions
from tfgen.random import image_seeds

pytestmark = pytest.mark.usefixtures("here")

NAME = "vae-2d-tiny"
# The same image in batches of different sizes: float32 sums in another order.
TOLERANCE = 1e-5
WHITE = np.float32(255)


def sample(trained: Trained, *flags: object, name: str = NAME) -> None:
    assert commands.main("sample", [name, "--saved-models", trained.saved_models, *flags]) == 0


def arrays(trained: Trained, *flags: object, name: str = NAME) -> dict[str, np.ndarray]:
    """What the command writes as NPZ."""
    return commands.npz("sample", name, "--saved-models", trained.saved_models, *flags)


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
    images = arrays(trained, "--n", 6)["images"] / WHITE
    np.testing.assert_array_equal(pixels, image_grid(images)[..., 0])


def test_arrays_are_images_latents_and_seeds(trained: Trained) -> None:
    stored = arrays(trained, "--n", 6, "--seed", 3)
    assert stored.keys() == {"images", "latents", "seeds"}
    assert (stored["images"].dtype, stored["images"].shape) == (np.uint8, (6, SIDE, SIDE, 1))
    assert stored["images"].max() > 1
    assert (stored["latents"].dtype, stored["latents"].shape) == (np.float32, (6, 2))
    np.testing.assert_array_equal(stored["seeds"], image_seeds(3, 6))
    assert arrays(trained, "--n", 2, name="vae-tiny")["latents"].shape == (2, 20)


def test_a_temperature_scales_the_latents(trained: Trained) -> None:
    plain, cool = arrays(trained, "--n", 4), arrays(trained, "--n", 4, "--temperature", 0.5)
    np.testing.assert_array_equal(cool["latents"], plain["latents"] / 2)
    assert np.any(cool["images"] != plain["images"])


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
    # Read as tfgen reads pictures: the images of the array.
    height, width, channels = stored["images"].shape[1:]
    fitting = Fitting((height, width), channels=channels)
    pictures = read_images(find_files([Path("images/new")]), fitting)
    np.testing.assert_array_equal(pictures.images, stored["images"])


def test_a_folder_is_written_only_where_nothing_is(trained: Trained, here: Path) -> None:
    (here / "empty").mkdir()
    words = [NAME, "--saved-models", trained.saved_models, "--n", "2", "--out"]
    # An existing folder needs no / at its end.
    assert commands.main("sample", [*words, "empty"]) == 0
    before = {path: path.read_bytes() for path in (here / "empty").iterdir()}
    message = "cannot write empty/: the folder is not empty; choose a new folder"
    commands.refused("sample", [*words, "empty/"], message)
    commands.refused("sample", [*words, "empty/000000.png/"], "cannot write empty/000000.png: ")
    assert {path: path.read_bytes() for path in (here / "empty").iterdir()} == before


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
    for key in ("latents", "seeds"):
        np.testing.assert_array_equal(stored[key], published[key])
    # Live model and version agree up to rounding, and their bytes to one grey level.
    assert np.abs(stored["images"].astype(int) - published["images"]).max() <= 1
    assert commands.main("sample", [str(run), "--weights", "last", "--n", "1"]) == 0
    assert (here / f"{NAME}-samples.png").exists()
    assert f"1 image of {run} (last weights) in {NAME}-samples.png" in capfd.readouterr().out
    commands.refused("sample", [run, "--version", "2"], "is a path and has no versions")


def test_a_manifold_is_a_grid_through_the_latents(trained: Trained) -> None:
    grid = arrays(trained, "--manifold", 5)
    assert grid["images"].shape == (25, SIDE, SIDE, 1)
    latents = grid["latents"].reshape(5, 5, 2)
    # Rows share the second coordinate, columns the first; the middle is the prior's.
    assert (latents[:, :, 1] == latents[:, :1, 1]).all()
    assert (latents[:, :, 0] == latents[:1, :, 0]).all()
    np.testing.assert_allclose(latents[2, 2], 0, atol=1e-7)
    sample(trained, "--manifold", 5, "--out", "out.png")
    assert shows_grid(Path("out.png"), image_grid(grid["images"] / WHITE, 5))


def test_an_interpolation_runs_between_the_samples_of_neighbouring_seeds(trained: Trained) -> None:
    stored, ends = arrays(trained, "--n", 2, "--interpolate", 4), arrays(trained, "--n", 3)
    images = stored["images"].reshape(2, 4, SIDE, SIDE, 1) * 1.0
    latents = stored["latents"].reshape(2, 4, 2)
    for row in range(2):
        for place, end in ((0, row), (-1, row + 1)):
            np.testing.assert_array_equal(latents[row, place], ends["latents"][end])
            np.testing.assert_allclose(images[row, place], ends["images"][end], atol=1)
        # On the line: equal steps.
        np.testing.assert_allclose(np.diff(latents[row], n=2, axis=0), 0, atol=TOLERANCE)


def test_an_animation_has_an_image_for_each_step(trained: Trained) -> None:
    sample(trained, "--n", 1, "--interpolate", 4, "--out", "walk.gif")
    stored = arrays(trained, "--n", 1, "--interpolate", 4)
    with Image.open("walk.gif") as walk:
        assert walk.n_frames == 4
        for frame in range(4):
            walk.seek(frame)
            factor = walk.width // SIDE
            pixels = np.asarray(walk.convert("L"))[::factor, ::factor]
            np.testing.assert_array_equal(pixels, stored["images"][frame, ..., 0])
    assert commands.main("sample", [NAME, "--out", "walk.webp"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "vae"])
def test_a_way_between_pictures_runs_from_code_to_code(
    name: str, own_models: OwnModels, capfd: pytest.CaptureFixture[str]
) -> None:
    images, live = make_images(3), own_models.live[name]
    for index in range(3):
        Image.fromarray(images[index, ..., 0]).save(f"{index}.png")
    flags = ["--between", *(f"{index}.png" for index in range(3)), "--n", 5]
    label = {"flow": {}, "vae": {"labels": np.array([2, 2, 2])}}[name]
    flags += [*own_models.flags("disk"), *(["--label", 2] if label else [])]
    stored = commands.npz("sample", name, *flags)
    codes = np.asarray(live.encode(images, **label))
    latents = stored["latents"].reshape(2, 5, -1)
    # Codes of the flow are up to 60, of couplings in float32.
    tolerances = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(latents[:, 0], codes[:-1], **tolerances)
    np.testing.assert_allclose(latents[:, 2], (codes[:-1] + codes[1:]) / 2, **tolerances)
    np.testing.assert_allclose(latents[:, -1], codes[1:], **tolerances)
    assert commands.main("sample", [name, *flags, "--out", "walk.webp"]) == 0
    assert commands.main("sample", [name, *flags]) == 0
    assert shows_grid(Path(f"{name}-samples.png"), image_grid(stored["images"] / 255, 5))
    with Image.open("walk.webp") as walk:
        assert walk.n_frames > 2


def test_a_list_shows_all_versions_and_what_is_wrong_with_some(
    trained: Trained, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = here / "models"
    shutil.copytree(trained.saved_models, models)
    for number in ("3", "4", "5"):
        shutil.copytree(models / NAME / "2", models / NAME / number)
    (models / NAME / "3" / "saved_model.pb").write_bytes(b"damaged")
    (models / NAME / "4" / "manifest.json").unlink()
    edit_json(models / NAME / "5" / "manifest.json", published="\x1b[2J")
    (models / ".hidden").mkdir()
    assert commands.main("sample", ["--list", "--saved-models", str(models)]) == 0
    heading, *lines = (line.split("\t") for line in capfd.readouterr().out.splitlines())
    rows = {tuple(cells[:2]): dict(zip(heading, cells, strict=True)) for cells in lines}
    shipped = [(name, "1") for name in versions.shipped_names()]
    assert list(rows) == [*((NAME, number) for number in "2345"), ("vae-tiny", "2"), *shipped]
    notes = {key: row["preset and settings"] for key, row in rows.items()}
    assert notes[NAME, "2"] == "preset mlp, dataset tiny, batch size 64, latent dim 2, hidden 4"
    assert "saved_model.pb is damaged" in notes[NAME, "3"]
    assert notes[NAME, "4"] == "not published by tfgen: it has no manifest.json"
    assert rows[NAME, "5"]["published"] == r"\x1b[2J"
    row = rows["vae", "1"]
    assert (row["epochs"], row["published"]) == ("100", "shipped")
    assert (row["FID"], row["n"]) == ("6.34", "10000")
    assert row["likelihood"] == "−ELBO 87.62 nats"
    assert rows["flow", "1"]["likelihood"] == "0.982 bits/dim"


@pytest.mark.slow
def test_a_list_is_restricted_to_a_name_and_imports_no_tensorflow(
    trained: Trained, here: Path
) -> None:
    flags = ["vae-tiny", "--list", "--saved-models", str(trained.saved_models)]
    lines = commands.without_tensorflow("sample", flags, here).splitlines()
    names = [line.partition("\t")[0] for line in lines]
    assert names == ["name", "vae-tiny"]
    assert not list(here.iterdir())
