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


GOOD, ZIPPED = files(images=idx(IMAGES)), files(zipped=gzip.compress(idx(IMAGES))[:-9])
OTHER_COUNTS = files(images=idx(IMAGES), labels=idx(LABELS[1:]))
SQUARE, WIDE = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)

DATA = [
    data("idx-truncated", "idx", files(images=idx(IMAGES)[:-1]), "59 bytes of data"),
    data("idx-mislabelled", "idx", files(images=idx(LABELS)), "images are uint8"),
    data("idx-other-counts", "idx", OTHER_COUNTS, "5 images but 4 labels"),
    data("idx-broken-gzip", "idx", ZIPPED, "idx3-ubyte.gz cannot be read"),
    data("source-missing", "idx", lambda w: None, "/source does not exist"),
    data("images-other-sizes", "images", pictures(SQUARE, WIDE), "2 sizes, .* --size 64"),
    data("image-broken", "images", broken_picture, "0.png is broken "),
    data("images-none", "images", lambda w: w.folder("source"), "there are no files; pass PNG"),
    data("size-invalid", "images", pictures(SQUARE), "64/48", "--size", "64/48"),
    data("size-zero", "images", pictures(SQUARE), "too small", "--size", "64x0"),
    data("channels-two", "images", pictures(SQUARE), "use 1 or 3", "--channels", 2),
    data("background-unknown", "images", pictures(SQUARE), "whitish", "--background", "whitish"),
    data("size-of-idx", "idx", GOOD, "--size is for the format images only", "--size", 64),
    data("new-name-invalid", "idx", GOOD, "for example 'my_set'", "--name", "My Set"),
    data(
        "target-exists",
        "idx",
        lambda w: (GOOD(w), w.folder("root/mine/1.0.0")),
        "1.0.0 exists already; rem",
    ),
    data("target-a-file", "idx", lambda w: (GOOD(w), w.file("root")), "below a file"),
    data("target-not-utf8", "idx", GOOD, "caf.xe9.* is not UTF-8", "--to", "caf\udce9"),
    data("prefix-unknown", "idx", GOOD, "files without a prefix", "--prefix", "letters"),
    data("unknown-kind", "video", lambda w: None, "unknown format 'video'; known: idx, images"),
]
