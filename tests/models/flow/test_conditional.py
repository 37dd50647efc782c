"""The class-conditional flow: an exact density for each label, learned, sampled and published."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfgen import Flow, Identity

pytestmark = pytest.mark.newest

DENSE = {"couplings": 2, "hidden": (8,), "image_shape": (2, 4, 1)}
SCALES = {
    **{"architecture": "multiscale", "scale_steps": (2, 1), "scale_channels": (4, 4), "blocks": 1},
    **{"image_shape": (4, 4, 1), "components": 2},
}
VECTORS = {"couplings": 2, "hidden": (8,), "image_shape": (3,), "preprocessing": Identity()}


def perturbed(**arguments: Any) -> Flow:
    """A flow of three classes whose weights are not at their start any more."""
    flow = Flow(**{"num_classes": 3, **arguments})
    rng = np.random.default_rng(0)
    for variable in flow.trainable_variables:
        variable.assign(variable + rng.normal(scale=0.3, size=variable.shape))
    return flow


ONE_SCALE = {**SCALES, "image_shape": (2, 4, 1), "scale_steps": (2,), "scale_channels": (4,)}


@pytest.mark.parametrize(
    "fields", [DENSE, ONE_SCALE, VECTORS], ids=["dense", "multiscale", "vectors"]
)
def test_the_bijector_of_a_label_is_exact(fields: dict[str, Any]) -> None:
    flow = perturbed(**fields, dtype="float64")
    shape = flow.config.image_shape
    event = np.random.default_rng(1).normal(size=shape)
    x, labels = tf.constant(np.stack([event] * 3)), flow.one_hot([0, 1, 2])
    bijector = flow.bijector(labels=labels)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        latents, log_det = bijector.inverse_and_log_det(x, len(shape))
    jacobians = tape.batch_jacobian(latents, x, experimental_use_pfor=False)
    jacobians = np.reshape(jacobians, (3, latents.shape[1], -1))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], rtol=1e-9)
    again, inverse_log_det = bijector.forward_and_log_det(latents, 1)
    np.testing.assert_allclose(again, x, atol=1e-8)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-6)
    # The same event has other latents and another density under each label.
    assert len(np.unique(np.round(latents[:, 0], 6))) == 3
    density = flow.event_log_prob(x, labels=labels)
    np.testing.assert_allclose(density, flow.distribution(labels).log_prob(x), rtol=1e-9)
    assert len(np.unique(np.round(density, 6))) == 3


def test_normalizations_are_set_with_the_labels_of_the_first_images(images: np.ndarray) -> None:
    images, labels = images[:32, :4, :4], np.arange(32) % 3
    for arguments in (
        {"x": images, "y": labels[:, None]},
        {"x": tf.data.Dataset.from_tensor_slices((images, labels)).batch(32)},
    ):
        flow = Flow(**{**SCALES, "scale_steps": (1,), "scale_channels": (2,)}, num_classes=3)
        flow.compile(**flow.default_optimizers(1e-3), run_eagerly=True)
        flow.fit(**arguments, verbose=0)
        assert int(flow.adapted) == 1
