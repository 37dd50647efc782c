"""The GAN's options and presets; imports no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass
from typing import Literal

from tfgen.errors import UsageError
from tfgen.models.gan.losses import LOSSES
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import ConditionalConfig


@dataclass(frozen=True)
class GANConfig(ConditionalConfig):
    """A generative adversarial network, dense or convolutional."""

    latent_dim: int = option(100, "dimensions of the latent space", minimum=1)
    architecture: Literal["dense", "convolutional"] = option(
        "dense", "architecture of both networks"
    )
    generator_hidden: tuple[int, ...] = option(
        (128, 256, 512, 1024), "dense: widths of the generator's hidden layers", minimum=1
    )
    discriminator_hidden: tuple[int, ...] = option(
        (512, 256), "dense: widths of the discriminator's hidden layers", minimum=1
    )
    channels: int = option(
        64, "convolutional: channels at half the side; twice as many at a quarter", minimum=1
    )
    units: int = option(
        1024, "convolutional: width of the dense layers next to latents and logit", minimum=1
    )
    dropout: float = option(0.5, "dropout rate in the discriminator", minimum=0, maximum=0.99)
    discriminator_batch_norm: bool = option(
        False, "batch normalization in the discriminator, from the second hidden layer on"
    )
    spectral_norm: bool = option(False, "spectral normalization of all discriminator kernels")
    loss: str = option(
        "non_saturating",
        "losses of both networks; wasserstein adds the gradient penalty",
        choices=tuple(LOSSES),
    )
    gradient_penalty: float = option(
        10.0, "weight of the gradient penalty in the loss wasserstein", minimum=0
    )
    critic_steps: int = option(1, "discriminator steps per generator step", minimum=1)
    label_smoothing: float = option(
        0.0,
        "one-sided label smoothing: the target of real images is 1 minus this",
        minimum=0,
        maximum=0.5,
    )
    ema_decay: float = option(
        0.0,
        "EMA decay of the generator per step; sampling uses the EMA weights; 0 disables it",
        minimum=0,
        maximum=1,
    )
    beta_1: float = option(0.9, "decay of Adam's first moment", minimum=0, maximum=0.999)
    discriminator_rate: float = option(
        1.0, "learning rate of the discriminator relative to the generator's", above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing and self.loss in ("hinge", "wasserstein"):
            raise UsageError(
                f"label_smoothing = {self.label_smoothing} has no meaning with loss {self.loss!r}"
            )
        if self.discriminator_batch_norm and self.loss == "wasserstein":
            raise UsageError(
                "the gradient penalty of loss 'wasserstein' needs a critic without batch "
                "normalization, which mixes images; use --no-discriminator-batch-norm"
            )


FAMILY = Family(
    name="gan",
    summary="generative adversarial network (Goodfellow et al. 2014)",
    model="tfgen.models.gan.model:GAN",
    config=GANConfig,
    side_by_side=True,
    presets={
        "mlp": Preset(
            "the report's networks: G 100-128-256-512-1024-784, D 784-512-256-1",
            GANConfig(),
            epochs=200,
            batch_size=64,
            learning_rate=2e-4,
            minutes=37,
            result="FID 5.3",
        ),
        "dcgan": Preset(
            "convolutional, batch normalization in both (Chen et al. 2016), EMA of the generator",
            GANConfig(
                architecture="convolutional",
                channels=16,
                units=512,
                dropout=0.0,
                discriminator_batch_norm=True,
                ema_decay=0.999,
                beta_1=0.5,
                discriminator_rate=0.2,
            ),
            epochs=40,
            batch_size=64,
            learning_rate=1e-3,
            minutes=11,
            result="FID 0.70",
        ),
    },
)
