"""Peers: the same training as a family's, written the ordinary way in PyTorch.

Another family is one entry in `PEERS`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tfgen.config import RunConfig, VAEConfig
from tfgen.errors import UsageError

# Trains one epoch and returns the mean of what the family logs as `loss`.
Epoch: TypeAlias = Callable[[], float]
# Takes a run's configuration and its training images, `uint8[N, H, W, C]`.
Peer: TypeAlias = Callable[[RunConfig, np.ndarray], Epoch]

_MIN_STDDEV = 1e-7  # as in tfgen.models.vae


def dense_network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them, `[B, inputs] → [B, outputs]`."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class BernoulliVAE(nn.Module):
    """A variational autoencoder (Kingma & Welling 2013) of binary pixels.

    Args:
        config: as tfgen's has it; the likelihood must be `bernoulli`.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        pixels = math.prod(config.image_shape)
        self.encoder = dense_network(pixels, config.hidden, 2 * config.latent_dim)
        self.decoder = dense_network(config.latent_dim, config.hidden[::-1], pixels)

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        """−ELBO in nats of events `[B, pixels]`, by one sample of z and the analytic KL; mean over B."""
        mean, raw_scale = self.encoder(events).chunk(2, dim=1)
        stddev = functional.softplus(raw_scale) + _MIN_STDDEV
        latents = mean + stddev * torch.randn_like(stddev)
        logits = self.decoder(latents)
        reconstruction = functional.binary_cross_entropy_with_logits(logits, events, reduction="sum")
        kl = 0.5 * (mean.square() + stddev.square() - 1 - 2 * stddev.log()).sum()
        return (reconstruction + kl) / len(events)


def torch_vae(config: RunConfig, images: np.ndarray) -> Epoch:
    """The VAE in eager PyTorch, its batches from a `DataLoader` that takes and collates images one by one.

    Raises:
        UsageError: the preset is not for images that are binarized anew at each step.
    """
    if (config.model.likelihood, config.model.binarization) != ("bernoulli", "dynamic"):
        raise UsageError("the peer of vae has a Bernoulli likelihood and dynamic binarization only")
    torch.manual_seed(config.options.seed)
    model = BernoulliVAE(config.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.options.learning_rate)
    data = TensorDataset(torch.tensor(images))
    loader = DataLoader(data, config.options.batch_size, shuffle=True, num_workers=0, drop_last=True)

    def epoch() -> float:
        total = torch.zeros(())
        for (batch,) in loader:
            events = torch.bernoulli(batch.flatten(1) / 255)
            loss = model(events)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total.item() / len(loader)

    return epoch


PEERS: dict[str, Peer] = {"vae": torch_vae}
