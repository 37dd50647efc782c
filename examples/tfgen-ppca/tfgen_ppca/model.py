"""The model of probabilistic PCA."""

import math
from typing import Any

import keras
import tensorflow as tf

import tfgen
from tfgen.models.base import Curve
from tfgen.random import BatchNoise, SeedNoise
from tfgen_ppca.config import PPCAConfig


@keras.saving.register_keras_serializable(package="tfgen_ppca")
class PPCA(tfgen.GenerativeModel):
    """Probabilistic PCA (Tipping & Bishop 1999, "Probabilistic principal component analysis").

    An event x of D dimensions is a linear function of q latents plus noise: x = W z + μ + σ ε with
    z ~ N(0, I) and ε ~ N(0, I). Therefore x ~ N(μ, C) with C = W Wᵀ + σ² I, and the posterior is
    p(z|x) = N(M⁻¹ Wᵀ (x − μ), σ² M⁻¹) with M = Wᵀ W + σ² I. The events are the logits of
    dequantized bytes, as in `tfgen.Flow`.

    Args:
        config: the configuration; None takes the defaults.
        seed: seed of the initial weights and of all noise.
        name: name of the model.
        dtype: precision policy.
        **fields: fields of `PPCAConfig`, which replace those of `config`.
    """

    Config = PPCAConfig
    config: PPCAConfig
    preprocessing: tfgen.Dequantized
    density = "dequantized"
    logged = ("loss", "bits_per_dim")
    curves = (Curve("negative log-likelihood [bits/dim]", ("bits_per_dim",)),)

    def __init__(
        self,
        config: PPCAConfig | None = None,
        *,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = PPCAConfig.build(config, fields)
        super().__init__(config, tfgen.Dequantized(), seed, name=name, dtype=dtype)
        self.event_dim, q = math.prod(config.image_shape), config.latent_dim
        loadings = keras.initializers.RandomNormal(stddev=1 / math.sqrt(q), seed=seed)
        grey = (config.initial_grey + 0.5) / 256
        mean = keras.initializers.Constant(math.log(grey / (1 - grey)))  # events are logits
        # Without autocast, a mixed-precision policy leaves the weights in float32.
        self.loadings = self.add_weight((self.event_dim, q), loadings, autocast=False, name="W")
        self.mean = self.add_weight((self.event_dim,), mean, autocast=False, name="mu")
        self.log_stddev = self.add_weight((), "zeros", autocast=False, name="log_sigma")

    @property
    def latent_dim(self) -> int:
        """Dimensions q of the latent space."""
        return self.config.latent_dim

    # --- p(z|x), p(x), p(x|z)

    def precision_factor(self) -> tf.Tensor:
        """Cholesky factor `[q, q]` of M."""
        loadings = self.loadings.value
        noise = tf.exp(2 * self.log_stddev.value) * tf.eye(self.latent_dim, dtype=loadings.dtype)
        return tf.linalg.cholesky(tf.matmul(loadings, loadings, transpose_a=True) + noise)

    def posterior_means(self, events: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        """Means M⁻¹ Wᵀ (x − μ) of p(z|x), `[B, q]`.

        Args:
            events: `float[B, D]`.
            factor: Cholesky factor of M.
        """
        projections = tf.matmul(events - self.mean.value, self.loadings.value)
        return tf.transpose(tf.linalg.cholesky_solve(factor, tf.transpose(projections)))

    def event_means(self, latents: tf.Tensor) -> tf.Tensor:
        """Means W z + μ of p(x|z), `[B, D]`, of latents `[B, q]`."""
        return tf.matmul(latents, self.loadings.value, transpose_b=True) + self.mean.value

    def event_log_prob(self, events: tf.Tensor) -> tf.Tensor:
        """log N(x; μ, C) in nats, `[B]`, without the D × D matrix C.

        The matrix determinant lemma gives log det C = (D − q) log σ² + log det M. Woodbury's
        identity gives (x − μ)ᵀ C⁻¹ (x − μ) = ‖x − μ − W z‖² / σ² + ‖z‖² with z = E[z|x].

        Args:
            events: `float[B, D]`.
        """
        factor = self.precision_factor()
        latents = self.posterior_means(events, factor)
        residuals = events - self.event_means(latents)
        log_variance = 2 * self.log_stddev.value
        distance = tf.reduce_sum(residuals**2, axis=-1) / tf.exp(log_variance)
        distance += tf.reduce_sum(latents**2, axis=-1)
        log_det = (self.event_dim - self.latent_dim) * log_variance
        log_det += 2 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))
        return -0.5 * (distance + log_det + self.event_dim * math.log(2 * math.pi))

    def flatten(self, events: tf.Tensor) -> tf.Tensor:
        """Events `[B, H, W, C]` as vectors `[B, D]`."""
        return tf.reshape(events, [-1, self.event_dim])

    # --- training

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on −log p."""
        images, _, weights = self.unpack(data)
        with tf.GradientTape() as tape:
            log_prob = self.log_prob_images(images, self.training_noise())
            loss = self.reduce_loss(-log_prob, weights)
        self.minimize(loss, tape)
        return self.log(weights, loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−log p of a batch."""
        images, _, weights = self.unpack(data)
        with self.averaged():
            log_prob = self.log_prob_images(images, self.next_test_noise())
        return self.log(weights, loss=-log_prob, bits_per_dim=self.bits_per_dim(log_prob))

    # --- use

    def decode_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Means of p(x|z), `[B, H, W, C]`, of latents `[B, q]`."""
        return tf.reshape(self.event_means(latents), [-1, *self.config.image_shape])

    def encode_images(
        self, images: tf.Tensor, noise: SeedNoise, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Posterior means `[B, q]`, of bytes dequantized without noise."""
        events = self.preprocessing.likely_events(images, self.likelihood_dtype)
        return self.posterior_means(self.flatten(events), self.precision_factor())

    def log_prob_images(
        self, images: tf.Tensor, noise: BatchNoise | SeedNoise, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """log p of bytes in nats, `[B]`, by the dequantization that `noise` draws."""
        dtype = self.likelihood_dtype
        events, log_det = self.preprocessing.events_and_log_det(images, noise, dtype)
        return self.event_log_prob(self.flatten(events)) + log_det

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Reconstructions `float32[B, H, W, C]` of `uint8` images."""
        return self.decode(self.encode(images))
