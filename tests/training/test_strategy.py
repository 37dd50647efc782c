"""Training over two devices and over two processes."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfgen.models.vae.config import VAEConfig
from tfgen.settings.training import RunConfig, TrainingOptions
from tfgen.training.run import for_this_worker

MIRRORED = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.conftest import make_images
from tfgen import GAN
from tfgen import VAE
from tfgen.errors import UsageError
from tfgen.training.strategy import make_strategy
strategy = make_strategy("mirrored")
widths = {"generator_hidden": (16, 8), "discriminator_hidden": (8,)}
with strategy.scope():
    gan = GAN((6, 6, 1), 2, spectral_norm=True, ema_decay=0.9, **widths)
    gan.compile(**gan.default_optimizers(1e-3))
    try:
        GAN((6, 6, 1), 2, critic_steps=2).compile()
        raise AssertionError("critic steps over two replicas were not refused")
    except UsageError:
        pass
scores = gan.fit(make_images(64), batch_size=16, epochs=3, verbose=0).history
for weight in gan.weights:
    np.testing.assert_array_equal(*(value.numpy() for value in weight.value.values))
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    vae = VAE((6, 6, 1), 2, (16,))
    vae.compile()
noises = strategy.run(lambda: vae.training_noise().normal(4, (3,), 1)).values
shares = strategy.run(lambda: vae.gradient_loss(tf.constant(3.0), vae.optimizer)).values
assert [share.numpy() for share in shares] == [1.5, 1.5]
history = vae.fit(make_images(64), batch_size=16, epochs=3, verbose=0).history
np.savez(sys.argv[1], *noises, step=vae.step.numpy(), loss=history["loss"], scores=scores["real_score"])
"""

WORKER = """
import sys
import numpy as np
from tfgen.training.strategy import make_strategy
strategy = make_strategy("multiworker")
from tests.conftest import make_images
from tfgen import VAE
with strategy.scope():
    vae = VAE((6, 6, 1), 2, (16,))
    vae.compile()
history = vae.fit(make_images(64), batch_size=16, epochs=2, shuffle=False, verbose=0).history
np.savez(sys.argv[1], *vae.get_weights(), loss=np.ravel(history["loss"]))
"""


def test_mirrored_replicas_draw_their_own_noise_and_learn(tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(out)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as result:
        assert not np.any(result["arr_0"] == result["arr_1"])
        assert result["step"] == 12
        assert np.all(np.isfinite(result["loss"]))
        assert result["loss"][-1] < result["loss"][0]
        assert np.all(np.isfinite(result["scores"]))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.newest
def test_two_workers_end_with_equal_weights(tmp_path: Path) -> None:
    import os

    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(2)]}
    workers = []
    for index in range(2):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, "-c", WORKER, str(tmp_path / f"{index}.npz")]
        environment = {**os.environ, "TF_CONFIG": task}
        workers.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
    for worker in workers:
        _, errors = worker.communicate(timeout=200)
        assert worker.returncode == 0, errors[-2000:]
    with np.load(tmp_path / "0.npz") as first, np.load(tmp_path / "1.npz") as second:
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(
    ("task", "index", "jobs", "suffix"),
    [
        ("chief", 0, ["chief", "worker"], ""),
        ("worker", 0, ["chief", "worker"], "-worker0"),
        ("worker", 0, ["worker"], ""),
        ("worker", 1, ["worker"], "-worker1"),
        (None, None, [], ""),
    ],
)
def test_one_worker_alone_is_the_chief(
    task: str | None, index: int | None, jobs: list, suffix: str
) -> None:
    resolver = SimpleNamespace(
        task_type=task, task_id=index, cluster_spec=lambda: SimpleNamespace(jobs=jobs)
    )
    config = RunConfig("vae", VAEConfig(), TrainingOptions(run_dir=Path("runs/a")))
    mine = for_this_worker(config, SimpleNamespace(cluster_resolver=resolver)).options
    assert (mine.run_dir, mine.publish) == (Path(f"runs/a{suffix}"), not suffix)
