"""Flow matching: closed forms of Gaussian events, solvers, times, guidance."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import trapezoid

from tfgen import FlowMatching, FlowMatchingConfig, Identity, random
from tfgen.models.flow_matching import model as module
from tfgen.models.flow_matching.solvers import SOLVERS, solve

SIGMA = 0.7


def of_points(dimensions: int = 2, **fields: Any) -> FlowMatching:
    """A dense model of points, without the EMA."""
    common = {"architecture": "dense", "hidden": (16,), "ema_decay": 0.0, "data_stddev": SIGMA}
    shape = (dimensions,)
    return FlowMatching(preprocessing=Identity(), image_shape=shape, **{**common, **fields})


def nonlinear(**fields: Any) -> FlowMatching:
    """A model whose network is not zero, as after some training."""
    model, generator = of_points(**fields), np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign_add(generator.normal(0, 0.3, weight.shape))
    return model


def noise_of(n: int) -> random.SeedNoise:
    return random.SeedNoise(tf.range(n))


# --- Gaussian events ------------------------------------------------------------------------

# For events from N(0, σ² I), the best velocity is linear in x. It is that of a network of zeros,
# with which training begins, if `data_stddev` is σ.


@pytest.mark.parametrize(
    "make",
    [
        of_points,
        lambda **fields: FlowMatching(
            image_shape=(6, 4, 1), channels=(4,), data_stddev=SIGMA, **fields
        ),
    ],
    ids=["exact divergence", "Hutchinson"],
)
def test_the_density_of_gaussian_events_is_theirs(make: Any) -> None:
    model = make(density_steps=16)
    events = SIGMA * noise_of(5).normal(5, model.config.image_shape, 1)
    squares = np.sum(np.asarray(events).reshape(5, -1) ** 2, axis=1) / SIGMA**2
    expected = -0.5 * squares - model.latent_dim * math.log(SIGMA * math.sqrt(2 * math.pi))
    # Random signs estimate the trace of a multiple of the identity without error. What remains is
    # that of the solver.
    np.testing.assert_allclose(model.event_log_prob(events, noise_of(5)), expected, rtol=1e-4)


def test_latents_become_gaussian_events() -> None:
    model = of_points(steps=64)
    latents = model.latents(random.image_seeds(0, 5))
    np.testing.assert_allclose(model.decode(latents), SIGMA * latents, rtol=1e-3)


def test_the_loss_of_gaussian_events_is_the_least() -> None:
    """Its mean over uniform times is ∫ σ² / ((1 − t)² + σ² t²) dt = π σ / 2."""
    model, n = of_points(logit_normal=0.0), 20_000
    noise = random.BatchNoise(tf.constant([1, 2]))
    losses = model.velocity_errors(SIGMA * noise.normal(n, (2,), 1), noise, None)
    # The standard error of the mean is 0.007.
    np.testing.assert_allclose(np.mean(losses), math.pi * SIGMA / 2, atol=0.03)


def test_the_loss_for_the_likelihood_is_a_mutual_information() -> None:
    """That of a Gaussian and its noisy values, ½ log(1 + σ² t² / (1 − t)²), between two times."""
    model, n = of_points(objective="likelihood"), 20_000
    noise = random.BatchNoise(tf.constant([1, 2]))
    losses = model.velocity_errors(SIGMA * noise.normal(n, (2,), 1), noise, None)
    lowest, highest = (0.5 * math.log1p((SIGMA * math.exp(x)) ** 2) for x in module.TIME_LOGITS)
    # The standard error of the mean is 0.05.
    np.testing.assert_allclose(np.mean(losses), highest - lowest, atol=0.2)


# --- any density ----------------------------------------------------------------------------


def test_a_density_integrates_to_one() -> None:
    model = nonlinear(dimensions=1, density_steps=32)
    points = np.linspace(-8, 8, 2001, dtype=np.float32)[:, None]
    log_prob = model.event_log_prob(tf.constant(points), noise_of(len(points)))
    np.testing.assert_allclose(trapezoid(np.exp(log_prob), points[:, 0]), 1, atol=1e-3)


def test_the_probabilities_of_a_byte_add_up_to_one() -> None:
    fields: dict[str, Any] = {"architecture": "dense", "objective": "likelihood"}
    model = FlowMatching(image_shape=(1, 1, 1), hidden=(16,), ema_decay=0.0, **fields)
    for weight in model.trainable_variables:
        weight.assign_add(np.random.default_rng(1).normal(0, 0.15, weight.shape))
    bytes_ = np.repeat(np.arange(256, dtype=np.uint8), 200).reshape(-1, 1, 1, 1)
    probabilities = np.exp(model.log_prob(bytes_)).reshape(256, 200).mean(axis=1)
    np.testing.assert_allclose(np.sum(probabilities), 1, atol=0.02)


def test_probes_estimate_the_exact_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nonlinear(dimensions=4, density_steps=4, probes=4000, num_classes=3)
    events, labels = noise_of(3).normal(3, (4,), 1), model.one_hot([0, 1, 2])
    exact = model.event_log_prob(events, noise_of(3), labels)
    monkeypatch.setattr(module, "EXACT_ENTRIES", 0)
    estimates = model.event_log_prob(events, noise_of(3), labels)
    assert not np.array_equal(estimates, exact)
    np.testing.assert_allclose(estimates, exact, atol=0.05)  # 4 standard errors of the mean


def test_an_encoded_image_is_decoded_again() -> None:
    shape, fields = (31, 17, 3), {"channels": (4,), "blocks": (1,), "num_classes": 3}
    model = FlowMatching(image_shape=shape, steps=32, **fields)
    for weight in model.trainable_variables:
        weight.assign_add(np.random.default_rng(1).normal(0, 0.05, weight.shape))
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    labels = [0, 1, 2, 0]
    latents = model.encode(images, seeds=[3, 4, 5, 6], labels=labels)
    assert np.mean(latents == model.encode(images, labels=labels)) < 0.01
    decoded = 255 * model.decode(latents, labels).numpy()
    # Each event is at most half a byte from the middle of its byte.
    np.testing.assert_allclose(decoded, images, atol=0.6)


# --- solvers --------------------------------------------------------------------------------


ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_error_of_a_solver_has_its_order(solver: str) -> None:
    def error(steps: int) -> float:
        def derivative(time: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            return (-2 * time * state[0],)

        start = tf.constant(1.0, tf.float64)
        return abs(float(solve(derivative, (start,), 0.0, 1.0, steps, solver)[0]) - math.exp(-1))

    np.testing.assert_allclose(error(64) / error(128), 2 ** ORDERS[solver], rtol=0.05)


def test_the_graph_does_not_grow_with_the_steps() -> None:
    def operations(steps: int) -> int:
        model = of_points(steps=steps)
        spec = tf.TensorSpec([None, 2])
        graph = tf.function(model.decode, autograph=False).get_concrete_function(spec).graph
        return len(graph.as_graph_def().SerializeToString())

    assert operations(100) < 1.01 * operations(10)
    assert set(SOLVERS) == set(get_args(FlowMatchingConfig.__annotations__["solver"]))


def test_evaluation_uses_the_averaged_weights() -> None:
    model, points = of_points(ema_decay=0.5), np.random.default_rng(0).normal(size=(8, 2))
    plain = of_points()
    for each in (model, plain):
        each.compile(**each.default_optimizers(1e-3))
    for weight in model.trainable_variables:
        weight.assign_add(tf.ones_like(weight))
    points = points.astype(np.float32)
    loss = plain.evaluate(points, verbose=0)
    assert model.evaluate(points, verbose=0) == pytest.approx(loss, rel=1e-5)
    samples = plain.sample(3, seed=0)
    np.testing.assert_allclose(model.sample(3, seed=0), samples, rtol=1e-5, atol=1e-6)


# --- flow maps ------------------------------------------------------------------------------


def test_one_step_of_a_flow_map_is_the_whole_path() -> None:
    """Without a flow map, a step of Euler's from N(0, I) ends at 0, the mean of the events."""
    points = SIGMA * np.random.default_rng(0).normal(size=(4096, 2)).astype(np.float32)
    fields = {"solver": "euler", "steps": 1, "hidden": (64, 64), "ema_decay": 0.99}
    model = of_points(flow_map=0.5, **fields)
    model.compile(**model.default_optimizers(5e-3))
    model.fit(points, batch_size=128, epochs=12, verbose=0)
    latents = model.latents(random.image_seeds(0, 1000))
    distances = tf.norm(model.decode(latents) - SIGMA * latents, axis=1)
    assert np.mean(distances) < 0.3 < 0.6 < np.mean(tf.norm(SIGMA * latents, axis=1))


def test_the_mean_velocity_is_learned_from_the_velocity_at_the_end() -> None:
    """s u is the integral of v over the span, so its derivative by s is v(x_{t+s}, t + s)."""
    model, noise = nonlinear(flow_map=0.5), random.BatchNoise(tf.constant([1, 2]))
    times, spans = model.times_and_spans(noise, tf.constant(401))
    assert times.shape == spans.shape == (401,) and not spans[201:].numpy().any()
    assert np.all(times + spans < 1 + 1e-6)
    assert np.mean(times[:201] == 0) == pytest.approx(0.5, abs=0.1)
    points, targets = noise.normal(401, (2,), 0), noise.normal(401, (2,), 1)

    def end(spans: tf.Tensor) -> tf.Tensor:
        lengths = spans[:, None]
        return points + lengths * model.velocity(points, times, spans=spans)

    learned = model.flow_map_targets(targets, points, times, None, spans)
    np.testing.assert_array_equal(learned[201:], targets[201:])
    moved, step = model.velocity(points, times, spans=spans) - learned, 1e-2
    slope = (end(spans + step) - end(spans - step)) / (2 * step)
    ends = end(spans)
    with model.averaged():
        residual = slope - model.velocity(ends, times + spans)
    np.testing.assert_allclose(moved[:201], residual[:201], atol=1e-3)


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_of_a_sample_are_spans_of_a_flow_map(steps: int) -> None:
    model = nonlinear(flow_map=0.25, solver="euler", steps=steps)
    latents = expected = model.latents(random.image_seeds(0, 3))
    for step in range(steps):
        times, spans = tf.fill([3], step / steps), tf.fill([3], 1 / steps)
        expected = expected + model.velocity(expected, times, spans=spans) / steps
    np.testing.assert_allclose(model.decode(latents), expected, rtol=1e-4, atol=1e-5)
    # Backward there are none.
    exact = nonlinear(solver="rk4", steps=model.config.density_steps)
    latents = exact.encode(expected)
    np.testing.assert_allclose(model.encode(expected), latents, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
def test_flow_maps_train_by_small_batches_and_xla(size: int) -> None:
    model = FlowMatching(
        **{"image_shape": (6, 4, 1), "architecture": "dense", "hidden": (8,), "num_classes": 3},
        flow_map=0.25,
    )
    model.compile(**model.default_optimizers(1e-3), jit_compile=size == 3)
    images = np.random.default_rng(0).integers(0, 256, (size, 6, 4, 1), np.uint8)
    losses = model.train_on_batch(images, np.arange(size) % 3, return_dict=True)
    assert np.isfinite(losses["loss"])


# --- times and labels -----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_times_are_uniform_logit_normal_or_both(share: float) -> None:
    model = of_points(logit_normal=share)
    times = np.sort(model.times(random.BatchNoise(tf.constant([1, 2])), tf.constant(4000)).numpy())
    assert times[0] > 0 and times[-1] < 1
    normal_cdf = 0.5 * (1 + tf.math.erf(np.log(times / (1 - times)) / math.sqrt(2)).numpy())
    cdf = share * normal_cdf + (1 - share) * times
    # One time for each part of equal probability, in each of the two distributions.
    np.testing.assert_allclose(cdf, np.arange(4000) / 4000, atol=1e-3)


def test_an_image_has_any_time_wherever_it_is_in_its_batch() -> None:
    model = of_points(logit_normal=0.0)
    steps = (random.BatchNoise(tf.constant([1, step])) for step in range(200))
    times = np.stack([model.times(noise, tf.constant(3)) for noise in steps])
    np.testing.assert_allclose(times.mean(axis=0), 0.5, atol=0.1)  # 5 standard errors


def test_guidance_extrapolates_from_the_velocity_without_labels() -> None:
    events, times = noise_of(2).normal(2, (2,), 1), tf.constant([0.2, 0.8])

    def velocity(guidance: float) -> np.ndarray:
        model = nonlinear(num_classes=3, guidance=guidance)
        return model.guided_velocity(events, times, model.one_hot([0, 1])).numpy()

    model = nonlinear(num_classes=3)
    unlabelled = model.velocity(events, times, tf.zeros([2, 3]))
    labelled = model.velocity(events, times, model.one_hot([0, 1]))
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(velocity(0), unlabelled, **close)
    np.testing.assert_allclose(velocity(1), labelled, **close)
    np.testing.assert_allclose(velocity(3), 3 * labelled - 2 * unlabelled, **close)


@pytest.mark.parametrize("training", [True, False])
def test_labels_are_left_out_at_the_rate_of_label_dropout(training: bool) -> None:
    """A label that is left out does not matter."""
    noise, events = random.BatchNoise(tf.constant([1, 2])), noise_of(2000).normal(2000, (2,), 1)
    model = nonlinear(num_classes=3, label_dropout=0.25)
    zeros, ones = (
        model.velocity_errors(events, noise, model.one_hot([label] * 2000), training).numpy()
        for label in (0, 1)
    )
    # The standard error of the rate is 0.01. Two float32 losses may be equal by chance.
    assert abs(np.mean(zeros == ones) - 0.25 * training) < 0.04 * training + 1e-3
