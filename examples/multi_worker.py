"""Trains a Keras 3 model with a `train_step` of its own under `MultiWorkerMirroredStrategy`.

    python multi_worker.py    # two workers on this machine; with TF_CONFIG, the one that it names

With several workers, Keras 3 averages what a step returns over the first axis, so scalars fail, and
the first batch, so tuples fail. The overridden methods avoid both.
"""

import json
import os
import random
import sys
from subprocess import Popen


def train() -> None:
    """Trains as one of the workers of `TF_CONFIG`."""
    import keras
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

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            pass  # what it would build is built below

    x, y = (keras.random.normal((64, width), seed=0) for width in (8, 1))  # alike on all workers
    with strategy.scope():
        model = Model([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
    losses = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
    loss, rows = model.evaluate(x, y, verbose=0), len(model.predict(x, verbose=0))
    results = [losses, loss, rows, [float(tf.reduce_sum(w)) for w in model.weights]]
    sys.stdout.write(json.dumps(results) + "\n")  # one write: lines of workers do not mix


def start(workers: int = 2) -> int:
    """Starts workers on this machine; returns their exit status."""
    cluster = {"worker": [f"localhost:{p}" for p in random.sample(range(20000, 30000), workers)]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    configs = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
    command = [sys.executable, __file__]
    running = [Popen(command, env=os.environ | {"TF_CONFIG": config}) for config in configs]
    return max(process.wait() for process in running)


if __name__ == "__main__":
    sys.exit(train() if "TF_CONFIG" in os.environ else start())
