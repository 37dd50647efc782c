"""Statistics of test images under a model, for the page: computed when nothing else is."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfgen.publishing.signatures import SignatureSampler, TensorSpec
from tfgen.serving.catalog import Entry
from tfgen.serving.data_images import DataImages
from tfgen.serving.pool import Pool
from tfgen.serving.refusal import RefusalError
from tfgen.serving.report import report_error

# Number of test images, and how many are computed at once, so that a request waits only shortly.
IMAGES, AT_ONCE = 400, 25
# Images whose bits/dim are computed: of each kind, since a flow takes much longer than an encoder.
SCORED = 100
_QUANTILES = (0.05, 0.5, 0.95)
# Seconds without a request before a version is opened, which can keep a core busy for seconds: the
# first pictures of a page come first.
CALM = 2.0
# Seconds after which statistics that could not be computed are tried again, if they are asked for.
RETRY = 300.0


class Statistics:
    """Statistics of versions.

    Args:
        open_sampler: opens a version by name and number.
        images: the test images.
    """

    def __init__(self, open_sampler: Callable[[str, int], SignatureSampler], images: DataImages):
        self.open_sampler, self.images = open_sampler, images
        self._results: dict[Entry, dict[str, Any]] = {}
        self._failures: dict[Entry, float] = {}
        self._asked: dict[Entry, str] = {}
        self._wake, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._pool: Pool | None = None

    def start(self, pool: Pool) -> None:
        """Begins to compute what `get` is asked for, whenever the pool computes nothing."""
        self._pool = pool
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops after what is being computed."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def get(self, version: Entry, dataset: str) -> dict[str, Any] | None:
        """The statistics of a version; None if they are not computed yet.

        Args:
            version: the version.
            dataset: the data set whose test images are taken.

        Returns:
            `latent_directions` of a VAE: mean and the two principal directions, of length 1, of the
            encoded means of test images. `bits_per_dim` of a model of bytes: the 5 %, 50 % and
            95 % quantiles of test images, inverted ones and noise. Empty if the model has neither,
            or if they could not be computed.
        """
        failed = self._failures.get(version, float("inf"))
        if version not in self._results or time.monotonic() - failed >= RETRY:
            self._asked[version] = dataset
            self._wake.set()
        return self._results.get(version)

    def _run(self) -> None:
        while self._wake.wait():
            self._wake.clear()  # before the look at `_closed`: `close` sets both
            for version, dataset in list(self._asked.items()):
                if self._closed:
                    break
                self._results[version] = self._computed(version, dataset)
                del self._asked[version]
            if self._closed:
                return

    def _computed(self, version: Entry, dataset: str) -> dict[str, Any]:
        """The statistics of a version; empty if they could not be computed, whatever the reason."""
        name, number = version.version.name, version.version.number
        try:
            result = self._compute(name, number, dataset)
            self._failures.pop(version, None)
            return result
        except Exception as error:
            if not self._closed:
                self._failures[version] = time.monotonic()
                text = f"{type(error).__name__}: {error}"[:300]
                report_error(f"no statistics of {name} version {number}: {text}")
            return {}

    def _compute(self, name: str, number: int, dataset: str) -> dict[str, Any]:
        self._wait(CALM)
        sampler = self.open_sampler(name, number)
        result: dict[str, Any] = {}
        if "mean" in _outputs(sampler, "encode"):
            images, labels = self.images.read(dataset, IMAGES)
            means = self._evaluated(sampler, "encode", "mean", images, labels)
            result["latent_directions"] = principal_directions(means)
        if "bits_per_dim" in _outputs(sampler, "log_prob"):
            images, labels = self.images.read(dataset, SCORED)
            noise = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
            kinds = {"test": images, "inverted": 255 - images, "noise": noise}
            result["bits_per_dim"] = {
                kind: np.quantile(
                    self._evaluated(sampler, "log_prob", "bits_per_dim", pixels, labels), _QUANTILES
                ).tolist()
                for kind, pixels in kinds.items()
            }
        return result

    def _evaluated(
        self,
        sampler: SignatureSampler,
        signature: str,
        output: str,
        images: np.ndarray,
        labels: np.ndarray | None,
    ) -> np.ndarray:
        """An output of a signature of images, computed a few images at a time."""
        inputs = sampler.signature(signature).inputs
        values = []
        for start in range(0, len(images), AT_ONCE):
            self._wait()
            part = slice(start, start + AT_ONCE)
            some_labels = labels[part] if "label" in inputs and labels is not None else None
            outputs = sampler.evaluate(signature, images[part], labels=some_labels)
            values.append(outputs[output])
        return np.concatenate(values)

    def _wait(self, calm: float = 0.0) -> None:
        """Waits until nothing else is computed, and has not been for some seconds.

        Raises:
            RefusalError: the server ends.
        """
        assert self._pool is not None
        while not self._closed:
            if self._pool.wait_until_idle(0.5):
                if self._pool.idle_seconds >= calm:
                    return
                time.sleep(0.1)
        raise RefusalError(503, "The server ends")


def _outputs(sampler: SignatureSampler, signature: str) -> Mapping[str, TensorSpec]:
    """The outputs of a signature; none if there is no such signature."""
    return sampler.signature(signature).outputs if sampler.has_signature(signature) else {}


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
