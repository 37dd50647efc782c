"""How `tfgen-train` runs in one of several processes that train together."""

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfgen import __version__, registry
from tfgen.settings.training import RESUMABLE, RunConfig, read_options
from tfgen.training.cluster import VARIABLE, Cluster, read_cluster
from tfgen.training.crew import Crew, describe_difference

from ._command import report_end
from ._train_options import HELP, read_deciding_flags, saved_run

# Packages whose versions must be the same in all processes.
_PACKAGES = ("tensorflow", "keras")
# What is resumed differs between the processes only where it belongs to the chief or to a machine.
_OF_ONE_PROCESS = {*RESUMABLE, "start_from"} - {"epochs", "resume", "strategy"}


class Welcome(NamedTuple):
    """What the chief tells the others first.

    Attributes:
        saved: the configuration of the run to resume, or None for a new run.
        is_trained: whether there is nothing left to train.
    """

    saved: RunConfig | None
    is_trained: bool


def cluster_of(argv: list[str]) -> Cluster | None:
    """The processes that this one trains with; None if it trains alone.

    With --resume, the strategy is that of the run, which only the chief can read. The others then
    go by TF_CONFIG.

    Raises:
        UsageError: the arguments or TF_CONFIG are wrong.
    """
    flags = read_deciding_flags(argv)
    if flags.model is None or flags.dry_run or HELP & set(argv):
        return None
    strategy = flags.strategy
    if strategy is None and flags.resume and os.environ.get(VARIABLE):
        strategy = "multiworker"
        if read_cluster().task.is_chief:
            family = registry.family(flags.model).name
            strategy = saved_run(family, flags.run_dir).options.strategy
    if strategy != "multiworker":
        return None
    cluster = read_cluster()
    return cluster if len(cluster.tasks) > 1 else None


def start_crew(prog: str, cluster: Cluster) -> Crew:
    """This process as one of the cluster; the first of its threads is started here."""
    # TensorFlow's messages about a process that has ended would surround the one line about it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    terminal = os.dup(2)  # while TensorFlow is imported, its messages are held back
    return Crew(cluster, lambda text, is_error: report_end(prog, text, is_error, terminal))


def gather(crew: Crew, config: RunConfig, welcome: Welcome, minutes: float) -> None:
    """Waits in the chief for the others, and compares their settings.

    Raises:
        UsageError: a process does not belong to this training.
        WorkError: not all came in time.
    """
    saved = None if welcome.saved is None else welcome.saved.to_json()
    message = {"saved": saved, "is_trained": welcome.is_trained, "resumes": config.options.resume}
    crew.gather(_versions(), minutes, _say, message)
    if not welcome.is_trained:
        compare(crew, config)


def join(crew: Crew, resumes: bool, minutes: float) -> Welcome:
    """Connects to the chief and waits for the others.

    Raises:
        UsageError: this process does not belong to the training of that chief.
        WorkError: the chief did not come in time.
    """
    message = crew.join(_versions(), minutes, _say)
    saved = message.get("saved")
    if saved is not None:
        entry = registry.family(str(saved["family"]))
        saved = RunConfig(
            entry.name, entry.config.from_json(saved["model"]), read_options(saved["options"])
        )
    if resumes != message.get("resumes"):
        crew.compare("config", {"resume": resumes}, lambda *_: "")
        crew.receive("compared")  # the chief ends all
    return Welcome(saved, bool(message.get("is_trained")))


def compare(crew: Crew, config: RunConfig) -> None:
    """Ends all processes if one has other settings than the chief.

    Raises:
        UsageError: a worker has other settings; in the chief.
    """
    settings = _settings(config)
    crew.compare(
        "config", settings, lambda task, theirs: describe_difference(task, theirs, settings)
    )


def _settings(config: RunConfig) -> dict[str, Any]:
    data = config.to_json()
    options: Mapping[str, Any] = data["options"]
    return {
        "model": data["family"],
        **{name: value for name, value in options.items() if name not in _OF_ONE_PROCESS},
        **data["model"],
        "preset_epochs": list(config.preset_epochs),
    }


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"tfgen": __version__, **versions}


def _say(text: str) -> None:
    # The newline in the same string, hence in the same write even where Python does not buffer:
    # the thread that reports an early end may print between two writes.
    print(f"{text}\n", end="", flush=True)
