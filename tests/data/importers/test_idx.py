import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.errors import refuses
from tfgen.data.importers.idx import import_idx, read_idx

UINT8, INT16, INT32 = 0x08, 0x0B, 0x0C
IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([3, 0, 1, 2, 1])


def idx(array: np.ndarray, code: int = UINT8) -> bytes:
    dtype = {UINT8: np.uint8, INT16: ">i2", INT32: ">i4"}[code]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", "-")).write_bytes(content)
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_content_not_name_decides_whether_it_is_gzipped(tmp_path, pack):
    path = tmp_path / "whatever.bin"
    path.write_bytes(pack(idx(IMAGES)))
    np.testing.assert_array_equal(read_idx(path), IMAGES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P5 28 28",
        gzip.compress(struct.pack(">HBBI", 0, UINT8, 1, 80 << 20) + bytes(80 << 20)),
        idx(IMAGES)[:10],
        idx(IMAGES)[:-1],
        idx(IMAGES) + b"!",
        struct.pack(">HBBIII", 0, UINT8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        idx(IMAGES, INT16),
        gzip.compress(idx(IMAGES))[:-12],
        gzip.compress(idx(IMAGES))[:-8] + bytes(8),
    ],
    ids=range(10),
)
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "IMAGES"
    path.write_bytes(content)
    refuses(lambda: read_idx(path), str(path))


@pytest.mark.parametrize(
    ("train", "test", "labels"),
    [
        ("train-{}-idx3-ubyte", "t10k-{}-idx3-ubyte", idx(LABELS)),
        ("train-{}.idx3-ubyte", "test-{}.idx3-ubyte", idx(LABELS)),
        ("emnist-letters-train-{}-idx3-ubyte.gz", "emnist-letters-test-{}-idx3-ubyte.gz", None),
        # QMNIST: of labels of two dimensions, the first column is the class.
        (
            "qmnist-train-{}-idx2-int",
            "qmnist-test-{}-idx2-int",
            idx(np.stack([LABELS, LABELS + 70000], axis=1), INT32),
        ),
    ],
    ids=["mnist", "fashion", "emnist", "qmnist"],
)
def test_files_of_the_mnist_family_are_found_by_name(tmp_path, train, test, labels):
    files = {train.format("images"): idx(IMAGES), test.format("images"): idx(IMAGES), "notes": b""}
    if labels is not None:
        files |= {name.format("labels"): labels for name in (train, test)}
    splits = import_idx(write(tmp_path, **files))
    assert list(splits) == ["train", "test"]
    for split in splits.values():
        np.testing.assert_array_equal(split.images, IMAGES[..., None])
        assert (split.labels is None) == (labels is None)
        assert labels is None or split.labels.tolist() == LABELS.tolist()


def test_one_file_will_do(tmp_path):
    folder = write(tmp_path, train_images_idx3_ubyte=idx(IMAGES))
    assert import_idx(folder / "train-images-idx3-ubyte")["train"].labels is None


def test_folders_that_do_not_fit_together_are_refused(tmp_path):
    train = {"train_images_idx3_ubyte": idx(IMAGES), "train_labels_idx1_ubyte": idx(LABELS)}
    test = {"t10k_images_idx3_ubyte": idx(IMAGES)}
    for number, files in enumerate(
        [
            {},
            test,
            train | {"train_images_idx3_ubyte": idx(LABELS)},
            train | {"train_images_idx3_ubyte": idx(IMAGES, INT32)},
            train | {"train_labels_idx1_ubyte": idx(IMAGES)},
            train | {"t10k_labels_idx1_ubyte": idx(LABELS)},
        ]
    ):
        folder = write(tmp_path / str(number), **files)
        refuses(lambda folder=folder: import_idx(folder), str(folder))


def test_prefix_chooses_one_of_several_data_sets(tmp_path):
    write(
        tmp_path, a_train_images_idx3_ubyte=idx(IMAGES), b_train_images_idx3_ubyte=idx(IMAGES[:1])
    )
    assert len(import_idx(tmp_path, "b")["train"]) == 1
    refuses(lambda: import_idx(tmp_path, "c"), "a, b")
    refuses(lambda: import_idx(tmp_path), "a, b")
