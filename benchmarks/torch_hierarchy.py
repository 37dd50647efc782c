"""The top-down network of a hierarchical VAE in PyTorch, as in `tfgen.models.vae.hierarchy`.

A level's latents are z = μ_p + σ_p ε, and those of the posterior are relative to the prior.
"""

import itertools
import math
from typing import Any

import torch
from torch import nn
from torch_layers import (
    GatedResidual,
    inputs_to_channels_first,
    load_layers,
    outputs_to_channels_first,
    products,
    products_of,
)

from tfgen.models.vae.config import VAEConfig
from tfgen.settings.model import halved, halvings

# As in tfgen.models.vae.hierarchy.
_LOG_SCALE_BOUND = 5.0
LEVELS_PER_BLOCK = 2


def bounded(raw: torch.Tensor) -> torch.Tensor:
    """A log-scale within the bound; near 0 it is `raw`."""
    return _LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)


def moments(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean or shift, and log σ, in float32, of a layer's outputs."""
    mean, raw = outputs.float().chunk(2, dim=1)
    return mean, bounded(raw)


def widths(config: VAEConfig) -> list[int]:
    """Channels at half the side, at a quarter, and so on."""
    times = config.halvings or halvings(config.image_shape)
    return [config.channels * min(2**index, 8) for index in range(times)]


def residual(blocks: int, channels: int) -> list[nn.Module]:
    """Gated residual blocks, and ReLU."""
    return [*(GatedResidual(channels) for _ in range(blocks)), nn.ReLU()]


class Level(nn.Module):
    """A level of latents below the top, at each position of maps `[B, width, H, W]`.

    Args:
        channels: latents at each position.
        width: channels of the maps and of the bottom-up features.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.prior_moments = nn.Conv2d(width, 2 * channels, 1)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.moments = nn.Conv2d(width, 2 * channels, 3, padding=1)
        self.expand = nn.Conv2d(channels, width, 1)
        self.block = GatedResidual(width)

    def prior(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log σ of z given the levels above."""
        return moments(self.prior_moments(maps))

    def posterior(
        self, maps: torch.Tensor, features: torch.Tensor, prior_log_stddev: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log σ of ε given the image and the levels above."""
        joined = torch.relu(self.join(torch.cat([maps, features], dim=1)))
        shift, log_stddev = moments(self.moments(joined))
        return shift * torch.exp(-prior_log_stddev), log_stddev

    def advance(self, maps: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The maps for the next level, of z."""
        advanced: torch.Tensor = self.block(maps + self.expand(latents))
        return advanced


class TopDown(nn.Module):
    """A dense level at the top, levels of maps below it, and layers from maps to outputs.

    Args:
        config: as tfgen's has it.
        outputs: numbers for each pixel.
    """

    def __init__(self, config: VAEConfig, outputs: int):
        super().__init__()
        sizes = widths(config)
        self.smallest = (sizes[-1], *halved(config.image_shape, len(sizes)))
        self.top, flat = config.latent_dim, math.prod(self.smallest)
        self.top_moments = nn.Linear(flat, 2 * self.top)
        self.top_expand = nn.Linear(self.top, flat)
        self.level_shape = (*self.smallest[1:], config.level_channels)
        self.levels = nn.ModuleList(
            Level(config.level_channels, sizes[-1]) for _ in range(config.levels)
        )
        larger = [
            [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), *residual(config.blocks, narrow)]
            for wide, narrow in itertools.pairwise(sizes[::-1])
        ]
        self.tail = nn.Sequential(nn.ReLU(), *itertools.chain(*larger))
        self.last = nn.ConvTranspose2d(sizes[0], outputs, 4, 2, 1)

    def split(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """The latents of each level, as `[B, D]` and `[B, C, H, W]`, of those of all levels.

        Args:
            latents: `[B, D]`, those of a level with the channels last.
        """
        size = math.prod(self.level_shape)
        first, *parts = latents.split([self.top, *[size] * len(self.levels)], dim=1)
        maps = [part.unflatten(1, self.level_shape).permute(0, 3, 1, 2) for part in parts]
        return [first, *(part.contiguous() for part in maps)]

    def first_maps(self, epsilon: torch.Tensor) -> torch.Tensor:
        """The maps for the level below the top, of the latents at the top."""
        return self.top_expand(epsilon).unflatten(1, self.smallest)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Outputs `[B, C, H, W]` of latents `[B, D]`: the path of the prior."""
        top, *parts = self.split(latents)
        maps = self.first_maps(top)
        for level, epsilon in zip(self.levels, parts, strict=True):
            mean, log_stddev = level.prior(maps)
            maps = level.advance(maps, mean + torch.exp(log_stddev) * epsilon)
        outputs: torch.Tensor = self.last(self.tail(maps))
        return outputs

    def load(self, decoder: Any) -> None:
        """Takes over the weights of tfgen's `TopDown`."""
        top, *levels = decoder.levels
        load_layers([self.top_moments, self.top_expand], [top.moments, top.expand])
        inputs_to_channels_first(self.top_moments, self.smallest)
        outputs_to_channels_first(self.top_expand, self.smallest)
        for module, level in zip(self.levels, levels, strict=True):
            layers = [level.prior_moments, level.join, level.moments, level.expand, level.block]
            load_layers(products(module), products_of(layers))
        load_layers([*products(self.tail), self.last], products_of(decoder.tail))
