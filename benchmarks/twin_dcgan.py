"""The convolutional GAN of the presets `dcgan` and `packed` in PyTorch."""

import math
from typing import Any

import torch
from sample_peers import Generator
from torch import nn
from torch.nn import functional
from torch_layers import (
    inputs_to_channels_first,
    load_sequence,
    outputs_to_channels_first,
    products,
)
from twin_gan import LEAK, GameTwin

from tfgen.errors import UsageError
from tfgen.models.gan.config import GANConfig
from tfgen.settings.model import halvings


class DCGANTwin(GameTwin):
    """InfoGAN's networks for small images (Chen et al. 2016), and the non-saturating step.

    Batches are divisible by the number of images in a pack.
    """

    def build(self, config: GANConfig) -> None:
        """Creates convolutional networks with batch normalization."""
        expected = "non_saturating", (), 1, 0, 0.0, 0.0, True, False, 0.0
        actual = (
            *(config.loss, tuple(config.diff_augment), config.critic_steps, config.num_classes),
            *(config.r1, config.r2, config.discriminator_batch_norm, config.spectral_norm),
            config.label_smoothing + config.dropout,
        )
        times = config.halvings or halvings(config.image_shape)
        if actual != expected or times != 2 or any(side % 4 for side in config.image_shape[:2]):
            raise UsageError(
                "the convolutional twin of gan is like its preset dcgan, for sides of 28 or less"
            )
        peer = Generator(config)
        self.smallest = peer.small
        # The last layer is the hyperbolic tangent.
        self.generator = peer.network[:-1]
        half = config.channels
        self.discriminator = nn.Sequential(
            nn.Conv2d(config.pack * config.image_shape[2], half, 4, 2, 1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(half, 2 * half, 4, 2, 1),
            nn.BatchNorm2d(2 * half),
            nn.LeakyReLU(LEAK),
            nn.Flatten(),
            nn.Linear(math.prod(self.smallest), config.units),
            nn.BatchNorm1d(config.units),
            nn.LeakyReLU(LEAK),
            nn.Linear(config.units, 1),
        )

    def _discriminate(self, events: torch.Tensor) -> torch.Tensor:
        sides = events.shape[2:]
        return super()._discriminate(events.reshape(-1, self.config.pack * events.shape[1], *sides))

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """The generator's move, then the discriminator's; the discriminator's mean loss."""
        real = images.float() / 127.5 - 1
        fake = self.fast_generator(torch.randn(len(real), self.config.latent_dim))
        self.discriminator.requires_grad_(False)
        self.descend(0, functional.softplus(-self.fast_discriminator(fake)).mean())
        self.average.update()
        self.discriminator.requires_grad_(True)
        real_logits, fake_logits = map(self.fast_discriminator, (real, fake.detach()))
        loss = (functional.softplus(-real_logits) + functional.softplus(fake_logits)).mean()
        self.descend(1, loss)
        return loss.detach()

    # --- the same as tfgen's? -----------------------------------------------------------------

    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.GAN`."""
        load_sequence(self.generator, model.generator.layers)
        outputs_to_channels_first(products(self.generator)[1], self.smallest)
        load_sequence(self.discriminator, model.discriminator.layers)
        inputs_to_channels_first(products(self.discriminator)[-2], self.smallest)


TWIN = DCGANTwin
