"""Options and presets of probabilistic PCA; imports no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass

from tfgen.registry import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import ModelConfig


@dataclass(frozen=True)
class PPCAConfig(ModelConfig):
    """Options of probabilistic PCA."""

    latent_dim: int = option(50, "dimensions of the latent space", minimum=1)
    initial_grey: int = option(0, "grey value of the initial mean image", minimum=0, maximum=255)


FAMILY = Family(
    name="ppca",
    summary="probabilistic PCA (Tipping & Bishop 1999)",
    model="tfgen_ppca.model:PPCA",
    config=PPCAConfig,
    sentence="A linear function of latents with noise.",
    colour="#bcbd22",
    presets={
        "mnist": Preset(
            "50 latents",
            PPCAConfig(),
            epochs=20,
            batch_size=128,
            learning_rate=3e-2,
            schedule="cosine",
            minutes=0.5,
            result="2.18 bits/dim",
        ),
        "mnist-2d": Preset(
            "2 latents, for the figure of the latent plane",
            PPCAConfig(latent_dim=2),
            epochs=5,
            batch_size=128,
            learning_rate=3e-2,
            schedule="cosine",
            minutes=0.1,
            result="2.99 bits/dim",
        ),
    },
)
