"""The client and the export, held against tfgen's own server, and for gRPC against a double of
TensorFlow Serving, which was not run."""

import contextlib
import functools
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.commands import PATIENCE
from tests.publishing.serving_double import Double
from tests.serving.conftest import wait_for
from tfgen import GAN, VAE, Flow
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import export, served, versions
from tfgen.publishing.grpc import Grpc
from tfgen.publishing.rest import Rest
from tfgen.publishing.sampler import Sampler
from tfgen.publishing.served import ServedSampler, Transport

SHAPE = (6, 6, 1)
SEEDS = np.array([5, -7, 2**31 - 1], np.int32)
HIDDEN = {"generator_hidden": (8,), "discriminator_hidden": (8,)}
MODELS = {
    "vae": lambda: VAE(image_shape=SHAPE, latent_dim=2, hidden=(16,)),
    "gan-conditional": lambda: GAN(image_shape=SHAPE, latent_dim=3, num_classes=3, **HIDDEN),
    "flow": lambda: Flow(image_shape=SHAPE, couplings=2, hidden=(8,)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for name, make in MODELS.items():
        export.publish(make(), folder, name)
    return folder


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of `vae` with other weights."""
    vae = VAE(image_shape=SHAPE, latent_dim=2, hidden=(16,), seed=1)
    return export.publish(vae, tmp_path_factory.mktemp("retrained"), "vae")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Double]:
    with Double(folder).running() as double:
        yield double


@pytest.fixture
def double(running: Double) -> Iterator[Double]:
    running.reset()
    yield running
    running.may_answer.set()


def transport(double: Double, way: str, **options: Any) -> Transport:
    kinds = {"rest": (Rest, double.url), "grpc": (Grpc, double.grpc)}
    kind, address = kinds[way]
    return kind(address, timeout=PATIENCE, **options)


@functools.cache
def local(folder: Path, name: str) -> Sampler:
    return Sampler(versions.find(name, folder))


def inputs_for(sampler: Sampler, signature: str, size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    arrays = {
        "seed": rng.integers(-(2**31), 2**31, size).astype(np.int32),
        "label": (np.arange(size) % 3).astype(np.int32),
        "latents": rng.standard_normal((size, sampler.latent_dim)).astype(np.float32),
        "images": rng.integers(0, 256, (size, 6, 6, 1)).astype(np.uint8),
    }
    name = "sample" if signature == "serving_default" else signature
    return {key: arrays[key] for key in sampler.manifest["signatures"][name]["inputs"]}


@pytest.mark.parametrize("way", ["rest", "grpc"])
@pytest.mark.parametrize("name", MODELS)
def test_every_signature_answers_as_the_local_one(
    double: Double, folder: Path, name: str, way: str
) -> None:
    here, there = local(folder, name), ServedSampler(transport(double, way), name)
    assert (there.name, there.number) == (name, 2)
    assert (there.latent_dim, there.num_classes) == (here.latent_dim, here.num_classes)
    for signature in ["serving_default", *here.manifest["signatures"]]:
        for size in (0, 1, 3):
            inputs = inputs_for(here, signature, size)
            expected, answer = here.call(signature, **inputs), there.call(signature, **inputs)
            assert answer.keys() == expected.keys()
            for key, value in expected.items():
                # The same graph on the same machine; REST's nine digits tell floats apart.
                np.testing.assert_array_equal(answer[key], value)
                assert (answer[key].dtype, answer[key].shape) == (value.dtype, value.shape)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_new_version_does_not_mix_into_a_request(
    folder: Path, retrained: Path, tmp_path: Path, way: str
) -> None:
    shutil.copytree(folder / "vae" / "2", tmp_path / "vae" / "2")
    with Double(tmp_path).running() as double:
        sampler = ServedSampler(transport(double, way), "vae")
        before = sampler.call("sample", seed=SEEDS)["images"]

        shutil.copytree(retrained, tmp_path / "vae" / "3")
        newest = ServedSampler(transport(double, way), "vae")
        assert newest.number == 3
        assert not np.array_equal(newest.call("sample", seed=SEEDS)["images"], before)
        # By the server's default the old version goes, and nothing takes its place unasked.
        with pytest.raises(WorkError, match=r"vae.* is no longer served: .*ask again"):
            sampler.call("sample", seed=SEEDS)
        double.models.all_versions = True
        np.testing.assert_array_equal(sampler.call("sample", seed=SEEDS)["images"], before)
        assert ServedSampler(transport(double, way), "vae", 2).number == 2


BUSY = [("rest", 429), ("rest", 503), ("grpc", grpc.StatusCode.RESOURCE_EXHAUSTED)]
WRONG = {"rest": 400, "grpc": grpc.StatusCode.INVALID_ARGUMENT}
LATE = {"rest": 504, "grpc": grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.mark.parametrize(("way", "busy"), BUSY)
def test_a_busy_server_is_asked_again(
    double: Double, way: str, busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "BACKOFF", 0.01)
    sampler = ServedSampler(transport(double, way, retries=2), "vae")
    double.reset()
    double.failures = [busy] * 2
    assert sampler.call("latents", seed=SEEDS)["latents"].shape == (3, 2)
    assert len(double.requests) == 3
    double.reset()
    double.failures = [busy] * 3
    with pytest.raises(WorkError, match="the server is busy"):
        sampler.call("latents", seed=SEEDS)
    assert len(double.requests) == 3


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_refusal_and_a_time_out_are_not_repeated(double: Double, way: str) -> None:
    sampler = ServedSampler(transport(double, way), "vae")
    refused = f"the server at {sampler.transport.address} says: the server is busy"
    late = {"rest": "ended .*--batch-size", "grpc": f"gave no answer in {PATIENCE:g} s; "}[way]
    for failure, message in ((WRONG[way], refused), (LATE[way], late)):
        double.reset()
        double.failures = [failure]
        with pytest.raises(WorkError, match=message):
            sampler.call("latents", seed=SEEDS)
        assert len(double.requests) == 1
    double.reset()
    double.may_answer.clear()
    sampler.transport.timeout = 0.3
    with pytest.raises(WorkError, match=r"gave no answer in 0.3 s; .*--timeout"):
        sampler.call("latents", seed=SEEDS)
    wait_for(lambda: bool(double.requests))  # a busy server sees it later than the client gives up
    assert len(double.requests) == 1


@contextlib.contextmanager
def answering(answers: list[bytes]) -> Iterator[str]:
    """A context with a server that answers a connection each with some bytes; it gives its URL."""

    def answer() -> None:
        for content in answers:
            connection = listener.accept()[0]
            connection.recv(4096)
            connection.sendall(content)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_request_whose_connection_breaks_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    # In place of the module, whose `sleep` threads of other tests call.
    monkeypatch.setattr("tfgen.publishing.served.time", SimpleNamespace(sleep=delays.append))
    body = b'{"model_spec": {"version": "7"}, "metadata": {"signature_def": {"signature_def": {}}}}'
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    # No answer, a part of its head, a part of its body, and all of it.
    with answering([b"", head[:9], head + body[:9], head + body]) as url:
        assert Rest(url, retries=3).metadata("vae", None) == (7, {}, [])
    np.testing.assert_allclose(delays, [0.2, 0.6, 1.8])


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_wrong_requests_are_told(double: Double, way: str) -> None:
    for wrong in (("nobody", None), ("vae", 9)):
        with pytest.raises(UsageError, match="Servable not found"):
            ServedSampler(transport(double, way), *wrong)
    with pytest.raises(UsageError, match="is not a valid name of a published model"):
        ServedSampler(transport(double, way), "../vae")
    sampler = ServedSampler(transport(double, way), "vae")
    with pytest.raises(UsageError, match="no signature 'sampel'; did you mean 'sample'"):
        sampler.call("sampel", seed=SEEDS)
    with pytest.raises(WorkError, match=r"do not match|named inputs are: seeds"):
        sampler.call("sample", seeds=SEEDS)


def test_no_server_is_told() -> None:
    for url in ("localhost:8501", "http://host?x=1", "http://["):
        with pytest.raises(UsageError, match=r"--url .* http://localhost:8501"):
            Rest(url)
    for address in ("localhost", "http://localhost:8500"):
        with pytest.raises(UsageError, match=r"--grpc .* localhost:8500"):
            Grpc(address)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        WorkError, match=rf"no server answers at http://127.0.0.1:{port} \(.*refused.*8501"
    ):
        ServedSampler(Rest(f"http://127.0.0.1:{port}", retries=1), "vae")
    with pytest.raises(WorkError, match=rf"no server is ready at 127.0.0.1:{port}.*8500"):
        ServedSampler(Grpc(f"127.0.0.1:{port}", retries=0), "vae")


@pytest.mark.parametrize("name", MODELS)
def test_the_warm_up_file_is_replayed(folder: Path, name: str) -> None:
    sampler = local(folder, name)
    path = folder / name / "2" / "assets.extra" / "tf_serving_warmup_requests"
    asked = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        (size,) = {len(value) for value in inputs.values()}
        outputs = sampler.call(request.model_spec.signature_name, **inputs)
        assert all(len(value) == size and np.isfinite(value).all() for value in outputs.values())
        asked.append((request.model_spec.signature_name, size))
    signatures = sampler.manifest["signatures"]
    names = ["serving_default", *signatures]
    assert sorted(asked) == sorted((key, n) for key in names for n in (1, 32))


def test_without_the_extra_there_is_no_warm_up_and_a_version(
    tmp_path: Path, monkeypatch: Any
) -> None:
    for module in ("tensorflow_serving", "tensorflow_serving.apis"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    path = export.publish(GAN(image_shape=SHAPE, latent_dim=2, **HIDDEN), tmp_path, "gan")
    assert not (path / "assets.extra").exists()
    assert Sampler(versions.find("gan", tmp_path)).number == 2
    with pytest.raises(UsageError, match=r"pip install '.\[serving\]'"):
        Grpc("localhost:8500")
