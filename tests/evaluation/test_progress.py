"""Values that are kept on the way."""

from pathlib import Path

import numpy as np
import pytest

from tfgen.evaluation.progress import Kept, per_image


def test_it_goes_on_where_it_stood(tmp_path: Path) -> None:
    kept, done = Kept(tmp_path / "partial.npz", {"seed": 0}), []

    def estimate(part: slice) -> np.ndarray:
        if part.start >= 6 and not done_once:
            raise KeyboardInterrupt
        done.append(part.start)
        return np.arange(part.start, part.stop) * 1.5

    done_once = False
    with pytest.raises(KeyboardInterrupt):
        per_image(estimate, 10, 3, kept)
    done_once, advanced = True, []
    again = Kept(tmp_path / "partial.npz", {"seed": 0})
    np.testing.assert_array_equal(
        per_image(estimate, 10, 3, again, advanced.append), np.arange(10) * 1.5
    )
    assert done == [0, 3, 6, 9]
    assert advanced == [3, 3, 3, 1]
    again.remove()
    assert not list(tmp_path.iterdir())


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    Kept(path, {"seed": 0}).write(np.ones(4), now=True)
    np.testing.assert_array_equal(Kept(path, {"seed": 0}).read(4), np.ones(4))
    for key, n in (({"seed": 1}, 4), ({"seed": 0}, 5)):
        assert np.isnan(Kept(path, key).read(n)).all()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_a_broken_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "partial.npz"
    path.write_bytes(content)
    assert np.isnan(Kept(path, {}).read(3)).all()
