"""A place of its own for each wrong use, and the damage that is done there."""

import fcntl
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


# --- damage to files --------------------------------------------------------------------


def flip(path: Path) -> None:
    """Damages the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(byte ^ 255 for byte in content[middle : middle + 8])
    path.write_bytes(content)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- runs -------------------------------------------------------------------------------


def hold_lock(run: Path) -> None:
    """For as long as this process lives, as another process would."""
    fcntl.flock(os.open(run / ".lock", os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)


def break_checkpoints(run: Path) -> None:
    for arrays in (run / "checkpoints").glob("step-*/arrays.npz"):
        flip(arrays)


# --- published versions -----------------------------------------------------------------


def seal(version: Path) -> None:
    """Makes the manifest agree with the files."""
    manifest = json.loads((version / MANIFEST).read_text())
    (version / MANIFEST).write_text(json.dumps({**manifest, "files": hash_files(version)}))


def put_saved_model(version: Path, compute: Callable[[Any], Any]) -> None:
    """Replaces the version's SavedModel by one with a single signature."""
    import tensorflow as tf

    function = tf.function(lambda seed: {"images": compute(seed)})
    signature = function.get_concrete_function(tf.TensorSpec([None], tf.int32, name="seed"))
    shutil.rmtree(version / "variables")
    tf.saved_model.save(tf.Module(), str(version), signatures={"serving_default": signature})
    seal(version)


def put_reader_of_files(version: Path) -> None:
    import tensorflow as tf

    put_saved_model(version, lambda seed: tf.io.read_file("/etc/hostname"))


def put_foreign_signature(version: Path) -> None:
    put_saved_model(version, lambda seed: seed + 1)


# --- data sets --------------------------------------------------------------------------


def find_records(folder: Path) -> Path:
    return next(folder.glob("tiny-train.tfrecord*"))


def put_foreign_class(folder: Path) -> None:
    path = folder / "features.json"
    own_class = "tensorflow_datasets.core.features.image_feature.Image"
    path.write_text(path.read_text().replace(own_class, "os.system"))


def write_unlabelled(world: World) -> None:
    from tfgen.data import Split
    from tfgen.data.writing import write_prepared

    write_prepared("tiny", {"train": Split(make_images(40))}, world.tmp / "other")


def write_changed(world: World) -> None:
    """A different data set under the name of the run's."""
    from tfgen.data import Split
    from tfgen.data.writing import write_prepared

    write_prepared("tiny", {"train": Split(255 - make_images(400))}, world.tmp / "other")


# --- sources of tfgen-data --------------------------------------------------------------

IMAGES, LABELS = np.zeros((5, 4, 3), np.uint8), np.zeros(5, np.uint8)
# Files of the source by short names.
SOURCES = {
    "images": "source/train-images-idx3-ubyte",
    "labels": "source/train-labels-idx1-ubyte",
    "zipped": "source/train-images-idx3-ubyte.gz",
    "test": "source/t10k-images-idx3-ubyte",
}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def files(**contents: bytes) -> Callable[[World], None]:
    def write(world: World) -> None:
        for name, content in contents.items():
            world.file(SOURCES[name], content)

    return write


def pictures(*images: np.ndarray, kind: str = "PNG") -> Callable[[World], None]:
    def write(world: World) -> None:
        folder = world.folder("source")
        for n, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{n}.png", kind)

    return write


def broken_picture(world: World) -> None:
    pictures(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))(world)
    cut(world.tmp / "source" / "0.png", 90)
