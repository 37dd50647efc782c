"""Arguments of `compile`, and optimizers."""

import functools
from collections.abc import Callable

import keras
import numpy as np

from tests.models.verbs.case import Case, differ, weights
from tfgen import Classifier


def compile_graph(case: Case) -> None:
    case.trains(case.model(run_eagerly=False))


def compile_jit(case: Case) -> None:
    case.trains(case.model(run_eagerly=False, jit_compile=True))


def compile_steps_per_execution(case: Case) -> None:
    case.trains(case.model(run_eagerly=False, steps_per_execution=2))


def compile_metrics(case: Case) -> None:
    of_logits = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2")
    of_images = keras.metrics.MeanSquaredError("squared_error")
    model = case.model(metrics=[of_logits if case.family is Classifier else of_images])
    history = case.fit(model, validation_data=(case.images, case.labels)).history
    assert len(history) == 2 * (len(model.logged) + 1)


def compile_loss(case: Case) -> None:
    case.model(loss="mse")


def optimizer_use_ema(case: Case) -> None:
    model = case.model(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    plain = case.model(optimizer=keras.optimizers.SGD(0.1))
    case.fit(model)
    case.fit(plain)
    for one, two in zip(model.layers, plain.layers, strict=True):
        if one.trainable_variables and not isinstance(one, keras.metrics.Metric):
            assert differ(weights(one), weights(two)), one.name


def optimizers_accumulate(case: Case) -> None:
    """Accumulates gradients with Keras's Adam, and with tfgen's."""
    keras_adam = keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2)
    case.trains(case.model(optimizer=keras_adam))
    model = case.model()
    accumulating = {
        name: type(optimizer).from_config(
            {**optimizer.get_config(), "gradient_accumulation_steps": 2}
        )
        for name, optimizer in model.optimizers.items()
    }
    model.compile(run_eagerly=True, **accumulating)
    case.trains(model)


def train_with_each(case: Case) -> None:
    """Makes a step with each optimizer of Keras, one after the other."""
    model = case.model()
    for optimizer in OPTIMIZERS:
        case.compile(model, optimizer=optimizer())
        before = weights(model)
        logs = model.train_on_batch(*case.batches[0], return_dict=True)
        assert differ(weights(model), before), optimizer
        assert all(np.isfinite(weight).all() for weight in weights(model)), optimizer
        assert np.isfinite([float(value) for value in logs.values()]).all(), optimizer


OPTIMIZERS: list[Callable[[], keras.optimizers.Optimizer]] = [
    keras.optimizers.SGD,
    keras.optimizers.RMSprop,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adadelta,
    keras.optimizers.Adagrad,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
    keras.optimizers.Lamb,
    keras.optimizers.Muon,
    # With Keras's default, it divides by 0 where a row and a column of a gradient are 0.
    functools.partial(keras.optimizers.Adafactor, epsilon_1=1e-15),
    functools.partial(keras.optimizers.Adam, clipnorm=1.0),
]
# As the document writes them.
OPTIMIZER_NAMES = (
    "`SGD`, `RMSprop`, `Adam`, `AdamW`, `Adadelta`, `Adagrad`, `Adamax`, `Nadam`, `Ftrl`, `Lion`, "
    "`Lamb`, `Muon`, `Adafactor` with `epsilon_1=1e-15`, `clipnorm`"
)
