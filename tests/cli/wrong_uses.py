"""The table of wrong uses: what is prepared, what is called, how it must end."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.cases import Case, at, bare_train, resume, train, train_gan
from tests.cli.worlds import (
    NAME,
    World,
    break_checkpoints,
    cut,
    edit_json,
    find_records,
    flip,
    hold_lock,
    put_foreign_class,
    write_changed,
    write_unlabelled,
)
from tests.cli.wrong_data import DATA
from tests.cli.wrong_sample import SAMPLE
from tests.cli.wrong_score import SCORE
from tfgen.publishing.versions import MANIFEST

ONE_RATE = "learning_rate = 0.0 .* more than 0"
TRAIN = [
    bare_train("no-model", "required: MODEL"),
    bare_train("no-model-but-flags", "required: MODEL", "--epochs", 3),
    bare_train("unknown-model", "unknown model 'vea'; did you mean 'vae'", "vea"),
    train("two-models", "unexpected argument 'vae'", "vae"),
    train(
        "ray-and-mirrored",
        "--ray trains with --strategy multiworker; leave --strategy out",
        *("--ray", 2, "--strategy", "mirrored"),
    ),
    train("ray-workers-of-a-training", "ray = -1 is too small", "--ray", -1),
    train(
        "ray-address-of-a-training", "is for --ray; pass --ray too", "--ray-address", "head:6379"
    ),
    train("unknown-preset", "unknown preset 'mlp-3d'.*'mlp-2d'", "--preset", "mlp-3d"),
    train("preset-empty", "unknown preset ''", "--preset", ""),
    train("run-dir-empty", "argument --run-dir: the path is empty; see", "--run-dir", ""),
    train("preset-without-value", "--preset: expected one argument", "--preset"),
    train(
        "unknown-flag",
        r"unknown flag --epoch; did you mean --epochs\? tfgen-train vae --help lists all$",
        *("--epoch", 3),
    ),
    train("unknown-flag-with-value", "--sead; did you mean --seed", "--sead=3"),
    train("unknown-flag-unlike-any", "flag --verbose; tfgen-train vae --help", "--verbose"),
    train("unknown-flag-copied", "flag —epochs; did you mean --epochs", "—epochs", 3),
    bare_train("unknown-flag-first", "--epoch; did you mean --epochs", "--epoch", 3, "vae"),
    bare_train("model-in-capitals", "'VAE'; did you mean 'vae'", "VAE"),
    bare_train(
        "conditional-classifier",
        "unknown flag --conditional: vae, gan and flow have it, classifier does not;",
        *("classifier", "--conditional"),
    ),
    train("epochs-negative", "epochs = -1 is too small; the least is 1", "--epochs", -1),
    train("epochs-0", "epochs = 0 is too small", "--epochs", 0),
    train("epochs-fraction", "--epochs: '1.5' is not an integer", "--epochs", 1.5),
    train("batch-size-0", "batch_size = 0 is too small", "--batch-size", 0),
    train("batch-size-over-data", "335 is larger .* the most is 334", "--batch-size", 335),
    train("learning-rate-0", ONE_RATE, "--learning-rate", 0),
    train("learning-rate-negative", "-1.0 is too small", "--learning-rate", -1),
    train("learning-rate-nan", "learning_rate = nan is not a num", "--learning-rate", "nan"),
    train("learning-rate-inf", "learning_rate = inf is not finite", "--learning-rate", "inf"),
    train("learning-rate-word", "'fast' is not a number", "--learning-rate", "fast"),
    train(
        "weights-best-of-all",
        "--train-on all leaves no images to validate by; leave --weights out",
        *("--train-on", "all", "--weights", "best"),
    ),
    train("train-on-unknown", "unknown train_on = 'test'; known: train, all", "--train-on", "test"),
    train("seed-negative", "seed = -1 is too small", "--seed", -1),
    train("seed-too-large", f"too large; the most is {2**31 - 1}", "--seed", 2**31),
    train("unknown-precision", "precision = 'float8'.*'float32'", "--precision", "float8"),
    train("unknown-strategy", "strategy = 'miror'.*'mirrored'", "--strategy", "miror"),
    train("checkpoint-every-0", "checkpoint_every = 0.0", "--checkpoint-every", 0),
    train("grey-for-bernoulli", "does not suit binarization", "--binarization", "none"),
    train("binary-for-normal", "does not suit binarization", "--likelihood", "normal"),
    train("latent-dim-huge", "too large; the most is 2147483647", "--latent-dim", 10**20),
    train("latent-dim-0", "latent_dim = 0 is too small", "--latent-dim", 0),
    train("hidden-with-0", "hidden has the entry 0, which is too small", "--hidden", 8, 0),
    train("hidden-empty", "--hidden: expected at least one argument", "--hidden"),
    train("unknown-objective", "= 'iwea'; did you mean 'iwae'", "--objective", "iwea"),
]

SMOOTHING = "label_smoothing = 0.1 has no meaning with loss 'hinge'"
NO_LABELS = "--conditional needs labels, and data set tiny has none"
GAN = [
    train_gan("unknown-loss", "loss = 'hings'; did you mean 'hinge'", "--loss", "hings"),
    train_gan("dropout-1", "dropout = 1.0 is too large; the most is 0.99", "--dropout", 1),
    train_gan("critic-steps-0", "critic_steps = 0 is too small", "--critic-steps", 0),
    train_gan("ema-decay-over-1", "ema_decay = 1.5 is too large", "--ema-decay", 1.5),
    train_gan("smoothing-without-labels", SMOOTHING, "--loss", "hinge", "--label-smoothing", 0.1),
    train_gan("no-flag-of-any-family", "unknown flag --image-shape;", "--image-shape", 28),
    train_gan("flag-of-another-family", "vae and flow have it, gan does not", "--hidden", 4),
    train_gan(
        "conditional-without-labels",
        NO_LABELS,
        *("--conditional", "--data-dir", at("other")),
        prepare=write_unlabelled,
    ),
]

PLACES = [
    train("data-dir-missing", "unknown data set 'tiny': it is not in", "--data-dir", at("none")),
    train(
        "data-dir-no-data",
        "unknown data set 'tiny': it is not in .*/d, ",
        *("--data-dir", at("d")),
        prepare=lambda w: w.file("d/notes.txt"),
    ),
    train(
        "data-dir-a-file",
        "/d is not a folder; --data-dir",
        *("--data-dir", at("d")),
        prepare=lambda w: w.file("d"),
    ),
    train("data-set-not-there", "unknown data set 'tinny': it is not in", "--dataset", "tinny"),
    train("data-set-not-suggested", "of that name; prepare it", "--dataset", "photos"),
    train("data-set-near", "did you mean 'fashion_mnist'", "--dataset", "fashon_mnist"),
    train(
        "data-set-no-name",
        "'My Set!' is not a valid data set name; valid are letters",
        *("--dataset", "My Set!"),
    ),
    train("run-exists", "/run already holds a run; pass --resume", prepare=World.run),
    train("run-not-empty", "/run is not empty; choose", prepare=lambda w: w.file("run/a")),
    train("run-a-file", "/run is a file; choose another", prepare=lambda w: w.file("run")),
    train(
        "run-below-a-file",
        r"/f/run cannot be created \(Not a directory\); choose",
        *("--run-dir", at("f/run")),
        prepare=lambda w: w.file("f"),
    ),
    train("run-not-writable", "/proc/x/run cannot be created", "--run-dir", "/proc/x/run"),
    resume("run-in-use", "/run is in use by another process", prepare=lambda w: hold_lock(w.run())),
    train("run-just-started", "/run is in use by", prepare=lambda w: hold_lock(w.folder("run"))),
    resume("resume-no-run", "/run is not a run directory", prepare=lambda w: w.folder("run")),
    bare_train("resume-nothing", "there is no run of vae in runs", "vae", "--resume"),
    resume(
        "resume-changed",
        "started with --learning-rate 0.001, not --learning-rate 0.5; leave",
        *("--learning-rate", 0.5),
        prepare=World.run,
    ),
    resume(
        "resume-changed-model",
        "started with --hidden 4, not --hidden 4 5; leave",
        *("--hidden", 4, 5),
        prepare=World.run,
    ),
    resume(
        "resume-changed-switch",
        "started with --no-deterministic, not --deterministic; leave",
        "--deterministic",
        prepare=World.run,
    ),
    resume(
        "resume-other-data",
        "tiny is not the one that the run was started with",
        *("--data-dir", at("other")),
        prepare=lambda w: (w.run(), write_changed(w)),
    ),
    resume(
        "resume-broken-config",
        "/run/config.json is damaged",
        prepare=lambda w: cut(w.run() / "config.json", 100),
        status=1,
    ),
    resume(
        "resume-odd-config",
        "/run/config.json is damaged",
        prepare=lambda w: edit_json(w.run() / "config.json", options=[]),
        status=1,
    ),
    resume(
        "resume-odd-publishing",
        "/run/config.json is damaged: publish = 'yes' is not true or false",
        prepare=lambda w: edit_json(w.run() / "config.json", publishing={"publish": "yes"}),
        status=1,
    ),
    resume(
        "resume-newer-config",
        "damaged: VAEConfig has no field 'depth'",
        prepare=lambda w: edit_json(w.run() / "config.json", model={"depth": 3}),
        status=1,
    ),
    resume(
        "checkpoints-broken",
        "no checkpoint in .* is sound; nothing was changed",
        *("--epochs", 3),
        prepare=lambda w: break_checkpoints(w.run()),
        status=1,
    ),
    train("name-with-slash", "'my/vae' is not a valid name", "--name", "my/vae"),
    train("name-of-dots", "'..' is not a valid name", "--name", ".."),
    train(
        "models-a-file",
        "/models is a file; pass the folder",
        prepare=lambda w: w.file("models"),
    ),
    train("models-not-writable", "/proc/x/.* cannot be written", "--saved-models", "/proc/x"),
    train(
        "published-name-a-file",
        f"models/{NAME} cannot be written",
        prepare=lambda w: w.file(f"models/{NAME}"),
    ),
    train(
        "signature-changes",
        f"{NAME} .* decode takes 3 numbers as latents; version 2 took 2 numbers; publish under",
        *("--latent-dim", 3, "--name", NAME),
        prepare=World.version,
    ),
    train(
        "published-broken",
        f"{NAME}/2 is broken: its manifest.json cannot be read .* publish it again",
        prepare=lambda w: cut(w.version() / MANIFEST, 50),
        status=1,
    ),
]


def broken_data(id: str, message: str, damage: Callable[[Path], object]) -> Case:
    return train(id, message, "--data-dir", at("data"), prepare=lambda w: damage(w.data()))


DATA_READ = [
    broken_data(
        "features-broken",
        "features.json is damaged: it is no",
        lambda d: cut(d / "features.json", 60),
    ),
    broken_data(
        "features-missing", "it has no features.json", lambda d: (d / "features.json").unlink()
    ),
    broken_data("features-of-others", "'os.system', which is none of TFDS's", put_foreign_class),
    broken_data(
        "info-broken",
        "dataset_info.json is damaged",
        lambda d: cut(d / "dataset_info.json", 60),
    ),
    broken_data(
        "records-damaged",
        "train: its records are damaged or missing",
        lambda d: flip(find_records(d)),
    ),
    broken_data(
        "records-truncated",
        "train: its records are damaged",
        lambda d: cut(find_records(d), 999),
    ),
    broken_data(
        "records-missing",
        "train: its records are damaged or missing",
        lambda d: find_records(d).unlink(),
    ),
]


CASES = [*TRAIN, *GAN, *PLACES, *DATA_READ, *SAMPLE, *SCORE, *DATA]
# These run again as real processes: before TensorFlow is imported, and after it has written its
# messages to standard error.
AS_PROCESSES = ("unknown-flag", "records-damaged", "graph-reads-files")
