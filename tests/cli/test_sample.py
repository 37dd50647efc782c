"""`tfgen-sample`, used rightly: what is in the files, and that a seed means the same images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tests.conftest import SIDE, Trained
from tfgen.figures import image_grid
from tfgen.random import image_seeds

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
    assert (out, err) == (f"6 images of {NAME} version 2 in out.png\n", "")
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
    with Image.open("out.png") as picture:
        factor = picture.width // grid_side(5)
        assert picture.size == (factor * grid_side(5), factor * grid_side(5))


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


def test_the_default_file_is_named_after_the_model(trained: Trained, here: Path) -> None:
    sample(trained)
    assert [path.name for path in here.iterdir()] == [f"{NAME}-samples.png"]
    with Image.open(f"{NAME}-samples.png") as picture:
        assert picture.width == picture.height  # 25 images


@pytest.mark.parametrize("name", ["vae", "gan", "flow"])
def test_where_nothing_was_trained_the_shipped_version_answers(
    name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert commands.main("sample", [name, "--n", "4", "--saved-models", "none"]) == 0
    assert capfd.readouterr().out == f"4 images of {name} version 1 in {name}-samples.png\n"
    assert [path.name for path in here.iterdir()] == [f"{name}-samples.png"]
