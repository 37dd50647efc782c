"""The folder for a model hub: its card is read by the hub's own client, and its code runs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, metadata_load
from PIL import Image

from tests import commands
from tests.conftest import Trained
from tfgen.evaluation.metrics import METRICS
from tfgen.publishing.versions import Version, shipped_folder, shipped_names
from tfgen.serving.card import model_card


def shipped(name: str) -> Version:
    return Version.at(shipped_folder() / name / "1")


def changed(folder: Path, name: str, **entries: Any) -> Version:
    """A shipped version with other entries in its manifest, without its SavedModel."""
    manifest = json.loads((shipped(name).path / "manifest.json").read_text())
    path = folder / name / "2"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(manifest | entries))
    return Version.at(path)


@pytest.mark.parametrize("name", shipped_names())
def test_the_hub_reads_the_metrics_of_a_shipped_model_with_those_of_real_images(name: str) -> None:
    version = shipped(name)
    card = ModelCard(model_card(version))
    assert (card.data.license, card.data.datasets) == ("apache-2.0", ["ylecun/mnist"])
    evaluation = json.loads((version.path / "manifest.json").read_text())["evaluation"] or {}
    expected = {m.key: m.value(evaluation) for m in METRICS if m.better}
    results = card.data.eval_results or []
    assert {result.metric_type: result.metric_value for result in results} == {
        key: pytest.approx(value, abs=1e-4) for key, value in expected.items() if value is not None
    }
    floors = {
        result.metric_type: float(re.findall(r"real images: ([\d.]+)", result.metric_name)[0])
        for result in results
        if result.metric_type in evaluation["floor"]
    }
    for metric in (metric for metric in METRICS if metric.key in floors):
        value = metric.value({"samples": evaluation["floor"]})
        assert floors[metric.key] == pytest.approx(value, rel=5e-3)
    assert "fid" in floors or name == "classifier"


def test_a_card_has_no_field_that_nobody_knows(trained: Trained) -> None:
    """A user's own images, without an evaluation and a licence."""
    version = Version.at(trained.saved_models / "vae-tiny" / "2")
    text = model_card(version)
    fields = {"library_name": "tfgen", "pipeline_tag": "unconditional-image-generation"}
    assert ModelCard(text).data.to_dict() == fields | {"tags": ["tensorflow", "vae"]}
    assert "- data set: tiny\n" in text and "has not been evaluated" in text


def test_a_conditional_model_takes_labels_and_the_licence_of_its_owner(tmp_path: Path) -> None:
    specs = {"sample": {"inputs": {}, "outputs": {}}, "classes": {"inputs": {}, "outputs": {}}}
    for name in ("seed", "label"):
        specs["sample"]["inputs"][name] = {"dtype": "int32", "shape": [None]}
    run = {"data": {"description": "Shoes. Licence: CC0"}}
    text = model_card(changed(tmp_path, "gan", signatures=specs, run=run), "cc-by-4.0")
    assert "- about the data: Shoes. Licence: CC0\n" in text
    assert ModelCard(text).data.license == "cc-by-4.0"
    assert "class-conditional" in ModelCard(text).data.tags
    assert '["sample"](seed=tf.range(2), label=tf.range(2))' in text


def test_metrics_with_a_warning_are_not_in_the_header(tmp_path: Path) -> None:
    evaluation = json.loads((shipped("gan").path / "manifest.json").read_text())["evaluation"]
    evaluation["samples"]["copied"] = 0.9
    text = model_card(changed(tmp_path, "gan", evaluation=evaluation))
    assert ModelCard(text).data.eval_results is None
    assert "copies training images" in text


@pytest.mark.slow
def test_the_folder_of_a_shipped_model_is_whole_and_its_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export = ["gan", "--format", "hub", "--out", "F"]
    assert commands.main("export", export) == 0
    assert "hf upload USER/gan F" in capfd.readouterr().out
    assert {path.name for path in Path("F").iterdir()} == {
        *("README.md", "samples.png", "gan.tfgen", "page")
    }
    assert metadata_load("F/README.md") == ModelCard.load("F/README.md").data.to_dict()
    assert Image.open("F/samples.png").size[0] > 400
    assert Path("F/page/index.html").is_file()
    (code,) = re.findall(r"```python\n(.*?)```", Path("F/README.md").read_text(), re.S)
    code += "assert outputs['images'].shape == (2, 28, 28, 1)"
    subprocess.run([sys.executable, "-c", code], cwd="F", check=True)
    # The code unpacked the archive here. Only what an export wrote is replaced.
    commands.refused("export", export, "F is not an exported gan")
    # The licence of an archive, even of a shipped model, is for its owner to say.
    assert commands.main("export", ["F/gan.tfgen", "--format", "hub"]) == 0
    assert "no licence" in capfd.readouterr().out
    assert "license" not in metadata_load("hub/README.md")
