"""Training over two replicas is that of a single device with the batches of both.

The noise of an image is made a function of its pixels, because that of training is one of the
replica.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.models import distributed
from tests.models.distributed import CASES, OF_WORKERS

pytestmark = pytest.mark.slow

# Relative to the largest entry of an array.
LIMIT = 1e-4
# A bias before batch normalization has a gradient that is nothing but rounding: so far it may move.
ROUNDING = 1e-7
Results = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all cases: two logical CPUs, one device, and two processes."""
    folder = tmp_path_factory.mktemp("distributed")
    distributed.run(folder)
    return folder


def results(folder: Path, name: str) -> Results:
    """The results of a case by label."""
    labels = ["single", "mirrored"]
    if name in ("clipping", OF_WORKERS):
        labels += ["worker0", "worker1"]
    return {label: dict(np.load(folder / f"{name}-{label}.npz")) for label in labels}


@pytest.mark.parametrize("name", CASES)
def test_replicas_train_as_one_device(name: str, folder: Path) -> None:
    by_label = results(folder, name)
    single = by_label["single"]
    # The last validation of the others is the mean over all images in one batch.
    whole = {key for key in single if key.startswith("in one batch ")}
    for label, values in by_label.items():
        for key in single.keys() - whole:
            error = np.max(np.abs(values[key] - single[key]))
            allowed = LIMIT * np.max(np.abs(single[key])) + ROUNDING
            assert error <= allowed, f"{key} of {label} is off by {error}"
        for key in whole:
            last = values[f"log val_{key.removeprefix('in one batch ')}"][-1]
            np.testing.assert_allclose(last, single[key], rtol=LIMIT, err_msg=f"{key} of {label}")


def test_workers_end_alike_bit_for_bit(folder: Path) -> None:
    by_label = results(folder, OF_WORKERS)
    for key, expected in by_label["worker0"].items():
        np.testing.assert_array_equal(by_label["worker1"][key], expected, err_msg=key)


def test_the_example_trains_any_keras_model_over_two_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    done = commands.python([str(commands.ROOT / "examples" / "multi_worker.py")], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (line for line in done.stdout.splitlines() if line.startswith("[["))
    assert first == second
    losses, evaluated, predicted, _ = json.loads(first)
    assert losses[0] > losses[1] > losses[2] > evaluated and predicted == 64


def test_gradients_are_clipped_as_a_whole(folder: Path) -> None:
    by_label = results(folder, "clipping")
    whole = np.array([3.0, 4.0, 0.0])
    clipped = {
        "global_clipnorm": whole * 4.5 / 5,
        "clipnorm": whole * 3.9 / 5,
        "clipvalue": np.minimum(whole, 3.5),
    }
    for label, values in by_label.items():
        for name, expected in clipped.items():
            np.testing.assert_allclose(values[name], -expected, rtol=1e-6, err_msg=label)
        # No replica moves, though the gradient of the first one is finite.
        np.testing.assert_array_equal(values["not finite"], 0)
        np.testing.assert_array_equal(values["scale"], 4.0)
