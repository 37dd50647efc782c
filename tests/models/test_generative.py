"""What all generative families share: labels, seeds of noise, what a likelihood is of."""

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.told import fails
from tfgen import GAN, VAE, Flow, Identity

pytestmark = pytest.mark.quick

SHAPE = (6, 6, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.uint8)


def vae(**fields: Any) -> VAE:
    return VAE(**{"image_shape": SHAPE, "latent_dim": 3, "hidden": (8,), **fields})


# --- labels -------------------------------------------------------------------------------


def test_one_class_may_stand_for_all_images() -> None:
    model = vae(num_classes=3)
    latents = model.latents(np.arange(4))
    for function in (
        lambda labels: model.decode(latents, labels),
        lambda labels: model.encode(IMAGES, labels)[0],
        lambda labels: model.log_prob(IMAGES, samples=2, labels=labels),
    ):
        np.testing.assert_array_equal(function(2), function([2, 2, 2, 2]))
        np.testing.assert_array_equal(function(tf.constant(2)), function(2))


def test_labels_of_a_graph_follow_the_same_rules() -> None:
    model = vae(num_classes=3)
    latents = model.latents(np.arange(4))
    rows = tf.TensorSpec([None, 3], tf.float32)
    for spec, label in (
        (tf.TensorSpec([], tf.int32), 2),
        (tf.TensorSpec([None], tf.int32), [2] * 4),
    ):
        traced = tf.function(model.decode, input_signature=[rows, spec])
        np.testing.assert_allclose(traced(latents, label), model.decode(latents, 2), atol=1e-6)
    unlabelled = tf.function(model.decode, input_signature=[rows])
    np.testing.assert_allclose(unlabelled(latents), model.decode(latents, [0, 1, 2, 0]), atol=1e-6)


# --- seeds --------------------------------------------------------------------------------


def test_noise_has_the_seeds_0_1_2_by_default() -> None:
    flow = Flow(image_shape=SHAPE, couplings=2, hidden=(8,))
    vae_log_prob = functools.partial(vae().log_prob, samples=2)
    for function in (vae_log_prob, flow.log_prob, flow.encode):
        np.testing.assert_array_equal(function(IMAGES), function(IMAGES, np.arange(4)))
        assert not np.array_equal(function(IMAGES), function(IMAGES, np.arange(4) + 1))
        fails(lambda function=function: function(IMAGES, [0, 1]), "2 seeds for 4 images")
        spec = tf.TensorSpec([None, *SHAPE], tf.uint8)
        traced = tf.function(lambda images, f=function: f(images), input_signature=[spec])
        np.testing.assert_allclose(traced(IMAGES), function(IMAGES), rtol=1e-5, atol=1e-5)


# --- what a family says -------------------------------------------------------------------


def test_a_likelihood_says_what_it_is_of() -> None:
    assert vae().describe_events() == "bernoulli, binarization dynamic"
    grey = vae(likelihood="continuous_bernoulli", binarization="none")
    assert grey.describe_events() == "continuous_bernoulli, binarization none"
    assert Flow(image_shape=SHAPE, couplings=2, hidden=(8,)).describe_events() == "bytes"
    assert GAN(image_shape=SHAPE, latent_dim=2).describe_events() == "SymmetricPixels()"
    own = GAN(image_shape=SHAPE, latent_dim=2, preprocessing=Identity())
    assert own.describe_events() == "Identity()"
