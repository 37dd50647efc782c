"""The solutions of all exercises are right; after an edit, the check names the mistake."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from notebooks._cells import code_cells, read_source
from notebooks.checks import Exercise, find_mistake, load_exercises
from tests.notebooks.notebook_names import NUMBERS

JEFFREYS = "0.5 * spacing * np.sum((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q))"
IN_A_BALL = "samples) <= squared_radii[:, None])"
# What an edit replaces in the code of a solution and by what, and words of the message. Without
# what is replaced, it is a statement before the code.
MISTAKES = {
    # --- vae
    "sample_images": [
        ('(rng.random(means.shape) < means).astype("float32")', "means", "x has the means"),
        ("rng.random(means.shape) < means", "np.round(means)", "rounded"),
        ("standard_normal(", "random(", "not a uniform one"),
        ("z = ", "z = np.ones((n, 1)) * rng.standard_normal(latent_dim)  # ", "a new z for each"),
        ("decode(z)", "decode(rng.standard_normal((n, latent_dim)))", "does not belong to the z"),
        ("means.shape", "(n, 1)", "share one random number"),
        ("< means", "> means", "swapped"),
        ("", "rng = np.random.default_rng(5)", "the rng that is passed"),
        ("return z, x", "return x", "two arrays"),
    ],
    "log_mean_exp": [
        ("np.mean", "np.sum", "1/K is missing"),
        ("", "return np.mean(log_p, axis=0)", "mean of the logs"),
        ("", "return np.log(np.mean(np.exp(log_p), axis=0))", "underflows"),
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
        ("", "return None", "return statement"),
    ],
    "bernoulli_log_prob": [
        (", axis=-1", "", "summed over the batch"),
        ("reduce_sum", "reduce_mean", "averaged over the pixels"),
        ("return -", "return ", "cross-entropy"),
        ("", "return tf.reduce_sum(log(tf.abs(x + tf.sigmoid(logits) - 1)), -1)", "rounds to 0 or"),
        (
            "losses = ",
            "losses = -x * log(logits) - (1 - x) * log(1 - logits)  # ",
            "returns logits",
        ),
        ("", "return tf.reduce_sum(x * tf.math.log_sigmoid(logits), axis=-1)", "black pixels"),
    ],
    "negative_elbo": [
        ("kl_to_prior", "-kl_to_prior", "KL has the wrong sign"),
        ("return ", "return -", "this is the ELBO"),
        ("reduce_mean", "reduce_sum", "loss is summed"),
        ("- bernoulli", "- len(x) * bernoulli", "reconstruction is summed over the batch"),
        ("logits)", "logits) / 7", "averaged over the pixels"),
    ],
    "sample_posterior": [
        ("", "return tf.stop_gradient(mean + tf.exp(log_stddev) * noise)", "no gradient passes"),
        ("* noise", "* tf.random.normal(tf.shape(mean))", "draw none"),
        ("tf.exp(log_stddev)", "tf.stop_gradient(tf.exp(log_stddev))", "nothing may stop it"),
        ("log_stddev", "log_stddev / 2", "taken for the log-variance"),
        ("log_stddev", "2 * log_stddev", "multiplied by the variance"),
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
        ("", "return tf.nn.softplus(-real_logits)", "is one number"),
        ("", "return None", "returns nothing"),
        ("", "return mean(real_logits) - mean(fake_logits)", "it should be"),
    ],
    "generator_loss": [
        ("", "return -mean(tf.nn.softplus(fake_logits))", "saturating loss"),
        ("-fake_logits", "fake_logits", "labels are swapped"),
        ("return ", "return -", "sign is wrong"),
        ("fake_logits", "tf.sigmoid(fake_logits)", "sigmoid is applied twice"),
        ("reduce_mean", "reduce_sum", "summed over the batch"),
        ("", "return mean(1 - tf.sigmoid(fake_logits))", "not a logarithm"),
        ("", "return -mean(log(tf.sigmoid(fake_logits)))", "not finite"),
        ("", "return -mean(log(fake_logits))", "taken for probabilities"),
        ("-fake_logits", "-fake_logits.numpy()", "no gradient"),
        ("", "return -mean(fake_logits)", "it should be"),
    ],
    "discriminator_step_loss": [
        ("tf.stop_gradient", "", "no stop-gradient"),
        ("(real_logits, ", "(fake_logits=real_logits, real_logits=", "labels are swapped"),
        ("", "return mean(tf.nn.softplus(-discriminator(generator(latents))))", "generator's loss"),
        ("", "return mean(tf.nn.softplus(-discriminator(real)))", "generated images is missing"),
        ("", "return 1.0", "as a tensor"),
    ],
    "optimal_discriminator": [
        ("log_p_g - log_p_data", "log_p_data - log_p_g", "densities are swapped"),
        ("", "return np.exp(log_p_data - log_p_g)", "may exceed 1"),
        ("", "return log_p_data - log_p_g", "is the logit"),
        ("", "return log_p_data / (log_p_data + log_p_g)", "take their exponentials"),
        ("return ", "return 2 * ", "divide by their sum"),
        ("", "return 1 / (1 + np.exp(log_p_g) / np.exp(log_p_data))", "0 / 0 is not a number"),
        ("", "return np.full_like(log_p_data, 0.5)", "does not maximize"),
    ],
    "jensen_shannon": [
        ("return 0.5", "return 0.5 / np.log(2)", "in bits"),
        ("0.5 * ", "", "factors ½"),
        (" - np.log(2)", "", "m is the sum"),
        (" * spacing", "", "spacing of the grid is missing"),
        ("", "return spacing * np.sum(np.exp(log_p) * (log_p - log_q))", "not symmetric"),
        ("0.5 * spacing * np.sum(from_p + from_q)", JEFFREYS, "has no bound"),
        ("(log_p - log_m)", "np.log(np.exp(log_p) / np.exp(log_m))", "0 · log 0"),
        ("", "return 0.0", "should be"),
    ],
    "spherical_path": [
        ("", "return np.linspace(start, end, steps)", "straight line"),
        ("", "start, end = end, start", "runs backwards"),
        ("", "start, end = (x / np.linalg.norm(x) for x in (start, end))", "have norm 1"),
        ("(np.linalg.norm(start) * np.linalg.norm(end))", "0.01", "divided by both norms"),
        ("steps)", "steps + 1)[:-1]", "does not stop at end"),
        ("steps)", "steps + 1)[1:]", "does not begin at start"),
        ("/ np.sin(angle)", "[0]", "have the shape"),
    ],
    # --- flow
    "log_prob_of_map": [
        (" + tf.math.log(tf.abs(slope))", "", "log-determinant is missing"),
        ("log_prior + tf", "log_prior - tf", "wrong sign"),
        ("tf.abs(slope)", "slope", "absolute value is missing"),
        ("tf.square(z)", "tf.square(x)", "evaluated at x"),
        ("tf.math.log(tf.abs(slope))", "tf.abs(slope)", "add its logarithm"),
        (" + math.log(2 * math.pi)", "", "½ ln 2π is missing"),
        ("", "return x", "wrong for x = 2 z"),
    ],
    "dequantize": [
        (" + u", "", "noise is missing"),
        ("/ 256", "/ 255", "divided by 255"),
        ("+ u) / 256", ") / 256 + u", "added after the division"),
        ("-images.shape[1]", "0", "division by 256 adds"),
        ("-images", "images", "wrong sign"),
        ("images.shape[1] * ", "", "that of one pixel"),
        ("math.log(256)", "8.0", "in bits"),
    ],
    "bits_per_dim": [
        (" * math.log(2)", "", "ln 2 is missing"),
        ("size * ", "", "M is missing"),
        ("-log_prob", "log_prob", "sign is wrong"),
        ("(size * math.log(2))", "size * math.log(2)", "multiplied by ln 2"),
    ],
    "log_prob_of_chain": [
        ("in layers", "in layers[::-1]", "reverse order"),
        ("+ total", "- total", "wrong sign"),
        ("total +=", "total =", "only the last"),
        (" + total", "", "log-determinants are missing"),
        ("reduce_sum", "reduce_mean", "averaged over the dim"),
        (", axis=1)", ", axis=1) + 0.5 * (x.shape[1] - 1) * math.log(2 * math.pi)", "counted once"),
    ],
    "coupling_forward": [
        ("", "mask = 1 - mask", "mask is the wrong way round"),
        ("network(mask * z)", "network(z)", "not triangular"),
        ("z * tf.exp(s) + t", "(z + t) * tf.exp(s)", "added before the scaling"),
        ("", "return coupling_inverse(z, mask, network)", "this is the inverse"),
        ("tf.exp(s)", "s", "scaled by s"),
        ("x, tf", "x, -tf", "wrong sign"),
        ("(1 - mask) * s", "s", "over all entries"),
        ("reduce_sum", "reduce_mean", "averaged"),
        (", axis=1)", ") * tf.ones(len(s), s.dtype)", "over the batch"),
    ],
    "coupling_inverse": [
        ("", "mask = 1 - mask", "mask is the wrong way round"),
        ("(x - t) * tf.exp(-s)", "(x * tf.exp(s) + t)", "the coupling itself"),
        ("(x - t) * tf.exp(-s)", "(x * tf.exp(-s) - t)", "subtract t first"),
        ("exp(-s)", "exp(s)", "do not multiply"),
        ("(x - t)", "x", "shift is not undone"),
        ("network(mask * x)", "network(x)", "saw mask · z on the way"),
        ("z, -tf", "z, tf", "wrong sign"),
    ],
    # --- comparison
    "frechet_distance": [
        ("np.maximum(product, 0)", "np.abs(np.diag(covariance_1 @ covariance_2))", "of each entry"),
        ("np.sqrt(np.maximum(product, 0)).sum()", "product.sum()", "that of Σ₁ Σ₂ itself"),
        ("product, 0)).sum()", "product.sum(), 0))", "root is taken of the trace"),
        ("2 * trace", "trace", "factor 2"),
        ("- 2 * trace", "+ 2 * trace", "wrong sign"),
        ("2 * trace", "0 * trace", "term with the matrix square root is missing"),
        ("difference @ difference", "np.linalg.norm(difference)", "means is not squared"),
        ("difference @ difference + ", "", "means do not matter"),
        ("return ", "return 0j + ", "complex"),
        ("np.maximum(values, 0)", "values", "eigenvalues slightly negative"),
        ("", "np.linalg.cholesky(covariance_1)", "no Cholesky factor"),
    ],
    "coverage": [
        ("samples).min(axis=1) <= squared_radii)", f"{IN_A_BALL}.any(0)", "this is precision"),
        ("samples).min(axis=1) <= squared_radii)", f"{IN_A_BALL}.sum(0)", "this is density"),
        ("np.fill_diagonal(among, np.inf)", "pass", "its own nearest neighbour"),
        ("", "return 0.5", "share of real images"),
    ],
    "nats_to_bits_per_dim": [
        (" * math.log(2)", "", "division by ln 2 is forgotten"),
        ("* math.log(2)", "/ math.log(2)", "multiplies by ln 2"),
        ("-log_prob", "log_prob", "sign"),
        ("math.prod(image_shape) * ", "", "bits per image"),
        ("", "return -log_prob", "nats per image"),
        ("image_shape)", "image_shape[:2])", "divides by the pixels"),
        ("return ", "return 8 + ", "adds log₂ 256"),
        ("return ", "return -8 + ", "subtracts log₂ 256"),
        ("-log_prob", "-log_prob.mean()", "averages over images"),
    ],
    "average_over_draws": [
        ("", "return log_weights.mean(0)", "mean of the logs"),
        (").mean", ").sum", "1/K is forgotten"),
        ("return ", "return -math.log(len(log_weights)) + ", "subtracted twice"),
        ("", "return np.exp(log_weights).mean(0)", "log of the mean is missing"),
        ("", "return np.log(np.exp(log_weights).mean(1))", "axis 1"),
        ("", "return np.log(np.exp(log_weights).mean())", "averages over images too"),
        ("", "return log_weights.max(0)", "largest weight"),
        ("", "return np.log(np.exp(log_weights).mean(0))", "underflow"),
    ],
    "rank_by_likelihood": [
        ("models.get)", "models.get, reverse=True)", "worst model comes first"),
        ('"nll"', '"negative_elbo"', "the gap of the encoder"),
        ('["events"], {}', '["events"].split(",")[0], {}', "static and dynamic"),
        ('["events"], {}', '["events"].upper(), {}', "keys"),
        ("likelihood[unit]", 'likelihood.get("nll") or 1.5', "not ranked by bits/dim"),
        ("return ", 'return {"none": ["GAN"]} | ', "GAN is ranked"),
    ],
}


def exercise_and_answer(name: str, old: str = "", new: str = "") -> tuple[Exercise, Any]:
    """An exercise, and its solution after an edit of its code."""
    (notebook,) = (entry for entry in NUMBERS if name in load_exercises(entry))
    names = {"np": np, "tf": tf, "math": math, "mean": tf.reduce_mean, "log": tf.math.log}
    for cell in code_cells(read_source(notebook), "exercise"):
        head, quotes, code = cell.source.rpartition('"""')
        if f"def {name}(" in head and new + old:
            assert old in code
            code = code.replace(old, new) if old else f"\n    {new}{code}"
        exec(f"{head}{quotes}{code}", names)
    return load_exercises(notebook)[name], names[name]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_the_check_names_the_mistake(name: str, old: str, new: str, words: str) -> None:
    message = find_mistake(*exercise_and_answer(name, old, new))
    assert words in str(message)


@pytest.mark.parametrize("name", MISTAKES)
def test_the_solution_is_right(name: str) -> None:
    assert find_mistake(*exercise_and_answer(name)) is None


def test_every_exercise_has_mistakes() -> None:
    assert MISTAKES.keys() == {name for entry in NUMBERS for name in load_exercises(entry)}
