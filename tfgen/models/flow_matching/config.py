"""Options and presets of flow matching; no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass
from typing import Literal

from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import EMA_HELP, MAX_HALVINGS, ModelConfig


@dataclass(frozen=True)
class FlowMatchingConfig(ModelConfig):
    """Flow matching with a dense network or a U-Net."""

    architecture: Literal["dense", "unet"] = option("unet", "architecture of the network")
    hidden: tuple[int, ...] = option(
        (256, 256, 256), "dense: widths of the hidden layers", minimum=1
    )
    channels: tuple[int, ...] = option(
        (64, 128),
        "unet: channels at half the side, a quarter, …; the last one is repeated",
        minimum=1,
    )
    blocks: tuple[int, ...] = option(
        (1, 2), "unet: residual blocks at each of these sizes, on each way", minimum=1
    )
    halvings: int = option(
        0,
        "unet: halvings of the sides; 0: down to at most 7 pixels",
        minimum=0,
        maximum=MAX_HALVINGS,
    )
    logit_normal: float = option(
        0.5,
        "share of training times that are logit-normal; the others are uniform",
        minimum=0,
        maximum=1,
    )
    data_stddev: float = option(
        0.5,
        "standard deviation of the events, for the scales of the network's inputs and outputs",
        above=0,
    )
    label_dropout: float = option(
        0.1, "share of training labels that are left out, for guidance", minimum=0, maximum=1
    )
    ema_decay: float = option(0.999, EMA_HELP, minimum=0, maximum=1)
    solver: Literal["euler", "midpoint", "heun"] = option(
        "midpoint", "solver of the differential equation", sampling=True
    )
    steps: int = option(8, "steps of the solver that make a sample", minimum=1, sampling=True)
    guidance: float = option(
        1.0,
        "scale of classifier-free guidance; 1: none, 0: samples ignore labels",
        minimum=0,
        sampling=True,
    )
    density_steps: int = option(
        32, "steps of the solver that compute log p(x)", minimum=1, sampling=True
    )
    probes: int = option(
        1, "random directions that estimate the divergence in log p(x)", minimum=1, sampling=True
    )


FAMILY = Family(
    name="flow-matching",
    summary="flow matching (Lipman et al. 2023)",
    model="tfgen.models.flow_matching.model:FlowMatching",
    config=FlowMatchingConfig,
    conditional=True,
    side_by_side=True,
    presets={
        "unet": Preset(
            "U-Net of 64 channels at half the side and 128 at a quarter, attention there",
            FlowMatchingConfig(),
            epochs=80,
            batch_size=128,
            learning_rate=1e-3,
            warmup_epochs=1.0,
            schedule="cosine",
            clip_norm=1.0,
        ),
        "mlp": Preset(
            "dense, 3 hidden layers of 1024",
            FlowMatchingConfig(architecture="dense", hidden=(1024, 1024, 1024)),
            epochs=40,
            batch_size=128,
            learning_rate=1e-3,
            warmup_epochs=0.5,
            schedule="cosine",
            clip_norm=1.0,
        ),
        "images": Preset(
            "any images: a U-Net from half the side down, attention at the smallest size",
            FlowMatchingConfig(channels=(48, 96, 128)),
            epochs=16,
            batch_size=32,
            learning_rate=1e-3,
            warmup_epochs=0.5,
            schedule="cosine",
            clip_norm=1.0,
        ),
    },
)
