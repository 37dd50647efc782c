"""What Keras's ways of saving do for an image model: `.keras` files, weights, SavedModels."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras

from tfgen.errors import UsageError
from tfgen.models.export import in_float32, trace, write_saved_model
from tfgen.nn.average import MovingAverage
from tfgen.nn.layers import Dropout
from tfgen.settings.model import ModelConfig
from tfgen.system.atomic import fresh_folder, publish

_SAVED_MODEL = "tf_saved_model"


class SavableModel(keras.Model):
    """The part of `ImageModel` that saves and loads.

    A `.keras` file and a `.weights.h5` file hold everything that training goes on from: weights,
    EMA, count of steps and optimizers.
    """

    Config: ClassVar[type[ModelConfig]]
    config: ModelConfig
    seed: int
    step: keras.Variable
    _given: dict[str, Any]
    _average: MovingAverage | None

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights, the EMA among them, without the counts of steps and of dropout's calls.

        Thus `set_weights`, with which `EarlyStopping(restore_best_weights=True)` goes back to
        earlier weights, leaves these counts where they are, as Keras leaves those of the optimizer
        and of its own dropout.
        """
        dropouts = (part for part in self._flatten_layers() if isinstance(part, Dropout))
        counts = [getattr(part, "calls", None) for part in dropouts]
        excluded = {id(count) for count in (getattr(self, "step", None), *counts)}
        return [weight for weight in super().weights if id(weight) not in excluded]

    def saved_weights(self) -> list[keras.Variable]:
        """The weights and these counts, in the order of a checkpoint."""
        self._complete_average()
        weights: list[keras.Variable] = super().weights
        return weights

    def get_weights(self) -> list[Any]:
        """The values of `weights`, as NumPy arrays."""
        self._complete_average()
        values: list[Any] = super().get_weights()
        return values

    def reset_metrics(self) -> None:
        """Resets the metrics; Keras calls it before each pass, outside of traced graphs."""
        super().reset_metrics()
        self._complete_average()

    def start_from(self, source: "SavableModel") -> None:
        """Takes over the weights of another model, so that training starts from them.

        They are the weights with which `source` is evaluated: their EMA, if it has one. The EMA of
        this model starts at them. Optimizers and counts of steps stay as they are.

        Args:
            source: a model of tfgen with networks of the same shapes.

        Raises:
            UsageError: it is no such model, or its weights have other shapes.
        """
        if not isinstance(source, SavableModel):
            raise UsageError(
                f"a training cannot start from a {type(source).__name__}; pass a model of tfgen, "
                "or use tfgen-train --start-from for a published version"
            )
        own, values = self._network_weights(), source._network_weights()
        if [tuple(value.shape) for value in values] != [tuple(weight.shape) for weight in own]:
            raise UsageError(f"the weights to start from {_contrast(source, self)}")
        averages = source.averages_by_weight
        for weight, value in zip(own, values, strict=True):
            weight.assign(averages.get(id(value), value).value)
        if self._average is not None:
            self._average.start()

    @property
    def averages_by_weight(self) -> dict[int, Any]:
        """The EMA of each weight that has one, by the weight's `id`."""
        return {} if self._average is None else self._average.by_variable

    def _network_weights(self) -> list[keras.Variable]:
        """The weights without their EMA, counts and seeds."""
        excluded = {id(average) for average in self.averages_by_weight.values()}
        is_float = keras.backend.is_float_dtype
        return [w for w in self.weights if id(w) not in excluded and is_float(w.dtype)]

    def _complete_average(self) -> None:
        average = getattr(self, "_average", None)
        if average is not None:
            average.complete()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the caller's own parts included."""
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(part) for name, part in self._given.items()}
        policy = serialize(self.dtype_policy)
        return {
            **self.config.to_json(),
            "seed": self.seed,
            "name": self.name,
            "dtype": policy,
            **parts,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` describes, untrained."""
        arguments = {
            key: keras.saving.deserialize_keras_object(value) for key, value in config.items()
        }
        return cls(**cls.Config.upgrade(arguments))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the saved model was compiled; part of `keras.saving.load_model`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def save(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Saves the model as a `.keras` file, as `keras.Model.save` does.

        Raises:
            UsageError: the file would be an HDF5 file, which has no place for the parts of a model
                that is not a chain of Keras's own layers.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise UsageError(
                f"{filepath} is not a .keras file; a {type(self).__name__} is saved as .keras, its "
                "weights alone by save_weights as .weights.h5"
            )
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        """Saves the EMA and the count of steps; part of `save` and `save_weights`."""
        self._complete_average()
        super().save_own_variables(store)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Loads what `save_own_variables` saved, in files of earlier versions too."""
        if self._average is not None:
            size = len(self._trainable_variables) + len(self._non_trainable_variables)
            store = self._average.from_file(store, size)
        super().load_own_variables(store)

    def export(
        self,
        filepath: str | Path,
        format: str = _SAVED_MODEL,
        verbose: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes a SavedModel of the model's `signatures`, in float32 whatever its policy.

        `tf.saved_model.load(filepath).signatures` runs it where TensorFlow alone is installed.

        Args:
            filepath: folder of the SavedModel; one that is there already is replaced.
            format: `tf_saved_model`.
            verbose: whether to print the names of the signatures.
            **kwargs: none; a tfgen model has signatures of its own.

        Raises:
            UsageError: another format or argument is passed, the folder holds something else, or
                the caller's own network cannot be rebuilt in float32.
        """
        folder = Path(filepath)
        if kwargs:
            raise UsageError(
                f"export takes no {', '.join(kwargs)}: a {type(self).__name__} has the signatures "
                "of its own method signatures()"
            )
        if format != _SAVED_MODEL:
            raise UsageError(f"export cannot write the format {format!r}; use {_SAVED_MODEL!r}")
        is_saved_model = (folder / "saved_model.pb").exists()
        if folder.exists() and not is_saved_model and not _is_empty_folder(folder):
            raise UsageError(f"{folder} exists and is no SavedModel; choose another folder")
        plain = in_float32(self)
        traced = trace(plain)
        with fresh_folder(folder.absolute().parent, "writing") as temporary:
            write_saved_model(plain, traced, temporary)
            shutil.rmtree(folder, ignore_errors=True)
            publish(temporary, folder)
        if verbose:
            print(f"exported {folder} with the signatures {', '.join(traced)}")


def _contrast(source: SavableModel, model: SavableModel) -> str:
    """Why the weights of `source` do not fit `model`, as the end of a message."""
    if type(source.config) is not type(model.config):
        return f"are of a {type(source).__name__}, not of a {type(model).__name__}"
    theirs, own = source.config.to_json(), model.config.to_json()
    settings = [
        f"{name} = {theirs[name]} there, {own[name]} here"
        for name in own
        if own[name] != theirs[name]
    ]
    differ = f"; settings that differ: {'; '.join(settings)}" if settings else ""
    return f"have other shapes{differ}"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
