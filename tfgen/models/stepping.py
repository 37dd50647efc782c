"""What the steps of an image model do with losses, gradients and logged values."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.nn import batches, replicas
from tfgen.nn.average import MovingAverage


class SteppingModel(keras.Model):
    """The part of `ImageModel` that moves its weights and logs.

    Over several replicas, a step is that of a single device with the batch of all replicas, up to
    rounding: the loss, the gradient, its clipping and the logged values count each image alike,
    however many of them each replica has.
    """

    step: keras.Variable
    _average: MovingAverage | None
    _means: dict[str, keras.metrics.Mean]

    def reduce_loss(
        self,
        losses: tf.Tensor,
        weights: tf.Tensor | None = None,
        network: keras.Layer | None = None,
    ) -> tf.Tensor:
        """The scalar that a step minimizes: Σ w·l / B, and the regularizers of the network.

        B is the number of images of all replicas. The mean of the scalar over the replicas is the
        loss of the whole batch. Regularizers of weights count once, those of activities by the
        number of images.

        Args:
            losses: the loss l of each image, `[B]` of this replica.
            weights: sample weights w, `[B]`; None: 1.
            network: the network that the loss trains, which this step has called; None: the model.
        """
        weighted = losses if weights is None else weights * losses
        layer = self if network is None else network
        # Before the replicas synchronize: the layer keeps the last penalties, of any replica.
        penalties = list(layer.losses)
        if replicas.context() is None:
            return _sum([tf.reduce_mean(weighted), *penalties])
        images, total = tf.cast(tf.shape(losses)[0], losses.dtype), tf.reduce_sum(weighted)
        present = batches.are_present()
        if present is not None:
            images, total = (tf.cast(present, losses.dtype) * term for term in (images, total))
        scale = replicas.count() / replicas.total(images)
        # Keras puts the penalties of the weights behind those of the activities, which are means.
        of_weights = sum(w.regularizer is not None for w in layer.trainable_weights)
        of_activities = len(penalties) - of_weights
        for index in range(of_activities):
            penalties[index] = scale * images * tf.cast(penalties[index], losses.dtype)
        return _sum([scale * total, *penalties])

    def minimize(self, loss: tf.Tensor, tape: tf.GradientTape) -> None:
        """One training step: moves all trainable weights and the EMA, counts the step.

        Args:
            loss: scalar, the result of `reduce_loss`.
            tape: the tape that recorded the loss.
        """
        self.descend(loss, tape, self.optimizer, self.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value)
        self.count_step(loss)

    def descend(
        self,
        loss: tf.Tensor,
        tape: tf.GradientTape,
        optimizer: Any,
        variables: Sequence[keras.Variable],
    ) -> None:
        """One step of an optimizer down the gradient of a loss, its mean over the replicas.

        The optimizer gets, and clips, the gradient of the whole batch.

        The update waits until the loss is known, and thus until every pass of the step has read the
        weights. TensorFlow's graph optimizer drops the edges by which an update waits for reads of
        its variable. Usually the gradient itself needs these reads. The gradient of a loss that is
        linear in the last layer does not: a pass of the critic could then read that layer after its
        update.

        Args:
            loss: scalar, the result of `reduce_loss`.
            tape: the tape that recorded the loss.
            optimizer: an optimizer of the model.
            variables: the variables that the optimizer moves.
        """
        scale = optimizer.scale_loss(tf.ones_like(loss)) / replicas.count()
        gradients = tape.gradient(loss, variables, output_gradients=scale)
        replicas.apply_sums(optimizer, replicas.total(gradients), variables, after=loss)

    def count_step(self, loss: tf.Tensor) -> None:
        """Counts a training step once its loss is known.

        At the end of a data set of unknown length, Keras starts one more step. It fails for lack of
        a batch, but what does not need the batch could still run.
        """
        with tf.control_dependencies([loss]):
            self.step.assign_add(1)

    def track_average(self, variables: Sequence[keras.Variable], decay: float) -> None:
        """Adds an EMA that evaluation and sampling use; a `decay` of 0 adds none."""
        if decay:
            self._average = MovingAverage(self, variables, decay)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the weights read as their EMA, if there is one."""
        return self._average.scope() if self._average is not None else contextlib.nullcontext()

    def accumulate(self, weights: tf.Tensor | None = None, /, **values: tf.Tensor) -> None:
        """Adds a batch's values `[B]` to the metrics; arguments as for `log`."""
        for name, value in values.items():
            self._means[name].update_state(value, weights)

    def log(self, weights: tf.Tensor | None = None, /, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds a batch's values `[B]` to the metrics; returns what a step returns.

        A logged value is the mean Σ w·v / Σ w over all images so far, those of all replicas; 0 if
        all weights are 0.

        Args:
            weights: sample weights w, `[B]`; None: 1.
            **values: values v by the names in `logged`.
        """
        self.accumulate(weights, **values)
        results: dict[str, tf.Tensor] = replicas.merged(self.get_metrics_result)
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras averages the workers' logs along their first axis, which a scalar lacks.
            results = {name: value[None] for name, value in results.items()}
        return results


def _sum(terms: list[tf.Tensor]) -> tf.Tensor:
    """The sum of scalars in the dtype of the first."""
    first = terms[0]
    return tf.add_n([first, *(tf.cast(term, first.dtype) for term in terms[1:])])
