"""The flow of the presets `multiscale`, `deep` and `images` in PyTorch, from bytes to latents."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_layers import (
    GatedResidual,
    array,
    load_layers,
    products,
    products_of,
    squeeze,
    unsqueeze,
)
from twins import Average, Twin, make_adam

from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.settings.training import RunConfig

_LARGEST_NOISE = 1 - 2.0**-16  # as in tfgen.models.preprocessing
_ADAPTATION_IMAGES = 512  # as in tfgen.models.flow.adaptation
_DEQUANTIZATION_BOUND = 2.0  # of the log-scales, as in tfgen.bijectors.coupling


def conditioner(inputs: int, channels: int, blocks: int, outputs: int) -> nn.Sequential:
    """A convolutional network of gated residual blocks."""
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, padding=1),
        *(GatedResidual(channels) for _ in range(blocks)),
        nn.ReLU(),
        nn.Conv2d(channels, outputs, 1),
    )


def bounded(raw: torch.Tensor, bound: float) -> torch.Tensor:
    """b tanh(r / b)."""
    return bound * torch.tanh(raw / bound)


def evenly_spread(components: int) -> torch.Tensor:
    """Initial means of a mixture, `[components, 1, 1, 1]`."""
    means = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
    return means[:, None, None, None]


def normalize(
    changed: torch.Tensor, output: torch.Tensor, spread: torch.Tensor, bound: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A mixture coupling from data to latents.

    Args:
        changed: the changed part of an event, `[B, C, H, W]`.
        output: the conditioner's output, `[B, (2 + 3 · components) · C, H, W]`.
        spread: see `evenly_spread`.
        bound: of all log-scales.

    Returns:
        The changed part, normalized, and log|det| of each entry, both `[B, C, H, W]`.
    """
    parameters = output.float().unflatten(1, (2 + 3 * len(spread), changed.shape[1]))
    shift, raw_scale = parameters[:, 0], parameters[:, 1]
    logits, offsets, raw = parameters[:, 2:].split(len(spread), dim=1)
    log_weights, means = functional.log_softmax(logits, dim=1), offsets + spread
    log_scales, log_scale = bounded(raw, bound), bounded(raw_scale, bound)
    t = (changed[:, None] - means) * torch.exp(-log_scales)
    below = functional.logsigmoid(t)
    weighted = log_weights + below
    log_cdf = torch.logsumexp(weighted, dim=1)
    log_survival = torch.logsumexp(weighted - t, dim=1)
    log_density = torch.logsumexp(weighted - log_scales + below - t, dim=1)
    normalized = (log_cdf - log_survival) * torch.exp(log_scale) + shift
    return normalized, log_density - log_cdf - log_survival + log_scale


class Step(nn.Module):
    """Activation normalization, an invertible 1 × 1 convolution and a mixture coupling."""

    permutation: torch.Tensor
    spread: torch.Tensor

    def __init__(self, config: FlowConfig, channels: int, width: int):
        super().__init__()
        self.bound = config.log_scale_bound
        outputs = channels // 2 * (2 + 3 * config.components)
        self.conditioner = conditioner(channels // 2, width, config.blocks, outputs)
        nn.init.zeros_(self.conditioner[-1].weight)
        nn.init.zeros_(self.conditioner[-1].bias)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.lower = nn.Parameter(torch.zeros(channels, channels))
        self.upper = nn.Parameter(torch.zeros(channels, channels))
        self.log_diagonal = nn.Parameter(torch.zeros(channels))
        self.register_buffer("permutation", torch.eye(channels)[torch.randperm(channels)])
        self.register_buffer("spread", evenly_spread(config.components))

    def matrix(self) -> torch.Tensor:
        """W = P L U, `[C, C]`, of x = y W."""
        lower = torch.tril(self.lower, -1) + torch.eye(len(self.lower))
        upper = torch.triu(self.upper, 1) + torch.diag(torch.exp(self.log_diagonal))
        return self.permutation @ lower @ upper

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
        normalized, slopes = normalize(changed, output, self.spread, self.bound)
        per_position = self.log_diagonal.sum() - self.log_scale.sum()
        log_det = slopes.sum(dim=(1, 2, 3)) + per_position * math.prod(state.shape[2:])
        return torch.cat([kept, normalized], dim=1), log_det


class FlowTwin(Twin):
    """A flow with variational dequantization, and a step on −log p(x).

    Raises:
        UsageError: the configuration is not like that of these presets.
    """

    def __init__(self, config: RunConfig, way: str):
        super().__init__(way)
        model = self.config = config.model
        wanted = "multiscale", "variational", 0
        if (model.architecture, model.dequantization, model.num_classes) != wanted:
            raise UsageError("the twins of flow are like its presets multiscale, deep and images")
        if not model.components:
            raise UsageError("the twin of flow has mixture couplings")
        depth = model.image_shape[2]
        self.scales = nn.ModuleList(
            nn.ModuleList(
                Step(model, 4 * depth * 2**scale, model.scale_channels[scale])
                for _ in range(model.scale_steps[scale])
            )
            for scale in range(model.scales)
        )
        outputs = 2 * depth * (2 + 3 * model.dequantization_components)
        self.dequantization = nn.ModuleList(
            conditioner(6 * depth, model.dequantization_channels, 1, outputs)
            for _ in range(model.dequantization_couplings)
        )
        self.register_buffer("spread", evenly_spread(model.dequantization_components))
        self.clip_norm = config.options.clip_norm
        # One graph for all steps of a scale: to compile a graph of all steps takes many minutes.
        self.take_step = self.compiled(lambda step, state: step(state, self.precision))
        rate = config.options.learning_rate
        self.optimizers = [make_adam(self.parameters(), rate, (0.9, 0.999))]
        self.average = Average(self.parameters(), model.ema_decay) if model.ema_decay else None

    def dequantize(
        self, images: torch.Tensor, epsilon: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """u `[B, C, H, W]` in 0…1, and log q(u|x), `[B]`.

        Without `epsilon`, `[B, 4 C, H / 2, W / 2]`, it is drawn.
        """
        squeezed = squeeze(images / 127.5 - 1)
        if epsilon is None:
            epsilon = torch.randn_like(squeezed)
        log_q = -0.5 * (epsilon.square() + math.log(2 * math.pi)).sum(dim=(1, 2, 3))
        first, second = epsilon.chunk(2, dim=1)
        # The couplings in the order from ε to u: those with an odd index change the first half.
        for index in reversed(range(len(self.dequantization))):
            fixed, changed = (second, first) if index % 2 else (first, second)
            with self.precision():
                output = self.dequantization[index](torch.cat([fixed, squeezed], dim=1))
            changed, slopes = self.couple(changed, output)
            first, second = (changed, fixed) if index % 2 else (fixed, changed)
            log_q = log_q - slopes.sum(dim=(1, 2, 3))
        values = unsqueeze(torch.cat([first, second], dim=1))
        slopes = functional.logsigmoid(values) + functional.logsigmoid(-values)
        return torch.sigmoid(values), log_q - slopes.sum(dim=(1, 2, 3))

    def couple(
        self, changed: torch.Tensor, output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A coupling of the dequantization, of mixtures or affine, as `normalize`."""
        if self.config.dequantization_components:
            return normalize(changed, output, self.spread, _DEQUANTIZATION_BOUND)
        shift, raw = output.float().chunk(2, dim=1)
        log_scale = bounded(raw, _DEQUANTIZATION_BOUND)
        return changed * torch.exp(log_scale) + shift, log_scale

    def log_prob(self, events: torch.Tensor) -> torch.Tensor:
        """log p of events `[B, C, H, W]`, nats, `[B]`."""
        state, log_prob = events, torch.zeros(len(events))
        for scale, steps in enumerate(self.scales):
            state = squeeze(state)
            for step in steps:
                state, log_det = self.take_step(step, state)
                log_prob = log_prob + log_det
            latents = state
            if scale < len(self.scales) - 1:
                state, latents = state.chunk(2, dim=1)
            normal = latents.square() + math.log(2 * math.pi)
            log_prob = log_prob - 0.5 * normal.sum(dim=(1, 2, 3))
        return log_prob

    def events(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Events of `uint8[B, C, H, W]`, and their log|det| − log q(u|x), `[B]`."""
        images = images.float()
        u, log_q = self.dequantize(images)
        values = (images + u.clamp(max=_LARGEST_NOISE)) / 256
        alpha = self.config.alpha
        logs = [torch.log(alpha / 2 + (1 - alpha) * part) for part in (values, 1 - values)]
        slopes = math.log1p(-alpha) - logs[0] - logs[1] - math.log(256)
        return logs[0] - logs[1], slopes.sum(dim=(1, 2, 3)) - log_q

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

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One step on −log p; the mean in bits/dim."""
        events, log_det = self.events(images)
        loss = -(self.log_prob(events) + log_det).mean()
        self.minimize(loss)
        bits: torch.Tensor = loss.detach() / (math.prod(images.shape[1:]) * math.log(2))
        return bits

    # --- the same as tfgen's? -----------------------------------------------------------------

    @torch.no_grad()
    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.Flow`."""
        steps = [step for scale in self.scales for step in scale]
        for step, layer in zip(steps, model.flow_steps, strict=True):
            load_layers(products(step.conditioner), products_of(layer.conditioner.layers))
            names = "shift", "log_scale", "lower", "upper", "log_diagonal", "permutation"
            for name in names:
                getattr(step, name).copy_(array(getattr(layer, name)))
        for network, keras_network in zip(
            self.dequantization, model.dequantization.conditioners, strict=True
        ):
            load_layers(products(network), products_of(keras_network.layers))

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """log p of events, the outputs of the learned conditioners, u and log q."""
        events = torch.from_numpy(_events(images)).permute(0, 3, 1, 2)
        inputs = squeeze(events)[:, :1].repeat(1, 6 * events.shape[1], 1, 1)
        learned = [network(inputs).permute(0, 2, 3, 1).numpy() for network in self.dequantization]
        epsilon = torch.from_numpy(_epsilon(images)).permute(0, 3, 1, 2)
        pixels = torch.from_numpy(images).float().permute(0, 3, 1, 2)
        u, log_q = self.dequantize(pixels, epsilon)
        drawn = [u.permute(0, 2, 3, 1).numpy(), log_q.numpy()]
        return [self.log_prob(events).numpy(), *learned, *drawn]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """log p of events, the outputs of the learned conditioners, u and log q."""
        events = _events(images)
        inputs = np.repeat(events[:, ::2, ::2, :1], 6 * events.shape[3], axis=3)
        learned = [network(inputs).numpy() for network in model.dequantization.conditioners]
        drawn = model.dequantization.draw(images, _SameNoise(_epsilon(images)), "float32")
        return [model.event_log_prob(events).numpy(), *learned, *(part.numpy() for part in drawn)]


class _SameNoise:
    """A noise source that always returns the same array."""

    def __init__(self, values: np.ndarray):
        self._values = values

    def normal(self, *_: Any) -> np.ndarray:
        """The array."""
        return self._values


def _epsilon(images: np.ndarray) -> np.ndarray:
    """Standard normal noise, of a seed, in the shape of squeezed images."""
    batch, height, width, channels = images.shape
    shape = batch, height // 2, width // 2, 4 * channels
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _events(images: np.ndarray) -> np.ndarray:
    return (images / 127.5 - 1).astype(np.float32)


TWIN = FlowTwin
