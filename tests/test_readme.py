"""The README's Python runs as it stands, on small data and few epochs."""

import re
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests.conftest import make_images
from tfgen.data import Dataset, Split

README = Path(__file__).parent.parent / "README.md"


def run_script(place: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Runs one of the README's scripts in a folder on small data; returns the names that it made."""
    code = re.findall(r"run as a test.*?```python\n(.*?)```", README.read_text(), re.S)[place]
    images = make_images(64, side=28)
    split = Split(images, np.arange(64) % 10)
    small = Dataset("mnist", "3.0.1", split, split, split, 10, "fingerprint")
    monkeypatch.setattr("tfgen.data.load", lambda name: small)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_script_with_a_gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_script(1, tmp_path, monkeypatch)
    assert names["images"].shape == names["sevens"].shape == (25, 28, 28, 1)
    np.testing.assert_array_equal(names["gan"].sample(n=25, seed=0), names["images"])


def test_script_with_a_vae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_script(0, tmp_path, monkeypatch)
    assert names["images"].shape == (25, 28, 28, 1)
    assert names["decoded"].shape == (10, 28, 28, 1)
    np.testing.assert_array_equal(names["vae"].sample(n=25, seed=0), names["images"])
    assert {"best.keras", "v.keras", "logs"} <= {path.name for path in tmp_path.iterdir()}


def test_script_with_a_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_script(2, tmp_path, monkeypatch)
    assert names["log_prob"].shape == (10,)
    images = names["data"].test.images[:10]
    np.testing.assert_array_equal(np.round(names["same"].numpy() * 255), images)


def test_public_names_are_there_and_come_without_tensorflow() -> None:
    for name in tfgen.__all__:
        assert getattr(tfgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        tfgen.VEA  # noqa: B018
