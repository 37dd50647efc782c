"""What is evaluated: a run, a published version, or images of another source."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfgen.data import Dataset, Split
from tfgen.errors import UsageError, WorkError, size_text
from tfgen.evaluation.densities import Density, density_of
from tfgen.evaluation.progress import Advance, silent
from tfgen.models.generative import GenerativeModel
from tfgen.publishing import export, versions
from tfgen.publishing.opening import Sampler, exported_model, load_run
from tfgen.sampling import BATCH, batches, request_labels, request_seeds
from tfgen.settings.training import TrainOn
from tfgen.training.folder import RunFolder
from tfgen.training.plan import count_parameters


@dataclass(frozen=True)
class Subject:
    """A model to evaluate; `ImageSet` and `ShardSet` are images of another source.

    Attributes:
        title: name, preset and seed of the model, for tables.
        path: of the run, of the version or of the images.
        kind: which of these it is.
        run: the run's configuration, as in config.json.
        weights: `best`, `last` or `epoch <number>`.
        weights_sha256: hash of the weights; None if the live model is unknown.
        density: of the live model; None if it has none, or is unknown.
        draw: images `float32[B, H, W, C]` in 0…1 of seeds `int32[B]`, of a conditional model also
            of labels `int32[B]`.
        num_classes: of a conditional model; 0 of an unconditional one.
        image_shape: height, width, channels.
        cost: of the training; empty if unknown.
        no_model: why the live model is unknown; empty if it is known.
    """

    title: str
    path: Path
    kind: Literal["run", "version", "images"]
    run: dict[str, Any]
    weights: str
    weights_sha256: str | None
    density: Density | None
    draw: Callable[..., np.ndarray]
    num_classes: int
    image_shape: tuple[int, ...]
    cost: dict[str, Any]
    no_model: str = ""

    @property
    def training(self) -> dict[str, Any]:
        """How the model was trained: its config.json or parts of it; empty if unknown."""
        return self.run

    @property
    def train_on(self) -> TrainOn | None:
        """Which images of its data set the model was trained on; None if that is unknown."""
        options = self.training.get("options", {})
        train_on: TrainOn | None = options.get(
            "train_on", "train" if options.get("dataset") else None
        )
        return train_on

    def training_split(self, dataset: Dataset) -> Split:
        """The images of a data set that the model was trained on, or is assumed to be."""
        return dataset.training_split("all" if self._has_seen_validation(dataset) else "train")

    def _has_seen_validation(self, dataset: Dataset) -> bool:
        """Whether the model was trained on the validation images of a data set."""
        data = self.training.get("data", {})
        is_same = dataset.fingerprint == data.get("fingerprint") or dataset.name == data.get("name")
        return self.train_on == "all" and is_same

    def check_images(self, dataset: Dataset, split: str) -> None:
        """Refuse a data set that does not suit the model.

        Raises:
            UsageError: images have another shape, the split was trained on, or a conditional
                model's labels are missing or out of range.
        """
        if split == "validation" and self._has_seen_validation(dataset):
            raise UsageError(
                f"{self.title} was trained on the validation images (--train-on all), so it cannot "
                "be judged by them; leave out --split validation"
            )
        if tuple(dataset.image_shape) != self.image_shape:
            raise UsageError(
                f"the images of {self.title} are {size_text(self.image_shape)}, but those of "
                f"{dataset.name} are {size_text(dataset.image_shape)}; name the data set that the "
                "model was trained on with --dataset"
            )
        labels = getattr(dataset, split).labels
        if self.num_classes and (labels is None or labels.max() >= self.num_classes):
            available = "no labels" if labels is None else f"labels up to {labels.max()}"
            raise UsageError(
                f"{self.title} has {self.num_classes} classes, but {dataset.name} has {available}; "
                "name the data set that the model was trained on with --dataset"
            )

    def samples(
        self, n: int, seed: int, labels: np.ndarray | None = None, advance: Advance = silent
    ) -> tuple[np.ndarray, float]:
        """Samples as bytes, and samples per second.

        Args:
            n: number of samples.
            seed: of the whole request.
            labels: of a conditional model's samples, `int[n]`; None: image i has the class i mod K.
            advance: called after each batch.

        Returns:
            `uint8[n, H, W, C]`, and the rate after the first batch; 0 if there is only one batch.

        Raises:
            WorkError: a pixel is not finite.
        """
        seeds = request_seeds(n, seed)
        classes = request_labels(n, self.num_classes, labels if self.num_classes else None)
        images, start = np.empty((n, *self.image_shape), np.uint8), 0.0
        for part in batches(n):
            pixels = self.draw(seeds[part], *([] if classes is None else [classes[part]]))
            images[part] = as_bytes(pixels, self.title)
            # The clock starts after the first batch, which is slower than the others.
            start = start or time.perf_counter()
            advance(part.stop - part.start)
        rate = (n - BATCH) / (time.perf_counter() - start) if n > BATCH else 0.0
        return images, rate


def as_bytes(pixels: np.ndarray, title: str) -> np.ndarray:
    """Samples `float[N, H, W, C]` in 0…1 as `uint8[N, H, W, C]`.

    Raises:
        WorkError: a pixel is not finite; the message names the model by its title.
    """
    if not np.isfinite(pixels).all():
        raise WorkError(
            f"{title} makes images with pixels that are not finite; train it again with a smaller "
            "learning rate"
        )
    return np.round(255 * pixels).astype(np.uint8)


def open_subject(what: str, saved_models: Path, version: int | None, weights: str) -> Subject:
    """Open a run directory, a version's folder, or a published name.

    Args:
        what: path or name.
        saved_models: folder of published models.
        version: of a name; None: the newest.
        weights: of a run, `best`, `last` or the number of an epoch.

    Raises:
        UsageError: there is no such run or version, or it makes no images.
        WorkError: it is damaged.
    """
    path = Path(what)
    if RunFolder(path).config.is_file():
        if version is not None:
            raise UsageError(f"{path} is a run and has no version; leave out --version")
        return _open_run(path, weights)
    if versions.is_version(path):
        if version is not None:
            raise UsageError(f"{path} is a version's folder already; leave out --version")
        return _open_version(versions.Version.at(path))
    if path.name != what or path.exists():
        raise UsageError(
            f"{what} is neither a run directory nor the folder of a version; pass one of these, a "
            "folder of pictures, an NPZ file of images, or the name of a published model"
        )
    return _open_version(versions.find(what, saved_models, version))


def _open_run(path: Path, weights: str) -> Subject:
    run = RunFolder(path).read_config()
    model, used = load_run(path, weights)
    if not isinstance(model, GenerativeModel):
        raise UsageError(
            f"{path} is a run of a {run['family']}, which makes no images; pass a generative model"
        )
    # With the graph that an export would have.
    function = export.trace(export.in_float32(model))["sample"][0]

    def draw(seeds: np.ndarray, *labels: np.ndarray) -> np.ndarray:
        inputs = dict(zip(("seed", "label"), map(tf.constant, (seeds, *labels)), strict=False))
        images: np.ndarray = function(**inputs)["images"].numpy()
        return images

    options = run["options"]
    return Subject(
        title=f"{run['family']} {options['preset']}, seed {options['seed']}",
        path=path,
        kind="run",
        run=run,
        weights=used.name,
        weights_sha256=export.weights_sha256(model),
        density=density_of(model),
        draw=draw,
        num_classes=model.num_classes,
        image_shape=tuple(model.config.image_shape),
        cost=_training_cost(path, run, model),
    )


def _open_version(version: versions.Version) -> Subject:
    sampler = Sampler(version)
    manifest = sampler.manifest
    if "sample" not in manifest["signatures"]:
        raise UsageError(f"{version.path} makes no images; pass a generative model")
    model, reason = None, ""
    try:
        model = exported_model(version.path)
    except (UsageError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) or "its manifest does not describe its model"

    def draw(seeds: np.ndarray, *labels: np.ndarray) -> np.ndarray:
        inputs = dict(zip(("label",), labels, strict=False))
        images: np.ndarray = sampler.call("sample", seed=seeds, **inputs)["images"]
        return images

    # Of the cost of its training, what the evaluation of the run wrote.
    cost = dict((manifest.get("evaluation") or {}).get("cost", {}))
    return Subject(
        title=f"{version.name} version {version.number}",
        path=version.path,
        kind="version",
        run=manifest.get("run") or {},
        weights=str(manifest.get("weights")),
        weights_sha256=None if model is None else export.weights_sha256(model),
        density=None if model is None else density_of(model),
        draw=draw,
        num_classes=sampler.num_classes,
        image_shape=tuple(manifest["signatures"]["sample"]["outputs"]["images"]["shape"][1:]),
        cost=cost if model is None else {"parameters": count_parameters(model), **cost},
        no_model=reason,
    )


def _training_cost(path: Path, run: dict[str, Any], model: Any) -> dict[str, Any]:
    """Cost of a run's training, from its log: time, memory, machine; parameters."""
    rows = RunFolder(path).read_metrics()
    seconds = [float(row["seconds"]) for row in rows if "seconds" in row]
    cost: dict[str, Any] = {"parameters": count_parameters(model)}
    if seconds:
        cost |= {
            "epochs": len(seconds),
            "seconds_an_epoch": median(seconds),
            "seconds": round(sum(seconds), 1),
        }
    memory = [float(row["peak_mib"]) for row in rows if "peak_mib" in row]
    if memory:
        cost["peak_mib"] = max(memory)
    machine = run.get("machine", {})
    return cost | {name: machine[name] for name in ("processor", "cores") if machine.get(name)}
