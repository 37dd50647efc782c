"""`tfgen-evaluate` of a folder of shards that `tfgen-sample` wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.conftest import Trained

N, HELD_OUT = 100, 40
NAME = "vae-tiny"


@pytest.fixture
def folder(evaluate_images: Any, trained: Trained) -> str:
    """Three shards, in the working directory of `evaluate_images`."""
    flags = [NAME, "--saved-models", str(trained.saved_models), "--n", str(N), "--seed", "3"]
    assert commands.main("sample", [*flags, "--shard-size", "40", "--out", "shards"]) == 0
    return "shards"


def read(name: str) -> Any:
    return json.loads(Path(name).read_text())


def test_a_folder_is_judged_against_the_data_set_of_its_model(
    evaluate_images: Any, folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert evaluate_images(folder) == 0
    result, printed = read("shards-evaluation.json"), capfd.readouterr().out
    assert "shards: 100 images in 3 shards" in printed
    assert "Samples against the test images of tiny, " in printed and ", n = 40\n" in printed
    assert f"shards: FID of all 100 images {result['all_images']['fid']:.4g}" in printed
    assert (result["n"], result["all_images"]["n"], result["images"]["available"]) == (40, 100, 100)
    assert result["dataset"]["name"] == result["images"]["request"]["dataset"] == "tiny"
    assert result.keys().isdisjoint({"cost", "likelihood"})
    capfd.readouterr()
    assert commands.main("compare", ["shards-evaluation.json"]) == 0
    assert "shards: FID of all 100 images" in capfd.readouterr().out
