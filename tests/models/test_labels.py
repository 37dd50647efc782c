"""A label that is no class is an error wherever the labels come from, with XLA too."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.families import IMAGES, classifier, compiled, gan, vae
from tests.told import fails
from tfgen.errors import UsageError

pytestmark = pytest.mark.newest

WRONG = np.full(len(IMAGES), 3)
MODELS: dict[str, Callable[[], Any]] = {
    "classifier": classifier,
    "vae": lambda: vae(num_classes=3),
    "gan": lambda: gan(num_classes=3),
}


class Batches(keras.utils.PyDataset):
    """Two batches of images with wrong labels."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return IMAGES[16 * index :][:16], WRONG[16 * index :][:16]


def generated() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield IMAGES, WRONG


SOURCES: dict[str, Callable[[Any], Any]] = {
    "arrays": lambda verb: verb(IMAGES, WRONG, verbose=0),
    "tf.data": lambda verb: verb(
        tf.data.Dataset.from_tensor_slices((IMAGES, WRONG)).batch(16), verbose=0
    ),
    "PyDataset": lambda verb: verb(Batches(), verbose=0),
    "generator": lambda verb: verb(generated(), verbose=0),
}


def refuses(model: Any, call: Callable[[], Any]) -> None:
    """Asserts that the call fails for its labels and leaves the weights as they were."""
    weights = model.get_weights()
    with pytest.raises((tf.errors.InvalidArgumentError, UsageError)) as caught:
        call()
    lines = [line for line in str(caught.value).splitlines() if "0…2" in line]
    assert lines, f"no line names the classes: {caught.value}"
    for weight, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, before)


# The check is the same code for all families, outside of what XLA compiles.
@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [*((name, False) for name in MODELS), ("vae", True)],
    ids=[*(f"{name}-graph" for name in MODELS), "vae-XLA"],
)
def test_wrong_labels_are_refused(name: str, jit_compile: bool) -> None:
    # One model for all sources, because tracing it takes most of the time.
    model = compiled(MODELS[name](), jit_compile=jit_compile)
    sources = SOURCES if name == "classifier" else {"tf.data": SOURCES["tf.data"]}
    for call in sources.values():
        refuses(model, lambda call=call: call(model.fit))
        refuses(model, lambda call=call: call(model.evaluate))
    for verb in (model.train_on_batch, model.test_on_batch):
        fails(lambda verb=verb: verb(IMAGES, WRONG), "label", "0…2")
        fails(lambda verb=verb: verb(IMAGES, -WRONG), "label", "0…2")
    right = model.train_on_batch(IMAGES, WRONG - 1, return_dict=True)
    assert np.all(np.isfinite(list(right.values())))


def test_steps_within_one_execution_check_their_labels() -> None:
    model = compiled(classifier(), jit_compile=True, steps_per_execution=2)
    refuses(model, lambda: model.fit(IMAGES, WRONG, batch_size=16, verbose=0))


def test_prediction_checks_labels() -> None:
    for jit_compile in (False, True):
        model = compiled(vae(num_classes=3), jit_compile=jit_compile)
        refuses(model, lambda model=model: model.predict((IMAGES, WRONG), verbose=0))
