"""Callbacks of Keras."""

from collections.abc import Callable

import keras

from tests.models.verbs.case import Case, Verb, differ, weights


def call_back(make: Callable[[Case, str], keras.callbacks.Callback], *files: str) -> Verb:
    """A verb that trains with a callback of Keras.

    Args:
        make: the callback of a case and of the logged value to watch.
        files: patterns of files that the callback writes in the case's folder.
    """

    def verb(case: Case) -> None:
        model = case.model()
        member = make(case, f"val_{model.logged[0]}")
        case.trains(model, validation_data=(case.images, case.labels), callbacks=[member])
        assert all(list(case.folder.rglob(pattern)) for pattern in files)

    return verb


def early_stopping(case: Case) -> None:
    model, snapshots = case.model(optimizer=keras.optimizers.SGD(1e-2)), []

    def rise(epoch: int, logs: dict[str, float]) -> None:
        snapshots.append(weights(model))
        logs["rising"] = epoch

    stopping = keras.callbacks.EarlyStopping("rising", restore_best_weights=True, mode="min")
    members = [keras.callbacks.LambdaCallback(on_epoch_end=rise), stopping]
    case.fit(model, callbacks=members, epochs=5)
    assert len(snapshots) == 2
    assert not differ(weights(model), snapshots[0])
    # Whatever is no weight, such as the number of steps, stays as the training left it.
    assert {int(o.iterations) for o in model.optimizers.values()} == {int(model.step)}


CALLBACKS: dict[str, Verb] = {
    "BackupAndRestore": call_back(
        lambda case, _: keras.callbacks.BackupAndRestore(case.folder, delete_checkpoint=False), "*"
    ),
    "CSVLogger": call_back(lambda case, _: keras.callbacks.CSVLogger(case.folder / "log"), "log"),
    "EarlyStopping": early_stopping,
    "LambdaCallback": call_back(
        lambda case, _: keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: (case.folder / "end").touch()
        ),
        "end",
    ),
    "LearningRateScheduler": call_back(
        lambda *_: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    ),
    "ModelCheckpoint": call_back(
        lambda case, name: keras.callbacks.ModelCheckpoint(
            case.folder / "best.keras", monitor=name, mode="min", save_best_only=True
        ),
        "best.keras",
    ),
    "ReduceLROnPlateau": call_back(
        lambda _, name: keras.callbacks.ReduceLROnPlateau(name, mode="min")
    ),
    "TensorBoard": call_back(
        lambda case, _: keras.callbacks.TensorBoard(case.folder), "events.out.tfevents*"
    ),
    "TerminateOnNaN": call_back(lambda *_: keras.callbacks.TerminateOnNaN()),
}
