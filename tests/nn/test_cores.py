"""Divided cores: what runs at the same time, and with which results."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import PATIENCE
from tfgen.errors import UsageError
from tfgen.nn import cores
from tfgen.system import machine

# A limit that no batch here reaches.
MOST = 1000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads of an operation that TensorFlow is told, on 6 cores."""
    numbers: list[int] = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(cores, "_concurrent_parts", 1)
    monkeypatch.setattr(cores, "_LEAST_ROWS", 4)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(
        tf.config.threading, "set_intra_op_parallelism_threads", lambda n: numbers.append(n)
    )
    monkeypatch.setattr(machine, "has_avx512", lambda: True)
    with cores.speedups(True):
        yield numbers


INPUTS = {"x": tf.TensorSpec([None], tf.int64), "y": tf.TensorSpec([None, 2], tf.float32)}


@tf.function(input_signature=list(INPUTS.values()), autograph=False)
def rows_and_sums(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
    """For each row, the number of rows in its part and the sum of its inputs."""
    rows = tf.shape(x)[0]
    return {"rows": tf.fill([rows], rows), "sums": tf.cast(x, tf.float32)[:, None] + y}


def rows_per_part(rows: int, most: int = MOST, function: Any = rows_and_sums) -> np.ndarray:
    """For each row, the number of rows in its part. The sums are checked."""
    x = np.arange(rows)
    y = np.random.default_rng(0).standard_normal((rows, 2), np.float32)
    outputs = cores.PartedFunction(function.get_concrete_function(), INPUTS, most)(x=x, y=y)
    np.testing.assert_array_equal(outputs["sums"], x.astype(np.float32)[:, None] + y)
    return outputs["rows"]


@pytest.mark.parametrize(("parts", "share", "size"), [(2, 3, 50), (3, 2, 34)])
def test_as_many_parts_as_the_cores_are_divided_into(
    parts: int, share: int, size: int, threads: list[int]
) -> None:
    cores.share_cores(parts)
    assert threads == [share]
    np.testing.assert_array_equal(rows_per_part(100), np.full(100, size))


@pytest.mark.parametrize(("rows", "size"), [(8, 4), (60, 30), (61, 16), (101, 26)])
def test_a_part_has_at_most_so_many_rows(rows: int, size: int, threads: list[int]) -> None:
    cores.share_cores()
    np.testing.assert_array_equal(rows_per_part(rows, most=30), np.full(rows, size))


def test_short_graphs_stay_whole_without_avx512(
    threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores.share_cores()
    monkeypatch.setattr(machine, "has_avx512", lambda: False)
    assert set(rows_per_part(60)) == {60}
    monkeypatch.setattr(cores, "_LONG_GRAPH", 1)
    assert set(rows_per_part(60)) == {30}


def test_no_more_parts_than_cores(threads: list[int]) -> None:
    cores.share_cores(100)
    assert threads == [1]
    assert set(rows_per_part(6 * 8)) == {8}


@pytest.mark.skipif(CORES < 2, reason="one core runs one operation at a time")
def test_the_parts_are_computed_at_the_same_time(threads: list[int]) -> None:
    cores.share_cores()
    # It breaks if the second part waits for the first.
    barrier = threading.Barrier(2, timeout=PATIENCE)
    weight = tf.Variable(1, dtype=tf.int64)  # as exports have weights

    def meet(x: np.ndarray) -> np.ndarray:
        barrier.wait()
        return x

    @tf.function(input_signature=list(INPUTS.values()), autograph=False)
    def function(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        met = tf.numpy_function(meet, [x * weight], tf.int64, stateful=False)
        return rows_and_sums(tf.ensure_shape(met, [None]), y)

    assert set(rows_per_part(32, function=function)) == {16}


def test_inputs_of_different_lengths_are_refused(threads: list[int]) -> None:
    cores.share_cores()
    function = cores.PartedFunction(rows_and_sums.get_concrete_function(), INPUTS, MOST)
    with pytest.raises(UsageError, match="numbers of rows: x has 100, y has 99"):
        function(x=np.arange(100), y=np.zeros((99, 2), np.float32))
