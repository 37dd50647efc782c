"""Images to evaluate: which files are read; for how, see data/test_collection.py."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import make_images
from tfgen.data.pictures import find_files
from tfgen.evaluation.job import silent
from tfgen.evaluation.sources import SampleSource, open_images

SHAPE = (6, 6, 1)


def write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{index:03}.png")
    return folder


def read(
    path: Path, most: int = 100, seed: int = 0, shape: tuple[int, ...] = SHAPE
) -> SampleSource:
    return open_images(path, find_files([path]), shape, most, seed, silent)


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
