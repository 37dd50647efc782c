"""Flow matching in PyTorch: the U-Net, and a step on the squared error of the velocity."""

import itertools
from typing import Any

import numpy as np
import tensorflow as tf
import torch
import torchdiffeq
import twins
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError
from tfgen.models.flow_matching.config import FlowMatchingConfig
from tfgen.settings.model import halvings
from tfgen.settings.training import RunConfig

# As in tfgen.models.flow_matching.networks.
_FREQUENCIES, _HEAD, _EMBEDDING, _EPSILON = np.geomspace(1.0, 100.0, 16), 32, 256, 1e-5


class FlowMatchingTwin(twins.Twin):
    """The U-Net without labels.

    Raises:
        UsageError: the model has another network, labels, or sides that are padded.
    """

    def __init__(self, config: RunConfig, way: str):
        super().__init__(config, way)
        model: Any = config.model
        height, width, _ = model.image_shape
        times = model.halvings or halvings(model.image_shape)
        if model.architecture != "unet" or model.num_classes or (height | width) % 2**times:
            raise UsageError("the twin of flow-matching is its U-Net without labels and padding")
        self.network = UNet(model, times)
        self.velocity = self.compiled(self._velocity)
        self.prepare()

    def _velocity(self, events: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """v(x, t), `[B, C, H, W]`, of x `[B, C, H, W]` and t `[B]`."""
        t, stddev = times[:, None, None, None], self.config.data_stddev
        variance = (1 - t) ** 2 + (stddev * t) ** 2
        scale = variance.rsqrt()
        with self.precision():
            outputs = self.network(events * scale, times).float()
        return (stddev**2 * t - (1 - t)) / variance * events + stddev * scale * outputs

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One step on |v(x_t, t) − (x₁ − x₀)|²; its mean."""
        ends = (images + torch.rand_like(images, dtype=torch.float32)) / 128 - 1
        starts, times = torch.randn_like(ends), self._times(len(images), images.device)
        t = times[:, None, None, None]
        velocities = self.velocity((1 - t) * starts + t * ends, times)
        loss = functional.mse_loss(velocities, ends - starts)
        self.minimize(loss)
        return loss.detach()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1 of latents `[B, D]`, by torchdiffeq, as in torchcfm."""
        x = latents.unflatten(1, self.config.image_shape).permute(0, 3, 1, 2)
        x = torchdiffeq.odeint(
            lambda time, x: self.velocity(x, time.expand(len(x))),
            x,
            torch.linspace(0, 1, self.config.steps + 1),
            method={"heun": "heun2"}.get(self.config.solver, self.config.solver),
        )[-1]
        return (((x.permute(0, 2, 3, 1) + 1) * 128 - 0.5) / 255).clamp(0, 1)

    def _times(self, size: int, device: torch.device) -> torch.Tensor:
        """Times `[size]`, one in each part of the same probability."""
        share, offset = self.config.logit_normal, torch.rand((), device=device)
        positions = (torch.arange(size, device=device) + offset) / size
        normal = torch.special.ndtri((positions / max(share, 1e-5)).clamp(1e-5, 1 - 1e-5))
        uniform = (positions - share) / max(1 - share, 1e-5)
        return torch.where(positions < share, torch.sigmoid(normal), uniform)

    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.FlowMatching`."""
        self.network.load(model.network.layers)

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """v(x, t)."""
        events, times = _example(images)
        velocities = self.velocity(twins.channels_first(events), torch.from_numpy(times))
        return [velocities.permute(0, 2, 3, 1).numpy()]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """v(x, t)."""
        return [model.velocity(*map(tf.constant, _example(images))).numpy()]


def _example(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    events = (images / 127.5 - 1).astype(np.float32)
    return events, np.linspace(0.1, 0.9, len(images), dtype=np.float32)


class UNet(nn.Module):
    """From half the side down to the smallest size, and up again.

    Args:
        config: the model's configuration.
        times: number of halvings of the sides.
    """

    def __init__(self, config: FlowMatchingConfig, times: int):
        super().__init__()
        depth = config.image_shape[2]
        widths, counts = (
            (values + times * values[-1:])[:times] for values in (config.channels, config.blocks)
        )
        self.embed = nn.Sequential(
            *(nn.Linear(2 * len(_FREQUENCIES), _EMBEDDING), nn.SiLU()),
            *(nn.Linear(_EMBEDDING, _EMBEDDING), nn.SiLU()),
        )
        self.first = nn.Conv2d(depth, widths[0], 6, stride=2, padding=2)
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(large, small, 2, stride=2) for large, small in pairs)
        self.up = nn.ModuleList(nn.Conv2d(small, 4 * large, 1) for large, small in pairs[::-1])
        self.last = nn.Conv2d(widths[0], 4 * depth, 3, padding=1)
        sizes = [*zip(widths, counts, strict=True)]
        self.blocks = nn.ModuleList(
            nn.ModuleList(Residual(width) for _ in range(count))
            for width, count in [*sizes, *reversed(sizes)]
        )
        self.attention = Attention(widths[-1])
        self.register_buffer("frequencies", torch.tensor(_FREQUENCIES, dtype=torch.float32))

    def forward(self, events: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W], [B] → [B, C, H, W]`."""
        angles = times[:, None] * self.frequencies
        embedding = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1))
        down, up = self.blocks[: len(self.down) + 1], self.blocks[len(self.down) + 1 :]
        maps, skips = self.first(events), []
        for index, blocks in enumerate(down):
            if index:
                skips.append(maps)
                maps = self.down[index - 1](maps)
            for block in blocks:
                maps = block(maps, embedding)
        maps = self.attention(maps)
        for index, blocks in enumerate(up):
            if index:
                maps = functional.pixel_shuffle(self.up[index - 1](maps), 2) + skips.pop()
            for block in blocks:
                maps = block(maps, embedding)
        return functional.pixel_shuffle(self.last(functional.silu(maps)), 2)

    def load(self, layers: Any) -> None:
        """Takes over the weights of the layers of tfgen's network, in the order of its graph."""
        of_kind = {kind: [x for x in layers if type(x).__name__ == kind] for kind in _KINDS}
        twins.load_layers(twins.linear(self.embed), of_kind["Dense"])
        convolutions = [self.first, *self.down, *self.up, self.last]
        twins.load_layers(convolutions, of_kind["Conv2D"])
        for convolution in (*self.up, self.last):
            _reorder_squares(convolution)
        (attention,) = of_kind["Attention"]
        blocks = [*itertools.chain(*self.blocks), self.attention]
        for twin, layer in zip(blocks, [*of_kind["ModulatedResidual"], attention], strict=True):
            names = [name for name, _ in twin.named_children()]
            twins.load_layers(twin.children(), [getattr(layer, name) for name in names])


_KINDS = ("Dense", "Conv2D", "Attention", "ModulatedResidual")


@torch.no_grad()
def _reorder_squares(convolution: nn.Conv2d) -> None:
    """TensorFlow's channels have the position in a square first, PyTorch's have it last."""
    for parameter in (convolution.weight, convolution.bias):
        parameter.copy_(parameter.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1).clone())


class Residual(nn.Module):
    """A residual block whose features get a scale and a shift by an embedding.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.modulation = nn.Linear(_EMBEDDING, 2 * channels)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W], [B, E] → [B, C, H, W]`."""
        features = self.inner(functional.silu(maps))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        scale = (1 + scale) * inverse_rms(features)
        return maps + self.outer(functional.silu(features * scale + shift))


class Attention(nn.Module):
    """Self-attention between positions.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.heads = max(1, channels // _HEAD)
        self.projections = nn.Linear(channels, 3 * self.heads * _HEAD, bias=False)
        self.outputs = nn.Linear(self.heads * _HEAD, channels, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, C, H, W]`."""
        rows = (maps * inverse_rms(maps)).flatten(2).transpose(1, 2)
        joined = self.projections(rows).unflatten(2, (3, self.heads, _HEAD))
        heads = functional.scaled_dot_product_attention(*joined.permute(2, 0, 3, 1, 4))
        outputs = self.outputs(heads.transpose(1, 2).flatten(2))
        return maps + outputs.transpose(1, 2).unflatten(2, maps.shape[2:])


def inverse_rms(maps: torch.Tensor) -> torch.Tensor:
    """1 / root mean square of each example's features, `[B, 1, 1, 1]`."""
    return torch.rsqrt(maps.square().mean(dim=(1, 2, 3), keepdim=True) + _EPSILON)
