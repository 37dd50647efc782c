"""The Python of README and docs runs as it stands, on small data and few epochs."""

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import commands
from tests.conftest import make_images
from tfgen import registry
from tfgen.data import Dataset, Split

pytestmark = pytest.mark.newest

ROOT = Path(__file__).parent.parent


def run_script(
    place: int, folder: Path, monkeypatch: pytest.MonkeyPatch, document: str = "README.md"
) -> dict:
    """Runs one of a document's scripts in a folder on small data; returns the names that it
    made."""
    text = (ROOT / document).read_text()
    code = re.findall(r"run as a test.*?```python\n(.*?)```", text, re.S)[place]
    images = make_images(64, side=28)
    split = Split(images, np.arange(64) % 10)
    small = Dataset("mnist", "3.0.1", split, split, split, 10, "fingerprint")
    for loader in ("tfgen.training.run.load", "tfgen.data.load"):
        monkeypatch.setattr(loader, lambda name, data_dir=None: small)
    # Where the checkout's `tfgen` comes before an installed one, the commands stand beside it.
    for module in ("", ".train"):
        found = importlib.import_module(f"{commands.PACKAGE}{module}")
        monkeypatch.setitem(sys.modules, f"tfgen.cli{module}", found)
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, document, "exec"), names)
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


def test_script_with_a_new_bijector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_script(0, tmp_path, monkeypatch, "docs/extending.md")
    bijector, x = names["Sinh"](), tf.constant(np.random.default_rng(0).normal(size=(5, 3)))
    y, log_det = bijector.forward_and_log_det(x, 1)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), x, atol=1e-12)
    np.testing.assert_allclose(log_det, np.log(np.cosh(x)).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        bijector.inverse_log_det_jacobian(tf.identity(y), 1), -log_det, rtol=1e-12
    )
    assert np.all(np.isfinite(names["flow"].event_log_prob(names["points"])))


def test_script_with_a_new_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    presets = dict(registry.FAMILIES["flow"].presets)
    monkeypatch.setitem(
        registry.FAMILIES, "flow", dataclasses.replace(registry.FAMILIES["flow"], presets=presets)
    )
    names = run_script(1, tmp_path, monkeypatch, "docs/extending.md")
    assert names["status"] == 0
    printed = capsys.readouterr().out
    assert "preset small" in printed and re.search(r"components +4", printed)


def test_public_names_are_there_and_come_without_tensorflow() -> None:
    for name in tfgen.__all__:
        assert getattr(tfgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        tfgen.VEA  # noqa: B018
