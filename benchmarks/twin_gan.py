"""GANs in PyTorch: convolutional and residual ones."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import twins
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError
from tfgen.models.gan.config import GANConfig
from tfgen.settings.model import halved, halvings
from tfgen.settings.training import RunConfig

LEAK = 0.2


class GANTwin(twins.Twin):
    """Generator and discriminator and their step, with a non-saturating or a relativistic loss.

    Batches are divisible by the number of images in a pack.

    Raises:
        UsageError: the configuration is not like that of a preset with a twin, or a side is not
            divisible often enough.
    """

    def __init__(self, config: RunConfig, way: str):
        super().__init__(config, way)
        model = config.model
        times = model.halvings or halvings(model.image_shape)
        check_config(model, times)
        # Channels at full size, at half the side, at a quarter, and so on.
        multiples = (min(2**index, 8) for index in range(times))
        channels = [max(1, model.channels // 2), *(model.channels * m for m in multiples)]
        self.smallest = (channels[-1], *halved(model.image_shape, times))
        build = residual if model.architecture == "residual" else convolutional
        networks = build(model, channels, self.smallest)
        # Latents to events, before the hyperbolic tangent; and events to logits.
        self.generator, self.discriminator = (nn.Sequential(*layers) for layers in networks)
        self.fast_generator = self.compiled(self._generate)
        self.fast_discriminator = self.compiled(self._discriminate)
        rate, betas = config.options.learning_rate, (model.beta_1, model.beta_2)
        self.optimizers = [
            twins.make_adam(self.generator.parameters(), rate, betas),
            twins.make_adam(
                self.discriminator.parameters(), rate * model.discriminator_rate, betas
            ),
        ]
        norm_moments = [b for b in self.generator.buffers() if b.is_floating_point()]
        averaged = [*self.generator.parameters(), *norm_moments]
        self.average = twins.Average(averaged, model.ema_decay) if model.ema_decay else None
        self.steps = 0

    def _generate(self, latents: torch.Tensor) -> torch.Tensor:
        with self.precision():
            outputs = self.generator(latents)
        return torch.tanh(outputs.float())

    def _discriminate(self, events: torch.Tensor) -> torch.Tensor:
        packs = events.reshape(-1, self.config.pack * events.shape[1], *events.shape[2:])
        with self.precision():
            features = self.discriminator[:-1](packs)
        # The last layer has float32.
        return self.discriminator[-1](features.float())[:, 0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1 of latents `[B, D]`."""
        return ((torch.tanh(self.generator(latents)) + 1) / 2).permute(0, 2, 3, 1)

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """The generator's move, then the discriminator's; the discriminator's mean loss."""
        real = images.float() / 127.5 - 1
        real_logits = real.new_zeros(())
        if self.config.loss == "relativistic":
            with torch.no_grad():
                real_logits = self.fast_discriminator(real)
        latents = torch.randn(len(real), self.config.latent_dim, device=real.device)
        fake = self.fast_generator(latents)
        self.discriminator.requires_grad_(False)
        fake_logits = self.fast_discriminator(fake)
        self._descend(0, functional.softplus(real_logits - fake_logits).mean())
        if self.average is not None:
            self.average.update()
        self.discriminator.requires_grad_(True)
        self.steps += 1
        is_penalized = self.config.r1 and self.steps % self.config.penalty_every == 0
        loss = (self._penalized_loss if is_penalized else self._loss)(real, fake.detach())
        self._descend(1, loss)
        return loss.detach()

    def _loss(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """The discriminator's loss without penalties."""
        real_logits, fake_logits = map(self.fast_discriminator, (real, fake))
        if self.config.loss == "relativistic":
            return functional.softplus(fake_logits - real_logits).mean()
        return (functional.softplus(-real_logits) + functional.softplus(fake_logits)).mean()

    def _penalized_loss(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """The discriminator's relativistic loss with R₁ and R₂."""
        pair = real.requires_grad_(), fake.requires_grad_()
        # PyTorch does not compile second derivatives.
        real_logits, fake_logits = map(self._discriminate, pair)
        loss = functional.softplus(fake_logits - real_logits).mean()
        total = real_logits.sum() + fake_logits.sum()
        slopes = torch.autograd.grad(total, pair, create_graph=True)
        for weight, slope in zip((self.config.r1, self.config.r2), slopes, strict=True):
            scale = self.config.penalty_every * weight / 2 / len(real)
            loss = loss + scale * slope.square().sum()
        return loss

    def _descend(self, player: int, loss: torch.Tensor) -> None:
        """One step of the generator, player 0, or of the discriminator, player 1."""
        self.optimizers[player].zero_grad()
        loss.backward()
        self.optimizers[player].step()

    # --- the same as tfgen's? -----------------------------------------------------------------

    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.GAN`."""
        for network, keras_network in (
            (self.generator, model.generator),
            (self.discriminator, model.discriminator),
        ):
            for kind in _KINDS:
                modules = [module for module in network.modules() if kind_of(module) == kind]
                twins.load_layers(modules, created(keras_network.layers, kind))
        twins.outputs_to_channels_first(twins.linear(self.generator)[-1], self.smallest)
        twins.inputs_to_channels_first(twins.linear(self.discriminator)[0], self.smallest)

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Generated events, channels last, and logits of images or their packs."""
        self.eval()
        latents = torch.from_numpy(twins.normal(len(images), self.config.latent_dim))
        generated = self._generate(latents).permute(0, 2, 3, 1)
        logits = self._discriminate(twins.channels_first(images) / 127.5 - 1)
        return [generated.numpy(), logits.numpy()]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """Generated events, and logits of images or their packs."""
        latents = twins.normal(len(images), model.latent_dim)
        events = (images / 127.5 - 1).astype(np.float32)
        logits = model.discriminate(model.pack(events))
        return [model.generate(latents).numpy(), logits.numpy()]


def check_config(config: GANConfig, times: int) -> None:
    """Refuses a model that has no twin, whose sides are halved so many times.

    Raises:
        UsageError: it has no twin.
    """
    is_residual = config.architecture == "residual"
    is_unlike = (
        config.loss != ("relativistic" if is_residual else "non_saturating"),
        config.discriminator_batch_norm == is_residual,
        config.r1 + config.r2 > 0 and not is_residual,
        config.dropout > 0,
        config.pack > 1 and is_residual,
        bool(config.diff_augment) or config.critic_steps > 1 or config.num_classes > 0,
        config.spectral_norm or config.label_smoothing > 0,
        any(side % 2**times for side in config.image_shape[:2]),
    )
    if any(is_unlike):
        raise UsageError(
            "the twins of gan are like its presets dcgan and packed, for sides that can be halved "
            "often enough, and images, for sides of 32, 64, …"
        )


def created(layers: Iterable[Any], name: str) -> list[Any]:
    """The Keras layers of a class, in the order in which they were created.

    Keras sorts the layers of a network by depth, but numbers those of a class in their names.
    """
    of_class = (layer for layer in layers if type(layer).__name__ == name)
    # By length first, since `conv2d_10` is after `conv2d_9`.
    return sorted(of_class, key=lambda layer: (len(layer.name), layer.name))


# --- networks: the layers of generator and discriminator ------------------------------------------

Networks = tuple[list[nn.Module], list[nn.Module]]
Shape = tuple[int, int, int]


def convolutional(config: GANConfig, channels: Sequence[int], smallest: Shape) -> Networks:
    """InfoGAN's networks for small images (Chen et al. 2016), with batch normalization."""
    flat, depth = math.prod(smallest), config.image_shape[2]
    generator: list[nn.Module] = [
        nn.Linear(config.latent_dim, config.units),
        nn.BatchNorm1d(config.units),
        nn.ReLU(),
        nn.Linear(config.units, flat),
        nn.Unflatten(1, smallest),
    ]
    for inputs, outputs in itertools.pairwise([*channels[:0:-1], depth]):
        generator += [nn.BatchNorm2d(inputs), nn.ReLU()]
        generator.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))
    discriminator: list[nn.Module] = []
    widths = [config.pack * depth, *channels[1:]]
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        norm = [nn.BatchNorm2d(outputs)] if index else []
        discriminator += [nn.Conv2d(inputs, outputs, 4, 2, 1), *norm, nn.LeakyReLU(LEAK)]
    discriminator += [nn.Flatten(), nn.Linear(flat, config.units), nn.BatchNorm1d(config.units)]
    return generator, [*discriminator, nn.LeakyReLU(LEAK), nn.Linear(config.units, 1)]


def residual(config: GANConfig, channels: Sequence[int], smallest: Shape) -> Networks:
    """Residual networks; most of their convolutions are at half the size and below."""
    flat, depth, falling = math.prod(smallest), config.image_shape[2], channels[:0:-1]
    generator = [
        nn.Linear(config.latent_dim, flat),
        nn.Unflatten(1, smallest),
        *itertools.starmap(generator_block, itertools.pairwise(falling)),
        *doubling(falling[-1], channels[0]),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(),
        convolution(channels[0], depth),
    ]
    discriminator = [
        convolution(depth, channels[0]),
        nn.LeakyReLU(LEAK),
        *halving(channels[0], channels[1]),
        *itertools.starmap(discriminator_block, itertools.pairwise(channels[1:])),
        nn.LeakyReLU(LEAK),
        nn.Flatten(),
        nn.Linear(flat, 1, bias=False),
    ]
    return generator, discriminator


class Block(nn.Module):
    """A residual block: main(x) + bypass(x)."""

    def __init__(self, main: list[nn.Module], bypass: list[nn.Module]):
        super().__init__()
        self.main, self.bypass = nn.Sequential(*main), nn.Sequential(*bypass)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W]` to maps of twice or half the sides."""
        return self.bypass(inputs) + self.main(inputs)


def generator_block(inputs: int, outputs: int) -> nn.Module:
    """A pre-activated residual block that doubles the sides."""
    main = [*doubling(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
    main.append(convolution(outputs, outputs))
    return Block(main, [*projection(inputs, outputs), nn.Upsample(scale_factor=2)])


def discriminator_block(inputs: int, outputs: int) -> nn.Module:
    """A pre-activated residual block without normalization that halves the sides."""
    main = [nn.LeakyReLU(LEAK), *halving(inputs, outputs), nn.LeakyReLU(LEAK)]
    main.append(convolution(outputs, outputs))
    return Block(main, [nn.AvgPool2d(2), *projection(inputs, outputs)])


def doubling(inputs: int, outputs: int) -> list[nn.Module]:
    """Batch normalization, ReLU, upsampling to the nearest pixel and a convolution."""
    convolved = convolution(inputs, outputs, "DoublingConv2D")
    return [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Upsample(scale_factor=2), convolved]


def halving(inputs: int, outputs: int) -> list[nn.Module]:
    """A convolution and average pooling."""
    return [convolution(inputs, outputs, "HalvingConv2D"), nn.AvgPool2d(2)]


def projection(inputs: int, outputs: int) -> list[nn.Module]:
    """A 1 × 1 convolution where the number of channels changes."""
    return [] if inputs == outputs else [nn.Conv2d(inputs, outputs, 1, bias=False)]


def convolution(inputs: int, outputs: int, kind: str = "Conv2D") -> nn.Module:
    """A 3 × 3 convolution; `kind` is the class of the Keras layer with its weights."""
    module = nn.Conv2d(inputs, outputs, 3, padding=1)
    module.kind = kind
    return module


def kind_of(module: nn.Module) -> str:
    """The class of the Keras layer that has the weights of a module."""
    return getattr(module, "kind", _KERAS_CLASSES.get(type(module).__name__, ""))


_KERAS_CLASSES = {
    "Linear": "Dense",
    "Conv2d": "Conv2D",
    "ConvTranspose2d": "Upsampling",
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "BatchNormalization",
}
_KINDS = {*_KERAS_CLASSES.values(), "DoublingConv2D", "HalvingConv2D"}
