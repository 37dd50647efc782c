"""The variational autoencoder."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import random
from tfgen.config import VAEConfig
from tfgen.convolutional import convolutional_decoder, convolutional_encoder
from tfgen.layers import Dense
from tfgen.models.average import MovingAverage
from tfgen.models.base import Curve, GenerativeModel, not_empty
from tfgen.models.bounds import ELBO, Bound, ImportanceWeighted
from tfgen.models.preprocessing import Noise, Pixels, Preprocessing
from tfgen.networks import append_labels, build_network, dense_network

tfd: Any = tfp.distributions
Distribution: TypeAlias = Any  # tfd.Distribution, for the reader: TFP ships no types

# Keeps log σ finite where softplus underflows.
_MIN_STDDEV = 1e-7
# Importance samples of the exported `log_prob`.
EXPORTED_IMPORTANCE_SAMPLES = 64


class Bernoulli(tfd.Bernoulli):
    """TFP's, its log-probability of x as x·l − log(1 + eˡ) with logits l: one softplus instead of two.

    Importance sampling, which evaluates it for each sample, is faster for it.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self._logits_parameter_no_checks()
        return event * logits - tf.nn.softplus(logits)


@keras.saving.register_keras_serializable(package="tfgen")
class VAE(GenerativeModel):
    """A variational autoencoder (Kingma & Welling 2013, "Auto-encoding variational Bayes"; Doersch 2016).

    The posterior q(z|x) is a diagonal normal with a softplus scale, the prior p(z) standard normal, the
    likelihood p(x|z) a product over pixels. Training maximizes a bound on log p(x) by reparameterized
    samples: the ELBO, its KL in closed form, or with `objective="iwae"` the importance-weighted bound (Burda
    et al. 2015). Logs `loss` = −bound, and the ELBO's parts `reconstruction` = −E_q[log p(x|z)] and `kl`, in
    nats, summed over the image and averaged over images.

    With `kl_warmup_steps` the KL's weight in the gradient grows from 0 to 1 (Sønderby et al. 2016, "Ladder
    variational autoencoders"); what is logged is the bound itself. With `ema_decay` a moving average of the
    weights judges and samples.

    Args:
        image_shape: height, width, channels; with `preprocessing=Identity()` any event shape.
        latent_dim: dimensions of z.
        hidden: widths of the encoder's dense hidden layers, in reverse the decoder's.
        likelihood: `bernoulli` (needs binarized images), `continuous_bernoulli` (Loaiza-Ganem & Cunningham
            2019) for grey in [0, 1], or `normal` with unit variance.
        binarization: `dynamic`, `threshold` or `none`.
        num_classes: of a class-conditional model, which needs labels (Sohn et al. 2015); 0: of another. Both
            networks see the label, one-hot, appended along the last axis.
        seed: of the initial weights and of all noise.
        encoder: a layer `[B, *event_shape] → [B, 2·latent_dim]`, mean and scale before softplus; None builds
            one. Conditional, its input's last axis is longer by `num_classes`.
        decoder: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`, the likelihood's logits or
            means.
        preprocessing: what turns bytes into events; None takes `Pixels(binarization)`.
        name: of the model.
        dtype: policy of the networks.
        **config: further fields of `VAEConfig`, described there.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> vae = VAE(latent_dim=2)
        >>> vae.compile(optimizer="adam")
        >>> vae.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> vae.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    config: VAEConfig
    density = "latent"
    curves = (Curve("negative bound, and the ELBO's parts [nats]", ("loss", "reconstruction", "kl")),)

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
        name: str | None = None,
        dtype: Any = None,
        **config: Any,
    ):
        fields = {"hidden": hidden, "likelihood": likelihood, "binarization": binarization, **config}
        made = VAEConfig.from_json(
            {"image_shape": image_shape, "latent_dim": latent_dim, "num_classes": num_classes, **fields}
        )
        if preprocessing is None:
            made.check_events()
        if encoder is None or decoder is None:
            made.check_architecture()
        super().__init__(made, preprocessing or Pixels(made.binarization), seed, name=name, dtype=dtype)
        self._given = {"encoder": encoder, "decoder": decoder, "preprocessing": preprocessing}
        # A dense network of ours takes events flat, lest a label be appended at each pixel.
        self._flat = encoder is None and made.architecture == "dense" and num_classes > 0
        self.encoder = encoder or self._build_encoder()
        self.decoder = decoder or self._build_decoder()
        *sides, depth = made.image_shape
        build_network(self.encoder, (*sides, depth + num_classes))
        build_network(self.decoder, (made.latent_dim + num_classes,))
        variables = self.trainable_variables
        self._average = MovingAverage(self, variables, made.ema_decay) if made.ema_decay else None
        self.loss_metric = keras.metrics.Mean("loss", dtype="float64")
        self.reconstruction_metric = keras.metrics.Mean("reconstruction", dtype="float64")
        self.kl_metric = keras.metrics.Mean("kl", dtype="float64")
        self.built = True

    def _build_encoder(self) -> keras.Sequential:
        config, outputs = self.config, 2 * self.config.latent_dim
        *sides, depth = config.image_shape
        common = {"activation": config.activation, "dtype": self.dtype_policy, "seed": 2 * self.seed}
        if config.architecture == "convolutional":
            widths = config.channels, config.blocks, config.hidden, outputs
            shape = (*sides, depth + config.num_classes)
            return convolutional_encoder(shape, *widths, name="encoder", **common)
        flat = (math.prod(config.image_shape) + config.num_classes,)
        inputs = flat if self._flat else config.image_shape
        return dense_network(inputs, config.hidden, (outputs,), name="encoder", layer=Dense, **common)

    def _build_decoder(self) -> keras.Sequential:
        config, inputs = self.config, self.config.latent_dim + self.config.num_classes
        common = {"activation": config.activation, "dtype": self.dtype_policy, "seed": 2 * self.seed + 1}
        hidden, shape = config.hidden[::-1], config.image_shape
        if config.architecture == "convolutional":
            widths = config.channels, config.blocks, hidden
            return convolutional_decoder(inputs, *widths, shape, name="decoder", **common)
        return dense_network((inputs,), hidden, shape, name="decoder", layer=Dense, **common)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.config.latent_dim

    @property
    def networks(self) -> list[keras.Sequential]:
        """Those that a step evaluates an image: the decoder for each sample of z."""
        times = {id(self.decoder): self.config.importance_samples}
        return [network for network in super().networks for _ in range(times.get(id(network), 1))]

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
            pixels = Bernoulli(logits=parameters, dtype=parameters.dtype)
        elif self.config.likelihood == "continuous_bernoulli":
            pixels = tfd.ContinuousBernoulli(logits=parameters)
        else:
            pixels = tfd.Normal(parameters, tf.ones([], parameters.dtype))
        return tfd.Independent(pixels, reinterpreted_batch_ndims=len(self.config.image_shape))

    def elbo(
        self, events: tf.Tensor, noise: Noise, labels: tf.Tensor | None = None, samples: int = 1
    ) -> ELBO:
        """The ELBO of events `[B, *event_shape]`, its expectation by `samples` of z from `noise`."""
        posterior = self.posterior(events, labels)
        latents = self._posterior_samples(posterior, samples, noise)
        if samples == 1:
            reconstruction = self.likelihood(latents[0], labels).log_prob(events)
        else:
            reconstruction = tf.reduce_mean(self.likelihood(latents, labels).log_prob(events), axis=0)
        return ELBO(reconstruction, self.kl_to_prior(posterior))

    def kl_to_prior(self, posterior: Distribution) -> tf.Tensor:
        """KL(q(z|x) ‖ p(z)) in closed form, nats, `[B]`.

        Dimension by dimension: TFP's divergence of two multivariate normals solves linear systems, which is
        felt in the time of a training step.
        """
        prior = tfd.Normal(tf.zeros([], self.likelihood_dtype), tf.ones([], self.likelihood_dtype))
        marginals = tfd.Normal(posterior.mean(), posterior.stddev())
        return tf.reduce_sum(tfd.kl_divergence(marginals, prior), axis=-1)

    def importance_weighted(
        self, events: tf.Tensor, noise: Noise, labels: tf.Tensor | None = None, samples: int = 1
    ) -> ImportanceWeighted:
        """What the importance-weighted bound of events `[B, *event_shape]` by `samples` of z is made of."""
        posterior = self.posterior(events, labels)
        latents = self._posterior_samples(posterior, samples, noise)
        log_likelihoods = self.likelihood(latents, labels).log_prob(events)
        log_ratios = self.prior().log_prob(latents) - posterior.log_prob(latents)
        kl = self.kl_to_prior(posterior)
        return ImportanceWeighted(tf.transpose(log_likelihoods), tf.transpose(log_ratios), kl)

    def importance_log_prob(
        self, events: tf.Tensor, noise: Noise, samples: int, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The importance-weighted bound on log p(x) (Burda et al. 2015), nats, `[B]`.

        Its expectation grows with the number of `samples` and tends to log p(x). By the weights as they are;
        see `averaged`.
        """
        return self.importance_weighted(events, noise, labels, samples).bound()

    def _posterior_samples(self, posterior: Distribution, samples: int, noise: Noise) -> tf.Tensor:
        """z = μ + σ ε, `[samples, B, D]`."""
        mean = posterior.mean()
        epsilon = noise.normal(
            tf.shape(mean)[0], (samples, self.latent_dim), random.POSTERIOR, mean.dtype.name
        )
        return mean + posterior.stddev() * tf.transpose(epsilon, [1, 0, 2])

    # --- training --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of the optimizer on −bound, in which the KL has `kl_weight`."""
        images, labels = self.unpack(data)
        with tf.GradientTape() as tape:
            terms = self.side_by_side(self._noisy_terms, self.training_noise(), images, labels)
            loss = self.gradient_loss(-tf.reduce_mean(terms.bound(self.kl_weight())), self.optimizer)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value)
        self.step.assign_add(1)
        return self._updated_logs(terms)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−bound of a batch, by the weights' moving average where there is one."""
        with self.averaged():
            terms = self._noisy_terms(self.next_test_noise(), *self.unpack(data))
        return self._updated_logs(terms)

    def kl_weight(self) -> tf.Tensor | None:
        """The KL's weight in this step's gradient: step / `kl_warmup_steps`, 1 at most; None: always 1."""
        steps = self.config.kl_warmup_steps
        if not steps:
            return None
        return tf.minimum(tf.cast(self.step.value, self.likelihood_dtype) / steps, 1.0)

    def averaged(self) -> Any:
        """A context in which the weights read as their moving averages, where there are such."""
        return self._average.scope() if self._average is not None else contextlib.nullcontext()

    def _noisy_terms(self, noise: Noise, images: tf.Tensor, labels: tf.Tensor | None) -> Bound:
        """What the objective is made of, for images whose events come from `noise` too."""
        events = self.preprocessing.events(images, noise, self.likelihood_dtype)
        bound = self.importance_weighted if self.config.objective == "iwae" else self.elbo
        return bound(events, noise, self.one_hot(labels), self.config.importance_samples)

    def _updated_logs(self, terms: Bound) -> dict[str, tf.Tensor]:
        self.loss_metric.update_state(-terms.bound())
        self.reconstruction_metric.update_state(-terms.reconstruction)
        self.kl_metric.update_state(terms.kl)
        return self.logs()

    # --- use -------------------------------------------------------------------------------------------

    def encode(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of q(z|x), `float32[B, D]` each, of `uint8` images (and `int` labels).

        There is no noise: where training binarizes at random, encoding does so at 1/2.
        """
        events = self.preprocessing.likely_events(tf.convert_to_tensor(images), self.likelihood_dtype)

        def moments(events: tf.Tensor, one_hot: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
            posterior = self.posterior(events, one_hot)
            return tf.cast(posterior.mean(), tf.float32), tf.cast(posterior.stddev(), tf.float32)

        return self._judged(moments, events, self.one_hot(labels))

    def decode(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """The likelihood's means, `float32[B, H, W, C]` in 0…1, of `latents: float32[B, D]`."""

        def means(latents: tf.Tensor, one_hot: tf.Tensor | None = None) -> tf.Tensor:
            return self.likelihood(latents, one_hot).mean()

        latents = tf.cast(latents, self.likelihood_dtype)
        return self.preprocessing.images(self._judged(means, latents, self.one_hot(labels)))

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

        def log_prob(images: tf.Tensor, seeds: tf.Tensor, one_hot: tf.Tensor | None = None) -> tf.Tensor:
            noise = random.SeedNoise(seeds)
            events = self.preprocessing.events(images, noise, self.likelihood_dtype)
            return self.importance_log_prob(events, noise, samples, one_hot)

        images, seeds = tf.convert_to_tensor(images), tf.convert_to_tensor(seeds, tf.int32)
        return self._judged(log_prob, images, seeds, self.one_hot(labels))

    def _judged(self, function: Callable[..., Any], *batches: tf.Tensor | None) -> Any:
        """`function` of batches, of images or of none, by the weights' moving average where there is one."""
        with self.averaged():
            return not_empty(function, *(batch for batch in batches if batch is not None))

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
