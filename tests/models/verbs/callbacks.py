"""Callbacks of Keras."""

import keras
import numpy as np

from tests.models.verbs.case import Case, differ, weights


def call_back(case: Case) -> None:
    """Trains with all callbacks at once, and looks for their files."""
    callbacks, model = keras.callbacks, case.model()
    name, folder = f"val_{model.logged[0]}", case.folder
    members = [
        callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: (folder / "end").touch()),
        callbacks.LearningRateScheduler(lambda epoch, rate: 2 * rate),
        callbacks.ModelCheckpoint(folder / "best.keras", name, save_best_only=True, mode="min"),
        callbacks.ReduceLROnPlateau(name, mode="min"),
        callbacks.TensorBoard(folder / "tensorboard"),
        callbacks.TerminateOnNaN(),
    ]
    held_out = (case.images, case.labels)
    case.trains(model, validation_data=held_out, callbacks=members)
    assert float(model.optimizer.learning_rate) == np.float32(2e-3)
    for pattern in ("backup/*", "log.csv", "end", "best.keras", "tensorboard/**/events*"):
        assert list(folder.glob(pattern)), pattern


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


CALLBACK_NAMES = (
    "`BackupAndRestore`, `CSVLogger`, `LambdaCallback`, `LearningRateScheduler`, "
    "`ModelCheckpoint`, `ReduceLROnPlateau`, `TensorBoard`, `TerminateOnNaN`"
)
