"""What all generative families share: labels, seeds of noise, what a likelihood is of."""

import numpy as np
import tensorflow as tf

from tests.models.families import vae


def test_labels_of_a_graph_follow_the_same_rules() -> None:
    model = vae(num_classes=3)
    latents = model.latents(np.arange(4))
    rows = tf.TensorSpec([None, 3], tf.float32)
    for spec, label in (
        (tf.TensorSpec([], tf.int32), 2),
        (tf.TensorSpec([None], tf.int32), [2] * 4),
    ):
        traced = tf.function(model.decode, input_signature=[rows, spec])
        np.testing.assert_allclose(traced(latents, label), model.decode(latents, 2), atol=1e-5)
    unlabelled = tf.function(model.decode, input_signature=[rows])
    np.testing.assert_allclose(unlabelled(latents), model.decode(latents, [0, 1, 2, 0]), atol=1e-5)


def test_a_likelihood_says_what_it_is_of() -> None:
    grey = vae(likelihood="continuous_bernoulli", binarization="none")
    assert grey.describe_events() == "continuous_bernoulli, binarization none"
