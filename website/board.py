"""Writes the board, minutes of training to a quality, into docs/performance.md.

python -m website.board

It reads the evaluations and logs in the folders of `docs/`. A faster training takes the row of its
instruction set once both are there.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tfgen import registry
from tfgen.publishing.listing import changed_settings
from tfgen.system.machine import INSTRUCTION_SETS
from website.presets import replace_table

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = DOCS / "performance.md"


class Goal(NamedTuple):
    """A quality on the test images of MNIST.

    Attributes:
        unit: what the value is measured in.
        value: the quality in an evaluation; None if it is not in it. Less is better.
        bound: the value to reach.
        digits: digits after the point.
    """

    unit: str
    value: Callable[[dict[str, Any]], float | None]
    bound: float
    digits: int


def _nll(evaluation: dict[str, Any]) -> float | None:
    likelihood = evaluation.get("likelihood", {})
    return None if "bits_per_dim" in likelihood else likelihood.get("nll")


GOALS = (
    Goal("FID", lambda evaluation: evaluation["samples"]["fid"], 0.5, 2),
    Goal("nats", _nll, 90, 1),
    Goal("nats", _nll, 80, 1),
    Goal("bits/dim", lambda evaluation: evaluation.get("likelihood", {}).get("bits_per_dim"), 1, 3),
)


class Entry(NamedTuple):
    """An evaluation of a run from random weights, and the minutes of training that led to it."""

    evaluation: dict[str, Any]
    epochs: int
    minutes: float

    @property
    def command(self) -> str:
        """The command of the training."""
        settings = self.evaluation["settings"]
        family, options = self.evaluation["family"], settings["options"]
        changed = changed_settings({"family": family, **settings})
        if self.epochs != registry.family(family).preset(options["preset"]).epochs:
            changed["epochs"] = self.epochs
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
        return " ".join(["tfgen-train", family, "--preset", options["preset"], *flags])

    @property
    def instruction_set(self) -> str:
        """That of the training's processor; "" where it was not recorded."""
        return str(self.evaluation["cost"].get("instruction_set", ""))


def entries() -> Iterator[Entry]:
    """The evaluations on MNIST, in `docs/`, of runs whose logs are there and begin at random."""
    for path in DOCS.glob("*/*.json"):
        log = path.with_name("metrics.jsonl")
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        if "samples" not in evaluation or not log.exists():
            continue
        started = evaluation["settings"]["options"].get("start_from")
        if started or evaluation["dataset"]["name"] != "mnist":
            continue
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        *_, last = evaluation["weights"].split()
        epochs = int(last) if last.isdigit() else len(rows)
        yield Entry(evaluation, epochs, sum(row["seconds"] for row in rows[:epochs]) / 60)


def fastest_trainings(reaching: list[tuple[float, Entry]]) -> list[tuple[float, Entry]]:
    """The fastest training, and before it, the fastest ones with slower instruction sets."""
    rank = list(INSTRUCTION_SETS).index
    fastest: list[tuple[float, Entry]] = []
    for value, entry in sorted(reaching, key=lambda pair: pair[1].minutes):
        if not fastest or rank(entry.instruction_set) < rank(fastest[0][1].instruction_set):
            fastest.insert(0, (value, entry))
    return fastest


def rows_of(goal: Goal, known: list[Entry]) -> Iterator[str]:
    """The rows of each family: the fastest trainings to the goal, or else the nearest one."""
    bound = f"{goal.bound:.{goal.digits}f} {goal.unit}"
    for family in registry.names():
        values = [
            (value, entry)
            for entry in known
            if entry.evaluation["family"] == family
            and (value := goal.value(entry.evaluation)) is not None
        ]
        fastest = fastest_trainings([pair for pair in values if pair[0] <= goal.bound])
        nearest = [] if fastest or not values else [min(values, key=lambda pair: pair[0])]
        for value, entry in fastest or nearest:
            minutes = f"**{entry.minutes:.1f}**" if fastest else f"not in {entry.minutes:.0f}"
            reached = f"{value:.{goal.digits}f}"
            cells = [bound, minutes, reached, f"`{entry.command}`", entry.instruction_set]
            yield f"| {' | '.join(cells)} |"


def table() -> str:
    """The board, as a Markdown table."""
    known = list(entries())
    rows = ["| goal | minutes | reached | training | instruction set |", "|---|---:|---:|---|---|"]
    rows += [row for goal in GOALS for row in rows_of(goal, known)]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Replace the board in docs/performance.md."""
    replace_table(DOCUMENT, "website.board", table())


if __name__ == "__main__":
    main()
