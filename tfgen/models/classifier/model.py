"""A classifier, whose features carry all that is measured on samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfgen import figures
from tfgen.config import ClassifierConfig
from tfgen.layers import Dense, Dropout
from tfgen.models.image_model import Curve, ImageModel, Signatures, not_empty
from tfgen.models.preprocessing import SymmetricPixels
from tfgen.networks import dense_network, feature_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Mistakes that a run shows.
_SHOWN = 64


@keras.saving.register_keras_serializable(package="tfgen")
class Classifier(ImageModel):
    """A small convolutional classifier; its penultimate layer gives the features that judge samples.

    Three 3 × 3 convolutions, a dense layer whose outputs are the features, dropout, logits; see
    `networks.feature_network`. Logs `loss`, the cross-entropy in nats, and `accuracy`.

    Args:
        image_shape: height, width, channels.
        channels: of the convolutions at full size.
        units: length of a feature vector.
        dropout: rate between features and logits.
        num_classes: how many.
        seed: of the initial weights and of all noise.
        **kwargs: `name`, `dtype`, for `keras.Model`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> classifier = Classifier()
        >>> classifier.compile(optimizer="adam")
        >>> classifier.fit(images, labels, epochs=1)  # uint8[N, 28, 28, 1], int[N]
        >>> features, logits = classifier(images[:10])  # float32[10, 128], float32[10, 10]
    """

    config: ClassifierConfig
    curves = (Curve("cross-entropy [nats]", ("loss",)), Curve("accuracy", ("accuracy",)))

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28, 1),
        channels: int = ClassifierConfig.channels,
        units: int = ClassifierConfig.units,
        dropout: float = ClassifierConfig.dropout,
        *,
        num_classes: int = 10,
        seed: int = 0,
        **kwargs: Any,
    ):
        config = ClassifierConfig(tuple(image_shape), channels, units, dropout, num_classes=num_classes)
        config.check_images()
        super().__init__(config, SymmetricPixels(), seed, **kwargs)
        policy = self.dtype_policy
        self.feature_network = feature_network(
            config.image_shape, channels, units, seed=2 * self.seed, dtype=policy, name="features"
        )
        self.head = dense_network(
            (units,), (), (num_classes,), seed=2 * self.seed + 1, dtype=policy, name="logits", layer=Dense
        )
        self.dropout = Dropout(dropout, self.seed, dtype=policy)
        self.dropout.build((None, units))
        self.loss_metric = keras.metrics.Mean("loss", dtype="float64")
        self.accuracy_metric = keras.metrics.Mean("accuracy", dtype="float64")
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Features `float[B, units]` and logits `float[B, num_classes]` of `uint8[B, H, W, C]`."""
        events = self.preprocessing.likely_events(tf.convert_to_tensor(images), self.likelihood_dtype)
        features = self.feature_network(events, training=training)
        logits = self.head(self.dropout(features, training=training))
        return tf.cast(features, self.likelihood_dtype), tf.cast(logits, self.likelihood_dtype)

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """The likeliest class of each of `uint8[B, H, W, C]`, `int32[B]`."""
        return tf.argmax(self(images)[1], axis=-1, output_type=tf.int32)

    # --- training --------------------------------------------------------------------------------------

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and labels of a batch.

        Raises:
            ValueError: there are no labels.
        """
        images, labels = super().unpack(data)
        if labels is None:
            raise ValueError("a classifier needs labels: pass (images, labels)")
        return images, tf.reshape(tf.cast(labels, tf.int32), [-1])

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on the cross-entropy."""
        images, labels = self.unpack(data)
        with tf.GradientTape() as tape:
            logits = self(images, training=True)[1]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = self.gradient_loss(tf.reduce_mean(losses), self.optimizer)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.step.assign_add(1)
        return self._updated_logs(losses, logits, labels)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Cross-entropy and accuracy of a batch."""
        images, labels = self.unpack(data)
        logits = self(images)[1]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return self._updated_logs(losses, logits, labels)

    def _updated_logs(self, losses: tf.Tensor, logits: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        self.loss_metric.update_state(losses)
        right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
        self.accuracy_metric.update_state(tf.cast(right, self.likelihood_dtype))
        return self.logs()

    # --- use -------------------------------------------------------------------------------------------

    def signatures(self) -> Signatures:
        """`features`: features and logits of images."""
        images = tf.TensorSpec([None, *self.config.image_shape], tf.uint8, name="images")

        def features(images: tf.Tensor) -> dict[str, tf.Tensor]:
            found, logits = not_empty(self.call, images)
            return {"features": found, "logits": logits}

        return {"features": (features, [images])}

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Images of noise."""
        shape = (size, *self.config.image_shape)
        return {"images": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """Held-out images that are taken for another class, if there are any."""
        assert labels is not None
        wrong = np.flatnonzero(self.classify(images).numpy() != np.asarray(labels))
        if not len(wrong):
            return {}
        title = f"{len(wrong)} of {len(labels)} validation images are taken for another class"
        shown = tf.gather(images, wrong[:_SHOWN]).numpy() / 255
        return {"mistakes": figures.picture(shown, title)}
