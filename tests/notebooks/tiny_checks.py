"""The checks of the tests' own notebook; they import no TensorFlow."""

import numpy as np

from notebooks.checks import exercise
from notebooks.checks._arrays import size
from notebooks.checks._compare import Answer, Mistake, numbers


@exercise(points=2)
def check_double(answer: Answer, rng: np.random.Generator) -> None:
    x = size(rng, 3, 99)
    value = numbers(answer(x)[0])
    if value == x**2:
        raise Mistake("that is the square; add x to itself")
    if value != 2 * x:
        raise Mistake("double(x) is not x + x")


@exercise(points=3, stand_ins={"double": "lambda x: 3 * x"})
def check_quadruple(answer: Answer, rng: np.random.Generator, stood_in: bool = False) -> None:
    x = size(rng, 3, 99)
    if numbers(answer(x)[0]) != (9 if stood_in else 4) * x:
        raise Mistake("quadruple(x) is not double(double(x))")
