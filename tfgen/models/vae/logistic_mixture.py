"""The mixture of discretized logistics, a likelihood of bytes.

Salimans et al. 2017, "PixelCNN++: improving the PixelCNN with discretized logistic mixture
likelihood and other modifications".
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Bounds of log s. At the lower one, 97 % of a logistic around a byte are within its bin; at the
# upper one, a logistic gives each byte inside of the range the same probability. Beyond, single
# pixels would dominate the gradient, or lose theirs.
_LOG_SCALES = (-7.0, 7.0)


def outputs_per_pixel(channels: int, mixtures: int) -> int:
    """Numbers that describe a pixel: weights, means, log-scales and coefficients.

    (1 + 2 C + C (C − 1) / 2) K for C channels and K components.
    """
    return mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)


class LogisticMixture:
    """Mixtures of K discretized logistics, one for each pixel, whose components have C channels.

    Salimans et al. 2017, "PixelCNN++". Has `log_prob` and `mean`, as a distribution of TFP.

    The levels are v = −1, −1 + 2h, …, 1 with h = 1 / (levels − 1). A component gives level v of a
    channel the probability σ((v + h − m) / s) − σ((v − h − m) / s); the first and the last level
    have all that is below and above. Channels depend on those before them: the second one's mean is
    m₁ + c₁₀ x₀, the third one's is m₂ + c₂₀ x₀ + c₂₁ x₁. Pixels are independent.

    The last axis of a parameter has the K numbers of its first channel, then those of the next. All
    components of a pixel are then computed by operations on equal shapes, which on a CPU take a
    third of the time of those that broadcast.

    Outputs of zero describe K equally likely logistics, spread over −1…1 and 1 / K wide: about 8
    bits for any byte. Coefficients go through a tanh, log-scales are clipped to −7…7.

    Args:
        outputs: of a decoder, `[..., H, W, outputs_per_pixel(channels, mixtures)]`: K logits, then
            C K means m, C K log-scales log s and C (C − 1) K / 2 coefficients c₁₀, c₂₀, c₂₁, ….
        channels: C.
        mixtures: K.
        levels: number of levels.
    """

    def __init__(self, outputs: tf.Tensor, channels: int, mixtures: int, levels: int = 256):
        self.channels, self.mixtures, self._half_bin = channels, mixtures, 1 / (levels - 1)
        pairs = channels * (channels - 1) // 2
        sizes = [mixtures, channels * mixtures, channels * mixtures, pairs * mixtures]
        self.logits, means, log_scales, coefficients = tf.split(outputs, sizes, axis=-1)
        centers = np.tile((2 * np.arange(mixtures) + 1) / mixtures - 1, channels)
        self.means = means + tf.constant(centers, outputs.dtype)
        log_scales -= float(np.log(mixtures))
        self.log_scales = tf.clip_by_value(log_scales, *_LOG_SCALES)
        self.coefficients = tf.tanh(coefficients)

    def log_prob(self, events: tf.Tensor) -> tf.Tensor:
        """Σ over pixels of log Σ_k π_k Π_c P(x_c), in nats, `[...]`.

        Args:
            events: pixels in −1…1, `[..., H, W, C]`.
        """
        events = tf.convert_to_tensor(events, self.means.dtype)
        channels = tf.split(events, self.channels, axis=-1)
        shifts = [self._shift(index, channels) for index in range(1, self.channels)]
        locations = self.means
        if shifts:
            locations += tf.concat([tf.zeros_like(shifts[0]), *shifts], axis=-1)
        log_bins = self._log_bins(tf.repeat(events, self.mixtures, axis=-1), locations)
        log_components = tf.add_n(tf.split(log_bins, self.channels, axis=-1))
        log_pixels = tf.reduce_logsumexp(tf.nn.log_softmax(self.logits) + log_components, axis=-1)
        return tf.reduce_sum(log_pixels, axis=[-2, -1])

    def _shift(self, channel: int, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the channels before one add to its means, `[..., H, W, K]`.

        Args:
            channel: index of the channel, 1 or more.
            values: of the channels before it, `[..., H, W, 1]` or `[..., H, W, K]`.
        """
        first = channel * (channel - 1) // 2 * self.mixtures
        coefficients = self.coefficients[..., first : first + channel * self.mixtures]
        parts = tf.split(coefficients, channel, axis=-1)
        return tf.add_n([part * values[index] for index, part in enumerate(parts)])

    def _log_bins(self, values: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
        """log of the probability that each logistic gives to the bin of its value.

        For a bin from a to b, σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)), where b − a = 2h / s. No
        difference of nearly equal numbers is left, so the logarithm is as exact far from the mean
        as near it.

        Args:
            values: of the channels, `[..., H, W, C K]`.
            locations: the logistics' means, `[..., H, W, C K]`.
        """
        precisions = tf.exp(-self.log_scales)
        distances, halves = (values - locations) * precisions, self._half_bin * precisions
        above = tf.nn.softplus(-distances - halves)  # −log σ(b)
        below = tf.nn.softplus(distances - halves)  # −log σ(−a)
        width = tf.math.log(-tf.math.expm1(-2 * halves))
        # 0 for the levels whose bins have no lower, or no upper end; a product with a mask is
        # faster than tf.where.
        has_lower = tf.cast(values > self._half_bin - 1, values.dtype)
        has_upper = tf.cast(values < 1 - self._half_bin, values.dtype)
        return has_lower * has_upper * width - has_upper * above - has_lower * below

    def mean(self) -> tf.Tensor:
        """The mean, within half a level if the coefficients are 0, `[..., H, W, C]`.

        Within a component, each channel has its mean with those before it at theirs. The mean of a
        channel is that of the continuous logistic, clipped to −1…1: a component that is sure of
        white may have its centre far above.
        """
        weights = tf.nn.softmax(self.logits)
        centers = tf.split(self.means, self.channels, axis=-1)
        log_scales = tf.split(self.log_scales, self.channels, axis=-1)
        means: list[tf.Tensor] = []
        for index, (center, log_scale) in enumerate(zip(centers, log_scales, strict=True)):
            if index:
                center += self._shift(index, means)
            scales = tf.exp(log_scale)
            upper, lower = (scales * tf.nn.softplus((end - center) / scales) for end in (1.0, -1.0))
            means.append(1 - (upper - lower))
        return tf.stack([tf.reduce_sum(weights * mean, axis=-1) for mean in means], axis=-1)
