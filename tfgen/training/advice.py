"""Which family in how many minutes: what the preset `images` gave after some steps on emoji.

`benchmarks/steps_to_quality.py` writes the table. No TensorFlow here.
"""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tfgen import registry

_TABLE = Path(__file__).with_name("steps_to_quality.json")
# Seconds of a run before its first step and after its last one.
AROUND = 30.0
# The steps after which pictures are worth a look, and those below which there is little but noise.
_ENOUGH, FEW = 2000, 300
_LEAST_MINUTES = 5


@functools.cache
def _rows(family: str, pixels: int) -> list[dict[str, Any]]:
    """The rows of a family of the size that is nearest to so many pixels; none of others."""
    rows = [row for row in json.loads(_TABLE.read_text())["rows"] if row["family"] == family]
    distances = {row["side"]: abs(math.log(row["side"] ** 2 / pixels)) for row in rows}
    return [row for row in rows if row["side"] == min(distances, key=distances.__getitem__)]


def step_seconds(family: str, image_shape: tuple[int, ...]) -> float:
    """Seconds of a step of the preset `images` on the machine of the table; 0 if it has none."""
    pixels = image_shape[0] * image_shape[1]
    seconds = [row["seconds"] / row["side"] ** 2 for row in _rows(family, pixels)]
    return min(seconds, default=0.0) * pixels


def _relative_fid(family: str, image_shape: tuple[int, ...], steps: float) -> float:
    """FID relative to that of real images after so many steps, or after the most in the table."""
    rows = sorted(_rows(family, image_shape[0] * image_shape[1]), key=lambda row: row["steps"])
    known = [math.log(row["steps"]) for row in rows]
    ratios = [math.log(row["fid"] / row["floor"]) for row in rows]
    return math.exp(np.interp(math.log(steps), known, ratios))


def fitting_steps(family: str, image_shape: tuple[int, ...], seconds: float) -> float:
    """Steps of the preset `images` that so many seconds of training have; 0 if it is unknown."""
    step = step_seconds(family, image_shape)
    return seconds / step if step else 0.0


def minutes_for(image_shape: tuple[int, ...]) -> int:
    """Minutes of a first training of a GAN."""
    seconds = _ENOUGH * step_seconds("gan", image_shape) + AROUND
    return max(_LEAST_MINUTES, math.ceil(seconds / 60))


def describe(image_shape: tuple[int, ...], minutes: float, slower: float = 1.0) -> list[str]:
    """Lines on the steps of each family in so many minutes, and what as many gave on emoji.

    Args:
        image_shape: height, width, channels.
        minutes: from the command to the published model.
        slower: how many times longer a step takes than on the machine of the table.
    """
    lines = []
    for family in (family.name for family in registry.families()):
        seconds = max(1.0, 60 * minutes - AROUND) / slower
        if steps := fitting_steps(family, image_shape, seconds):
            fid = _relative_fid(family, image_shape, max(1.0, steps))
            lines.append(f"  {family:<14} {steps:>9,.0f} steps   FID {fid:.1f}")
    machine = "this machine" if slower != 1 else "two cores"
    return [
        f"steps in {minutes:g} minutes on {machine}, and the FID after as many steps on emoji, "
        "relative to that of real images (noise: 14; samples of a flow look worse than their FID):",
        *lines,
    ]


def few_steps(family: str, image_shape: tuple[int, ...], steps: float, step: float) -> str:
    """What to say of so few steps, each of so many seconds; nothing if they are not few."""
    if steps >= FEW:
        return ""
    text = f"about {steps:.0f} steps fit into the time: expect little more than noise"
    slower = step / (step_seconds(family, image_shape) or math.inf)
    others = fitting_steps("gan", image_shape, steps * step / slower) if slower else 0.0
    return f"{text}; gan would make {others:,.0f}" if others > 2 * steps else text
