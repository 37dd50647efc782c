"""The hierarchical VAE: a bottom-up network, and a top-down network of several levels of latents.

Sønderby et al. 2016, "Ladder variational autoencoders"; Vahdat & Kautz 2020, "NVAE: a deep
hierarchical variational autoencoder"; Child 2021, "Very deep VAEs generalize autoregressive models
and can outperform them on images".

A level has latents z with a normal prior, whose mean and scale depend on the levels above. The
latent vector of the model is the noise ε of z = μ_p + σ_p ε, all levels side by side, and so its
prior is standard normal. The posterior is relative to the prior: z has mean μ_p + Δμ and standard
deviation σ_p exp(Δ log σ), and thus ε has mean Δμ / σ_p and standard deviation exp(Δ log σ). In z
and in ε, log p − log q and the KL are the same.

Only the sizes below full size have blocks, and no layer normalizes. A block's last convolution
starts smaller by 1 / √L, with L levels.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfgen.models.vae.bounds import Draws, kl_of_noise
from tfgen.nn.blocks import make_layer, seed_of_layer
from tfgen.nn.layers import GatedResidual

# Bound of |log σ_p| and of |Δ log σ|, approached smoothly, which keeps a σ finite in any step.
_LOG_SCALE_BOUND = 5.0
# Levels that share the features of a bottom-up block.
LEVELS_PER_BLOCK = 2


class Prior(NamedTuple):
    """Mean and log σ of a level's z, given the levels above, `[N, H, W, C]`."""

    mean: tf.Tensor
    log_stddev: tf.Tensor


class Path(NamedTuple):
    """One pass of the posterior from the top to the bottom.

    Attributes:
        epsilon: of all levels, `[N, D]`.
        mean: of each ε, given those of the levels above, `[N, D]`.
        log_stddev: log σ of each ε, given those of the levels above, `[N, D]`.
        maps: the feature maps that the outputs follow from.
    """

    epsilon: tf.Tensor
    mean: tf.Tensor
    log_stddev: tf.Tensor
    maps: tf.Tensor


class TopLevel(keras.layers.Layer):
    """The level at the top: dense, with a standard normal prior, so that z = ε.

    It has the methods of a `Level`; in place of feature maps from above it takes one-hot labels
    `[N, K]`, where K is 0 without labels.

    Args:
        size: number of latents.
        output_shape: shape of the feature maps for the next level.
        seed: seed of the initial weights.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, size: int, output_shape: Sequence[int], seed: int = 0, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.size, self.output_maps = size, tuple(output_shape)
        first, second, dtype = seed_of_layer(seed, 0), seed_of_layer(seed, 1), self.dtype_policy
        self.moments = make_layer(keras.layers.Dense, 2 * size, seed=first, dtype=dtype, zero=True)
        units = math.prod(output_shape)
        self.expand = make_layer(keras.layers.Dense, units, seed=second, dtype=dtype)

    def build(self, input_shape: Any) -> None:
        """Creates the weights, for labels `[N, K]`."""
        self.moments.build((None, math.prod(self.output_maps)))
        self.expand.build((None, self.size + input_shape[-1]))

    def prior(self, labels: tf.Tensor, dtype: Any) -> None:
        """None: the prior of z is that of ε."""

    def posterior(
        self, labels: tf.Tensor, features: tf.Tensor, prior: None, dtype: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log σ of ε, `[N, size]`; arguments as for `Level.posterior`."""
        flat = tf.reshape(features, [-1, math.prod(self.output_maps)])
        mean, raw = tf.split(tf.cast(self.moments(flat), dtype), 2, axis=-1)
        return mean, _bounded(raw)

    def advance(self, labels: tf.Tensor, prior: None, epsilon: tf.Tensor) -> tf.Tensor:
        """The feature maps for the next level, `[N, H, W, C]`, of ε `[N, size]`."""
        latents = tf.concat([epsilon, tf.cast(labels, epsilon.dtype)], axis=-1)
        return tf.reshape(self.expand(latents), [-1, *self.output_maps])


class Level(keras.layers.Layer):
    """A level of latents below the top, at each position of feature maps `[N, H, W, width]`.

    The prior is a 1 × 1 convolution of the maps, zero at first. The posterior is a 1 × 1
    convolution of maps and bottom-up features, ReLU, and a 3 × 3 convolution, zero at first, so
    that the KL starts at 0. A 1 × 1 convolution adds z to the maps, and a gated residual block
    follows.

    Args:
        channels: latents at each position.
        seed: seed of the initial weights.
        scale: factor of the initial weights of the block's last convolution.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(self, channels: int, seed: int = 0, scale: float = 1.0, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.channels, self.seed, self.scale = channels, seed, scale

    def build(self, input_shape: Any) -> None:
        """Creates the weights, for maps `[N, H, W, width]`."""
        *sides, width = input_shape[1:]
        self.latent_shape = (*sides, self.channels)
        self.size = math.prod(self.latent_shape)

        def convolution(filters: int, side: int, index: int, inputs: int, **kwargs: Any) -> Any:
            kwargs |= {"kernel_size": side, "padding": "same", "dtype": self.dtype_policy}
            seed = seed_of_layer(self.seed, index)
            layer = make_layer(keras.layers.Conv2D, filters, seed=seed, **kwargs)
            layer.build((None, *sides, inputs))
            return layer

        self.prior_moments = convolution(2 * self.channels, 1, 0, width, zero=True)
        self.join = convolution(width, 1, 1, 2 * width, activation="relu")
        self.moments = convolution(2 * self.channels, 3, 2, width, zero=True)
        self.expand = convolution(width, 1, 3, self.channels)
        self.block = GatedResidual(seed_of_layer(self.seed, 4), self.scale, dtype=self.dtype_policy)
        self.block.build(input_shape)

    def prior(self, maps: tf.Tensor, dtype: Any) -> Prior:
        """p(z) given the levels above, computed from their maps; moments in `dtype`."""
        mean, raw = tf.split(tf.cast(self.prior_moments(maps), dtype), 2, axis=-1)
        return Prior(mean, _bounded(raw))

    def posterior(
        self, maps: tf.Tensor, features: tf.Tensor, prior: Prior, dtype: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log σ of ε given x and the levels above, `[N, size]`.

        Args:
            maps: of the levels above, `[N, H, W, width]`.
            features: bottom-up features, `[N, H, W, width]`.
            prior: what `prior` gives for the maps.
            dtype: dtype of the moments.
        """
        joined = self.join(tf.concat([maps, tf.cast(features, maps.dtype)], axis=-1))
        shift, raw = tf.split(tf.cast(self.moments(joined), dtype), 2, axis=-1)
        mean = shift * tf.exp(-prior.log_stddev)
        return tf.reshape(mean, [-1, self.size]), tf.reshape(_bounded(raw), [-1, self.size])

    def advance(self, maps: tf.Tensor, prior: Prior, epsilon: tf.Tensor) -> tf.Tensor:
        """The maps for the next level, with z = μ_p + σ_p ε of ε `[N, size]`."""
        noise = tf.reshape(epsilon, [-1, *self.latent_shape])
        latents = prior.mean + tf.exp(prior.log_stddev) * noise
        # Without `ensure_shape`, TensorFlow's remapper fails at this sum, prints an error and fuses
        # nothing in the whole graph.
        return self.block(tf.ensure_shape(maps + self.expand(latents), maps.shape))


def _bounded(raw: tf.Tensor) -> tf.Tensor:
    """A log-scale within the bound; near 0 it is `raw`."""
    return _LOG_SCALE_BOUND * tf.tanh(raw / _LOG_SCALE_BOUND)


class TopDown(keras.layers.Layer):
    """The decoder of a hierarchical VAE, and with the features of the bottom-up network its q(ε|x).

    Called as the decoder of any VAE, it follows the path of the prior.

    Args:
        levels: a `TopLevel`, and a `Level` for each one below it, from the top down.
        tail: layers from the maps of the last level to the outputs.
        num_classes: length K of the one-hot labels behind the latents; 0 without labels.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(
        self, levels: Sequence[Any], tail: Sequence[keras.Layer], num_classes: int, **kwargs: Any
    ):
        super().__init__(autocast=False, **kwargs)
        self.levels, self.tail, self.num_classes = list(levels), list(tail), num_classes
        maps = keras.KerasTensor((None, *levels[0].output_maps), self.compute_dtype)
        levels[0].build((None, num_classes))
        for level in levels[1:]:
            level.build(maps.shape)
        self.outputs(maps)  # creates the weights of the tail
        self.sizes = [level.size for level in self.levels]
        self.latent_dim = sum(self.sizes)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Outputs `[N, H, W, …]` of ε and one-hot labels `[N, D + K]`: the path of the prior."""
        *noise, maps = tf.split(inputs, [*self.sizes, self.num_classes], axis=-1)
        for level, epsilon in zip(self.levels, noise, strict=True):
            maps = level.advance(maps, level.prior(maps, epsilon.dtype), epsilon)
        return self.outputs(maps)

    def follow(
        self,
        features: Sequence[tf.Tensor],
        labels: tf.Tensor,
        dtype: Any,
        noise: Sequence[tf.Tensor] | None = None,
    ) -> Path:
        """The path of the posterior.

        Args:
            features: of the bottom-up network, `[N, H, W, width]`, the last ones for the top.
            labels: one-hot, `[N, K]`, where K may be 0.
            dtype: dtype of the moments and of ε.
            noise: standard normal, `[N, size]` for each level; None takes the means as ε.
        """
        maps, steps = labels, []
        for index, level in enumerate(self.levels):
            source = features[-1 - max(0, index - 1) // LEVELS_PER_BLOCK]
            prior = level.prior(maps, dtype)
            mean, log_stddev = level.posterior(maps, source, prior, dtype)
            epsilon = mean if noise is None else mean + tf.exp(log_stddev) * noise[index]
            maps = level.advance(maps, prior, epsilon)
            steps.append((epsilon, mean, log_stddev))
        epsilon, mean, log_stddev = (tf.concat(part, axis=-1) for part in zip(*steps, strict=True))
        return Path(epsilon, mean, log_stddev, maps)

    def outputs(self, maps: tf.Tensor) -> tf.Tensor:
        """The likelihood's parameters, of the maps of the last level."""
        for layer in self.tail:
            maps = layer(maps)
        return maps


class TopDownPosterior:
    """q(ε|x): each level is normal with independent latents, given the levels above.

    Mean and standard deviation are those of each level, given that those above it are at their
    means.

    Args:
        network: the top-down network.
        features: outputs of the bottom-up network, each `[B, H, W, width]`.
        labels: one-hot, `[B, K]`; None without labels.
        dtype: dtype of ε.
    """

    def __init__(self, network: TopDown, features: Any, labels: tf.Tensor | None, dtype: Any):
        # Keras unpacks the only output of a network.
        self._network, self._features, self._dtype = network, tf.nest.flatten(features), dtype
        none = tf.zeros([tf.shape(self._features[0])[0], 0], dtype)
        self._labels = none if labels is None else labels

    def draw(self, noise: tf.Tensor) -> Draws:
        """K samples of ε for each event, by passes from the top to the bottom.

        The KL of a level is that given the levels above, averaged over the samples.

        Args:
            noise: standard normal, `[K, B, D]`.
        """
        sizes, latent_dim = self._network.sizes, self._network.latent_dim
        copies = noise.shape[0] or tf.shape(noise)[0]
        inputs = [*self._features, self._labels]
        if noise.shape[0] != 1:
            inputs = [tf.tile(part, [copies, *[1] * (part.shape.rank - 1)]) for part in inputs]
        flat = tf.reshape(noise, [-1, latent_dim])
        parts = tf.split(flat, sizes, axis=-1)
        path = self._network.follow(inputs[:-1], inputs[-1], self._dtype, parts)
        kls = kl_of_noise(path.mean, path.log_stddev)
        ratios = tf.reduce_sum((flat**2 - path.epsilon**2) / 2 + path.log_stddev, axis=-1)
        levels = [tf.reduce_sum(part, axis=-1) for part in tf.split(kls, sizes, axis=-1)]
        return Draws(
            self._network.outputs(path.maps),
            tf.reshape(path.epsilon, [copies, -1, latent_dim]),
            tf.reshape(ratios, [copies, -1]),
            [tf.reduce_mean(tf.reshape(level, [copies, -1]), axis=0) for level in levels],
        )

    def mean(self) -> tf.Tensor:
        """The mean of each level given those above at their means, `[B, D]`."""
        return self._network.follow(self._features, self._labels, self._dtype).mean

    def stddev(self) -> tf.Tensor:
        """The standard deviation of each level given those above at their means, `[B, D]`."""
        return tf.exp(self._network.follow(self._features, self._labels, self._dtype).log_stddev)
