"""Long estimates: what is done is kept, and how far they are is shown."""

import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tfgen.system.atomic import write_arrays

# Told how many images more are done.
Advance: TypeAlias = Callable[[int], None]
# Seconds between two writings of what is done.
_WRITE_EVERY = 15.0


def silent(images: int) -> None:
    """Shows nothing."""


class Kept:
    """Values of images on disk, so that an estimate that was interrupted goes on where it stood.

    Args:
        path: of the file, NPZ.
        key: all that decides the values; what was kept under another key is thrown away.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]):
        self.path, self.key = path, json.dumps(key, sort_keys=True)
        self._written = time.monotonic()

    def read(self, n: int) -> np.ndarray:
        """`float64[n]`, not a number where nothing is known yet; a broken file counts as none."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                if str(stored["key"]) == self.key and stored["values"].shape == (n,):
                    values: np.ndarray = stored["values"].astype(np.float64)
                    return values
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass
        return np.full(n, np.nan)

    def write(self, values: np.ndarray, now: bool = False) -> None:
        """Keeps the values, if the last writing is long enough ago and the disk takes them."""
        if now or time.monotonic() - self._written > _WRITE_EVERY:
            # An estimate is worth more than its copy: on a full disk it goes on without.
            with contextlib.suppress(OSError):
                write_arrays(self.path, {"key": np.array(self.key), "values": values})
            self._written = time.monotonic()

    def remove(self) -> None:
        """Once the estimate stands elsewhere."""
        self.path.unlink(missing_ok=True)


def per_image(
    estimate: Callable[[slice], np.ndarray],
    n: int,
    batch: int,
    kept: Kept | None = None,
    advance: Advance = silent,
) -> np.ndarray:
    """The values of n images, a batch at a time.

    Args:
        estimate: values `[B]` of the images of a slice; must not depend on the slices before.
        n: images in all.
        batch: images at a time.
        kept: where values are kept on the way; what it has already is not computed again.
        advance: called after each batch.

    Returns:
        `float64[n]`.
    """
    values = np.full(n, np.nan) if kept is None else kept.read(n)
    try:
        for start in range(0, n, batch):
            part = slice(start, min(start + batch, n))
            if np.isnan(values[part]).any():
                values[part] = estimate(part)
                if kept is not None:
                    kept.write(values)
            advance(part.stop - part.start)
    except BaseException:
        if kept is not None:
            kept.write(values, now=True)
        raise
    return values
