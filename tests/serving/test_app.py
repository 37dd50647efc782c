"""The routes: TensorFlow Serving's REST interface, the page's, and who may use them."""

import io
import mimetypes
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from PIL import Image

import tfgen.serving
from tests.commands import PATIENCE
from tests.serving.conftest import CLASSES, SHAPE, assert_same, stub_serving
from tfgen.publishing.sampler import Sampler

SEEDS = np.array([5, -7, 2**31 - 1], np.int32)


def predict(url: str, name: str, **body: Any) -> Any:
    response = requests.post(f"{url}/v1/models/{name}:predict", json=body, timeout=PATIENCE)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def vae(folder: Path) -> Sampler:
    return Sampler(folder / "vae-tiny" / "2")


def test_rows_and_columns_are_answered_with_the_samplers_images(url: str, vae: Sampler) -> None:
    images, seeds = vae.call("sample", seed=SEEDS)["images"], SEEDS.tolist()
    rows = [{"seed": seed} for seed in seeds]
    assert_same(predict(url, "vae-tiny", instances=rows)["predictions"], images)
    columns = {"signature_name": "sample", "inputs": {"seed": seeds}}
    for name in ("vae-tiny", "vae-tiny/versions/2", "%76ae-tiny"):
        assert_same(predict(url, name, **columns)["outputs"], images)


def test_the_state_of_versions(url: str) -> None:
    status = {"error_code": "OK", "error_message": ""}
    state = {"version": "2", "state": "AVAILABLE", "status": status}
    for path in ("vae-tiny", "vae-tiny/versions/2"):
        answer = requests.get(f"{url}/v1/models/{path}", timeout=PATIENCE)
        assert answer.json() == {"model_version_status": [state]}


# --- who may use it ---------------------------------------------------------------------


def status_for(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    response = requests.request(method, f"{url}/healthz", headers=named, timeout=PATIENCE)
    return response.status_code, dict(response.headers)


def test_a_host_that_is_not_its_own_is_refused() -> None:
    with stub_serving(bytes, hosts=("lab.example",)) as url:
        for host in ("localhost", "LOCALHOST:8501", "127.0.0.1:1", "[::1]:8501", "lab.example:1"):
            assert status_for(url, Host=host)[0] == 200
        for host in ("evil.example:8501", "localhost.evil.example", "192.168.0.7", "[::1", ""):
            assert status_for(url, Host=host)[0] == 400
        address = urlsplit(url).hostname, urlsplit(url).port
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b" 400 " in connection.recv(2**16).splitlines()[0]
    with stub_serving(bytes, hosts=("*",)) as url:
        assert status_for(url, Host="192.168.0.7")[0] == 200


def test_foreign_pages_cannot_read_answers_unless_they_are_allowed() -> None:
    page, other = "http://app.example", "http://evil.example"
    allowed = "access-control-allow-origin"
    with stub_serving(bytes) as url:
        assert allowed not in status_for(url, Origin=page)[1]
    with stub_serving(bytes, origins=(page,)) as url:
        assert status_for(url, Origin=page)[1][allowed] == page
        preflight = status_for(url, "OPTIONS", Origin=page, Access_Control_Request_Method="POST")
        assert preflight[0] == 200 and "POST" in preflight[1]["access-control-allow-methods"]
        assert allowed not in status_for(url, Origin=other)[1]
    with stub_serving(bytes, origins=("*",)) as url:
        assert status_for(url, Origin=other)[1][allowed] == "*"


# --- what the page asks for -------------------------------------------------------------


def listing(url: str) -> dict[str, Any]:
    content = requests.get(f"{url}/page/models.json", timeout=PATIENCE).json()
    return {model["name"]: model for model in content["models"]}


def test_the_listing_has_all_models(url: str) -> None:
    models = listing(url)
    shipped = {"classifier", "flow", "flow-matching", "gan", "vae", "vae-hierarchical"}
    assert models.keys() == {*shipped, "gan-classes", "vae-tiny"}
    # The user's own come first, the newest before the others.
    assert list(models)[:3] == ["gan-classes", "vae-tiny", "vae"]
    own = models["gan-classes"]
    assert own["family"] == "gan" and own["image_shape"] == list(SHAPE)
    assert (own["latent_dim"], own["num_classes"]) == (2, CLASSES)
    assert models["classifier"]["latent_dim"] == 0
    (version,) = models["vae"]["versions"]
    assert (version["number"], version["shipped"]) == (1, True)
    (fid,) = (metric for metric in version["evaluation"] if metric["name"] == "FID")
    assert float(fid["real"]) < 0.5
    for part in ("50\N{NO-BREAK SPACE}000 digits", "100 epochs", f"FID {fid['value']}"):
        assert part in models["vae"]["summary"]
    version = {"number": 2, "shipped": False, "evaluation": None}
    assert models["vae-tiny"]["versions"] == [version]
    assert models["vae"]["details"].startswith("preset conv")
    assert models["vae"]["dataset"] == "mnist" and models["vae-tiny"]["real"] is None
    seed = {"dtype": "int32", "shape": [None]}
    assert models["gan-classes"]["signatures"]["sample"]["inputs"] == {"seed": seed, "label": seed}


def test_real_images_are_the_test_images_of_the_data_set(url: str, digits: np.ndarray) -> None:
    response = requests.get(url + listing(url)["gan"]["real"], timeout=PATIENCE)
    assert response.headers["Content-Type"] == "image/png"
    grid = np.asarray(Image.open(io.BytesIO(response.content)))
    images = grid.reshape(10, 28, 10, 28).swapaxes(1, 2).reshape(100, 28, 28, 1)
    np.testing.assert_array_equal(images, digits)
    assert requests.get(f"{url}/page/real/vae-tiny.png", timeout=PATIENCE).status_code == 404


def test_files_of_the_page_have_their_types_and_load_nothing_from_elsewhere(url: str) -> None:
    for path in (Path(tfgen.serving.__file__).parent / "page").iterdir():
        response = requests.get(f"{url}/page/{path.name}", timeout=PATIENCE)
        assert response.content == path.read_bytes()
        assert response.headers["Content-Type"].split(";")[0] == mimetypes.guess_type(path)[0]
    response = requests.get(url, timeout=PATIENCE)
    assert response.headers["Content-Type"].startswith("text/html")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
