"""Training over two logical devices of this machine."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.commands import python
from tfgen.random import BatchNoise

pytestmark = pytest.mark.slow

MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests import commands
from tfgen import VAE
from tfgen.errors import UsageError
from tfgen.training.cluster import make_strategy
assert commands.main("train", sys.argv[1:]) == 0
strategy = make_strategy("mirrored")
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    vae = VAE(image_shape=(6, 6, 1), latent_dim=2, hidden=(16,))
    vae.compile()
    try:
        vae.export("within", verbose=False)
        raise AssertionError("a model was exported within strategy.scope()")
    except UsageError:
        pass
one, two = strategy.run(lambda: vae.training_noise().normal(4, (3,), 1)).values
assert not tf.reduce_any(one == two), "the replicas draw the same noise"
"""


def test_a_mirrored_training_ends_with_a_version(tiny_data: Path, tmp_path: Path) -> None:
    arguments = ["vae", "--preset", "mlp", "--strategy", "mirrored", "--epochs", "1"]
    arguments += ["--hidden", "4", "--name", "vae-tiny"]
    arguments += ["--dataset", "tiny", "--data-dir", str(tiny_data), "--batch-size", "64"]
    arguments += ["--run-dir", "run", "--saved-models", "saved_models"]
    trained = python(["-c", MIRRORED, *arguments], tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    model = tfgen.load(tmp_path / "run", weights="best")
    version = tfgen.load(tmp_path / "saved_models" / "vae-tiny" / "2")
    samples = (opened.sample(seeds=range(5)) for opened in (version, model))
    np.testing.assert_allclose(*samples, atol=1e-5)
    # Each replica got one half of the only validation batch, and drew its own noise.
    images = tfgen.load_data("tiny", tiny_data).validation.images
    fold = tf.random.experimental.stateless_fold_in
    test_seed = fold(tf.constant([model.seed, 1]), tf.constant(0, tf.int64))
    bounds = [
        model.image_terms(tf.constant(half), BatchNoise(fold(test_seed, replica)), None).elbo()
        for replica, half in enumerate(np.array_split(images, 2))
    ]
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    np.testing.assert_allclose(json.loads(line)["val_loss"], -np.mean(bounds), rtol=1e-5)
