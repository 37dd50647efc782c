"""Twins: the networks and losses of presets in PyTorch, with the weights of tfgen's models.

`start` returns a function that trains a twin in one of the `WAYS`; `check` compares a twin with
tfgen's model. The twins themselves are in a file for each family. Images are channels first.
"""

import contextlib
import importlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError, WorkError
from tfgen.settings.training import RunConfig, TrainingOptions

# For each family and architecture, the module and the class of the twin.
CLASSES = {
    ("vae", "dense"): ("twin_vae", "VAETwin"),
    ("vae", "convolutional"): ("twin_vae", "VAETwin"),
    ("vae", "hierarchical"): ("twin_vae", "HierarchyTwin"),
    ("gan", "convolutional"): ("twin_gan", "GANTwin"),
    ("gan", "residual"): ("twin_gan", "GANTwin"),
    ("flow", "multiscale"): ("twin_flow", "FlowTwin"),
    ("flow-matching", "unet"): ("twin_flow_matching", "FlowMatchingTwin"),
}
# float32 with the channels first or last, compiled by torch.compile, and autocast to bfloat16 with
# the channels last. `gpu.py` also compiles with autocast, by `compile mixed_bfloat16` and
# `compile mixed_float16`; other precisions after `compile` say nothing to a twin.
WAYS = ("eager", "channels_last", "compile", "bfloat16")
# Largest difference of outputs relative to their largest absolute value, or to 1.
TOLERANCE = 1e-5


class Twin(nn.Module):
    """A model and its training step.

    Each family's twin has these methods:

    - `step(images)`: one training step on `uint8[B, C, H, W]`; returns the mean of the compared
      value.
    - `load(model)`: takes over the weights of tfgen's model.
    - `outputs(images)` and `outputs_of(model, images)`: values that depend on all weights, of the
      twin and of tfgen's model, as arrays, for images `uint8[B, H, W, C]`.

    Args:
        config: of the run; a subclass refuses, with a `UsageError`, a model that it is no twin of.
        way: one of `WAYS`.

    Attributes:
        device_type: of the default device at the time of construction, which has the parameters.
        optimizers: one, or those of generator and discriminator.
        average: the EMA of the weights, if there is one.
    """

    optimizers: list[torch.optim.Optimizer]
    average: "Average | None"

    def __init__(self, config: RunConfig, way: str):
        super().__init__()
        self.config, self.options, self.way = config.model, config.options, way
        self.device_type = torch.get_default_device().type

    def adapt(self, images: torch.Tensor) -> None:
        """Sets what a model of the family takes from its first images, before the first step."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images `[B, H, W, C]` in 0…1 of latents `[B, D]`."""
        raise UsageError(f"the twin {type(self).__name__} does not generate images")

    def prepare(self) -> None:
        """Creates the only optimizer and the average; called once there are all parameters."""
        rate, decay = self.options.learning_rate, self.config.ema_decay
        self.optimizers = [make_adam(self.parameters(), rate, (0.9, 0.999))]
        self.average = Average(self.parameters(), decay) if decay else None

    def minimize(self, loss: torch.Tensor) -> None:
        """One step of the only optimizer, with gradient clipping and the average."""
        (optimizer,) = self.optimizers
        optimizer.zero_grad()
        loss.backward()
        if self.options.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self.options.clip_norm)
        optimizer.step()
        if self.average is not None:
            self.average.update()

    def compiled(self, function: Any) -> Any:
        """A module or a function as the way has it."""
        return torch.compile(function, dynamic=False) if "compile" in self.way else function

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks are computed."""
        dtype = torch.bfloat16 if "bfloat16" in self.way else torch.float16
        return torch.autocast(self.device_type, dtype, enabled="float16" in self.way)

    def laid_out(self, images: torch.Tensor) -> torch.Tensor:
        """Images or maps with the channels first or last in memory, as the way has it."""
        if self.way in ("channels_last", "bfloat16"):
            return images.to(memory_format=torch.channels_last)
        return images


class Average:
    """The exponential moving average of parameters.

    Args:
        parameters: what to average.
        decay: its decay per step, once there were many steps.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], decay: float):
        self.parameters, self.values = list(parameters), list[torch.Tensor]()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Counts a step."""
        if not self.values:
            # Copied no earlier, because a change of the layout gives parameters other memory.
            self.values = [parameter.clone() for parameter in self.parameters]
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.values, self.parameters, 1 - decay)
        self.steps += 1


def make_adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Adam with one fused kernel, the fastest on a CPU."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, eps=1e-7, fused=True)


def rate_factor(options: TrainingOptions, steps: int) -> Callable[[int], float]:
    """The learning rate at a step relative to its peak, as `tfgen.nn.optimizers.Schedule` has it.

    Args:
        options: of the run.
        steps: steps per epoch.
    """
    warmup, total = round(options.warmup_epochs * steps), options.epochs * steps

    def factor(step: int) -> float:
        if step < warmup:
            return 1 / warmup + (1 - 1 / warmup) * step / warmup
        if options.schedule == "constant":
            return 1.0
        decay = max(1, total - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(step - warmup, decay) / decay))

    return factor


def make(config: RunConfig, way: str = "eager") -> Any:
    """The twin of a run's model.

    Raises:
        UsageError: there is none for its architecture, or for its other settings.
    """
    key = config.family, getattr(config.model, "architecture", "")
    if key not in CLASSES:
        pairs = ", ".join(" ".join(pair) for pair in CLASSES)
        raise UsageError(f"{' '.join(key)} has no twin in PyTorch; there are twins of {pairs}")
    torch.manual_seed(config.options.seed)
    module, name = CLASSES[key]
    return getattr(importlib.import_module(module), name)(config, way)


def why_unavailable(way: str) -> str:
    """Why PyTorch cannot train in this way on this machine; empty if it can.

    `torch.compile` needs a C++ compiler and the header files of Python.
    """
    if way != "compile":
        return ""
    try:
        torch.compile(lambda values: 2 * values.sin(), dynamic=False)(torch.zeros(64))
    except Exception as error:  # of Dynamo, of Inductor, or of the compiler that it calls
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
    return ""


def start(
    config: RunConfig,
    images: np.ndarray,
    way: str,
    model: Any,
    epoch_steps: int,
    device: str = "cpu",
) -> Callable[[], float]:
    """A round of a twin: trains it on all images, and returns the mean of the compared value.

    Args:
        config: the run's configuration.
        images: what a round trains on, `uint8[N, H, W, C]`.
        way: one of `WAYS`.
        model: tfgen's model, whose weights the twin starts with.
        epoch_steps: steps per epoch of the schedule of the learning rate.
        device: what has the images and the twin.
    """
    with torch.device(device):
        twin = make(config, way)
    twin.load(model)
    for parameter in twin.parameters():
        # Not `twin.to(…)`, which fails at a buffer of rank 5.
        if parameter.ndim == 4:
            parameter.data = twin.laid_out(parameter.data)
    data = twin.laid_out(channels_first(images).contiguous().to(device))
    twin.adapt(data)
    size, factor = config.options.batch_size, rate_factor(config.options, epoch_steps)
    schedules = [torch.optim.lr_scheduler.LambdaLR(own, factor) for own in twin.optimizers]

    def train() -> float:
        order = torch.randperm(len(data), device=device)
        total = torch.zeros((), device=device)
        steps = len(data) // size
        for index in range(steps):
            total += twin.step(data[order[index * size : (index + 1) * size]])
            for schedule in schedules:
                schedule.step()
        return total.item() / steps

    return train


# --- the same as tfgen's? -------------------------------------------------------------------------


def check(config: RunConfig, model: Any, images: np.ndarray, epoch_steps: int) -> float:
    """Refuses a twin that is not the same as tfgen's model.

    Args:
        config: the run's configuration.
        model: tfgen's model, whose weights are changed: some start at 0 and would hide others.
        images: a few images, `uint8[B, H, W, C]`.
        epoch_steps: steps per epoch of the schedule of the learning rate.

    Returns:
        The largest difference of the outputs with the same weights, relative to the largest
        absolute value, or to 1.

    Raises:
        WorkError: the numbers of parameters or the learning rates differ, or the outputs by more
            than `TOLERANCE`.
    """
    twin = make(config)
    _check_rates(config, model, epoch_steps)
    variables, rng = model.trainable_variables, np.random.default_rng(0)
    counts = (
        sum(math.prod(variable.shape) for variable in variables),
        sum(parameter.numel() for parameter in twin.parameters()),
    )
    if counts[0] != counts[1]:
        raise WorkError(f"{config.family} has {counts[0]} parameters, its twin has {counts[1]}")
    for variable in variables:
        variable.assign_add(0.02 * rng.standard_normal(variable.shape, np.float32))
    twin.load(model)
    with torch.no_grad():
        outputs = twin.outputs(images)
    errors = [
        float(np.abs(own - peer).max() / max(1.0, np.abs(own).max()))
        for own, peer in zip(twin.outputs_of(model, images), outputs, strict=True)
    ]
    if not all(error <= TOLERANCE for error in errors):
        raise WorkError(f"{config.family} and its twin differ: relative error {max(errors):.1e}")
    return max(errors)


def _check_rates(config: RunConfig, model: Any, epoch_steps: int) -> None:
    """Compares the learning rate of tfgen's first optimizer at some steps with `rate_factor`."""
    options, factor = config.options, rate_factor(config.options, epoch_steps)
    warmup, total = round(options.warmup_epochs * epoch_steps), options.epochs * epoch_steps
    for step in (0, warmup // 2, warmup, total // 2, total - 1):
        model.optimizer.iterations.assign(step)
        rates = float(model.optimizer.learning_rate), options.learning_rate * factor(step)
        if not math.isclose(*rates, rel_tol=TOLERANCE, abs_tol=TOLERANCE * options.learning_rate):
            raise WorkError(f"the learning rates of step {step} differ: {rates[0]}, {rates[1]}")


def normal(*shape: int) -> np.ndarray:
    """The same standard normal values at each call, `float32`."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


class GivenNoise:
    """The noise of `tfgen.models.preprocessing.Noise`, with given values in place of drawn ones."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def normal(self, *_: Any) -> np.ndarray:
        """The values."""
        return self.values


# --- layers and their weights ---------------------------------------------------------------------


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


def residual(blocks: int, channels: int) -> list[nn.Module]:
    """Gated residual blocks, and ReLU."""
    return [*(GatedResidual(channels) for _ in range(blocks)), nn.ReLU()]


def dense(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers between these widths, each followed by ReLU."""
    layers = ((nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise(widths))
    return list(itertools.chain(*layers))


def channels_first(images: np.ndarray) -> torch.Tensor:
    """`[B, H, W, C] → [B, C, H, W]`."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def array(variable: Any) -> torch.Tensor:
    """A copy of a Keras variable's value; of its EMA in a scope of averages."""
    return torch.tensor(np.asarray(variable.value))


def products(network: nn.Module) -> list[nn.Module]:
    """All dense layers and convolutions of a module, in the order in which they were created."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [module for module in network.modules() if isinstance(module, kinds)]


def linear(network: nn.Sequential) -> list[nn.Linear]:
    """The dense layers of a network."""
    return [module for module in network if isinstance(module, nn.Linear)]


def load_network(network: nn.Module, layers: Iterable[Any]) -> None:
    """Copies the dense layers and convolutions of Keras layers, which come in the same order."""
    nested = (
        (layer.inner, layer.outer) if hasattr(layer, "inner") else (layer,) for layer in layers
    )
    keras_products = [layer for layer in itertools.chain(*nested) if hasattr(layer, "kernel")]
    load_layers(products(network), keras_products)


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


@torch.no_grad()
def outputs_to_channels_first(module: Any, shape: tuple[int, int, int]) -> None:
    """Reorders the outputs of a dense layer that are flat images `[C, H, W]`, Keras's with the
    channels last."""
    channels, *sides = shape
    for parameter in (module.weight, module.bias):
        last = parameter.unflatten(0, (*sides, channels))
        parameter.copy_(last.movedim(2, 0).flatten(0, 2).clone())


@torch.no_grad()
def inputs_to_channels_first(module: Any, shape: tuple[int, int, int]) -> None:
    """Reorders the inputs of a dense layer that are flat images `[C, H, W]`, Keras's with the
    channels last."""
    channels, *sides = shape
    last = module.weight.unflatten(1, (*sides, channels))
    module.weight.copy_(last.movedim(3, 1).flatten(1).clone())
