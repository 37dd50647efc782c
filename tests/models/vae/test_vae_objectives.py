"""What a VAE trains: both bounds, several samples, the KL's warm-up, the moving average."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.vae.test_vae import linear_gaussian, noise
from tests.told import fails
from tfgen import VAE, Pixels, registry
from tfgen.models.vae.bounds import POSTERIOR
from tfgen.models.vae.config import VAEConfig

pytestmark = pytest.mark.newest

LOG_2_PI = np.log(2 * np.pi)


def small(**config: Any) -> VAE:
    fields = {"image_shape": (6, 6, 1), "latent_dim": 3, "hidden": (8,), "seed": 1}
    return VAE(**{**fields, **config})


# --- against the linear VAE with normal likelihood --------------------------------------


@pytest.mark.parametrize("samples", [1, 4])
def test_loss_is_the_exact_log_prob_with_the_exact_posterior(samples: int) -> None:
    vae, exact, x = linear_gaussian(0.0, objective="iwae", importance_samples=samples)
    vae.compile(jit_compile=False)
    expected = -exact.log_prob(x).numpy().mean()
    np.testing.assert_allclose(
        vae.evaluate(x, verbose=0, return_dict=True)["loss"], expected, rtol=1e-6
    )
    np.testing.assert_allclose(vae.train_on_batch(x, return_dict=True)["loss"], expected, rtol=1e-6)


def test_one_importance_sample_gives_the_elbo_in_expectation() -> None:
    vae, exact, x = linear_gaussian(encoder_error=0.5)
    draws = 4000
    events = tf.repeat(tf.constant(x[:1]), draws, axis=0)
    bound = vae.importance_weighted(events, noise(draws)).bound().numpy()
    # Its KL is sampled, the ELBO's is not. log p(x) is shift² / (2 s²) above both, s² = 1 / (1 +
    # w·w).
    expected = exact.log_prob(x[0]).numpy() - 0.5**2 / 2 * (1 + 6.09)
    np.testing.assert_allclose(bound.mean(), expected, atol=4 * bound.std() / np.sqrt(draws))
    elbo = vae.elbo(events, noise(draws)).elbo.numpy()
    assert np.all(bound != elbo)


def test_more_samples_of_the_elbo_scatter_less_about_the_same_mean() -> None:
    vae, _, x = linear_gaussian(encoder_error=0.5)
    draws = 4000
    events = tf.repeat(tf.constant(x[:1]), draws, axis=0)
    one, many = (vae.elbo(events, noise(draws), samples=k).elbo.numpy() for k in (1, 9))
    np.testing.assert_allclose(many.std(), one.std() / 3, rtol=0.05)
    np.testing.assert_allclose(many.mean(), one.mean(), atol=4 * one.std() / np.sqrt(draws))


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
    vae, _, x = linear_gaussian(0.5, **config)
    vae.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
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
        # Keras holds the rate in float32.
        np.testing.assert_allclose(variable, old - 0.1 * gradient, rtol=1e-6, atol=1e-9)
    bound, reconstruction, kl = (float(tf.reduce_mean(term)) for term in terms)
    assert logs == pytest.approx(
        {"loss": -bound, "reconstruction": -reconstruction, "kl": kl}, rel=1e-9
    )


def test_the_kls_weight_grows_evenly_and_then_stays() -> None:
    vae, weights = small(kl_warmup_steps=4), []
    for step in range(7):
        vae.step.assign(step)
        weights.append(float(vae.kl_weight()))
    assert weights == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert small().kl_weight() is None


# --- of binary images -------------------------------------------------------------------


def importance_bound(vae: VAE, events: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """log 1/K Σ p(x|z) p(z) / q(z|x) of a Bernoulli likelihood, from what both networks give,
    `[B]`."""
    mean, raw_scale = np.split(vae.encoder(events).numpy(), 2, axis=-1)
    stddev = np.log1p(np.exp(raw_scale)) + 1e-7
    log_weights = []
    for sample in np.moveaxis(epsilon, 1, 0):
        z = mean + stddev * sample
        logits = vae.decoder(z).numpy()
        pixels = np.where(events == 1, -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits)))
        # The normal densities' constants cancel.
        ratio = (-0.5 * z**2 + 0.5 * sample**2 + np.log(stddev)).sum(-1)
        log_weights.append(pixels.sum((1, 2, 3)) + ratio)
    return np.logaddexp.reduce(log_weights, axis=0) - np.log(len(log_weights))


def test_losses_are_importance_weighted_in_training_and_validation(images: np.ndarray) -> None:
    vae = small(objective="iwae", importance_samples=3, dtype="float64")
    vae.compile(jit_compile=False)
    batch = tf.constant(images[:16])
    halves = [(vae.training_noise().part(index), batch[8 * index :][:8]) for index in (0, 1)]
    whole = [(vae.next_test_noise(), batch)]
    expected = []
    for parts in (whole, halves):
        bounds = []
        for own, part in parts:
            events = Pixels().events(part, own, "float64")
            epsilon = own.normal(len(part), (3, 3), POSTERIOR, "float64").numpy()
            bounds.append(importance_bound(vae, events.numpy(), epsilon))
            np.testing.assert_allclose(
                bounds[-1], vae.importance_log_prob(events, own, 3), rtol=1e-10
            )
        expected.append(-np.concatenate(bounds).mean())
    evaluated = vae.evaluate(images[:16], batch_size=16, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(evaluated, expected[0], rtol=1e-10)
    # Not every version of Keras does so before a single batch.
    vae.reset_metrics()
    np.testing.assert_allclose(
        vae.train_on_batch(images[:16], return_dict=True)["loss"], expected[1]
    )


def test_evaluation_and_sampling_use_the_average(images: np.ndarray) -> None:
    vae, plain = small(ema_decay=0.9, dtype="float64"), small(dtype="float64")
    for model in (vae, plain):
        model.compile(jit_compile=False)
    start = [v.numpy() for v in vae.trainable_variables]
    vae.train_on_batch(images[:16])
    now, averages = (
        [v.numpy() for v in group] for group in (vae.trainable_variables, vae._average._averages)
    )
    for old, new, average in zip(start, now, averages, strict=True):
        # The first decay is 1 / 10.
        np.testing.assert_allclose(average, 0.1 * old + 0.9 * new, rtol=1e-6)
    for values, same in ((now, False), (averages, True)):
        for variable, value in zip(plain.trainable_variables, values, strict=True):
            variable.assign(value)
        for result in (
            lambda model: model.evaluate(images, batch_size=16, verbose=0),
            lambda model: model.encode(images[:4])[0],
            lambda model: model.sample(n=4),
            lambda model: model.log_prob(images[:4], np.arange(4), 2),
        ):
            assert np.array_equal(result(vae), result(plain)) == same


# --- configurations ---------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu", "tanh"])
def test_hidden_layers_have_the_activation(activation: str) -> None:
    vae = small(activation=activation)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32)
    kernel, bias, *last = vae.encoder.get_weights()
    hidden = x.reshape(2, 36) @ kernel + bias
    bent = {
        "relu": np.maximum(hidden, 0),
        "leaky_relu": np.maximum(hidden, 0.2 * hidden),
        "silu": hidden / (1 + np.exp(-hidden)),
        "tanh": np.tanh(hidden),
    }[activation]
    np.testing.assert_allclose(vae.encoder(x), bent @ last[0] + last[1], rtol=1e-4, atol=1e-5)


def test_new_fields_come_back_from_a_file(tmp_path) -> None:
    config = {
        "objective": "iwae",
        "importance_samples": 2,
        "kl_warmup_steps": 7,
        "activation": "tanh",
    }
    vae = small(**config, ema_decay=0.5)
    vae.save(tmp_path / "v.keras")
    loaded = keras.saving.load_model(tmp_path / "v.keras")
    assert loaded.config == vae.config
    assert {**config, "ema_decay": 0.5}.items() <= loaded.get_config().items()


def test_presets_of_one_shape_share_a_name() -> None:
    presets = registry.family("vae").presets
    names = {
        name: registry.default_name("vae", "mnist", preset.model)
        for name, preset in presets.items()
    }
    fifty = dict.fromkeys(("long", "iwae"), "vae-50d")
    of_bytes = {"images": "vae-128d", "bytes": "vae-64d"}
    other = {"conv": "vae", "hierarchical": "vae-hierarchical"}
    assert names == {"mlp": "vae", "mlp-2d": "vae-2d", **other, **fifty, **of_bytes}


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"objective": "iwea"}, ("objective = 'iwea'", "did you mean 'iwae'")),
        ({"importance_samples": 0}, ("importance_samples = 0 is too small; the least is 1",)),
        ({"kl_warmup_steps": -1}, ("kl_warmup_steps = -1 is too small",)),
        ({"architecture": "conv"}, ("architecture = 'conv'", "convolutional")),
        ({"channels": 0}, ("channels = 0 is too small",)),
        ({"blocks": -1}, ("blocks = -1 is too small",)),
        ({"activation": "rely"}, ("activation = 'rely'", "did you mean 'relu'")),
        ({"ema_decay": 1.5}, ("ema_decay = 1.5 is too large; the most is 1",)),
    ],
)
def test_wrong_configurations_are_refused(wrong: dict, parts: tuple[str, ...]) -> None:
    fails(lambda: VAEConfig(**wrong), *parts)
    fails(lambda: small(**wrong), *parts)


def test_an_unknown_argument_is_refused() -> None:
    fails(
        lambda: small(importance_sample=2),
        "no field 'importance_sample'",
        "mean 'importance_samples'",
    )
