"""`tfgen-evaluate` of images that no model of this process made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tfgen
from tests import commands
from tests.conftest import Trained, make_images
from tfgen.publishing.sampler import Sampler

N = 40  # the test images of `tiny`


def read(name: str) -> Any:
    return json.loads(Path(name).read_text())


@pytest.mark.slow
def test_images_of_tfgen_sample_get_the_metrics_of_the_version(
    evaluate_images: Any, trained: Trained, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Sampler.call

    def call_in_two(self: Sampler, signature: str, **inputs: np.ndarray) -> Any:
        """The same images by the signatures that `tfgen-sample` calls.

        The signature `sample` may round a pixel to the next grey level, which changes the metrics
        of so few images.
        """
        if signature != "sample":
            return call(self, signature, **inputs)
        return call(self, "decode", **call(self, "latents", **inputs))

    monkeypatch.setattr(Sampler, "call", call_in_two)
    # `pictures` is also judged by its own name, where `vae-tiny` is a published one.
    common = ["vae-tiny", "--saved-models", str(trained.saved_models), "--n", str(N)]
    for out in ("samples.npz", "pictures/"):
        assert commands.main("sample", [*common, "--out", out]) == 0
    assert evaluate_images("vae-tiny", "--no-likelihood", "--out", "version.json") == 0
    capfd.readouterr()
    expected = read("version.json")
    for what in ("samples.npz", "pictures"):
        assert evaluate_images(what, "--dataset", "tiny") == 0
        result = read(f"{Path(what).stem}-evaluation.json")
        # A sample of a version is rounded to bytes in the same way as a pixel of a PNG.
        for part in ("samples", "floor", "ceiling"):
            for name, value in expected[part].items():
                if name != "copies":
                    assert result[part][name] == pytest.approx(value, rel=1e-3, abs=1e-6)
        assert result["features"] == expected["features"]
        assert result.keys().isdisjoint({"cost", "likelihood", "classifier"})
        assert (result["title"], result["n"], result["seed"]) == (Path(what).stem, N, None)
        printed = capfd.readouterr().out
        assert "features of random network" in printed
        assert 'see "The random network" in docs/judge.md' in printed
    assert commands.main("compare", ["version.json", "samples-evaluation.json"]) == 0


def test_a_folder_of_all_kinds(evaluate_images: Any, capfd: Any) -> None:
    folder = Path("bilder äöü")
    folder.mkdir()
    for index, image in enumerate(make_images(30, side=12, channels=3)):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    assert evaluate_images(folder, "--dataset", "tiny", "--features", "random") == 0
    result, printed = read("bilder äöü-evaluation.json"), capfd.readouterr().out
    assert (result["n"], result["images"]["resized"], result["images"]["skipped"]) == (30, 30, 1)
    assert "30 of other sizes: resized to 6 × 6, cropped to the aspect ratio, then" in printed
    assert "1 file skipped:" in printed
    assert "broken.png" in printed
    assert evaluate_images(folder, "--dataset", "tiny", "--n", 31) == 2
    assert "n = 31 is too large; bilder äöü has 30 images" in capfd.readouterr().err


def test_shards_are_judged_against_the_data_set_of_its_model(
    evaluate_images: Any, trained: Trained, capfd: Any
) -> None:
    flags = ["--saved-models", str(trained.saved_models), "--n", "100", "--shard-size", "40"]
    assert commands.main("sample", ["vae-tiny", *flags, "--out", "shards"]) == 0
    capfd.readouterr()
    assert evaluate_images("shards") == 0
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


@pytest.mark.parametrize("split", ["train", "test"])
def test_copies_are_said_first_and_shown(
    evaluate_images: Any, trained: Trained, capfd: Any, split: str
) -> None:
    folder = Path("memo")
    folder.mkdir()
    images = getattr(tfgen.load_data("tiny", trained.data), split).images
    for index, image in enumerate(images[:N]):
        Image.fromarray(image.squeeze()).save(folder / f"{index}.png")
    assert evaluate_images(folder, "--dataset", "tiny") == 0
    printed = capfd.readouterr().out
    assert printed.index(f"memo copies {split}") < printed.index("| model |")
    samples = read("memo-evaluation.json")["samples"]
    assert (samples["copied"], samples["copies"]["share_in_held_out"]).index(1) == (split == "test")
    assert samples["fid"] >= 0
    assert Path("memo-evaluation-nearest.png").stat().st_size > 100
