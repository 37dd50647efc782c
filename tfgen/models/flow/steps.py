"""The steps of a flow: Keras layers that own weights and build bijectors of them."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfgen.bijectors import (
    ActivationNormalization,
    AffineCoupling,
    Bijector,
    Chain,
    Checkerboard,
    Conditioner,
    Coupling,
    FactorOut,
    Half,
    InvertibleConvolution,
    Mask,
    MixtureCoupling,
    Squeeze,
    Unflatten,
)
from tfgen.models.flow.config import FlowConfig
from tfgen.models.preprocessing import Labels
from tfgen.nn import blocks, cpu
from tfgen.nn.layers import GatedResidual

# The shapes of the inputs and outputs, without the batch, a seed and a dtype policy → a layer.
MakeConditioner: TypeAlias = Callable[..., keras.Layer]


class FlowStep(keras.layers.Layer):
    """A coupling; with `mixed_channels`, a step of Glow (Kingma & Dhariwal 2018, section 3).

    From data to latents, Glow's step is activation normalization, an invertible 1 × 1 convolution
    and a coupling. The layer owns the weights; `bijectors` builds TFP's bijectors from them, which
    own none.

    Args:
        conditioner: a layer from the unchanged part of an event to the parameters of the coupling,
            2 per changed entry for an affine one, 2 + 3 · `components` for a mixture. In a
            conditional model, one-hot labels are appended to the last axis of its inputs.
        mask: splits an event into the part that the coupling changes and the other one.
        components: logistics in a mixture coupling; 0 gives an affine coupling.
        log_scale_bound: bound of the coupling's log-scale, nats.
        mixed_channels: number of channels of events that are normalized and convolved before the
            coupling; 0: neither.
        is_flat: whether the conditioner takes flat inputs, to which a label is appended once.
        seed: seed of the convolution, which starts as a permutation of the channels.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        conditioner: keras.layers.Layer,
        mask: Mask,
        *,
        components: int = 0,
        log_scale_bound: float = 2.0,
        mixed_channels: int = 0,
        is_flat: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.conditioner, self.mask, self.mixed_channels = conditioner, mask, mixed_channels
        self.components, self.log_scale_bound, self.is_flat = components, log_scale_bound, is_flat
        if mixed := mixed_channels:
            add = functools.partial(self.add_weight, autocast=False)
            order = np.random.default_rng(seed).permutation(mixed)
            permutation = keras.initializers.Constant(np.eye(mixed)[order])
            self.shift = add((mixed,), "zeros", name="shift")
            self.log_scale = add((mixed,), "zeros", name="log_scale")
            self.permutation = add((mixed, mixed), permutation, trainable=False, name="permutation")
            self.lower = add((mixed, mixed), "zeros", name="lower")
            self.upper = add((mixed, mixed), "zeros", name="upper")
            self.log_diagonal = add((mixed,), "zeros", name="log_diagonal")
        self.built = True

    def bijectors(
        self,
        adapting: bool = False,
        training: bool = False,
        labels: Labels = None,
        same_form: Self | None = None,
    ) -> list[Bijector]:
        """The step's bijectors in the order of `Chain`: the one next to the data first.

        Args:
            adapting: whether the next inverse sets the normalization from its input.
            training: whether dropout of the conditioner is on and its batch normalization uses the
                batch's moments.
            labels: one-hot, `[B, K]`, of the events of a conditional model.
            same_form: a step of the same form, whose function computes the coupling of an export.
        """
        conditioner = functools.partial(self._condition, labels=labels, training=training)
        options = self.components, self.log_scale_bound
        coupling: Bijector = make_coupling(self.mask, conditioner, *options)
        if not self.mixed_channels:
            return [coupling]
        ndims = self.mask.event_ndims
        if same_form is not None and cpu.is_inference():
            weights = [weight.value for weight in self.conditioner.weights]
            call = functools.partial(same_form._coupling_of_weights, weights, labels)
            coupling = _Call(call, ndims)
        matrices = self.permutation, self.lower, self.upper, self.log_diagonal
        return [
            ActivationNormalization(self.shift, self.log_scale, ndims, adapting),
            InvertibleConvolution(*matrices, ndims),
            coupling,
        ]

    @functools.cached_property
    def _coupling_of_weights(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The coupling as a function of its conditioner's weights."""

        def compute(labels: Labels, event: tf.Tensor, method: str) -> Any:
            coupling = self.bijectors(labels=labels)[-1]
            return getattr(coupling, method)(event, self.mask.event_ndims)

        return cpu.function_of_weights(compute, self.conditioner.weights)

    def _condition(self, unchanged: tf.Tensor, labels: Labels, training: bool) -> tf.Tensor:
        """The conditioner's outputs for the unchanged part of events, `[B, …, C]`."""
        if labels is not None:
            unchanged = blocks.append_labels(unchanged, labels, self.is_flat)
        return self.conditioner(unchanged, training=training)

    @property
    def layers(self) -> list[keras.Layer]:
        """The conditioner, which `summary` shows below the step."""
        return [self.conditioner]


class _Call(Bijector):
    """A coupling as calls of a function, of an event and the name of a method of `Bijector`."""

    def __init__(self, function: Callable[..., tuple[tf.Tensor, tf.Tensor]], event_ndims: int):
        self._function = function
        super().__init__(forward_min_event_ndims=event_ndims)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._function(x, "forward_and_log_det")

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._function(y, "inverse_and_log_det")


def make_coupling(
    mask: Mask, conditioner: Conditioner, components: int, log_scale_bound: float = 2.0
) -> Coupling:
    """A coupling with a mixture of that many logistics, or an affine one for 0."""
    if components:
        return MixtureCoupling(mask, conditioner, components, log_scale_bound)
    return AffineCoupling(mask, conditioner, log_scale_bound)


def dense_steps(
    config: FlowConfig, seed: int, dtype: Any, own: MakeConditioner | None = None
) -> list[FlowStep]:
    """Affine couplings of alternating halves, for images checkerboards."""
    shape, steps = config.image_shape, []
    for index in range(config.couplings):
        swap = bool(index % 2)
        mask: Mask = Checkerboard(swap) if len(shape) == 3 else Half(len(shape), swap)
        parts = mask.split(tf.zeros([1, *shape]))
        unchanged, (*sides, channels) = (tuple(part.shape[1:]) for part in parts)
        flat = (math.prod(unchanged) + config.num_classes,)
        inputs, outputs = flat if config.num_classes else unchanged, (*sides, 2 * channels)
        common: dict[str, Any] = {"seed": seed * config.couplings + index, "dtype": dtype}
        if own is None:
            names = {"name": f"conditioner_{index}", "zero_output": True, **common}
            conditioner = blocks.dense_network(inputs, config.hidden, outputs, **names)
        else:
            conditioner = _own_conditioner(own, inputs, outputs, **common)
        is_flat, bound = config.num_classes > 0, config.log_scale_bound
        options: dict[str, Any] = {"log_scale_bound": bound, "is_flat": is_flat, "dtype": dtype}
        steps.append(FlowStep(conditioner, mask, **options))
    return steps


def _own_conditioner(
    make: MakeConditioner, inputs: Sequence[int], outputs: Sequence[int], **options: Any
) -> keras.Layer:
    """The layer that the caller's function makes, with its weights.

    Raises:
        UsageError: it does not map the shapes.
    """
    layer = make(tuple(inputs), tuple(outputs), **options)
    blocks.build_network(layer, inputs, outputs, "conditioner")
    return layer


def gated_network(
    shape: Sequence[int], channels: int, count: int, outputs: int, seed: int, dtype: Any, name: str
) -> keras.Sequential:
    """A convolutional network of gated residual blocks at one resolution.

    Like the conditioners of Flow++ (Ho et al. 2019).

    Args:
        shape: height, width, channels of the inputs.
        channels: channels of the blocks.
        count: number of blocks.
        outputs: channels of the output, which is zero before training.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, H, W, C] → [B, H, W, outputs]`.
    """
    first, *others = (blocks.seed_of_layer(seed, index) for index in range(count + 1))
    convolution = functools.partial(blocks.make_layer, keras.layers.Conv2D, seed=first, dtype=dtype)
    layers = [
        blocks.make_input(shape, dtype),
        convolution(channels, kernel_size=3, padding="same"),
        *(GatedResidual(layer_seed, dtype=dtype) for layer_seed in others),
        blocks.make_activation("relu", dtype),
        # 1 × 1, because mixture couplings need many outputs: 3 × 3 would cost as much as a block.
        convolution(outputs, kernel_size=1, zero=True, dtype=blocks.precise(dtype)),
    ]
    return keras.Sequential(layers, name=name)


def multiscale_steps(
    config: FlowConfig, seed: int, dtype: Any, own: MakeConditioner | None = None
) -> list[FlowStep]:
    """Glow's steps with convolutional conditioners, the largest scale first."""
    steps: list[FlowStep] = []
    counts = config.scale_steps[: config.scales]
    components, bound = config.components, config.log_scale_bound
    coupling: dict[str, Any] = {"components": components, "log_scale_bound": bound}
    for scale, count in enumerate(counts):
        height, width, depth = squeezed_shape(config, scale)
        inputs = (height, width, depth // 2 + config.num_classes)
        outputs = depth // 2 * (2 + 3 * components)
        channels = config.scale_channels[scale]
        for _ in range(count):
            common: dict[str, Any] = {"seed": seed * sum(counts) + len(steps), "dtype": dtype}
            if own is None:
                sizes = inputs, channels, config.blocks, outputs
                network = gated_network(*sizes, name=f"conditioner_{len(steps)}", **common)
            else:
                network = _own_conditioner(own, inputs, (height, width, outputs), **common)
            steps.append(FlowStep(network, Half(3), mixed_channels=depth, **coupling, **common))
    return steps


def squeezed_shape(config: FlowConfig, scale: int) -> tuple[int, int, int]:
    """Height, width and channels at a scale, 0 for the largest.

    Each scale halves the sides and passes on half of the channels.
    """
    height, width, depth = config.image_shape
    return height // 2 ** (scale + 1), width // 2 ** (scale + 1), depth * 4 * 2**scale


def multiscale_chain(config: FlowConfig, bijectors: list[list[Bijector]]) -> Chain:
    """Latents to images through all scales (Dinh et al. 2016, section 3.6).

    Args:
        config: the flow's configuration.
        bijectors: the bijectors of each step, in the order of `multiscale_steps`.
    """
    chain: Bijector | None = None
    for scale in reversed(range(config.scales)):
        shape = squeezed_shape(config, scale)
        first = sum(config.scale_steps[:scale])
        steps = bijectors[first : first + config.scale_steps[scale]]
        end = Unflatten(shape) if chain is None else FactorOut(chain, shape)
        larger = (2 * shape[0], 2 * shape[1], shape[2] // 4)
        chain = Chain([Squeeze(larger), *itertools.chain(*steps), end])
    assert chain is not None
    return chain
