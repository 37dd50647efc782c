"""What differs on a GPU. The devices are faked: everything runs on the CPU."""

import contextlib
import importlib
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from tests.commands import PACKAGE, python, refused
from tests.training.test_run import before_steps, config
from tfgen import VAE, FlowMatching
from tfgen.bijectors import InvertibleConvolution
from tfgen.data import train_batches
from tfgen.errors import WorkError
from tfgen.models.flow_matching import model as flow_matching
from tfgen.nn import cores, gpu
from tfgen.training import cost, plan
from tfgen.training import run as run_module
from tfgen.training.run import Run

DEVICE = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")


def fake(monkeypatch: pytest.MonkeyPatch, function: str, devices: list[Any]) -> None:
    """Makes TensorFlow's function tell these GPUs, beside the CPUs."""
    cpus = getattr(tf.config, function)("CPU")
    seen = {"GPU": devices, "CPU": cpus, None: [*cpus, *devices]}
    monkeypatch.setattr(tf.config, function, lambda kind=None: seen[kind])


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "list_physical_devices", [DEVICE])
    fake(monkeypatch, "get_visible_devices", [DEVICE])


@pytest.mark.parametrize("wanted", [True, False])
def test_xla_and_speedups_follow_the_devices_that_are_not_hidden(
    wanted: bool, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, "get_visible_devices", [DEVICE] * wanted)
    model = VAE(latent_dim=2, hidden=(8,))
    model.compile()
    assert model.jit_compile is wanted
    with cores.speedups(True):
        assert cores.enabled() is not wanted


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"epochs": 400}, True),
        ({"epochs": 1}, False),
        ({"epochs": 400, "minutes": 2.0}, False),
        ({"epochs": 1, "minutes": 60.0}, True),
        ({"epochs": 1, "xla": "on"}, True),
        ({"epochs": 400, "xla": "off"}, False),
    ],
)
def test_xla_is_for_runs_that_gain_by_it(
    options: dict[str, Any], wanted: bool, faked: None, tmp_path: Path
) -> None:
    request = config(tmp_path, tmp_path, **options)
    assert plan.compiled_model(request, None, steps=100).jit_compile is wanted
    assert plan.eval_batch_size(request, 630, wanted) == (315 if wanted else 500)


@pytest.mark.parametrize("other", ["--deterministic", "--strategy mirrored", "--ray 2"])
def test_xla_is_refused_where_it_is_not_used(other: str) -> None:
    refused("train", f"vae --xla on {other}".split(), "--xla on")


@pytest.mark.slow
def test_float32_is_computed_in_float32_and_memory_as_it_is_needed() -> None:
    program = "import os; from tfgen.system.quiet import import_quietly; tf, = import_quietly()"
    program += "; assert not tf.config.experimental.tensor_float_32_execution_enabled()"
    program += "; assert os.environ['TF_FORCE_GPU_ALLOW_GROWTH'] == 'true'"
    done = python(["-c", program], Path.cwd())
    assert done.returncode == 0, done.stderr


def products(convolution: InvertibleConvolution, x: tf.Tensor) -> set[tf.DType]:
    """The dtypes of the products and systems of equations in both directions."""
    both = tf.function(lambda x: (convolution.forward(x), convolution.inverse(x)))
    operations = both.get_concrete_function(x).graph.get_operations()
    names = ("MatMul", "BatchMatMulV2", "MatrixTriangularSolve")
    return {product.outputs[0].dtype for product in operations if product.type in names}


def test_what_must_be_undone_is_not_rounded_to_tf32(
    faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weights = [np.eye(4)[[2, 0, 3, 1]], *rng.normal(size=(2, 4, 4)), rng.normal(size=4)]
    convolution = InvertibleConvolution(*(tf.constant(w, tf.float32) for w in weights))
    x = tf.constant(rng.normal(size=(2, 3, 3, 4)), tf.float32)
    plain, name = convolution.forward(x), "tensor_float_32_execution_enabled"
    for rounded, dtype in ((False, tf.float32), (True, tf.float64)):
        monkeypatch.setattr(tf.config.experimental, name, lambda rounded=rounded: rounded)
        assert products(convolution, x) == {dtype}
        np.testing.assert_allclose(convolution.forward(x), plain, rtol=1e-4, atol=1e-4)
        assert convolution.forward(x).dtype == tf.float32


def test_records_name_the_gpu_and_its_memory(
    faked: None, monkeypatch: pytest.MonkeyPatch, tiny_data: Path, tmp_path: Path
) -> None:
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "get_device_details", lambda _: {"device_name": "Fast 9"})
    seen = {"gpus": ["Fast 9"], "tf32": experimental.tensor_float_32_execution_enabled()}
    assert gpu.hardware_record().items() >= seen.items()
    fake(monkeypatch, "list_logical_devices", [tf.config.LogicalDevice("/device:GPU:0", "GPU")])
    monkeypatch.setattr(experimental, "get_memory_info", lambda _: {"peak": 6 * 10**11})
    assert gpu.peak_mib() == round(6e11 / 2**20)
    # It is not compared with the memory of the host.
    table = cost.cost_table(config(tiny_data, tmp_path / "run"))
    (line,) = (line for line in table.splitlines() if line.startswith("memory"))
    assert line.split()[1:] == ["about", "600", "GB"]


def test_a_server_computes_two_requests_at_once_on_a_gpu(
    faked: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = importlib.import_module("tfgen.serving.app")
    settings = []
    monkeypatch.setattr(app, "create_app", lambda models, given, data_dir: settings.append(given))
    monkeypatch.setattr(app, "run", mock.Mock())
    serve = importlib.import_module(f"{PACKAGE}.serve")
    assert serve.main(["--port", "0", "--saved-models", str(tmp_path)]) in (0, None)
    assert settings[0].workers == 2


def test_all_cores_make_batches_beside_a_gpu(faked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with mock.patch.object(tf.data.Dataset, "map", autospec=True) as made:
        train_batches(np.zeros((8, 4, 4, 1), np.uint8), batch_size=4, seed=0)
    assert made.call_args.kwargs["num_parallel_calls"] == tf.data.AUTOTUNE


@pytest.mark.parametrize("is_mended", [True, False])
def test_a_step_may_overflow_in_float16_but_not_all(
    is_mended: bool, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_READ_EVERY", 0.0)
    options = {"precision": "mixed_float16"}
    run = Run(config(tiny_data, tmp_path / "run", **options), Console(quiet=True))
    weight, optimizer = run.model.trainable_variables[-1], run.model.optimizer
    before, scale = weight.numpy(), float(optimizer.dynamic_scale)
    spoil = before_steps(2, lambda: weight.assign(np.nan * before))
    mend = before_steps(3, lambda: weight.assign(before if is_mended else np.nan * before))
    is_refused = contextlib.nullcontext() if is_mended else pytest.raises(WorkError)
    with run.started(), is_refused:
        run.train([spoil, mend])
    assert optimizer.dynamic_scale < scale
    assert all(np.isfinite(row["loss"]) for row in run.folder.read_metrics())


def test_logged_values_are_read_now_and_then(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_READ_EVERY", 1e9)
    run = Run(config(tiny_data, tmp_path / "run"), Console(quiet=True))
    reading = mock.patch.object(Run, "_finite", autospec=True, side_effect=Run._finite)
    with reading as read, run.started():
        run.train()
    assert read.call_count == run.options.epochs


def test_sampling_by_flow_matching_is_traced_once() -> None:
    model = FlowMatching(hidden=(8,), architecture="dense", image_shape=(4, 4, 1), steps=2)
    with mock.patch.object(flow_matching, "solve", side_effect=flow_matching.solve) as solve:
        first = model.sample(n=3, seed=1)
        np.testing.assert_array_equal(model.sample(n=3, seed=1), first)
        model.set_weights([weight + 1 for weight in model.get_weights()])
        assert np.any(model.sample(n=3, seed=1) != first)
        assert solve.call_count == 1
        for size in (2, 2, 3, 4):
            images = np.zeros((size, 4, 4, 1), np.uint8)
            assert model.encode(images).shape == (size, 16)
            assert model.log_prob(images, draws=2).shape == (size,)
        assert solve.call_count <= 1 + 2 * 2  # once more for batches of another size
        solve.reset_mock()
        model.set_sampling(steps=1)
        model.sample(n=3, seed=1)
        assert solve.call_count == 1
