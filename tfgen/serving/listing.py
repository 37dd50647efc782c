"""What the page shows: the models, their versions, their figures, and images of their data sets."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfgen import figures
from tfgen.publishing.listing import describe, mapping
from tfgen.serving.models import Listed, Models
from tfgen.serving.pool import Pool
from tfgen.serving.statistics import DataImages, Statistics

# Images on a side of the grid of test images.
GRID_SIDE = 10


class Listing:
    """The models as the page shows them.

    Args:
        models: what is served.
        images: test images of the data sets that are at hand.
        pool: computes answers; statistics of test images are computed while it has nothing to do.
    """

    def __init__(self, models: Models, images: DataImages, pool: Pool):
        self.models, self.images = models, images
        self.statistics = Statistics(models.sampler, images, pool)

    def content(self) -> dict[str, Any]:
        """The listing, as `models.json`."""
        models = [self._described(listed) for listed in self.models.listed()]
        return {"models": models, "backend": self.models.address}

    def _described(self, listed: Listed) -> dict[str, Any]:
        """A model; `test_statistics` is None until they are computed, and may be empty."""
        name, versions, manifest, entry = listed
        run, evaluation = mapping(manifest, "run"), mapping(manifest, "evaluation")
        # The floor has the figures of real images.
        parts = ("samples", "floor", "likelihood")
        dataset, real, statistics = dataset_name(manifest), None, None
        if entry is not None and dataset is not None and self.images.is_at_hand(dataset):
            real = f"/page/real/{name}.png"
            statistics = self.statistics.get(entry, dataset)
        return {
            "name": name,
            "family": manifest.get("family") or run.get("family"),
            "summary": describe(manifest),
            "versions": list(versions),
            **_sizes(manifest["signatures"]),
            "signatures": manifest["signatures"],
            "class_names": mapping(run, "data").get("class_names") or [],
            "dataset": dataset,
            "evaluation": {p: mapping(evaluation, p) for p in parts} if evaluation else None,
            "real": real,
            "test_statistics": statistics,
        }

    def real_images(self, name: str) -> bytes | None:
        """A PNG of test images of a model's data set on a grid without borders.

        Returns:
            The PNG; None if there is no such model, or its data set is not at hand.
        """
        manifests = (m.manifest for m in self.models.listed() if m.name == name and m.entry)
        dataset = dataset_name(next(manifests, {}))
        if dataset is None or not self.images.is_at_hand(dataset):
            return None
        images, _ = self.images.read(dataset, GRID_SIDE**2)
        columns = min(GRID_SIDE, len(images))
        images = images[: len(images) // columns * columns]  # the page takes each place as an image
        grid = figures.image_grid(images / np.float32(255), columns, pad=0)
        return figures.png_bytes(grid, least_side=0)

    def close(self) -> None:
        """Stops computing statistics."""
        self.statistics.close()


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
