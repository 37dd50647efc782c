"""What a VAE trains: both bounds, several samples, the KL's warm-up, the moving average."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.vae.test_vae import linear_gaussian
from tfgen import VAE
from tfgen.models.vae.bounds import POSTERIOR

LOG_2_PI = np.log(2 * np.pi)


# --- against the linear VAE with normal likelihood --------------------------------------


@pytest.mark.parametrize("samples", [1, 4])
def test_loss_is_the_exact_log_prob_with_the_exact_posterior(samples: int) -> None:
    vae, exact, x = linear_gaussian(0.0, objective="iwae", importance_samples=samples)
    vae.compile(jit_compile=False)
    expected = -exact.log_prob(x).numpy().mean()
    loss = vae.evaluate(x, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(vae.train_on_batch(x, return_dict=True)["loss"], expected, rtol=1e-6)


def formula(
    variables: list[tf.Tensor], x: np.ndarray, epsilon: tf.Tensor, objective: str, kl_weight: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """A surrogate whose gradient is the objective's, and the bound, reconstruction and KL, `[B]`
    each.

    The gradient of the importance-weighted bound is Σ w̃ ∇ log w with normalized weights w̃ held
    fixed (Burda et al. 2015, equation 13).
    """
    encoder_kernel, encoder_bias, w, b = variables
    parameters = x @ encoder_kernel + encoder_bias
    mean, stddev = parameters[:, :1], tf.math.log(1 + tf.exp(parameters[:, 1:])) + 1e-7
    z = (mean[:, None] + stddev[:, None] * epsilon)[..., 0]  # [B, K]
    likelihood = (
        -0.5 * tf.reduce_sum((x[:, None] - z[..., None] * w[0] - b) ** 2, -1) - 2 * LOG_2_PI
    )
    ratio = -0.5 * z**2 + 0.5 * epsilon[..., 0] ** 2 + tf.math.log(stddev)
    kl = (0.5 * (stddev**2 + mean**2 - 1) - tf.math.log(stddev))[:, 0]
    reconstruction = tf.reduce_mean(likelihood, 1)
    if objective == "elbo":
        return reconstruction - kl_weight * kl, reconstruction - kl, reconstruction, kl
    log_weights = likelihood + kl_weight * ratio
    fixed = tf.stop_gradient(tf.nn.softmax(log_weights, axis=1))
    bound = tf.math.log(tf.reduce_mean(tf.exp(likelihood + ratio), 1))
    return tf.reduce_sum(fixed * log_weights, 1), bound, reconstruction, kl


@pytest.mark.parametrize(
    ("objective", "samples", "step", "kl_weight"),
    [
        ("elbo", 1, 0, 0.0),
        ("elbo", 1, 10, 1.0),
        ("elbo", 3, 5, 0.5),
        ("elbo", 1, 5, 2.0),
        ("iwae", 1, 10, 1.0),
        ("iwae", 3, 0, 0.0),
        ("iwae", 3, 5, 0.5),
        ("iwae", 3, 25, 1.0),
    ],
)
def test_a_step_follows_the_weighted_gradient_and_logs_the_bound_itself(
    objective: str, samples: int, step: int, kl_weight: float
) -> None:
    config = {"objective": objective, "importance_samples": samples, "kl_warmup_steps": 10}
    if kl_weight > 1:  # halfway through the warm-up
        config["beta"] = 2 * kl_weight
    vae, _, x = linear_gaussian(0.5, **config)
    vae.compile(optimizer=keras.optimizers.SGD(1 / 8), run_eagerly=True)
    vae.step.assign(step)
    epsilon = vae.training_noise().normal(len(x), (samples, 1), POSTERIOR, "float64")
    before = [tf.constant(v.numpy()) for v in vae.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(before)
        surrogate, *terms = formula(before, x, epsilon, objective, kl_weight)
        loss = -tf.reduce_mean(surrogate)
    gradients = tape.gradient(loss, before)
    logs = vae.train_on_batch(x, return_dict=True)
    for variable, old, gradient in zip(vae.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(variable, old - gradient / 8, rtol=1e-6, atol=1e-9)
    bound, reconstruction, kl = (float(tf.reduce_mean(term)) for term in terms)
    assert logs == pytest.approx(
        {"loss": -bound, "reconstruction": -reconstruction, "kl": kl}, rel=1e-9
    )


def test_the_kls_weight_grows_evenly_and_then_stays() -> None:
    vae, weights = VAE(hidden=(8,), kl_warmup_steps=4), []
    for step in range(7):
        vae.step.assign(step)
        weights.append(float(vae.kl_weight()))
    assert weights == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert [VAE(hidden=(8,), beta=beta).kl_weight() for beta in (1.0, 4.0)] == [1, 4]
    refuses(lambda: VAE(objective="iwae", importance_samples=5, beta=4.0), "has no KL", "--beta 1")
