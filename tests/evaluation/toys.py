"""Families of another package, as evaluation meets them: models of known likelihood."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfgen
from tfgen import registry
from tfgen.models.preprocessing import Pixels
from tfgen.models.vae.bounds import Terms
from tfgen.settings.model import ModelConfig

tfd: Any = tfp.distributions

# Length of a latent vector, and standard deviation of the weights.
DIM, SCALE = 2, 0.5
# log p of a byte that is uniform on 0…255, nats.
UNIFORM = -np.log(256)


class Toy(tfgen.GenerativeModel):
    """A model without training whose images are grey."""

    Config = ModelConfig
    config: ModelConfig

    def __init__(self, config: Any = None, *, seed: int = 0, dtype: Any = None, **fields: Any):
        config = self.Config.build(config, fields)
        super().__init__(config, Pixels("none"), seed, dtype=dtype)
        size = (DIM, int(np.prod(config.image_shape)))
        self.loadings = self.add_weight(
            size, keras.initializers.RandomNormal(stddev=SCALE, seed=seed), name="loadings"
        )

    @property
    def latent_dim(self) -> int:
        return DIM

    def decode_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        values = 0.5 + 0.1 * latents @ self.loadings.value
        return tf.reshape(values, [-1, *self.config.image_shape])


class UniformBytes(Toy):
    """Uniform bytes."""

    density = "dequantized"

    def log_prob_images(self, images: tf.Tensor, noise: Any, labels: Any = None) -> tf.Tensor:
        size = np.prod(self.config.image_shape)
        return tf.fill(tf.shape(images)[:1], tf.constant(size * UNIFORM, tf.float64))


class UniformBytesByLabel(Toy):
    """Uniform bytes, less likely by the label in nats."""

    density = "exact"

    def log_prob_images(self, images: tf.Tensor, noise: Any, labels: Any = None) -> tf.Tensor:
        size = np.prod(self.config.image_shape)
        return size * UNIFORM - tf.cast(tf.argmax(labels, axis=-1), tf.float64)


class LinearGaussian(Toy):
    """x = Wᵀ z + ε with both normal, and the exact posterior."""

    density = "latent"

    def posterior(self, events: tf.Tensor, labels: tf.Tensor | None = None) -> Any:
        loadings = self.loadings.value
        covariance = tf.linalg.inv(tf.eye(DIM) + loadings @ tf.transpose(loadings))
        flat = tf.reshape(events, [-1, loadings.shape[1]])
        means = flat @ tf.transpose(covariance @ loadings)
        return tfd.MultivariateNormalTriL(means, tf.linalg.cholesky(covariance))

    def sample_terms(self, events: tf.Tensor, noise: Any, labels: Any, samples: Any) -> Terms:
        posterior, prior = self.posterior(events), tfd.Sample(tfd.Normal(0.0, 1.0), DIM)
        epsilon = noise.normal(tf.shape(events)[0], (samples, DIM), 0)
        root = posterior.scale.to_dense()
        latents = posterior.mean()[:, None] + epsilon @ tf.transpose(root)
        flat = tf.reshape(events, [-1, 1, self.loadings.shape[1]])
        likelihood = tfd.Independent(tfd.Normal(latents @ self.loadings.value, 1.0), 1)
        by_sample = tf.transpose(latents, [1, 0, 2])
        ratios = prior.log_prob(by_sample) - posterior.log_prob(by_sample)
        kl = tfd.kl_divergence(posterior, tfd.MultivariateNormalDiag(tf.zeros([DIM])))
        return Terms(likelihood.log_prob(flat), tf.transpose(ratios), [kl])

    def exact_log_prob(self, events: np.ndarray) -> np.ndarray:
        """log p(x) in closed form, in float64."""
        loadings = self.loadings.numpy().astype(np.float64)
        covariance = np.eye(loadings.shape[1]) + loadings.T @ loadings
        density = tfd.MultivariateNormalFullCovariance(np.zeros(len(covariance)), covariance)
        return density.log_prob(events.reshape(len(events), -1).astype(np.float64)).numpy()


_PRESETS = {"mlp": registry.Preset("", ModelConfig(), 1, 1, 1.0)}
UNIFORM_FAMILY = registry.Family(
    "uniform", "a toy", f"{__name__}:UniformBytes", ModelConfig, _PRESETS, conditional=True
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the family known, as if a package with an entry point were installed."""
    paths = {**registry._paths(), "uniform": f"{__name__}:UNIFORM_FAMILY"}
    monkeypatch.setattr(registry, "_paths", lambda: paths)
