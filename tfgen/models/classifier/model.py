"""The classifier, whose features judge samples."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.models import batch
from tfgen.models.base import Curve, ImageModel, Signatures
from tfgen.models.classifier.config import ClassifierConfig
from tfgen.models.classifier.networks import feature_network
from tfgen.models.preprocessing import Labels, SymmetricPixels
from tfgen.nn.blocks import dense_network
from tfgen.nn.layers import Dropout
from tfgen.nn.replicas import not_empty
from tfgen.settings.model import check_are_images

# Number of misclassified images that a run shows.
MISTAKES = 64


@keras.saving.register_keras_serializable(package="tfgen")
class Classifier(ImageModel):
    """A small convolutional classifier, whose features judge samples.

    3 × 3 convolutions and pooling, a dense layer whose outputs are the features, dropout, and
    logits; see `networks.feature_network`. Logs `loss`, the cross-entropy in nats, and `accuracy`.
    Metrics passed to `compile` compare labels `[B]` with logits `[B, num_classes]`.

    Args:
        config: the configuration; None takes the defaults, with 10 classes.
        seed: seed of the initial weights and of all noise.
        name: name of the model.
        dtype: dtype policy of the networks.
        **fields: fields of `ClassifierConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Examples:
        >>> classifier = Classifier()
        >>> classifier.compile(optimizer="adam")
        >>> classifier.fit(images, labels, epochs=1)  # uint8[N, 28, 28, 1], int[N]
        >>> features, logits = classifier(images[:10])  # float32[10, 128], float32[10, 10]
    """

    Config = ClassifierConfig
    config: ClassifierConfig
    logged = ("loss", "accuracy")
    curves = (Curve("cross-entropy [nats]", ("loss",)), Curve("accuracy", ("accuracy",)))

    def __init__(
        self,
        config: ClassifierConfig | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = ClassifierConfig.build(config, fields)
        check_are_images(config.image_shape, "a classifier needs height, width and channels")
        super().__init__(config, SymmetricPixels(), seed, name=name, dtype=dtype)
        features, classes, policy = (config.units,), (config.num_classes,), self.dtype_policy
        self.feature_network = feature_network(config, seed=2 * seed, dtype=policy)
        common: dict[str, Any] = {"name": "logits", "dtype": policy}
        self.head = dense_network(features, (), classes, seed=2 * seed + 1, **common)
        self.dropout = Dropout(config.dropout, seed, dtype=policy)
        self.dropout.build((None, *features))

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Features `float[B, units]` and logits `float[B, num_classes]`.

        Args:
            images: `uint8[B, H, W, C]`.
            training: whether dropout is on and batch normalization uses the batch's moments.
        """
        images = tf.convert_to_tensor(images)
        events = self.preprocessing.likely_events(images, self.likelihood_dtype)
        features = self.feature_network(events, training=training)
        logits = self.head(self.dropout(features, training=training))
        return tf.cast(features, self.likelihood_dtype), tf.cast(logits, self.likelihood_dtype)

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """The most probable classes `int32[B]` of images `uint8[B, H, W, C]`."""
        return tf.argmax(self(images)[1], axis=-1, output_type=tf.int32)

    # --- training -----------------------------------------------------------------------

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Images, labels `int32[B]` and sample weights of a batch.

        Raises:
            UsageError: there are no labels.
        """
        images, labels, weights = super().unpack(data)
        if labels is None:
            raise UsageError("a classifier needs labels: pass (images, labels)")
        return images, labels, weights

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on the cross-entropy."""
        images, labels, weights = self.unpack(data)
        with tf.GradientTape() as tape:
            logits = self(images, training=True)[1]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = self.reduce_loss(losses, weights)
        self.minimize(loss, tape)
        return self._log(data, labels, weights, logits, losses)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Cross-entropy and accuracy of a batch."""
        images, labels, weights = self.unpack(data)
        logits = self(images)[1]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return self._log(data, labels, weights, logits, losses)

    def _log(
        self, data: Any, labels: tf.Tensor, weights: Any, logits: tf.Tensor, losses: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        self.compare(data, lambda: (labels, logits), weights)
        is_right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
        return self.log(weights, loss=losses, accuracy=tf.cast(is_right, self.likelihood_dtype))

    def compared(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Labels and logits, as symbols."""
        logits = keras.KerasTensor((None, self.config.num_classes), self.likelihood_dtype)
        return keras.KerasTensor((None,), "int32"), logits

    def predict_step(self, data: Any) -> Any:
        """Features and logits of a batch's images, whose labels it does not use."""
        return super().predict_step((batch.split(data)[0],))

    # --- use ----------------------------------------------------------------------------

    def signatures(self) -> Signatures:
        """One signature, `features`: features and logits of images."""
        images = tf.TensorSpec([None, *self.config.image_shape], tf.uint8, name="images")

        def features(images: tf.Tensor) -> dict[str, tf.Tensor]:
            values, logits = not_empty(self.call, images)
            return {"features": values, "logits": logits}

        return {"features": (features, [images])}

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Images of uniform noise."""
        shape = (size, *self.config.image_shape)
        return {"images": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}

    def pictures(self, images: tf.Tensor, labels: Labels = None) -> dict[str, "figures.Figure"]:
        """Misclassified held-out images, if there are any."""
        assert labels is not None
        wrong = np.flatnonzero(self.classify(images).numpy() != np.asarray(labels))
        if not len(wrong):
            return {}
        title = f"{len(wrong)} of {len(labels)} held-out images are misclassified"
        mistakes = tf.gather(images, wrong[:MISTAKES]).numpy() / 255
        return {"mistakes": figures.picture(mistakes, title)}
