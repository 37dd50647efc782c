"""Test images of data sets, and their statistics under a model, for the page."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.publishing.signatures import SignatureSampler, TensorSpec
from tfgen.serving.catalog import Entry
from tfgen.serving.pool import Pool
from tfgen.serving.refusal import report_error

# Number of test images, and how many are computed at once, so that a request waits only shortly.
IMAGES, AT_ONCE = 400, 25
# Images whose bits/dim are computed: of each kind, since a flow takes much longer than an encoder.
SCORED = 100
_QUANTILES = (0.05, 0.5, 0.95)
# Seconds without a request before a version is opened, which can keep a core busy for seconds: the
# first pictures of a page come first.
CALM = 2.0
_DATASET = re.compile(r"(?P<base>[a-z]\w*)(/(?P<config>\w[\w.-]*))?(:\d+\.\d+\.\d+)?")
# What comes with tfgen, or is made from it.
_EMBEDDED = ("mnist", "colored_mnist", "stacked_mnist")


class DataImages:
    """Test images of the data sets that are at hand: nothing is downloaded.

    Args:
        data_dir: folder of prepared data sets; None: only what comes with tfgen is at hand.
    """

    def __init__(self, data_dir: Path | None = None):
        self.data_dir = data_dir
        self._lock = threading.Lock()
        self._read: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}

    def is_at_hand(self, name: str) -> bool:
        """Whether a data set can be read without a download."""
        return name in _EMBEDDED or self._is_prepared(name)

    def _is_prepared(self, name: str) -> bool:
        match = _DATASET.fullmatch(name)
        if match is None or self.data_dir is None:
            return False
        folder = self.data_dir / match["base"] / (match["config"] or "")
        return any(folder.glob("*.*.*/features.json"))

    def read(self, name: str, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The first test images of a data set.

        Args:
            name: its name.
            n: number of images, at most `IMAGES`; fewer if there are not so many.

        Returns:
            `uint8[n, H, W, C]`, and their labels, `int64[n]`, or None.

        Raises:
            UsageError: the data set is damaged.
        """
        from tfgen.data.load import load

        with self._lock:  # TFDS is not made for several threads
            if name not in self._read:
                test = load(name, self.data_dir if self._is_prepared(name) else None).test
                first = test.take(0, IMAGES)
                # Copies, so that the rest of the data set need not stay in memory.
                self._read[name] = np.array(first.images), first.labels
        images, labels = self._read[name]
        return images[:n], None if labels is None else labels[:n]


class Statistics:
    """Statistics of versions.

    Args:
        open_sampler: opens a version by name and number.
        images: the test images.
        pool: computes answers; the statistics are computed while it has nothing to do.
    """

    def __init__(
        self,
        open_sampler: Callable[[str, int], SignatureSampler],
        images: DataImages,
        pool: Pool,
    ):
        self.open_sampler, self.images, self.pool = open_sampler, images, pool
        self._results: dict[Entry, Future[dict[str, Any]]] = {}
        self._thread, self._closed = ThreadPoolExecutor(1, "statistics"), False

    def close(self) -> None:
        """Stops after what is being computed."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def get(self, entry: Entry, dataset: str) -> dict[str, Any] | None:
        """The statistics of a version; None if they are not computed yet.

        Args:
            entry: the version.
            dataset: the data set whose test images are taken.

        Returns:
            `latent_directions` of a VAE: mean and the two principal directions, of length 1, of the
            encoded means of test images. `bits_per_dim` of a model of bytes: the 5 %, 50 % and
            95 % quantiles of test images, inverted ones and noise. Empty if the model has neither,
            or if they could not be computed.
        """
        if entry not in self._results:
            self._results[entry] = self._thread.submit(self._computed, entry, dataset)
        result = self._results[entry]
        return result.result() if result.done() else None

    def _computed(self, entry: Entry, dataset: str) -> dict[str, Any]:
        """The statistics of a version; empty if they could not be computed, whatever the reason."""
        name, number = entry.version.name, entry.version.number
        try:
            return self._compute(name, number, dataset)
        except Exception as error:
            if not self._closed:
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
        has_label = "label" in sampler.signature(signature).inputs and labels is not None
        values = []
        for start in range(0, len(images), AT_ONCE):
            self._wait()
            part = slice(start, start + AT_ONCE)
            some_labels = labels[part] if has_label and labels is not None else None
            outputs = sampler.evaluate(signature, images[part], labels=some_labels)
            values.append(outputs[output])
        return np.concatenate(values)

    def _wait(self, calm: float = 0.0) -> None:
        """Waits until nothing else has been computed for `calm` seconds.

        Raises:
            RuntimeError: the server ends.
        """
        while self.pool.pending or time.monotonic() - self.pool.finished < calm:
            if self._closed:
                raise RuntimeError("the server ends")
            time.sleep(0.05)


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
