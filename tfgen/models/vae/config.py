"""The VAE's options and presets; imports no TensorFlow, so that `--help` is fast."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from tfgen.errors import UsageError
from tfgen.settings.family import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import EMA_HELP, HALVINGS_HELP, MAX_HALVINGS, ModelConfig, smallest_sides


@dataclass(frozen=True)
class VAEConfig(ModelConfig):
    """A variational autoencoder: dense, convolutional or hierarchical."""

    latent_dim: int = option(20, "dimensions of the latent space, or of its top level", minimum=1)
    hidden: tuple[int, ...] = option(
        (500,),
        "widths of the encoder's dense hidden layers; the decoder has them in reverse order",
        minimum=1,
    )
    likelihood: Literal["bernoulli", "continuous_bernoulli", "normal", "logistic_mixture"] = option(
        "bernoulli",
        "p(x|z): bernoulli for binarized images; with --binarization none: logistic_mixture for "
        "bytes (Salimans et al. 2017), continuous_bernoulli for 0…1, normal with unit variance",
    )
    mixtures: int = option(5, "logistic_mixture: logistics in each pixel's mixture", minimum=1)
    binarization: Literal["dynamic", "threshold", "none"] = option(
        "dynamic", "binarization of pixels: sampled at each step, by a threshold of 1/2, or none"
    )
    objective: Literal["elbo", "iwae"] = option("elbo", "bound that training maximizes")
    importance_samples: int = option(
        1, "samples of z per image: importance-weighted by iwae, averaged by elbo", minimum=1
    )
    kl_warmup_steps: int = option(
        0, "training steps over which the weight of the KL grows from 0 to beta", minimum=0
    )
    beta: float = option(1.0, "elbo: weight of the KL (Higgins et al. 2017)", minimum=0)
    free_bits: float = option(
        0.0, "elbo: KL per image and level of latents that is not penalized [nats]", minimum=0
    )
    architecture: Literal["dense", "convolutional", "hierarchical"] = option(
        "dense", "architecture; hierarchical has several levels of latents (Vahdat & Kautz 2020)"
    )
    channels: int = option(
        16, "channels at half the side; each halving doubles them, up to 8 times as many", minimum=1
    )
    halvings: int = option(0, HALVINGS_HELP, minimum=0, maximum=MAX_HALVINGS)
    blocks: int = option(1, "gated residual blocks at each size", minimum=0)
    levels: int = option(6, "hierarchical: levels of latents below the one at the top", minimum=1)
    level_channels: int = option(
        8, "hierarchical: latents of each level at each position", minimum=1
    )
    activation: Literal["relu", "leaky_relu", "silu", "tanh"] = option(
        "relu", "activation of the dense hidden layers"
    )
    ema_decay: float = option(0.0, EMA_HELP, minimum=0, maximum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.free_bits or self.beta != 1) and self.objective == "iwae":
            advice = "use --objective elbo, or --free-bits 0 --beta 1"
            raise UsageError(f"the objective 'iwae' has no KL; {advice}")

    @property
    def is_of_bytes(self) -> bool:
        """Whether log p(x) is of bytes, and so in bits/dim."""
        return self.likelihood == "logistic_mixture"

    @property
    def latents(self) -> int:
        """Length of a latent vector: the latents of all levels."""
        if self.architecture != "hierarchical":
            return self.latent_dim
        height, width = smallest_sides(self.image_shape, self.halvings)
        return self.latent_dim + self.levels * self.level_channels * height * width

    @property
    def variant(self) -> str:
        """`hierarchical` for a model of that architecture, whose name says so."""
        return self.architecture if self.architecture == "hierarchical" else ""

    def check_options(self) -> None:
        """Refuses a likelihood that does not suit the binarization.

        Raises:
            UsageError: a Bernoulli likelihood of grey values, or another one of binary values.
        """
        if (self.likelihood == "bernoulli") == (self.binarization == "none"):
            text = f"{self.likelihood!r} does not suit binarization {self.binarization!r}"
            binary = "for binary pixels use --likelihood bernoulli --binarization dynamic"
            grey = "for bytes --likelihood logistic_mixture --binarization none"
            raise UsageError(f"likelihood {text}; {binary}, {grey}")


_LONG = VAEConfig(latent_dim=50, hidden=(400, 400), kl_warmup_steps=10_000)
_IWAE = replace(_LONG, objective="iwae", importance_samples=5)
_CONV = VAEConfig(architecture="convolutional", kl_warmup_steps=5_000, ema_decay=0.999)
_QUICK = replace(_CONV, hidden=(256,), activation="silu", kl_warmup_steps=250)
_LEVELS = VAEConfig(
    latent_dim=32,
    kl_warmup_steps=5_000,
    free_bits=0.5,
    architecture="hierarchical",
    channels=32,
    blocks=2,
    ema_decay=0.9995,
)
_BYTES = VAEConfig(
    latent_dim=64,
    hidden=(),
    likelihood="logistic_mixture",
    binarization="none",
    architecture="convolutional",
    ema_decay=0.999,
)
_IMAGES = replace(_BYTES, latent_dim=128, channels=32)

_COSINE: dict[str, Any] = {"warmup_epochs": 0.5, "schedule": "cosine"}
_LARGE: dict[str, Any] = {"batch_size": 64, "learning_rate": 1.5e-3, **_COSINE}
# Two to three times the gradient norm after an epoch. Hierarchies have rare steps with a far larger
# gradient, which clipping limits.
_CLIP_LEVELS = 100.0
# Of the order of the gradients' norm. A pixel far from a narrow logistic may have a gradient a
# thousand times as long as others.
_CLIP_BYTES = 20_000.0

_PRESETS = {
    "quick": Preset(
        "conv with fewer hidden units and large steps",
        _QUICK,
        epochs=12,
        learning_rate=5e-3,
        **_COSINE,
        minutes=3.4,
        result="NLL 86.9 nats",
    ),
    "mlp": Preset(
        "the report's network: 784-500-20-500-784",
        VAEConfig(),
        40,
        minutes=2,
        result="NLL 93.0 nats",
    ),
    "mlp-2d": Preset(
        "the same with 2 latents, for the manifold", VAEConfig(latent_dim=2), 40, minutes=2
    ),
    "long": Preset(
        "two hidden layers, 50 latents, KL warm-up (Sønderby et al. 2016)",
        _LONG,
        epochs=400,
        schedule="cosine",
        minutes=27,
        result="NLL 85.8 nats",
    ),
    "iwae": Preset(
        "the same, trained on the importance-weighted bound (Burda et al. 2015)",
        _IWAE,
        epochs=400,
        schedule="cosine",
    ),
    "conv": Preset(
        "convolutional: gated residual blocks, EMA of the weights",
        _CONV,
        epochs=100,
        **_LARGE,
        minutes=50,
        result="NLL 83.2 nats",
    ),
    "hierarchical": Preset(
        "hierarchical: six levels of latents below a dense one, free bits, EMA of the weights",
        _LEVELS,
        epochs=88,
        **_LARGE,
        clip_norm=_CLIP_LEVELS,
        minutes=89,
        result="NLL 79.8 nats",
    ),
    "images": Preset(
        "any images: convolutional, mixtures of logistics of bytes (Salimans et al. 2017)",
        _IMAGES,
        epochs=12,
        batch_size=32,
        learning_rate=2e-3,
        warmup_epochs=0.1,
        schedule="cosine",
        clip_norm=_CLIP_BYTES,
    ),
    "bytes": Preset(
        "the same, smaller, for the bytes of MNIST: in bits/dim, as the flow",
        _BYTES,
        epochs=80,
        **_LARGE,
        clip_norm=_CLIP_BYTES,
        minutes=25,
        result="NLL 1.15 bits/dim",
    ),
}

FAMILY = Family(
    name="vae",
    summary="variational autoencoder (Kingma & Welling 2013)",
    model="tfgen.models.vae.model:VAE",
    config=VAEConfig,
    conditional=True,
    shares_cores=True,
    sentence=(
        "A variational autoencoder: one network turns an image into a short list of numbers, "
        "another draws the image from them; new numbers give new images."
    ),
    colour="#1f77b4",
    presets=_PRESETS,
)
