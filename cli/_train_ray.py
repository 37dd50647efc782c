"""`tfgen-train --ray`: the workers of a training are started on a Ray cluster."""

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tfgen.errors import InterruptedRunError, UsageError, WorkerLostError
from tfgen.settings.training import RunConfig
from tfgen.system.quiet import import_quietly
from tfgen.system.status import status

from ._flags import Parser, add_flags, read_flags
from ._ray import RayOptions
from ._train_options import PROG, read_deciding_flags

if TYPE_CHECKING:
    from tfgen.training.ray_training import Command, ProcessEnd

_STRATEGY = "multiworker"


def ray_options(argv: list[str]) -> tuple[RayOptions, list[str]]:
    """The flags of `--ray`, and the arguments without them.

    Raises:
        UsageError: the flags are wrong.
    """
    parser = Parser(PROG, "", add_help=False)
    add_flags(parser, RayOptions)
    namespace, words = parser.parse_known_args(argv)
    return read_flags(namespace, RayOptions), words


def train_on_ray(words: list[str], config: RunConfig, options: RayOptions) -> NoReturn:
    """Trains with the workers of a cluster.

    Args:
        words: the arguments, without those of `options`.
        config: the configuration that they set.
        options: which cluster, and how many workers.

    Raises:
        SystemExit: with the exit status of the training, whose output is printed already.
        UsageError: the request is wrong.
        WorkError: the cluster does not answer, or cannot start the workers.
        WorkerLostError: workers were lost too often.
        InterruptedRunError: a signal ended the work.
    """
    from tfgen.system.ray_cluster import check_installed
    from tfgen.training.folder import RunFolder, run_path

    if read_deciding_flags(words).strategy not in (None, _STRATEGY):
        raise UsageError(f"--ray trains with --strategy {_STRATEGY}; leave --strategy out")
    check_installed()
    run_dir = run_path(config).absolute()
    if not config.options.resume:
        RunFolder(run_dir).create()
    import_quietly("ray.train.tensorflow")
    try:
        end = _train(words, config, run_dir, options)
    finally:
        with contextlib.suppress(OSError):
            run_dir.rmdir()  # it is empty if no worker has begun
    sys.stderr.write(end.errors)
    raise SystemExit(end.status)


def _train(words: list[str], config: RunConfig, run_dir: Path, options: RayOptions) -> "ProcessEnd":
    """Trains; returns how it ended."""
    from tfgen.system.ray_cluster import connected
    from tfgen.system.terminal import count_noun
    from tfgen.training.folder import RunFolder
    from tfgen.training.ray_training import train_on

    asked = options.ray or 0
    with contextlib.ExitStack() as stack:
        with status("connecting to a Ray cluster"):
            cluster = stack.enter_context(connected(options.ray_address, asked))
        workers = cluster.count_workers(asked)
        flags = ["--ray", str(workers)]
        if options.ray_address is not None:
            flags += ["--ray-address", options.ray_address]
        command = _command(words, config, run_dir, flags)
        _say(f"training with {count_noun(workers, 'worker')} of a Ray cluster")
        try:
            return train_on(cluster, command, workers, _show, _say)
        except (WorkerLostError, InterruptedRunError) as error:
            advice = "nothing was written"
            if RunFolder(run_dir).config.exists():
                advice = f"resume with: {PROG} {shlex.join([*command.resume_arguments, *flags])}"
            error.args = (f"{error}; {advice}",)
            raise


def _command(words: list[str], config: RunConfig, run_dir: Path, flags: list[str]) -> "Command":
    """What each worker runs; the advice on how to resume the run repeats `flags`."""
    from tfgen.training.cluster import LAUNCHER
    from tfgen.training.ray_training import Command

    place = ["--run-dir", str(run_dir)]
    first = [*words, *place, "--strategy", _STRATEGY]
    again = [config.family, "--resume", *place]
    environment = {LAUNCHER: shlex.join(flags)}
    if sys.stdout.isatty():
        # The chief's progress bar is drawn for this terminal.
        environment |= {"FORCE_COLOR": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    return Command(
        f"{__package__}.train",
        first,
        # With --resume, the first arguments may ask for more epochs than the saved ones.
        first if config.options.resume else [*again, "--strategy", _STRATEGY],
        run_dir,
        Path.cwd(),
        environment,
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _show(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()
