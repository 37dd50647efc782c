"""Solvers of ordinary differential equations with a fixed number of steps."""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

State: TypeAlias = tuple[tf.Tensor, ...]
# Time, a scalar in 0…1, and a state → the derivatives of the state's tensors.
Derivative: TypeAlias = Callable[[tf.Tensor, State], State]


def solve(
    derivative: Derivative, state: State, start: float, end: float, steps: int, solver: str
) -> State:
    """The state at time `end` of the solution that begins with `state` at time `start`.

    The steps are a loop of the graph, whose size does not depend on their number. The derivative is
    in the graph once, as a function that a step calls.

    Args:
        derivative: the right-hand side of dx/dt = f(t, x).
        state: the tensors x at `start`.
        start: first time.
        end: last time; it may be less than `start`.
        steps: number of steps, all of the same length.
        solver: a name in `SOLVERS`.

    Returns:
        Tensors of the shapes of `state`.
    """
    length, dtype = (end - start) / steps, state[0].dtype
    specs = (tf.TensorSpec([], dtype), tuple(map(tf.TensorSpec.from_tensor, state)))
    function = tf.function(derivative, autograph=False).get_concrete_function(*specs)

    def step(index: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        time = start + length * tf.cast(index, dtype)
        return index + 1, SOLVERS[solver](function, time, state, length)

    first = tf.constant(0), state
    return tf.while_loop(lambda index, _: index < steps, step, first, parallel_iterations=1)[1]


def euler_step(derivative: Derivative, time: tf.Tensor, state: State, length: float) -> State:
    """x + h f(t, x): one evaluation, error O(h) over the whole solution."""
    return _moved(state, derivative(time, state), length)


def midpoint_step(derivative: Derivative, time: tf.Tensor, state: State, length: float) -> State:
    """x + h f(t + h/2, x + h/2 f(t, x)): two evaluations, error O(h²)."""
    middle = euler_step(derivative, time, state, length / 2)
    return _moved(state, derivative(time + length / 2, middle), length)


def heun_step(derivative: Derivative, time: tf.Tensor, state: State, length: float) -> State:
    """x + h/2 (f(t, x) + f(t + h, x + h f(t, x))): two evaluations, error O(h²)."""
    first = derivative(time, state)
    second = derivative(time + length, _moved(state, first, length))
    return _moved(_moved(state, first, length / 2), second, length / 2)


def rk4_step(derivative: Derivative, time: tf.Tensor, state: State, length: float) -> State:
    """The classical Runge–Kutta method: four evaluations, error O(h⁴)."""
    first = derivative(time, state)
    second = derivative(time + length / 2, _moved(state, first, length / 2))
    third = derivative(time + length / 2, _moved(state, second, length / 2))
    last = derivative(time + length, _moved(state, third, length))
    slopes = zip(first, second, third, last, strict=True)
    return _moved(state, tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in slopes), length)


def _moved(state: State, slopes: State, length: float) -> State:
    return tuple(x + length * slope for x, slope in zip(state, slopes, strict=True))


SOLVERS = {"euler": euler_step, "midpoint": midpoint_step, "heun": heun_step, "rk4": rk4_step}
