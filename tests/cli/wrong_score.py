"""Wrong uses of `tfgen-score` and `tfgen-reconstruct`."""

import functools

import numpy as np

from tests.cli.cases import at, case
from tests.cli.worlds import NAME, World
from tests.conftest import make_images


def score_flags(w: World, name: str = NAME) -> list[object]:
    np.savez(w.tmp / "images.npz", images=make_images(2))
    return [name, w.tmp / "images.npz", "--saved-models", w.trained.saved_models]


bare_score = functools.partial(case, "score", lambda w: [NAME])
score = functools.partial(case, "score", score_flags)
shipped_gan = functools.partial(score_flags, name="gan")

SCORE = [
    bare_score("score-without-images", "the following arguments are required: IMAGES"),
    bare_score("score-of-nothing", "none.png does not exist; pass a picture", at("none.png")),
    bare_score("score-of-an-unset-variable", "argument IMAGES: the path is empty", ""),
    bare_score(
        "score-of-an-empty-folder",
        "there are no pictures; pass files or a folder that has some",
        at("empty"),
        prepare=lambda w: w.folder("empty"),
    ),
    score("score-extension", "extension '.png' is unknown; use .csv or .npz", "--out", "x.png"),
    score("score-onto-its-images", "it is among the images", "--out", at("images.npz")),
    score("score-background", "'blau' is not an opaque colour", "--background", "blau"),
    score("score-fit", "unknown fit = 'cut'; known: crop, pad, stretch", "--fit", "cut"),
    score("score-two-servers", "exclude each other", "--url", "http://a", "--grpc", "a:8500"),
    score("score-label", "not conditional: it takes no labels", "--label", 1),
    score("score-seed", "seed = 2147483647 is too large for 2 images", "--seed", 2**31 - 1),
    case(
        "score",
        lambda w: [NAME, w.file("broken.png"), "--saved-models", w.trained.saved_models],
        "score-of-a-broken-file",
        "broken.png is not a PNG, JPEG, .* file; pass PNG,",
    ),
    case("score", shipped_gan, "score-of-a-gan", "gan version 1 has no likelihood: it offers no"),
    case("reconstruct", shipped_gan, "reconstruct-of-a-gan", "gan version 1 has no encoder: it of"),
    case(
        "reconstruct",
        score_flags,
        "reconstruct-extension",
        "extension '.csv' is unknown; use .png or .npz",
        *("--out", "out.csv"),
    ),
]
