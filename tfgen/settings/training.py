"""The configurations of models and runs. No TensorFlow here, so that `--help` answers at once."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfgen.errors import UsageError
from tfgen.fields import Config, option


@dataclass(frozen=True)
class ModelConfig(Config):
    """What every family's configuration holds.

    Attributes:
        image_shape: height, width, channels; taken from the data, not a flag.
    """

    image_shape: tuple[int, ...] = dataclasses.field(default=(28, 28, 1), metadata={"minimum": 1})


@dataclass(frozen=True)
class ConditionalConfig(ModelConfig):
    """Of a family that has class-conditional variants.

    Attributes:
        num_classes: of a class-conditional model, 0 of another; taken from the data, not a flag.
    """

    num_classes: int = dataclasses.field(default=0, metadata={"minimum": 0}, kw_only=True)


def _check_quarters(image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 3:
        raise UsageError(f"events of shape {image_shape} are no images; use --architecture dense")
    height, width, _ = image_shape
    if height % 4 or width % 4:
        raise UsageError(
            f"images of {height} × {width} do not suit the convolutional networks: four must divide "
            "both sides; use --architecture dense"
        )


@dataclass(frozen=True)
class VAEConfig(ConditionalConfig):
    """A variational autoencoder, dense or convolutional."""

    latent_dim: int = option(20, "dimensions of the latent space", minimum=1)
    hidden: tuple[int, ...] = option(
        (500,), "widths of the encoder's dense hidden layers; the decoder has them in reverse", minimum=1
    )
    likelihood: Literal["bernoulli", "continuous_bernoulli", "normal"] = option(
        "bernoulli", "p(x|z): bernoulli for binarized images, continuous_bernoulli for grey ones in [0, 1]"
    )
    binarization: Literal["dynamic", "threshold", "none"] = option(
        "dynamic",
        "how grey becomes black and white: drawn anew each step, by threshold at 1/2, or not at all",
    )
    objective: Literal["elbo", "iwae"] = option(
        "elbo", "the bound on log p(x) that is trained: the ELBO, or the importance-weighted one"
    )
    importance_samples: int = option(
        1, "samples of z an image in the objective: iwae weights them, elbo averages over them", minimum=1
    )
    kl_warmup_steps: int = option(
        0, "steps in which the KL's weight in the gradient grows from 0 to 1; 0: it is 1", minimum=0
    )
    architecture: Literal["dense", "convolutional"] = option("dense", "of encoder and decoder")
    channels: int = option(
        16, "of the convolutional networks at half of the side; twice as many at a quarter", minimum=1
    )
    blocks: int = option(1, "gated residual blocks of the convolutional networks at each size", minimum=0)
    activation: Literal["relu", "leaky_relu", "silu", "tanh"] = option("relu", "after dense hidden layers")
    ema_decay: float = option(
        0.0,
        "decay a step of the weights' moving average, which judges and samples; 0: none",
        minimum=0,
        maximum=1,
    )

    def check_events(self) -> None:
        """Refuses a likelihood that is no density of the events that binarization makes.

        Raises:
            UsageError: a Bernoulli would see grey values, or a continuous likelihood binary ones.
        """
        if (self.likelihood == "bernoulli") == (self.binarization == "none"):
            wanted = "dynamic or threshold" if self.likelihood == "bernoulli" else "none"
            raise UsageError(
                f"likelihood {self.likelihood!r} with binarization {self.binarization!r} is no density; "
                f"it needs binarization {wanted}"
            )

    def check_architecture(self) -> None:
        """Refuses images that the convolutional networks cannot make.

        Raises:
            UsageError: a side is not divisible by four, or there are no sides.
        """
        if self.architecture == "convolutional":
            _check_quarters(self.image_shape)


@dataclass(frozen=True)
class GANConfig(ConditionalConfig):
    """A generative adversarial network, dense or convolutional."""

    latent_dim: int = option(100, "dimensions of the latent space", minimum=1)
    architecture: Literal["dense", "convolutional"] = option("dense", "of both networks")
    generator_hidden: tuple[int, ...] = option(
        (128, 256, 512, 1024), "widths of the dense generator's hidden layers", minimum=1
    )
    discriminator_hidden: tuple[int, ...] = option(
        (512, 256), "widths of the dense discriminator's hidden layers", minimum=1
    )
    channels: int = option(
        64, "of the convolutional networks at half of the side; twice as many at a quarter", minimum=1
    )
    units: int = option(
        1024, "of the dense layer between the convolutional networks' images and latents or logit", minimum=1
    )
    dropout: float = option(0.5, "rate in the discriminator", minimum=0, maximum=0.99)
    discriminator_batch_norm: bool = option(
        False, "batch normalization in the discriminator, from its second hidden layer on"
    )
    spectral_norm: bool = option(False, "divide the discriminator's kernels by their largest singular value")
    loss: Literal["non_saturating", "minimax", "least_squares", "hinge", "wasserstein"] = option(
        "non_saturating", "what the two minimize; wasserstein comes with the gradient penalty"
    )
    gradient_penalty: float = option(10.0, "weight of the penalty of the wasserstein loss", minimum=0)
    critic_steps: int = option(1, "steps of the discriminator to one of the generator", minimum=1)
    label_smoothing: float = option(
        0.0, "the discriminator's target for real images is 1 less this", minimum=0, maximum=0.5
    )
    ema_decay: float = option(
        0.0, "decay a step of the generator's moving average, which samples; 0: none", minimum=0, maximum=1
    )
    beta_1: float = option(0.9, "decay of Adam's first moment", minimum=0, maximum=0.999)
    discriminator_rate: float = option(1.0, "the discriminator's step size over the generator's", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing and self.loss in ("hinge", "wasserstein"):
            raise UsageError(
                f"label_smoothing = {self.label_smoothing} has no meaning with loss {self.loss!r}"
            )
        if self.discriminator_batch_norm and self.loss == "wasserstein":
            raise UsageError(
                "the gradient penalty of loss 'wasserstein' is of each image by itself, batch normalization "
                "mixes them; use --no-discriminator-batch-norm"
            )

    def check_architecture(self) -> None:
        """Refuses images that the convolutional networks cannot make.

        Raises:
            UsageError: a side is not divisible by four, or there are no sides.
        """
        if self.architecture == "convolutional":
            _check_quarters(self.image_shape)


@dataclass(frozen=True)
class FlowConfig(ModelConfig):
    """A normalizing flow: dense couplings, or a convolutional one of several scales."""

    architecture: Literal["dense", "multiscale"] = option("dense", "dense couplings, or convolutional ones")
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
    alpha: float = option(1e-5, "how far the logit of a pixel keeps off 0 and 1", above=0, maximum=0.5)

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
            raise UsageError(f"events of shape {self.image_shape} have no two halves along their last axis")
        if not is_image and (self.architecture == "multiscale" or self.dequantization == "variational"):
            raise UsageError(
                f"events of shape {self.image_shape} are no images; use --architecture dense "
                "--dequantization uniform"
            )
        if is_image and sides[1] % 2:
            raise UsageError(f"images of odd width, {sides[1]}, do not suit the flow's masks")
        if self.architecture == "multiscale":
            self._check_scales(*sides)
        elif self.dequantization == "variational" and sides[0] % 2:
            raise UsageError(f"images of odd height, {sides[0]}, do not suit --dequantization variational")

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


@dataclass(frozen=True)
class ClassifierConfig(ConditionalConfig):
    """A small convolutional classifier."""

    channels: int = option(32, "of the convolution at full size; twice as many at half of it", minimum=1)
    units: int = option(128, "length of a feature vector", minimum=1)
    dropout: float = option(0.5, "rate between features and logits", minimum=0, maximum=0.99)

    def check_images(self) -> None:
        """Refuses what cannot be classified.

        Raises:
            UsageError: images are too small, or there are fewer than two classes.
        """
        if len(self.image_shape) != 3 or min(self.image_shape[:2]) < 4:
            raise UsageError(f"images of shape {self.image_shape} are too small; the least is 4 × 4")
        if self.num_classes < 2:
            raise UsageError(f"num_classes = {self.num_classes} is too small; the least is 2")


@dataclass(frozen=True)
class Preset:
    """A named, complete setting: the model's configuration and how it is trained by default."""

    summary: str
    model: ModelConfig
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: float = 0.0

    def training(self) -> dict[str, Any]:
        """The fields that are `TrainOptions`, by name."""
        ours = {field.name for field in dataclasses.fields(TrainOptions)}
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in ours}


# Seeds are the first word of a pair of int32.
MAX_SEED = 2**31 - 1

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class TrainOptions(Config):
    """What `tfgen-train` takes beside the model's own configuration."""

    preset: str = option("mlp", "named setting that gives the other flags their defaults")
    dataset: str = option("mnist", "name of a TFDS data set, or stacked_mnist")
    data_dir: Path | None = option(None, "folder of prepared data sets, as tfgen-data makes it")
    epochs: int = option(40, "epochs to train in all", minimum=1)
    batch_size: int = option(128, "images a step", minimum=1)
    learning_rate: float = option(1e-3, "step size of Adam, its largest", above=0, maximum=10.0)
    warmup_epochs: float = option(0.0, "epochs in which the step size grows to that", minimum=0)
    schedule: Literal["constant", "cosine"] = option(
        "constant", "of the step size after them: as it is, or by a cosine to zero at the end of --epochs"
    )
    clip_norm: float = option(0.0, "longest gradient of a step, a longer one is cut; 0: any", minimum=0)
    seed: int = option(0, "of weights, order and noise", minimum=0, maximum=MAX_SEED)
    precision: Precision = option("float32", "what the networks compute in")
    run_dir: Path | None = option(None, "folder of this run (default: runs/NAME-TIME; --resume: the newest)")
    resume: bool = option(False, "go on with the run in --run-dir; a larger --epochs extends it")
    checkpoint_every: float = option(10.0, "minutes between checkpoints within an epoch [min]", above=0)
    saved_models: Path = option(Path("saved_models"), "folder that the sampler is published in")
    name: str | None = option(None, "name to publish under (default: the model's, see the README)")
    publish: bool = option(True, "train only, publish no sampler")
    strategy: Literal["none", "mirrored", "multiworker"] = option("none", "distribution over devices")
    deterministic: bool = option(False, "op determinism, which a GPU needs for bit-equal runs; turns XLA off")
    conditional: bool = option(False, "generate images of a class that is asked for; needs labelled data")
    dry_run: bool = option(False, "print the resolved configuration and its cost, and end")


# Flags that may differ between a run and its resumption: they do not change what is computed, but for
# `epochs` with the schedule `cosine`, which then goes on as if it had aimed at the new end.
RESUMABLE = (
    "epochs",
    "run_dir",
    "resume",
    "checkpoint_every",
    "saved_models",
    "name",
    "publish",
    "dry_run",
    "data_dir",
)


@dataclass(frozen=True)
class RunConfig:
    """All that makes a run.

    Attributes:
        family: the model's name in the registry.
        model: the model's configuration.
        options: everything else.
    """

    family: str
    model: ModelConfig
    options: TrainOptions

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dump` can write."""
        return {"family": self.family, "model": self.model.to_json(), "options": self.options.to_json()}
