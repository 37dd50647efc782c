"""Publishing: which operations a model may have, float32, and the name's signatures."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.config import model_server_config_pb2

import tfgen
from tests.errors import refuses
from tfgen import VAE
from tfgen.nn.layers import Upsampling
from tfgen.nn.overrides import all_layers
from tfgen.publishing import export, operations, versions

SHAPE = (6, 6, 1)


SEEDS = np.array([5, -7, 2**31 - 1], np.int32)


def small(**fields: Any) -> VAE:
    return VAE(image_shape=SHAPE, latent_dim=2, hidden=(16,), **fields)


# --- operations ---------------------------------------------------------------------------


class OfFiles(keras.layers.Layer):
    """A layer that reads a file."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.io.read_file(__file__)]):
            return tf.identity(inputs)


def decoder(*layers: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([*layers, keras.layers.Dense(36), keras.layers.Reshape(SHAPE)])


def test_a_model_with_a_forbidden_operation_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(decoder=decoder(OfFiles()))
    refuses(lambda: export.check_publishable(model, tmp_path / "models", "mine"), "ReadFile")
    # Even if the check of the traced signatures overlooks it.
    monkeypatch.setattr(operations, "forbidden_operations", lambda functions: [])
    refuses(lambda: export.publish(model, tmp_path / "models", "mine"), "ReadFile")
    assert not (tmp_path / "models").exists()


def test_a_family_of_another_package_is_checked_too(tmp_path: Path) -> None:
    class Noisy(VAE):
        def decode_events(self, latents: tf.Tensor, labels: Any = None) -> tf.Tensor:
            events = super().decode_events(latents, labels)
            return events + tf.random.uniform(tf.shape(events))

    model = Noisy(image_shape=SHAPE, latent_dim=2, hidden=(4,))
    refuses(lambda: export.check_publishable(model, tmp_path, "noisy"), "RandomUniform")


@pytest.mark.slow
def test_a_model_may_compute_gradients(tmp_path: Path) -> None:
    """Guidance, a step of Langevin's dynamics and an estimated divergence need them."""
    activations = ("relu", "elu", "selu", "silu", "gelu", "sigmoid", "softplus", "softsign")
    energy = keras.Sequential(
        [
            *[keras.layers.Conv2D(4, 3, padding="same", activation=name) for name in activations],
            *[keras.layers.GroupNormalization(2), keras.layers.BatchNormalization()],
            *[keras.layers.AveragePooling2D(2), keras.layers.MaxPooling2D(2, padding="same")],
            *[Upsampling(1), keras.layers.UpSampling2D(interpolation="bilinear")],
            *[keras.layers.Flatten(), keras.layers.LeakyReLU(), keras.layers.Dense(3, "tanh")],
        ]
    )

    class Guided(VAE):
        def decode_events(self, latents: tf.Tensor, labels: Any = None) -> tf.Tensor:
            events = super().decode_events(latents, labels)
            with tf.GradientTape() as tape:
                tape.watch(events)
                values = self.energy(events)
            return events - 0.1 * tape.gradient(values, events)

    model = Guided(image_shape=SHAPE, latent_dim=2, hidden=(4,))
    model.energy = energy
    path = export.publish(model, tmp_path, "guided", run={})
    images = tfgen.load(path).sample(seeds=SEEDS)
    np.testing.assert_allclose(images, model.sample(seeds=SEEDS), atol=1e-5)


# --- signatures of a name -----------------------------------------------------------------


def test_a_changed_signature_is_refused(tmp_path: Path) -> None:
    export.publish(small(), tmp_path, "small")
    export.check_publishable(small(seed=3), tmp_path, "small")
    for other in (small(num_classes=3), VAE(image_shape=SHAPE, latent_dim=3, hidden=(16,))):
        parts = f"{tmp_path / 'small'} cannot take this model: ", "pass another --name"
        refuses(lambda other=other: export.publish(other, tmp_path, "small"), *parts)
    assert versions.version_numbers(tmp_path / "small") == [2]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuses(lambda: export.check_publishable(small(), tmp_path / "file", "x"), "cannot be written")
    refuses(lambda: export.check_publishable(small(), Path("/proc/none"), "x"), "cannot be written")


# --- `models.config`, which tells TensorFlow Serving the names of all models ---------------


def test_the_servers_configuration_names_all_models_unless_it_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "vae-2d" / "2").mkdir(parents=True)
    export.publish(small(), tmp_path, "vae")
    path = tmp_path / "models.config"
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    models = config.model_config_list.config
    assert all(model.model_platform == "tensorflow" for model in models)
    expected = {"vae": "/models/vae", "vae-2d": "/models/vae-2d"}
    assert {model.name: model.base_path for model in models} == expected
    own = 'model_config_list { config { name: "gan" base_path: "/elsewhere" } }\n'
    path.write_text(own)
    export.write_models_config(tmp_path)
    assert path.read_text() == own


# --- float32 ------------------------------------------------------------------------------


def dense(units: int, policy: Any, **options: Any) -> keras.layers.Dense:
    options = {"kernel_initializer": keras.initializers.GlorotUniform(seed=units), **options}
    return keras.layers.Dense(units, dtype=policy, **options)


@keras.saving.register_keras_serializable(package="tests")
class Block(keras.layers.Layer):
    """A subclassed layer with layers of its own."""

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self.units = units
        self.inner = dense(units, self.dtype_policy, activation="tanh")

    def build(self, input_shape: Any) -> None:
        self.inner.build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.inner(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def sequential(output: tuple[int, ...], policy: Any) -> keras.Sequential:
    """A nested network with batch normalization and a wrapper."""
    policies = keras.dtype_policies.DTypePolicyMap(policy)
    nested = keras.Sequential([dense(12, policy, activation="relu")])
    spectral = keras.layers.SpectralNormalization(dense(10, policy), dtype=policies)
    return keras.Sequential(
        [
            keras.layers.Flatten(dtype=policy),
            nested,
            keras.layers.BatchNormalization(dtype=policy),
            spectral,
            Block(8, dtype=policy),
            dense(int(np.prod(output)), policy),
            keras.layers.Reshape(output, dtype=policy),
        ]
    )


def functional(inputs: tuple[int, ...], output: tuple[int, ...], policy: Any) -> keras.Model:
    x = keras.Input(inputs)
    hidden = dense(9, policy, activation="relu")(keras.layers.Flatten(dtype=policy)(x))
    y = keras.layers.Reshape(output, dtype=policy)(dense(int(np.prod(output)), policy)(hidden))
    return keras.Model(x, y)


def own_networks(policy: str) -> VAE:
    networks = {"encoder": functional(SHAPE, (4,), policy), "decoder": sequential(SHAPE, policy)}
    return VAE(image_shape=SHAPE, latent_dim=2, dtype=policy, **networks)


def graph_dtypes(version: Path) -> set[int]:
    """All dtypes in the attributes of a version's graph."""
    meta = SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs[0]
    nodes = [*meta.graph_def.node]
    for function in meta.graph_def.library.function:
        nodes += function.node_def
    values = [value for node in nodes for value in node.attr.values()]
    return {value.type for value in values} | {kind for value in values for kind in value.list.type}


LOW = {tf.bfloat16.as_datatype_enum, tf.float16.as_datatype_enum}


def test_own_networks_are_exported_in_float32(tmp_path: Path) -> None:
    low, plain = (own_networks(policy) for policy in ("mixed_bfloat16", "float32"))
    plain.set_weights(low.get_weights())
    before = [weight.copy() for weight in low.get_weights()]
    policies = [layer.dtype_policy.name for layer in all_layers(low)]
    version = export.publish(low, tmp_path, "own")
    assert not graph_dtypes(version) & LOW
    sampler, latents = tfgen.load(version), plain.latents(SEEDS).numpy()
    np.testing.assert_allclose(sampler.decode(latents), plain.decode(latents), atol=1e-5)
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    np.testing.assert_allclose(sampler.encode(images), plain.encode(images), atol=1e-5)
    # The live model is as it was, and does compute in low precision.
    assert policies == [layer.dtype_policy.name for layer in all_layers(low)]
    np.testing.assert_equal(low.get_weights(), before)
    assert np.abs(low.decode(latents) - plain.decode(latents)).max() > 1e-4


def test_a_layer_that_cannot_be_rebuilt_is_an_error_only_in_low_precision(tmp_path: Path) -> None:
    class Closed(keras.layers.Dense):
        def get_config(self) -> dict[str, Any]:
            raise NotImplementedError("no config")

    plain = small(decoder=decoder(Closed(8)))
    assert export.in_float32(plain) is plain
    low = small(decoder=decoder(Closed(8, dtype="mixed_bfloat16")))
    message = ("the model cannot be rebuilt in float32", "no config", "Keras can save")
    refuses(lambda: export.publish(low, tmp_path, "low"), *message)
    refuses(lambda: export.check_publishable(low, tmp_path, "low"), *message)
    assert not list(tmp_path.iterdir())
