"""A label that is no class is an error in training, evaluation and prediction, with XLA too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.families import IMAGES, compiled, gan, vae
from tfgen.errors import UsageError

WRONG = np.full(len(IMAGES), 3)
MODELS: dict[str, Callable[[], Any]] = {
    "gan": lambda: compiled(gan(num_classes=3)),
    "steps within one execution": lambda: compiled(
        vae(num_classes=3), jit_compile=True, steps_per_execution=2
    ),
}


# The check is the same code for all families, outside of what XLA compiles.
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_wrong_labels_are_refused(name: str) -> None:
    model = MODELS[name]()
    weights = model.get_weights()
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, WRONG)).batch(16)
    for verb in (model.fit, model.evaluate, model.predict):
        with pytest.raises((tf.errors.InvalidArgumentError, UsageError), match="0…2"):
            verb(batches, verbose=0)
    np.testing.assert_equal(model.get_weights(), weights)
    for verb in (model.train_on_batch, model.test_on_batch):
        refuses(lambda verb=verb: verb(IMAGES[:16], WRONG[:16]), "label", "0…2")
        refuses(lambda verb=verb: verb(IMAGES[:16], -WRONG[:16]), "label", "0…2")
    history = model.fit(IMAGES, WRONG - 1, batch_size=16, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
