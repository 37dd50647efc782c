"""The checks of the tests' own notebook; they import no TensorFlow."""

from collections.abc import Callable

from notebooks.checks import Mistake, exercise


@exercise(points=2)
def check_double(double: Callable[[int], int]) -> None:
    if double(3) - 9 == 0:
        raise Mistake("that is the square; add x to itself")
    if double(3) != 6:
        raise Mistake("double(3) is not 6")


@exercise(points=3)
def check_quadruple(quadruple: Callable[[int], int]) -> None:
    if quadruple(3) != 12:
        raise Mistake("quadruple(3) is not 12")
