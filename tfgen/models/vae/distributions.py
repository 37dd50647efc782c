"""The distributions of a VAE, q(z|x), p(z) and p(x|z), and the bounds on log p(x)."""

from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.models.generative import GenerativeModel
from tfgen.models.preprocessing import Noise
from tfgen.models.vae import bounds, likelihoods
from tfgen.models.vae.bounds import ELBO, Bound, FreeBits, ImportanceWeighted
from tfgen.models.vae.config import VAEConfig
from tfgen.models.vae.hierarchy import TopDown, TopDownPosterior
from tfgen.models.vae.likelihoods import Distribution
from tfgen.nn.blocks import append_labels

tfd: Any = tfp.distributions

# Keeps log σ finite where the softplus underflows.
_MIN_STDDEV = 1e-7


class LatentVariableModel(GenerativeModel):
    """The part of `VAE` that its step, `encode` and `log_prob` are made of.

    Kingma & Welling 2013 define q(z|x), p(x|z) and the ELBO; Burda et al. 2015 the
    importance-weighted bound.
    """

    config: VAEConfig
    encoder: keras.Layer
    decoder: keras.Layer
    # Whether labels are appended to flat events.
    _flat: bool

    def posterior(
        self, events: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> Distribution:
        """q(z|x): batch shape `[B]`, event shape `[D]`.

        Args:
            events: `[B, *event_shape]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: whether the encoder's dropout is on and its batch normalization uses the
                batch's moments.
        """
        if labels is not None:
            events = append_labels(events, labels, self._flat)
        code = self.encoder(events, training=training)
        if isinstance(self.decoder, TopDown):
            return TopDownPosterior(self.decoder, code, labels, self.likelihood_dtype)
        mean, raw_scale = tf.split(tf.cast(code, self.likelihood_dtype), 2, axis=-1)
        return tfd.MultivariateNormalDiag(mean, tf.nn.softplus(raw_scale) + _MIN_STDDEV)

    def prior(self) -> Distribution:
        """p(z), standard normal: event shape `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def likelihood(
        self, latents: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> Distribution:
        """p(x|z): batch shape `[..., B]`, event shape `event_shape`.

        Args:
            latents: `[..., B, D]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: as for `posterior`, for the decoder.
        """
        if labels is not None:
            shape = tf.concat([tf.shape(latents)[:-1], tf.shape(labels)[-1:]], axis=0)
            latents = tf.concat([latents, tf.broadcast_to(labels, shape)], axis=-1)
        flat = tf.reshape(latents, [-1, self.latent_dim + self.num_classes])
        batch = None if latents.shape.rank == 2 else tf.shape(latents)[:-1]
        return self._likelihood_of(self.decoder(flat, training=training), batch)

    def _likelihood_of(self, outputs: tf.Tensor, batch: tf.Tensor | None = None) -> Distribution:
        """p(x|z) of the decoder's outputs `[N, *outputs_shape]`, with the batch shape `batch`."""
        outputs = tf.cast(outputs, self.likelihood_dtype)
        if batch is not None:
            shape = tf.concat([batch, likelihoods.outputs_shape(self.config)], axis=0)
            outputs = tf.reshape(outputs, shape)
        return likelihoods.make_likelihood(self.config, outputs)

    def sampled_terms(
        self,
        events: tf.Tensor,
        noise: Noise,
        labels: tf.Tensor | None = None,
        samples: int | tf.Tensor = 1,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """The terms of the bounds, from samples of z; arguments as for `elbo`.

        Returns:
            log p(x|z), `[samples, B]`; log p(z) − log q(z|x), `[samples, B]`; the KL of each level
            of latents, `[B]`.
        """
        posterior = self.posterior(events, labels, training)

        def terms(epsilon: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
            draws = bounds.draw(posterior, epsilon)
            is_single = epsilon.shape[0] == 1
            if draws.outputs is None:
                likelihood = self.likelihood(
                    draws.latents[0] if is_single else draws.latents, labels, training
                )
            else:
                batch = None if is_single else tf.shape(draws.log_ratios)
                likelihood = self._likelihood_of(draws.outputs, batch)
            log_likelihoods = likelihood.log_prob(events)
            return (
                log_likelihoods[None] if is_single else log_likelihoods,
                draws.log_ratios,
                draws.kls,
            )

        epsilon = bounds.posterior_noise(posterior, samples, noise)
        if not self.config.is_of_bytes or training or epsilon.shape[0] == 1:
            return terms(epsilon)
        # One sample of each image at a time: a pixel's mixture takes dozens of numbers.
        return bounds.in_turn(terms, epsilon)

    def bound(
        self,
        events: tf.Tensor,
        noise: Noise,
        labels: tf.Tensor | None = None,
        samples: int = 1,
        training: bool = False,
    ) -> Bound:
        """The terms of the bound that training maximizes and evaluation reports.

        A subclass with a bound of its own overrides this method, for both objectives. By default it
        is `elbo`, or `importance_weighted` with `objective="iwae"`. Arguments are as for `elbo`.
        """
        bound = self.importance_weighted if self.config.objective == "iwae" else self.elbo
        return bound(events, noise, labels, samples, training)

    def elbo(
        self,
        events: tf.Tensor,
        noise: Noise,
        labels: tf.Tensor | None = None,
        samples: int = 1,
        training: bool = False,
    ) -> ELBO | FreeBits:
        """The ELBO of events.

        Args:
            events: `[B, *event_shape]`.
            noise: the source of the samples of z.
            labels: one-hot, `[B, K]`, for a conditional model.
            samples: samples of z that estimate the expectation.
            training: whether dropout is on and batch normalization uses the batch's moments.
        """
        log_likelihoods, _, kls = self.sampled_terms(events, noise, labels, samples, training)
        reconstruction, kl = tf.reduce_mean(log_likelihoods, axis=0), tf.add_n(kls)
        free_bits = self.config.free_bits
        if not (training and free_bits):
            return ELBO(reconstruction, kl)
        return FreeBits(reconstruction, kl, tf.add_n([tf.maximum(k, free_bits) for k in kls]))

    def importance_weighted(
        self,
        events: tf.Tensor,
        noise: Noise,
        labels: tf.Tensor | None = None,
        samples: int = 1,
        training: bool = False,
    ) -> ImportanceWeighted:
        """The terms of the importance-weighted bound of events; arguments as for `elbo`."""
        terms = self.sampled_terms(events, noise, labels, samples, training)
        log_likelihoods, log_ratios, kls = terms
        return ImportanceWeighted(
            tf.transpose(log_likelihoods), tf.transpose(log_ratios), tf.add_n(kls)
        )

    def importance_log_prob(
        self, events: tf.Tensor, noise: Noise, samples: int, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The importance-weighted bound on log p(x) (Burda et al. 2015), nats, `[B]`.

        Its expectation grows with the number of `samples` and tends to log p(x). Uses the raw
        weights, not the EMA. Arguments are as for `elbo`.
        """
        return self.importance_weighted(events, noise, labels, samples).bound()
