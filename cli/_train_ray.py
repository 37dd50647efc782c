"""`tfgen-train --ray`: Ray Train runs the training in the workers of a cluster."""

import dataclasses
import shlex
import signal
from collections.abc import Callable
from typing import Any

from tfgen.errors import InterruptedRunError
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly

from ._command import terminable
from ._ray import RayOptions
from ._train_options import PROG, PublishOptions


def train_on_ray(
    train: Callable[[RunConfig, PublishOptions], None],
    config: RunConfig,
    publishing: PublishOptions,
    options: RayOptions,
) -> None:
    """Trains with the workers of a cluster, which resume after a loss.

    Args:
        train: trains in a worker.
        config: the configuration of the run.
        publishing: where it is published, if at all.
        options: which cluster, and how many workers.

    Raises:
        UsageError: the request is wrong.
        WorkError: the cluster does not answer, or the training failed.
        InterruptedRunError: a signal ended the work.
    """
    from tfgen.system.ray_cluster import check_installed, connected
    from tfgen.system.terminal import count_noun
    from tfgen.training.folder import RunFolder, run_path
    from tfgen.training.ray_training import fit

    check_installed()
    folder = RunFolder(run_path(config).absolute())
    if not config.options.resume:
        folder.create()
    config = dataclasses.replace(
        config, options=dataclasses.replace(config.options, run_dir=folder.path)
    )
    advice = shlex.join([PROG, config.family, "--resume", "--run-dir", str(folder.path)])
    try:
        with (
            terminable(),
            connected(options.ray_address, options.ray or 0, shows_output=True) as cluster,
        ):
            import_quietly("ray.train.tensorflow")
            advice += f" --ray {cluster.workers}"
            print(
                f"training with {count_noun(cluster.workers, 'worker')} of a Ray cluster",
                flush=True,
            )
            request = {"train": train, "config": config, "publishing": publishing}
            fit(cluster, train_in_worker, request, folder.path.parent)
    except (KeyboardInterrupt, InterruptedRunError) as error:
        signum = getattr(error, "signum", signal.SIGINT)
        raise InterruptedRunError(f"interrupted; continue with: {advice}", signum) from None


def train_in_worker(request: dict[str, Any]) -> None:
    """Trains in a worker of Ray Train, from the last checkpoint if there is a run."""
    from tfgen.training.folder import RunFolder

    config = request["config"]
    if RunFolder(config.options.run_dir).config.exists():
        options = dataclasses.replace(config.options, resume=True)
        config = dataclasses.replace(config, options=options)
    import_quietly("tensorflow_probability", "tfgen.training.run", "tfgen.publishing.export")
    request["train"](config, request["publishing"])
