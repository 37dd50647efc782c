"""The cost of a run before it starts: what is said, and that no image is decoded."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from tests import commands
from tests.conftest import Trained
from tfgen.data.load import load
from tfgen.data.reading import Prepared
from tfgen.system import machine
from tfgen.training import cost, memory


def test_a_blank_data_set_is_like_the_loaded_one_and_decodes_nothing(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("tiny", tiny_data)
    monkeypatch.setattr(Prepared, "batches", None)
    blank = cost.blank_dataset("tiny", tiny_data)
    for name in ("name", "version", "image_shape", "num_classes"):
        assert getattr(blank, name) == getattr(loaded, name)
    for split in ("train", "validation", "test"):
        assert len(getattr(blank, split)) == len(getattr(loaded, split))


def test_memory_of_a_graph_is_that_of_the_tensors_that_are_alive_together() -> None:
    @tf.function
    def graph(x: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        double = 2 * x
        successor = tf.reshape(double + 1, [10, 100])  # has no memory of its own
        product = tf.reshape(double, [10, 100]) * successor  # beside double and successor
        last = tf.exp(product)  # successor and double are not needed any more
        return tf.reduce_sum(last) + 0 * tf.cast(steps, tf.float32)

    specs = tf.TensorSpec([1000], tf.float32), tf.TensorSpec([], tf.int32)
    peak = memory.peak_bytes(graph.get_concrete_function(*specs).graph)
    assert peak == pytest.approx(3 * 4000, abs=100)  # and a few scalars


def test_what_does_not_fit_into_memory_is_told_before_it_is_allocated(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 24 * 10**9)
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 10**12)
    monkeypatch.setattr(cost, "measure", None)
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    before = machine.peak_mib()
    assert commands.main("train", [*words, "--dry-run", "--hidden", "100000", "100000"]) == 0
    assert machine.peak_mib() - before < 2000
    lines = capsys.readouterr().out.splitlines()
    (warning,) = (line for line in lines if line.startswith("warning"))
    # 10 billion weights in the encoder and as many in the decoder, the two moments of Adam, and the
    # gradients, which the halves of a batch may have on their own: 320 to 480 GB.
    needed, unit = re.search(r"about ([\d.]+) (\w+) of memory", warning).groups()
    assert unit == "GB" and 320 <= float(needed) < 480
    assert "24 GB" in warning and "smaller model" in warning
    (row,) = (line.split(maxsplit=1) for line in lines if line.startswith("parameters"))
    assert row[1].startswith("20,0")


def test_a_batch_that_does_not_fit_is_told_with_one_that_does(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "BASE", 0)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 200_000)
    monkeypatch.setattr(cost, "_MEASURED_SECONDS", 0.01)
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    words += ["--dry-run", "--hidden", "4", "--batch-size"]
    assert commands.main("train", [*words, "300"]) == 0
    (fitting,) = re.findall(r"^warning.*--batch-size (\d+) fits", capsys.readouterr().out, re.M)
    assert 0 < int(fitting) < 300
    assert commands.main("train", [*words, fitting]) == 0
    assert "warning" not in capsys.readouterr().out
    assert commands.main("train", [*words, str(int(fitting) + 20)]) == 0
    assert "warning" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--dry-run", "--no-publish"])
def test_too_little_disk_space_is_reported(
    flag: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "free_disk_bytes", lambda path: 1000)
    monkeypatch.setattr(cost, "_MEASURED_SECONDS", 0.01)
    words = ["vae", "--preset", "mlp", "--dataset", "tiny", "--data-dir", str(trained.data)]
    words += ["--hidden", "4", "--epochs", "1", "--run-dir", str(tmp_path / "run"), flag]
    assert commands.main("train", words) == 0
    (line,) = (row for row in capsys.readouterr().out.splitlines() if row.startswith("warning"))
    assert str(tmp_path) in line and "--run-dir" in line
    assert (tmp_path / "run").exists() == (flag != "--dry-run")
