"""What is judged: a run or a published version, as a source of samples and perhaps of a
likelihood."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfgen.data import Dataset
from tfgen.errors import UsageError, WorkError
from tfgen.evaluation.progress import Advance, silent
from tfgen.publishing import export, versions
from tfgen.publishing import opening as loading
from tfgen.random import image_seeds
from tfgen.training.folder import RunFolder
from tfgen.training.run import count_parameters

# Images sampled at once.
BATCH = 250


@dataclass(frozen=True)
class Subject:
    """A model to judge.

    Attributes:
        title: what it is called in tables: its name, preset and seed.
        path: of the run or of the version.
        kind: which of both it is.
        run: what made it, as config.json holds it.
        weights: `best` or `last`.
        model: the live model, None where a version does not tell all that made it.
        draw: images `float32[B, H, W, C]` in 0…1 of seeds `int32[B]` and, conditional, labels
            `int32[B]`.
        num_classes: of a conditional model, 0 of another.
        image_shape: height, width, channels.
        cost: of its training, empty where that is not known.
        no_model: why there is no live model.
    """

    title: str
    path: Path
    kind: Literal["run", "version"]
    run: dict[str, Any]
    weights: str
    model: Any | None
    draw: Callable[..., np.ndarray]
    num_classes: int
    image_shape: tuple[int, ...]
    cost: dict[str, Any]
    no_model: str = ""

    def trained_on(self, key: str) -> Any:
        """Of the data set that it was trained on, by `tfgen-train`'s option; None where that is not
        known."""
        return self.run.get("options", {}).get(key)

    def check_images(self, dataset: Dataset, split: str) -> None:
        """Refuses images of another shape, or without the labels that a conditional model needs.

        Raises:
            UsageError: they do not suit.
        """
        if tuple(dataset.image_shape) != self.image_shape:
            raise UsageError(
                f"{self.title} makes images of {self.image_shape}, and those of {dataset.name} are of "
                f"{dataset.image_shape}; name its own data set with --dataset"
            )
        labels = getattr(dataset, split).labels
        if self.num_classes and (labels is None or labels.max() >= self.num_classes):
            there = "no labels" if labels is None else f"labels up to {labels.max()}"
            raise UsageError(
                f"{self.title} has {self.num_classes} classes, and {dataset.name} has {there}"
            )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the live model's weights."""
        assert self.model is not None
        return export.weights_sha256(self.model)

    def samples(
        self, n: int, seed: int, labels: np.ndarray | None = None, advance: Advance = silent
    ) -> tuple[np.ndarray, float]:
        """Samples as bytes, and how many a second were drawn after the first batch.

        Args:
            n: how many.
            seed: of the request.
            labels: of a conditional model's samples, `int[n]`; None: all classes in turn.
            advance: called after each batch.

        Returns:
            `uint8[n, H, W, C]` and the rate, 0 where there was one batch alone.

        Raises:
            WorkError: a pixel is no number.
        """
        seeds = image_seeds(seed, n)
        given = np.arange(n) % max(1, self.num_classes) if labels is None else labels
        given = given.astype(np.int32)
        images, begun = np.empty((n, *self.image_shape), np.uint8), 0.0
        for start in range(0, n, BATCH):
            part = slice(start, min(start + BATCH, n))
            drawn = self.draw(seeds[part], *([given[part]] if self.num_classes else []))
            if not np.isfinite(drawn).all():
                raise WorkError(f"{self.title} makes pixels that are no numbers")
            images[part] = np.round(255 * drawn)
            # The first batch is slower: what is made for good is made there.
            begun = begun or time.perf_counter()
            advance(part.stop - start)
        rate = (n - BATCH) / (time.perf_counter() - begun) if n > BATCH else 0.0
        return images, rate


def open_subject(what: str, saved_models: Path, version: int | None, weights: str) -> Subject:
    """Opens a run directory, a version's folder, or a published name.

    Args:
        what: which.
        saved_models: folder of published names.
        version: of a name; None: the newest.
        weights: of a run, `best` or `last`.

    Raises:
        UsageError: there is no such thing, or it makes no images.
        WorkError: it is damaged.
    """
    path = Path(what)
    if RunFolder(path).config.is_file():
        if version is not None:
            raise UsageError(f"{path} is a run and has no version; leave out --version")
        return _of_run(path, weights)
    if (path / versions.MANIFEST).is_file() and path.name.isdecimal():
        if version is not None:
            raise UsageError(f"{path} is a version's folder already; leave out --version")
        return _of_version(versions.Version(path.parent.name, int(path.name), path))
    if path.name != what or path.exists():
        raise UsageError(
            f"{what} is no run directory and no version's folder; a published name will do too"
        )
    return _of_version(versions.find(what, saved_models, version))


def _of_run(path: Path, weights: str) -> Subject:
    run = RunFolder(path).read_config()
    model, found = loading.load_run(path, weights)
    if not hasattr(model, "sample"):
        raise UsageError(f"{path} is a run of a {run['family']}, which makes no images to judge")
    # As it would be exported.
    function = export.trace(export.in_float32(model))["sample"][0]

    def draw(seeds: np.ndarray, *labels: np.ndarray) -> np.ndarray:
        given = dict(zip(("seed", "label"), map(tf.constant, (seeds, *labels)), strict=False))
        images: np.ndarray = function(**given)["images"].numpy()
        return images

    shape = tuple(model.config.image_shape)
    return Subject(
        _title(run),
        path,
        "run",
        run,
        found,
        model,
        draw,
        model.num_classes,
        shape,
        _cost(path, run, model),
    )


def _of_version(version: versions.Version) -> Subject:
    sampler = versions.Sampler(version)
    if "sample" not in sampler.manifest["signatures"]:
        raise UsageError(f"{version.path} makes no images to judge")
    model, reason = None, ""
    try:
        model = loading.exported_model(version.path)
    except (UsageError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) or "its manifest does not tell of its model"

    def draw(seeds: np.ndarray, *labels: np.ndarray) -> np.ndarray:
        return sampler.call("sample", seed=seeds, **dict(zip(("label",), labels, strict=False)))[
            "images"
        ]

    shape = sampler.manifest["signatures"]["sample"]["outputs"]["images"]["shape"][1:]
    run, weights = sampler.manifest.get("run") or {}, str(sampler.manifest.get("weights"))
    title = f"{version.name} version {version.number}"
    evaluated = sampler.manifest.get("evaluation") or {}
    # Of its training only what the run's own evaluation has told.
    cost = {
        **({} if model is None else {"parameters": count_parameters(model)}),
        **evaluated.get("cost", {}),
    }
    return Subject(
        title,
        version.path,
        "version",
        run,
        weights,
        model,
        draw,
        sampler.num_classes,
        tuple(shape),
        cost,
        reason,
    )


def _title(run: dict[str, Any]) -> str:
    options = run["options"]
    return f"{run['family']} {options['preset']}, seed {options['seed']}"


def _cost(path: Path, run: dict[str, Any], model: Any) -> dict[str, Any]:
    """Of training alone, by the log of metrics: seconds an epoch (median) and in all, epochs,
    parameters."""
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
    machine = run.get("machine", {})
    known = {name: machine[name] for name in ("processor", "cores") if machine.get(name)}
    return {**cost, **({"peak_mib": max(memory)} if memory else {}), **known}
