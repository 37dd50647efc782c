"""What the page shows: the models, their versions, their figures, and images of their data sets."""

import contextlib
import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfgen import figures
from tfgen.errors import TfgenError
from tfgen.publishing import versions
from tfgen.publishing.listing import describe, mapping
from tfgen.publishing.signatures import SignatureSampler
from tfgen.serving.catalog import Catalog, Entry
from tfgen.serving.data_images import DataImages
from tfgen.serving.pool import Pool
from tfgen.serving.statistics import Statistics

# Images on a side of the grid of test images.
GRID_SIDE = 10


class Listing:
    """The models of a catalog, as the page shows them.

    Args:
        catalog: the versions.
        images: test images of the data sets that are at hand.
    """

    def __init__(self, catalog: Catalog, images: DataImages):
        self.catalog, self.images = catalog, images
        self.statistics = Statistics(self.open_sampler, images)
        self._grids: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def start(self, pool: Pool) -> None:
        """Begins to compute the statistics of test images whenever nothing else is computed."""
        self.statistics.start(pool)

    def close(self) -> None:
        """Stops that."""
        self.statistics.close()

    def open_sampler(self, name: str, number: int) -> SignatureSampler:
        """A sampler that the statistics are computed with.

        Raises:
            RefusalError: there is no such version, or it cannot be opened.
        """
        return self.catalog.open(name, number).sampler

    def content(self) -> dict[str, Any]:
        """The listing, as `models.json`.

        The newest version describes a model, so versions with other signatures are left out.
        """
        models = []
        for name, entries in self.catalog.entries().items():
            manifests = [(e, m) for e in entries.values() if (m := self.manifest(e)) is not None]
            # Somebody may have edited the manifest: the model is then served, but not listed.
            with contextlib.suppress(LookupError, TypeError, AttributeError):
                newest, manifest = manifests[0]
                shown = [
                    {"number": entry.version.number, "shipped": entry.shipped}
                    for entry, own_manifest in manifests
                    if own_manifest["signatures"] == manifest["signatures"]
                ]
                models.append(self.complete(description(name, shown, manifest), newest))
        return {"models": models, "backend": None}

    def complete(self, model: dict[str, Any], newest: Entry | None) -> dict[str, Any]:
        """Adds to a description what test images of the model's data set tell.

        Args:
            model: the description.
            newest: the version that it describes; None if it is not on this machine.

        `test_statistics` is None until they are computed, and empty if there are none.
        """
        dataset, real, statistics = model["dataset"], None, None
        if newest is not None and dataset is not None and self.images.is_at_hand(dataset):
            real = f"/page/real/{model['name']}.png"
            statistics = self.statistics.get(newest, dataset)
        return {**model, "real": real, "test_statistics": statistics}

    def real_images(self, name: str) -> bytes | None:
        """A PNG of test images of a model's data set on a grid without borders.

        Returns:
            The PNG; None if there is no such model, or its data set is not at hand.
        """
        entries = self.catalog.entries().get(name, {})
        manifest = next(filter(None, map(self.manifest, entries.values())), {})
        dataset = dataset_name(manifest)
        if dataset is None or not self.images.is_at_hand(dataset):
            return None
        with self._lock:
            if dataset not in self._grids:
                self._grids[dataset] = self._grid(dataset)
            return self._grids[dataset]

    def _grid(self, dataset: str) -> bytes:
        images, _ = self.images.read(dataset, GRID_SIDE**2)
        columns = min(GRID_SIDE, len(images))
        images = images[: len(images) // columns * columns]  # the page takes each place as an image
        grid = figures.image_grid(images / np.float32(255), columns, pad=0)
        return figures.png_bytes(grid, least_side=0)

    @staticmethod
    def manifest(entry: Entry) -> dict[str, Any] | None:
        """The manifest of a version; None if it is damaged."""
        path = entry.version.path
        try:
            changed = (path / versions.MANIFEST).stat().st_mtime_ns
        except OSError:
            return None
        return _read_manifest(path, changed)


@functools.lru_cache(256)
def _read_manifest(path: Path, changed: int) -> dict[str, Any] | None:
    """A manifest, read again only when it has changed."""
    try:
        return versions.read_manifest(path)
    except TfgenError:
        return None


def description(
    name: str, shown: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest says of a model.

    Args:
        name: name that the model was published under.
        shown: its versions, the newest first.
        manifest: the manifest of the newest one, or as much as is known of it.
    """
    run, evaluation = mapping(manifest, "run"), mapping(manifest, "evaluation")
    # The floor has the figures of real images.
    parts = ("samples", "floor", "likelihood")
    figures_of = {part: dict(mapping(evaluation, part)) for part in parts}
    return {
        "name": name,
        "family": manifest.get("family") or run.get("family"),
        "summary": describe(manifest),
        "versions": list(shown),
        **_sizes(manifest["signatures"]),
        "signatures": manifest["signatures"],
        "class_names": mapping(run, "data").get("class_names") or [],
        "dataset": dataset_name(manifest),
        "evaluation": figures_of if evaluation else None,
    }


def _sizes(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of images and latents and the number of classes, from a manifest's signatures."""
    tensors = {
        key: spec["shape"][1:]
        for signature in signatures.values()
        for part in ("inputs", "outputs")
        for key, spec in signature[part].items()
    }
    return {
        "image_shape": tensors.get("images", []),
        "latent_dim": tensors.get("latents", [0])[0],
        "num_classes": tensors.get("one_hot", [0])[0],
    }


def dataset_name(manifest: Mapping[str, Any]) -> str | None:
    """The data set that a model was trained on; None if the manifest does not say."""
    run = mapping(manifest, "run")
    name = mapping(run, "options").get("dataset") or mapping(run, "data").get("name")
    return name if isinstance(name, str) else None
