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
        r"the 2 pictures have 2 sizes, width x height .*: 4x4 \(1\), 5x4 .* --size 64",
    ),
    data(
        "images-float",
        "images",
        pictures(SQUARE.astype(np.float32) - 1, kind="TIFF"),
        "0.png has values from -1 to -1 instead of 0 to 1; pass PNG",
    ),
    data("image-broken", "images", broken_picture, "0.png is broken "),
    data("images-none", "images", lambda w: w.folder("source"), "there are no files; pass PNG"),
    data("images-a-file", "images", lambda w: w.file("source"), "/source is a file; pass the fol"),
    data("size-invalid", "images", pictures(SQUARE), "--size '64/48' is no", "--size", "64/48"),
    data("size-zero", "images", pictures(SQUARE), "64x0 is too small", "--size", "64x0"),
    data("fit-unknown", "images", pictures(SQUARE), "fit", "--fit", "cover"),
    data("channels-two", "images", pictures(SQUARE), "1 .grey. or 3", "--channels", 2),
    data(
        "background-unknown",
        "images",
        pictures(SQUARE),
        "'whitish' is not an opaque colour; .* '#808080'",
        *("--background", "whitish"),
    ),
    data("size-of-idx", "idx", GOOD, "--size is for the format images only", "--size", 64),
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
        "target-not-utf8", "idx", GOOD, r"caf.xe9 has a name that is not UTF-8", "--to", "caf\udce9"
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
