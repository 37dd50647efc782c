"""The run directory: its name, its files, its lock, its log of metrics."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.settings.fields import flag_of
from tfgen.settings.training import RESUMABLE, RunConfig, TrainingOptions
from tfgen.system.atomic import locked, read_json, write_bytes
from tfgen.system.status import note
from tfgen.system.terminal import count_noun

# Parent of the run directories that are not set by --run-dir.
RUNS = Path("runs")


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the run directory; it need not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.schedule = path / "schedule.jsonl"
        self.evaluation = path / "evaluation.json"
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"
        self.tensorboard = path / "tensorboard"

    def samples(self, epoch: int) -> Path:
        """The picture of samples after that many epochs, the last one that an epoch draws."""
        return self.figures / f"samples-{epoch}.png"

    def read_config(self) -> dict[str, Any]:
        """What `write_config` wrote.

        Raises:
            UsageError: the folder is no run directory.
            WorkError: config.json is damaged.
        """
        if not self.config.is_file():
            raise UsageError(f"{self.path} is not a run directory: it has no config.json")
        try:
            data: dict[str, Any] = read_json(self.config)
            if not {"family", "model", "options"} <= data.keys():
                raise ValueError("it lacks family, model or options")
            return data
        except (ValueError, AttributeError) as error:
            raise WorkError(f"{self.config} is damaged: {error}") from error

    def create(self) -> None:
        """Create the folder.

        Raises:
            UsageError: it is not empty, is a file, or cannot be created.
        """
        if self.config.exists():
            raise UsageError(f"run directory {self.path} holds a run; pass --resume to continue it")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"run directory {self.path} cannot be used ({error.strerror}); choose another"
            raise UsageError(text) from error
        if any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise UsageError(f"run directory {self.path} is not empty; choose another --run-dir")

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the run belongs to this process alone.

        Raises:
            UsageError: another process uses the run, or the folder is not writable.
        """
        return locked(self.path, f"run directory {self.path}", "choose another --run-dir")

    def write_config(self, data: Mapping[str, Any]) -> None:
        """Write `config.json`, whole or not at all."""
        write_bytes(self.config, (json.dumps(data, indent=2) + "\n").encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: the number of an epoch, and further numbers."""
        return read_lines(self.metrics, {"epoch"})

    def read_cost(self) -> dict[str, Any]:
        """Cost of the training, from its log: epochs, time, memory, machine.

        Raises:
            UsageError: the folder is no run directory.
            WorkError: config.json is damaged.
        """
        rows, cost = self.read_metrics(), dict[str, Any]()
        if seconds := [float(row["seconds"]) for row in rows if "seconds" in row]:
            cost["epochs"], cost["seconds_an_epoch"] = len(seconds), median(seconds)
            cost["seconds"] = round(sum(seconds), 1)
        if memory := [float(row["peak_mib"]) for row in rows if "peak_mib" in row]:
            cost["peak_mib"] = max(memory)
        machine = self.read_config().get("machine", {})
        names = ("processor", "instruction_set", "cores", "gpus")
        return cost | {name: machine[name] for name in names if machine.get(name)}

    def read_record(self) -> dict[str, Any]:
        """What a published version repeats of its run: config.json, the epochs done, and the cost.

        Raises:
            UsageError: the folder is no run directory.
            WorkError: config.json is damaged.
        """
        done = max((row["epoch"] for row in self.read_metrics()), default=0)
        return {**self.read_config(), "epochs_done": done, "cost": self.read_cost()}

    def read_evaluation(self, weights_sha256: str) -> dict[str, Any] | None:
        """The evaluation of exactly these weights; None if there is none.

        Args:
            weights_sha256: SHA-256 of the weights, in hexadecimal.

        Raises:
            WorkError: evaluation.json is damaged.
        """
        if not self.evaluation.is_file():
            return None
        try:
            evaluation: dict[str, Any] = read_json(self.evaluation)
            return evaluation if evaluation["weights_sha256"] == weights_sha256 else None
        except (ValueError, KeyError, TypeError) as error:
            raise WorkError(f"{self.evaluation} is damaged: {error}; remove it") from error

    def truncate_metrics(self, epochs: int) -> None:
        """Remove damaged lines and those after that epoch, which the run writes again."""
        lines = [json.dumps(row) + "\n" for row in self.read_metrics() if row["epoch"] <= epochs]
        if self.metrics.exists():
            write_bytes(self.metrics, "".join(lines).encode())


def read_lines(path: Path, names: Collection[str]) -> list[dict[str, Any]]:
    """The tables of numbers in the lines of a file; none if there is no such file.

    A line that is damaged, or that a kill cut, is left out. The number of these lines is told, once
    for each file.

    Args:
        path: the file.
        names: the numbers that a table has in any case.
    """
    rows, damaged = [], 0
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            is_whole = row.keys() >= set(names)
            is_whole = is_whole and all(isinstance(value, int | float) for value in row.values())
        except (ValueError, AttributeError, RecursionError):  # it is no JSON, or no table
            is_whole = False
        if is_whole:
            rows.append(row)
        else:
            damaged += 1
    if damaged:
        _tell_damage(path, damaged)
    return rows


@functools.cache
def _tell_damage(path: Path, lines: int) -> None:
    verb = "was" if lines == 1 else "were"
    note(f"{count_noun(lines, 'damaged line')} of {path} {verb} left out")


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Add a table as a line to a file that `read_lines` reads."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def run_name(config: RunConfig) -> str:
    """The name of the run and of its published sampler."""
    default = registry.default_name(config.family, config.options.dataset, config.model)
    return default if config.options.name is None else config.options.name


def run_path(config: RunConfig) -> Path:
    """The run directory: `--run-dir`, or a new one named after model and time."""
    if config.options.run_dir is not None:
        return config.options.run_dir
    return RUNS / f"{run_name(config)}-{time.strftime('%Y%m%d-%H%M%S')}"


def newest_run(family: str) -> Path:
    """The run directory of that family in `runs` that was started or resumed last.

    Raises:
        UsageError: there is none.
        WorkError: a config.json is damaged.
    """
    runs = [RunFolder(path.parent) for path in RUNS.glob("*/config.json")]
    runs = [run for run in runs if run.read_config()["family"] == family]
    if not runs:
        raise UsageError(f"{RUNS} has no run of {family} to resume; name it with --run-dir")
    return max(runs, key=lambda run: run.config.stat().st_mtime).path


def saved_config(path: Path) -> RunConfig:
    """The configuration in a run directory.

    Raises:
        UsageError: the folder is no run directory, or its family is not installed.
        WorkError: its configuration is damaged.
    """
    data = RunFolder(path).read_config()
    entry = registry.family(str(data["family"]))
    try:
        model = entry.config.from_json(data["model"])
        return RunConfig(entry.name, model, TrainingOptions.from_json(data["options"]))
    except (UsageError, TypeError, AttributeError) as error:
        raise WorkError(f"{path / 'config.json'} is damaged: {error}") from error


def check_resumable(saved: RunConfig, asked: RunConfig) -> None:
    """Refuse to resume with settings that would change what the run computes.

    Args:
        saved: the run's configuration.
        asked: the configuration to resume it with.

    Raises:
        UsageError: a setting differs.
    """
    if saved.family != asked.family:
        text = f"{asked.options.run_dir} is a run of {saved.family}"
        raise UsageError(f"{text}, not of {asked.family}; pass the model {saved.family}")
    for before, after in ((saved.model, asked.model), (saved.options, asked.options)):
        old, new = before.to_json(), after.to_json()
        for field in dataclasses.fields(before):
            name = field.name
            if name not in RESUMABLE and new[name] != old[name]:
                text = f"the run was started with {flag_of(field)} {old[name]}, not {new[name]}"
                raise UsageError(f"{text}; leave the flag out to resume")
