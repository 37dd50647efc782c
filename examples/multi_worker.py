"""Trains a Keras 3 model with a `train_step` of its own under `MultiWorkerMirroredStrategy`.

    python multi_worker.py                              # starts two workers on this machine
    TF_CONFIG='{"cluster": …}' python multi_worker.py   # is one worker; so on each machine

With several workers, Keras 3 averages what a step returns along its first axis, which a scalar
lacks: `fit` and `evaluate` fail. Give the values of a step an axis, as here.
"""

import json
import os
import random
import subprocess
import sys


def train() -> None:
    """Trains as one of the workers of `TF_CONFIG`."""
    import keras
    import numpy as np
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before any operation

    class Model(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))  # this worker's share
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)  # Keras sums here
            self.metrics[0].update_state(loss * strategy.num_replicas_in_sync, tf.shape(x)[0])
            return {name: value[None] for name, value in self.get_metrics_result().items()}

        def test_step(self, data):
            return {name: value[None] for name, value in super().test_step(data).items()}

    keras.utils.set_random_seed(0)  # equal weights, data and order on all workers
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    with strategy.scope():
        model = Model([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
        model.compile("adam", "mse")
    history = model.fit(x, x[:, :1], batch_size=16, epochs=3, shuffle=False, verbose=0).history
    loss, rows = model.evaluate(x, x[:, :1], verbose=0), len(model.predict(x, verbose=0))
    checksum = sum(float(tf.reduce_sum(weight)) for weight in model.weights)
    print(f"losses {history['loss']}, evaluated {loss}, predicted {rows}, weights {checksum!r}")


def start(workers: int = 2) -> int:
    """Starts workers on this machine; returns their exit status."""
    cluster = {"worker": [f"localhost:{p}" for p in random.sample(range(20000, 30000), workers)]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    configs = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
    command = [sys.executable, __file__]
    processes = [subprocess.Popen(command, env={**os.environ, "TF_CONFIG": c}) for c in configs]
    return max(process.wait() for process in processes)


if __name__ == "__main__":
    sys.exit(train() if "TF_CONFIG" in os.environ else start())
