"""The normalizing flow."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import figures, random
from tfgen.bijectors import AffineCoupling, Chain, Checkerboard, Half, Mask, Unflatten
from tfgen.config import FlowConfig
from tfgen.errors import UsageError
from tfgen.layers import Dense, dense_network
from tfgen.models.base import Curve, GenerativeModel
from tfgen.models.preprocessing import Dequantized, Identity, Noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

tfd: Any = tfp.distributions

# Of the samples that a run shows at its end: the latents' standard deviations.
TEMPERATURES = (0.5, 0.7, 0.8, 0.9, 1.0)


@keras.saving.register_keras_serializable(package="tfgen")
class Flow(GenerativeModel):
    """A normalizing flow (Dinh et al. 2016, "Density estimation using Real NVP").

    An invertible map f takes latents z ~ N(0, I) to events of the same dimension, so that
    log p(x) = log p(z) + log|det ∂z/∂x| with z = f⁻¹(x), exactly. Logs `loss` = −log p(x) in nats, of bytes,
    by one draw of the dequantization, and `bits_per_dim`, the same over H·W·C·ln 2.

    Args:
        image_shape: height, width (even), channels; with `preprocessing=Identity()` also another event shape,
            whose last axis has two entries or more.
        couplings: affine couplings, of alternating halves: checkerboards where there are three axes, else
            halves of the last one.
        hidden: widths of each conditioner's hidden layers.
        log_scale_bound: of a coupling's log-scale, nats.
        alpha: how far the logit of a pixel keeps off 0 and 1.
        seed: of the initial weights and of all noise.
        preprocessing: what turns bytes into events; None takes `Dequantized(alpha)`.
        **kwargs: `name`, `dtype`, for `keras.Model`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> flow = Flow()
        >>> flow.compile(optimizer="adam")
        >>> flow.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> flow.log_prob(images[:5])  # float32[5], nats
        >>> flow.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    config: FlowConfig
    preprocessing: Dequantized | Identity
    curves = (Curve("bits/dim", ("bits_per_dim",)),)

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28, 1),
        couplings: int = FlowConfig.couplings,
        hidden: Sequence[int] = FlowConfig.hidden,
        log_scale_bound: float = FlowConfig.log_scale_bound,
        alpha: float = FlowConfig.alpha,
        *,
        seed: int = 0,
        preprocessing: Dequantized | Identity | None = None,
        **kwargs: Any,
    ):
        config = FlowConfig(tuple(image_shape), couplings, tuple(hidden), log_scale_bound, alpha)
        config.check_halves()
        if preprocessing is None and len(config.image_shape) != 3:
            raise UsageError(f"events of shape {image_shape} are no images; pass preprocessing=Identity()")
        super().__init__(config, preprocessing or Dequantized(alpha), seed, **kwargs)
        self._given = {"preprocessing": preprocessing}
        self.conditioners = [self._build_conditioner(index) for index in range(couplings)]
        self.loss_metric = keras.metrics.Mean("loss", dtype="float64")
        self.bits_metric = keras.metrics.Mean("bits_per_dim", dtype="float64")
        self.built = True

    def _mask(self, index: int) -> Mask:
        """Of the coupling with that index; neighbours change what the other one keeps."""
        swap, ndims = bool(index % 2), len(self.config.image_shape)
        return Checkerboard(swap) if ndims == 3 else Half(ndims, swap)

    def _build_conditioner(self, index: int) -> keras.Sequential:
        kept, changed = self._mask(index).split(tf.zeros([1, *self.config.image_shape]))
        return dense_network(
            kept.shape[1:],
            self.config.hidden,
            (*changed.shape[1:-1], 2 * changed.shape[-1]),
            seed=self.seed * self.config.couplings + index,
            dtype=self.dtype_policy,
            name=f"conditioner_{index}",
            zero_output=True,
            layer=Dense,
        )

    @property
    def latent_dim(self) -> int:
        """Dimensions of z, as many as of an event."""
        return math.prod(self.config.image_shape)

    # --- p(z), f, p(x) ---------------------------------------------------------------------------------

    def prior(self) -> Any:
        """p(z), standard normal: event `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def bijector(self) -> Chain:
        """f: latents `[..., D]` → events `[..., *event_shape]`."""
        couplings = [
            AffineCoupling(self._mask(index), conditioner, self.config.log_scale_bound)
            for index, conditioner in enumerate(self.conditioners)
        ]
        return Chain([*couplings, Unflatten(self.config.image_shape)])

    def distribution(self) -> Any:
        """p(x) of events, as TFP has it; `event_log_prob` is the fast way to its density."""
        return tfd.TransformedDistribution(self.prior(), self.bijector())

    def event_log_prob(self, events: tf.Tensor) -> tf.Tensor:
        """log p(x) of events `[..., *event_shape]`, nats, each conditioner evaluated once."""
        latents, log_det = self.bijector().inverse_and_log_det(events, len(self.config.image_shape))
        # The prior's density by hand: TFP's solves a linear system.
        constant = self.latent_dim * math.log(2 * math.pi)
        return log_det - 0.5 * (tf.reduce_sum(tf.square(latents), axis=-1) + constant)

    # --- training --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on −log p(x)."""
        images, _ = self.unpack(data)
        with tf.GradientTape() as tape:
            log_prob = self.side_by_side(self._noisy_log_prob, self.training_noise(), images)
            loss = self.gradient_loss(-tf.reduce_mean(log_prob), self.optimizer)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.step.assign_add(1)
        return self._updated_logs(log_prob)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−log p(x) of a batch."""
        images, _ = self.unpack(data)
        return self._updated_logs(self._noisy_log_prob(self.next_test_noise(), images))

    def _noisy_log_prob(self, noise: Noise, images: tf.Tensor) -> tf.Tensor:
        """log p(x) of bytes, nats, `[B]`, by the dequantization that `noise` draws."""
        events, log_det = self.preprocessing.events_and_log_det(images, noise, self.likelihood_dtype)
        return self.event_log_prob(events) + log_det

    def _updated_logs(self, log_prob: tf.Tensor) -> dict[str, tf.Tensor]:
        self.loss_metric.update_state(-log_prob)
        self.bits_metric.update_state(self.bits_per_dim(log_prob))
        return self.logs()

    def bits_per_dim(self, log_prob: tf.Tensor) -> tf.Tensor:
        """−log p / (D ln 2) of log-probabilities in nats."""
        return -log_prob / (self.latent_dim * math.log(2))

    # --- use -------------------------------------------------------------------------------------------

    def log_prob(self, images: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """A lower bound on log p(x) of bytes in expectation, nats, `float32[B]` (float64 under that policy).

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: `int32[B]`, of each image's dequantization; by default 0, 1, 2, ….
        """
        images = tf.convert_to_tensor(images)
        noise = random.SeedNoise(tf.range(tf.shape(images)[0]) if seeds is None else seeds)
        return self._noisy_log_prob(noise, images)

    def encode(self, images: tf.Tensor, seeds: tf.Tensor | None = None) -> tf.Tensor:
        """Latents `float32[B, D]` of `uint8` images, dequantized by `seeds: int32[B]` or else by 1/2."""
        images = tf.convert_to_tensor(images)
        if seeds is None:
            events = self.preprocessing.likely_events(images, self.likelihood_dtype)
        else:
            events = self.preprocessing.events(images, random.SeedNoise(seeds), self.likelihood_dtype)
        return tf.cast(self.bijector().inverse(events), tf.float32)

    def decode(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1, whole numbers of 1/255, of `latents: float32[B, D]`."""
        self.one_hot(labels)  # refuses labels
        return self.preprocessing.images(self.bijector().forward(tf.cast(latents, self.likelihood_dtype)))

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
