"""What the peers and the twins in PyTorch share: layers, and the weights of Keras layers.

Images are channels first, as in PyTorch's own layers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# --- layers -------------------------------------------------------------------------------------


class GatedResidual(nn.Module):
    """x + v σ(g) with v and g from two convolutions of x.

    Args:
        channels: of x.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] → [B, C, H, W]`."""
        hidden = functional.relu(self.inner(functional.relu(inputs)))
        value, gate = self.outer(hidden).chunk(2, dim=1)
        return inputs + value * torch.sigmoid(gate)


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


# --- weights of Keras layers ---------------------------------------------------------------------


def array(variable: Any) -> torch.Tensor:
    """A copy of a Keras variable's value; of its EMA in a scope of averages."""
    return torch.tensor(np.asarray(variable.value))


def layers_with(layers: Iterable[Any], weight: str) -> list[Any]:
    """The layers that have a weight of that name, in order."""
    return [layer for layer in layers if hasattr(layer, weight)]


def products(network: nn.Module) -> list[nn.Module]:
    """All dense layers and convolutions of a module, in the order in which they were created."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [module for module in network.modules() if isinstance(module, kinds)]


def products_of(layers: Iterable[Any]) -> list[Any]:
    """All dense layers and convolutions of a Keras network, in the order of `products`."""
    nested = (
        (layer.inner, layer.outer) if hasattr(layer, "inner") else (layer,) for layer in layers
    )
    return layers_with((layer for group in nested for layer in group), "kernel")


def created(layers: Iterable[Any], kind: str) -> list[Any]:
    """The Keras layers of a class, in the order in which they were created.

    Keras sorts the layers of a network by depth, but numbers those of a class in their names.
    """

    def number(layer: Any) -> int:
        digits = layer.name.rpartition("_")[2]
        return int(digits) if digits.isdigit() else -1

    return sorted((layer for layer in layers if type(layer).__name__ == kind), key=number)


@torch.no_grad()
def load_layers(modules: Iterable[Any], layers: Iterable[Any]) -> None:
    """Copies the weights of Keras layers: dense, convolutional, transposed, or normalization."""
    for module, layer in zip(modules, layers, strict=True):
        if hasattr(layer, "moving_mean"):
            module.weight.copy_(array(layer.gamma))
            module.bias.copy_(array(layer.beta))
            module.running_mean.copy_(array(layer.moving_mean))
            module.running_var.copy_(array(layer.moving_variance))
            continue
        # Keras has the axes of inputs and outputs at the end, PyTorch has them first, swapped.
        kernel = array(layer.kernel)
        axes = kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2)
        module.weight.copy_(kernel.permute(axes))
        if layer.bias is not None:
            module.bias.copy_(array(layer.bias))


def load_sequence(modules: Iterable[Any], layers: Sequence[Any]) -> None:
    """Copies the weights of a sequence of Keras layers, with batch normalization between them."""
    modules = list(modules)
    load_layers(layers_with(modules, "running_mean"), layers_with(layers, "moving_mean"))
    load_layers(products(nn.Sequential(*modules)), products_of(layers))


@torch.no_grad()
def outputs_to_channels_first(module: Any, shape: tuple[int, int, int]) -> None:
    """Reorders the outputs of a dense layer that are flat images `[C, H, W]`, Keras's with the
    channels last."""
    channels, *sides = shape
    for parameter in (module.weight, module.bias):
        last = parameter.unflatten(0, (*sides, channels))
        parameter.copy_(last.movedim(2, 0).flatten(0, 2).clone())


@torch.no_grad()
def inputs_to_channels_first(module: nn.Linear, shape: tuple[int, int, int]) -> None:
    """Reorders the inputs of a dense layer that are flat images `[C, H, W]`, Keras's with the
    channels last."""
    channels, *sides = shape
    last = module.weight.unflatten(1, (*sides, channels))
    module.weight.copy_(last.movedim(3, 1).flatten(1).clone())
