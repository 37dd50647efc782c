"""Two half moons in the plane: a flow learns their density, and the density integrates to one.

The same class as for images, `tfgen.Flow`, on points: `preprocessing=Identity()` leaves them as
they are, and the couplings change one coordinate by functions of the other. A density that is exact
can be checked: summed over a fine grid it must give one, which no sample of a GAN and no bound of a
VAE could be held to.

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
from tfgen.figures import save_figure

NOISE, BATCH, RATE = 0.1, 256, 1e-3
# Of a step's gradient. A few points far from all others have a longer one, and leave creases in the
# density.
LONGEST = 1.0
# The square that the density is summed over, and the grid's step.
EDGE, STEP = 4.0, 0.01


def draw(n: int, seed: int) -> np.ndarray:
    """Points of two interlocking half circles with noise, `float32[n, 2]`."""
    rng = np.random.default_rng(seed)
    angle, lower = rng.uniform(0, np.pi, n), rng.integers(2, size=n)
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return (np.stack([x, y], axis=1) + NOISE * rng.standard_normal((n, 2))).astype(np.float32)


def train(steps: int, seed: int) -> Flow:
    """A flow of eight couplings, trained on fresh points at each step."""
    flow = Flow((2,), couplings=8, hidden=(64, 64), seed=seed, preprocessing=Identity())
    # Steps are so short that the way from Python into TensorFlow would cost more than they do.
    flow.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(RATE, steps), global_clipnorm=LONGEST
        ),
        steps_per_execution=min(100, steps),
    )
    batches = draw(steps * BATCH, seed).reshape(steps, BATCH, 2)
    flow.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
    return flow


def density(flow: Flow) -> np.ndarray:
    """p(x) on the grid, a row for each y, `float64[N, N]`."""
    axis = np.arange(-EDGE, EDGE, STEP, np.float32) + STEP / 2
    plane = np.stack(np.meshgrid(axis, axis), axis=-1)
    # A row at a time bounds the memory.
    log_prob = tf.function(flow.event_log_prob)
    return np.exp(
        np.stack([log_prob(tf.constant(row)).numpy() for row in plane]).astype(np.float64)
    )


def picture(flow: Flow, grid: np.ndarray) -> Figure:
    """Data, density and samples side by side."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, title, points in (
        (panels[0], "data", draw(2000, seed=1)),
        (panels[2], "samples", flow.sample(2000).numpy()),
    ):
        axes.scatter(*points.T, s=2, alpha=0.4, linewidths=0)
        axes.set_title(title)
    panels[1].imshow(grid, origin="lower", extent=(-EDGE, EDGE, -EDGE, EDGE), cmap="magma")
    panels[1].set_title(f"density, its sum {grid.sum() * STEP**2:.3f}")
    for axes in panels:
        axes.set(xlim=(-2, 2), ylim=(-1.5, 1.5), aspect="equal")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, sums the density and draws it."""
    parser = argparse.ArgumentParser(description="A flow's density of two half moons.")
    parser.add_argument("--steps", type=int, default=5000, help="of training")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data")
    parser.add_argument("--out", type=Path, default=Path("two-moons.png"), help="the picture, PNG")
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
