"""What a verb of Keras is tried with: a small model of one family, and its data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tfgen import GAN, Classifier, Flow

BATCH = 4


@dataclass
class Case:
    """A family, and what its verbs are tried with.

    Attributes:
        family: the model class.
        fields: the fields of its configuration.
        images: `uint8[8, H, W, C]`.
        labels: `int[8]`; None if the model uses none.
        folder: an empty folder.
    """

    family: type
    fields: dict[str, Any]
    images: np.ndarray
    folder: Path
    labels: np.ndarray | None = field(init=False)

    def __post_init__(self) -> None:
        self.labels = np.arange(len(self.images)) % 3 if self.family is Classifier else None

    def model(self, **arguments: Any) -> Any:
        """A compiled model, whose steps run eagerly unless `arguments` of `compile` say otherwise.

        A step without a graph takes less time than tracing one.
        """
        model = self.family(**self.fields)
        if self.family is Flow:
            model.adapt(self.images)
        self.compile(model, **arguments)
        return model

    def compile(self, model: Any, **arguments: Any) -> None:
        """Compiles a model; both networks of a GAN get an `optimizer` of that configuration."""
        optimizers = model.default_optimizers(1e-3)
        if "optimizer" in arguments and self.family is GAN:
            first, second = (clone(arguments["optimizer"]) for _ in range(2))
            del arguments["optimizer"]
            optimizers = {"generator_optimizer": first, "discriminator_optimizer": second}
        model.compile(**{"run_eagerly": True, **optimizers, **arguments})

    @property
    def batches(self) -> list[Any]:
        """The data as a list of batches, as `fit` gets them from a generator."""
        slices = [slice(i, i + BATCH) for i in range(0, len(self.images), BATCH)]
        if self.labels is None:
            return [(self.images[part],) for part in slices]
        return [(self.images[part], self.labels[part]) for part in slices]

    def fit(self, model: Any, **arguments: Any) -> Any:
        """Trains one epoch of two steps in a fixed order, and returns the history."""
        if "x" not in arguments:
            arguments = {"x": self.images, "y": self.labels, "batch_size": BATCH, **arguments}
        return model.fit(**{"verbose": 0, "shuffle": False, **arguments})

    def trains(self, model: Any, **arguments: Any) -> None:
        """Asserts that `fit` makes two steps, moves weights, and logs finite values."""
        before, step = weights(model), int(model.step)
        history = self.fit(model, **arguments).history
        assert int(model.step) == step + 2
        assert differ(weights(model), before)
        assert history
        assert all(np.isfinite(values).all() for values in history.values())


Verb: TypeAlias = Callable[[Case], None]


def clone(optimizer: Any) -> Any:
    """A new optimizer of the same configuration."""
    return type(optimizer).from_config(optimizer.get_config())


def weights(model: Any) -> list[np.ndarray]:
    """The values of all trainable weights."""
    return [np.array(variable.numpy()) for variable in model.trainable_variables]


def differ(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether any two arrays differ."""
    return any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def assert_same(first: Any, second: Any) -> None:
    """Asserts that two models have equal weights and give equal outputs."""
    assert not differ(weights(first), weights(second))
