"""The variational autoencoder."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import random
from tfgen.config import VAEConfig
from tfgen.layers import Dense
from tfgen.models.base import Curve, GenerativeModel
from tfgen.models.preprocessing import Noise, Pixels, Preprocessing
from tfgen.networks import append_labels, build_network, dense_network

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution, for the reader: TFP ships no types

# Keeps log σ finite where softplus underflows.
_MIN_STDDEV = 1e-7
# Importance samples of the exported `log_prob`.
EXPORTED_IMPORTANCE_SAMPLES = 64


class ELBO(NamedTuple):
    """The evidence lower bound of each event in nats, `float[B]`: `elbo` = `reconstruction` − `kl`."""

    reconstruction: tf.Tensor
    kl: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), one sample of z."""
        return self.reconstruction - self.kl


@keras.saving.register_keras_serializable(package="tfgen")
class VAE(GenerativeModel):
    """A variational autoencoder (Kingma & Welling 2013, "Auto-encoding variational Bayes"; Doersch 2016).

    The posterior q(z|x) is a diagonal normal with a softplus scale, the prior p(z) standard normal, the
    likelihood p(x|z) a product over pixels. Training maximizes the ELBO with one reparameterized sample
    and the KL in closed form. Logs `loss` = −ELBO, `reconstruction` = −E_q[log p(x|z)] and `kl`, in nats,
    summed over the image and averaged over images.

    Args:
        image_shape: height, width, channels; with `preprocessing=Identity()` any event shape.
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers, in reverse the decoder's.
        likelihood: `bernoulli` (needs binarized images), `continuous_bernoulli` (Loaiza-Ganem & Cunningham
            2019) for grey in [0, 1], or `normal` with unit variance.
        binarization: `dynamic`, `threshold` or `none`.
        num_classes: of a class-conditional model, which needs labels (Sohn et al. 2015); 0: of another. Both
            networks see the label, one-hot, appended along the last axis.
        seed: of the initial weights and of all noise.
        encoder: a layer `[B, *event_shape] → [B, 2·latent_dim]`, mean and scale before softplus; None builds
            a dense one. Conditional, its input's last axis is longer by `num_classes`.
        decoder: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`, the likelihood's logits or
            means.
        preprocessing: what turns bytes into events; None takes `Pixels(binarization)`.
        **kwargs: `name`, `dtype`, for `keras.Model`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> vae = VAE(latent_dim=2)
        >>> vae.compile(optimizer="adam")
        >>> vae.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> vae.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    config: VAEConfig
    curves = (Curve("negative ELBO and its parts [nats]", ("loss", "reconstruction", "kl")),)

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28, 1),
        latent_dim: int = VAEConfig.latent_dim,
        hidden: Sequence[int] = VAEConfig.hidden,
        likelihood: str = VAEConfig.likelihood,
        binarization: str = VAEConfig.binarization,
        *,
        num_classes: int = 0,
        seed: int = 0,
        encoder: keras.Layer | None = None,
        decoder: keras.Layer | None = None,
        preprocessing: Preprocessing | None = None,
        **kwargs: Any,
    ):
        config = VAEConfig(
            tuple(image_shape),
            latent_dim,
            tuple(hidden),
            likelihood,  # type: ignore[arg-type]
            binarization,  # type: ignore[arg-type]
            num_classes=num_classes,
        )
        if preprocessing is None:
            config.check_events()
        super().__init__(config, preprocessing or Pixels(config.binarization), seed, **kwargs)
        self._given = {"encoder": encoder, "decoder": decoder, "preprocessing": preprocessing}
        shape, policy = config.image_shape, self.dtype_policy
        # A dense network of ours takes events flat, lest a label be appended at each pixel.
        self._flat = encoder is None and num_classes > 0
        inputs = (math.prod(shape) + num_classes,) if self._flat else shape
        common = {"dtype": policy, "layer": Dense}
        self.encoder = encoder or dense_network(
            inputs, config.hidden, (2 * latent_dim,), seed=2 * self.seed, name="encoder", **common
        )
        self.decoder = decoder or dense_network(
            (latent_dim + num_classes,),
            config.hidden[::-1],
            shape,
            seed=2 * self.seed + 1,
            name="decoder",
            **common,
        )
        build_network(self.encoder, (*shape[:-1], shape[-1] + num_classes))
        build_network(self.decoder, (latent_dim + num_classes,))
        self.loss_metric = keras.metrics.Mean("loss", dtype="float64")
        self.reconstruction_metric = keras.metrics.Mean("reconstruction", dtype="float64")
        self.kl_metric = keras.metrics.Mean("kl", dtype="float64")
        self.built = True

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.config.latent_dim

    # --- q(z|x), p(z), p(x|z) --------------------------------------------------------------------------

    def posterior(self, events: tf.Tensor, labels: tf.Tensor | None = None) -> Distribution:
        """q(z|x) of events `[B, *event_shape]` (and one-hot labels `[B, K]`): batch `[B]`, event `[D]`."""
        if labels is not None:
            events = append_labels(events, labels, self._flat)
        parameters = tf.cast(self.encoder(events), self.likelihood_dtype)
        mean, raw_scale = tf.split(parameters, 2, axis=-1)
        return tfd.MultivariateNormalDiag(mean, tf.nn.softplus(raw_scale) + _MIN_STDDEV)

    def prior(self) -> Distribution:
        """p(z), standard normal: event `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def likelihood(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> Distribution:
        """p(x|z) of latents `[..., B, D]`, conditional: one-hot labels `[B, K]`; event `event_shape`."""
        if labels is not None:
            shape = tf.concat([tf.shape(latents)[:-1], tf.shape(labels)[-1:]], axis=0)
            latents = tf.concat([latents, tf.broadcast_to(labels, shape)], axis=-1)
        batch_shape = tf.shape(latents)[:-1]
        flat = tf.reshape(latents, [-1, self.latent_dim + self.num_classes])
        parameters = tf.cast(self.decoder(flat), self.likelihood_dtype)
        if latents.shape.rank != 2:
            parameters = tf.reshape(parameters, tf.concat([batch_shape, self.config.image_shape], 0))
        pixels: Distribution
        if self.config.likelihood == "bernoulli":
            pixels = tfd.Bernoulli(logits=parameters, dtype=parameters.dtype)
        elif self.config.likelihood == "continuous_bernoulli":
            pixels = tfd.ContinuousBernoulli(logits=parameters)
        else:
            pixels = tfd.Normal(parameters, tf.ones([], parameters.dtype))
        return tfd.Independent(pixels, reinterpreted_batch_ndims=len(self.config.image_shape))

    def elbo(self, events: tf.Tensor, noise: Noise, labels: tf.Tensor | None = None) -> ELBO:
        """The ELBO of events `[B, *event_shape]`, its expectation by one sample of z from `noise`."""
        posterior = self.posterior(events, labels)
        latents = self._posterior_samples(posterior, 1, noise)[0]
        reconstruction = self.likelihood(latents, labels).log_prob(events)
        return ELBO(reconstruction, self.kl_to_prior(posterior))

    def kl_to_prior(self, posterior: Distribution) -> tf.Tensor:
        """KL(q(z|x) ‖ p(z)) in closed form, nats, `[B]`.

        Dimension by dimension: TFP's divergence of two multivariate normals solves linear systems, which is
        felt in the time of a training step.
        """
        prior = tfd.Normal(tf.zeros([], self.likelihood_dtype), tf.ones([], self.likelihood_dtype))
        marginals = tfd.Normal(posterior.mean(), posterior.stddev())
        return tf.reduce_sum(tfd.kl_divergence(marginals, prior), axis=-1)

    def importance_log_prob(
        self, events: tf.Tensor, noise: Noise, samples: int, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The importance-weighted bound on log p(x) (Burda et al. 2015), nats, `[B]`.

        Its expectation grows with the number of `samples` and tends to log p(x).
        """
        posterior = self.posterior(events, labels)
        latents = self._posterior_samples(posterior, samples, noise)
        log_weights = self.likelihood(latents, labels).log_prob(events) + self.prior().log_prob(latents)
        log_weights -= posterior.log_prob(latents)
        # TFP's mean divides by zero where the batch is empty.
        return tf.reduce_logsumexp(log_weights, axis=0) - math.log(samples)

    def _posterior_samples(self, posterior: Distribution, samples: int, noise: Noise) -> tf.Tensor:
        """z = μ + σ ε, `[samples, B, D]`."""
        mean = posterior.mean()
        epsilon = noise.normal(
            tf.shape(mean)[0], (samples, self.latent_dim), random.POSTERIOR, mean.dtype.name
        )
        return mean + posterior.stddev() * tf.transpose(epsilon, [1, 0, 2])

    # --- training --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on −ELBO."""
        images, labels = self.unpack(data)
        with tf.GradientTape() as tape:
            bound = self.side_by_side(self._noisy_elbo, self.training_noise(), images, labels)
            loss = self.gradient_loss(-tf.reduce_mean(bound.elbo), self.optimizer)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.step.assign_add(1)
        return self._updated_logs(bound)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−ELBO of a batch."""
        return self._updated_logs(self._noisy_elbo(self.next_test_noise(), *self.unpack(data)))

    def _noisy_elbo(self, noise: Noise, images: tf.Tensor, labels: tf.Tensor | None) -> ELBO:
        """The ELBO of images whose events come from `noise` too."""
        events = self.preprocessing.events(images, noise, self.likelihood_dtype)
        return self.elbo(events, noise, self.one_hot(labels))

    def _updated_logs(self, bound: ELBO) -> dict[str, tf.Tensor]:
        self.loss_metric.update_state(-bound.elbo)
        self.reconstruction_metric.update_state(-bound.reconstruction)
        self.kl_metric.update_state(bound.kl)
        return self.logs()

    # --- use -------------------------------------------------------------------------------------------

    def encode(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of q(z|x), `float32[B, D]` each, of `uint8` images (and `int` labels).

        There is no noise: where training binarizes at random, encoding does so at 1/2.
        """
        events = self.preprocessing.likely_events(tf.convert_to_tensor(images), self.likelihood_dtype)
        posterior = self.posterior(events, self.one_hot(labels))
        return tf.cast(posterior.mean(), tf.float32), tf.cast(posterior.stddev(), tf.float32)

    def decode(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """The likelihood's means, `float32[B, H, W, C]` in 0…1, of `latents: float32[B, D]`."""
        latents = tf.cast(latents, self.likelihood_dtype)
        return self.preprocessing.images(self.likelihood(latents, self.one_hot(labels)).mean())

    def call(
        self, images: tf.Tensor, labels: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Reconstructions `float32[B, H, W, C]` of `uint8` images, through the posterior's mean."""
        return self.decode(self.encode(images, labels)[0], labels)

    def log_prob(
        self,
        images: tf.Tensor,
        seeds: tf.Tensor,
        samples: int = EXPORTED_IMPORTANCE_SAMPLES,
        labels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Importance-weighted bound on log p(x), nats, `float32[B]` (float64 under that policy).

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: `int32[B]`, of each image's binarization and importance samples.
            samples: importance samples an image.
            labels: `int[B]`, of a conditional model: the bound is on log p(x|label).
        """
        noise = random.SeedNoise(seeds)
        events = self.preprocessing.events(tf.convert_to_tensor(images), noise, self.likelihood_dtype)
        return self.importance_log_prob(events, noise, samples, self.one_hot(labels))

    def signatures(self) -> dict[str, Any]:
        """Those of every family, `encode` and `log_prob`."""
        images = tf.TensorSpec([None, *self.config.image_shape], tf.uint8, name="images")
        seed, label = tf.TensorSpec([None], tf.int32, name="seed"), self.label_specs()

        def encode(images: tf.Tensor, label: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
            mean, stddev = self.encode(images, label)
            return {"mean": mean, "stddev": stddev}

        def log_prob(
            images: tf.Tensor, seed: tf.Tensor, label: tf.Tensor | None = None
        ) -> dict[str, tf.Tensor]:
            return {"log_prob": self.log_prob(images, seed, labels=label)}

        return {
            **super().signatures(),
            "encode": (encode, [images, *label]),
            "log_prob": (log_prob, [images, seed, *label]),
        }
