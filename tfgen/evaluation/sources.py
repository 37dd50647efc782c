"""What is evaluated: a sampler and its record, or images that something else made."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from tfgen import random
from tfgen.data import Dataset, Split, pictures
from tfgen.data.shards import Manifest, read_manifest, read_shards
from tfgen.errors import UsageError, WorkError, printable
from tfgen.evaluation.distances import RunningMoments, frechet_distance, moments
from tfgen.evaluation.features import Extractor
from tfgen.evaluation.job import Advance, check_data_set, silent
from tfgen.evaluation.likelihood import PAIRS, Bounds
from tfgen.evaluation.metrics import class_metrics
from tfgen.evaluation.modes import counted_modes
from tfgen.models.generative import BYTES
from tfgen.nn import cpu
from tfgen.publishing import export
from tfgen.publishing.artifacts import Artifact, check_sampling
from tfgen.publishing.opening import RunSampler, exported_model
from tfgen.publishing.sampler import LocalSampler, Sampler
from tfgen.sampling import BATCH, Labels, batches, request_labels, request_seeds
from tfgen.settings.model import images_at_once
from tfgen.settings.training import TrainOn
from tfgen.training.folder import RunFolder
from tfgen.training.plan import count_parameters

# Images in shards that are decoded, and of which features are extracted, at once.
READ_AT_ONCE = 500
# How images of another size than the data set's are resized, for the result and the terminal.
RULE = "cropped to the aspect ratio, then Pillow's antialiased Lanczos filter"


# --- the density of a model
# ----------------------------------------------------------------------------------------


class LatentDensity:
    """p(x) = ∫ p(x|z) p(z) dz, of which there are bounds.

    Args:
        model: a `GenerativeModel` with the density `latent`.

    Attributes:
        bounds: estimators of log p(x).
        mean: the mean of q(z|x), `[B, D]`, of what `inputs` returns.
        latent_dim: length of z.
        events: what the events are, in words.
        is_of_bytes: whether p(x) is a probability of bytes, which bits/dim are of.
    """

    def __init__(self, model: Any):
        pairs = images_at_once(PAIRS, model.config.image_shape)
        self.bounds = Bounds(_with_ema_weights(model, model.sample_terms), pairs)
        # A hierarchical posterior computes its mean only here, and needs the EMA weights for it.
        self.mean = _with_ema_weights(model, lambda *inputs: model.posterior(*inputs).mean())
        self.latent_dim, self.events, self._model = model.latent_dim, _events(model), model
        self.is_of_bytes = model.describe_events() == BYTES

    def inputs(self, images: np.ndarray, seeds: np.ndarray, labels: Labels) -> list[tf.Tensor]:
        """The events `[B, *event_shape]`, of a conditional model also one-hot labels `[B, K]`.

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: of their noise, `int32[B]`.
            labels: `int[B]`, or None.
        """
        model, noise = self._model, random.SeedNoise(tf.constant(seeds))
        events = model.preprocessing.events(tf.constant(images), noise, model.likelihood_dtype)
        return [events, model.one_hot(tf.constant(labels))] if model.num_classes else [events]


class LogDensity:
    """A density of images whose logarithm is computed or estimated.

    Args:
        model: a `GenerativeModel` with the density `exact`, `dequantized` or `estimate`.

    Attributes:
        events: what the density is of, in words.
        is_of_bytes: whether it is a probability of bytes, which bits/dim are of.
        kind: `exact`, `dequantized` or `estimate`.
    """

    def __init__(self, model: Any):
        self.events, self._is_conditional = _events(model), bool(model.num_classes)
        self.is_of_bytes, self.kind = model.describe_events() == BYTES, model.density
        self._log_prob = tf.function(_with_ema_weights(model, model.log_prob), autograph=False)

    def log_prob(self, images: np.ndarray, seeds: np.ndarray, labels: Labels) -> np.ndarray:
        """log p(x) in nats, `[B]`; the arguments are those of `LatentDensity.inputs`."""
        context = {"labels": tf.constant(labels)} if self._is_conditional else {}
        return np.asarray(self._log_prob(tf.constant(images), seeds=tf.constant(seeds), **context))


Density: TypeAlias = LatentDensity | LogDensity


def density_of(model: Any) -> Density | None:
    """The density of a model, with the EMA weights; None if it has none.

    Args:
        model: a `GenerativeModel`, which documents what a family offers for its density.
    """
    if model.density == "latent":
        return LatentDensity(model)
    return None if model.density is None else LogDensity(model)


def _events(model: Any) -> str:
    return f"{model.describe_events()}{', given the label' if model.num_classes else ''}"


def _with_ema_weights(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the EMA weights, at full speed without gradients."""

    def with_ema_weights(*arguments: tf.Tensor, **keywords: tf.Tensor) -> Any:
        with cpu.inference(), model.averaged():
            return function(*arguments, **keywords)

    return with_ema_weights


# --- a source of samples
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SampleSource:
    """A sampler or images to evaluate, with what is known of their training.

    Attributes:
        title: for tables: family, preset and seed of a run, name and number of a version, or the
            name of a folder or file.
        path: where it is.
        kind: `images` for what no sampler of tfgen draws, shards included.
        weights_sha256: hash of the weights, or of the images; None if it is unknown.
        image_shape: height, width, channels.
        sampler: that draws the samples; None of images.
        num_classes: of a conditional model; 0 of an unconditional one.
        training: how the model was trained, config.json or parts of it; empty if unknown.
        weights: `best`, `last` or `epoch <number>`.
        density: of the live model; None if it has none, or is unknown.
        cost: of the training; empty if unknown.
        no_model: why the live model is unknown; empty if it is known.
        images: to evaluate, `uint8[n, H, W, C]`; None of a sampler and of shards.
        indices: of those images in shards that are evaluated one by one, sorted, `int64[n]`.
        reading: what became of the files of images, for JSON: `available`, their number; of files
            `resized`, how many had another size, the `rule`, and how many were `skipped`; of shards
            their `request`.
        skipped: files that hold no picture, each with the reason.
    """

    title: str
    path: Path
    kind: Literal["run", "version", "images"]
    weights_sha256: str | None
    image_shape: tuple[int, ...]
    sampler: LocalSampler | None = None
    num_classes: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    density: Density | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    no_model: str = ""
    images: np.ndarray | None = None
    indices: np.ndarray | None = None
    reading: dict[str, Any] = field(default_factory=dict)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def n(self) -> int | None:
        """Number of images that are evaluated one by one; None for a sampler."""
        images = self.images if self.indices is None else self.indices
        return None if images is None else len(images)

    @property
    def train_on(self) -> TrainOn | None:
        """Which images of its data set the model was trained on; None if that is unknown."""
        options = self.training.get("options", {})
        default: TrainOn | None = "train" if options.get("dataset") else None
        return options.get("train_on", default)

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
            UsageError: the split was trained on, or see `check_data_set`.
        """
        if split == "validation" and self._has_seen_validation(dataset):
            text = f"{self.title} was trained with --train-on all"
            raise UsageError(f"{text}; leave out --split validation")
        check_data_set(dataset, split, self.title, self.image_shape, self.num_classes)

    def samples(
        self, n: int, seed: int, labels: Labels = None, advance: Advance = silent
    ) -> tuple[np.ndarray, float]:
        """Samples as bytes, and samples per second.

        Args:
            n: number of samples.
            seed: of the whole request.
            labels: of a conditional model's samples, `int[n]`; None: image i has the class i mod K.
            advance: called after each batch.

        Returns:
            `uint8[n, H, W, C]`, and the rate after the first batch; 0 if there is only one batch,
            or nothing is drawn.

        Raises:
            WorkError: a pixel is not finite.
        """
        if self.images is not None:
            advance(n)
            return self.images[:n], 0.0
        assert self.sampler is not None
        seeds = request_seeds(n, seed)
        classes = request_labels(n, self.num_classes, labels if self.num_classes else None)
        images, start = np.empty((n, *self.image_shape), np.uint8), 0.0
        for part in batches(n):
            condition = {} if classes is None else {"label": classes[part]}
            pixels = self.sampler.call("sample", seed=seeds[part], **condition)["images"]
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
        raise WorkError(f"{title} makes pixels that are not finite; lower its learning rate")
    return np.round(255 * pixels).astype(np.uint8)


def open_source(artifact: Artifact, weights: str, sampling: Mapping[str, Any]) -> SampleSource:
    """Open a run or a published version to evaluate it.

    Args:
        artifact: of the kind `run` or `version`.
        weights: of a run, `best`, `last` or the number of an epoch.
        sampling: of a run, options of sampling; see `tfgen.load`.

    Raises:
        UsageError: the model makes no images, the run has not these weights, or there is no such
            option of sampling.
        WorkError: it is damaged.
    """
    path, model, reason = artifact.path, None, ""
    check_sampling(artifact.kind, path, sampling)
    if artifact.version is None:
        sampler: Any = RunSampler(path, weights, sampling)
        model, weights = sampler.model, sampler.weights
        training = RunFolder(path).read_config() | {"model": model.config.to_json()}
        options = training["options"]
        title = f"{training['family']} {options['preset']}, seed {options['seed']}"
        cost, sha256 = RunFolder(path).read_cost(), None
    else:
        sampler = Sampler(artifact.version)
        if not sampler.has_signature("sample"):
            raise UsageError(f"{path} makes no images; pass a generative model")
        try:
            model = exported_model(path)
        except UsageError as error:
            reason = str(error)
        manifest, training, title = sampler.manifest, sampler.training, sampler.title
        weights, sha256 = manifest["weights"], manifest["weights_sha256"]
        # Versions of earlier releases have only what the evaluation of the run wrote.
        cost = training.get("cost") or manifest["evaluation"].get("cost") or {}
    # An older manifest has none; the rebuilt model lacks the count of steps.
    if sha256 is None and model is not None:
        sha256 = export.weights_sha256(model)
    return SampleSource(
        title=title,
        path=path,
        kind="run" if artifact.version is None else "version",
        weights_sha256=sha256,
        image_shape=sampler.signature("sample").outputs["images"].sides,
        sampler=sampler,
        num_classes=sampler.num_classes,
        training=training,
        weights=weights,
        density=None if model is None else density_of(model),
        cost=cost if model is None else {"parameters": count_parameters(model), **cost},
        no_model=reason,
    )


# --- images
# ----------------------------------------------------------------------------------------------


def title(path: Path) -> str:
    """The name of a folder or of an NPZ file, for tables and files."""
    return printable(path.stem if path.suffix.lower() == ".npz" else path.resolve().name)


def open_images(
    path: Path, files: list[Path], shape: tuple[int, ...], most: int, seed: int, advance: Advance
) -> SampleSource:
    """Open a folder of pictures or an NPZ file for evaluation.

    Of more than `most` images, that many are drawn at random; they keep their order.

    Args:
        path: of the folder or of the NPZ file.
        files: its files.
        shape: height, width and channels that the images get.
        most: number of images that are needed.
        seed: of the draw.
        advance: called with the number of files that were just read.

    Raises:
        UsageError: there is no image that can be read, or the data set's images are neither grey
            nor RGB.
    """
    height, width, channels = shape
    fitting = pictures.Fitting((height, width), channels=channels)
    if pictures.is_npz(path):
        collection = pictures.read_images(files, fitting, advance)
        available, skipped = len(collection.images), collection.skipped
        images = collection.images[drawn(available, most, seed)]
        resized = len(images) if collection.resized else 0
    else:
        # What an earlier evaluation wrote into the folder must not change which images are drawn.
        written = ("-evaluation.json", "-evaluation-nearest.png")
        files = [file for file in files if not file.name.endswith(written)]
        available = len(files)
        images, resized, skipped = _read_files(path, files, fitting, most, seed, advance)
    digest = hashlib.sha256(f"{images.shape};".encode())
    digest.update(np.ascontiguousarray(images).data)
    reading = {"available": available, "resized": resized, "rule": RULE, "skipped": len(skipped)}
    return SampleSource(
        title=title(path),
        path=path,
        kind="images",
        weights_sha256=digest.hexdigest(),
        image_shape=tuple(shape),
        images=images,
        reading=reading,
        skipped=skipped,
    )


def _read_files(
    path: Path, files: list[Path], fitting: pictures.Fitting, most: int, seed: int, advance: Advance
) -> tuple[np.ndarray, int, list[tuple[Path, str]]]:
    """Images of picture files, the number of resized ones, and the files without a picture.

    The first round reads as many files as are needed, further ones as many as held no picture.
    """
    order = np.arange(len(files))
    if len(files) > most:
        order = np.random.default_rng(seed).permutation(len(files))
    images: dict[str, np.ndarray] = {}
    skipped: list[tuple[Path, str]] = []
    start, resized, fault = 0, 0, ""
    while len(images) < most and start < len(files):
        tried = [files[i] for i in sorted(order[start : start + most - len(images)])]
        start += len(tried)
        try:
            part = pictures.read_images(tried, fitting, advance)
        except UsageError as error:  # none of them holds a picture; others may
            fault = fault or str(error)
            skipped += [(file, "holds no picture") for file in tried]
            continue
        images |= dict(zip(part.names, part.images, strict=True))
        resized, skipped = resized + part.resized, skipped + part.skipped
    if not images:
        raise UsageError(f"{path} holds no pictures: {fault or 'it is empty'}")
    in_order = [images[name] for name in map(printable, files) if name in images]
    return np.stack(in_order), resized, skipped


def drawn(count: int, most: int, seed: int) -> np.ndarray:
    """Indices of at most `most` out of `count` images, drawn at random, in order.

    The memory depends on `most` alone.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False))


# --- shards
# ----------------------------------------------------------------------------------------------


def find_shards(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        UsageError: shards are missing.
        WorkError: the manifest is damaged, or a shard is missing or has another size.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        shard.check(folder, hashes=False)  # which reading compares
    return manifest


def open_shards(folder: Path, manifest: Manifest, most: int, seed: int) -> SampleSource:
    """Open a folder of shards for evaluation; reads no shard.

    If there are more than `most` images, the metrics that need single images use a random subset of
    that size, in order.

    Args:
        folder: of the shards.
        manifest: what `find_shards` returned for it.
        most: number of images that are evaluated one by one.
        seed: of the draw.
    """
    request = manifest.request
    shards = json.dumps([shard.to_json() for shard in manifest.shards], sort_keys=True)
    return SampleSource(
        title=title(folder),
        path=folder,
        kind="images",
        weights_sha256=hashlib.sha256(shards.encode()).hexdigest(),
        image_shape=tuple(request.image_shape),
        num_classes=request.num_classes,
        training=request.training,
        indices=drawn(request.n, most, seed),
        reading={"available": request.n, "request": request.to_json()},
    )


class ShardSummary:
    """What is computed of all images in shards, in memory that does not depend on their number.

    Args:
        source: of shards.
        extractor: of features.

    Attributes:
        images: those that are evaluated one by one, `uint8[n, H, W, C]`.
        features: of these images, `float32[n, D]`.
        classes: of these images, `int64[n]`; None of an extractor without classes.
        moments: of the features of all images.
        histogram: images of each class, `int64[K]`; K is 0 without classes.
        agreeing: images whose class is their label; None where this has no meaning.
    """

    def __init__(self, source: SampleSource, extractor: Extractor):
        shape, num_modes = source.image_shape, extractor.num_modes(source.image_shape)
        self._source, self._extractor = source, extractor
        self.moments = RunningMoments(extractor.dimensions(shape))
        self.histogram = np.zeros(num_modes, np.int64)
        has_same_classes = num_modes and num_modes == source.num_classes
        self.agreeing = 0 if has_same_classes else None

    def read(self, advance: Advance = silent) -> None:
        """Reads all shards once, and checks each by its hash.

        Args:
            advance: called with the number of images that were just done.

        Raises:
            WorkError: a shard is missing or damaged.
        """
        indices, start, chosen = self._source.indices, 0, []
        assert indices is not None
        for batch in read_shards(self._source.path, READ_AT_ONCE):
            computed, n = self._extractor.extract(batch.images), len(batch.images)
            self.moments.add(computed.features)
            rows = indices[slice(*np.searchsorted(indices, (start, start + n)))] - start
            classes = np.zeros(n, int) if computed.classes is None else computed.classes
            chosen.append((batch.images[rows], computed.features[rows], classes[rows]))
            if len(self.histogram):
                self.histogram += np.bincount(classes, minlength=len(self.histogram))
            if self.agreeing is not None:
                self.agreeing += int((classes == batch.labels).sum())
            advance(n)
            start += n
        self.images, self.features, classes = map(np.concatenate, zip(*chosen, strict=True))
        self.classes = classes if len(self.histogram) else None

    def metrics(self, reference: np.ndarray) -> dict[str, Any]:
        """The metrics of all images, for JSON.

        Args:
            reference: features of real images, `[M, D]`.

        Returns:
            `n`, the number of images; `fid`, unless there are too few images for the covariance;
            the metrics of classes, if there are some; for a conditional model with the classes of
            the extractor `label_accuracy`, the share of images whose class is their label.
        """
        n = self.moments.n
        metrics: dict[str, Any] = {"n": n}
        with contextlib.suppress(UsageError):  # too few images for the covariance
            metrics["fid"] = frechet_distance(self.moments.moments(), moments(reference))
        if 0 < len(self.histogram) <= n:
            metrics |= class_metrics(counted_modes(self.histogram))
        if self.agreeing is not None:
            metrics["label_accuracy"] = self.agreeing / n
        return metrics
