import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.told import fails
from tfgen.data.importers.idx import import_idx, read_idx, read_idx_images, read_idx_labels

pytestmark = pytest.mark.quick

UINT8, INT16, INT32 = 0x08, 0x0B, 0x0C


def idx(array: np.ndarray, code: int = UINT8) -> bytes:
    dtype = {UINT8: np.uint8, INT16: ">i2", INT32: ">i4"}[code]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([3, 0, 1, 2, 1])


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


def test_int32_entries_are_big_endian(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx(np.array([1, 256, 70000]), INT32))
    assert read_idx(path).tolist() == [1, 256, 70000]


def test_first_column_of_two_dimensional_labels_is_the_class(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx(np.stack([LABELS, LABELS + 100], axis=1), INT32))
    labels = read_idx_labels(path)
    assert labels.dtype == np.int64
    assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"P5 28 28", "not an IDX file"),
        (b"\0\0", "not an IDX file"),
        (b"PK\3\4rest", "ZIP archive"),
        (idx(IMAGES)[:10], "within its header"),
        (idx(IMAGES)[:-1], "is truncated: 29 bytes of data, 30 expected"),
        (idx(IMAGES) + b"!", "bytes after its 30 bytes"),
        (struct.pack(">HBBIII", 0, UINT8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "IMAGES"),
        (idx(IMAGES, INT16), "int16"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-12], "broken gzip"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-8] + bytes(8), "broken gzip"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "IMAGES"
    path.write_bytes(content)
    fails(lambda: read_idx(path), str(path), message)


def test_missing_file_and_folder_are_refused(tmp_path):
    fails(lambda: read_idx(tmp_path / "none"), "no such file")
    fails(lambda: read_idx(tmp_path), "is a folder")
    fails(lambda: import_idx(tmp_path / "none"), "none does not exist; pass a folder")


def test_images_and_labels_are_not_taken_for_each_other(tmp_path):
    write(tmp_path, images=idx(IMAGES), labels=idx(LABELS))
    fails(lambda: read_idx_images(tmp_path / "labels"), "labels", "misnamed")
    fails(lambda: read_idx_labels(tmp_path / "images"), "images", "misnamed")


def test_pixels_must_be_uint8_and_labels_not_negative(tmp_path):
    write(tmp_path, images=idx(IMAGES, INT32), labels=idx(-LABELS, INT32), none=idx(IMAGES[:0]))
    fails(lambda: read_idx_images(tmp_path / "images"), "int32", "uint8")
    fails(lambda: read_idx_images(tmp_path / "none"), "no images")
    fails(lambda: read_idx_labels(tmp_path / "labels"), "-3")


@pytest.mark.parametrize(
    ("train_images", "train_labels", "test_images", "test_labels"),
    [
        (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
        (
            "train-images.idx3-ubyte",
            "train-labels.idx1-ubyte",
            "test-images.idx3-ubyte",
            "test-labels.idx1-ubyte",
        ),
        (
            "emnist-letters-train-images-idx3-ubyte.gz",
            "emnist-letters-train-labels-idx1-ubyte.gz",
            "emnist-letters-test-images-idx3-ubyte.gz",
            "emnist-letters-test-labels-idx1-ubyte.gz",
        ),
        (
            "qmnist-train-images-idx3-ubyte",
            "qmnist-train-labels-idx2-int",
            "qmnist-test-images-idx3-ubyte",
            "qmnist-test-labels-idx2-int",
        ),
    ],
)
def test_files_of_the_mnist_family_are_found_by_name(
    tmp_path, train_images, train_labels, test_images, test_labels
):
    write(
        tmp_path,
        **{
            train_images: idx(IMAGES),
            train_labels: idx(LABELS),
            test_images: idx(IMAGES[:2]),
            test_labels: idx(LABELS[:2]),
            "notes.txt": b"",
        },
    )
    splits = import_idx(tmp_path).splits
    assert list(splits) == ["train", "test"]
    np.testing.assert_array_equal(splits["train"].images, IMAGES[..., None])
    np.testing.assert_array_equal(splits["test"].labels, LABELS[:2])


def test_labels_and_test_split_are_optional_and_one_file_will_do(tmp_path):
    write(tmp_path, train_images_idx3_ubyte=idx(IMAGES))
    for source in (tmp_path, tmp_path / "train-images-idx3-ubyte"):
        splits = import_idx(source).splits
        assert list(splits) == ["train"]
        assert splits["train"].labels is None


def test_folders_that_do_not_fit_together_are_refused(tmp_path):
    train = {"train_images_idx3_ubyte": idx(IMAGES), "train_labels_idx1_ubyte": idx(LABELS)}
    test = {"t10k_images_idx3_ubyte": idx(IMAGES), "t10k_labels_idx1_ubyte": idx(LABELS)}
    cases = [
        ({}, ["no train images"]),
        (test, ["no train images"]),
        (train | {"train_labels_idx1_ubyte": idx(LABELS[:4])}, ["5 images", "4 labels"]),
        (train | {"train_images_idx3_ubyte": idx(LABELS)}, ["misnamed"]),
        (train | {"t10k_images_idx3_ubyte": idx(IMAGES)}, ["labels for train but not for test"]),
        (train | {"t10k_labels_idx1_ubyte": idx(LABELS)}, ["labels but no images for test"]),
        (
            train | test | {"t10k_images_idx3_ubyte": idx(IMAGES.reshape(5, 2, 3))},
            ["3 × 2", "2 × 3"],
        ),
        (train | {"train_images.idx3_ubyte": idx(IMAGES)}, ["two files of train images"]),
        (train | {"x_train_images_idx3_ubyte": idx(IMAGES)}, ["several data sets"]),
    ]
    for number, (files, message) in enumerate(cases):
        folder = write(tmp_path / str(number), **files)
        fails(lambda folder=folder: import_idx(folder), *message)


def test_prefix_chooses_one_of_several_data_sets(tmp_path):
    write(
        tmp_path, a_train_images_idx3_ubyte=idx(IMAGES), b_train_images_idx3_ubyte=idx(IMAGES[:1])
    )
    assert len(import_idx(tmp_path, "b").splits["train"]) == 1
    fails(lambda: import_idx(tmp_path, "c"), "'c'", "a, b")
