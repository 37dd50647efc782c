"""The normalizing flow."""

import itertools
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import figures, random
from tfgen.bijectors import Chain, Unflatten
from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.models.flow.dequantization import VariationalDequantization
from tfgen.models.flow.steps import dense_steps, multiscale_chain, multiscale_steps
from tfgen.models.generative import Curve, GenerativeModel
from tfgen.models.preprocessing import Dequantized, Identity, Noise
from tfgen.nn import cpu

if TYPE_CHECKING:
    from matplotlib.figure import Figure

tfd: Any = tfp.distributions

# Standard deviations of the latents in the picture of temperatures.
TEMPERATURES = (0.5, 0.7, 0.8, 0.9, 1.0)
# Number of images from which the activation normalizations are set.
ADAPTATION_IMAGES = 512


@keras.saving.register_keras_serializable(package="tfgen")
class Flow(GenerativeModel):
    """A normalizing flow (Dinh et al. 2016, "Density estimation using Real NVP").

    An invertible map f takes latents z ~ N(0, I) to events of the same dimension, so that
    log p(x) = log p(z) + log|det ∂z/∂x| with z = f⁻¹(x), exactly. Logs `loss` = −log p(x) of bytes
    in nats, by one draw of the dequantization, and `bits_per_dim`, the same over H·W·C·ln 2.

    `architecture="dense"` chains affine couplings of alternating halves; for images these are
    checkerboards. `architecture="multiscale"` has Glow's steps at each scale (Kingma & Dhariwal
    2018), with affine or mixture couplings (Ho et al. 2019, "Flow++"), and factors out half of the
    channels at each scale but the last. `fit` first sets its activation normalizations from data;
    see `adapt`.

    Args:
        config: the configuration; None takes the defaults. Widths must be even. `multiscale` needs
            sides divisible by 2 for each scale, a learned dequantization sides divisible by 2.
        seed: of the initial weights and of all noise.
        preprocessing: turns bytes into events; None takes `Dequantized(alpha)`. With `Identity()`,
            `image_shape` may be another event shape, whose last axis has two entries or more.
        name: of the model.
        dtype: policy of the networks.
        **fields: fields of `FlowConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> flow = Flow()
        >>> flow.compile(optimizer="adam")
        >>> flow.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> flow.log_prob(images[:5])  # float32[5], nats
        >>> flow.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = FlowConfig
    config: FlowConfig
    density = "exact"
    preprocessing: Dequantized | Identity
    logged = ("loss", "bits_per_dim")
    curves = (Curve("negative log-likelihood [bits/dim]", ("bits_per_dim",)),)

    def __init__(
        self,
        config: FlowConfig | None = None,
        *,
        seed: int = 0,
        preprocessing: Dequantized | Identity | None = None,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = FlowConfig.build(config, fields)
        config.check_events()
        if preprocessing is None and len(config.image_shape) != 3:
            shape = config.image_shape
            raise UsageError(
                f"events of shape {shape} are no images; pass preprocessing=Identity()"
            )
        if isinstance(preprocessing, Identity) and config.dequantization == "variational":
            raise UsageError("Identity() takes no bytes, and so no dequantization='variational'")
        bytes_to_events = preprocessing or Dequantized(config.alpha)
        own_parts = {"preprocessing": preprocessing}
        super().__init__(config, bytes_to_events, seed, own_parts, name=name, dtype=dtype)
        make_steps = multiscale_steps if config.architecture == "multiscale" else dense_steps
        self.flow_steps = make_steps(config, seed, self.dtype_policy)
        self.dequantization = (
            VariationalDequantization(config.image_shape, seed=seed, dtype=self.dtype_policy)
            if config.dequantization == "variational"
            else None
        )
        # Whether the normalizations have been set from data.
        self.adapted = self.add_weight(
            name="adapted", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.track_average(self.trainable_variables, config.ema_decay)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z, as many as of an event."""
        return math.prod(self.config.image_shape)

    @property
    def networks(self) -> list[keras.Sequential]:
        """The conditioners of the couplings, and those of the learned dequantization."""
        learned = self.dequantization.conditioners if self.dequantization is not None else []
        return [*(step.conditioner for step in self.flow_steps), *learned]

    # --- p(z), f, p(x)
    # ---------------------------------------------------------------------------------

    def prior(self) -> Any:
        """p(z), standard normal: event `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def bijector(self, adapting: bool = False) -> Chain:
        """f: latents `[..., D]` → events `[..., *event_shape]`.

        Args:
            adapting: whether the next inverse sets the normalizations from what it is given; see
                `adapt`.
        """
        steps = [step.bijectors(adapting) for step in self.flow_steps]
        if self.config.architecture == "multiscale":
            return multiscale_chain(self.config, steps)
        return Chain([*itertools.chain(*steps), Unflatten(self.config.image_shape)])

    def distribution(self) -> Any:
        """p(x) of events, as TFP has it; `event_log_prob` is the fast way to its density.

        By the weights as they are; see `averaged`.
        """
        return tfd.TransformedDistribution(self.prior(), self.bijector())

    def event_log_prob(self, events: tf.Tensor) -> tf.Tensor:
        """log p(x) of events `[..., *event_shape]`, nats, each conditioner evaluated once.

        By the weights as they are; see `averaged`.
        """
        latents, log_det = self.bijector().inverse_and_log_det(events, len(self.config.image_shape))
        # The prior's density by hand: TFP's solves a linear system.
        constant = self.latent_dim * math.log(2 * math.pi)
        return log_det - 0.5 * (tf.reduce_sum(tf.square(latents), axis=-1) + constant)

    # --- training
    # --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on −log p(x)."""
        images, _ = self.unpack(data)
        with cpu.JoinedTape() as tape:
            log_prob = self.side_by_side(self.bytes_log_prob, self.training_noise(), images)
            loss = -tf.reduce_mean(log_prob)
        self.minimize(loss, tape)
        return self.log(loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−log p(x) of a batch, by the EMA of the weights where there is one."""
        images, _ = self.unpack(data)
        with self.averaged():
            log_prob = self.bytes_log_prob(self.next_test_noise(), images)
        return self.log(loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    def bytes_log_prob(self, noise: Noise, images: tf.Tensor) -> tf.Tensor:
        """log p(x) of bytes, nats, `[B]`, by the dequantization that `noise` draws."""
        events, log_det = self._events_and_log_det(images, noise)
        return self.event_log_prob(events) + log_det

    def _events_and_log_det(self, images: tf.Tensor, noise: Noise) -> tuple[tf.Tensor, tf.Tensor]:
        draw = self.dequantization.draw if self.dequantization is not None else None
        return self.preprocessing.events_and_log_det(images, noise, self.likelihood_dtype, draw)

    def adapt(self, images: tf.Tensor) -> None:
        """Sets the activation normalizations from images: after each, channels have mean 0 and
        deviation 1.

        `fit` does so by itself, once in a model's life, with the first of its images. Where there
        are no normalizations nothing happens. Not to be called within a replica's step.

        Args:
            images: `uint8[B, H, W, C]`; some hundred.
        """
        if self.config.architecture != "multiscale":
            return
        events, _ = self._events_and_log_det(tf.convert_to_tensor(images), self.training_noise())
        self.bijector(adapting=True).inverse_and_log_det(events, len(self.config.image_shape))
        self.adapted.assign(1)
        if self._average is not None:
            self._average.start()

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`; a model that needs it is adapted first.

        Raises:
            ValueError: it needs it, and `x` is no array, tensor, `tf.data.Dataset` or `PyDataset`.
        """
        untouched = not int(self.adapted.numpy()) and not int(self.step.numpy())
        if self.config.architecture == "multiscale" and untouched:
            self.adapt(first_images(x))
        return super().fit(x, *args, **kwargs)

    def bits_per_dim(self, log_prob: tf.Tensor) -> tf.Tensor:
        """−log p / (D ln 2) of log-probabilities in nats."""
        return -log_prob / (self.latent_dim * math.log(2))

    # --- use
    # -------------------------------------------------------------------------------------------

    def log_prob(
        self, images: tf.Tensor, seeds: tf.Tensor | None = None, dequantizations: int = 1
    ) -> tf.Tensor:
        """A lower bound on log P(x) of bytes in expectation, nats, `float32[B]` (float64 under that
        policy).

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: `int32[B]`, of each image's dequantization; by default 0, 1, 2, ….
            dequantizations: draws whose densities are averaged: the more, the nearer to log P(x)
                (Burda et al. 2015). One is the draw of `seeds` itself.

        Raises:
            ValueError: there is to be no draw.
        """
        if dequantizations < 1:
            raise ValueError(f"dequantizations = {dequantizations} is too small; the least is 1")
        images = tf.convert_to_tensor(images)
        seeds = (
            tf.range(tf.shape(images)[0])
            if seeds is None
            else tf.convert_to_tensor(seeds, tf.int32)
        )
        draw_seeds = (
            seeds[:, None]
            if dequantizations == 1
            else random.seeds_of_draws(seeds, dequantizations)
        )

        def log_prob(images: tf.Tensor, draw_seeds: tf.Tensor) -> tf.Tensor:
            noises = [random.SeedNoise(draw_seeds[:, index]) for index in range(dequantizations)]
            draws = [self.bytes_log_prob(noise, images) for noise in noises]
            return draws[0] if dequantizations == 1 else _log_mean_exp(draws)

        return self.judged(log_prob, images, draw_seeds)

    def encode(self, images: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """Latents `float32[B, D]` of `uint8` images, dequantized by `seeds: int32[B]`; None: 0, 1,
        2, …."""
        images = tf.convert_to_tensor(images)
        seeds = (
            tf.range(tf.shape(images)[0])
            if seeds is None
            else tf.convert_to_tensor(seeds, tf.int32)
        )

        def latents(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
            events, _ = self._events_and_log_det(images, random.SeedNoise(seeds))
            return tf.cast(self.bijector().inverse(events), tf.float32)

        return self.judged(latents, images, seeds)

    def decode_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """f(z), `[B, *event_shape]`."""
        return self.bijector().forward(latents)

    def call(
        self, images: tf.Tensor, labels: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """`log_prob` of `uint8` images."""
        return self.log_prob(images)

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """Those of every family, and the same samples at several temperatures, a row each."""
        latents = self.latents(random.image_seeds(0, 8))
        rows = tf.concat([latents * temperature for temperature in TEMPERATURES], axis=0)
        title = f"samples at temperatures {', '.join(map(str, TEMPERATURES))}"
        shown = figures.picture(self.decode(rows).numpy(), title, 8)
        return {**super().pictures(images, labels), "temperatures": shown}

    def signatures(self) -> dict[str, Any]:
        """Those of every family, `encode` and `log_prob`."""
        images = tf.TensorSpec([None, *self.config.image_shape], tf.uint8, name="images")
        seed = tf.TensorSpec([None], tf.int32, name="seed")

        def encode(images: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"latents": self.encode(images, seed)}

        def log_prob(images: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            value = self.log_prob(images, seed)
            return {"log_prob": value, "bits_per_dim": self.bits_per_dim(value)}

        return {
            **super().signatures(),
            "encode": (encode, [images, seed]),
            "log_prob": (log_prob, [images, seed]),
        }


def _log_mean_exp(logarithms: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_logsumexp(logarithms, axis=0) - math.log(len(logarithms))


def first_images(x: Any) -> tf.Tensor:
    """The first images of what `fit` takes, at most `ADAPTATION_IMAGES`, `uint8[B, H, W, C]`.

    Raises:
        ValueError: they cannot be looked at without using them up.
    """
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.unbatch().batch(ADAPTATION_IMAGES)), None)
        if batch is None:
            raise ValueError("the data set has no images")
        return keras.utils.unpack_x_y_sample_weight(batch)[0]
    if isinstance(x, np.ndarray | tf.Tensor):
        return tf.convert_to_tensor(x[:ADAPTATION_IMAGES])
    if isinstance(x, keras.utils.PyDataset):
        return tf.convert_to_tensor(keras.utils.unpack_x_y_sample_weight(x[0])[0])
    raise ValueError(
        f"the first images of {type(x).__name__} are not known; call flow.adapt(images) before fit"
    )
