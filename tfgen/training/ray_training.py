"""A training by workers that Ray Train starts, and starts again when one is lost."""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfgen.errors import WorkError
from tfgen.system.ray_cluster import RayCluster, first_line

# How often lost workers are started again.
RESTARTS = 3
# Set by Ray for its workers: Keras 2, and one thread for each core that Ray has reserved.
_SET_BY_RAY = ("TF_USE_LEGACY_KERAS", "OMP_NUM_THREADS")


def fit(
    cluster: RayCluster, train: Callable[[Any], None], argument: dict[str, Any], shared: Path
) -> None:
    """Trains with the workers of a cluster.

    Args:
        cluster: where the workers run.
        train: trains in a worker, from the last checkpoint if there is one; by pickle.
        argument: the argument of `train`.
        shared: a folder on storage that all workers share, for files of Ray Train.

    Raises:
        WorkError: the training has failed in a worker, also after it was started again.
    """
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer

    folder = Path.cwd()

    def train_in_folder(argument: dict[str, Any]) -> None:
        for name in _SET_BY_RAY:
            os.environ.pop(name, None)
        # Ray shows what any logger says from the level INFO on.
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        os.chdir(folder)
        train(argument)

    resources, failures = cluster.resources, list[Exception]()
    with tempfile.TemporaryDirectory(
        dir=shared, prefix=".ray-", ignore_cleanup_errors=True
    ) as storage:
        trainer = TensorflowTrainer(
            train_in_folder,
            train_loop_config=argument,
            scaling_config=ray.train.ScalingConfig(
                num_workers=cluster.workers,
                use_gpu=resources["num_gpus"] > 0,
                resources_per_worker={"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]},
            ),
            run_config=ray.train.RunConfig(
                name="tfgen",
                storage_path=storage,
                failure_config=ray.train.FailureConfig(max_failures=RESTARTS),
            ),
        )

        def run() -> None:
            try:
                trainer.fit()
            except Exception as error:
                failures.append(error)

        # In the main thread, Ray Train would take Ctrl-C.
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
    for error in failures:
        for failure in getattr(error, "worker_failures", {}).values():
            # The text of the worker's own error ends its traceback, behind its class or without it.
            *_, line = str(failure).strip().splitlines()
            raise WorkError(re.sub(r"^[\w.]+: ", "", line)) from error
        raise WorkError(f"Ray Train has failed: {first_line(error)}") from error
