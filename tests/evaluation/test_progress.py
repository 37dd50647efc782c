"""Intermediate values on disk."""

from pathlib import Path

import numpy as np
import pytest

from tfgen.evaluation.job import PartialValues, per_image

pytestmark = pytest.mark.quick


def test_an_interrupted_estimate_continues(tmp_path: Path) -> None:
    partial, done = PartialValues(tmp_path / "partial.npz", {"seed": 0}), []

    def estimate(part: slice) -> np.ndarray:
        if part.start >= 6 and not interrupted:
            raise KeyboardInterrupt
        done.append(part.start)
        return np.arange(part.start, part.stop) * 1.5

    interrupted = False
    with pytest.raises(KeyboardInterrupt):
        per_image(estimate, 10, 3, partial)
    interrupted, advanced = True, []
    again = PartialValues(tmp_path / "partial.npz", {"seed": 0})
    np.testing.assert_array_equal(
        per_image(estimate, 10, 3, again, advanced.append), np.arange(10) * 1.5
    )
    assert done == [0, 3, 6, 9]
    assert advanced == [3, 3, 3, 1]
    again.remove()
    assert not list(tmp_path.iterdir())


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    PartialValues(path, {"seed": 0}).write(np.ones(4), now=True)
    np.testing.assert_array_equal(PartialValues(path, {"seed": 0}).read(4), np.ones(4))
    for key, n in (({"seed": 1}, 4), ({"seed": 0}, 5)):
        assert np.isnan(PartialValues(path, key).read(n)).all()


def test_a_broken_file_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    for content in (b"", b"PK\x03\x04 no archive"):
        path.write_bytes(content)
        assert np.isnan(PartialValues(path, {}).read(3)).all()
