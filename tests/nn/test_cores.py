"""Divided cores: what runs at the same time, and with which results."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from tfgen.nn import cores
from tfgen.sampling import Arrays

pytestmark = pytest.mark.quick

# A limit that no batch here reaches.
MOST = 1000


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads of an operation that TensorFlow is told, on 6 cores."""
    numbers: list[int] = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(cores, "_parts", 1)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(
        tf.config.threading, "set_intra_op_parallelism_threads", lambda n: numbers.append(n)
    )
    with cores.speedups(True):
        yield numbers


def rows_and_sums(x: np.ndarray, y: np.ndarray) -> Arrays:
    return {"rows": np.full(len(x), len(x)), "sums": x + y}


def inputs(rows: int) -> Arrays:
    return {"x": np.arange(rows), "y": 10 * np.arange(rows)}


@pytest.mark.parametrize(("parts", "share", "rows"), [(2, 3, [50, 50]), (3, 2, [34, 33, 33])])
def test_as_many_parts_as_the_cores_are_divided_into(
    parts: int, share: int, rows: list[int], threads: list[int]
) -> None:
    cores.share_cores(parts)
    assert threads == [share]
    outputs = cores.in_parts(rows_and_sums, inputs(100), MOST)
    np.testing.assert_array_equal(outputs["rows"], np.repeat(rows, rows))
    np.testing.assert_array_equal(outputs["sums"], 11 * np.arange(100))


def test_each_thread_computes_several_parts_of_a_large_batch(threads: list[int]) -> None:
    cores.share_cores()
    names: dict[int, str] = {}

    def remember(x: np.ndarray, y: np.ndarray) -> Arrays:
        names[x[0]] = threading.current_thread().name
        return rows_and_sums(x, y)

    outputs = cores.in_parts(remember, inputs(101), 30)
    np.testing.assert_array_equal(outputs["rows"], np.repeat([26, 25], [26, 75]))
    np.testing.assert_array_equal(outputs["sums"], 11 * np.arange(101))
    first, second, third, fourth = (name for _, name in sorted(names.items()))
    assert first == second != third == fourth


def test_no_more_parts_than_cores(threads: list[int]) -> None:
    cores.share_cores(100)
    assert threads == [1]
    assert set(cores.in_parts(rows_and_sums, inputs(6 * 16), MOST)["rows"]) == {16}


def test_the_parts_are_computed_at_the_same_time(threads: list[int]) -> None:
    cores.share_cores()
    barrier = threading.Barrier(2, timeout=60)  # breaks if the second part waits for the first

    def meet(x: np.ndarray, y: np.ndarray) -> Arrays:
        barrier.wait()
        return rows_and_sums(x, y)

    outputs = cores.in_parts(meet, inputs(32), MOST)
    np.testing.assert_array_equal(outputs["sums"], 11 * np.arange(32))


@pytest.mark.parametrize("rows", [0, 1, 31])
def test_a_small_batch_is_computed_at_once(rows: int, threads: list[int]) -> None:
    cores.share_cores()
    outputs = cores.in_parts(rows_and_sums, inputs(rows), MOST)
    np.testing.assert_array_equal(outputs["rows"], np.full(rows, rows))


@pytest.mark.parametrize("case", ["not asked for", "switched off", "set by the user", "a GPU"])
def test_cores_that_are_not_divided(
    case: str, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "set by the user":
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    if case == "a GPU":
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["a GPU"])
    with cores.speedups(case != "switched off"):
        if case != "not asked for":
            cores.share_cores()
        outputs = cores.in_parts(rows_and_sums, inputs(100), MOST)
    assert not threads
    assert set(outputs["rows"]) == {100}


def test_batches_are_whole_where_they_are_not_to_be_split(threads: list[int]) -> None:
    cores.share_cores(split_batches=False)
    assert threads == [3]
    assert set(cores.in_parts(rows_and_sums, inputs(100), MOST)["rows"]) == {100}


def test_the_switch_works_after_the_cores_were_divided(threads: list[int]) -> None:
    cores.share_cores()
    with cores.speedups(False):
        assert set(cores.in_parts(rows_and_sums, inputs(100), MOST)["rows"]) == {100}


@pytest.mark.parametrize("first", [0, 50])
def test_an_error_in_a_part_is_raised(first: int, threads: list[int]) -> None:
    cores.share_cores()
    ended: list[int] = []

    def fail(x: np.ndarray, y: np.ndarray) -> Arrays:
        if x[0] == first:
            raise ZeroDivisionError
        ended.append(x[0])
        return rows_and_sums(x, y)

    with pytest.raises(ZeroDivisionError):
        cores.in_parts(fail, inputs(100), MOST)
    assert ended == [50 - first]  # The other part has ended.
