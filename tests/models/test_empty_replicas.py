"""Replicas that get no image: 101 images in batches of 100, over two devices."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.commands import PATIENCE

pytestmark = pytest.mark.newest

PROGRAM = """
import json, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.conftest import make_images
from tfgen import GAN, VAE, Classifier, Flow, Identity
from tfgen.models.vae import bounds
from tfgen.training.cluster import make_strategy

images, labels = make_images(101, side=8), np.arange(101) % 3
weights = np.linspace(0, 2, 101).astype(np.float32)
shape, conv = {"image_shape": (8, 8, 1)}, {"architecture": "convolutional", "channels": 2}

# Without noise, so that the bound of an image does not depend on its replica.
bounds.posterior_noise = lambda posterior, samples, noise: tf.zeros_like(posterior.mean())[None]

def models():
    yield "classifier", Classifier(num_classes=3, channels=2, units=4, **shape), images
    inner = keras.Sequential([
        keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(synchronized=True),
        keras.layers.Flatten(),
        keras.layers.Dense(4)])
    fields = {"latent_dim": 2, "hidden": (4,), "binarization": "threshold", **shape, **conv}
    yield "vae", VAE(encoder=inner, **fields), images
    yield "gan", GAN(latent_dim=2, units=4, **shape, **conv), images
    steps = {"scale_steps": (1,), "scale_channels": (2,), "blocks": 1}
    events = Identity()
    flow = Flow(architecture="multiscale", preprocessing=events, **steps, **shape)
    yield "flow", flow, images.astype(np.float32) / 255

strategy = make_strategy("mirrored")
results = {}
with strategy.scope():
    several = list(models())
for (name, model, x), (_, alone, _) in zip(several, models(), strict=True):
    metrics = {"metrics": ["mse"]} if name == "vae" else {}
    with strategy.scope():
        model.compile(**model.default_optimizers(1e-3), **metrics)
    alone.compile(**alone.default_optimizers(1e-3), **metrics)
    model.fit(x, labels, batch_size=100, verbose=0)
    assert all(np.all(np.isfinite(w)) for w in model.get_weights()), name
    alone.set_weights(model.get_weights())
    logs = []
    for judged in (model, alone):
        for sample_weight in (None, weights):
            logs.append(judged.evaluate(x, labels, sample_weight=sample_weight, batch_size=100,
                                      verbose=0, return_dict=True))
    counts = {k: float(m.count.numpy()) for k, m in model._means.items()}
    predicted = model.predict(x, batch_size=100, verbose=0)
    rows = len(tf.nest.flatten(predicted)[0])
    results[name] = {"logs": logs, "counts": counts, "rows": rows}
print(json.dumps(results, default=float))
"""


def test_replicas_without_images_train_and_evaluate() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    for name, result in results.items():
        plain, weighted, expected, expected_weighted = result["logs"]
        assert result["rows"] == 101
        # The generated images of a GAN are other ones on each replica.
        keys = ["real_score"] if name == "gan" else list(plain)
        for key in keys:
            np.testing.assert_allclose(plain[key], expected[key], rtol=1e-4, err_msg=name)
            np.testing.assert_allclose(
                weighted[key], expected_weighted[key], rtol=1e-4, err_msg=name
            )
        for key, count in result["counts"].items():
            total = 101 if name == "gan" and key != "real_score" else np.linspace(0, 2, 101).sum()
            np.testing.assert_allclose(count, total, rtol=1e-6)
