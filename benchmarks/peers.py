"""Peers: the training of a family, written the usual way in PyTorch.

A further family is a further entry in `COMPARISONS`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tfgen.errors import UsageError
from tfgen.models.gan.config import GANConfig
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig

# Trains one epoch and returns the mean of the value that is compared.
Epoch: TypeAlias = Callable[[], float]
# Takes a run's configuration and its training images, `uint8[N, H, W, C]`.
Peer: TypeAlias = Callable[[RunConfig, np.ndarray], Epoch]

_MIN_STDDEV = 1e-7  # as in tfgen.models.vae.model


@dataclass(frozen=True)
class Comparison:
    """What an epoch of a family is compared with.

    Attributes:
        peer: the same training in PyTorch.
        flops: a function of tfgen's model and the batch size to the floating-point operations of
            the dense layers in one step; a multiply-add counts as 2.
        logged: the logged value whose mean both report.
        max_ratio: the project's bound on the time of tfgen relative to the peer's.
        min_percent: the project's bound on the rate of the dense layers relative to that of the
            large product [%].
    """

    peer: Peer
    flops: Callable[[Any, int], int]
    logged: str
    max_ratio: float
    min_percent: float


# --- the VAE -----------------------------------------------------------------------------


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
        config: tfgen's configuration; its likelihood must be `bernoulli`.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        pixels = math.prod(config.image_shape)
        self.encoder = dense_network(pixels, config.hidden, 2 * config.latent_dim)
        self.decoder = dense_network(config.latent_dim, config.hidden[::-1], pixels)

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        """Mean −ELBO of events `[B, pixels]` [nats], with one sample of z and the analytic KL."""
        mean, raw_scale = self.encoder(events).chunk(2, dim=1)
        stddev = functional.softplus(raw_scale) + _MIN_STDDEV
        latents = mean + stddev * torch.randn_like(stddev)
        logits = self.decoder(latents)
        reconstruction = functional.binary_cross_entropy_with_logits(
            logits, events, reduction="sum"
        )
        kl = 0.5 * (mean.square() + stddev.square() - 1 - 2 * stddev.log()).sum()
        return (reconstruction + kl) / len(events)


def torch_vae(config: RunConfig, images: np.ndarray) -> Epoch:
    """The VAE in eager PyTorch, with batches from a `DataLoader` that collates single images.

    Raises:
        UsageError: the likelihood is not Bernoulli, or the binarization is not dynamic.
    """
    if (config.model.likelihood, config.model.binarization) != ("bernoulli", "dynamic"):
        raise UsageError("the peer of vae has a Bernoulli likelihood and dynamic binarization only")
    torch.manual_seed(config.options.seed)
    model = BernoulliVAE(config.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.options.learning_rate)
    data = TensorDataset(torch.tensor(images))
    loader = DataLoader(
        data, config.options.batch_size, shuffle=True, num_workers=0, drop_last=True
    )

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


def vae_flops(model: Any, batch_size: int) -> int:
    """FLOP of the dense layers in a step, in which a batch passes each layer once.

    Each layer has three products: forward, gradient of the weights, gradient of the inputs. The
    first layer has no gradient of the inputs, since they are data.
    """
    products = _products(model.layers)
    return 2 * batch_size * (3 * sum(products) - products[0])


# --- the GAN -----------------------------------------------------------------------------


def generator(config: GANConfig) -> nn.Sequential:
    """`[B, latent_dim] → [B, pixels]` in −1…1; batch normalization from the second layer on."""
    layers: list[nn.Module] = []
    inputs = config.latent_dim
    for index, units in enumerate(config.generator_hidden):
        layers.append(nn.Linear(inputs, units))
        if index:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.LeakyReLU(0.2))
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, math.prod(config.image_shape)), nn.Tanh())


def discriminator(config: GANConfig) -> nn.Sequential:
    """`[B, pixels] → [B, 1]`, logits; dropout after the first activation."""
    layers: list[nn.Module] = []
    inputs = math.prod(config.image_shape)
    for index, units in enumerate(config.discriminator_hidden):
        layers += [nn.Linear(inputs, units), nn.LeakyReLU(0.2)]
        if index == 0:
            layers.append(nn.Dropout(config.dropout))
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def torch_gan(config: RunConfig, images: np.ndarray) -> Epoch:
    """The dense GAN in eager PyTorch: generator step, then discriminator step on the same fakes.

    Raises:
        UsageError: the architecture, the loss, `critic_steps` or `ema_decay` is not the default.
    """
    model, options = config.model, config.options
    if (model.architecture, model.loss, model.critic_steps, model.ema_decay) != (
        "dense",
        "non_saturating",
        1,
        0,
    ):
        raise UsageError("the peer of gan is dense, with the non-saturating loss and without EMA")
    torch.manual_seed(options.seed)
    networks = generator(model), discriminator(model)
    optimizers = [
        torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, betas=(model.beta_1, 0.999)
        )
        for network in networks
    ]
    generate, discriminate = networks
    loss_of = functional.binary_cross_entropy_with_logits
    data = TensorDataset(torch.tensor(images))
    loader = DataLoader(data, options.batch_size, shuffle=True, num_workers=0, drop_last=True)

    def epoch() -> float:
        total = torch.zeros(())
        for (batch,) in loader:
            real = batch.flatten(1) / 127.5 - 1
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            fake = generate(torch.randn(len(real), model.latent_dim))
            # The generator step needs no gradient of the discriminator's weights.
            discriminate.requires_grad_(False)
            generator_loss = loss_of(discriminate(fake), ones)
            optimizers[0].zero_grad()
            generator_loss.backward()
            optimizers[0].step()
            discriminate.requires_grad_(True)
            loss = loss_of(discriminate(real), ones) + loss_of(discriminate(fake.detach()), zeros)
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            total += loss.detach()
        return total.item() / len(loader)

    return epoch


def gan_flops(model: Any, batch_size: int) -> int:
    """FLOP of the dense layers in a step of both networks.

    Generator: forward and both gradients, except for that of its latents. Discriminator: in the
    generator step, forward and the gradient of its inputs; in its own step, on twice as many
    images, forward and both gradients, except for that of its images.
    """
    generator_products = _products(model.generator.layers)
    discriminator_products = _products(model.discriminator.layers)
    generator_total, discriminator_total = sum(generator_products), sum(discriminator_products)
    generator_step = 3 * generator_total - generator_products[0] + 2 * discriminator_total
    discriminator_step = 2 * (3 * discriminator_total - discriminator_products[0])
    return 2 * batch_size * (generator_step + discriminator_step)


# --- the flow ----------------------------------------------------------------------------


class MaskedCoupling(nn.Module):
    """An affine coupling with a mask.

    The conditioner sees zeros in one half of the pixels. What it computes for the other half is
    discarded.

    Args:
        mask: `[pixels]`, 1 where pixels pass unchanged.
        hidden: widths of the conditioner's hidden layers.
    """

    def __init__(self, mask: torch.Tensor, hidden: Sequence[int]):
        super().__init__()
        self.register_buffer("mask", mask)
        self.conditioner = dense_network(len(mask), hidden, 2 * len(mask))
        for parameter in self.conditioner[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From the data to the latents, and log|det|: `[B, pixels]` → `[B, pixels]`, `[B]`."""
        shift, raw = self.conditioner(state * self.mask).chunk(2, dim=1)
        log_scale = torch.tanh(raw) * (1 - self.mask)
        changed = state * torch.exp(log_scale) + shift * (1 - self.mask)
        return changed, log_scale.sum(dim=1)


def torch_flow(config: RunConfig, images: np.ndarray) -> Epoch:
    """The dense flow in eager PyTorch, as in the report's template: masks, full width, tanh(r)."""
    model, options = config.model, config.options
    torch.manual_seed(options.seed)
    height, width, channels = model.image_shape
    rows, columns = torch.arange(height)[:, None, None], torch.arange(width)[None, :, None]
    board = ((rows + columns) % 2).float().expand(height, width, channels).flatten()
    flow = nn.ModuleList(
        MaskedCoupling(board if index % 2 else 1 - board, model.hidden)
        for index in range(model.couplings)
    )
    optimizer = torch.optim.Adam(flow.parameters(), lr=options.learning_rate)
    data = TensorDataset(torch.tensor(images))
    loader = DataLoader(data, options.batch_size, shuffle=True, num_workers=0, drop_last=True)
    pixels, alpha = len(board), model.alpha

    def epoch() -> float:
        total = torch.zeros(())
        for (batch,) in loader:
            values = (batch.flatten(1) + torch.rand(len(batch), pixels)) / 256
            inside = alpha / 2 + (1 - alpha) * values
            state = inside.log() - (1 - inside).log()
            log_det = (math.log1p(-alpha) - inside.log() - (1 - inside).log() - math.log(256)).sum(
                dim=1
            )
            for coupling in flow:
                state, coupling_log_det = coupling(state)
                log_det = log_det + coupling_log_det
            log_prob = log_det - 0.5 * (state.square().sum(dim=1) + pixels * math.log(2 * math.pi))
            loss = -log_prob.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() / (pixels * math.log(2))
        return total.item() / len(loader)

    return epoch


def flow_flops(model: Any, batch_size: int) -> int:
    """FLOP of the dense layers in a step: forward and both gradients, except for that of the data.

    Raises:
        UsageError: the flow is convolutional.
    """
    if model.config.architecture != "dense":
        raise UsageError("the flow's peer is dense; use --preset mlp")
    products = [_products(step.conditioner.layers) for step in model.flow_steps]
    return 2 * batch_size * (3 * sum(map(sum, products)) - products[0][0])


def _products(layers: Iterable[Any]) -> list[int]:
    """Multiply-adds per example of each dense layer, in the order of the layers."""
    products = []
    for layer in layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 2:
            products.append(math.prod(kernel.shape))
        else:
            products += _products(getattr(layer, "layers", ()))
    return products


COMPARISONS: dict[str, Comparison] = {
    "vae": Comparison(torch_vae, vae_flops, "loss", 0.55, 60),
    "gan": Comparison(torch_gan, gan_flops, "discriminator_loss", 0.6, 60),
    "flow": Comparison(torch_flow, flow_flops, "bits_per_dim", 0.6, 70),
}
