"""What `import tfgen` offers, and what it costs."""

import importlib
from pathlib import Path

import pytest

import tfgen

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there() -> None:
    assert {"VAE", "GAN", "Flow", "Classifier", "load", "load_data", "Sampler", "Identity"} <= set(
        tfgen.__all__
    )
    for name in tfgen.__all__:
        assert getattr(tfgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        _ = tfgen.VEA


def test_every_part_of_the_package_is_a_submodule() -> None:
    parts = {path.stem for path in (ROOT / "tfgen").iterdir() if (path / "__init__.py").exists()}
    parts |= {path.stem for path in (ROOT / "tfgen").glob("[a-z]*.py")}
    # Commands and server are started at the terminal; `testing` needs pytest.
    for part in parts - {"cli", "serving", "testing"}:
        assert getattr(tfgen, part) is importlib.import_module(f"tfgen.{part}")
