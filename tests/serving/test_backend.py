"""`--backend`: the models of another server, here of tfgen's own in the same process."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.commands import PATIENCE
from tests.serving.conftest import assert_same, serving
from tests.serving.processes import running
from tests.told import fails
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.sampler import Sampler
from tfgen.serving.app import Settings, create_app
from tfgen.serving.models import BackendModels


def front(
    url: str, saved_models: Path, names: list[str] | None = None, timeout: float = PATIENCE
) -> BackendModels:
    return BackendModels(url, timeout, names, saved_models)


def app(models: Any) -> Any:
    return create_app(models, Settings(timeout=PATIENCE))


@pytest.fixture(scope="module")
def passed_on(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that passes requests on to that of `url`, with none of its models on its disk."""
    models = front(url, tmp_path_factory.mktemp("empty"), ["vae-tiny", "gan-classes"])
    with running(app(models)) as address:
        yield address


def test_answers_are_passed_on(passed_on: str, url: str, folder: Path) -> None:
    path = "/v1/models/vae-tiny/versions/2:predict"
    answer = requests.post(passed_on + path, json={"inputs": [5]}, timeout=PATIENCE).json()
    images = Sampler(folder / "vae-tiny" / "2").call("sample", seed=np.int32([5]))["images"]
    assert_same(answer["outputs"], images)
    for path in ("/v1/models/vae-tiny", "/v1/models/vae-tiny/versions/2/metadata"):
        pair = [
            requests.get(address + path, timeout=PATIENCE).json() for address in (passed_on, url)
        ]
        assert pair[0] == pair[1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("nobody:predict", {"inputs": [5]}),
        ("vae-tiny:predict", {"inputs": ["5"]}),
        ("..%2Fvae-tiny:predict", {"inputs": [5]}),
        ("vae-tiny%3Fx:predict", {"inputs": [5]}),
    ],
)
def test_errors_are_passed_on(passed_on: str, url: str, path: str, body: Any) -> None:
    answers = [
        requests.post(f"{address}/v1/models/{path}", json=body, timeout=PATIENCE)
        for address in (passed_on, url)
    ]
    assert answers[0].status_code == answers[1].status_code >= 400
    assert answers[0].json() == answers[1].json()


def test_the_listing_needs_no_manifest(passed_on: str, url: str) -> None:
    def models(address: str) -> dict[str, Any]:
        content = requests.get(f"{address}/page/models.json", timeout=PATIENCE).json()
        assert content["backend"] == (url if address == passed_on else None)
        return {model["name"]: model for model in content["models"]}

    shown, original = models(passed_on), models(url)
    assert list(shown) == ["vae-tiny", "gan-classes"]
    for name, model in shown.items():
        for key in ("family", "image_shape", "latent_dim", "num_classes"):
            assert model[key] == original[name][key]
        assert original[name]["signatures"].items() <= model["signatures"].items()
        assert model["versions"] == [{"number": 2, "shipped": False, "evaluation": None}]
        assert (model["summary"], model["dataset"], model["real"]) == ("", None, None)


def test_what_is_wrong_with_a_backend_is_told(url: str, folder: Path) -> None:
    fails(lambda: front("localhost:8501", folder), "--backend 'localhost:8501'", error=UsageError)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    closed = front(f"http://127.0.0.1:{port}", folder)
    fails(closed.check, f"no server answers at http://127.0.0.1:{port}", error=WorkError)
    with running(app(closed)) as passed_on:
        for path in ("/v1/models/vae", "/page/models.json"):
            answer = requests.get(passed_on + path, timeout=PATIENCE)
            assert answer.status_code == 502 and "no server answers" in answer.json()["error"]
    fails(front(url, folder, ["nobody"]).check, "Latest(nobody)", error=UsageError)
    with serving(folder) as address:
        other = front(f"{address}/page", folder)
        fails(other.check, "has none of the models classifier, flow", "--models", error=UsageError)
