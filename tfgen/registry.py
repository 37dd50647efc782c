"""The families: names, classes, configurations and presets, as data.

Nothing else names a family. To add one: a file in `tfgen/models/` and an entry in `FAMILIES`.
No TensorFlow here: a class is named by its path and imported when it is needed.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgen.config import ClassifierConfig, FlowConfig, GANConfig, ModelConfig, Preset, RunConfig, VAEConfig
from tfgen.errors import UsageError
from tfgen.fields import hint

DEFAULT_DATASET = "mnist"


@dataclass(frozen=True)
class Family:
    """One entry of the registry.

    Attributes:
        name: what the commands call it.
        summary: one line for `--help`.
        model: path of the `ImageModel` subclass, `module:Class`.
        config: its configuration class; each field is a flag of `tfgen-train`.
        presets: named settings; the first is the default.
        side_by_side: whether a step has chains of operations that do not wait for each other: on a CPU two
            operations at a time, each on half of the cores, are then faster than one at a time on all.
        generative: whether it makes images; what does not needs labels to learn from.
    """

    name: str
    summary: str
    model: str
    config: type[ModelConfig]
    presets: Mapping[str, Preset]
    side_by_side: bool = False
    generative: bool = True

    @property
    def default_preset(self) -> str:
        """Name of the preset that is used where none is asked for."""
        return next(iter(self.presets))

    def advice(self, version: Path) -> str:
        """What to do with a version that was just published in that folder."""
        if self.generative:
            return f"look at it with: tfgen-sample {version.parent.name} --n 25"
        return f"judge samples by it with: tfgen-evaluate NAME --classifier {version}"

    def preset(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.presets:
            raise UsageError(f"unknown preset {name!r} of {self.name}{hint(name, self.presets)}")
        return self.presets[name]

    def load_class(self) -> Any:
        """Imports and returns the model class, and with it TensorFlow."""
        module, _, cls = self.model.partition(":")
        return getattr(importlib.import_module(module), cls)


FAMILIES: dict[str, Family] = {
    "vae": Family(
        name="vae",
        summary="variational autoencoder (Kingma & Welling 2013)",
        model="tfgen.models.vae:VAE",
        config=VAEConfig,
        presets={
            "mlp": Preset("the report's: 784-500-20-500-784", VAEConfig(), 40, 128, 1e-3),
            "mlp-2d": Preset(
                "the same with 2 latents, for the manifold", VAEConfig(latent_dim=2), 40, 128, 1e-3
            ),
            "long": Preset(
                "two hidden layers, 50 latents, the KL's weight warmed up (Sønderby et al. 2016)",
                VAEConfig(latent_dim=50, hidden=(400, 400), kl_warmup_steps=10_000),
                400,
                128,
                1e-3,
                schedule="cosine",
            ),
            "iwae": Preset(
                "the same, trained on the importance-weighted bound (Burda et al. 2015)",
                VAEConfig(
                    latent_dim=50,
                    hidden=(400, 400),
                    objective="iwae",
                    importance_samples=5,
                    kl_warmup_steps=10_000,
                ),
                400,
                128,
                1e-3,
                schedule="cosine",
            ),
            "conv": Preset(
                "convolutional: gated residual blocks, judged and sampled by a moving average",
                VAEConfig(
                    architecture="convolutional",
                    channels=16,
                    blocks=1,
                    kl_warmup_steps=5_000,
                    ema_decay=0.999,
                ),
                100,
                64,
                1.5e-3,
                warmup_epochs=0.5,
                schedule="cosine",
            ),
        },
        side_by_side=True,
    ),
    "gan": Family(
        name="gan",
        summary="generative adversarial network (Goodfellow et al. 2014)",
        model="tfgen.models.gan:GAN",
        config=GANConfig,
        presets={
            "mlp": Preset(
                "the report's: G 100-128-256-512-1024-784, D 784-512-256-1", GANConfig(), 200, 64, 2e-4
            ),
            "dcgan": Preset(
                "convolutional, batch normalization in both (Chen et al. 2016), samples by a moving average",
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
                40,
                64,
                1e-3,
            ),
        },
        side_by_side=True,
    ),
    "flow": Family(
        name="flow",
        summary="normalizing flow (Dinh et al. 2016)",
        model="tfgen.models.flow:Flow",
        config=FlowConfig,
        presets={
            "mlp": Preset(
                "the report's: 4 × 2 affine couplings, checkerboard, 392-1024-1024-784",
                FlowConfig(),
                40,
                128,
                1e-3,
                # Twice what a trained one has. One step that leaves images astronomically unlikely would
                # otherwise outweigh all that Adam's second moments have seen.
                clip_norm=500.0,
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
                32,
                32,
                2e-3,
                warmup_epochs=0.5,
                schedule="cosine",
                clip_norm=1.0,
            ),
        },
        side_by_side=True,
    ),
    "classifier": Family(
        name="classifier",
        summary="convolutional classifier, whose features judge samples",
        model="tfgen.models.classifier:Classifier",
        config=ClassifierConfig,
        presets={
            "conv": Preset(
                "three convolutions, a feature vector of 128",
                ClassifierConfig(num_classes=10),
                12,
                128,
                2e-3,
                warmup_epochs=0.5,
                schedule="cosine",
            )
        },
        generative=False,
    ),
}


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FAMILIES:
        raise UsageError(f"unknown model {name!r}{hint(name, FAMILIES)}")
    return FAMILIES[name]


def build_model(config: RunConfig) -> Any:
    """The untrained model of a run's configuration, and with it TensorFlow."""
    options = config.options
    return family(config.family).load_class()(
        **config.model.to_json(), seed=options.seed, dtype=options.precision
    )


def default_name(family_name: str, dataset: str, config: ModelConfig) -> str:
    """The name that a trained model is published under.

    It is the family's, with what changes a signature appended where that differs from the default: the
    latent dimension, labels, the data set. A server that follows `vae` so never gets another shape.
    """
    entry = family(family_name)
    default = entry.presets[entry.default_preset].model
    parts = [family_name]
    latent_dim = getattr(config, "latent_dim", None)
    if latent_dim != getattr(default, "latent_dim", None):
        parts.append(f"{latent_dim}d")
    conditional: int = getattr(config, "num_classes", 0)
    if entry.generative and conditional:
        parts.append("conditional")
    if dataset != DEFAULT_DATASET:
        parts.append(dataset)
    return "-".join(parts)


def describe_model(model: Any) -> dict[str, Any]:
    """What a model that no run made tells of itself, in a run's form: family, configuration, seed.

    Raises:
        UsageError: it is of no family.
    """
    for entry in FAMILIES.values():
        if isinstance(model, entry.load_class()):
            given = [name for name, value in model._given.items() if value is not None]
            run = {"family": entry.name, "model": model.config.to_json(), "options": {"seed": model.seed}}
            return {**run, "given": given} if given else run
    raise UsageError(f"{type(model).__name__} is no model of {', '.join(FAMILIES)}")
