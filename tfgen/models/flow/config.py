"""The flow's options and presets. No TensorFlow here, so that `--help` answers at once."""

from dataclasses import dataclass
from typing import Literal

from tfgen.errors import UsageError
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import ModelConfig


@dataclass(frozen=True)
class FlowConfig(ModelConfig):
    """A normalizing flow: dense couplings, or a convolutional one of several scales."""

    architecture: Literal["dense", "multiscale"] = option(
        "dense", "dense couplings, or convolutional ones"
    )
    couplings: int = option(8, "dense affine couplings, of alternating halves", minimum=2)
    hidden: tuple[int, ...] = option(
        (1024, 1024), "widths of each dense conditioner's hidden layers", minimum=1
    )
    scale_steps: tuple[int, ...] = option(
        (8, 8), "multiscale: steps of flow at each scale, the largest first", minimum=1
    )
    scale_channels: tuple[int, ...] = option(
        (32, 64), "multiscale: channels of the conditioners at each scale", minimum=1
    )
    blocks: int = option(2, "gated residual blocks of each convolutional conditioner", minimum=0)
    components: int = option(
        0, "multiscale: logistics in each coupling's mixture; 0: affine couplings", minimum=0
    )
    dequantization: Literal["uniform", "variational"] = option(
        "uniform", "noise that makes bytes real numbers: uniform, or learned"
    )
    ema_decay: float = option(
        0.0,
        "decay a step of the weights' moving average, which judges and samples; 0: none",
        minimum=0,
        maximum=1,
    )
    log_scale_bound: float = option(2.0, "of a coupling's log-scale [nats]", above=0)
    alpha: float = option(
        1e-5, "how far the logit of a pixel keeps off 0 and 1", above=0, maximum=0.5
    )

    def check_events(self) -> None:
        """Refuses events that the couplings cannot halve, or the scales not squeeze.

        Raises:
            UsageError: which, and what would do.
        """
        if not self.scale_steps:
            raise UsageError("scale_steps is empty; give one entry a scale")
        *sides, last = self.image_shape
        is_image = len(self.image_shape) == 3
        if not is_image and last < 2:
            raise UsageError(
                f"events of shape {self.image_shape} have no two halves along their last axis"
            )
        if not is_image and (
            self.architecture == "multiscale" or self.dequantization == "variational"
        ):
            raise UsageError(
                f"events of shape {self.image_shape} are no images; use --architecture dense "
                "--dequantization uniform"
            )
        if is_image and sides[1] % 2:
            raise UsageError(f"images of odd width, {sides[1]}, do not suit the flow's masks")
        if self.architecture == "multiscale":
            self._check_scales(*sides)
        elif self.dequantization == "variational" and sides[0] % 2:
            raise UsageError(
                f"images of odd height, {sides[0]}, do not suit --dequantization variational"
            )

    def _check_scales(self, height: int, width: int) -> None:
        scales = len(self.scale_steps)
        if len(self.scale_channels) != scales:
            raise UsageError(
                f"scale_steps = {self.scale_steps} and scale_channels = {self.scale_channels} do not have "
                "one entry a scale each"
            )
        if height % 2**scales or width % 2**scales:
            raise UsageError(
                f"images of {height} × {width} do not suit {scales} scales: {2**scales} must divide both "
                "sides; use fewer --scale-steps and --scale-channels, or --architecture dense"
            )


FAMILY = Family(
    name="flow",
    summary="normalizing flow (Dinh et al. 2016)",
    model="tfgen.models.flow.model:Flow",
    config=FlowConfig,
    side_by_side=True,
    presets={
        "mlp": Preset(
            "the report's network: 4 × 2 affine couplings, checkerboard, 392-1024-1024-784",
            FlowConfig(),
            epochs=40,
            batch_size=128,
            learning_rate=1e-3,
            # Twice the norm of a trained flow's gradient. Otherwise one step that leaves images
            # astronomically unlikely would outweigh everything in Adam's second moments.
            clip_norm=500.0,
            minutes=53,
            result="1.75 bits/dim",
        ),
        "multiscale": Preset(
            "convolutional: two scales of mixture couplings, learned dequantization (Ho et al. 2019)",
            FlowConfig(
                architecture="multiscale",
                scale_steps=(4, 4),
                scale_channels=(32, 64),
                blocks=2,
                components=4,
                dequantization="variational",
                ema_decay=0.999,
            ),
            epochs=32,
            batch_size=32,
            learning_rate=2e-3,
            warmup_epochs=0.5,
            schedule="cosine",
            clip_norm=1.0,
            minutes=66,
            result="1.03 bits/dim",
        ),
    },
)
