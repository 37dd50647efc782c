"""The GAN's options and presets; imports no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass, replace
from typing import Literal

from tfgen.errors import UsageError
from tfgen.models.gan.augmentation import AUGMENTATIONS
from tfgen.models.gan.losses import LOSSES
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import EMA_HELP, HALVINGS_HELP, MAX_HALVINGS, ModelConfig


@dataclass(frozen=True)
class GANConfig(ModelConfig):
    """A generative adversarial network, dense, convolutional or residual."""

    latent_dim: int = option(100, "dimensions of the latent space", minimum=1)
    architecture: Literal["dense", "convolutional", "residual"] = option(
        "dense", "architecture of both networks"
    )
    generator_hidden: tuple[int, ...] = option(
        (128, 256, 512, 1024), "dense: widths of the generator's hidden layers", minimum=1
    )
    discriminator_hidden: tuple[int, ...] = option(
        (512, 256), "dense: widths of the discriminator's hidden layers", minimum=1
    )
    channels: int = option(
        64, "channels at half the side; each halving doubles them, up to 8 times as many", minimum=1
    )
    halvings: int = option(0, HALVINGS_HELP, minimum=0, maximum=MAX_HALVINGS)
    units: int = option(1024, "convolutional: width of the dense layers", minimum=1)
    dropout: float = option(0.5, "dropout rate in the discriminator", minimum=0, maximum=0.99)
    discriminator_batch_norm: bool = option(False, "batch normalization in the discriminator")
    spectral_norm: bool = option(False, "spectral normalization of all discriminator kernels")
    loss: str = option("non_saturating", "losses of both networks", choices=tuple(LOSSES))
    gradient_penalty: float = option(10.0, "wasserstein: weight of its gradient penalty", minimum=0)
    r1: float = option(0.0, "weight of R1, the gradient penalty at real images", minimum=0)
    r2: float = option(0.0, "weight of R2, the gradient penalty at generated images", minimum=0)
    penalty_every: int = option(1, "R1 and R2 in every N-th step, weighted by N", minimum=1)
    diff_augment: tuple[str, ...] = option(
        (), "differentiable augmentations before the discriminator", choices=tuple(AUGMENTATIONS)
    )
    conditioning: Literal["concatenation", "projection"] = option(
        "concatenation", "how the discriminator takes labels: as further channels, or by projection"
    )
    pack: int = option(1, "images that the discriminator judges together", minimum=1)
    critic_steps: int = option(1, "discriminator steps per generator step", minimum=1)
    label_smoothing: float = option(
        0.0, "one-sided: the target of real images is 1 minus this", minimum=0, maximum=0.5
    )
    ema_decay: float = option(0.0, EMA_HELP, minimum=0, maximum=1)
    beta_1: float = option(0.9, "decay of Adam's first moment", minimum=0, maximum=0.999)
    beta_2: float = option(0.999, "decay of Adam's second moment", minimum=0, maximum=0.99999)
    discriminator_rate: float = option(
        1.0, "learning rate of the discriminator, relative to the generator's", above=0
    )

    @property
    def judged_shape(self) -> tuple[int, ...]:
        """Shape of what the discriminator judges together: events, and labels if appended."""
        *sides, depth = self.image_shape
        return (*sides, self.pack * depth + self.appended_classes)

    @property
    def appended_classes(self) -> int:
        """Length of the one-hot labels that are appended to the discriminator's inputs."""
        return self.pack * self.num_classes if self.conditioning == "concatenation" else 0

    @property
    def projected_classes(self) -> int:
        """Number of the discriminator's outputs for classes, beside the one for all."""
        return self.pack * self.num_classes if self.conditioning == "projection" else 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing and self.loss in ("hinge", "wasserstein", "relativistic"):
            text = f"label_smoothing = {self.label_smoothing} has no meaning with loss"
            raise UsageError(f"{text} {self.loss!r}")
        needs_single_images = self.loss == "wasserstein" or self.r1 or self.r2
        is_residual = self.architecture == "residual"
        if self.discriminator_batch_norm and (needs_single_images or is_residual):
            text = "batch normalization suits neither gradient penalties nor residual networks"
            raise UsageError(f"{text}; use --no-discriminator-batch-norm")


_DCGAN = GANConfig(
    architecture="convolutional",
    channels=16,
    units=512,
    dropout=0.0,
    discriminator_batch_norm=True,
    ema_decay=0.999,
    beta_1=0.5,
    discriminator_rate=0.2,
)

FAMILY = Family(
    name="gan",
    summary="generative adversarial network (Goodfellow et al. 2014)",
    model="tfgen.models.gan.model:GAN",
    config=GANConfig,
    timed_preset="dcgan",
    conditional=True,
    shares_cores=True,
    sentence=(
        "A generative adversarial network: one network forges images, another learns to expose "
        "forgeries, and each learns from the other."
    ),
    colour="#ff7f0e",
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
            _DCGAN,
            epochs=40,
            batch_size=64,
            minutes=11,
            result="FID 0.70",
        ),
        "packed": Preset(
            "dcgan with more channels and units, packs of 2 images (PacGAN, Lin et al. 2018)",
            replace(_DCGAN, channels=32, units=768, pack=2, ema_decay=0.9995),
            epochs=72,
            minutes=23,
            result="FID 0.4 with --train-on all",
        ),
        "stacked": Preset(
            "Stacked MNIST: convolutional, packs of 2 images (PacGAN, Lin et al. 2018)",
            replace(_DCGAN, channels=32, units=1024, pack=2),
            epochs=25,
            minutes=25,
            result="1000 of 1000 modes",
            dataset="stacked_mnist",
            images=128_000,
        ),
        "images": Preset(
            "any images: residual, relativistic with R1 and R2 (Huang et al. 2024)",
            GANConfig(
                latent_dim=128,
                architecture="residual",
                channels=32,
                dropout=0.0,
                loss="relativistic",
                r1=4.0,
                r2=4.0,
                penalty_every=4,
                conditioning="projection",
                ema_decay=0.999,
                beta_1=0.0,
                beta_2=0.99,
            ),
            epochs=8,
            batch_size=16,
            learning_rate=5e-4,
            schedule="cosine",
        ),
    },
)
