"""Arguments of `compile`, and optimizers."""

from typing import Any

import keras

from tests.models.verbs.case import Case, Verb, differ, weights
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


def train_with(optimizer: str, **arguments: Any) -> Verb:
    """A verb that trains with an optimizer of Keras."""

    def verb(case: Case) -> None:
        case.trains(case.model(optimizer=getattr(keras.optimizers, optimizer)(1e-2, **arguments)))

    return verb


OPTIMIZERS = [
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Muon",
]
