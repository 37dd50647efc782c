"""A place of its own for each wrong use, and the damage that is done there."""

import fcntl
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.conftest import Trained, make_images
from tfgen.publishing.versions import MANIFEST, hash_files

NAME = "vae-2d-tiny"


@dataclass(frozen=True)
class World:
    """A place of its own for one case, and what the session has trained, to read or to copy."""

    tmp: Path
    trained: Trained

    def file(self, name: str, content: bytes = b"something") -> Path:
        path = self.tmp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def folder(self, name: str) -> Path:
        path = self.tmp / name
        path.mkdir(parents=True)
        return path

    def data(self) -> Path:
        """A copy of the version folder of `tiny`, in the TFDS root `tmp/data`."""
        shutil.copytree(self.trained.data, self.tmp / "data")
        return self.tmp / "data" / "tiny" / "1.0.0"

    def run(self) -> Path:
        """A copy of a finished run, as `tmp/run`."""
        return Path(shutil.copytree(self.trained.runs / "flat", self.tmp / "run"))

    def version(self) -> Path:
        """A copy of a published version, in `tmp/models`."""
        shutil.copytree(self.trained.saved_models, self.tmp / "models")
        return self.tmp / "models" / NAME / "2"


def flip(path: Path) -> None:
    """Damages the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(byte ^ 255 for byte in content[middle : middle + 8])
    path.write_bytes(content)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def seal(version: Path) -> None:
    """Makes the manifest agree with the files."""
    manifest = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps({**manifest, "files": hash_files(version)}))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def records(folder: Path) -> Path:
    return next(folder.glob("tiny-train.tfrecord*"))


def foreign_class(folder: Path) -> None:
    path = folder / "features.json"
    text = path.read_text().replace(
        "tensorflow_datasets.core.features.image_feature.Image", "os.system"
    )
    path.write_text(text)


def hold_lock(run: Path) -> None:
    """For as long as this process lives, as another process would."""
    fcntl.flock(os.open(run / ".lock", os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)


def break_checkpoints(run: Path) -> None:
    for arrays in (run / "checkpoints").glob("step-*/arrays.npz"):
        flip(arrays)


def put_saved_model(version: Path, compute: Callable[[Any], Any]) -> None:
    """Puts a SavedModel of one signature in the version's place."""
    import tensorflow as tf

    function = tf.function(lambda seed: {"images": compute(seed)})
    signature = function.get_concrete_function(tf.TensorSpec([None], tf.int32, name="seed"))
    shutil.rmtree(version / "variables")
    tf.saved_model.save(tf.Module(), str(version), signatures={"serving_default": signature})
    seal(version)


def put_reader_of_files(version: Path) -> None:
    import tensorflow as tf

    put_saved_model(version, lambda seed: tf.io.read_file("/etc/hostname"))


def put_signature_of_others(version: Path) -> None:
    put_saved_model(version, lambda seed: seed + 1)


def unlabelled(w: World) -> None:
    from tfgen.data.writing import prepare

    prepare("tiny", {"train": (make_images(40), None)}, w.tmp / "other")


def wrong_data(w: World) -> None:
    """Another data set under the name of the run's."""
    from tfgen.data.writing import prepare

    prepare("tiny", {"train": (255 - make_images(400), None)}, w.tmp / "other")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES, LABELS = np.zeros((5, 4, 3), np.uint8), np.zeros(5, np.uint8)
TRAIN_IMAGES, TRAIN_LABELS = "source/train-images-idx3-ubyte", "source/train-labels-idx1-ubyte"


def files(**contents: bytes) -> Callable[[World], None]:
    """Files of the source by short names."""
    names = {"images": TRAIN_IMAGES, "labels": TRAIN_LABELS, "zipped": f"{TRAIN_IMAGES}.gz"}
    names["test"] = "source/t10k-images-idx3-ubyte"

    def write(w: World) -> None:
        for name, content in contents.items():
            w.file(names[name], content)

    return write


def pictures(*images: np.ndarray, kind: str = "PNG") -> Callable[[World], None]:
    def write(w: World) -> None:
        for n, image in enumerate(images):
            Image.fromarray(image).save(
                w.folder("source") / f"{n}.png" if n == 0 else w.tmp / f"source/{n}.png", kind
            )

    return write


def broken_picture(w: World) -> None:
    pictures(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))(w)
    cut(w.tmp / "source" / "0.png", 90)


Argv = Callable[[World], list[object]]


class Case(NamedTuple):
    id: str
    verb: str
    argv: Argv
    status: int
    message: str


def after(prepare: Callable[[World], object], argv: Argv) -> Argv:
    """First the preparation, then the arguments."""

    def both(world: World) -> list[object]:
        prepare(world)
        return argv(world)

    return both


def train(*flags: object) -> Argv:
    """Right but for the flags: they stand last, so they win."""
    return lambda w: [
        *(
            "vae",
            "--hidden",
            4,
            "--latent-dim",
            2,
            "--dataset",
            "tiny",
            "--data-dir",
            w.trained.data,
        ),
        *("--epochs", 1, "--batch-size", 64, "--run-dir", w.tmp / "run"),
        *(
            "--saved-models",
            w.tmp / "models",
            *(flag(w) if callable(flag) else flag for flag in flags),
        ),
    ]


def train_gan(*flags: object) -> Argv:
    return lambda w: [
        *("gan", "--dataset", "tiny", "--data-dir", w.trained.data, "--run-dir", w.tmp / "run"),
        *(
            "--saved-models",
            w.tmp / "models",
            *(flag(w) if callable(flag) else flag for flag in flags),
        ),
    ]


def resume(*flags: object) -> Argv:
    return lambda w: [
        "vae",
        "--resume",
        "--run-dir",
        w.tmp / "run",
        "--saved-models",
        w.tmp / "models",
        *flags,
    ]


def sample(*flags: object, name: str = NAME) -> Argv:
    return lambda w: [
        name,
        "--saved-models",
        w.trained.saved_models,
        "--out",
        w.tmp / "out.png",
        *flags,
    ]


def sample_copy(*flags: object) -> Argv:
    """From the copy that `World.version` made."""
    return lambda w: [*sample()(w), "--saved-models", w.tmp / "models", *flags]


def data(kind: str, *flags: object) -> Argv:
    return lambda w: [kind, w.tmp / "source", "--name", "mine", "--to", w.tmp / "root", *flags]


def at(name: str) -> Callable[[World], Path]:
    return lambda w: w.tmp / name
