"""What `import tfgen` offers, and what it costs."""

import importlib
import runpy
import shutil
from pathlib import Path

import pytest

import tfgen
from tfgen.system import quiet

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


@pytest.mark.parametrize(
    ("metadata", "file", "is_refused"),
    [
        # The project that has the name on PyPI, and ours from before the new name.
        ("tfgen-0.6.1.dist-info", "tfgen/const.py", True),
        ("tfgen-0.1.0.dist-info", "tfgen/__init__.py", True),
        # An editable installation of ours from before the new name has no file in the folder.
        ("tfgen-0.1.0.dist-info", "__editable__.tfgen-0.1.0.pth", False),
        ("tfgen_ppca-0.1.0.dist-info", "tfgen_ppca/__init__.py", False),
        ("tfgen_images-0.1.0.dist-info", "tfgen/__init__.py", False),
    ],
)
def test_another_package_in_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata: str, file: str, is_refused: bool
) -> None:
    # The import hook of the copy would stay after the test.
    monkeypatch.setattr(quiet, "after_import", lambda name, function: None)
    (tmp_path / "tfgen").mkdir()
    (tmp_path / metadata).mkdir()
    package = shutil.copy(ROOT / "tfgen" / "__init__.py", tmp_path / "tfgen")
    record = f"../../../bin/command,sha256=0,1\n{file},sha256=0,1\n{metadata}/RECORD,,\n"
    (tmp_path / metadata / "RECORD").write_text(record)
    if is_refused:
        with pytest.raises(ImportError, match="pip uninstall tfgen tfgen-images") as error:
            runpy.run_path(package)
        assert "\n" not in str(error.value)
    else:
        assert runpy.run_path(package)["__version__"] == tfgen.__version__
