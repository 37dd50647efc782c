"""Twins of convolutional presets: the same networks and losses in PyTorch, trained in four ways.

`start` returns an epoch of one of the `WAYS`. `MODULES` names the files with the networks.
"""

import contextlib
import importlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from tfgen.errors import UsageError, WorkError
from tfgen.settings.training import RunConfig, TrainingOptions

# For each family and architecture, the module with its class `TWIN`.
MODULES = {
    ("vae", "convolutional"): "twin_vae",
    ("vae", "hierarchical"): "twin_hierarchy",
    ("gan", "convolutional"): "twin_dcgan",
    ("gan", "residual"): "twin_gan",
    ("flow", "multiscale"): "twin_flow",
}
# float32 with the channels first or last, compiled by torch.compile, and autocast to bfloat16 with
# the channels last.
WAYS = ("eager", "channels_last", "compile", "bfloat16")
# Largest difference of outputs relative to their largest absolute value, or to 1.
TOLERANCE = 1e-5


class Twin(nn.Module):
    """A model and its training step.

    Args:
        way: one of `WAYS`.

    Attributes:
        optimizers: one, or those of generator and discriminator.
    """

    optimizers: list[torch.optim.Optimizer]

    def __init__(self, way: str):
        super().__init__()
        self.way = way

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One training step on `uint8[B, C, H, W]`; the mean of the value that is compared."""
        raise NotImplementedError

    def adapt(self, images: torch.Tensor) -> None:
        """Sets what a model of the family takes from its first images, before the first step."""

    def load(self, model: Any) -> None:
        """Takes over the weights of tfgen's model."""
        raise NotImplementedError

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """What `outputs_of` computes, by the twin."""
        raise NotImplementedError

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """Values that depend on all weights of tfgen's model, for images `uint8[B, H, W, C]`."""
        raise NotImplementedError

    def minimize(self, loss: torch.Tensor) -> None:
        """One step of a twin's only optimizer, with its `clip_norm` and its moving `average`."""
        (optimizer,) = self.optimizers
        optimizer.zero_grad()
        loss.backward()
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)
        optimizer.step()
        if self.average is not None:
            self.average.update()

    def compiled(self, function: Any) -> Any:
        """A module or a function as the way has it."""
        return torch.compile(function, dynamic=False) if self.way == "compile" else function

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks are computed."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.way == "bfloat16")

    def ready(self) -> None:
        """Lays the weights out as the way has them; called once they are all there."""
        if self.way in ("channels_last", "bfloat16"):
            self.to(memory_format=torch.channels_last)


class Average:
    """The exponential moving average of parameters.

    Args:
        parameters: what to average.
        decay: its decay per step, once there were many steps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float):
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


def make(config: RunConfig, way: str) -> Twin:
    """The twin of a run's model.

    Raises:
        UsageError: there is none for its architecture, or for its other settings.
    """
    key = config.family, config.model.architecture
    if key not in MODULES:
        pairs = ", ".join(" ".join(pair) for pair in MODULES)
        raise UsageError(f"{' '.join(key)} has no twin in PyTorch; there are twins of {pairs}")
    torch.manual_seed(config.options.seed)
    twin: Twin = importlib.import_module(MODULES[key]).TWIN(config, way)
    return twin


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
    config: RunConfig, images: np.ndarray, way: str, model: Any, epoch_steps: int
) -> Callable[[], float]:
    """An epoch of a twin: trains it on all images, and returns the mean of the compared value.

    Args:
        config: the run's configuration.
        images: what an epoch trains on, `uint8[N, H, W, C]`.
        way: one of `WAYS`.
        model: tfgen's model, whose weights the twin starts with.
        epoch_steps: steps per epoch of the schedule of the learning rate.
    """
    twin = make(config, way)
    twin.load(model)
    twin.ready()
    data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if way in ("channels_last", "bfloat16"):
        data = data.to(memory_format=torch.channels_last)
    twin.adapt(data)
    size, factor = config.options.batch_size, rate_factor(config.options, epoch_steps)
    schedules = [torch.optim.lr_scheduler.LambdaLR(own, factor) for own in twin.optimizers]

    def epoch() -> float:
        order, total = torch.randperm(len(data)), torch.zeros(())
        steps = len(data) // size
        for index in range(steps):
            total += twin.step(data[order[index * size : (index + 1) * size]])
            for schedule in schedules:
                schedule.step()
        return total.item() / steps

    return epoch


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
    twin = make(config, "eager")
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
