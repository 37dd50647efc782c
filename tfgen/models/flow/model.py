"""The normalizing flow."""

import functools
import itertools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import figures, random
from tfgen.bijectors import Chain, Unflatten
from tfgen.errors import UsageError
from tfgen.models.base import Curve, ImageModel
from tfgen.models.flow.config import FlowConfig
from tfgen.models.flow.dequantization import VariationalDequantization
from tfgen.models.flow.steps import MakeConditioner, dense_steps, multiscale_chain, multiscale_steps
from tfgen.models.generative import GenerativeModel
from tfgen.models.preprocessing import Dequantized, Identity, Labels, Noise
from tfgen.nn.average import trained_weights

tfd: Any = tfp.distributions

# Number of images from which the activation normalizations are set.
ADAPTATION_IMAGES = 512
# Standard deviations of the latents in the picture of temperatures.
TEMPERATURES = (0.5, 0.7, 0.8, 0.9, 1.0)


@keras.saving.register_keras_serializable(package="tfgen")
class Flow(GenerativeModel):
    """A normalizing flow.

    Dinh et al. 2016, "Density estimation using Real NVP".

    An invertible function f maps latents z ~ N(0, I) to events of the same dimension. Therefore
    log p(x) = log p(z) + log|det ∂z/∂x| with z = f⁻¹(x), exactly. Logs `loss` = −log p(x) of bytes
    in nats, for one draw of the dequantization noise, and `bits_per_dim` = `loss` / (H·W·C·ln 2).

    `architecture="dense"` chains affine couplings of alternating halves, which are checkerboards
    for images. `architecture="multiscale"` has Glow's steps at each scale (Kingma & Dhariwal 2018),
    with affine or mixture couplings (Ho et al. 2019, "Flow++"), and factors out half of the
    channels at each scale but the last. The last coupling of such a scale changes only this half,
    given the other one: it is a conditional prior. `fit` first sets its activation normalizations
    from data; see `adapt`.

    A class-conditional model has a density p(x|label): the conditioners of its couplings, and those
    of its learned dequantization, also get the one-hot label. A draw of `log_prob` is one of the
    dequantization; over several, the bound tends to log P(x) (Burda et al. 2015).

    Args:
        config: the configuration; None takes the defaults. Widths must be even, for `multiscale`
            and `dequantization="variational"` heights too. n scales need sides divisible by 2ⁿ; a
            model of images with other sides has fewer scales.
        seed: seed of the initial weights and of all noise.
        conditioner: a function `(inputs, outputs, seed=, dtype=)` that returns the conditioner of a
            coupling, a layer from events of the shape `inputs` to parameters of the shape
            `outputs`, both without the batch. A conditional model's inputs end with the label. A
            coupling whose conditioner returns zeros is the identity. A `.keras` file holds the
            function by its name, so it needs `@keras.saving.register_keras_serializable`. None:
            the configuration's.
        preprocessing: turns bytes into events; None takes `Dequantized(alpha)`. With `Identity()`,
            `image_shape` may be any event shape whose last axis has two entries or more.
        name: name of the model.
        dtype: dtype policy of the networks.
        **fields: fields of `FlowConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range, or a conditioner does not map the
            shapes (a `ValueError`).

    Examples:
        >>> flow = Flow()
        >>> flow.compile(optimizer="adam")
        >>> flow.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> flow.log_prob(images[:5])  # float32[5], nats
        >>> flow.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = FlowConfig
    config: FlowConfig
    density = "dequantized"
    preprocessing: Dequantized | Identity
    logged = ("loss", "bits_per_dim")
    curves = (Curve("negative log-likelihood [bits/dim]", ("bits_per_dim",)),)

    def __init__(
        self,
        config: FlowConfig | None = None,
        *,
        seed: int = 0,
        conditioner: MakeConditioner | None = None,
        preprocessing: Dequantized | Identity | None = None,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = FlowConfig.build(config, fields)
        config.check_events()
        if preprocessing is None and len(config.image_shape) != 3:
            shape = config.image_shape
            raise UsageError(f"events {shape} are no images; pass preprocessing=Identity()")
        bytes_to_events = preprocessing or Dequantized(config.alpha)
        own_parts = {"conditioner": conditioner, "preprocessing": preprocessing}
        super().__init__(config, bytes_to_events, seed, own_parts, name=name, dtype=dtype)
        self.conditioner = conditioner
        make_steps = multiscale_steps if config.architecture == "multiscale" else dense_steps
        self.flow_steps = make_steps(config, seed, self.dtype_policy, conditioner)
        self.dequantization: VariationalDequantization | None = None
        if config.dequantization == "variational":
            self.dequantization = VariationalDequantization(config, seed, dtype=self.dtype_policy)
        # 1 once the activation normalizations have been set from data.
        self.adapted = self.add_weight((), "zeros", "int32", trainable=False, name="adapted")
        self.track_average(trained_weights(self), config.ema_decay)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z: the number of entries of an event."""
        return math.prod(self.config.image_shape)

    @property
    def networks(self) -> list[keras.Model]:
        """The conditioners of the couplings and of the learned dequantization."""
        learned = self.dequantization.conditioners if self.dequantization is not None else []
        conditioners = [*(step.conditioner for step in self.flow_steps), *learned]
        return [layer for layer in conditioners if isinstance(layer, keras.Model)]

    # --- p(z), f, p(x) ------------------------------------------------------------------

    def prior(self) -> Any:
        """p(z), standard normal: event shape `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def bijector(
        self, adapting: bool = False, training: bool = False, labels: Labels = None
    ) -> Chain:
        """f: latents `[..., D]` → events `[..., *event_shape]`.

        Args:
            adapting: whether the next inverse sets the normalizations from its input; see `adapt`.
            training: whether dropout of the conditioners is on and their batch normalization uses
                the batch's moments.
            labels: one-hot, `[B, K]`, for a conditional model, whose bijector then maps batches of
                B events.
        """
        steps = self.flow_steps
        # The steps of a scale have the same form.
        forms = {} if self.conditioner else {step.mixed_channels: step for step in steps}
        options = adapting, training, labels
        bijectors = [step.bijectors(*options, forms.get(step.mixed_channels)) for step in steps]
        if self.config.architecture == "multiscale":
            return multiscale_chain(self.config, bijectors)
        return Chain([*itertools.chain(*bijectors), Unflatten(self.config.image_shape)])

    def distribution(self, labels: Labels = None) -> Any:
        """p(x) of events as a distribution of TFP; `event_log_prob` is faster.

        Uses the raw weights, not the EMA; `labels` as for `bijector`.
        """
        return tfd.TransformedDistribution(self.prior(), self.bijector(labels=labels))

    def event_log_prob(
        self, events: tf.Tensor, training: bool = False, labels: Labels = None
    ) -> tf.Tensor:
        """log p(x) of events `[..., *event_shape]`, nats.

        `training` and `labels` are as for `bijector`. Evaluates each conditioner once. Uses the raw
        weights, not the EMA.
        """
        bijector = self.bijector(training=training, labels=labels)
        latents, log_det = bijector.inverse_and_log_det(events, len(self.config.image_shape))
        # log p(z) in closed form, because TFP's log_prob solves a linear system.
        constant = self.latent_dim * math.log(2 * math.pi)
        return log_det - 0.5 * (tf.reduce_sum(tf.square(latents), axis=-1) + constant)

    # --- training -----------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on −log p(x)."""
        images, labels, weights = self.unpack(data)
        log_prob_of = functools.partial(self.log_prob_images, training=True)
        with tf.GradientTape() as tape:
            log_prob = self.side_by_side(log_prob_of, images, self.training_noise(), labels)
            loss = self.reduce_loss(-log_prob, weights)
        self.minimize(loss, tape)
        return self.log(weights, loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−log p(x) of a batch, with the EMA weights if there are any."""
        images, labels, weights = self.unpack(data)
        with self.averaged():
            log_prob = self.log_prob_images(images, self.next_test_noise(), labels)
        return self.log(weights, loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    def _events_and_log_det(
        self, images: tf.Tensor, noise: Noise, labels: Labels, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        draw, learned = None, self.dequantization
        if learned is not None:
            draw = functools.partial(learned.draw, training=training, labels=labels)
        return self.preprocessing.events_and_log_det(images, noise, self.likelihood_dtype, draw)

    def adapt(self, images: tf.Tensor, labels: Labels = None) -> None:
        """Sets the activation normalizations from images.

        After each normalization, channels have mean 0 and standard deviation 1. `fit` calls this
        before the first step of a model, with its first images. Does nothing without
        normalizations. Cannot be called within a replica's step.

        Args:
            images: some hundred images, `uint8[B, H, W, C]`.
            labels: `int[B]`, for a conditional model.
        """
        if self.config.architecture != "multiscale":
            return
        images, one_hot, _ = self.unpack((images, labels))
        events, _ = self._events_and_log_det(images, self.training_noise(), one_hot)
        bijector = self.bijector(adapting=True, labels=one_hot)
        bijector.inverse_and_log_det(events, len(self.config.image_shape))
        self.adapted.assign(1)
        if self._average is not None:
            self._average.start()

    def start_from(self, source: ImageModel) -> None:
        """Takes over the weights of another flow; `fit` does not adapt this one any more.

        See `ImageModel.start_from`.
        """
        super().start_from(source)
        self.adapted.assign(1)

    def before_fit(self, x: Any, y: Any) -> None:
        """Adapts a new multiscale model to the first images of `fit`, see `adapt`.

        Raises:
            UsageError: the model must be adapted, and `x` is no array, tensor, `tf.data.Dataset` or
                `PyDataset`.
        """
        is_new = not int(self.adapted.numpy()) and not int(self.step.numpy())
        if self.config.architecture == "multiscale" and is_new:
            self.adapt(*_first_images(x, y))

    # --- use ----------------------------------------------------------------------------

    def encode_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """z = f⁻¹(x), `[B, D]`; the noise dequantizes."""
        events, _ = self._events_and_log_det(images, noise, labels)
        return self.bijector(labels=labels).inverse(events)

    def log_prob_images(
        self, images: tf.Tensor, noise: Noise, labels: Labels = None, training: bool = False
    ) -> tf.Tensor:
        """log p(x) of bytes by one draw of the dequantization, in expectation a lower bound."""
        events, log_det = self._events_and_log_det(images, noise, labels, training)
        return self.event_log_prob(events, training, labels=labels) + log_det

    def decode_events(self, latents: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """f(z), `[B, *event_shape]`."""
        return self.bijector(labels=labels).forward(latents)

    def pictures(self, images: tf.Tensor, labels: Labels = None) -> dict[str, "figures.Figure"]:
        """The pictures of every family, and samples at several temperatures, a row each."""
        latents, labelled = self.latents(random.image_seeds(0, 8)), self.num_classes > 0
        rows = tf.concat([latents * temperature for temperature in TEMPERATURES], axis=0)
        axis = figures.GridAxis("temperature", [str(temperature) for temperature in TEMPERATURES])
        title = "samples at several temperatures, the same seeds in each row"
        classes = np.tile(np.arange(8) % self.num_classes, len(TEMPERATURES)) if labelled else None
        grid = figures.picture(self.decode(rows, classes).numpy(), title, 8, axis)
        return {**super().pictures(images, labels), "temperatures": grid}


def _first_images(x: Any, y: Any = None) -> tuple[tf.Tensor, Any]:
    """The first images of arguments `x` and `y` of `fit`, at most `ADAPTATION_IMAGES`.

    Returns:
        Images `uint8[B, H, W, C]`, and their labels `[B]`, None if there are none.

    Raises:
        UsageError: reading them from `x` would consume them.
    """
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.unbatch().batch(ADAPTATION_IMAGES)))
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif isinstance(x, np.ndarray | tf.Tensor):
        batch = x[:ADAPTATION_IMAGES], None if y is None else y[:ADAPTATION_IMAGES]
    else:
        text = f"cannot read the first images of a {type(x).__name__} without consuming them"
        raise UsageError(f"{text}; call flow.adapt(images) before fit")
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return tf.convert_to_tensor(images), labels
