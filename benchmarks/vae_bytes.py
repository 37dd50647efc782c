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
from tfgen.evaluation.distances import mean
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
        self._pixels = likelihood.distribution

    def log_prob(self, events: Any) -> Any:
        """Σ log P(x|z) over the pixels, nats, in the dtype of the events."""
        import tensorflow as tf
        import tensorflow_probability as tfp

        # Differences of nearly equal numbers need float64.
        values, half = tf.round(255 * tf.cast(events, tf.float64)) / 255, 0.5 / 255
        is_continuous_bernoulli = isinstance(self._pixels, tfp.distributions.ContinuousBernoulli)
        log_masses = (
            self._log_exponential(tf.maximum(values - half, 0), tf.minimum(values + half, 1))
            if is_continuous_bernoulli
            else self._log_normal(values, half)
        )
        return tf.cast(tf.reduce_sum(log_masses, axis=[-3, -2, -1]), events.dtype)

    def _log_exponential(self, lower: Any, upper: Any) -> Any:
        """log of the mass of a continuous Bernoulli between two values in 0…1.

        Its density is proportional to exp(λ x) with the logit λ. For λ > 0 the mass from a to b is
        e^(−λ (1 − b)) (1 − e^(−λ (b − a))) / (1 − e^(−λ)), which stays exact far from the mode; a
        negative λ is that of 1 − x.
        """
        import tensorflow as tf

        logits = tf.cast(self._pixels.logits_parameter(), tf.float64)
        rates = tf.maximum(tf.abs(logits), 1e-6)
        distances = tf.where(logits < 0, lower, 1 - upper)
        inside, whole = (-tf.math.expm1(-rates * width) for width in (upper - lower, 1.0))
        return tf.math.log(inside) - tf.math.log(whole) - rates * distances

    def _log_normal(self, values: Any, half: float) -> Any:
        import tensorflow as tf
        import tensorflow_probability as tfp

        pixels = tfp.distributions.Normal(tf.cast(self._pixels.loc, tf.float64), 1.0)
        one, zero = tf.ones([], tf.float64), tf.zeros([], tf.float64)
        upper = tf.where(values > 1 - half, one, pixels.cdf(values + half))
        lower = tf.where(values < half, zero, pixels.cdf(values - half))
        return tf.math.log(upper - lower)


def byte_density(vae: Any) -> Any:
    """The density of a VAE, whose likelihood is of bytes.

    Raises:
        UsageError: the model is no VAE, or one of binarized pixels.
    """
    from tfgen import VAE
    from tfgen.evaluation.subject import density_of

    if not isinstance(vae, VAE):
        raise UsageError(f"{type(vae).__name__} is no VAE; pass VAEs")
    if vae.config.likelihood == "bernoulli":
        raise UsageError(
            "a VAE of binarized pixels says nothing about bytes; train one with --binarization none"
        )
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

    if arguments.n < 2:
        raise UsageError(f"--n {arguments.n} is too small; the least is 2, for a standard error")
    n = min(arguments.n, len(dataset.test))
    print(f"first {n} test images of {dataset.name}, k = {arguments.importance_samples}")
    for path in arguments.model:
        vae = tfgen.load(path)
        result = measure(vae, dataset, n, arguments.importance_samples)
        print(f"{path} ({vae.config.likelihood}): {result}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
