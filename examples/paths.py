"""Paths of flow matching: the point x_t of a seed at nine times, and where each leads.

Above, x_t, from noise at t = 0 to an image at t = 1. Below, x_t + (1 − t) v(x_t, t), where the path
would end if it went straight on. At t = 0, that is the mean of all images, or of those of a label.

    tfgen-train flow-matching --run-dir runs/matching
    python examples/paths.py runs/matching [--n 4] [--seed 0] [--out paths.png]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

import tfgen
from tfgen.figures import GridAxis, picture, save_figure
from tfgen.models.flow_matching.solvers import solve

TIMES = np.linspace(0, 1, 9)
# Steps of the solver between two times.
STEPS = 4


def paths(model: tfgen.FlowMatching, n: int, seed: int) -> np.ndarray:
    """Points and the ends that they lead to, `float32[n, 2, times, H, W, C]` in 0…1."""
    labels = model.one_hot(np.arange(n) % model.num_classes) if model.num_classes else None
    x = tf.reshape(model.latents(tfgen.random.image_seeds(seed, n)), [n, *model.config.image_shape])

    def velocity(time: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return (model.guided_velocity(state[0], tf.fill([n], time), labels),)

    columns = []
    with model.averaged():
        for before, time in zip([0, *TIMES[:-1]], TIMES, strict=True):
            if time:
                (x,) = solve(velocity, (x,), before, time, STEPS, "midpoint")
            end = x + (1 - time) * velocity(tf.constant(time, x.dtype), (x,))[0]
            columns.append([model.preprocessing.images(events) for events in (x, end)])
    return np.transpose(np.array(columns), [2, 1, 0, 3, 4, 5])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Draw paths of flow matching.")
    parser.add_argument("run", type=Path, help="run directory of tfgen-train flow-matching")
    parser.add_argument("--n", type=int, default=4, help="number of images")
    parser.add_argument("--seed", type=int, default=0, help="seed of the images")
    parser.add_argument("--out", type=Path, default=Path("paths.png"), help="figure to write")
    arguments = parser.parse_args(argv)

    images = paths(tfgen.load(arguments.run), arguments.n, arguments.seed)
    rows = GridAxis("image", [str(i // 2) for i in range(2 * arguments.n)])
    columns = GridAxis("t", [f"{time:g}" for time in TIMES])
    images = images.reshape(-1, *images.shape[3:])
    title = "Points of a path (above), and where they lead (below)"
    save_figure(picture(images, title, len(TIMES), rows, columns), arguments.out)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
