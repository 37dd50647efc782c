"""The hierarchical VAE of the preset `hierarchical` in PyTorch."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch_hierarchy import LEVELS_PER_BLOCK, TopDown, moments, residual
from torch_layers import GatedResidual, load_layers, products, products_of
from twin_vae import BoundTwin, Terms

from tfgen.models.vae.config import VAEConfig


class HierarchyTwin(BoundTwin):
    """A bottom-up network, and a top-down network of several levels of latents."""

    def build(self, config: VAEConfig) -> None:
        """Creates the bottom-up network, the blocks whose outputs the levels get, and these."""
        *larger, width = self.widths
        sides = [config.image_shape[2], *larger]
        stages = [
            [nn.Conv2d(inputs, outputs, 4, 2, 1), *residual(config.blocks, outputs)]
            for inputs, outputs in itertools.pairwise(sides)
        ]
        smallest = nn.Conv2d(sides[-1], width, 4, 2, 1)
        self.encoder = nn.Sequential(*itertools.chain(*stages), smallest)
        count = -(-config.levels // LEVELS_PER_BLOCK)
        self.features = nn.ModuleList(GatedResidual(width) for _ in range(count))
        self.decoder = TopDown(config, self.output_channels)

    def terms(self, events: torch.Tensor, noise: torch.Tensor | None = None) -> Terms:
        """See `BoundTwin.terms`; there are the dense level and those below it."""
        with self.precision():
            features = [self.features[0](self.encoder(events))]
            for block in self.features[1:]:
                features.append(block(features[-1]))
            maps, kls = self.follow(features, noise)
            maps = self.decoder.tail(maps)
        # tfgen's last layer has float32 too.
        return self.log_likelihood(events, self.decoder.last(maps.float())), kls

    def follow(
        self, features: Sequence[torch.Tensor], noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The maps of the last level, and the KL of each level, on the path of the posterior."""
        decoder = self.decoder
        parts = None if noise is None else decoder.split(noise)
        mean, log_stddev = moments(decoder.top_moments(features[-1].flatten(1)))
        epsilon = torch.randn_like(mean) if parts is None else parts[0]
        kls = [kl_of_noise(mean, log_stddev)]
        maps = decoder.first_maps(mean + torch.exp(log_stddev) * epsilon)
        if self.way in ("channels_last", "bfloat16"):
            maps = maps.to(memory_format=torch.channels_last)
        for index, level in enumerate(decoder.levels):
            source = features[-1 - index // LEVELS_PER_BLOCK]
            prior_mean, prior_log_stddev = level.prior(maps)
            mean, log_stddev = level.posterior(maps, source, prior_log_stddev)
            epsilon = torch.randn_like(mean) if parts is None else parts[1 + index]
            kls.append(kl_of_noise(mean, log_stddev))
            sample = mean + torch.exp(log_stddev) * epsilon
            maps = level.advance(maps, prior_mean + torch.exp(prior_log_stddev) * sample)
        return maps, kls

    # --- the same as tfgen's? -----------------------------------------------------------------

    def load(self, model: Any) -> None:
        """Takes over the weights of a hierarchical `tfgen.VAE`."""
        bottom_up = [*products(self.encoder), *products(self.features)]
        load_layers(bottom_up, products_of(model.encoder.layers))
        self.decoder.load(model.decoder)


def kl_of_noise(mean: torch.Tensor, log_stddev: torch.Tensor) -> torch.Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)), summed over all but the batch, nats, `[B]`."""
    kls = (mean.square() + torch.exp(2 * log_stddev) - 1) / 2 - log_stddev
    return kls.flatten(1).sum(dim=1)


TWIN = HierarchyTwin
