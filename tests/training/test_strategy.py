"""Training over two devices and over two processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import PATIENCE, python

MIRRORED = """
import sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.conftest import make_images
from tfgen import VAE
from tfgen.errors import UsageError
from tfgen.training.strategy import make_strategy
strategy = make_strategy("mirrored")
small = {"image_shape": (6, 6, 1), "latent_dim": 2}
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    vae = VAE(hidden=(16,), **small)
    vae.compile(optimizer=keras.optimizers.SGD(1.0))
noises = strategy.run(lambda: vae.training_noise().normal(4, (3,), 1)).values
variable = vae.trainable_variables[0]
before = variable.numpy()
def descend():
    with tf.GradientTape() as tape:
        loss = 3.0 * tf.reduce_sum(variable.value)
    vae.descend(loss, tape, vae.optimizer, [variable])
strategy.run(descend)
# The mean of the replicas' gradients, not their sum.
np.testing.assert_allclose(before - variable.numpy(), 3.0, rtol=1e-5)
with strategy.scope():
    vae.compile()
history = vae.fit(make_images(64), batch_size=16, epochs=3, verbose=0).history
exported = sys.argv[1] + "-exported"
vae.export(exported, verbose=False)
latents = tf.random.normal([3, 2])
decode = tf.saved_model.load(exported).signatures["decode"]
np.testing.assert_allclose(decode(latents=latents)["images"], vae.decode(latents), atol=1e-5)
with strategy.scope():
    try:
        vae.export(exported + "-within", verbose=False)
        raise AssertionError("a model was exported within strategy.scope()")
    except UsageError:
        pass
np.savez(sys.argv[1], *noises, loss=history["loss"], step=vae.step.numpy())
"""


def test_mirrored_replicas_draw_their_own_noise_and_learn(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(out)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as result:
        assert not np.any(result["arr_0"] == result["arr_1"])
        assert result["step"] == 12
        assert np.all(np.isfinite(result["loss"]))
        assert result["loss"][-1] < result["loss"][0]


TRAIN_MIRRORED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests import commands
raise SystemExit(commands.main("train", sys.argv[1:]))
"""

TENSORFLOW_ALONE = """
import sys
sys.modules.update(dict.fromkeys(("tfgen", "keras", "tensorflow_probability")))
import numpy as np, tensorflow as tf
version = tf.saved_model.load(sys.argv[1])
images = version.signatures["sample"](seed=tf.range(5))["images"]
np.save(sys.argv[2], images.numpy())
"""


@pytest.mark.newest
def test_a_mirrored_training_ends_with_a_version_for_tensorflow_alone(
    tiny_data: Path, tmp_path: Path
) -> None:
    import tfgen
    from tfgen.random import BatchNoise

    arguments = ["vae", "--preset", "mlp", "--strategy", "mirrored", "--epochs", "1"]
    arguments += ["--hidden", "4", "--name", "vae-tiny"]
    arguments += ["--dataset", "tiny", "--data-dir", str(tiny_data), "--batch-size", "64"]
    arguments += ["--run-dir", "run", "--saved-models", "saved_models"]
    trained = python(["-c", TRAIN_MIRRORED, *arguments], tmp_path)
    assert trained.returncode == 0, trained.stderr[-2000:]
    version = tmp_path / "saved_models" / "vae-tiny" / "2"
    alone = python(["-c", TENSORFLOW_ALONE, str(version), "images.npy"], tmp_path)
    assert alone.returncode == 0, alone.stderr[-2000:]

    model = tfgen.load(tmp_path / "run", weights="best")
    np.testing.assert_allclose(
        np.load(tmp_path / "images.npy"), model.sample(seeds=range(5)), atol=1e-5
    )
    # Each replica got one half of the only validation batch, and drew its own noise.
    images = tfgen.load_data("tiny", tiny_data).validation.images
    fold = tf.random.experimental.stateless_fold_in
    test_seed = fold(tf.constant([model.seed, 1]), tf.constant(0, tf.int64))
    bounds = [
        model.bound_terms(BatchNoise(fold(test_seed, replica)), tf.constant(half), None).bound()
        for replica, half in enumerate(np.array_split(images, 2))
    ]
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    np.testing.assert_allclose(json.loads(line)["val_loss"], -np.mean(bounds), rtol=1e-5)
