"""Options and presets of flow matching; no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass
from typing import Any, Literal

from tfgen.errors import UsageError
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import EMA_HELP, HALVINGS_HELP, MAX_HALVINGS, ModelConfig


@dataclass(frozen=True)
class FlowMatchingConfig(ModelConfig):
    """Flow matching with a dense network or a U-Net."""

    architecture: Literal["dense", "unet"] = option("unet", "architecture of the network")
    hidden: tuple[int, ...] = option((256, 256, 256), "dense: widths of hidden layers", minimum=1)
    channels: tuple[int, ...] = option(
        (64, 128), "unet: channels at half the side, a quarter, …; the last is repeated", minimum=1
    )
    blocks: tuple[int, ...] = option(
        (1, 2), "unet: residual blocks at each size, on the way down and on the way up", minimum=1
    )
    halvings: int = option(0, f"unet: {HALVINGS_HELP}", minimum=0, maximum=MAX_HALVINGS)
    objective: Literal["samples", "likelihood"] = option(
        "samples", "training objective: samples of pixels, or the likelihood of the pixels' logits"
    )
    logit_normal: float = option(
        0.5,
        "objective samples: share of training times that are logit-normal; the rest are uniform",
        minimum=0,
        maximum=1,
    )
    data_stddev: float = option(
        0.5, "assumed standard deviation of events, whose mean is taken as 0", above=0
    )
    flow_map: float = option(
        0.0,
        "share of each batch that trains the flow map, whose steps have any length; 0: no flow map",
        minimum=0,
        maximum=0.75,
    )
    label_dropout: float = option(
        0.1, "share of training labels left out, which guidance needs", minimum=0, maximum=1
    )
    ema_decay: float = option(0.999, EMA_HELP, minimum=0, maximum=1)
    solver: Literal["euler", "midpoint", "heun", "rk4"] = option(
        "midpoint", "solver of the differential equation", sampling=True
    )
    steps: int = option(8, "steps of the solver that make a sample", minimum=1, sampling=True)
    guidance: float = option(
        1.0,
        "scale of classifier-free guidance; 1: no guidance, 0: samples ignore labels",
        minimum=0,
        sampling=True,
    )
    density_steps: int = option(
        16, "Runge–Kutta steps that compute log p(x)", minimum=1, sampling=True
    )
    probes: int = option(
        1, "random directions that estimate the divergence in log p(x)", minimum=1, sampling=True
    )

    def check_options(self) -> None:
        """Refuses guidance by velocities that are not trained."""
        if self.guidance != 1 and (self.flow_map or not self.label_dropout):
            reason = "with --flow-map" if self.flow_map else "without --label-dropout"
            text = f"--sampling-guidance {self.guidance:g} does not suit a model trained {reason}"
            raise UsageError(f"{text}; pass 1, which is no guidance")


_MLP = FlowMatchingConfig(architecture="dense", hidden=(1024, 1024, 1024))
_FLOW_MAP = FlowMatchingConfig(flow_map=0.5, solver="euler", steps=2)
_IMAGES = FlowMatchingConfig(channels=(48, 96, 128))
_COMMON: dict[str, Any] = {"warmup_epochs": 1.0, "schedule": "cosine", "clip_norm": 1.0}

FAMILY = Family(
    name="flow-matching",
    summary="flow matching (Lipman et al. 2023)",
    model="tfgen.models.flow_matching.model:FlowMatching",
    config=FlowMatchingConfig,
    conditional=True,
    shares_cores=True,
    sentence="Flow matching: a network changes noise, a little at each step, until it is an image.",
    colour="#d62728",
    presets={
        "unet": Preset(
            "U-Net of 64 channels at half the side and 128 at a quarter, attention there",
            FlowMatchingConfig(),
            epochs=36,
            minutes=93,
            result="FID 1.49",
            **_COMMON,
        ),
        "flow-map": Preset(
            "the same with a flow map, for samples of one or two steps; takes --start-from",
            _FLOW_MAP,
            epochs=12,
            learning_rate=1e-3,
            minutes=38,
            result="FID 4.8 by two evaluations",
            **_COMMON,
        ),
        "likelihood": Preset(
            "the same for likelihoods: logits, and times near the image; takes --start-from",
            FlowMatchingConfig(objective="likelihood"),
            epochs=12,
            learning_rate=1e-3,
            minutes=29,
            result="NLL 1.07 bits/dim",
            **_COMMON,
        ),
        "mlp": Preset("dense, 3 hidden layers of 1024", _MLP, epochs=40, **_COMMON),
        "images": Preset(
            "any images: a U-Net from half the side down, attention at the smallest size",
            _IMAGES,
            epochs=8,
            batch_size=32,
            **_COMMON,
        ),
    },
)
