"""What the page shows: the models, their figures, and test images with statistics of them."""

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tfgen import figures, registry
from tfgen.errors import describe
from tfgen.publishing.listing import epochs_done, training_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Labels
from tfgen.serving.models import Listed, Models
from tfgen.serving.pool import Pool
from tfgen.serving.refusal import report_error
from tfgen.system.terminal import count_noun
from tfgen.training.folder import RUNS

# Statistics of a model's test images; None: not yet.
Measure: TypeAlias = Callable[[Listed], dict[str, Any] | None]
# Images on a side of the grid of test images.
GRID_SIDE = 10
# Number of test images, and how many are computed at once, so that a request waits only shortly.
IMAGES, AT_ONCE = 400, 25
# Images whose bits/dim are computed: of each kind, since a density takes longer than an encoder.
SCORED = 100
_QUANTILES = (0.05, 0.5, 0.95)
# Seconds without a request before a version is opened, which can keep a core busy for seconds: the
# first pictures of a page come first.
CALM = 2.0
# What comes with tfgen, or is made from it.
_EMBEDDED = ("mnist", "colored_mnist", "stacked_mnist")
# Training images of MNIST by `train_on`, for runs that do not state their number.
_MNIST = {"train": 50_000, "all": 60_000}


class Listing:
    """The models as the page shows them.

    Args:
        models: what is served.
        pool: answers the requests; statistics of test images are computed while there are none.
        data_dir: folder of prepared data sets, of which test images are shown; None: only of what
            comes with tfgen. Nothing is downloaded.
    """

    def __init__(self, models: Models, pool: Pool, data_dir: Path | None):
        self.models, self.pool, self.data_dir = models, pool, data_dir
        self._lock = threading.Lock()
        self._images: dict[str, tuple[np.ndarray, Labels]] = {}
        self._statistics: dict[Hashable, Future[dict[str, Any]]] = {}
        self._thread, self._closed = ThreadPoolExecutor(1, "statistics"), False

    def close(self) -> None:
        """Stops computing statistics."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def content(self) -> dict[str, Any]:
        """The listing, as `models.json`."""
        runs = [
            {"name": name, "epochs": sorted(int(key) for key in pictures if key.isdigit())}
            for name, pictures in run_pictures().items()
            if "0" in pictures  # a classifier has no samples
        ]
        models = self.described(self.models.listed(), self._statistics_of)
        return {"models": models, "runs": runs}

    def described(self, listed: Iterable[Listed], measure: Measure) -> list[dict[str, Any]]:
        """Models in the order of the page; `measure` gives the statistics of test images."""
        return [self._described(entry, measure) for entry in sorted(listed, key=_order)]

    def _described(self, listed: Listed, measure: Measure) -> dict[str, Any]:
        """A model; `test_statistics` is None until they are computed, and may be empty."""
        name, versions, manifest, _ = listed
        family, data = manifest["family"], manifest["run"].get("data") or {}
        has_images = self.has_images(dataset_name(manifest))
        tensors = {
            key: spec["shape"][1:]
            for signature in manifest["signatures"].values()
            for key, spec in (signature["inputs"] | signature["outputs"]).items()
        }
        return {
            "name": name,
            "family": family,
            "family_line": next((e.sentence for e in registry.families() if e.name == family), ""),
            "colour": figures.family_colour(family),
            "summary": summarize(manifest),
            "details": training_text(manifest),
            "versions": list(versions),
            "image_shape": tensors.get("images", []),
            "background": data.get("background") or 0,
            "latent_dim": (tensors.get("latents") or [0])[0],
            "num_classes": (tensors.get("one_hot") or [0])[0],
            "signatures": manifest["signatures"],
            "class_names": data.get("class_names") or [],
            "dataset": dataset_name(manifest) or None,
            "real": f"/page/real/{name}.png" if has_images else None,
            "test_statistics": measure(listed) if has_images else None,
        }

    def real_images(self, name: str) -> bytes | None:
        """A PNG of test images of a model's data set on a grid without borders.

        Returns:
            The PNG; None if there is no such model, or its data set is not at hand.
        """
        manifests = (m.manifest for m in self.models.listed() if m.name == name)
        dataset = dataset_name(next(manifests, {"run": {}}))
        if not self.has_images(dataset):
            return None
        images = self.test_images(dataset)[0][: GRID_SIDE**2]
        columns = min(GRID_SIDE, len(images))
        images = images[: len(images) // columns * columns]  # the page takes each place as an image
        grid = figures.image_grid(images / np.float32(255), columns, pad=0)
        return figures.png_bytes(grid, least_side=0)

    # --- test images ----------------------------------------------------------------------

    def has_images(self, dataset: str) -> bool:
        """Whether a data set can be read without a download."""
        return dataset in _EMBEDDED or self._is_prepared(dataset)

    def _is_prepared(self, dataset: str) -> bool:
        if self.data_dir is None or not dataset:
            return False
        return any((self.data_dir / dataset.partition(":")[0]).glob("*.*.*/features.json"))

    def test_images(self, dataset: str) -> tuple[np.ndarray, Labels]:
        """The first test images of a data set, at most `IMAGES`.

        Returns:
            `uint8[N, H, W, C]`, and their labels, `int64[N]`, or None.

        Raises:
            UsageError: the data set is damaged.
        """
        from tfgen.data.load import load

        with self._lock:  # TFDS is not made for several threads
            if dataset not in self._images:
                data_dir = self.data_dir if self._is_prepared(dataset) else None
                first = load(dataset, data_dir).test.take(0, IMAGES)
                # Copies, so that the rest of the data set need not stay in memory.
                self._images[dataset] = np.array(first.images), first.labels
        return self._images[dataset]

    # --- their statistics -----------------------------------------------------------------

    def _statistics_of(self, listed: Listed) -> dict[str, Any] | None:
        """See `statistics`; None until they are computed, empty if they cannot be."""
        if listed.key not in self._statistics:
            self._statistics[listed.key] = self._thread.submit(self._compute, listed)
        result = self._statistics[listed.key]
        return result.result() if result.done() else None

    def _compute(self, listed: Listed) -> dict[str, Any]:
        number = listed.versions[0]["number"]
        try:
            self._wait(CALM)
            sampler = self.models.open(listed.name, number).sampler
            # Requests call signatures, which do not depend on these two.
            sampler.batch_size, sampler.track = AT_ONCE, self._track
            return statistics(sampler, *self.test_images(dataset_name(listed.manifest)))
        except Exception as error:
            if not self._closed:
                report_error(f"no statistics of {listed.name} {number}: {describe(error)}")
            return {}

    @contextlib.contextmanager
    def _track(self, parts: Sequence[slice], title: str) -> Iterator[Iterator[slice]]:
        """A `Track` that waits before each batch until no request is computed."""
        yield (part for part in parts if self._wait())

    def _wait(self, calm: float = 0.0) -> bool:
        """Waits until nothing else has been computed for `calm` seconds; returns true.

        Raises:
            RuntimeError: the server ends.
        """
        while self.pool.pending or time.monotonic() - self.pool.finished < calm:
            if self._closed:
                raise RuntimeError("the server ends")
            time.sleep(0.05)
        return True


def _order(listed: Listed) -> tuple[int, int]:
    """The key that sorts models: the user's own, the newest first; then by family.

    The page opens on the first one.
    """
    family = listed.manifest["family"]
    if not listed.versions[0]["shipped"]:
        return -listed.key.stamp[1], 0
    return 0, [*registry.names(), family].index(family)


def run_pictures() -> dict[str, dict[str, Path]]:
    """The pictures of each run in `./runs`, the newest first: `curves`, and samples by epoch."""
    folders = [path.parent for path in RUNS.glob("*/figures/curves.png")]
    return {
        folder.parent.name: {
            path.stem.removeprefix("samples-"): path
            for path in [folder / "curves.png", *folder.glob("samples-*.png")]
        }
        for folder in sorted(folders, key=lambda folder: -folder.stat().st_mtime)
    }


def summarize(manifest: Mapping[str, Any]) -> str:
    """How a version was trained, for a layman: `trained on 60 000 digits for 40 epochs; FID 5.96`.

    What is not known is left out.
    """
    options, data = (manifest["run"].get(part) or {} for part in ("options", "data"))
    known = _MNIST if (name := dataset_name(manifest)) == "mnist" else {}
    images = data.get("images") or known.get(options.get("train_on", "train"))
    # The epochs before it was trained further are those of another run.
    words = ["trained further" if options.get("start_from") else "trained"]
    if name:
        count = f"{images:,} ".replace(",", "\N{NO-BREAK SPACE}") if images else ""
        words.append(f"on {count}" + ("digits" if name == "mnist" else f"images of {name}"))
    if (epochs := epochs_done(manifest)) is not None:
        words.append(f"for {count_noun(epochs, 'epoch')}")
    fid = (manifest["evaluation"].get("samples") or {}).get("fid")
    quality = "" if fid is None else f"; FID {fid:.2f}, lower is better"
    return " ".join(words) + quality if words[1:] else ""


def statistics(sampler: SignatureSampler, images: np.ndarray, labels: Labels) -> dict[str, Any]:
    """Statistics of test images under a model.

    Args:
        sampler: the model.
        images: `uint8[N, H, W, C]`.
        labels: their classes, `int64[N]`, which a conditional model needs.

    Returns:
        `latent_directions` of latents that are encoded without noise: see `principal_directions`.
        `bits_per_dim` of a model of bytes: the 5 %, 50 % and 95 % quantiles of test images,
        inverted ones and noise. Empty if the model has neither.
    """
    labels = labels if sampler.num_classes else None
    result: dict[str, Any] = {}
    if sampler.has_signature("encode") and "seed" not in sampler.signature("encode").inputs:
        result["latent_directions"] = principal_directions(sampler.encode(images, labels=labels))
    has_density = sampler.has_signature("log_prob")
    if has_density and "bits_per_dim" in sampler.signature("log_prob").outputs:
        images, labels = images[:SCORED], None if labels is None else labels[:SCORED]
        noise = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
        result["bits_per_dim"] = {}
        for kind, pixels in {"test": images, "inverted": 255 - images, "noise": noise}.items():
            bits = sampler.evaluate("log_prob", pixels, labels=labels)["bits_per_dim"]
            result["bits_per_dim"][kind] = np.quantile(bits, _QUANTILES).tolist()
    return result


def principal_directions(latents: np.ndarray) -> dict[str, list[float]] | None:
    """The mean of latents and their two principal directions.

    Args:
        latents: `float32[N, D]`.

    Returns:
        `mean`, `first` and `second`, D numbers each; the directions have length 1, and the largest
        entry of each is positive. None if D is 1.
    """
    mean = latents.mean(0)
    if len(mean) < 2:
        return None
    _, _, directions = np.linalg.svd(latents - mean, full_matrices=False)
    first, second = (row * np.sign(row[np.abs(row).argmax()]) for row in directions[:2])
    return {"mean": mean.tolist(), "first": first.tolist(), "second": second.tolist()}


def dataset_name(manifest: Mapping[str, Any]) -> str:
    """The data set that a model was trained on; empty if the manifest does not say."""
    options, data = (manifest["run"].get(part) or {} for part in ("options", "data"))
    return options.get("dataset") or data.get("name") or ""
