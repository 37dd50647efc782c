"""Images to evaluate: which files are read, and how they are resized."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import make_images
from tests.told import fails
from tfgen.data.pictures import find_files, resize
from tfgen.evaluation.subject import Subject, open_images

SHAPE = (6, 6, 1)


def write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{index:03}.png")
    return folder


def read(path: Path, most: int = 100, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Subject:
    return open_images(path, find_files([path]), shape, most, seed)


@pytest.mark.quick
def test_a_folder_is_read_in_order_and_what_holds_no_picture_is_counted(tmp_path: Path) -> None:
    images = make_images(8)
    folder = write(tmp_path / "größe", images)
    (folder / "005.png").write_bytes(b"no picture")
    (folder / "samples.csv").write_text("file,seed\n")  # of tfgen-sample
    result = read(folder)
    np.testing.assert_array_equal(result.images, np.delete(images, 5, 0))
    assert result.title == "größe"
    assert [path.name for path, _ in result.skipped] == ["005.png"]
    reading = {key: value for key, value in result.reading.items() if key != "rule"}
    assert reading == {"available": 8, "resized": 0, "skipped": 1}
    # A broken file is replaced by another one, as long as there are others.
    for seed in range(4):
        drawn = read(folder, most=6, seed=seed)
        assert len(np.unique(drawn.images.reshape(6, -1), axis=0)) == 6
        rows = [np.flatnonzero((images == image).all((1, 2, 3)))[0] for image in drawn.images]
        assert rows == sorted(rows)
    np.testing.assert_array_equal(drawn.images, read(folder, 6, seed).images)
    assert drawn.weights_sha256 != result.weights_sha256
    assert drawn.samples(3, 0)[1] == 0
    assert len(drawn.samples(3, 0)[0]) == 3


@pytest.mark.quick
def test_an_npz_file_has_bytes_or_floats(tmp_path: Path) -> None:
    images = make_images(20)
    np.savez(tmp_path / "a.npz", images=images, labels=np.zeros(20, int))
    np.savez(tmp_path / "b.npz", x=images / np.float32(255), y=np.zeros(20))
    expected = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(expected.images, images)
    np.testing.assert_array_equal(read(tmp_path / "b.npz").images, images)
    drawn = read(tmp_path / "a.npz", most=7)
    assert drawn.images.shape == (7, *SHAPE)
    assert drawn.reading["available"] == 20
    # Grey images become RGB, and the other way round.
    coloured = read(tmp_path / "a.npz", shape=(6, 6, 3)).images
    np.testing.assert_array_equal(coloured, images.repeat(3, 3))


@pytest.mark.quick
def test_other_sizes_are_cropped_and_resized_by_the_stated_rule(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (3, 12, 20, 3), np.uint8)
    result = read(write(tmp_path / "wide", wide))
    assert result.images.shape == (3, *SHAPE)
    assert result.reading["resized"] == 3
    for image, original in zip(result.images, wide, strict=True):
        grey = np.asarray(Image.fromarray(original).convert("L"))[..., None]
        np.testing.assert_array_equal(image, resize(grey, (6, 6)))
        # The crop is the middle; at its edge, the filter sees pixels beside it.
        np.testing.assert_allclose(image, resize(grey[:, 4:16], (6, 6)), atol=16)


@pytest.mark.quick
def test_what_holds_no_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "large.npz", images=np.full((2, 6, 6, 1), 2.0))
    for name, message in (
        ("empty", "holds no pictures"),
        ("large.npz", "images are float64, neither uint8 nor floats in 0…1"),
    ):
        fails(lambda name=name: read(tmp_path / name), message)
