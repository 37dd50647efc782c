"""Peers of the shipped samplers: the same decoders, written the ordinary way in PyTorch.

Each takes its weights from a Keras model of tfgen's and is channels first, as PyTorch's own layers
are; what depends on weights alone is computed once, when they are loaded. Another family is one
entry in `PEERS`; `decoder` takes a VAE of any architecture.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch_hierarchy import TopDown, widths
from torch_layers import (
    GatedResidual,
    array,
    load_layers,
    load_sequence,
    outputs_to_channels_first,
    products,
    products_of,
    unsqueeze,
)

from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.models.gan.config import GANConfig
from tfgen.models.vae.config import VAEConfig

# As in tfgen's: Keras and PyTorch have other defaults.
_NORM_EPSILON = 1e-5
# Of the mixtures' bisection in float32, as in tfgen.bijectors.mixture.
HALVINGS = 24
LEVELS = 256


# --- the VAE -------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """The decoder of a variational autoencoder of binary pixels, dense or convolutional.

    Args:
        config: as tfgen's has it; with a likelihood `bernoulli`, ReLU and no labels.

    Raises:
        UsageError: it is another one.
    """

    def __init__(self, config: VAEConfig):
        if config.likelihood != "bernoulli" or config.num_classes or config.activation != "relu":
            raise UsageError("the peer of vae has a Bernoulli likelihood, ReLU and no labels")
        super().__init__()
        layers: list[nn.Module] = []
        inputs = config.latent_dim
        for units in config.hidden[::-1]:
            layers += [nn.Linear(inputs, units), nn.ReLU()]
            inputs = units
        height, width, depth = config.image_shape
        if config.architecture == "dense":
            self.small = (height, width, depth)
            larger = []
        else:
            # At a quarter of the side, where convolutions begin.
            self.small = (2 * config.channels, height // 4, width // 4)
            larger = [*doubled(config.blocks, self.small[0], config.channels)]
            larger += doubled(config.blocks, config.channels, depth)
        first = [nn.Linear(inputs, math.prod(self.small)), nn.Unflatten(1, self.small)]
        self.channels_last = not larger
        self.network = nn.Sequential(*layers, *first, *larger)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels' probabilities `[B, H, W, C]` of latents `[B, D]`."""
        images = torch.sigmoid(self.network(latents))
        return images if self.channels_last else images.permute(0, 2, 3, 1)


def doubled(blocks: int, channels: int, filters: int) -> list[nn.Module]:
    """Gated residual blocks, and a transposed convolution to `filters` channels at twice the
    sides."""
    residual = [GatedResidual(channels) for _ in range(blocks)]
    return [
        *residual,
        nn.ReLU(),
        nn.ConvTranspose2d(channels, filters, kernel_size=4, stride=2, padding=1),
    ]


class HierarchicalDecoder(TopDown):
    """The decoder of a hierarchical VAE of binary pixels.

    Args:
        config: as tfgen's has it; with a likelihood `bernoulli`, without labels.

    Raises:
        UsageError: it is another one, or a side is not divisible often enough.
    """

    def __init__(self, config: VAEConfig):
        times = len(widths(config))
        is_even = all(side % 2**times == 0 for side in config.image_shape[:2])
        if config.likelihood != "bernoulli" or config.num_classes or not is_even:
            raise UsageError(
                "the peer of a hierarchical vae has a Bernoulli likelihood, no labels, and sides "
                "that can be halved often enough"
            )
        super().__init__(config, config.image_shape[2])

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels' probabilities `[B, H, W, C]` of latents `[B, D]`."""
        return torch.sigmoid(super().forward(latents)).permute(0, 2, 3, 1)


def decoder(model: Any) -> nn.Module:
    """The decoder of a `tfgen.models.vae.VAE`."""
    if model.config.architecture == "hierarchical":
        hierarchy = HierarchicalDecoder(model.config)
        hierarchy.load(model.decoder)
        return hierarchy
    peer = Decoder(model.config)
    modules = products(peer.network)
    load_layers(modules, products_of(model.decoder.layers))
    if not peer.channels_last:
        outputs_to_channels_first(modules[len(model.config.hidden)], peer.small)
    return peer


# --- the GAN -------------------------------------------------------------------------------------


class Generator(nn.Module):
    """InfoGAN's generator for small images (Chen et al. 2016, appendix C.1).

    Args:
        config: as tfgen's has it; the architecture must be `convolutional`, without labels.

    Raises:
        UsageError: it is another one.
    """

    def __init__(self, config: GANConfig):
        if config.architecture != "convolutional" or config.num_classes:
            raise UsageError("the peer of gan is convolutional and has no labels")
        super().__init__()
        height, width, depth = config.image_shape
        # At a quarter of the side.
        self.small = small = (2 * config.channels, height // 4, width // 4)
        self.network = nn.Sequential(
            nn.Linear(config.latent_dim, config.units),
            nn.BatchNorm1d(config.units, _NORM_EPSILON),
            nn.ReLU(),
            nn.Linear(config.units, math.prod(small)),
            nn.Unflatten(1, small),
            nn.BatchNorm2d(small[0], _NORM_EPSILON),
            nn.ReLU(),
            nn.ConvTranspose2d(small[0], config.channels, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(config.channels, _NORM_EPSILON),
            nn.ReLU(),
            nn.ConvTranspose2d(config.channels, depth, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1 of latents `[B, D]`."""
        return ((self.network(latents) + 1) / 2).permute(0, 2, 3, 1)


@torch.no_grad()
def generator(model: Any) -> nn.Module:
    """The generator of a `tfgen.models.gan.GAN`."""
    peer = Generator(model.config)
    load_sequence(peer.network, model.generator.layers)
    outputs_to_channels_first(products(peer.network)[1], peer.small)
    return peer


# --- the flow ------------------------------------------------------------------------------------


class MixtureCoupling(nn.Module):
    """y with x = logit(F(y)) · exp(s) + t, F the distribution function of a mixture of logistics.

    Args:
        components: of the mixture.
        bound: of s and of the components' log-scales, nats.
    """

    spread: torch.Tensor

    def __init__(self, components: int, bound: float):
        super().__init__()
        self.components, self.bound = components, bound
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", spread[:, None, None, None, None])

    def bounded(self, raw: torch.Tensor) -> torch.Tensor:
        """About `raw` where that is small, and never beyond the bound."""
        return self.bound * torch.tanh(raw / self.bound)

    def forward(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """y of x `[B, C, H, W]` and the conditioner's output `[B, C (2 + 3 components), H, W]`."""
        # The components come first, and each is contiguous: sums over them are fast so, and under
        # `torch.compile`, which would leave the channels last, an operation then takes many
        # elements at once.
        parameters = output.unflatten(1, (-1, x.shape[1])).movedim(1, 0).contiguous()
        shift, raw_scale, *mixture = parameters.split([1, 1, *[self.components] * 3])
        log_weights, means = functional.log_softmax(mixture[0], dim=0), mixture[1] + self.spread
        log_scales = self.bounded(mixture[2])
        wanted = (x - shift[0]) * torch.exp(-self.bounded(raw_scale[0]))
        y = solve(wanted, log_weights, means, log_scales)
        # One step of Newton's method.
        log_cdf, log_survival = log_tails(y, log_weights, means, torch.exp(-log_scales))
        t = (y - means) * torch.exp(-log_scales)
        log_densities = (
            log_weights - log_scales + functional.logsigmoid(t) + functional.logsigmoid(-t)
        )
        log_slope = torch.logsumexp(log_densities, dim=0) - log_cdf - log_survival
        return y - (log_cdf - log_survival - wanted) * torch.exp(-log_slope)


def log_tails(
    y: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, inverse_scales: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log F(y) and log(1 − F(y)) of y `[B, C, H, W]`; the mixture's numbers are `[K, B, C, H,
    W]`."""
    t = (y - means) * inverse_scales
    weighted = log_weights + functional.logsigmoid(t)
    return torch.logsumexp(weighted, dim=0), torch.logsumexp(weighted - t, dim=0)


# The loop is no part of a compiled graph, a halving is a graph of its own: unrolled, a decode took
# minutes to compile and was then slower than in eager PyTorch.
@torch.compiler.disable(recursive=False)
def solve(
    wanted: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, log_scales: torch.Tensor
) -> torch.Tensor:
    """y with logit(F(y)) = `wanted`, by bisection; all as in `log_tails`."""
    sign = torch.where(wanted > 0, -1.0, 1.0)
    wanted, means = -wanted.abs(), sign * means
    of_each = means + torch.exp(log_scales) * wanted
    low, high = of_each.amin(dim=0), of_each.amax(dim=0)
    weights, inverse_scales = torch.exp(log_weights), torch.exp(-log_scales)
    p = torch.sigmoid(wanted)
    for _ in range(HALVINGS):
        low, high = halve(low, high, p, weights, means, inverse_scales)
    return sign * (low + high) / 2


def halve(
    low: torch.Tensor,
    high: torch.Tensor,
    p: torch.Tensor,
    weights: torch.Tensor,
    means: torch.Tensor,
    inverse_scales: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The half of the bracket that has the solution of F(y) = p, compared as tfgen does."""
    middle = (low + high) / 2
    below = (weights * torch.sigmoid((middle - means) * inverse_scales)).sum(dim=0) < p
    return torch.where(below, middle, low), torch.where(below, high, middle)


class Step(nn.Module):
    """A step of the flow towards data: a coupling, an invertible 1 × 1 convolution, a
    normalization.

    Args:
        config: as tfgen's has it.
        channels: of the state.
        width: channels of the conditioner's blocks.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, config: FlowConfig, channels: int, width: int):
        super().__init__()
        outputs = channels // 2 * (2 + 3 * config.components)
        self.conditioner = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1),
            *(GatedResidual(width) for _ in range(config.blocks)),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1),
        )
        self.coupling = MixtureCoupling(config.components, config.log_scale_bound)
        self.mixing = nn.Conv2d(channels, channels, 1, bias=False)
        for name in ("scale", "shift"):
            self.register_buffer(name, torch.zeros(channels, 1, 1))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """The state one step nearer to data, `[B, C, H, W]`."""
        kept, changed = state.chunk(2, dim=1)
        state = torch.cat([kept, self.coupling(changed, self.conditioner(kept))], dim=1)
        return self.mixing(state) * self.scale + self.shift


class Flow(nn.Module):
    """A multi-scale flow (Dinh et al. 2016, Kingma & Dhariwal 2018, Ho et al. 2019), from latents
    to bytes.

    Args:
        config: as tfgen's has it; the architecture must be `multiscale`, with mixture couplings.

    Raises:
        UsageError: it is another one.
    """

    def __init__(self, config: FlowConfig):
        if config.architecture != "multiscale" or not config.components:
            raise UsageError("the peer of flow is multiscale, with mixture couplings")
        super().__init__()
        height, width, depth = config.image_shape
        self.alpha, self.scales = config.alpha, nn.ModuleList()
        # In the order of tfgen's, from data on.
        self.steps: list[Step] = []
        # Of each scale's latents, the last one has all of its channels.
        self.shapes: list[tuple[int, int, int]] = []
        for scale, (count, hidden) in enumerate(
            zip(config.scale_steps, config.scale_channels, strict=True)
        ):
            channels, sides = (
                4 * depth * 2**scale,
                (height // 2 ** (scale + 1), width // 2 ** (scale + 1)),
            )
            steps = [Step(config, channels, hidden) for _ in range(count)]
            self.steps += steps
            self.scales.append(nn.Sequential(*reversed(steps)))
            last = scale == len(config.scale_steps) - 1
            self.shapes.append((*sides, channels if last else channels // 2))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1, whole numbers of 1/255, of latents `[B, D]`."""
        shapes = self.shapes[::-1]
        flat = latents.split([math.prod(shape) for shape in shapes], dim=1)
        parts = [
            part.unflatten(1, shape).permute(0, 3, 1, 2)
            for part, shape in zip(flat, shapes, strict=True)
        ]
        smallest, *others = list(self.scales)[::-1]
        state = unsqueeze(smallest(parts[0].contiguous()))
        for scale, part in zip(others, parts[1:], strict=True):
            state = unsqueeze(scale(torch.cat([state, part], dim=1)))
        values = LEVELS * (torch.sigmoid(state) - self.alpha / 2) / (1 - self.alpha)
        return values.floor().clamp(0, LEVELS - 1).permute(0, 2, 3, 1) / (LEVELS - 1)


@torch.no_grad()
def flow(model: Any) -> nn.Module:
    """The map of a `tfgen.models.flow.Flow` from latents to images."""
    peer = Flow(model.config)
    for module, step in zip(peer.steps, model.flow_steps, strict=True):
        load_layers(products(module.conditioner), products_of(step.conditioner.layers))
        module.shift.copy_(array(step.shift)[:, None, None])
        module.scale.copy_(array(step.log_scale).exp()[:, None, None])
        lower = torch.tril(array(step.lower), -1) + torch.eye(len(module.scale))
        upper = torch.triu(array(step.upper), 1) + torch.diag(array(step.log_diagonal).exp())
        inverse = torch.linalg.inv(array(step.permutation) @ lower @ upper)
        # Keras's states are rows.
        module.mixing.weight.copy_(inverse.T[:, :, None, None])
    return peer


PEERS: dict[str, Callable[[Any], nn.Module]] = {"vae": decoder, "gan": generator, "flow": flow}
