"""Likelihoods of families of another package, whose values are known in closed form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import make_images
from tests.evaluation.conftest import job
from tests.evaluation.toys import LinearGaussian, Toy, UniformBytes, UniformBytesByLabel
from tfgen import VAE
from tfgen.data import Dataset, Split
from tfgen.evaluation import evaluate
from tfgen.evaluation.evaluate import measure_likelihood
from tfgen.evaluation.sources import LatentDensity, SampleSource, density_of
from tfgen.models.preprocessing import Pixels
from tfgen.random import SeedNoise, image_seeds

N, SHAPE = 30, (6, 6, 1)
IMAGES, LABELS = make_images(N), np.arange(N) % 3


def likelihood(model: Toy, folder: Path, **request: Any) -> dict[str, Any]:
    split = Split(IMAGES, LABELS)
    dataset = Dataset("tiny", "1.0.0", split, split, split, 3, "fingerprint")
    classes, density = model.num_classes, density_of(model)
    source = SampleSource("a toy", folder, "run", "0", SHAPE, None, classes, density=density)
    result = measure_likelihood(job(source, dataset, folder, **request))
    assert result is not None
    return result


def test_uniform_bytes_have_eight_bits_per_dim(tmp_path: Path) -> None:
    result = likelihood(UniformBytes(image_shape=SHAPE), tmp_path, dequantizations=3)
    assert result["events"] == "bytes"
    assert result["dequantizations"] == 3
    for name in ("bits_per_dim_one_draw", "bits_per_dim"):
        nats = result[name.replace("bits_per_dim", "nll")]
        assert result[name] == pytest.approx(8, abs=1e-12) == nats / (36 * np.log(2))
        assert result[f"{name}_error"] == pytest.approx(0, abs=1e-12)


def test_an_exact_density_is_evaluated_once_given_the_label(tmp_path: Path) -> None:
    model = UniformBytesByLabel(image_shape=SHAPE, num_classes=3)
    result = likelihood(model, tmp_path, dequantizations=3)
    assert result["events"] == "bytes, given the label"
    assert result["bits_per_dim"] == pytest.approx(8 + LABELS.mean() / (36 * np.log(2)))
    assert result.keys().isdisjoint({"dequantizations", "bits_per_dim_one_draw", "estimates"})
    assert result["nll"] == pytest.approx(result["bits_per_dim"] * 36 * np.log(2), rel=1e-9)


def test_a_draw_of_the_data_is_no_noise(tmp_path: Path) -> None:
    """Over binarizations, the mean is that of log p; an average of p would be another model's."""

    class Binary(Toy):
        density = "exact"

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.preprocessing = Pixels("dynamic")

        def log_prob_images(self, images: tf.Tensor, noise: Any, labels: Any = None) -> tf.Tensor:
            events = self.preprocessing.events(images, noise, "float64")
            return tf.reduce_sum(tf.math.log(0.1 + 0.8 * events), axis=[1, 2, 3])

    result = likelihood(Binary(image_shape=SHAPE), tmp_path)
    assert result["events"] == VAE(image_shape=SHAPE).describe_events()
    assert "bits_per_dim" not in result
    events = Pixels("dynamic").events(tf.constant(IMAGES), SeedNoise(image_seeds(0, N)), "float64")
    expected = -np.log(0.1 + 0.8 * events.numpy()).sum((1, 2, 3))
    assert result["nll"] == pytest.approx(expected.mean(), rel=1e-9)


def test_an_estimate_is_averaged_as_a_logarithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Estimated(UniformBytes):
        density = "estimate"

        def log_prob_images(self, images: tf.Tensor, noise: Any, labels: Any = None) -> tf.Tensor:
            errors = tf.random.stateless_normal(tf.shape(noise.seeds), [0, 1], dtype=tf.float64)
            return super().log_prob_images(images, noise) + 100 * errors

    result = likelihood(Estimated(image_shape=SHAPE), tmp_path, dequantizations=50)
    assert result["events"] == "bytes"
    assert "bits_per_dim_one_draw" not in result
    assert result["estimates"] == N
    # The log-mean-exp of 50 draws would be about 9 bits/dim lower.
    assert abs(result["bits_per_dim"] - 8) < 3 * result["bits_per_dim_error"]
    monkeypatch.setattr(evaluate, "MAX_ESTIMATES", 20)
    result = likelihood(Estimated(image_shape=SHAPE), tmp_path, n=25)
    assert result["estimates"] == 20


def test_importance_weights_of_an_exact_posterior_are_exact(tmp_path: Path) -> None:
    model = LinearGaussian(image_shape=SHAPE)
    result = likelihood(model, tmp_path, importance_samples=5, n=20)
    assert result["events"] == "Pixels(binarization='none')"
    assert (result["latents"], result["importance_samples"]) == (2, 5)
    assert "bits_per_dim" not in result
    exact = -model.exact_log_prob(IMAGES[:20] / 255)
    assert result["nll"] == pytest.approx(exact.mean(), rel=1e-5)
    assert result["nll_error"] == pytest.approx(np.std(exact, ddof=1) / np.sqrt(20), rel=1e-3)


def test_a_vae_of_bytes_is_in_the_unit_of_a_flow(tmp_path: Path) -> None:
    fields = {"latent_dim": 2, "hidden": (4,), "num_classes": 3, "mixtures": 2}
    of_bytes = {"likelihood": "logistic_mixture", "binarization": "none"}
    model = VAE(image_shape=SHAPE, **fields, **of_bytes)
    result = likelihood(model, tmp_path, importance_samples=3, n=8)
    assert result["events"] == "bytes, given the label"
    for suffix in ("", "_error"):
        bits = result[f"nll{suffix}"] / (36 * np.log(2))
        assert result[f"bits_per_dim{suffix}"] == pytest.approx(bits, rel=1e-9)
    noise = SeedNoise(tf.constant(image_seeds(0, 8)))
    events = model.preprocessing.events(tf.constant(IMAGES[:8]), noise)
    terms = model.sample_terms(events, noise, model.one_hot(LABELS[:8]), 10)
    assert result["nll"] == pytest.approx(-np.mean(terms.importance_weighted()), rel=0.05)


def test_active_units_of_a_hierarchy_are_those_of_its_averaged_weights() -> None:
    fields = {"latent_dim": 2, "channels": 4, "levels": 1, "halvings": 1, "blocks": 0}
    model = VAE(image_shape=SHAPE, architecture="hierarchical", ema_decay=0.9, **fields)
    averages = model.averages_by_weight
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        averages[id(weight)].assign(random.normal(size=weight.shape))
        weight.assign(0 * weight.value)
    density = density_of(model)
    assert isinstance(density, LatentDensity)
    mean = density.mean(*density.inputs(IMAGES, image_seeds(0, N), None))
    # Weights of 0 have a mean of 0.
    assert mean.shape == (N, model.latent_dim)
    assert np.all(np.var(mean, axis=0) > 0)
