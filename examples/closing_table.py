"""The source report's closing table: its values, those measured of the same networks, and others'.

    python examples/closing_table.py docs/evaluations/*.json --out closing-table.md

Takes what `tfgen-evaluate` wrote of runs of the presets `mlp`, of one seed or several.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgen.errors import TfgenError
from tfgen.evaluation.compare import ERRORS, answer, cell, compare, number
from tfgen.evaluation.groups import REPORTED, Figures, Group, grouped, read_evaluation
from tfgen.system.atomic import write_bytes

# A cell for each.
FAMILIES = ("vae", "gan", "flow")
Cells = tuple[str, ...]
Groups = Sequence[Group | None]

# What is not measured here. "Others" trained the report's networks; Lucic et al. 2018 have networks
# of their own and an FID by Inception, which does not compare with one by another classifier.
TRAINING = ("324, 40 epochs", "5048, 200 epochs", "492, 40 epochs")
EPOCH = ("8.1", "25.2", "12.3")
QUALITY, COVERAGE = ("3", "1", "2"), ("2", "3", "1")
INCEPTION = ("23.8", "6.8 ± 0.5", "–")
OTHERS_ELBO, OTHERS_BITS = ("101.6 to 101.9", "–", "–"), ("–", "–", "1.83")


def closing_table(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """The table and the answers to the report's claims, as Markdown.

    Args:
        evaluations: of a family's networks the report's own, or its preset as it was changed;
            others are left out.

    Raises:
        UsageError: they do not compare.
    """
    # The report's own come last, and so before what was changed in them.
    groups_there = sorted(grouped(evaluations), key=lambda group: group.reported)
    by_family = {group.family: group for group in groups_there if group.preset == REPORTED}
    groups = [by_family.get(family) for family in FAMILIES]
    rows = [
        ("training [s]", "the report", TRAINING),
        ("", "tfgen", measured(groups, "cost", "seconds")),
        ("an epoch [s]", "the report", EPOCH),
        ("", "tfgen, median", measured(groups, "cost", "seconds_an_epoch")),
        ("image quality, rank", "the report, by eye", QUALITY),
        ("", "tfgen, FID and its rank", ranked(groups, "fid", least_first=True)),
        ("", "Lucic et al. 2018, FID by Inception, best of a search", INCEPTION),
        ("coverage of the data, rank", "the report, by theory", COVERAGE),
        ("", "tfgen, recall and its rank", ranked(groups, "recall")),
        ("", "tfgen, coverage and its rank", ranked(groups, "coverage")),
        ("−ELBO [nats]", "others, validation, static binarization", OTHERS_ELBO),
        (
            "",
            "tfgen, test, dynamic binarization",
            measured(groups, "likelihood", "negative_elbo", 4),
        ),
        ("NLL [nats]", "tfgen, the same", measured(groups, "likelihood", "nll", 4)),
        ("bits/dim", "others, validation, one dequantization", OTHERS_BITS),
        ("", "tfgen, test, one", measured(groups, "likelihood", "bits_per_dim_one_draw", 4)),
        ("", "tfgen, test, several", measured(groups, "likelihood", "bits_per_dim", 4)),
        ("seeds", "tfgen", told(groups, seeds)),
        ("minutes of training, all seeds", "tfgen", told(groups, minutes)),
        ("machine", "tfgen", told(groups, machine)),
    ]
    names = (
        family if group is None else group.name
        for family, group in zip(FAMILIES, groups, strict=True)
    )
    head = f"| | by | {' | '.join(names)} |\n|---|---|---:|---:|---:|"
    table = "\n".join(f"| {what} | {whose} | {' | '.join(cells)} |" for what, whose, cells in rows)
    found = compare(evaluations)["claims"]
    claims = "\n".join(f"- {claim['claim']}, by {claim['by']}: {answer(claim)}" for claim in found)
    return f"{head}\n{table}\n\n{ERRORS}\n\n{claims}\n"


def told(groups: Groups, tell: Callable[[Group], str]) -> Cells:
    """A cell for each family; a dash where none of its networks is there."""
    return tuple("–" if group is None else tell(group) for group in groups)


def figures(groups: Groups, part: str, name: str) -> list[Figures | None]:
    """A figure of each family; None where there is none."""
    return [None if group is None else group.figures((part, name)) for group in groups]


def measured(groups: Groups, part: str, name: str, digits: int = 3) -> Cells:
    """Means over seeds, and their errors."""
    found = figures(groups, part, name)
    return tuple("–" if each is None else cell((each.mean, each.spread), digits) for each in found)


def ranked(groups: Groups, name: str, least_first: bool = False) -> Cells:
    """What was measured of samples, and the places of the means, 1 for the best."""
    found = figures(groups, "samples", name)
    order = sorted((figure.mean for figure in found if figure is not None), reverse=not least_first)
    return tuple(
        text if figure is None else f"{text} ({order.index(figure.mean) + 1})"
        for text, figure in zip(measured(groups, "samples", name), found, strict=True)
    )


def seeds(group: Group) -> str:
    """The seeds of training."""
    return ", ".join(str(each["seed"]) for each in group.evaluations)


def minutes(group: Group) -> str:
    """Of training, all seeds together; a dash where a training's cost is not known."""
    total = sum(each["cost"].get("seconds", math.nan) for each in group.evaluations) / 60
    return number(total, 3) if math.isfinite(total) else "–"


def machine(group: Group) -> str:
    """Processors and cores of all trainings."""
    costs = [each["cost"] for each in group.evaluations]
    known = {
        f"{cost['processor']}, {cost['cores']} cores" for cost in costs if cost.get("processor")
    }
    return "; ".join(sorted(known)) or "–"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it where that is asked for."""
    parser = argparse.ArgumentParser(
        description="The report's closing table, of what tfgen-evaluate wrote."
    )
    parser.add_argument("what", metavar="RUN", nargs="+", help="run directory or JSON file")
    parser.add_argument("--out", type=Path, help="Markdown file to write as well")
    args = parser.parse_args(arguments)
    try:
        table = closing_table([read_evaluation(what, Path("saved_models")) for what in args.what])
        if args.out is not None:
            write_bytes(args.out, table.encode())
    except (TfgenError, OSError) as error:
        parser.error(str(error))
    print(table, end="")


if __name__ == "__main__":
    main()
