"""Flow matching."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfgen.models.base import Curve
from tfgen.models.flow_matching.config import FlowMatchingConfig
from tfgen.models.flow_matching.networks import build_velocity, context_size, time_features
from tfgen.models.flow_matching.solvers import State, solve
from tfgen.models.generative import GenerativeModel
from tfgen.models.preprocessing import Dequantized, DequantizedPixels, Identity, Labels, Noise
from tfgen.nn.average import trained_weights
from tfgen.nn.blocks import build_network
from tfgen.settings.model import check_image_architecture

# Streams of noise; see `tfgen.random`.
TIMES, STARTS, LABELS, PROBES, SPANS = 0x7469, 0x7374, 0x6C62, 0x7072, 0x7370
# Up to this many entries of an event, the divergence is exact.
EXACT_ENTRIES = 16
# For the likelihood, logits of bytes are divided so that they lie in −1…1 like pixels, and logits
# of times lie between these, where x_t is nearly all noise, and nearly the image.
LOGIT_SCALE, TIME_LOGITS = 1 / 7, (-4.0, 5.0)


@keras.saving.register_keras_serializable(package="tfgen")
class FlowMatching(GenerativeModel):
    """Flow matching: a sample is the end of a path that follows a learned velocity.

    Lipman et al. 2023, "Flow matching for generative modeling"; Liu et al. 2023, "Flow straight and
    fast: learning to generate and transfer data with rectified flow".

    A network regresses the velocity x₁ − x₀ of x_t = (1 − t) x₀ + t x₁ at times t in 0…1, with x₀
    from N(0, I) and x₁ an event. Its mean v(x, t) transports N(0, I) to the density of the events
    along dx/dt = v. Latents are x₀. `decode` solves the equation from x₀ at t = 0 with `steps`
    steps of a `solver`, and `encode` from x₁ at t = 1 back. Logs `loss`, |v(x_t, t) − (x₁ − x₀)|²
    as the mean over the entries of an event.

    `logit_normal` is the share of training times t from the logit-normal distribution of Esser et
    al. 2024, "Scaling rectified flow transformers"; the others are uniform. Validation has the same
    times. In training, a class-conditional model gets no label with probability `label_dropout`, so
    that `guidance` can extrapolate from the velocity without labels (Ho & Salimans 2022).

    With `flow_map`, the network also learns u, the mean velocity of a path over a span s of time,
    so that a few steps of `euler` suffice: x_{t+s} = x_t + s u (Boffi et al. 2025, "How to build a
    consistency model: learning flow maps via self-distillation"). The first images of a batch,
    a share `flow_map`, get spans. Since ∂(s u)/∂s = v(x_{t+s}, t + s), their target for u is
    v(x_{t+s}, t + s) − s ∂u/∂s, with v by the EMA weights.

    `objective="likelihood"` weights the times as in the bound on −log p(x₁) of a diffusion model
    with the same network (Song et al. 2021, "Maximum likelihood training of score-based diffusion
    models"; Kingma et al. 2021, "Variational diffusion models"). `loss` is this bound but for a
    constant, in nats, the mean over the entries of an event. It bounds no value of `log_prob`,
    which improves as it falls. Events are then logits of bytes, whose density is smooth; that of
    pixels jumps where a pixel is certain.

    Bytes become events by uniform dequantization, so the density of events bounds the probability
    of bytes. A draw of `log_prob` is one of the dequantization and of the probes of
    `event_log_prob`; several are averaged in nats.

    Args:
        config: the configuration; None takes the defaults.
        seed: seed of the initial weights and of all noise.
        network: a layer of two inputs, events `[B, *event_shape]` and the context `[B, 32 +
            num_classes]` (sines and cosines of the time, and the one-hot label), to `[B,
            *event_shape]`; None builds one.
        preprocessing: turns bytes into events; None takes `DequantizedPixels()`, or for the
            likelihood `Dequantized(scale=1/7)`. With `Identity()` and `architecture="dense"`,
            `image_shape` may be any event shape.
        name: name of the model.
        dtype: dtype policy of the network.
        **fields: fields of `FlowMatchingConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range, or the network does not map the
            shapes above (a `ValueError`).

    Examples:
        >>> model = FlowMatching()
        >>> model.compile(**model.default_optimizers(1e-3))
        >>> model.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> model.set_sampling(steps=4)
        >>> model.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = FlowMatchingConfig
    config: FlowMatchingConfig
    preprocessing: Dequantized | Identity
    _graphs: dict[Any, Callable[..., Any]]
    density = "estimate"
    curves = (Curve("squared error of the velocity, mean over pixels", ("loss",)),)

    def __init__(
        self,
        config: FlowMatchingConfig | None = None,
        *,
        seed: int = 0,
        network: keras.Layer | None = None,
        preprocessing: Dequantized | Identity | None = None,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = FlowMatchingConfig.build(config, fields)
        if network is None:
            check_image_architecture(config.architecture, config.image_shape)
        own_parts = {"network": network, "preprocessing": preprocessing}
        is_likelihood = config.objective == "likelihood"
        default = Dequantized(scale=LOGIT_SCALE) if is_likelihood else DequantizedPixels()
        super().__init__(config, preprocessing or default, seed, own_parts, name=name, dtype=dtype)
        self.network = network or build_velocity(config, seed, self.dtype_policy)
        if network is not None:
            context = (context_size(config.num_classes),)
            build_network(network, [config.image_shape, context], config.image_shape, "network")
        self.track_average(trained_weights(self), config.ema_decay)
        # Keras would track an attribute that is set.
        object.__setattr__(self, "_graphs", {})

    @property
    def latent_dim(self) -> int:
        """Dimensions of x₀: the number of entries of an event."""
        return math.prod(self.config.image_shape)

    # --- v(x, t) ------------------------------------------------------------------------

    def velocity(
        self,
        events: tf.Tensor,
        times: tf.Tensor,
        labels: Labels = None,
        training: bool = False,
        spans: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """v(x, t), `[B, *event_shape]`; uses the raw weights.

        The network's inputs and targets have variance 1 at all times if events have mean 0 and
        standard deviation `data_stddev` (Karras et al. 2022, "Elucidating the design space of
        diffusion-based generative models"). Where the network is 0, v is then the best linear
        function of x. The default 0.5 is the paper's.

        Args:
            events: x, `[B, *event_shape]`.
            times: t in 0…1, `[B]`.
            labels: one-hot, `[B, K]`, of a conditional model; zeros for no label.
            training: whether a gradient step follows.
            spans: the velocity is the mean over t to t + span, `[B]`; None: at t.
        """
        context = time_features(times, spans)
        if labels is not None:
            context = tf.concat([context, labels], axis=1)
        t = per_event(times, events)
        variance = (1 - t) ** 2 + (self.config.data_stddev * t) ** 2
        scale = tf.math.rsqrt(variance)
        outputs = self.network([events * scale, context], training=training)
        slope = (self.config.data_stddev**2 * t - (1 - t)) / variance
        outputs = tf.cast(outputs, events.dtype)
        return slope * events + self.config.data_stddev * scale * outputs

    # --- training -----------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on the squared error of the velocity."""
        images, labels, weights = self.unpack(data)
        errors_of = functools.partial(self.velocity_errors, training=True)
        with tf.GradientTape() as tape:
            losses = self.side_by_side(errors_of, images, self.training_noise(), labels)
            loss = self.reduce_loss(losses, weights)
        self.minimize(loss, tape)
        return self.log(weights, loss=losses)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The squared error of a batch, with the EMA weights if there are any."""
        images, labels, weights = self.unpack(data)
        with self.averaged():
            losses = self.velocity_errors(images, self.next_test_noise(), labels)
        return self.log(weights, loss=losses)

    def velocity_errors(
        self, images: tf.Tensor, noise: Noise, labels: Labels, training: bool = False
    ) -> tf.Tensor:
        """The squared error of the velocity, the mean over the entries of an event, `[B]`.

        For the likelihood, it is weighted by t² and by the range of the logits of t. Its average
        over times is then the integral of ½ |x̂₁ − x₁|² over signal-to-noise ratios t² / (1 − t)²,
        where x̂₁ is the model's mean of x₁ given x_t.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of dequantization, x₀, t, spans and, in training, of the labels that
                are left out.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: whether a gradient step follows.
        """
        dtype, shape = self.likelihood_dtype, tuple(self.config.image_shape)
        ends = self.preprocessing.events(images, noise, dtype)
        size = tf.shape(ends)[0]
        starts = noise.normal(size, shape, STARTS, dtype)
        if labels is not None and training:
            is_present = noise.uniform(size, (1,), LABELS, dtype) >= self.config.label_dropout
            labels *= tf.cast(is_present, dtype)
        if self.config.flow_map:
            times, spans = self.times_and_spans(noise, size)
        else:
            times, spans = self.times(noise, size), None
        t = per_event(times, ends)
        points, targets = (1 - t) * starts + t * ends, ends - starts
        if spans is not None:
            targets = self.flow_map_targets(targets, points, times, labels, spans)
        velocities = self.velocity(points, times, labels, training, spans)
        squares = tf.math.squared_difference(velocities, targets)
        errors = tf.reduce_mean(squares, axis=list(range(1, len(shape) + 1)))
        if self.config.objective == "likelihood":
            errors *= (TIME_LOGITS[1] - TIME_LOGITS[0]) * times**2
        return errors

    def times_and_spans(self, noise: Noise, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Times and spans of images, `[size]` each; only the first images have spans.

        A span begins at t = 0, like a single step from noise, with probability ½, else at a uniform
        time, and is uniform in 0…1 − t. The other images have span 0 and the times of `times`.

        Args:
            noise: the source of both.
            size: number of images.
        """
        dtype, count = self.likelihood_dtype, self._count_spans(size)
        start, part = tf.unstack(noise.uniform(count, (2,), SPANS, dtype), axis=1)
        starts = tf.nn.relu(2 * start - 1)
        times = tf.concat([starts, self.times(noise, size - count)], axis=0)
        return times, tf.pad(part * (1 - starts), [[0, size - count]])

    def _count_spans(self, size: tf.Tensor) -> tf.Tensor:
        """How many of `size` images have spans, rounded up."""
        share = self.config.flow_map * tf.cast(size, self.likelihood_dtype)
        return tf.cast(tf.math.ceil(share), size.dtype)

    def flow_map_targets(
        self,
        targets: tf.Tensor,
        points: tf.Tensor,
        times: tf.Tensor,
        labels: Labels,
        spans: tf.Tensor,
    ) -> tf.Tensor:
        """`targets`, but v(x_{t+s}, t + s) − s ∂u/∂s for the images with a span.

        Args:
            targets: x₁ − x₀, `[B, *event_shape]`.
            points: x_t, `[B, *event_shape]`.
            times: t, `[B]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            spans: s, `[B]`.
        """
        count = self._count_spans(tf.shape(targets)[0])
        points, times, spans = points[:count], times[:count], spans[:count]
        labels = None if labels is None else labels[:count]
        lengths = per_event(spans, points)
        with tf.autodiff.ForwardAccumulator(spans, tf.ones_like(spans)) as accumulator:
            means = self.velocity(points, times, labels, spans=spans)
        with self.averaged():
            velocities = self.velocity(points + lengths * means, times + spans, labels)
        of_spans = velocities - lengths * accumulator.jvp(means)
        return tf.concat([tf.stop_gradient(of_spans), targets[count:]], axis=0)

    def times(self, noise: Noise, size: tf.Tensor) -> tf.Tensor:
        """Training times t in (0, 1), `[size]`, one in each of `size` parts of equal probability.

        Kingma et al. 2021, "Variational diffusion models".

        Args:
            noise: the source of their common offset.
            size: number of times.
        """
        dtype, share = self.likelihood_dtype, self.config.logit_normal
        offset = noise.uniform(1, (), TIMES, dtype)
        positions = (tf.range(tf.cast(size, dtype)) / tf.cast(size, dtype) + offset) % 1
        if self.config.objective == "likelihood":
            return tf.sigmoid(TIME_LOGITS[0] + (TIME_LOGITS[1] - TIME_LOGITS[0]) * positions)
        normal = tf.math.ndtri(tf.clip_by_value(positions / max(share, 1e-5), 1e-5, 1 - 1e-5))
        uniform = (positions - share) / max(1 - share, 1e-5)
        return tf.where(positions < share, tf.sigmoid(normal), uniform)

    # --- use ----------------------------------------------------------------------------

    def set_sampling(self, **options: Any) -> None:
        """As for any model; what uses a solver is traced anew."""
        super().set_sampling(**options)
        self._graphs.clear()

    def apply_averaged(self, function: Callable[..., Any], *batches: tf.Tensor | None) -> Any:
        """As for any model; all calls of a method in Python share the graph of its solver."""
        call: Any = functools.partial(super().apply_averaged, function)
        if tf.executing_eagerly():
            graph = tf.function(call, autograph=False, reduce_retracing=True)
            call = self._graphs.setdefault(getattr(function, "args", (function,)), graph)
        return call(*batches)

    def decode_events(self, latents: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """Events x₁, `[B, *event_shape]`, at the ends of the paths that begin at the latents."""
        starts = tf.reshape(latents, [-1, *self.config.image_shape])
        return self._transport(starts, labels, 0.0, 1.0)

    def encode_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """x₀ of x₁, `[B, D]`, by as many steps of `solver` as `decode`; the noise dequantizes.

        `decode` gives the images back only roughly if the steps are few. A model with a flow map,
        which leads forward only, takes `density_steps` steps of `rk4`.
        """
        ends = self.preprocessing.events(images, noise, self.likelihood_dtype)
        return tf.reshape(self._transport(ends, labels, 1.0, 0.0), [-1, self.latent_dim])

    def _transport(self, events: tf.Tensor, labels: Labels, start: float, end: float) -> tf.Tensor:
        """The solution of dx/dt = v(x, t) at time `end` that is `events` at time `start`."""
        solver, steps = self.config.solver, self.config.steps
        if self.config.flow_map and end < start:
            solver, steps = "rk4", self.config.density_steps

        def derivative(time: tf.Tensor, state: State) -> State:
            times = tf.fill(tf.shape(events)[:1], time)
            if self.config.flow_map and solver == "euler":
                return (self.velocity(state[0], times, labels, spans=tf.ones_like(times) / steps),)
            return (self.guided_velocity(state[0], times, labels),)

        return solve(derivative, (events,), start, end, steps, solver)[0]

    def guided_velocity(self, events: tf.Tensor, times: tf.Tensor, labels: Labels) -> tf.Tensor:
        """The velocity of sampling: that without labels, plus `guidance` times the difference.

        Ho & Salimans 2022, "Classifier-free diffusion guidance". Arguments as for `velocity`.
        """
        guidance = self.config.guidance
        if labels is None or guidance == 1:
            return self.velocity(events, times, labels)
        pairs = ((events, events), (times, times), (labels, tf.zeros_like(labels)))
        both = self.velocity(*(tf.concat(pair, axis=0) for pair in pairs))
        labelled, unlabelled = tf.split(both, 2)
        return unlabelled + guidance * (labelled - unlabelled)

    def log_prob_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """An estimate of the uniform-dequantization bound on log P(x) of bytes, nats, `[B]`.

        The bound is E[log p(x + u)] (Theis et al. 2016), here for one u. log p is that of the
        solution without guidance; see `event_log_prob`.
        """
        ends, log_det = self.preprocessing.events_and_log_det(images, noise, self.likelihood_dtype)
        return self.event_log_prob(ends, noise, labels) + log_det

    def event_log_prob(self, events: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """log p(x₁) = log p(x₀) − ∫ div v dt of events, nats, `[B]`; uses the raw weights.

        The instantaneous change of variables (Chen et al. 2018, "Neural ordinary differential
        equations"), by `density_steps` steps of `rk4`. They are shorter near events, where v
        changes fastest. The divergence is exact for events of up to 16 entries. For larger ones it
        is estimated by εᵀ (∂v/∂x) ε with random signs ε (Hutchinson 1990; Grathwohl et al. 2019,
        "FFJORD"): the mean over `probes` of them, the same ones at all times.

        Args:
            events: `[B, *event_shape]`.
            noise: the source of ε.
            labels: one-hot, `[B, K]`, for a conditional model.
        """
        size, count = tf.shape(events)[0], self.latent_dim
        if count <= EXACT_ENTRIES:
            directions = tf.eye(count, batch_shape=[size], dtype=events.dtype)
        else:
            count = self.config.probes
            signs = noise.uniform(size, (count, self.latent_dim), PROBES, events.dtype)
            directions = (2 * tf.cast(signs < 0.5, events.dtype) - 1) / math.sqrt(count)

        shape = [-1, *self.config.image_shape]
        along, of_labels = tf.reshape(directions, shape), labels
        if labels is not None:
            of_labels = tf.repeat(labels, count, axis=0)

        def derivative(root: tf.Tensor, state: State) -> State:
            """By s, where t = 1 − s²."""
            repeated = tf.repeat(state[0], count, axis=0)
            times = tf.fill(tf.shape(along)[:1], 1 - root**2)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(repeated)
                velocities = self.velocity(repeated, times, of_labels)
            products = along * tape.gradient(velocities, repeated, output_gradients=along)
            divergences = tf.reduce_sum(tf.reshape(products, [size, -1]), axis=1)
            return -2 * root * velocities[::count], -2 * root * divergences

        state = (events, tf.zeros([size], events.dtype))
        starts, change = solve(derivative, state, 0.0, 1.0, self.config.density_steps, "rk4")
        squares = tf.reduce_sum(tf.reshape(starts, [size, -1]) ** 2, axis=1)
        return change - 0.5 * (squares + self.latent_dim * math.log(2 * math.pi))


def per_event(values: tf.Tensor, events: tf.Tensor) -> tf.Tensor:
    """Values `[B]` as `[B, 1, …]`, with the rank of events `[B, *event_shape]`."""
    return tf.reshape(values, [-1, *[1] * (events.shape.rank - 1)])
