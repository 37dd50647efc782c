import hashlib
import json
import shutil
import sys

import numpy as np
import pytest

from tests.data.importers.test_idx import idx
from tests.errors import refuses
from tfgen.data import Split, load
from tfgen.data.load import EMBEDDED
from tfgen.data.writing import write_prepared
from tfgen.errors import WorkError

SHAPE = (7, 5, 3)


def pixels(n: int, shape=SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 4


SPLITS = {"train": Split(pixels(30), labels(30)), "test": Split(pixels(6, seed=1), labels(6))}


@pytest.fixture
def shapes(tmp_path):
    return write_prepared("shapes", SPLITS, tmp_path / "root")


def test_embedded_mnist_is_the_published_one_byte_for_byte():
    mnist = load()
    sums = dict(line.split()[::-1] for line in (EMBEDDED / "SHA256SUMS").read_text().splitlines())
    training = mnist.training_split("all")
    rebuilt = {
        "train-images-idx3-ubyte": training.images[..., 0],
        "train-labels-idx1-ubyte": training.labels,
        "t10k-images-idx3-ubyte": mnist.test.images[..., 0],
        "t10k-labels-idx1-ubyte": mnist.test.labels,
    }
    assert {name: hashlib.sha256(idx(array)).hexdigest() for name, array in rebuilt.items()} == sums
    assert [len(split) for split in (mnist.train, mnist.validation)] == [50_000, 10_000]
    assert (mnist.image_shape, mnist.num_classes, mnist.version) == ((28, 28, 1), 10, "3.0.1")


def test_prepared_arrays_come_back_in_order(shapes, tmp_path):
    assert shapes == tmp_path / "root" / "shapes" / "1.0.0"
    for data_dir in (tmp_path / "root", shapes):
        data = load("shapes", data_dir)
        pairs = (data.training_split("all"), SPLITS["train"]), (data.test, SPLITS["test"])
        for split, expected in pairs:
            np.testing.assert_array_equal(split.images, expected.images)
            np.testing.assert_array_equal(split.labels, expected.labels)
        np.testing.assert_array_equal(data.validation.images, SPLITS["train"].images[25:])
        assert (len(data.train), data.num_classes, data.image_shape) == (25, 4, SHAPE)


def test_without_a_test_split_it_is_taken_before_the_validation_split(tmp_path):
    images = pixels(20)
    write_prepared("alone", {"train": Split(images)}, tmp_path)
    data = load("alone", tmp_path)
    np.testing.assert_array_equal(data.train.images, images[:14])
    np.testing.assert_array_equal(data.test.images, images[14:17])
    np.testing.assert_array_equal(data.validation.images, images[17:])
    assert data.train.labels is data.test.labels is data.num_classes is None


def test_newest_version_is_taken_unless_one_is_asked_for(shapes):
    root = shapes.parent.parent
    for version in ("1.2.0", "1.10.0"):
        path = shutil.copytree(shapes, shapes.parent / version) / "dataset_info.json"
        path.write_text(path.read_text().replace("1.0.0", version))
    assert load("shapes", root).version == "1.10.0"
    assert load("shapes:1.2.0", root).version == "1.2.0"


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_damaged_metadata_is_refused(shapes, name):
    path = shapes / name
    for content in (path.read_text()[:-40], "[]", '{"name": 7}', "[" * 100_000):
        path.write_text(content)
        refuses(lambda: load("shapes", shapes.parent.parent), str(shapes))
    path.unlink()
    refuses(lambda: load("shapes", shapes.parent.parent), name)


def test_damaged_records_are_refused(shapes):
    path = next(shapes.glob("*train.tfrecord*"))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(flipped), b""):
        path.write_bytes(content)
        refuses(lambda: load("shapes", shapes), "split train", "records")
    path.unlink()
    refuses(lambda: load("shapes", shapes), "split train", "records")


def test_foreign_feature_class_is_never_imported(shapes, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    path = shapes / "features.json"
    content = json.loads(path.read_text())
    features = content["featuresDict"]["features"]
    features["other"] = features["image"] | {"pythonClassName": "evil_module.Feature"}
    features["image"]["pythonClassName"] = "evil_module.Feature"
    path.write_text(json.dumps(content))
    assert len(load("shapes", shapes).train) == 25
    assert "evil_module" not in sys.modules
    path.write_text(json.dumps({"type": "evil_module.Feature", "content": {}}))
    refuses(lambda: load("shapes", shapes), "no feature 'image'")


def test_unsupported_images_are_refused(shapes):
    path = shapes / "features.json"
    whole = path.read_text()
    for part, other in (('"7"', '"-1"'), ('"uint8"', '"uint16"'), ('"3"', '"4"')):
        path.write_text(whole.replace(part, other))
        refuses(lambda: load("shapes", shapes), "'image'")
    path.write_text(whole)
    info = shapes / "dataset_info.json"
    info.write_text(info.read_text().replace('"shapes"', '"../shapes"'))
    refuses(lambda: load("shapes", shapes), "no TFDS directory")


def test_failed_download_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    def unreachable(*args, **kwargs):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.create_connection", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    root = tmp_path / "new" / "root"
    refuses(lambda: load("fashion_mnist", root), "could not be downloaded", error=WorkError)
    assert not (tmp_path / "new").exists()
    assert capfd.readouterr() == ("", "")


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    good = Split(pixels(4), labels(4))
    for splits in [
        {"test": good},
        {"train": Split(pixels(4).astype(np.float32))},
        {"train": Split(pixels(4)[..., 0])},
        {"train": Split(pixels(0))},
        {"train": good, "test": Split(pixels(4, (5, 7, 3)), labels(4))},
        {"train": good, "test": Split(pixels(4))},
        {"train": Split(pixels(4), labels(3))},
        {"train": Split(pixels(4), labels(4) - 1)},
    ]:
        refuses(lambda splits=splits: write_prepared("x", splits, tmp_path))
    refuses(
        lambda: write_prepared("x", {"train": good}, tmp_path, class_names=["a", "b"]), "labels"
    )
    for name in ("", "MNIST", "my-images", "../up", "x__y"):
        refuses(lambda name=name: write_prepared(name, {"train": good}, tmp_path), repr(name))
