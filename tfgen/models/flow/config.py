"""The flow's options and presets; no TensorFlow, so that `--help` is fast."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from tfgen.errors import UsageError, size_text
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import EMA_HELP, ModelConfig


@dataclass(frozen=True)
class FlowConfig(ModelConfig):
    """A normalizing flow, dense or convolutional at several scales."""

    architecture: Literal["dense", "multiscale"] = option(
        "dense", "dense couplings, or convolutional couplings at several scales"
    )
    couplings: int = option(8, "dense: number of affine couplings of alternating halves", minimum=2)
    hidden: tuple[int, ...] = option(
        (1024, 1024), "dense: widths of each conditioner's hidden layers", minimum=1
    )
    scale_steps: tuple[int, ...] = option((8, 8), "multiscale: flow steps at each scale", minimum=1)
    scale_channels: tuple[int, ...] = option(
        (32, 64), "multiscale: channels of the conditioners at each scale", minimum=1
    )
    blocks: int = option(2, "multiscale: gated residual blocks of each conditioner", minimum=0)
    components: int = option(
        0, "multiscale: logistics in the mixture of a coupling; 0: affine couplings", minimum=0
    )
    dequantization: Literal["uniform", "variational"] = option(
        "uniform", "noise that turns bytes into real numbers: uniform, or a learned flow"
    )
    dequantization_couplings: int = option(2, "learned noise: number of couplings", minimum=1)
    dequantization_channels: int = option(
        16, "learned noise: channels of the conditioners", minimum=1
    )
    dequantization_components: int = option(
        0, "learned noise: logistics in the mixture of a coupling; 0: affine couplings", minimum=0
    )
    ema_decay: float = option(0.0, EMA_HELP, minimum=0, maximum=1)
    log_scale_bound: float = option(2.0, "bound of a coupling's log-scale [nats]", above=0)
    alpha: float = option(
        1e-5, "margin that keeps a pixel's logit finite at 0 and 1", above=0, maximum=0.5
    )

    @property
    def scales(self) -> int:
        """Number of scales of an image: those asked for, or as often as its sides can be halved."""
        height, width, _ = self.image_shape
        side = math.gcd(height, width)
        return min(len(self.scale_steps), (side & -side).bit_length() - 1)

    def check_events(self) -> None:
        """Refuses events whose shape does not suit the architecture or dequantization.

        Raises:
            UsageError: the shape does not suit.
        """
        shape, multiscale = self.image_shape, self.architecture == "multiscale"
        convolutional = multiscale or self.dequantization == "variational"
        if len(shape) != 3 and (shape[-1] < 2 or convolutional):
            text = f"events of size {size_text(shape)} are no images: they need two entries or more"
            rest = "along their last axis, --architecture dense and --dequantization uniform"
            raise UsageError(f"{text} {rest}")
        if len(shape) == 3 and (shape[1] % 2 or (convolutional and shape[0] % 2)):
            sides = "both sides" if convolutional else "the width"
            text = f"images of {size_text(shape)} do not suit this flow: {sides} must be even"
            raise UsageError(f"{text}; import them with tfgen-data images --size 32, for example")
        if multiscale and not 0 < len(self.scale_steps) == len(self.scale_channels):
            text = f"scale_steps = {self.scale_steps}, scale_channels = {self.scale_channels}"
            raise UsageError(f"{text}; pass one number of each for each scale")


_COSINE: dict[str, Any] = {"schedule": "cosine", "clip_norm": 1.0}
# Of the flows of MNIST.
_LONG: dict[str, Any] = {"learning_rate": 2e-3, "warmup_epochs": 0.5, **_COSINE}
# Glow's steps with mixture couplings and learned dequantization, as in Flow++ (Ho et al. 2019).
_MULTISCALE = FlowConfig(
    architecture="multiscale",
    scale_steps=(4, 4),
    components=4,
    dequantization="variational",
    ema_decay=0.999,
)

FAMILY = Family(
    name="flow",
    summary="normalizing flow (Dinh et al. 2016)",
    model="tfgen.models.flow.model:Flow",
    config=FlowConfig,
    timed_preset="multiscale",
    conditional=True,
    shares_cores=True,
    compiles_long=True,
    sentence=(
        "A normalizing flow: a network turns images into noise by steps that can be undone; "
        "undoing them turns new noise into new images."
    ),
    colour="#2ca02c",
    presets={
        "mlp": Preset(
            "the report's network: 4 × 2 affine couplings, checkerboard, 392-1024-1024-784",
            FlowConfig(),
            epochs=40,
            # Twice the gradient norm of a trained flow. Without clipping, a single step after
            # which images are astronomically unlikely would dominate Adam's second moments.
            clip_norm=500.0,
            minutes=53,
            result="NLL 1.75 bits/dim",
        ),
        "multiscale": Preset(
            "convolutional: two scales, mixture couplings, learned dequantization (Ho et al. 2019)",
            _MULTISCALE,
            epochs=32,
            batch_size=32,
            minutes=66,
            result="NLL 1.03 bits/dim",
            **_LONG,
        ),
        "deep": Preset(
            "multiscale with twice the steps, more logistics and a stronger learned dequantization",
            replace(
                _MULTISCALE,
                scale_steps=(8, 8),
                components=8,
                dequantization_couplings=4,
                dequantization_channels=32,
                dequantization_components=4,
                ema_decay=0.9995,
            ),
            epochs=40,
            batch_size=64,
            minutes=170,
            result="NLL 0.99 bits/dim",
            **_LONG,
        ),
        "images": Preset(
            "convolutional, for colour pictures of 32 and 64 pixels: up to four scales",
            replace(_MULTISCALE, scale_steps=(4, 4, 4, 4), scale_channels=(32, 48, 64, 64)),
            epochs=5,
            batch_size=16,
            # The gradient of nats grows with the image. Clipped to a small norm, it has the same
            # length for images of any size, so that one learning rate suits them all.
            learning_rate=4e-3,
            warmup_epochs=0.1,
            **_COSINE,
        ),
    },
)
