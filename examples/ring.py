"""Eight Gaussians on a ring: which of them does a GAN find, by which loss?

A small problem on which mode collapse can be seen and counted: radius 2 and standard deviation
0.02, as in Metz et al. 2016, "Unrolled generative adversarial networks". Both settings train one
class, `tfgen.GAN`, with the same networks, optimizers and steps; the loss alone differs. With five
steps of the discriminator to one of the generator the discriminator is near its optimum: there the
plain loss loses modes, and the Wasserstein loss, which is made for that, finds them all. The
balance matters as much as the loss; try `--critic-steps 1`.

A sample is of high quality within three standard deviations of a mode (Srivastava et al. 2017,
"VEEGAN"). There one such sample captures the mode; here it takes 1 % of all samples, where 12.5 %
is a mode's due.

    python examples/ring.py [--seeds 5] [--steps 10000] [--critic-steps 5] [--out ring.png]
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tfgen import GAN, Identity
from tfgen.figures import save_figure
from tfgen.nn.blocks import dense_network

MODES, RADIUS, STDDEV = 8, 2.0, 0.02
_ANGLES = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = RADIUS * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
SAMPLES, LEAST_SHARE = 2500, 0.01

LOSSES: dict[str, dict[str, Any]] = {"non_saturating": {}, "wasserstein": {"gradient_penalty": 1.0}}
LATENTS, HIDDEN, BATCH, RATE, BETA_1, EMA_DECAY = 2, (128, 128), 256, 1e-3, 0.5, 0.99


def draw(n: int, seed: int) -> np.ndarray:
    """Points of the mixture, `float32[n, 2]`."""
    rng = np.random.default_rng(seed)
    noise = STDDEV * rng.standard_normal((n, 2))
    return (CENTRES[rng.integers(MODES, size=n)] + noise).astype(np.float32)


def captured(points: np.ndarray) -> tuple[int, float]:
    """The number of captured modes, and the share of points `[N, 2]` of high quality."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=-1)
    shares = np.mean(distances <= 3 * STDDEV, axis=0)
    return int(np.sum(shares >= LEAST_SHARE)), float(np.sum(shares))


def train(loss: str, seed: int, steps: int, critic_steps: int) -> np.ndarray:
    """Samples `float32[SAMPLES, 2]` of a trained GAN; the seed is that of weights, noise and
    data."""
    # The generator that GAN builds ends in a tanh, for pixels; this one is linear, for the plane.
    generator = dense_network(
        (LATENTS,), HIDDEN, (2,), seed=2 * seed, dtype="float32", name="generator"
    )
    gan = GAN(
        (2,),
        LATENTS,
        seed=seed,
        generator=generator,
        discriminator_hidden=HIDDEN,
        dropout=0.0,
        preprocessing=Identity(),
        loss=loss,
        critic_steps=critic_steps,
        beta_1=BETA_1,
        ema_decay=EMA_DECAY,
        **LOSSES[loss],
    )
    # Steps are so short that the way from Python into TensorFlow would cost more than they do.
    gan.compile(**gan.default_optimizers(RATE), steps_per_execution=min(100, steps))
    batches = draw(steps * BATCH, seed).reshape(steps, BATCH, 2)
    gan.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
    return gan.sample(SAMPLES, seed=seed).numpy()


def picture(samples: dict[str, list[np.ndarray]]) -> Figure:
    """Samples over circles around the true modes: a row for each loss, a column for each seed."""
    columns = len(next(iter(samples.values())))
    figure = Figure(
        figsize=(max(2.3 * columns, 4.6), 2.4 * len(samples) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(samples), columns, sharex=True, sharey=True, squeeze=False)
    for (loss, runs), row in zip(samples.items(), grid, strict=True):
        row[0].set_ylabel(loss)
        for seed, (points, axes) in enumerate(zip(runs, row, strict=True)):
            modes, quality = captured(points)
            axes.scatter(*CENTRES.T, s=150, facecolors="none", edgecolors="C1")
            axes.scatter(*points.T, s=2, alpha=0.3, linewidths=0)
            axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
            axes.set_title(f"seed {seed}: {modes} modes, {quality:.0%}", fontsize=10)
    figure.suptitle(f"{MODES} Gaussians on a ring: modes captured, samples within 3σ")
    return figure


def positive(text: str) -> int:
    """An integer above 0 from the command line."""
    if (value := int(text)) < 1:
        raise ValueError
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains each loss from each seed, prints what it captured and draws it."""
    parser = argparse.ArgumentParser(
        description="Which modes of a ring of Gaussians a GAN captures."
    )
    parser.add_argument("--seeds", type=positive, default=5, help="runs of each loss")
    parser.add_argument("--steps", type=positive, default=10_000, help="of the discriminator")
    parser.add_argument(
        "--critic-steps", type=positive, default=5, help="of these to one of the generator"
    )
    parser.add_argument("--out", type=Path, default=Path("ring.png"), help="the picture, PNG")
    args = parser.parse_args(arguments)
    if not args.out.parent.is_dir():
        parser.error(f"there is no folder {args.out.parent}")
    if args.out.is_dir():
        parser.error(f"--out {args.out} is a folder; it must be a file")

    widths = "-".join(map(str, HIDDEN))
    print(f"data           {MODES} Gaussians, radius {RADIUS}, standard deviation {STDDEV}")
    print(
        f"generator      {LATENTS}-{widths}-2, ReLU, linear at its end; 1 step in {args.critic_steps}"
    )
    print(
        f"discriminator  2-{widths}-1, leaky ReLU, no dropout; wasserstein: {LOSSES['wasserstein']}"
    )
    print(
        f"training       {args.steps} steps, batch {BATCH}, Adam, learning rate {RATE}, beta_1 {BETA_1}"
    )
    print(f"sampling       {SAMPLES} by the generator's moving average, decay {EMA_DECAY}")
    print(
        f"high quality   within 3 standard deviations; {LEAST_SHARE:.0%} of all samples capture a mode\n"
    )
    print(f"{'loss':<16}{'seed':>4}{'modes':>7}{'high quality':>14}{'time':>9}")
    print(
        "{:<20}{:>7}{:>14.1%}".format("the data itself", *captured(draw(SAMPLES, seed=0))),
        flush=True,
    )
    samples: dict[str, list[np.ndarray]] = {loss: [] for loss in LOSSES}
    for loss, runs in samples.items():
        for seed in range(args.seeds):
            start = time.perf_counter()
            runs.append(train(loss, seed, args.steps, args.critic_steps))
            modes, quality = captured(runs[-1])
            seconds = time.perf_counter() - start
            print(f"{loss:<16}{seed:>4}{modes:>7}{quality:>14.1%}{seconds:>6.0f} s", flush=True)
    save_figure(picture(samples), args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
