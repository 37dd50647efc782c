"""Wrong uses of `tfgen-data`."""

import gzip
from collections.abc import Callable

import numpy as np

from tests.cli.cases import Case, case
from tests.cli.worlds import IMAGES, LABELS, World, broken_picture, files, idx, pictures


def data(
    id: str, kind: str, prepare: Callable[[World], object], message: str, *flags: object
) -> Case:
    def arguments(w: World) -> list[object]:
        return [kind, w.tmp / "source", "--name", "mine", "--to", w.tmp / "root"]

    return case("data", arguments, id, message, *flags, prepare=prepare)


GOOD = files(images=idx(IMAGES))
SQUARE, WIDE = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)

DATA = [
    data(
        "idx-truncated",
        "idx",
        files(images=idx(IMAGES)[:-1]),
        "truncated: 59 bytes of data, 60 expected",
    ),
    data("idx-header-truncated", "idx", files(images=idx(IMAGES)[:9]), "it ends within its header"),
    data(
        "idx-mislabelled",
        "idx",
        files(images=idx(LABELS)),
        "holds labels .* where images are expected",
    ),
    data(
        "idx-images-for-labels",
        "idx",
        files(images=idx(IMAGES), labels=idx(IMAGES)),
        "where labels are exp",
    ),
    data(
        "idx-other-counts",
        "idx",
        files(images=idx(IMAGES), labels=idx(LABELS[1:])),
        "5 images, .* 4 labels",
    ),
    data(
        "idx-no-gzip",
        "idx",
        files(zipped=b"no gzip at all"),
        r"idx3-ubyte.gz is not an IDX file: .* 0x6e6f2067",
    ),
    data(
        "idx-broken-gzip",
        "idx",
        files(zipped=gzip.compress(idx(IMAGES))[:-9]),
        "is a broken gzip file",
    ),
    data(
        "idx-no-train", "idx", files(test=idx(IMAGES)), "has no train images; expected a file like"
    ),
    data("source-missing", "idx", lambda w: None, "/source does not exist; pass a folder"),
    data(
        "images-other-sizes",
        "images",
        pictures(SQUARE, WIDE),
        r"4 × [45] × 1 \(height × width × channels\); all images must have the same size",
    ),
    data(
        "images-16-bit",
        "images",
        pictures(SQUARE.astype(np.uint16)),
        "0.png has 16 bits per pixel; scale its values to 8 bits",
    ),
    data(
        "images-float",
        "images",
        pictures(SQUARE.astype(np.float32), kind="TIFF"),
        "not a PNG or JPEG image; con",
    ),
    data("image-broken", "images", broken_picture, "0.png is a broken image"),
    data(
        "images-none", "images", lambda w: w.folder("source"), "/source holds no PNG or JPEG images"
    ),
    data("images-a-file", "images", lambda w: w.file("source"), "/source is a file; pass the fol"),
    data(
        "images-palette",
        "images",
        pictures(np.zeros((4, 4), np.uint8), mode="P"),
        "0.png has a palette; convert it to RGB, for example with image.convert",
    ),
    data(
        "new-name-invalid",
        "idx",
        GOOD,
        "'My Set' is not a valid data set name; .* for example 'my_set'",
        *("--name", "My Set"),
    ),
    data(
        "target-exists",
        "idx",
        lambda w: (GOOD(w), w.folder("root/mine/1.0.0")),
        "1.0.0 exists already; rem",
    ),
    data(
        "target-a-file",
        "idx",
        lambda w: (GOOD(w), w.file("root")),
        "/root is a file; choose another",
    ),
    data(
        "target-name-a-file",
        "idx",
        lambda w: (GOOD(w), w.file("root/mine")),
        "/root/mine is a file; choose",
    ),
    data(
        "prefix-unknown",
        "idx",
        GOOD,
        "'letters'; it has: files without a prefix",
        *("--prefix", "letters"),
    ),
    data("unknown-kind", "video", lambda w: None, "unknown format 'video'; known: idx, images"),
]
