"""Two half moons: a flow learns their density, which must integrate to one.

`tfgen.Flow` takes points as well as images. `preprocessing=Identity()` leaves the points as they
are, and each coupling changes one coordinate by a function of the other. The density is exact, so
it can be checked: its integral, as a sum over a fine grid, must be 1. The samples of a GAN and the
bounds of a VAE have no such check.

    python examples/two_moons.py [--steps 5000] [--seed 0] [--out two-moons.png]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfgen import Flow, Identity
from tfgen.figures import REAL_COLOUR, family_colour, save_figure

NOISE, BATCH, RATE = 0.1, 256, 1e-3
# The gradient's norm is clipped to this. A few points far from all others have larger gradients,
# which leave creases in the density.
CLIP_NORM = 1.0
# Half the side of the square that the density is summed over, and the distance of grid points.
EDGE, STEP = 4.0, 0.01


def draw(n: int, seed: int) -> np.ndarray:
    """Points of two interlocking half circles with noise, `float32[n, 2]`."""
    rng = np.random.default_rng(seed)
    angle, lower = rng.uniform(0, np.pi, n), rng.integers(2, size=n)
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return (np.stack([x, y], axis=1) + NOISE * rng.standard_normal((n, 2))).astype(np.float32)


def train(steps: int, seed: int) -> Flow:
    """A flow of eight couplings, trained on new points at each step."""
    flow = Flow(image_shape=(2,), couplings=8, hidden=(64, 64), seed=seed, preprocessing=Identity())
    # A step is short: calling TensorFlow from Python for each one would take longer than the step.
    flow.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(RATE, steps), global_clipnorm=CLIP_NORM
        ),
        steps_per_execution=min(100, steps),
    )
    batches = draw(steps * BATCH, seed).reshape(steps, BATCH, 2)
    flow.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
    return flow


def density(flow: Flow) -> np.ndarray:
    """p(x) on the grid, `float64[N, N]`, a row for each vertical coordinate."""
    axis = np.arange(-EDGE, EDGE, STEP, np.float32) + STEP / 2
    plane = np.stack(np.meshgrid(axis, axis), axis=-1)
    # A row at a time needs less memory.
    log_prob = tf.function(flow.event_log_prob)
    return np.exp(
        np.stack([log_prob(tf.constant(row)).numpy() for row in plane]).astype(np.float64)
    )


def picture(flow: Flow, grid: np.ndarray) -> Figure:
    """Data, density and samples side by side."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, title, points, colour in (
        (panels[0], "data", draw(2000, seed=1), REAL_COLOUR),
        (panels[2], "samples of the flow", flow.sample(2000).numpy(), family_colour("flow")),
    ):
        axes.scatter(*points.T, s=2, alpha=0.4, linewidths=0, color=colour)
        axes.set_title(title)
    panels[1].imshow(grid, origin="lower", extent=(-EDGE, EDGE, -EDGE, EDGE), cmap="magma")
    panels[1].set_title(f"density of the flow, integral {grid.sum() * STEP**2:.3f}")
    panels[0].set_ylabel("second coordinate")
    for axes in panels:
        axes.set(xlim=(-2, 2), ylim=(-1.5, 1.5), aspect="equal", xlabel="first coordinate")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a flow, sum its density over a grid and draw it."""
    parser = argparse.ArgumentParser(description="The density of two half moons by a flow.")
    parser.add_argument("--steps", type=int, default=5000, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed for weights and data")
    parser.add_argument(
        "--out", type=Path, default=Path("two-moons.png"), help="picture to write, PNG"
    )
    args = parser.parse_args(arguments)
    if not args.out.parent.is_dir() or args.out.is_dir():
        parser.error(f"--out {args.out} must be a file in a folder that exists")
    if args.steps < 1:
        parser.error(f"--steps {args.steps} is too small; the least is 1")
    flow = train(args.steps, args.seed)
    held_out = draw(20_000, seed=args.seed + 1)
    print(f"{args.steps} steps of {BATCH} points, seed {args.seed}")
    print(f"log p of new points, mean   {flow.event_log_prob(held_out).numpy().mean():.3f} nats")
    grid = density(flow)
    print(f"sum of p over the grid      {grid.sum() * STEP**2:.4f}")
    save_figure(picture(flow, grid), args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
