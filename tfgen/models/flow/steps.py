"""The steps of a flow: Keras layers that own weights and build bijectors of them."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tfgen.bijectors import (
    ActivationNormalization,
    AffineCoupling,
    Bijector,
    Chain,
    Checkerboard,
    FactorOut,
    Half,
    InvertibleConvolution,
    Mask,
    MixtureCoupling,
    Squeeze,
    Unflatten,
)
from tfgen.models.flow.config import FlowConfig
from tfgen.nn.blocks import (
    append_labels,
    dense_network,
    make_activation,
    make_input,
    make_layer,
    seed_of_layer,
)
from tfgen.nn.cpu import Dense
from tfgen.nn.layers import GatedResidual


def make_mask(name: str, ndims: int, swap: bool) -> Mask:
    """A mask: `checkerboard` of images, or `half` of the last of `ndims` axes."""
    return Checkerboard(swap) if name == "checkerboard" else Half(ndims, swap)


@keras.saving.register_keras_serializable(package="tfgen")
class FlowStep(keras.layers.Layer):
    """A coupling; with `mixing`, a step of Glow (Kingma & Dhariwal 2018, section 3).

    From data to latents, Glow's step is activation normalization, an invertible 1 × 1 convolution
    and a coupling. The layer owns the weights; `bijectors` builds TFP's bijectors from them, which
    own none.

    Args:
        conditioner: a layer from the unchanged part of an event to the parameters of the coupling,
            2 per changed entry for an affine one, 2 + 3 · `components` for a mixture. In a
            conditional model, one-hot labels are appended to the last axis of its inputs.
        mask: `checkerboard` or `half`.
        swap: whether the mask's two parts are swapped.
        components: logistics in a mixture coupling; 0 gives an affine coupling.
        log_scale_bound: bound of the coupling's log-scale, nats.
        mixing: whether normalization and convolution precede the coupling.
        seed: seed of the convolution, which starts as a permutation of the channels.
        **kwargs: further arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        conditioner: keras.layers.Layer,
        mask: Literal["checkerboard", "half"] = "half",
        swap: bool = False,
        *,
        components: int = 0,
        log_scale_bound: float = 2.0,
        mixing: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.conditioner, self.mask, self.swap = conditioner, mask, swap
        self.components, self.log_scale_bound = components, log_scale_bound
        self.mixing, self.seed = mixing, seed

    def build(self, input_shape: Any) -> None:
        """Creates the weights of normalization and convolution, for events `[B, …, C]`."""
        self._ndims = len(input_shape) - 1
        if not self.mixing:
            return
        channels = input_shape[-1]
        order = np.random.default_rng(self.seed).permutation(channels)
        self.shift = self._weight("shift", np.zeros(channels))
        self.log_scale = self._weight("log_scale", np.zeros(channels))
        self.permutation = self._weight("permutation", np.eye(channels)[order], trainable=False)
        self.lower = self._weight("lower", np.zeros((channels, channels)))
        self.upper = self._weight("upper", np.zeros((channels, channels)))
        self.log_diagonal = self._weight("log_diagonal", np.zeros(channels))

    def _weight(self, name: str, value: np.ndarray, trainable: bool = True) -> Any:
        return self.add_weight(
            name=name,
            shape=value.shape,
            dtype=self.variable_dtype,
            initializer=lambda shape, dtype=None: tf.constant(value, dtype),
            trainable=trainable,
            autocast=False,
        )

    def bijectors(
        self, adapting: bool = False, training: bool = False, labels: tf.Tensor | None = None
    ) -> list[Bijector]:
        """The step's bijectors in the order of `Chain`: the one next to the data first.

        Args:
            adapting: whether the next inverse sets the normalization from its input.
            training: whether dropout of the conditioner is on and its batch normalization uses the
                batch's moments.
            labels: one-hot, `[B, K]`, of the events of a conditional model.
        """
        mask = make_mask(self.mask, self._ndims, self.swap)
        conditioner = functools.partial(self._condition, labels=labels, training=training)
        coupling: Bijector
        if self.components:
            coupling = MixtureCoupling(mask, conditioner, self.components, self.log_scale_bound)
        else:
            coupling = AffineCoupling(mask, conditioner, self.log_scale_bound)
        if not self.mixing:
            return [coupling]
        normalization = ActivationNormalization(self.shift, self.log_scale, self._ndims, adapting)
        convolution = InvertibleConvolution(
            self.permutation.value,
            self.lower.value,
            self.upper.value,
            self.log_diagonal.value,
            self._ndims,
        )
        return [normalization, convolution, coupling]

    def _condition(
        self, unchanged: tf.Tensor, labels: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """The conditioner's outputs for the unchanged part of events, `[B, …, C]`."""
        if labels is not None:
            # A dense conditioner takes flat inputs, to which a label is appended once.
            flat = len(self.conditioner.input_shape) == 2
            unchanged = append_labels(unchanged, labels, flat)
        return self.conditioner(unchanged, training=training)

    def call(
        self, inputs: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """The step from data to latents, `[B, …, C]`."""
        for bijector in self.bijectors(training=training, labels=labels):
            inputs = bijector.inverse(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    @property
    def layers(self) -> list[keras.Layer]:
        """The conditioner, which `summary` shows below the step."""
        return [self.conditioner]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("mask", "swap", "components", "log_scale_bound", "mixing", "seed")
        conditioner = keras.saving.serialize_keras_object(self.conditioner)
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "conditioner": conditioner, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FlowStep":
        """The step that `get_config` describes."""
        conditioner = keras.saving.deserialize_keras_object(config["conditioner"])
        return cls(**{**config, "conditioner": conditioner})


def dense_steps(config: FlowConfig, seed: int, dtype: Any) -> list[FlowStep]:
    """Affine couplings of alternating halves, for images checkerboards."""
    shape, steps = config.image_shape, []
    mask: Any = "checkerboard" if len(shape) == 3 else "half"
    for index in range(config.couplings):
        swap = bool(index % 2)
        unchanged, changed = make_mask(mask, len(shape), swap).split(tf.zeros([1, *shape]))
        flat = (math.prod(unchanged.shape[1:]) + config.num_classes,)
        conditioner = dense_network(
            flat if config.num_classes else unchanged.shape[1:],
            config.hidden,
            (*changed.shape[1:-1], 2 * changed.shape[-1]),
            seed=seed * config.couplings + index,
            dtype=dtype,
            name=f"conditioner_{index}",
            zero_output=True,
            layer=Dense,
        )
        step = FlowStep(
            conditioner, mask, swap, log_scale_bound=config.log_scale_bound, dtype=dtype
        )
        step.build((None, *shape))
        steps.append(step)
    return steps


def gated_network(
    input_shape: Sequence[int],
    channels: int,
    blocks: int,
    outputs: int,
    *,
    seed: int,
    dtype: Any,
    name: str,
) -> keras.Sequential:
    """A convolutional network of gated residual blocks at one resolution.

    Like the conditioners of Flow++ (Ho et al. 2019).

    Args:
        input_shape: height, width, channels.
        channels: channels of the blocks.
        blocks: number of blocks.
        outputs: channels of the output, which is zero before training.
        seed: seed of the initial weights.
        dtype: policy or dtype of all layers.
        name: name of the network.

    Returns:
        A built network `[B, H, W, C] → [B, H, W, outputs]`.
    """
    same = {"kernel_size": 3, "padding": "same", "dtype": dtype}
    seeds = [seed_of_layer(seed, index) for index in range(blocks + 2)]
    layers = [
        make_input(input_shape, dtype),
        make_layer(keras.layers.Conv2D, channels, seed=seeds[0], **same),
        *(GatedResidual(layer_seed, dtype=dtype) for layer_seed in seeds[1:-1]),
        make_activation("relu", dtype),
        # 1 × 1, because mixture couplings need many outputs: 3 × 3 would cost as much as a block.
        make_layer(
            keras.layers.Conv2D, outputs, seed=seeds[-1], zero=True, kernel_size=1, dtype=dtype
        ),
    ]
    return keras.Sequential(layers, name=name)


def multiscale_steps(config: FlowConfig, seed: int, dtype: Any) -> list[FlowStep]:
    """Glow's steps with convolutional conditioners, the largest scale first."""
    steps: list[FlowStep] = []
    counts = config.scale_steps[: config.scales]
    for scale, count in enumerate(counts):
        shape = squeezed_shape(config, scale)
        unchanged = shape[-1] // 2
        for _ in range(count):
            index = seed * sum(counts) + len(steps)
            conditioner = gated_network(
                (*shape[:2], unchanged + config.num_classes),
                config.scale_channels[scale],
                config.blocks,
                (shape[-1] - unchanged) * (2 + 3 * config.components),
                seed=index,
                dtype=dtype,
                name=f"conditioner_{len(steps)}",
            )
            step = FlowStep(
                conditioner,
                components=config.components,
                log_scale_bound=config.log_scale_bound,
                mixing=True,
                seed=index,
                dtype=dtype,
            )
            step.build((None, *shape))
            steps.append(step)
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
