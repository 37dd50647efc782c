"""Bits/dim of VAEs on the same test images, whatever their likelihood.

A likelihood of real pixel values gives a byte the probability of the values that round to it,
P(x|z) = F(upper) − F(lower), where the first and the last byte have all that is below and above.
log p(x) is then importance-weighted (Burda et al. 2015) as for a VAE of bytes, whose likelihood is
of bytes itself. A VAE of binarized pixels says nothing about bytes, and is refused.

    python benchmarks/vae_bytes.py runs/vae-… runs/vae-… --dataset emoji --data-dir data
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen.data import Dataset, load
from tfgen.errors import UsageError
from tfgen.evaluation.estimate import mean
from tfgen.evaluation.likelihood import bits_per_dim
from tfgen.random import image_seeds
from tfgen.system.quiet import import_quietly

PROG = "vae_bytes"
# Images at a time.
BATCH = 16


class ByteMasses:
    """p(x|z) of bytes under a likelihood of pixel values v / 255.

    Args:
        likelihood: product over the pixels of a TFP distribution with a `cdf`.
    """

    def __init__(self, likelihood: Any):
        import tensorflow as tf
        import tensorflow_probability as tfp

        pixels = likelihood.distribution
        # Differences of nearly equal numbers need float64.
        if isinstance(pixels, tfp.distributions.ContinuousBernoulli):
            logits = tf.cast(pixels.logits_parameter(), tf.float64)
            self._pixels = tfp.distributions.ContinuousBernoulli(logits=logits)
        else:
            self._pixels = tfp.distributions.Normal(tf.cast(pixels.loc, tf.float64), 1.0)

    def log_prob(self, events: Any) -> Any:
        """Σ log P(x|z) over the pixels, nats, in the dtype of the events."""
        import tensorflow as tf

        values = tf.round(255 * tf.cast(events, tf.float64)) / 255
        half, one, zero = 0.5 / 255, tf.ones([], tf.float64), tf.zeros([], tf.float64)
        # Arguments beyond 0…1 are outside of a continuous Bernoulli.
        upper = tf.where(values > 1 - half, one, self._pixels.cdf(tf.minimum(values + half, 1)))
        lower = tf.where(values < half, zero, self._pixels.cdf(tf.maximum(values - half, 0)))
        log_masses = tf.reduce_sum(tf.math.log(upper - lower), axis=[-3, -2, -1])
        return tf.cast(log_masses, events.dtype)


def byte_density(vae: Any) -> Any:
    """The density of a VAE, whose likelihood is of bytes.

    Raises:
        UsageError: the model is no VAE, or one of binarized pixels.
    """
    from tfgen import VAE
    from tfgen.evaluation.densities import density_of

    if not isinstance(vae, VAE) or vae.config.likelihood == "bernoulli":
        raise UsageError(f"{type(vae).__name__} is no VAE of pixel values; train one of those")
    density: Any = density_of(vae)
    if not density.is_of_bytes:
        of_values = density.bounds.likelihood
        density.bounds.likelihood = lambda *arguments: ByteMasses(of_values(*arguments))
    return density


def measure(vae: Any, dataset: Dataset, n: int, samples: int) -> str:
    """Bits/dim of the first n test images, with its standard error, in words."""
    from rich.progress import track

    density, test = byte_density(vae), dataset.test.take(0, n)
    images, seeds = np.asarray(test.images), image_seeds(0, n)
    labels = None if not vae.num_classes else np.asarray(test.labels)
    values = []
    starts, is_piped = range(0, len(images), BATCH), not sys.stdout.isatty()
    for start in track(starts, "bits/dim", transient=True, disable=is_piped):
        part = slice(start, start + BATCH)
        condition = None if labels is None else labels[part]
        events, *context = density.inputs(images[part], seeds[part], condition)
        values.append(density.bounds.log_prob(events, (0, start), samples, *context))
    result = mean(bits_per_dim(np.concatenate(values), images[0].size))
    return f"{result.value:.3f} ± {result.error:.3f} bits/dim"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(PROG, __doc__)
    parser.add_argument("model", metavar="MODEL", nargs="+", help="run directory or .keras file")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--data-dir", help="folder of prepared data sets")
    parser.add_argument("--n", type=int, default=10_000, help="test images (default: 10000)")
    parser.add_argument("--importance-samples", type=int, default=500, help="(default: 500)")
    arguments = parser.parse(argv)
    dataset = load(arguments.dataset, arguments.data_dir)
    import_quietly("tensorflow_probability")
    import tfgen

    n = min(arguments.n, len(dataset.test))
    print(f"first {n} test images of {dataset.name}, k = {arguments.importance_samples}")
    for path in arguments.model:
        vae = tfgen.load(path)
        result = measure(vae, dataset, n, arguments.importance_samples)
        print(f"{path} ({vae.config.likelihood}): {result}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
