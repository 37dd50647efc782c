"""The table of wrong uses: what is prepared, what is called, how it must end."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.cli.worlds import (
    IMAGES,
    LABELS,
    NAME,
    Case,
    World,
    after,
    at,
    break_checkpoints,
    broken_picture,
    cut,
    data,
    edit_json,
    files,
    flip,
    foreign_class,
    hold_lock,
    idx,
    pictures,
    put_reader_of_files,
    put_signature_of_others,
    records,
    resume,
    sample,
    sample_copy,
    seal,
    train,
    train_gan,
    unlabelled,
    wrong_data,
)
from tfgen.publishing.versions import MANIFEST

TRAIN = [
    Case("no-model", "train", lambda w: [], 2, "required: MODEL"),
    Case("no-model-but-flags", "train", lambda w: ["--epochs", 3], 2, "required: MODEL"),
    Case("unknown-model", "train", lambda w: ["vea"], 2, "unknown model 'vea'; did you mean 'vae'"),
    Case("two-models", "train", train("vae"), 2, "unexpected argument 'vae'"),
    Case(
        "unknown-preset",
        "train",
        train("--preset", "mlp-3d"),
        2,
        "unknown preset 'mlp-3d'.*'mlp-2d'",
    ),
    Case("preset-without-value", "train", train("--preset"), 2, "--preset: expected one argument"),
    Case(
        "unknown-flag",
        "train",
        train("--epoch", 3),
        2,
        "unknown flag --epoch; did you mean '--epochs'",
    ),
    Case(
        "unknown-flag-with-value", "train", train("--sead=3"), 2, "unknown flag --sead; .*'--seed'"
    ),
    Case(
        "epochs-negative",
        "train",
        train("--epochs", -1),
        2,
        "epochs = -1 is too small; the least is 1",
    ),
    Case("epochs-0", "train", train("--epochs", 0), 2, "epochs = 0 is too small"),
    Case(
        "epochs-fraction", "train", train("--epochs", 1.5), 2, "--epochs: '1.5' is not an integer"
    ),
    Case("batch-size-0", "train", train("--batch-size", 0), 2, "batch_size = 0 is too small"),
    Case(
        "batch-size-over-data",
        "train",
        train("--batch-size", 335),
        2,
        "335 is larger .* the most is 334",
    ),
    Case(
        "learning-rate-0",
        "train",
        train("--learning-rate", 0),
        2,
        "learning_rate = 0.0 .* more than 0",
    ),
    Case("learning-rate-negative", "train", train("--learning-rate", -1), 2, "-1.0 is too small"),
    Case(
        "learning-rate-nan",
        "train",
        train("--learning-rate", "nan"),
        2,
        "learning_rate = nan is not a num",
    ),
    Case(
        "learning-rate-inf",
        "train",
        train("--learning-rate", "inf"),
        2,
        "learning_rate = inf is not finite",
    ),
    Case(
        "learning-rate-word", "train", train("--learning-rate", "fast"), 2, "'fast' is not a number"
    ),
    Case("seed-negative", "train", train("--seed", -1), 2, "seed = -1 is too small"),
    Case(
        "seed-too-large", "train", train("--seed", 2**31), 2, f"too large; the most is {2**31 - 1}"
    ),
    Case(
        "unknown-precision",
        "train",
        train("--precision", "float8"),
        2,
        "precision = 'float8'.*'float32'",
    ),
    Case(
        "unknown-strategy",
        "train",
        train("--strategy", "miror"),
        2,
        "strategy = 'miror'.*'mirrored'",
    ),
    Case(
        "checkpoint-every-0", "train", train("--checkpoint-every", 0), 2, "checkpoint_every = 0.0"
    ),
    Case(
        "grey-for-bernoulli",
        "train",
        train("--binarization", "none"),
        2,
        "needs binarization dynamic or",
    ),
    Case(
        "binary-for-normal", "train", train("--likelihood", "normal"), 2, "needs binarization none"
    ),
    Case("latent-dim-0", "train", train("--latent-dim", 0), 2, "latent_dim = 0 is too small"),
    Case("hidden-with-0", "train", train("--hidden", 8, 0), 2, r"hidden = \(8, 0\) is too small"),
    Case("hidden-empty", "train", train("--hidden"), 2, "--hidden: expected at least one argument"),
    Case(
        "unknown-objective",
        "train",
        train("--objective", "iwea"),
        2,
        "= 'iwea'; did you mean 'iwae'",
    ),
    Case(
        "vae-of-6-x-6",
        "train",
        train("--architecture", "convolutional"),
        2,
        "four must divide both sides",
    ),
]

GAN = [
    Case(
        "unknown-loss",
        "train",
        train_gan("--loss", "hings"),
        2,
        "loss = 'hings'; did you mean 'hinge'",
    ),
    Case(
        "dropout-1",
        "train",
        train_gan("--dropout", 1),
        2,
        "dropout = 1.0 is too large; the most is 0.99",
    ),
    Case(
        "critic-steps-0",
        "train",
        train_gan("--critic-steps", 0),
        2,
        "critic_steps = 0 is too small",
    ),
    Case(
        "ema-decay-over-1",
        "train",
        train_gan("--ema-decay", 1.5),
        2,
        "ema_decay = 1.5 is too large",
    ),
    Case(
        "smoothing-without-labels",
        "train",
        train_gan("--loss", "hinge", "--label-smoothing", 0.1),
        2,
        "label_smoothing = 0.1 has no meaning with loss 'hinge'",
    ),
    Case(
        "sides-not-by-four",
        "train",
        train_gan("--preset", "dcgan"),
        2,
        "images of 6 × 6 .* four must divide both sides; use --architecture dense",
    ),
    Case("flag-of-another-family", "train", train_gan("--hidden", 4), 2, "unknown flag --hidden"),
    Case(
        "conditional-without-labels",
        "train",
        after(unlabelled, train_gan("--conditional", "--data-dir", at("other"))),
        2,
        "--conditional needs labels, and data set tiny has none",
    ),
    Case(
        "label-of-unconditional",
        "sample",
        sample("--label", 3),
        2,
        "not conditional: it takes no --label",
    ),
    Case("label-negative", "sample", sample("--label", -1), 2, "label = -1 is too small"),
    Case("seeds-too-large", "sample", sample("--seeds", 2**31), 2, "seeds = .* is too large"),
    Case(
        "way-of-one-seed",
        "sample",
        sample("--seeds", 1, "--interpolate", 3),
        2,
        "needs two --seeds or",
    ),
    Case(
        "unknown-path",
        "sample",
        sample("--path", "round"),
        2,
        "path = 'round'; known: linear, spherical",
    ),
]

PLACES = [
    Case(
        "data-dir-missing",
        "train",
        train("--data-dir", at("none")),
        2,
        "unknown data set 'tiny', not in",
    ),
    Case(
        "data-dir-no-data",
        "train",
        after(lambda w: w.file("d/notes.txt"), train("--data-dir", at("d"))),
        2,
        "unknown data set 'tiny', not in .*/d ",
    ),
    Case(
        "data-dir-a-file",
        "train",
        after(lambda w: w.file("d"), train("--data-dir", at("d"))),
        2,
        "/d is no folder; --data-dir",
    ),
    Case(
        "data-set-not-there",
        "train",
        train("--dataset", "tinny"),
        2,
        "unknown data set 'tinny', not in",
    ),
    Case(
        "data-set-no-name",
        "train",
        train("--dataset", "My Set!"),
        2,
        "'My Set!' is no name of a data set",
    ),
    Case(
        "run-exists",
        "train",
        after(World.run, train()),
        2,
        "/run already holds a run; pass --resume",
    ),
    Case(
        "run-not-empty",
        "train",
        after(lambda w: w.file("run/a"), train()),
        2,
        "/run is not empty; choose",
    ),
    Case(
        "run-a-file",
        "train",
        after(lambda w: w.file("run"), train()),
        2,
        "/run is a file; choose another",
    ),
    Case(
        "run-below-a-file",
        "train",
        after(lambda w: w.file("f"), train("--run-dir", at("f/run"))),
        2,
        "/f/run cannot be made: Not a directory",
    ),
    Case(
        "run-not-writable",
        "train",
        train("--run-dir", "/proc/x/run"),
        2,
        "/proc/x/run cannot be made",
    ),
    Case(
        "run-in-use",
        "train",
        after(lambda w: hold_lock(w.run()), resume()),
        2,
        "/run is in use by another process",
    ),
    Case(
        "run-just-begun",
        "train",
        after(lambda w: hold_lock(w.folder("run")), train()),
        2,
        "/run is in use by",
    ),
    Case(
        "resume-no-run",
        "train",
        after(lambda w: w.folder("run"), resume()),
        2,
        "/run is no run directory",
    ),
    Case(
        "resume-nothing",
        "train",
        lambda w: ["vae", "--resume"],
        2,
        "there is no run of vae in runs",
    ),
    Case(
        "resume-changed",
        "train",
        after(World.run, resume("--learning-rate", 0.5)),
        2,
        "made with --learning-rate 0.001, not 0.5; leave",
    ),
    Case(
        "resume-changed-model",
        "train",
        after(World.run, resume("--latent-dim", 3)),
        2,
        "--latent-dim 2, not 3",
    ),
    Case(
        "resume-other-data",
        "train",
        after(
            lambda w: (w.run(), wrong_data(w)),
            lambda w: [*resume()(w), "--data-dir", w.tmp / "other"],
        ),
        2,
        "tiny is not the one that the run began with",
    ),
    Case(
        "resume-broken-config",
        "train",
        after(lambda w: cut(w.run() / "config.json", 100), resume()),
        1,
        "/run/config.json is damaged",
    ),
    Case(
        "resume-odd-config",
        "train",
        after(lambda w: edit_json(w.run() / "config.json", options=[]), resume()),
        1,
        "/run/config.json is damaged",
    ),
    Case(
        "resume-newer-config",
        "train",
        after(lambda w: edit_json(w.run() / "config.json", model={"depth": 3}), resume()),
        1,
        "damaged: VAEConfig has no field 'depth'",
    ),
    Case(
        "checkpoints-broken",
        "train",
        after(lambda w: break_checkpoints(w.run()), resume("--epochs", 3)),
        1,
        "no checkpoint in .* is sound; nothing was changed",
    ),
    Case(
        "name-with-slash",
        "train",
        train("--name", "my/vae"),
        2,
        "'my/vae' is no name of a published",
    ),
    Case("name-of-dots", "train", train("--name", ".."), 2, "'..' is no name of a published"),
    Case(
        "models-a-file",
        "train",
        after(lambda w: w.file("models"), train()),
        2,
        "/models is a file; published samplers",
    ),
    Case(
        "models-not-writable",
        "train",
        train("--saved-models", "/proc/x"),
        2,
        "/proc/x/.* cannot be written",
    ),
    Case(
        "published-name-a-file",
        "train",
        after(lambda w: w.file(f"models/{NAME}"), train()),
        2,
        f"models/{NAME} cannot be written",
    ),
    Case(
        "signature-changes",
        "train",
        after(World.version, train("--latent-dim", 3, "--name", NAME)),
        2,
        f"{NAME} version 2 in .* has another signature 'decode'",
    ),
    Case(
        "published-broken",
        "train",
        after(lambda w: cut(w.version() / MANIFEST, 50), train()),
        1,
        f"{NAME}/2 is no published version",
    ),
]


def broken_data(id: str, damage: Callable[[Path], object], message: str) -> Case:
    return Case(
        id, "train", after(lambda w: damage(w.data()), train("--data-dir", at("data"))), 2, message
    )


DATA_READ = [
    broken_data(
        "features-broken",
        lambda d: cut(d / "features.json", 60),
        "features.json is damaged: it is no",
    ),
    broken_data(
        "features-missing", lambda d: (d / "features.json").unlink(), "it has no features.json"
    ),
    broken_data("features-of-others", foreign_class, "'os.system', which is none of TFDS's"),
    broken_data(
        "info-broken", lambda d: cut(d / "dataset_info.json", 60), "dataset_info.json is damaged"
    ),
    broken_data(
        "records-damaged", lambda d: flip(records(d)), "train: its records are damaged or missing"
    ),
    broken_data(
        "records-truncated", lambda d: cut(records(d), 999), "train: its records are damaged"
    ),
    broken_data(
        "records-missing",
        lambda d: records(d).unlink(),
        "train: its records are damaged or missing",
    ),
]


def broken_version(id: str, damage: Callable[[Path], object], message: str) -> Case:
    return Case(id, "sample", after(lambda w: damage(w.version()), sample_copy()), 1, message)


SAMPLE = [
    Case("no-name", "sample", lambda w: [], 2, "required: NAME"),
    Case(
        "unknown-name",
        "sample",
        sample(name="vae-2d-tin"),
        2,
        f"'vae-2d-tin'.*did you mean '{NAME}'",
    ),
    Case(
        "name-a-path",
        "sample",
        sample(name="../vae"),
        2,
        "'../vae' is no name of a published model",
    ),
    Case(
        "unknown-version", "sample", sample("--version", 7), 2, f"{NAME} has no version 7; it has 2"
    ),
    Case("n-0", "sample", sample("--n", 0), 2, "n = 0 is too small; the least is 1"),
    Case("n-too-large", "sample", sample("--n", 10**20), 2, "n = 1000.* is too large"),
    Case("n-negative", "sample", sample("--n", -4), 2, "n = -4 is too small"),
    Case("n-word", "sample", sample("--n", "four"), 2, "--n: 'four' is not an integer"),
    Case("sample-seed-negative", "sample", sample("--seed", -1), 2, "seed = -1 is too small"),
    Case(
        "extension-unknown",
        "sample",
        sample("--out", "out.gif"),
        2,
        "extension '.gif' is unknown; use .png",
    ),
    Case(
        "out-in-no-folder", "sample", sample("--out", "none/out.png"), 2, "there is no folder none"
    ),
    Case(
        "out-a-folder",
        "sample",
        after(lambda w: w.folder("out.png"), sample()),
        2,
        "cannot write .*/out.png: it is a folder",
    ),
    Case("out-not-writable", "sample", sample("--out", "/proc/out.png"), 1, "[a-z]: /proc/out.png"),
    Case(
        "manifold-of-20",
        "sample",
        sample("--manifold", 3, name="vae-tiny"),
        2,
        "needs 2 latents; vae-tiny has 20",
    ),
    Case(
        "manifold-and-interpolate",
        "sample",
        sample("--manifold", 3, "--interpolate", 3),
        2,
        "--manifold and --interpolate exclude each other",
    ),
    Case("manifold-1", "sample", sample("--manifold", 1), 2, "manifold = 1 is too small"),
    Case(
        "manifold-warm",
        "sample",
        sample("--manifold", 3, "--temperature", 2),
        2,
        "leave out --temperature",
    ),
    Case(
        "sample-models-a-file",
        "sample",
        after(lambda w: w.file("models"), sample_copy()),
        2,
        "/models is a file; published samplers",
    ),
    broken_version(
        "weights-flipped", lambda v: flip(next(v.glob("variables/*.data*"))), "data.* is damaged"
    ),
    broken_version(
        "graph-flipped", lambda v: flip(v / "saved_model.pb"), "saved_model.pb is damaged; publish"
    ),
    broken_version(
        "file-missing", lambda v: (v / "variables/variables.index").unlink(), "index is missing"
    ),
    broken_version(
        "file-added", lambda v: (v / "more.py").write_text(""), "more.py is not in its manifest"
    ),
    broken_version(
        "graph-truncated",
        lambda v: (cut(v / "saved_model.pb", 5000), seal(v)),
        "/2 holds no SavedModel",
    ),
    broken_version(
        "graph-empty",
        lambda v: (cut(v / "saved_model.pb", 0), seal(v)),
        "/2 (is broken|holds no SavedModel)",
    ),
    broken_version(
        "weights-truncated",
        lambda v: (cut(next(v.glob("variables/*.data*")), 100), seal(v)),
        "/2 is broken: TensorFlow cannot load it",
    ),
    broken_version(
        "manifest-missing", lambda v: (v / MANIFEST).unlink(), "/2 is no published version"
    ),
    broken_version(
        "manifest-broken", lambda v: cut(v / MANIFEST, 99), "its manifest.json cannot be read"
    ),
    broken_version(
        "manifest-odd", lambda v: (v / MANIFEST).write_text("[]"), "manifest.json cannot be read"
    ),
    Case(
        "signature-missing",
        "sample",
        after(lambda w: put_signature_of_others(w.version()), sample_copy()),
        2,
        "/2 has no signature 'latents'; known: serving_default",
    ),
    broken_version(
        "graph-reads-files", put_reader_of_files, "operations that are not allowed: .*ReadFile"
    ),
]


def read(
    id: str, kind: str, prepare: Callable[[World], object], message: str, *flags: object
) -> Case:
    return Case(id, "data", after(prepare, data(kind, *flags)), 2, message)


GOOD = files(images=idx(IMAGES))
SQUARE, WIDE = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)

DATA = [
    read(
        "idx-truncated",
        "idx",
        files(images=idx(IMAGES)[:-1]),
        "truncated: 59 bytes of data, 60 expected",
    ),
    read("idx-header-truncated", "idx", files(images=idx(IMAGES)[:9]), "it ends within its header"),
    read(
        "idx-mislabelled",
        "idx",
        files(images=idx(LABELS)),
        "holds labels .* where images are expected",
    ),
    read(
        "idx-images-for-labels",
        "idx",
        files(images=idx(IMAGES), labels=idx(IMAGES)),
        "where labels are exp",
    ),
    read(
        "idx-other-counts",
        "idx",
        files(images=idx(IMAGES), labels=idx(LABELS[1:])),
        "5 images, .* 4 labels",
    ),
    read(
        "idx-no-gzip",
        "idx",
        files(zipped=b"no gzip at all"),
        r"idx3-ubyte.gz is no IDX file: .* 0x6e6f2067",
    ),
    read(
        "idx-broken-gzip",
        "idx",
        files(zipped=gzip.compress(idx(IMAGES))[:-9]),
        "is a broken gzip file",
    ),
    read(
        "idx-no-train", "idx", files(test=idx(IMAGES)), "has no train images; expected a file like"
    ),
    read("source-missing", "idx", lambda w: None, "no such file or folder: .*/source"),
    read(
        "images-other-sizes", "images", pictures(SQUARE, WIDE), "[45] x 4 L; all images must agree"
    ),
    read(
        "images-16-bit",
        "images",
        pictures(SQUARE.astype(np.uint16)),
        "of mode I;16; convert it to 8-bit",
    ),
    read(
        "images-float",
        "images",
        pictures(SQUARE.astype(np.float32), kind="TIFF"),
        "no PNG or JPEG image; con",
    ),
    read("image-broken", "images", broken_picture, "0.png is a broken image"),
    read(
        "images-none", "images", lambda w: w.folder("source"), "/source holds no PNG or JPEG images"
    ),
    read("images-a-file", "images", lambda w: w.file("source"), "/source is no folder"),
    read(
        "new-name-invalid",
        "idx",
        GOOD,
        "'My Set' is no name .* 'my_set' would do",
        "--name",
        "My Set",
    ),
    read(
        "target-exists",
        "idx",
        lambda w: (GOOD(w), w.folder("root/mine/1.0.0")),
        "1.0.0 exists already; rem",
    ),
    read(
        "target-a-file",
        "idx",
        lambda w: (GOOD(w), w.file("root")),
        "/root is a file; choose another",
    ),
    read(
        "target-name-a-file",
        "idx",
        lambda w: (GOOD(w), w.file("root/mine")),
        "/root/mine is a file; choose",
    ),
    read(
        "prefix-unknown",
        "idx",
        GOOD,
        "'letters'; it has: files without a prefix",
        "--prefix",
        "letters",
    ),
    Case("unknown-kind", "data", data("video"), 2, "invalid choice: 'video'"),
]

CASES = [*TRAIN, *GAN, *PLACES, *DATA_READ, *SAMPLE, *DATA]
# Those that are told again by a real process: without TensorFlow, and after all that it says to
# stderr.
AS_PROCESSES = ("unknown-flag", "records-damaged", "graph-reads-files")
