import itertools
from collections.abc import Iterator

import pytest

from tfgen.data import parallel
from tfgen.data.parallel import map_in_order, map_short, parts_of

pytestmark = pytest.mark.quick


def test_results_come_in_order() -> None:
    squares = [n * n for n in range(1000)]
    assert list(map_in_order(lambda n: n * n, range(1000))) == squares
    assert list(map_short(lambda n: n * n, range(1000))) == squares
    assert list(map_short(str, [])) == []


def test_only_a_bounded_number_of_items_is_ahead_of_the_results(monkeypatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 3)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in itertools.count():
            taken.append(n)
            yield n

    results = map_in_order(lambda n: n, items())
    for expected in range(50):
        assert next(results) == expected
        assert len(taken) <= expected + 3 * parallel._WAITING
    results.close()


def test_an_error_ends_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 / (50 - n), range(100)))


def test_parts_are_consecutive() -> None:
    assert [list(part) for part in parts_of(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
