"""Writes images as a prepared TFDS directory, batch by batch."""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.data._tfds import import_tfds, silence
from tfgen.data.dataset import Split, count_classes
from tfgen.data.pictures import map_in_order
from tfgen.errors import UsageError, WorkError, first_line, printable, size_text
from tfgen.system.atomic import fresh_folder, move_into_place
from tfgen.system.quiet import import_quietly

# TFDS's own version of MNIST, so that the embedded copy stands where TFDS would look for it.
_VERSIONS = {"mnist": "3.0.1"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Most images that are encoded at once, and most bytes of their pixels.
_BATCH, _BATCH_BYTES = 64, 2**22

# Images as PNG files, and their labels int64[N], or None.
Batch = tuple[Sequence[bytes], np.ndarray | None]


def write_prepared(
    name: str,
    splits: Mapping[str, Split],
    data_dir: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    description: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `<data_dir>/<name>/<version>`, which `tfgen.data.load` and TFDS read.

    Images keep their order. The folder appears complete, by one rename, or not at all.

    Args:
        name: name of the data set, in snake case.
        splits: `train` and any others by name; all of them have labels, or none has.
        data_dir: the TFDS root; created if it is missing.
        class_names: names of the classes by label; None for as many classes as labels count.
        description: what the data set is, including its licence.
        overwrite: whether a data set that is there already is replaced.

    Returns:
        The version folder.

    Raises:
        UsageError: the name is not in snake case, the folder exists, or the splits disagree in
            image shape or labels.
    """
    _check_splits(splits, None if class_names is None else len(class_names))
    num_classes = count_classes(splits.values())
    classes = num_classes if num_classes is None or class_names is None else class_names
    batches = {key: _encode(split) for key, split in splits.items()}
    shape = splits["train"].image_shape
    about: dict[str, Any] = {"description": description, "overwrite": overwrite}
    return write_batches(name, batches, data_dir, image_shape=shape, classes=classes, **about)


def write_batches(
    name: str,
    splits: Mapping[str, Iterable[Batch]],
    data_dir: str | Path,
    *,
    image_shape: tuple[int, int, int],
    classes: Sequence[str] | int | None = None,
    description: str | None = None,
    metadata: Callable[[], Mapping[str, Any]] = dict,
    overwrite: bool = False,
) -> Path:
    """Writes `<data_dir>/<name>/<version>` from batches, of which it holds one at a time.

    Args:
        name: name of the data set, in snake case.
        splits: the batches of `train` and of any others, none of them empty; see `png_encoder`.
        data_dir: the TFDS root; created if it is missing.
        image_shape: height, width, channels of all images.
        classes: names of the classes by label, or their number; None without labels.
        description: what the data set is, including its licence.
        metadata: called after the last batch; gives what metadata.json says of the data set. If it
            raises an error, nothing is written.
        overwrite: whether a data set that is there already is replaced.

    Returns:
        The version folder.

    Raises:
        UsageError: the name is not in snake case, or the folder exists.
        WorkError: TensorFlow cannot write the files.
    """
    target = check_target(name, data_dir, overwrite)
    tfds = import_tfds()
    image = tfds.features.Image(shape=image_shape, dtype=np.uint8, encoding_format="png")
    fields = {"image": image}
    if classes is not None:
        kind = "num_classes" if isinstance(classes, int) else "names"
        fields["label"] = tfds.features.ClassLabel(**{kind: classes})
    features = tfds.features.FeaturesDict(fields)
    with fresh_folder(Path(data_dir), name) as root:
        folder = root / name / target.name
        folder.mkdir(parents=True)
        infos = [_write(folder, name, *item, features) for item in splits.items()]
        facts = dict(metadata())
        with silence():
            tfds.folder_dataset.write_metadata(
                data_dir=str(folder),
                features=features,
                split_infos=infos,
                check_data=False,
                description=description or f"{name}, prepared by tfgen-data.",
                metadata=tfds.core.MetadataDict(facts) if facts else None,
                disable_shuffling=True,
            )
        move_into_place(folder, target, overwrite)
    return target


def image_batches(count: int, image_shape: Sequence[int]) -> list[slice]:
    """The consecutive batches in which so many images are decoded and encoded."""
    size = max(1, min(_BATCH, _BATCH_BYTES // math.prod(image_shape)))
    return [slice(start, start + size) for start in range(0, count, size)]


def png_encoder() -> Callable[[np.ndarray], list[bytes]]:
    """Starts TensorFlow, and returns a function from images uint8[N,H,W,C] to PNG files.

    The files have the same bytes as TFDS would write. Several threads may call the function.
    """
    (tf,) = import_quietly()

    def encode(images: np.ndarray) -> list[bytes]:
        with tf.device("CPU:0"):
            return tf.io.encode_png(images).numpy().tolist()

    return encode


def check_target(name: str, data_dir: str | Path, overwrite: bool = False) -> Path:
    """The version folder that a data set is written to.

    Raises:
        UsageError: `name` is not in snake case, or the folder exists or cannot be created.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no data set name, which is in snake case: my_images")
    target = Path(data_dir) / name / _VERSIONS.get(name, "1.0.0")
    if target.exists() and not overwrite:
        raise UsageError(f"{printable(target)} exists already; replace it with --overwrite")
    return target


def _check_splits(splits: Mapping[str, Split], num_classes: int | None) -> None:
    """Refuses splits without train images, or that disagree in their shape, counts or labels."""
    if "train" not in splits:
        raise UsageError(f"a data set needs a split 'train'; it has: {', '.join(splits) or 'none'}")
    train = splits["train"]
    for name, split in splits.items():
        images, labels, fault = split.images, split.labels, None
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            fault = f"images are {images.dtype}{list(images.shape)}, not uint8 [N, H, W, 1 or 3]"
        elif not images.size or images.shape[1:] != train.images.shape[1:]:
            fault = f"images are {size_text(images.shape)}; all splits need images of one size"
        elif (labels is None) != (train.labels is None):
            fault = "and train disagree: only one of them has labels"
        elif labels is not None and len(labels) != len(images):
            fault = f"has {len(images)} images but {len(labels)} labels; each image needs one label"
        elif labels is not None and not 0 <= labels.min() <= labels.max() < (num_classes or np.inf):
            fault = f"labels run from {labels.min()} to {labels.max()}; they count from 0"
            fault += "" if num_classes is None else f" to {num_classes - 1}"
        if fault is not None:
            raise UsageError(f"{name} {fault}")


def _encode(split: Split) -> Iterator[Batch]:
    """The images of an array, encoded in several threads."""
    batches = image_batches(len(split), split.image_shape)
    encode = png_encoder()
    encoded = map_in_order(lambda batch: encode(split.images[batch]), batches)
    for batch, images in zip(batches, encoded, strict=True):
        yield images, None if split.labels is None else split.labels[batch]


def _write(folder: Path, name: str, split: str, batches: Iterable[Batch], features: Any) -> Any:
    """Writes the records of a split into one file; returns TFDS's description of it."""
    tfds, (tf,) = import_tfds(), import_quietly()
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=name, split=split, filetype_suffix="tfrecord"
    )
    path = template.sharded_filepath(shard_index=0, num_shards=1)
    count = size = 0
    try:
        with tf.io.TFRecordWriter(str(path)) as file:
            for images, labels in batches:
                for index, image in enumerate(images):
                    example: dict[str, Any] = {"image": io.BytesIO(image)}
                    if labels is not None:
                        example["label"] = int(labels[index])
                    record = features.serialize_example(example)
                    file.write(record)
                    count, size = count + 1, size + len(record)
    except tf.errors.OpError as error:
        raise WorkError(f"cannot write {name}: {first_line(error)}") from None
    return tfds.core.SplitInfo(
        name=split, shard_lengths=[count], num_bytes=size, filename_template=template
    )
