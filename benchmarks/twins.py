"""Twins of the presets `images`: the same networks and losses in PyTorch, trained in four ways.

`start` returns an epoch of one of the `WAYS`. The networks of a family are in `twin_gan.py`,
`twin_vae.py` and `twin_flow.py`.
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
from tfgen.settings.training import RunConfig

# float32 with the channels first or last, compiled by torch.compile, and autocast to bfloat16 with
# the channels last.
WAYS = ("eager", "channels_last", "compile", "bfloat16")
# Largest difference of outputs relative to their largest absolute value, or to 1.
TOLERANCE = 1e-3


class Twin(nn.Module):
    """A model and its training step.

    Args:
        way: one of `WAYS`.
    """

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
        """One step of a twin's only `optimizer`, with its `clip_norm` and its moving `average`."""
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)
        self.optimizer.step()
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


def make(family: str, config: RunConfig, way: str) -> Twin:
    """The twin of a run's model.

    Raises:
        UsageError: the family has none, or the configuration is not that of a preset `images`.
    """
    try:
        module = importlib.import_module(f"twin_{family}")
    except ModuleNotFoundError as error:
        if error.name != f"twin_{family}":
            raise
        raise UsageError(f"{family!r} has no twin in PyTorch") from None
    torch.manual_seed(config.options.seed)
    twin: Twin = module.TWIN(config, way)
    return twin


def start(family: str, config: RunConfig, images: np.ndarray, way: str) -> Callable[[], float]:
    """An epoch of a twin: trains it on all images, and returns the mean of the compared value."""
    twin = make(family, config, way)
    twin.ready()
    data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if way in ("channels_last", "bfloat16"):
        data = data.to(memory_format=torch.channels_last)
    twin.adapt(data)
    size = config.options.batch_size

    def epoch() -> float:
        order, total = torch.randperm(len(data)), torch.zeros(())
        steps = len(data) // size
        for index in range(steps):
            total += twin.step(data[order[index * size : (index + 1) * size]])
        return total.item() / steps

    return epoch


def check(family: str, config: RunConfig, model: Any, images: np.ndarray) -> None:
    """Refuses a twin that is not the same as tfgen's model.

    Args:
        family: name of the family.
        config: the run's configuration.
        model: tfgen's model, whose weights are changed: some start at 0 and would hide others.
        images: a few images, `uint8[B, H, W, C]`.

    Raises:
        WorkError: the numbers of parameters differ, or the outputs with the same weights.
    """
    twin = make(family, config, "eager")
    variables, rng = model.trainable_variables, np.random.default_rng(0)
    counts = (
        sum(math.prod(variable.shape) for variable in variables),
        sum(parameter.numel() for parameter in twin.parameters()),
    )
    if counts[0] != counts[1]:
        raise WorkError(f"{family} has {counts[0]} parameters, its twin has {counts[1]}")
    for variable in variables:
        variable.assign_add(0.02 * rng.standard_normal(variable.shape, np.float32))
    twin.load(model)
    with torch.no_grad():
        outputs = twin.outputs(images)
    for own, other in zip(twin.outputs_of(model, images), outputs, strict=True):
        error = np.abs(own - other).max() / max(1.0, np.abs(own).max())
        if not error <= TOLERANCE:
            raise WorkError(f"{family} and its twin differ: relative error {error:.1e}")
