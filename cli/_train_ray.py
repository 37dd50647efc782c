"""`tfgen-train --ray`: Ray Train runs the training in the workers of a cluster."""

import dataclasses
import logging
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from tfgen.errors import InterruptedRunError, WorkError, first_line
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.ray_cluster import RayCluster, check_installed, connected
from tfgen.system.signals import same_handlers
from tfgen.system.terminal import count_noun
from tfgen.training.folder import RunFolder, run_path

from ._flags import RayOptions
from ._train_options import PROG, PublishOptions

# How often lost workers are started again.
_RESTARTS = 3
# Set by Ray for its workers: Keras 2, and one thread for each core that Ray has reserved.
_SET_BY_RAY = ("TF_USE_LEGACY_KERAS", "OMP_NUM_THREADS")


def train_on_ray(
    train: Callable[[RunConfig, PublishOptions], None],
    config: RunConfig,
    publishing: PublishOptions,
    options: RayOptions,
) -> None:
    """Train with the workers of a cluster, which resume after a loss.

    Args:
        train: trains in a worker; is pickled.
        config: the configuration of the run.
        publishing: where it is published, if at all.
        options: which cluster, and how many workers.

    Raises:
        UsageError: the request is wrong.
        WorkError: the cluster does not answer, or the training failed even after restarts.
        InterruptedRunError: a signal ended the work.
    """
    check_installed()
    folder, working_folder = RunFolder(run_path(config).absolute()), Path.cwd()
    if not config.options.resume:
        folder.create()

    def train_in_worker() -> None:
        for name in _SET_BY_RAY:
            os.environ.pop(name, None)
        # Ray shows what any logger says from the level INFO on.
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        os.chdir(working_folder)
        resume = folder.config.exists()  # from the last checkpoint
        run = dataclasses.replace(config.options, run_dir=folder.path, resume=resume)
        import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
        train(dataclasses.replace(config, options=run), publishing)

    advice = shlex.join([PROG, config.family, "--resume", "--run-dir", str(folder.path)])
    connection = connected(options.ray_address, options.ray or 0, shows_output=True)
    try:
        with interruptible(), connection as cluster:
            import_quietly("ray.train.tensorflow")
            advice += f" --ray {cluster.workers}"
            print(f"training with {count_noun(cluster.workers, 'worker')} of Ray", flush=True)
            _fit(cluster, train_in_worker, folder.path.parent)
    except (KeyboardInterrupt, InterruptedRunError) as error:
        signum = getattr(error, "signum", signal.SIGINT)
        raise InterruptedRunError(f"interrupted; continue with: {advice}", signum) from None


def _fit(cluster: RayCluster, train: Callable[[], None], shared: Path) -> None:
    """Call `train` in each worker of a cluster, with a folder that all of them share."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer

    resources = {"CPU": cluster.resources["num_cpus"], "GPU": cluster.resources["num_gpus"]}
    devices = {"use_gpu": resources["GPU"] > 0, "resources_per_worker": resources}
    scaling = ray.train.ScalingConfig(num_workers=cluster.workers, **devices)
    failures = ray.train.FailureConfig(max_failures=_RESTARTS)
    with tempfile.TemporaryDirectory(
        dir=shared, prefix=".ray-", ignore_cleanup_errors=True
    ) as storage:
        run = ray.train.RunConfig(name="tfgen", storage_path=storage, failure_config=failures)
        trainer = TensorflowTrainer(train, scaling_config=scaling, run_config=run)
        try:
            with same_handlers():  # Ray Train sets one for Ctrl-C
                trainer.fit()
        except SystemExit:
            raise KeyboardInterrupt from None  # Ray Train's end after Ctrl-C
        except Exception as error:
            for failure in getattr(error, "worker_failures", {}).values():
                # The text of the worker's own error ends its traceback, behind its class or not.
                *_, line = str(failure).strip().splitlines()
                raise WorkError(re.sub(r"^[\w.]+: ", "", line)) from error
            raise WorkError(f"Ray Train has failed: {first_line(error)}") from error
