"""The README's Python runs as it stands, on small data and few epochs."""

import re
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests.conftest import make_images
from tfgen.data import Dataset, Split

README = Path(__file__).parent.parent / "README.md"


def test_script_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"run as a test.*?```python\n(.*?)```", README.read_text(), re.S)
    images = make_images(64, side=28)
    split = Split(images, np.zeros(64, np.int64))
    small = Dataset("mnist", "3.0.1", split, split, split, 10, "fingerprint")
    monkeypatch.setattr("tfgen.data.load", lambda name: small)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["images"].shape == (25, 28, 28, 1)
    assert names["decoded"].shape == (10, 28, 28, 1)
    np.testing.assert_array_equal(names["vae"].sample(n=25, seed=0), names["images"])
    assert {"best.keras", "v.keras", "logs"} <= {path.name for path in tmp_path.iterdir()}


def test_public_names_are_there_and_come_without_tensorflow() -> None:
    for name in tfgen.__all__:
        assert getattr(tfgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        tfgen.VEA  # noqa: B018
