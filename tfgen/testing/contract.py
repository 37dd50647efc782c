"""What a check of the contract is, the list of all checks, and what they share."""

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfgen.models.generative import GenerativeModel

# A function of `seed`, `dtype` and `image_shape` that returns an untrained model.
Make: TypeAlias = Callable[..., Any]

# Number of images that a check trains on, and images per step.
IMAGES, BATCH_SIZE = 64, 16


@dataclass(frozen=True)
class Check:
    """A check of the contract.

    Attributes:
        name: its name, which says what must hold.
        function: its function, which takes `make`, images `uint8[N, H, W, C]`, and what the other
            attributes say.
        generative: whether it applies only to models that generate images.
        needs_folder: whether the function takes an empty folder.
        policy: the dtype policy that the function takes, or None.
    """

    name: str
    function: Callable[..., None]
    generative: bool = False
    needs_folder: bool = False
    policy: str | None = None

    def run(self, make: Make, folder: Path) -> None:
        """Runs the check on the models that `make` returns, in `folder`.

        An `AssertionError` says what does not hold.
        """
        arguments: list[Any] = [make, images_of(make().config.image_shape)]
        arguments += [folder] if self.needs_folder else []
        arguments += [self.policy] if self.policy else []
        self.function(*arguments)


# All checks by name.
CHECKS: dict[str, Check] = {}


def check(
    *, generative: bool = False, needs_folder: bool = False, policies: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that adds a function to `CHECKS`; see `Check`.

    Args:
        generative: whether it applies only to models that generate images.
        needs_folder: whether the function takes an empty folder.
        policies: dtype policies; each makes a check of its own, whose function takes it.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        for policy in policies or (None,):
            name = f"{function.__name__}-{policy}" if policy else function.__name__
            CHECKS[name] = Check(name, function, generative, needs_folder, policy)
        return function

    return register


# --- what the checks share ------------------------------------------------------------


@functools.cache
def images_of(shape: tuple[int, ...], n: int = IMAGES) -> np.ndarray:
    """Images of bars, at random positions and with random brightness.

    Args:
        shape: height, width, channels.
        n: number of images.

    Returns:
        `uint8[n, H, W, C]`.
    """
    generator = np.random.default_rng(0)
    images = np.zeros((n, *shape), np.uint8)
    for image in images:
        position, brightness = generator.integers(min(shape[:2])), generator.integers(128, 256)
        if generator.random() < 0.5:
            image[position] = brightness
        else:
            image[:, position] = brightness
    images.flags.writeable = False  # shared by all checks
    return images


def compiled(make: Make, eagerly: bool = False, **arguments: Any) -> Any:
    """A compiled model of `make(**arguments)`.

    Args:
        make: see `Make`.
        eagerly: whether its steps run without a graph. Tracing a graph takes longer than the few
            steps of a check. Only checks of what a graph may change therefore trace one.
        **arguments: arguments of `make`.
    """
    model = make(**arguments)
    model.compile(**model.default_optimizers(1e-3), run_eagerly=eagerly)
    return model


def labels_of(model: Any, n: int) -> np.ndarray | None:
    """Labels of n images, `int[n]`; None for a model that uses none."""
    return np.arange(n) % model.num_classes if model.num_classes else None


def fit(model: Any, images: np.ndarray, epochs: int = 1) -> None:
    """Trains a compiled model on images in their order."""
    labels = labels_of(model, len(images))
    model.fit(images, labels, batch_size=BATCH_SIZE, epochs=epochs, shuffle=False, verbose=0)


def evaluate(model: Any, images: np.ndarray) -> dict[str, float]:
    """The logged values of a compiled model for images, by name."""
    labels = labels_of(model, len(images))
    logs: dict[str, float] = model.evaluate(
        images, labels, batch_size=BATCH_SIZE, verbose=0, return_dict=True
    )
    return logs


def outputs_of(model: Any, images: np.ndarray) -> np.ndarray:
    """Samples of a generative model; the last output of any other model."""
    if isinstance(model, GenerativeModel):
        return np.asarray(model.sample(n=3))
    return np.asarray(tf.nest.flatten(model(images[:3]))[-1])


def state_of(model: Any) -> list[np.ndarray]:
    """All weights of a model and all variables of its optimizers."""
    variables = [v for optimizer in model.optimizers.values() for v in optimizer.variables]
    return [*model.get_weights(), *(variable.numpy() for variable in variables)]


def assert_equal(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Asserts that all arrays are equal, bit for bit."""
    for array, reference in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(array, reference)


def differ(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether any two arrays differ."""
    return any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
