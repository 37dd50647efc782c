"""The residual GAN of the preset `images` in PyTorch."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_layers import (
    created,
    inputs_to_channels_first,
    load_layers,
    outputs_to_channels_first,
)
from twins import Average, Twin, make_adam

from tfgen.errors import UsageError
from tfgen.models.gan.config import GANConfig
from tfgen.settings.model import halved, halvings
from tfgen.settings.training import RunConfig

LEAK = 0.2


class DoublingConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling and a 3 × 3 convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, D, 2 H, 2 W]`."""
        return super().forward(functional.interpolate(inputs, scale_factor=2))


class HalvingConv2d(nn.Conv2d):
    """A 3 × 3 convolution and average pooling."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, D, H / 2, W / 2]`."""
        return functional.avg_pool2d(super().forward(inputs), 2)


class GeneratorBlock(nn.Module):
    """A pre-activated residual block that doubles the sides."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.main = nn.Sequential(
            *doubling(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        same = inputs == outputs
        self.bypass = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, D, 2 H, 2 W]`."""
        return functional.interpolate(self.bypass(inputs), scale_factor=2) + self.main(inputs)


class DiscriminatorBlock(nn.Module):
    """A pre-activated residual block without normalization that halves the sides."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.LeakyReLU(LEAK),
            HalvingConv2d(inputs, outputs),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        same = inputs == outputs
        self.bypass = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, D, H / 2, W / 2]`."""
        return self.bypass(functional.avg_pool2d(inputs, 2)) + self.main(inputs)


def doubling(inputs: int, outputs: int) -> list[nn.Module]:
    """Batch normalization, ReLU, upsampling and a convolution."""
    return [nn.BatchNorm2d(inputs), nn.ReLU(), DoublingConv2d(inputs, outputs)]


class GameTwin(Twin):
    """What the GANs share: their optimizers, the EMA of the generator, and one step of a network.

    Raises:
        UsageError: the configuration is not like that of a preset with a twin, or a side is not
            divisible often enough.
    """

    # Latents to events, before the hyperbolic tangent.
    generator: nn.Sequential
    # Events to logits; the last layer has float32.
    discriminator: nn.Sequential

    def __init__(self, config: RunConfig, way: str):
        super().__init__(way)
        model = self.config = config.model
        self.build(model)
        self.fast_generator = self.compiled(self._generate)
        self.fast_discriminator = self.compiled(self._discriminate)
        rate, betas = config.options.learning_rate, (model.beta_1, model.beta_2)
        self.optimizers = [
            make_adam(network.parameters(), rate * factor, betas)
            for network, factor in (
                (self.generator, 1),
                (self.discriminator, model.discriminator_rate),
            )
        ]
        moments = [b for b in self.generator.buffers() if b.is_floating_point()]
        self.average = Average([*self.generator.parameters(), *moments], model.ema_decay)
        self.steps = 0

    def build(self, config: GANConfig) -> None:
        """Creates `generator` and `discriminator`."""
        raise NotImplementedError

    def _generate(self, latents: torch.Tensor) -> torch.Tensor:
        with self.precision():
            outputs = self.generator(latents)
        return torch.tanh(outputs.float())

    def _discriminate(self, events: torch.Tensor) -> torch.Tensor:
        with self.precision():
            features = self.discriminator[:-1](events)
        logits: torch.Tensor = self.discriminator[-1](features.float())[:, 0]
        return logits

    def descend(self, player: int, loss: torch.Tensor) -> None:
        """One step of the generator, player 0, or of the discriminator, player 1."""
        self.optimizers[player].zero_grad()
        loss.backward()
        self.optimizers[player].step()

    # --- the same as tfgen's? -----------------------------------------------------------------

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Generated events, channels last, and logits of images or their packs."""
        self.eval()
        latents = torch.from_numpy(_latents(len(images), self.config.latent_dim))
        events = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        generated = self._generate(latents).permute(0, 2, 3, 1)
        return [generated.numpy(), self._discriminate(events).numpy()]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """Generated events, and logits of images or their packs."""
        latents = _latents(len(images), model.latent_dim)
        events = (images / 127.5 - 1).astype(np.float32)
        logits = model.discriminate(model.pack(events))
        return [model.generate(latents).numpy(), logits.numpy()]


class GANTwin(GameTwin):
    """Residual networks and their step: relativistic loss, R₁, R₂."""

    def build(self, config: GANConfig) -> None:
        """Creates residual networks."""
        expected = "relativistic", (), 1, 0
        actual = config.loss, tuple(config.diff_augment), config.critic_steps
        height, width, depth = config.image_shape
        times = config.halvings or halvings(config.image_shape)
        if (*actual, config.num_classes) != expected or height % 2**times or width % 2**times:
            raise UsageError(
                "the residual twin of gan is like its preset images, for sides of 32, 64, …"
            )
        half = config.channels
        channels = [max(1, half // 2), *(half * min(2**index, 8) for index in range(times))]
        self.smallest = (channels[-1], *halved(config.image_shape, times))
        falling = channels[:0:-1]
        self.generator = nn.Sequential(
            nn.Linear(config.latent_dim, math.prod(self.smallest)),
            nn.Unflatten(1, self.smallest),
            *itertools.starmap(GeneratorBlock, itertools.pairwise(falling)),
            *doubling(falling[-1], channels[0]),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
            nn.Conv2d(channels[0], depth, 3, padding=1),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(depth, channels[0], 3, padding=1),
            nn.LeakyReLU(LEAK),
            HalvingConv2d(channels[0], channels[1]),
            *itertools.starmap(DiscriminatorBlock, itertools.pairwise(channels[1:])),
            nn.LeakyReLU(LEAK),
            nn.Flatten(),
            nn.Linear(math.prod(self.smallest), 1, bias=False),
        )

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """The generator's move, then the discriminator's; the discriminator's mean loss."""
        real = images.float() / 127.5 - 1
        with torch.no_grad():
            real_logits = self.fast_discriminator(real)
        fake = self.fast_generator(torch.randn(len(real), self.config.latent_dim))
        self.discriminator.requires_grad_(False)
        fake_logits = self.fast_discriminator(fake)
        self.descend(0, functional.softplus(real_logits - fake_logits).mean())
        self.average.update()
        self.discriminator.requires_grad_(True)
        pair = real, fake.detach()
        every = self.config.penalty_every
        self.steps += 1
        if self.steps % every:
            real_logits, fake_logits = map(self.fast_discriminator, pair)
            loss = functional.softplus(fake_logits - real_logits).mean()
        else:
            pair = tuple(events.requires_grad_() for events in pair)
            # PyTorch does not compile second derivatives.
            real_logits, fake_logits = map(self._discriminate, pair)
            loss = functional.softplus(fake_logits - real_logits).mean()
            slopes = torch.autograd.grad(
                real_logits.sum() + fake_logits.sum(), pair, create_graph=True
            )
            weights = self.config.r1, self.config.r2
            for weight, slope in zip(weights, slopes, strict=True):
                loss = loss + every * weight / 2 * slope.square().sum() / len(real)
        self.descend(1, loss)
        return loss.detach()

    # --- the same as tfgen's? -----------------------------------------------------------------

    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.GAN`."""
        for network, layers in (
            (self.generator, model.generator.layers),
            (self.discriminator, model.discriminator.layers),
        ):
            for kind, name in _KINDS.items():
                modules = [module for module in network.modules() if type(module) is kind]
                load_layers(modules, created(layers, name))
        outputs_to_channels_first(self.generator[0], self.smallest)
        inputs_to_channels_first(self.discriminator[-1], self.smallest)


# Modules of the twin, and the classes of the Keras layers that they are.
_KINDS: dict[type[nn.Module], str] = {
    nn.Linear: "Dense",
    nn.Conv2d: "Conv2D",
    DoublingConv2d: "DoublingConv2D",
    HalvingConv2d: "HalvingConv2D",
    nn.BatchNorm2d: "BatchNormalization",
}


def _latents(count: int, dimensions: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dimensions), np.float32)


TWIN = GANTwin
