"""The hierarchical VAE of the preset `hierarchical` in PyTorch.

A level's latents are z = μ_p + σ_p ε, and those of the posterior are relative to the prior, as in
`tfgen.models.vae.hierarchy`.
"""

import itertools
import math
from collections.abc import Sequence
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
from twin_vae import BoundTwin, Terms

from tfgen.models.vae.config import VAEConfig

# As in tfgen.models.vae.hierarchy.
_LOG_SCALE_BOUND = 5.0
_LEVELS_PER_BLOCK = 2


def bounded(raw: torch.Tensor) -> torch.Tensor:
    """A log-scale within the bound; near 0 it is `raw`."""
    return _LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)


def kl_of_noise(mean: torch.Tensor, log_stddev: torch.Tensor) -> torch.Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)), summed over all but the batch, nats, `[B]`."""
    kls = (mean.square() + torch.exp(2 * log_stddev) - 1) / 2 - log_stddev
    return kls.flatten(1).sum(dim=1)


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


class HierarchyTwin(BoundTwin):
    """A bottom-up network, and a top-down network of several levels of latents."""

    def build(self, config: VAEConfig) -> None:
        """Creates the bottom-up network, the levels, and the layers behind them."""
        width, flat = self.widths[-1], math.prod(self.smallest)
        sizes = [config.image_shape[2], *self.widths[:-1]]
        stages = [
            [nn.Conv2d(inputs, outputs, 4, 2, 1), *self._residual(outputs)]
            for inputs, outputs in itertools.pairwise(sizes)
        ]
        self.encoder = nn.Sequential(
            *itertools.chain(*stages), nn.Conv2d(sizes[-1], width, 4, 2, 1)
        )
        count = -(-config.levels // _LEVELS_PER_BLOCK)
        self.features = nn.ModuleList(GatedResidual(width) for _ in range(count))
        self.top_moments = nn.Linear(flat, 2 * config.latent_dim)
        self.top_expand = nn.Linear(config.latent_dim, flat)
        self.levels = nn.ModuleList(
            Level(config.level_channels, width) for _ in range(config.levels)
        )
        larger = [
            [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), *self._residual(outputs)]
            for inputs, outputs in itertools.pairwise(self.widths[::-1])
        ]
        self.tail = nn.Sequential(nn.ReLU(), *itertools.chain(*larger))
        self.last = nn.ConvTranspose2d(self.widths[0], self.output_channels, 4, 2, 1)

    def _residual(self, channels: int) -> list[nn.Module]:
        """Gated blocks and ReLU."""
        return [*(GatedResidual(channels) for _ in range(self.config.blocks)), nn.ReLU()]

    def terms(self, events: torch.Tensor, noise: Sequence[torch.Tensor] | None = None) -> Terms:
        """See `BoundTwin.terms`; there are the dense level and those below it."""
        with self.precision():
            maps, features = self.encoder(events), []
            for block in self.features:
                maps = block(maps)
                features.append(maps)
            moments = self.top_moments(maps.flatten(1))
        mean, raw = moments.float().chunk(2, dim=1)
        log_stddev = bounded(raw)
        epsilon = torch.randn_like(mean) if noise is None else noise[0]
        kls = [kl_of_noise(mean, log_stddev)]
        with self.precision():
            latents = self.top_expand(mean + torch.exp(log_stddev) * epsilon)
        maps = latents.unflatten(1, self.smallest)
        if self.way in ("channels_last", "bfloat16"):
            maps = maps.to(memory_format=torch.channels_last)
        for index, level in enumerate(self.levels):
            source = features[-1 - index // _LEVELS_PER_BLOCK]
            epsilon = None if noise is None else noise[1 + index]
            maps, kl = self._descend(level, maps, source, epsilon)
            kls.append(kl)
        with self.precision():
            maps = self.tail(maps)
        # tfgen's last layer has float32 too.
        return self.log_likelihood(events, self.last(maps.float())), kls

    def _descend(
        self,
        level: Level,
        maps: torch.Tensor,
        features: torch.Tensor,
        epsilon: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps for the next level, and the level's KL."""
        with self.precision():
            prior = level.prior_moments(maps)
            joined = torch.relu(level.join(torch.cat([maps, features], dim=1)))
            moments = level.moments(joined)
        prior_mean, prior_raw = prior.float().chunk(2, dim=1)
        shift, raw = moments.float().chunk(2, dim=1)
        prior_log_stddev, log_stddev = bounded(prior_raw), bounded(raw)
        mean = shift * torch.exp(-prior_log_stddev)
        if epsilon is None:
            epsilon = torch.randn_like(mean)
        sample = mean + torch.exp(log_stddev) * epsilon
        latents = prior_mean + torch.exp(prior_log_stddev) * sample
        with self.precision():
            maps = level.block(maps + level.expand(latents))
        return maps, kl_of_noise(mean, log_stddev)

    # --- the same as tfgen's? -----------------------------------------------------------------

    def noise_shapes(self) -> list[tuple[int, ...]]:
        """The dense level, and maps."""
        sides = self.smallest[1:]
        return [
            (self.config.latent_dim,),
            *[(*sides, self.config.level_channels)] * len(self.levels),
        ]

    def load(self, model: Any) -> None:
        """Takes over the weights of a hierarchical `tfgen.VAE`."""
        bottom_up = [*products(self.encoder), *products(self.features)]
        load_layers(bottom_up, products_of(model.encoder.layers))
        top, *levels = model.decoder.levels
        load_layers([self.top_moments, self.top_expand], [top.moments, top.expand])
        inputs_to_channels_first(self.top_moments, self.smallest)
        outputs_to_channels_first(self.top_expand, self.smallest)
        for module, level in zip(self.levels, levels, strict=True):
            layers = [level.prior_moments, level.join, level.moments, level.expand, level.block]
            load_layers(products(module), products_of(layers))
        tail = [*products(self.tail), self.last]
        load_layers(tail, products_of(model.decoder.tail))


TWIN = HierarchyTwin
