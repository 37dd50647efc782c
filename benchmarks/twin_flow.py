"""Multi-scale flows in PyTorch, from bytes to latents and back."""

import math
from typing import Any

import numpy as np
import torch
import twins
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.settings.training import RunConfig

_LARGEST_NOISE = 1 - 2.0**-16  # as in tfgen.models.preprocessing
_ADAPTATION_IMAGES = 512  # as in tfgen.models.flow.adaptation
_DEQUANTIZATION_BOUND = 2.0  # of the log-scales, as in tfgen.bijectors.coupling
# Halvings of a mixture's bisection in float32.
_HALVINGS = 24
_LEVELS = 256


def _events(images: np.ndarray) -> np.ndarray:
    return (images / 127.5 - 1).astype(np.float32)


def bounded(raw: torch.Tensor, bound: float) -> torch.Tensor:
    """b tanh(r / b)."""
    return bound * torch.tanh(raw / bound)


def log_normal(values: torch.Tensor) -> torch.Tensor:
    """Standard normal log-density, summed over all but the batch, nats, `[B]`."""
    return -0.5 * (values.square() + math.log(2 * math.pi)).flatten(1).sum(dim=1)


# --- mixture couplings ----------------------------------------------------------------------------
# The components of a mixture are the first axis: `[K, B, C, H, W]`.


class Mixture:
    """A mixture of logistics for each changed entry, with an affine map after its logit.

    x = logit(F(y)) · exp(s) + t with the distribution function F.

    Args:
        parameters: the conditioner's outputs, `[2 + 3 K, B, C, H, W]`.
        spread: see `evenly_spread`.
        bound: of s and of the components' log-scales, nats.
    """

    def __init__(self, parameters: torch.Tensor, spread: torch.Tensor, bound: float):
        self.shift, self.log_scale = parameters[0], bounded(parameters[1], bound)
        logits, offsets, raw = parameters[2:].split(len(spread))
        self.log_weights, self.means = functional.log_softmax(logits, dim=0), offsets + spread
        self.log_scales = bounded(raw, bound)

    def logs(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """log F(y), log(1 − F(y)) and log F′(y)."""
        t = (y - self.means) * torch.exp(-self.log_scales)
        below = functional.logsigmoid(t)
        weighted = self.log_weights + below
        log_density = torch.logsumexp(weighted - self.log_scales + below - t, dim=0)
        return torch.logsumexp(weighted, dim=0), torch.logsumexp(weighted - t, dim=0), log_density

    def normalize(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x of y, and log|dx/dy| of each entry."""
        log_cdf, log_survival, log_density = self.logs(y)
        x = (log_cdf - log_survival) * torch.exp(self.log_scale) + self.shift
        return x, log_density - log_cdf - log_survival + self.log_scale

    def generate(self, x: torch.Tensor) -> torch.Tensor:
        """y of x, by bisection and one step of Newton's method."""
        wanted = (x - self.shift) * torch.exp(-self.log_scale)
        y = solve(wanted, self.log_weights, self.means, self.log_scales)
        log_cdf, log_survival, log_density = self.logs(y)
        slope = torch.exp(log_density - log_cdf - log_survival)
        return y - (log_cdf - log_survival - wanted) / slope


def evenly_spread(components: int) -> torch.Tensor:
    """Initial means of a mixture, `[K, 1, 1, 1, 1]`."""
    means = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
    return means[:, None, None, None, None]


# The loop is no part of a compiled graph, a halving is a graph of its own: unrolled, a decode took
# minutes to compile and was then slower than in eager PyTorch.
@torch.compiler.disable(recursive=False)
def solve(
    wanted: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, log_scales: torch.Tensor
) -> torch.Tensor:
    """y with logit(F(y)) = `wanted`, by bisection."""
    sign = torch.where(wanted > 0, -1.0, 1.0)
    wanted, means = -wanted.abs(), sign * means
    of_each = means + torch.exp(log_scales) * wanted
    low, high = of_each.amin(dim=0), of_each.amax(dim=0)
    weights, inverse_scales = torch.exp(log_weights), torch.exp(-log_scales)
    p = torch.sigmoid(wanted)
    for _ in range(_HALVINGS):
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
    """The half of the bracket that has the solution of F(y) = p."""
    middle = (low + high) / 2
    below = (weights * torch.sigmoid((middle - means) * inverse_scales)).sum(dim=0) < p
    return torch.where(below, middle, low), torch.where(below, high, middle)


# --- several scales -------------------------------------------------------------------------------


def squeeze(images: torch.Tensor) -> torch.Tensor:
    """`[B, C, 2 H, 2 W] → [B, 4 C, H, W]`, one pixel of a block after the other."""
    batch, channels, height, width = images.shape
    blocks = images.view(batch, channels, height // 2, 2, width // 2, 2)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def unsqueeze(images: torch.Tensor) -> torch.Tensor:
    """`[B, 4 C, H, W] → [B, C, 2 H, 2 W]`, the inverse of `squeeze`."""
    batch, channels, height, width = images.shape
    blocks = images.unflatten(1, (2, 2, channels // 4)).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(batch, channels // 4, 2 * height, 2 * width)


def make_conditioner(inputs: int, channels: int, blocks: int, outputs: int) -> nn.Sequential:
    """A convolutional network of gated residual blocks."""
    first, last = nn.Conv2d(inputs, channels, 3, padding=1), nn.Conv2d(channels, outputs, 1)
    return nn.Sequential(first, *twins.residual(blocks, channels), last)


class Step(nn.Module):
    """Activation normalization, an invertible 1 × 1 convolution and a mixture coupling."""

    def __init__(self, config: FlowConfig, channels: int, width: int):
        super().__init__()
        self.bound = config.log_scale_bound
        outputs = channels // 2 * (2 + 3 * config.components)
        self.conditioner = make_conditioner(channels // 2, width, config.blocks, outputs)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.lower = nn.Parameter(torch.zeros(channels, channels))
        self.upper = nn.Parameter(torch.zeros(channels, channels))
        self.log_diagonal = nn.Parameter(torch.zeros(channels))
        self.register_buffer("permutation", torch.eye(channels))
        self.register_buffer("spread", evenly_spread(config.components))
        # The inverse of the matrix that was loaded.
        self.register_buffer("inverse", torch.eye(channels))

    def matrix(self) -> torch.Tensor:
        """W = P L U, `[C, C]`, of x = y W."""
        lower = torch.tril(self.lower, -1) + torch.eye(len(self.lower), device=self.lower.device)
        upper = torch.triu(self.upper, 1) + torch.diag(torch.exp(self.log_diagonal))
        return self.permutation @ lower @ upper

    def load(self, step: Any) -> None:
        """Takes over the weights of a `tfgen.models.flow.steps.FlowStep`."""
        twins.load_network(self.conditioner, step.conditioner.layers)
        for name in ("shift", "log_scale", "lower", "upper", "log_diagonal", "permutation"):
            getattr(self, name).copy_(twins.array(getattr(step, name)))
        self.inverse.copy_(torch.linalg.inv(self.matrix()))

    def adapt(self, state: torch.Tensor) -> None:
        """Starts the normalization so that the channels of a state have mean 0 and variance 1."""
        self.shift.copy_(state.mean(dim=(0, 2, 3)))
        self.log_scale.copy_(torch.log(state.std(dim=(0, 2, 3), correction=0)))

    def forward(self, state: torch.Tensor, precision: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The state one step nearer to the latents, and log|det|, `[B]`."""
        scale = torch.exp(-self.log_scale)[:, None, None]
        state = (state - self.shift[:, None, None]) * scale
        state = functional.conv2d(state, self.matrix().T[:, :, None, None])
        kept, changed = state.chunk(2, dim=1)
        with precision():
            output = self.conditioner(kept)
        parameters = output.float().unflatten(1, (-1, changed.shape[1])).movedim(1, 0)
        changed, slopes = Mixture(parameters, self.spread, self.bound).normalize(changed)
        per_position = self.log_diagonal.sum() - self.log_scale.sum()
        log_det = slopes.sum(dim=(1, 2, 3)) + per_position * math.prod(state.shape[2:])
        return torch.cat([kept, changed], dim=1), log_det

    def generate(self, state: torch.Tensor) -> torch.Tensor:
        """The state one step nearer to data, `[B, C, H, W]`."""
        kept, changed = state.chunk(2, dim=1)
        parameters = self.conditioner(kept).unflatten(1, (-1, changed.shape[1])).movedim(1, 0)
        # The components are contiguous: sums over them are fast so, and under `torch.compile`,
        # which would leave the channels last, an operation then takes many elements at once.
        mixture = Mixture(parameters.contiguous(), self.spread, self.bound)
        state = torch.cat([kept, mixture.generate(changed)], dim=1)
        state = functional.conv2d(state, self.inverse.T[:, :, None, None])
        return state * torch.exp(self.log_scale)[:, None, None] + self.shift[:, None, None]


class FlowTwin(twins.Twin):
    """A flow of several scales with variational dequantization.

    Raises:
        UsageError: the configuration is not like that of a preset with a twin.
    """

    def __init__(self, run: RunConfig, way: str):
        super().__init__(run, way)
        config: Any = run.model
        wanted = "variational", 0, True
        if (config.dequantization, config.num_classes, config.components > 0) != wanted:
            raise UsageError("the twins of flow are like its presets multiscale, deep and images")
        depth = config.image_shape[2]
        self.scales = nn.ModuleList(
            nn.ModuleList(
                Step(config, 4 * depth * 2**scale, config.scale_channels[scale])
                for _ in range(config.scale_steps[scale])
            )
            for scale in range(config.scales)
        )
        outputs = 2 * depth * (2 + 3 * config.dequantization_components)
        self.dequantization = nn.ModuleList(
            make_conditioner(6 * depth, config.dequantization_channels, 1, outputs)
            for _ in range(config.dequantization_couplings)
        )
        self.register_buffer("spread", evenly_spread(config.dequantization_components))
        # One graph for all steps of a scale: to compile a graph of all steps takes many minutes.
        self.take_step = self.compiled(lambda step, state: step(state, self.precision))
        self.prepare()

    def events(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Events of `uint8[B, C, H, W]`, and their log|det| − log q(u|x), `[B]`."""
        images = images.float()
        u, log_q = self.dequantize(images)
        values = (images + u.clamp(max=_LARGEST_NOISE)) / _LEVELS
        alpha = self.config.alpha
        logs = [torch.log(alpha / 2 + (1 - alpha) * part) for part in (values, 1 - values)]
        slopes = math.log1p(-alpha) - logs[0] - logs[1] - math.log(_LEVELS)
        return logs[0] - logs[1], slopes.sum(dim=(1, 2, 3)) - log_q

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One step on −log p; the mean in bits/dim."""
        events, log_det = self.events(images)
        loss = -(self.log_prob(events) + log_det).mean()
        self.minimize(loss)
        return loss.detach() / (math.prod(images.shape[1:]) * math.log(2))

    def dequantize(
        self, images: torch.Tensor, epsilon: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """u `[B, C, H, W]` in 0…1 for images of floats, and log q(u|x), `[B]`.

        Without `epsilon`, `[B, 4 C, H / 2, W / 2]`, it is drawn.
        """
        squeezed = squeeze(images / 127.5 - 1)
        if epsilon is None:
            epsilon = torch.randn_like(squeezed)
        log_q = log_normal(epsilon)
        first, second = epsilon.chunk(2, dim=1)
        # The couplings in the order from ε to u: those with an odd index change the first half.
        for index in reversed(range(len(self.dequantization))):
            fixed, changed = (second, first) if index % 2 else (first, second)
            with self.precision():
                output = self.dequantization[index](torch.cat([fixed, squeezed], dim=1))
            changed, slopes = self._couple(changed, output.float())
            first, second = (changed, fixed) if index % 2 else (fixed, changed)
            log_q = log_q - slopes.sum(dim=(1, 2, 3))
        values = unsqueeze(torch.cat([first, second], dim=1))
        slopes = functional.logsigmoid(values) + functional.logsigmoid(-values)
        return torch.sigmoid(values), log_q - slopes.sum(dim=(1, 2, 3))

    def _couple(
        self, changed: torch.Tensor, output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A coupling of the dequantization, of mixtures or affine, and log|det| of each entry."""
        parameters = output.unflatten(1, (-1, changed.shape[1])).movedim(1, 0)
        if self.config.dequantization_components:
            return Mixture(parameters, self.spread, _DEQUANTIZATION_BOUND).normalize(changed)
        log_scale = bounded(parameters[1], _DEQUANTIZATION_BOUND)
        return changed * torch.exp(log_scale) + parameters[0], log_scale

    def log_prob(self, events: torch.Tensor) -> torch.Tensor:
        """log p of events `[B, C, H, W]`, nats, `[B]`."""
        state, log_prob = events, events.new_zeros(len(events))
        for scale, steps in enumerate(self.scales):
            state = squeeze(state)
            for step in steps:
                state, log_det = self.take_step(step, state)
                log_prob = log_prob + log_det
            latents = state
            if scale < len(self.scales) - 1:
                state, latents = state.chunk(2, dim=1)
            log_prob = log_prob + log_normal(latents)
        return log_prob

    @torch.no_grad()
    def adapt(self, images: torch.Tensor) -> None:
        """Starts the activation normalizations from images, as tfgen does (Kingma & Dhariwal 2018).

        Without this, the first steps of Adam made images so unlikely that, with some draws of the
        noise, the gradient's norm overflowed, and clipping to it gave NaN.
        """
        state, _ = self.events(images[:_ADAPTATION_IMAGES])
        for steps in self.scales:
            state = squeeze(state)
            for step in steps:
                step.adapt(state)
                # Not compiled: this is another batch size than that of training.
                state, _ = step(state, self.precision)
            state = state.chunk(2, dim=1)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1, whole numbers of 1/255, of latents `[B, D]`."""
        height, width, depth = self.config.image_shape
        scales = range(1, len(self.scales) + 1)
        shapes = [[height // 2**n, width // 2**n, depth * 2**n] for n in scales]
        # The last scale passes on no channels.
        shapes[-1][2] *= 2
        shapes.reverse()
        flat = latents.split([math.prod(shape) for shape in shapes], dim=1)
        state: torch.Tensor | None = None
        for steps, part, shape in zip(list(self.scales)[::-1], flat, shapes, strict=True):
            maps = part.unflatten(1, shape).permute(0, 3, 1, 2)
            state = maps.contiguous() if state is None else torch.cat([state, maps], dim=1)
            for step in list(steps)[::-1]:
                state = step.generate(state)
            state = unsqueeze(state)
        values = _LEVELS * (torch.sigmoid(state) - self.config.alpha / 2) / (1 - self.config.alpha)
        return values.floor().clamp(0, _LEVELS - 1).permute(0, 2, 3, 1) / (_LEVELS - 1)

    @torch.no_grad()
    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.Flow`."""
        steps = [step for scale in self.scales for step in scale]
        for step, layer in zip(steps, model.flow_steps, strict=True):
            step.load(layer)
        learned = model.dequantization.conditioners
        for network, keras_network in zip(self.dequantization, learned, strict=True):
            twins.load_network(network, keras_network.layers)

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """log p of events, u, and log q(u|x)."""
        epsilon = twins.channels_first(_epsilon(images))
        u, log_q = self.dequantize(twins.channels_first(images).float(), epsilon)
        log_prob = self.log_prob(twins.channels_first(_events(images)))
        return [log_prob.numpy(), u.permute(0, 2, 3, 1).numpy(), log_q.numpy()]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """log p of events, u, and log q(u|x)."""
        drawn = model.dequantization.draw(images, twins.GivenNoise(_epsilon(images)), "float32")
        return [part.numpy() for part in (model.event_log_prob(_events(images)), *drawn)]


def _epsilon(images: np.ndarray) -> np.ndarray:
    """Standard normal noise in the shape of squeezed images."""
    batch, height, width, channels = images.shape
    return twins.normal(batch, height // 2, width // 2, 4 * channels)
