"""The requests in docs/serve.md get the answers that it shows, from tfgen's own server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.commands import PATIENCE
from tests.publishing.serving_double import Double
from tfgen.publishing import versions

DOCS = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    with Double(versions.shipped_folder()).running() as double:
        yield double


def shape_of(value: Any) -> str:
    return f"float{''.join(f'[{size}]' for size in np.shape(value))}"


@pytest.mark.slow
def test_each_curl_is_answered_as_shown(double: Double) -> None:
    exchanges = re.findall(
        r"curl -d '(.+?)' http://localhost:8501(\S+)\n```\n\n```json\n(.+?)```", DOCS, re.S
    )
    assert len(exchanges) == 3
    image = json.dumps(np.zeros((28, 28, 1), int).tolist())
    for body, path, shown in exchanges:
        sent = json.loads(body.replace("IMAGE", image))
        (answer,) = requests.post(double.url + path, json=sent, timeout=PATIENCE).json().values()
        ((_, expected),) = json.loads(shown).items()
        pairs = [("", expected)] if not isinstance(expected, dict) else list(expected.items())
        for key, value in pairs:
            output = answer[key] if key else answer
            if isinstance(value, str):
                assert shape_of(output) == re.split("[ ,]", value)[0]
            else:
                assert output == value  # latents are bit-equal everywhere


def test_both_python_clients_run(double: Double) -> None:
    scripts = re.findall(r"<!-- run as a test: tests/docs/\S+ -->\n```python\n(.+?)```", DOCS, re.S)
    assert len(scripts) == 2
    images = []
    for script in scripts:
        replacements = {
            "localhost:8500": double.grpc,
            "http://localhost:8501": double.url,
            "timeout=10": f"timeout={PATIENCE}",
        }
        for text, replacement in replacements.items():
            script = script.replace(text, replacement)
        names: dict[str, Any] = {}
        exec(script, names)
        images.append(names["images"])
    assert images[0].shape == (2, 28, 28, 1)
    # Of two signatures: `serving_default` and `sample`.
    np.testing.assert_allclose(*images, atol=1e-5)


def test_the_table_holds_every_signature_of_every_shipped_version() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in DOCS.splitlines()
        if line.startswith("| `")
    ]
    for name in versions.shipped_names():
        signatures = versions.read_manifest(versions.shipped_folder() / name / "1")["signatures"]
        documented = {
            key: (row[2], row[3])
            for row in (re.sub(r"\\\|", "/", "|".join(row)).split("|") for row in rows)
            if f"`{name}`" in row[1] or (row[1] == "all samplers" and name != "classifier")
            for key in re.findall(r"`(\w+)`", row[0])
        }
        assert documented.keys() == {"serving_default", *signatures}
        for key, signature in signatures.items():
            for cell, tensors in zip(
                documented[key], (signature["inputs"], signature["outputs"]), strict=True
            ):
                dtypes = dict(re.findall(r"`(\w+): (\w+)\[", cell))
                assert dtypes == {tensor: spec["dtype"] for tensor, spec in tensors.items()}


def test_the_pinned_configuration_is_one() -> None:
    text = next(block for block in DOCS.split("```")[1::2] if "model_version_policy" in block)
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert list(config.model_config_list.config[0].model_version_policy.specific.versions) == [2]
