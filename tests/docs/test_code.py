"""The Python scripts of README and docs run on small data.

Two of them get smaller numbers, of couplings for instance; else they run as they stand.

A script is a block of Python below a comment `run as a test`, which names this file.
"""

import importlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tests import commands
from tfgen import registry, testing
from tfgen.data.dataset import Dataset, Split
from tfgen.random import image_seeds

ROOT = Path(__file__).parents[2]
# The number of scripts of each document; each has a test below.
SCRIPTS = {
    **{"README.md": 1, "docs/python.md": 5, "docs/extending.md": 3},
    **{"docs/images.md": 2, "docs/sample.md": 4},
}


def scripts(document: str) -> list[str]:
    """The scripts of a document whose comments name this file."""
    marker = "<!-- run as a test: tests/docs/test_code.py -->\n"
    return re.findall(f"{marker}```python\n(.*?)```", (ROOT / document).read_text(), re.S)


def run_script(
    document: str,
    index: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    copies: int = 1,
    smaller: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Runs a script on 64 images, or copies of them, in a folder; returns the names it defines.

    `smaller` maps numbers of the script to the smaller ones that replace them.
    """
    images = np.tile(testing.images_of((28, 28, 1)), (copies, 1, 1, 1))
    split = Split(images, np.arange(len(images)) % 10)
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    dataset = Dataset("mnist", "3.0.1", split, split, split, 10, "fingerprint", names)
    # `tfgen.data.load` is a function by attribute, and the module by import.
    # Both are imported first, so that neither takes the other's replacement for its own.
    modules = ("tfgen.data.load", "tfgen.training.run")
    for loader in [importlib.import_module(module) for module in modules]:
        monkeypatch.setattr(loader, "load", lambda name, data_dir=None: dataset)
    # In a checkout, the commands are beside the package instead of in it.
    for name in ("", ".train"):
        command = importlib.import_module(f"{commands.PACKAGE}{name}")
        monkeypatch.setitem(sys.modules, f"tfgen.cli{name}", command)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    script = scripts(document)[index]
    for text, smaller_text in smaller.items():
        assert script.count(text) == 1
        script = script.replace(text, smaller_text)
    exec(compile(script, document, "exec"), names)
    return names


def test_every_script_has_a_test() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    counts = {str(path.relative_to(ROOT)): len(scripts(str(path))) for path in documents}
    assert {document: count for document, count in counts.items() if count} == SCRIPTS
    for path in documents:
        for test in re.findall(r"run as a test: (\S+)", path.read_text()):
            assert (ROOT / test).is_file(), f"{path.name} names {test}"


SMALLER = {
    ("docs/python.md", 2): {
        "couplings=4, hidden=(256, 256)": "couplings=2, hidden=(8,)",
        "components=0": "components=0, scale_steps=(1, 1), scale_channels=(4, 4)",
    },
    ("docs/extending.md", 2): {"scale_steps=(2, 2)": "scale_steps=(1, 1)", "(16, 16)": "(2, 2)"},
}
# The others need files, or have a test of their own.
PLAIN = [
    ("README.md", 0),
    ("docs/python.md", 0),
    *(pytest.param("docs/python.md", index, marks=pytest.mark.slow) for index in (1, 2, 3)),
    ("docs/python.md", 4),
    ("docs/extending.md", 0),
    ("docs/extending.md", 1),
    ("docs/images.md", 1),
    ("docs/sample.md", 2),
    ("docs/sample.md", 3),
]
# Copies of the images that a script needs.
COPIES = {("docs/images.md", 1): 3}


@pytest.mark.parametrize(("document", "index"), PLAIN)
def test_the_script_runs(
    document: str, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, smaller = COPIES.get((document, index), 1), SMALLER.get((document, index), {})
    names = run_script(document, index, tmp_path, monkeypatch, copies, smaller)
    if "vae" in names and "images" in names:
        assert names["images"].shape == (25, 28, 28, 1)
    if document == "docs/extending.md" and "train" in names:
        assert names["images"].shape == (20, 28, 28, 1)
    if "samples" in names:
        assert names["samples"].shape == (25, 48, 48, 3)
    if "same" in names:  # a flow maps latents back to the same bytes
        difference = np.round(names["same"].numpy() * 255) - names["data"].test.images[:10]
        # Where the noise within a byte is nearly 0 or 1, rounding can lead to the byte beside it.
        assert np.abs(difference).max() <= 1 and np.mean(difference != 0) < 0.01
    if "history" in names:
        assert len(names["history"].history["fid"]) == 2


@pytest.mark.slow
def test_the_script_with_a_new_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    presets = registry.family("flow").presets
    assert "small" not in presets
    # The script sets it; afterwards it is removed again.
    monkeypatch.setitem(presets, "small", presets["mlp"])
    place = ("docs/extending.md", 2)
    names = run_script(*place, tmp_path, monkeypatch, smaller=SMALLER[place])
    assert names["status"] == 0
    printed = capsys.readouterr().out
    assert "preset small" in printed and re.search(r"components +4", printed)


def test_the_script_that_sorts_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag, hand = {"image": "1.png", "category": "Flags"}, {"image": "2.png", "category": "People"}
    hand["skin_variations"] = {"1F3FB": {"image": "2-light.png"}}
    color = {"image": "3.png", "category": "Component"}
    pictures = tmp_path / "package" / "img" / "twitter" / "64"
    pictures.mkdir(parents=True)
    for name in ("1.png", "2.png", "2-light.png", "3.png"):
        (pictures / name).write_text(name)
    (tmp_path / "package" / "emoji.json").write_text(json.dumps([flag, hand, color]))
    run_script("docs/images.md", 0, tmp_path, monkeypatch)
    copies = {path.relative_to(tmp_path / "emoji") for path in tmp_path.glob("emoji/*/*")}
    assert set(map(str, copies)) == {"Flags/1.png", "People/2.png", "People/2-light.png"}


def test_the_scripts_that_read_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--n", "60", "--shard-size", "40", "--out", "gan-samples/", "--saved-models", "none"]
    assert commands.main("sample", ["gan", *flags]) == 0
    (batch,) = run_script("docs/sample.md", 0, tmp_path, monkeypatch)["batches"]
    images, seeds = (tensor.numpy() for tensor in batch)
    assert images.shape == (60, 28, 28, 1)
    np.testing.assert_array_equal(seeds, image_seeds(0, 60))
    capsys.readouterr()
    names = run_script("docs/sample.md", 1, tmp_path, monkeypatch)
    shapes = [line.partition(") ")[0] for line in capsys.readouterr().out.splitlines()]
    assert shapes == ["(40, 28, 28, 1", "(20, 28, 28, 1"]
    np.testing.assert_array_equal(names["images"], images[40:])
