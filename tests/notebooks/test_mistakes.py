"""After an edit of a solution, the check names the mistake."""

import functools
from typing import Any

import numpy as np
import pytest

from notebooks._cells import code_cells, read_source
from notebooks._runner import call
from notebooks.checks import Exercise, find_mistake, load_exercises
from tests.notebooks.notebook_names import NUMBERS

BATCH = "return discriminator_loss(*tf.split(discriminator(tf.concat([real, fake], 0), True), 2)) #"
IN_A_BALL = "samples) <= squared_radii[:, None])"
JEFFREYS = "0.5 * spacing * np.sum((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q))"
# What an edit replaces in the code of a solution and by what, and words of the message. Without
# what is replaced, it is a statement before the code.
MISTAKES = {
    # --- vae
    "sample_images": [
        ('(rng.random(means.shape) < means).astype("float32")', "means", "x has the means"),
        ("rng.random(means.shape) < means", "np.round(means)", "rounded"),
        ("standard_normal(", "random(", "not a uniform one"),
        ("z = ", "z = rng.standard_normal((n // 2 + 1, latent_dim)).repeat(2, 0)[:n]  # ", "new z"),
        ("rng.standard_normal", "np.random.standard_normal", "z is not drawn with the rng"),
        ("rng.random(", "np.random.random(", "x is not drawn with the rng"),
        ("means.shape)", "means.shape[1:])", "one row of random numbers"),
        ("decode(z)", "decode(rng.standard_normal((n, latent_dim)))", "does not belong to the z"),
        ("means.shape", "(n, 1)", "share one random number"),
        ("< means", "> means", "swapped"),
        ("return z, x", "return x", "must return 2 values"),
        ("z = ", "z = 12**0.5 * (rng.random((n, latent_dim)) - 0.5) #", "z is not normal"),
        ("z = ", "z = rng.choice([-1, 1], (n, latent_dim)) + jitter(rng, n) #", "not normal"),
        ("z = ", "z = rng.standard_t(30, (n, latent_dim)) * (28 / 30) ** 0.5 #", "not normal"),
        ("means =", "z[n // 2 :] = -z[: n - n // 2]; means =", "the same z, or −z"),
        ("means =", "z = (z + np.roll(z, 1, 0)) / 2**0.5; means =", "z of different images"),
        ("rng.random(means.shape)", "rng.random(means.shape)[np.arange(n) // 2]", "pixels of dif"),
    ],
    "log_mean_exp": [
        ("np.mean", "np.sum", "1/K is missing"),
        ("", "return np.mean(log_p, axis=0)", "mean of the logs"),
        ("", "return np.log(np.mean(np.exp(log_p), axis=0))", "exp of −3000 is 0"),
        ("axis=0)\n", ")\n", "one maximum of all images"),
        ("np.mean(np.exp", "1 / 6 * np.sum(np.exp", "K is not the number"),
        ("", "log_p = log_p.T", "over the samples"),
        ("largest + ", "", "not added again"),
    ],
    "kl_to_prior": [
        ("/ 2", "/ 2 / mean.shape[-1]", "averaged over the lat"),
        ("2 * log_stddev", "log_stddev", "taken for the log-variance"),
        (" / 2", "", "½ is missing"),
        ("return ", "return -", "never negative"),
        (", axis=-1", "", "over the batch"),
        ("/ 2", ".numpy() / 2", "no gradient"),
        ("variance = ", "variance = stop(tf.exp(2 * log_stddev))  # ", "respect to log"),
        ("", "log_stddev = tf.clip_by_value(log_stddev, -5, 5)", "must be ½"),
        ("1 - 2 * log_stddev", "1 - log(variance + 1e-7)", "must be ½"),
    ],
    "bernoulli_log_prob": [
        (", axis=-1", "", "summed over the batch"),
        ("reduce_sum", "reduce_mean", "averaged over the pixels"),
        ("return -", "return ", "cross-entropy"),
        ("", "return tf.reduce_sum(log(tf.abs(x + tf.sigmoid(logits) - 1)), -1)", "rounds to 0 or"),
        ("losses = ", "losses = -log(tf.where(x > 0, logits, 1 - logits))  # ", "returns logits"),
        ("", "return tf.reduce_sum(x * tf.math.log_sigmoid(logits), axis=-1)", "black pixels"),
        ("losses, axis=-1)", "losses, axis=-1).numpy()", "reaches logits"),
    ],
    "negative_elbo": [
        ("kl_to_prior", "-kl_to_prior", "KL has the wrong sign"),
        ("return ", "return -", "this is the ELBO"),
        ("reduce_mean", "reduce_sum", "loss is summed"),
        ("- bernoulli", "- len(x) * bernoulli", "reconstruction is summed over the batch"),
        ("logits)", "logits) / x.shape[1]", "averaged over the pixels"),
        ("return ", "log_stddev = stop(log_stddev); return ", "reaches log_stddev"),
    ],
    "sample_posterior": [
        ("* noise", "* tf.random.normal(tf.shape(mean))", "the noise that is passed"),
        ("log_stddev", "log_stddev / 2", "taken for the log-variance"),
        ("log_stddev", "2 * log_stddev", "multiplied by the variance"),
        ("", "noise = tf.random.stateless_normal(mean.shape, (1, 2))", "noise of its own"),
        ("+ tf", "- tf", "the sign of the noise"),
    ],
    # --- gan
    "discriminator_loss": [
        ("", "real_logits, fake_logits = fake_logits, real_logits", "labels are swapped"),
        ("", "return -mean(log(real_logits)) - mean(log(1 - fake_logits))", "for probabilities"),
        ("real_term + fake_term", "-real_term - fake_term", "sign is wrong"),
        ("real_term + fake_term", "(real_term + fake_term) / 2", "half of what it should be"),
        ("reduce_mean", "reduce_sum", "summed over the batch"),
        ("real_term + fake_term", "real_term", "term of the generated images is missing"),
        ("real_term + fake_term", "fake_term", "term of the real images is missing"),
        ("", "return mean(tf.nn.softplus(tf.concat([-real_logits, fake_logits], 0)))", "one mean"),
        ("", "return 400.0 if len(real_logits) == 1 else 1.2141", "the loss is one number"),
        ("", "real_logits = real_logits.numpy()", "reaches real_logits"),
    ],
    "generator_loss": [
        ("fake_logits", "tf.sigmoid(fake_logits)", "sigmoid is applied twice"),
        ("", "return -mean(tf.nn.softplus(fake_logits))", "saturating loss"),
        ("-fake_logits", "fake_logits", "labels are swapped"),
        ("", "return mean(1 - tf.sigmoid(fake_logits))", "not a logarithm"),
        ("", "return -mean(log(tf.sigmoid(fake_logits)))", "logits of ±200"),
        ("return ", "return -", "sign is wrong"),
    ],
    "discriminator_step_loss": [
        ("tf.stop_gradient", "", "no stop-gradient"),
        ("return ", "return mean(softplus(-discriminator(fake, True))) #", "generator's loss"),
        ("", "return 1.0", "not discriminator_loss"),
        ("latents, training=True", "latents", "the generator is called without training"),
        ("(real, training=True", "(real", "discriminator of x is called without"),
        ("(fake, training=True", "(fake", "discriminator of G(z) is called without"),
        ("return ", BATCH, "in one batch"),
        (" discriminator(fake, training=True)", " stop(discriminator(fake, True))", "at D(G(z))"),
        ("(real_logits,", "(stop(real_logits),", "stopped at D(x)"),
        (", training=True", "", "without training=True, which"),
    ],
    "optimal_discriminator": [
        ("log_p_g - log_p_data", "log_p_data - log_p_g", "densities are swapped"),
        ("", "return np.exp(log_p_data - log_p_g)", "may exceed 1"),
        ("", "return log_p_data - log_p_g", "is the logit"),
        ("", "return log_p_data / (log_p_data + log_p_g)", "take their exponentials"),
        ("return ", "return 2 * ", "divide by their sum"),
        ("", "return 1 / (1 + np.exp(log_p_g) / np.exp(log_p_data))", "0 / 0 is not a number"),
    ],
    "jensen_shannon": [
        ("return 0.5", "return 0.5 / np.log(2)", "in bits"),
        ("0.5 * ", "", "factors ½"),
        (" - np.log(2)", "", "m is the sum"),
        (" * spacing", "", "spacing of the grid is missing"),
        ("", "return spacing * np.sum(np.exp(log_p) * (log_p - log_q))", "not symmetric"),
        ("(log_p - log_m)", "np.log(np.exp(log_p) / np.exp(log_m))", "0 · log 0"),
        ("0.5 * spacing * np.sum(from_p + from_q)", JEFFREYS, "has no bound"),
        (
            "",
            "log = np.log; log_p, log_q = (log(np.exp(p) + 1e-7) for p in (log_p, log_q))",
            "is one",
        ),
    ],
    "spherical_path": [
        ("", "return np.linspace(start, end, steps)", "straight line"),
        ("", "start, end = end, start", "runs backwards"),
        ("", "start, end = (x / np.linalg.norm(x) for x in (start, end))", "have norm 1"),
        ("(np.linalg.norm(start) * np.linalg.norm(end))", "0.01", "divided by both norms"),
        ("steps)", "steps + 1)[:-1]", "does not stop at end"),
        ("parts /", "(p := start + share * (end - start)) * norm(start) / norm(p) #", "all norms"),
        ("steps)", "steps + 1)[1:]", "does not begin at start"),
        ("/ np.sin(angle)", "[0]", "has the shape"),
        ("np.sin(angle)", "(np.sin(angle) + 1e-5)", "at equal steps of t"),
    ],
    # --- flow
    "log_prob_of_map": [
        (" + tf.math.log(tf.abs(slope))", "", "log-determinant is missing"),
        ("log_prior + tf", "log_prior - tf", "wrong sign"),
        ("tf.abs(slope)", "slope", "absolute value is missing"),
        ("tf.square(z)", "tf.square(x)", "evaluated at x"),
        ("tf.math.log(tf.abs(slope))", "tf.abs(slope)", "add its logarithm"),
        (" + math.log(2 * math.pi)", "", "½ ln 2π is missing"),
        ("tf.abs(slope)", "tf.abs(slope[0])", "that at the first point"),
        ("tf.abs(slope)", "tf.abs(slope) + 1e-7", "log p(x) must be"),
    ],
    "dequantize": [
        (" + u", "", "noise is missing"),
        ("/ 256", "/ 255", "divided by 255"),
        ("+ u) / 256", ") / 256 + u", "added after the division"),
        ("", "u = tf.random.uniform(u.shape, dtype=u.dtype)", "the noise that is passed"),
        ("", "u = tf.random.stateless_uniform(u.shape, (1, 2), dtype=u.dtype)", "noise of its own"),
        ("-images.shape[1]", "0", "division by 256 adds"),
        ("-images", "images", "wrong sign"),
        ("images.shape[1] * ", "", "that of one pixel"),
        ("math.log(256)", "8.0", "in bits"),
    ],
    "bits_per_dim": [("size * ", "", "divide by M")],  # further ones: nats_to_bits_per_dim
    "log_prob_of_chain": [
        ("in layers", "in layers[::-1]", "reverse order"),
        ("+ total", "- total", "wrong sign"),
        ("total +=", "total =", "only the last"),
        (" + total", "", "log-determinants are missing"),
        ("reduce_sum", "reduce_mean", "averaged over the dim"),
        (", axis=1)", ", axis=1) + 0.5 * (x.shape[1] - 1) * math.log(2 * math.pi)", "counted once"),
        (" + math.log(2 * math.pi), axis=1)", ", axis=1) - 1.5 * LOG_2PI", "M is not the"),
        (" + math.log(2 * math.pi), axis=1)", ", axis=1) - len(x) / 2 * LOG_2PI", "not M"),
        (" + math.log(2 * math.pi), axis=1)", ", axis=1) - x.shape[1] * LOG_2PI", "½ is missing"),
        (" + math.log(2", " + math.log(1", "log p(x) must be"),
    ],
    "coupling_forward": [
        ("network(mask * z)", "network(z)", "not triangular"),
        ("z * tf.exp(s) + t", "(z + t) * tf.exp(s)", "added before the scaling"),
        ("", "return coupling_inverse(z, mask, network)", "this is the inverse"),
        ("tf.exp(s)", "s", "scaled by s"),
        ("(1 - mask) * s", "s", "over all entries"),
        (", axis=1)", ") * tf.ones(len(s), s.dtype)", "over the batch"),
        ("(1 - mask) * s", "(1 - mask) * stop(s)", "no gradient of the log-det"),
    ],
    "coupling_inverse": [
        ("(x - t) * tf.exp(-s)", "(x * tf.exp(s) + t)", "the coupling itself"),
        ("(x - t) * tf.exp(-s)", "(x * tf.exp(-s) - t)", "subtract t first"),
        ("exp(-s)", "exp(s)", "do not multiply"),
        ("(x - t)", "x", "shift is not undone"),
        ("network(mask * x)", "network(x)", "not triangular"),
        ("* tf.exp(-s)", "/ (tf.exp(s) + 1e-5)", "z must be x"),
    ],
    # --- comparison
    "frechet_distance": [
        ("np.maximum(product, 0)", "np.abs(np.diag(covariance_1 @ covariance_2))", "of each entry"),
        ("np.sqrt(np.maximum(product, 0)).sum()", "product.sum()", "that of Σ₁ Σ₂ itself"),
        ("product, 0)).sum()", "product.sum(), 0))", "root is taken of the trace"),
        ("- 2 * trace", "+ 2 * trace", "wrong sign"),
        ("2 * trace", "0 * trace", "term with the matrix square root is missing"),
        ("difference @ difference", "np.linalg.norm(difference)", "means is not squared"),
        ("difference @ difference + ", "", "means do not matter"),
        # Whether rounding itself makes an eigenvalue of 0 negative depends on the processor.
        ("np.maximum(values, 0)", "values - 1e-12", "rounding makes eigenvalues"),
    ],
    "coverage": [
        ("samples).min(axis=1) <= squared_radii)", f"{IN_A_BALL}.any(0)", "this is precision"),
        ("samples).min(axis=1) <= squared_radii)", f"{IN_A_BALL}.sum(0)", "counts the samples"),
        ("np.fill_diagonal(among, np.inf)", "pass", "its own nearest neighbour"),
        ("squared_distances(samples)", "np.sqrt(squared_distances(samples))", "is squared"),
        ("neighbours - 1", "neighbours", "neighbour k + 1"),
        (".mean()", ".sum()", "number of real images"),
    ],
    "nats_to_bits_per_dim": [
        (" * math.log(2)", "", "ln 2 is missing"),
        ("* math.log(2)", "/ math.log(2)", "multiplies by ln 2"),
        ("-log_prob", "log_prob", "sign"),
        ("math.prod(image_shape) * ", "", "bits per image"),
        ("", "return -log_prob", "nats per image"),
        ("image_shape)", "image_shape[:2])", "divides by the pixels"),
        ("return ", "return 8 + ", "adds log₂ 256"),
        ("-log_prob", "-log_prob.mean()", "averages over images"),
    ],
    "average_over_draws": [  # log_mean_exp
        ("max(axis=0)", "max()", "one maximum of all images"),
    ],
    "rank_by_likelihood": [
        ("models.get)", "models.get, reverse=True)", "worst model comes first"),
        ('"nll"', '"negative_elbo"', "the gap of the encoder"),
        ('["events"], {}', '["events"].split(",")[0], {}', "static and dynamic"),
        ('["events"], {}', '["events"].upper(), {}', "keys"),
        ("likelihood[unit]", 'likelihood.get("nll") or 1.5', "not by bits_per_dim"),
        ("is not None", "is None: values[0] = {name: 0}\n        else", "without a likelihood"),
        ("sorted(models, key=models.get)", "models", "not a dictionary"),
        ("sorted(models, key=models.get)", "sorted(models, key=models.get)[:1]", "missing or"),
    ],
    # --- flow matching
    "straight_path": [
        ("", "x0, x1 = x1, x0", "ends are swapped"),
        ("(1 - t) * x0 + t * x1", "t * x0 + (1 - t) * x1", "t and 1 − t"),
        ("t = ", "s = ", "multiplies the entries"),
        ("", "t = stop(t)", "reaches t"),
    ],
    "marginal_velocity": [
        ("offsets**2", "(x[:, None] - centres) ** 2", "at t c_k"),
        ("(2 * variance)", "variance", "½ is missing"),
        ("+ slope * offsets", "", "the term a (x − t c_k) is missing"),
        ("", "stddev = stddev**0.5", "taken for the variance"),
        ("", "t = 1 - t", "t and 1 − t"),
        ("tf.nn.softmax(logits, axis=1)", "tf.exp(logits) / add(tf.exp(logits), 1, True)", "to 0"),
    ],
    "flow_matching_loss": [
        ("reduce_mean", "reduce_sum", "mean over batch and entries"),
        ("velocity(x_t, t)", "velocity(x1, t)", "gets the data"),
        ("velocity(x_t, t)", "velocity(x_t, 1 - t)", "the time 1 − t"),
        ("velocity(x_t, t)", "stop(velocity(x_t, t))", "reaches the network"),
    ],
    "midpoint_step": [
        ("velocity(middle, t + h / 2)", "velocity(x, t)", "Euler's step"),
        ("x + h / 2 *", "x + h *", "away, not h"),
        ("t + h / 2", "t", "not at t"),
        ("(middle,", "(x,", "move x, too"),
    ],
    "probe_divergence": [
        (", output_gradients=probe", "", "as output_gradients"),
        ("probe * tape", "tape", "by the probe, too"),
        ("", "probe = tf.ones_like(x)", "sum of all derivatives"),
        ("tape.gradient(v, x, output_gradients=probe)", "v", "must be differentiated"),
    ],
    "diffusion_terms": [
        ("x - t * v", "x - (1 - t) * v", "takes the time t"),
        ("-noise", "noise", "points away"),
        ("/ (1 - t)", "/ (1 - t) ** 2", "not by (1 − t)²"),
        ("/ (1 - t)", "/ (1 - t + 1e-5)", "the score must be"),
        ("noise, x + (1 - t) * v", "x + (1 - t) * v, noise", "swapped"),
    ],
}

HEADER = """
import collections, functools, inspect, itertools, math, scipy.linalg, scipy.spatial, scipy.special
import keras, numpy as np, scipy.stats, tensorflow as tf, tensorflow_probability as tfp
from keras import ops
tfd, exp = tfp.distributions, tf.exp
mean, add, stop, log = tf.reduce_mean, tf.reduce_sum, tf.stop_gradient, tf.math.log
log_sigmoid, softplus, LOG_2PI = tf.math.log_sigmoid, tf.nn.softplus, math.log(2 * math.pi)
jitter = lambda rng, n: rng.normal(0, 0.05, (n, 1))
bce = keras.losses.BinaryCrossentropy(from_logits=True)
norm = functools.partial(np.linalg.norm, axis=-1, keepdims=True)
"""


@functools.cache
def solutions() -> dict[str, str]:
    """The solved exercises by name, of all notebooks, in their order."""
    cells = [cell for entry in NUMBERS for cell in code_cells(read_source(entry), "exercise")]
    return {cell.source.partition("def ")[2].partition("(")[0]: cell.source for cell in cells}


@functools.cache
def exercises() -> dict[str, Exercise]:
    return {name: found for entry in NUMBERS for name, found in load_exercises(entry).items()}


def answer(name: str, old: str = "", new: str = "") -> Any:
    """The solution of an exercise after an edit of its code."""
    names: dict[str, Any] = {}
    exec(HEADER, names)
    for key, source in solutions().items():
        head, quotes, code = source.rpartition('"""')
        if key == name and new + old:
            assert old in code
            code = code.replace(old, new) if old else f"\n    {new}{code}"
        exec(f"{head}{quotes}{code}", names)
    return names[name]


def mistake_of(name: str, function: Any, seed: int) -> str | None:
    # The inputs of a grader are random; those of a test are always the same.
    rng = np.random.default_rng(seed)
    return find_mistake(exercises()[name], functools.partial(call, name, function), rng)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_the_check_names_the_mistake(name: str, old: str, new: str, words: str) -> None:
    assert words in str(mistake_of(name, answer(name, old, new), 1))


@pytest.mark.parametrize("name", MISTAKES)
def test_the_solution_is_right_whatever_the_inputs(name: str) -> None:
    solution = answer(name)
    assert {mistake_of(name, solution, seed) for seed in range(60, 65)} == {None}


def test_every_exercise_has_mistakes() -> None:
    assert MISTAKES.keys() == solutions().keys()
