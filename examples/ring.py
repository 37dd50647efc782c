"""Eight Gaussians on a ring: how many modes a GAN captures, by its loss.

A small problem that shows mode collapse: eight modes on a circle of radius 2, each with standard
deviation 0.02, as in Metz et al. 2016, "Unrolled generative adversarial networks". Both settings
train `tfgen.GAN` with the same networks, optimizers and steps; only the loss differs. With five
steps of the discriminator per step of the generator, the discriminator is near its optimum. There
the non-saturating loss loses modes; the Wasserstein loss, which is meant for that case, captures
them all. The balance matters as much as the loss: try `--critic-steps 1`.

A sample is of high quality if it is within three standard deviations of a mode (Srivastava et al.
2017, "VEEGAN"). In the paper, one such sample captures the mode. Here it takes 1 % of all samples;
an eighth would be equal shares.

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
from tfgen.figures import REAL_COLOUR, family_colour, save_figure
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
    """The number of captured modes of points `[N, 2]`, and the share of high quality."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=-1)
    shares = np.mean(distances <= 3 * STDDEV, axis=0)
    return int(np.sum(shares >= LEAST_SHARE)), float(np.sum(shares))


def train(loss: str, seed: int, steps: int, critic_steps: int) -> np.ndarray:
    """Samples `float32[SAMPLES, 2]` of a trained GAN.

    Args:
        loss: of the GAN.
        seed: of weights, noise and data.
        steps: of the discriminator.
        critic_steps: steps of the discriminator per step of the generator.
    """
    # The built-in generator ends in a tanh, for pixels. This one is linear, for the plane.
    generator = dense_network(
        (LATENTS,), HIDDEN, (2,), seed=2 * seed, dtype="float32", name="generator"
    )
    gan = GAN(
        image_shape=(2,),
        latent_dim=LATENTS,
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
    # A step is short: calling TensorFlow from Python for each one would take longer than the step.
    gan.compile(**gan.default_optimizers(RATE), steps_per_execution=min(100, steps))
    batches = draw(steps * BATCH, seed).reshape(steps, BATCH, 2)
    gan.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)
    return gan.sample(SAMPLES, seed=seed).numpy()


def picture(samples: dict[str, list[np.ndarray]]) -> Figure:
    """Samples, modes as circles: a row for each loss, a column for each seed."""
    columns = len(next(iter(samples.values())))
    figure = Figure(
        figsize=(max(2.3 * columns, 4.6), 2.4 * len(samples) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(samples), columns, sharex=True, sharey=True, squeeze=False)
    for (loss, runs), row in zip(samples.items(), grid, strict=True):
        row[0].set_ylabel(f"{loss.replace('_', '-')} loss")
        for seed, (points, axes) in enumerate(zip(runs, row, strict=True)):
            modes, quality = captured(points)
            axes.scatter(*CENTRES.T, s=150, facecolors="none", edgecolors=REAL_COLOUR)
            axes.scatter(*points.T, s=2, alpha=0.3, linewidths=0, color=family_colour("gan"))
            axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
            axes.set_title(f"seed {seed}: {modes} modes, {quality:.0%}", fontsize=10)
    figure.suptitle(
        f"samples of GANs, {MODES} Gaussians as circles:\nmodes captured, share within 3σ of a mode"
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Train each loss with each seed, print the captured modes and draw the samples."""
    parser = argparse.ArgumentParser(description="Modes of a ring of Gaussians that GANs capture.")
    parser.add_argument("--seeds", type=int, default=5, help="number of runs of each loss")
    parser.add_argument("--steps", type=int, default=10_000, help="steps of the discriminator")
    per_step = "steps of the discriminator per step of the generator"
    parser.add_argument("--critic-steps", type=int, default=5, help=per_step)
    parser.add_argument("--out", type=Path, default=Path("ring.png"), help="picture to write, PNG")
    args = parser.parse_args(arguments)
    if not args.out.parent.is_dir() or args.out.is_dir():
        parser.error(f"--out {args.out} must be a file in a folder that exists")
    print(f"{args.steps} steps of {BATCH} points, {args.critic_steps} per step of the generator")
    print(f"{'loss':<16}{'seed':>4}{'modes':>7}{'high quality':>14}{'time':>9}")
    modes, quality = captured(draw(SAMPLES, seed=0))
    print(f"{'the data itself':<20}{modes:>7}{quality:>14.1%}", flush=True)
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
