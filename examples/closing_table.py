"""The closing table of the source report, next to the same networks in tfgen.

    python examples/closing_table.py docs/evaluations/*.json --out closing-table.md

Takes what `tfgen-evaluate` wrote for runs of the presets `mlp`, of one seed or several.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from tfgen.errors import TfgenError, UsageError
from tfgen.evaluation.claims import CLAIMS, NAMES, REPORTED_PRESET, decide, is_reported
from tfgen.evaluation.groups import Group, Measurement, Statistic, group_evaluations
from tfgen.evaluation.reading import Evaluation, read_evaluation
from tfgen.evaluation.tables import ERRORS, cell_text, claims_table, format_number
from tfgen.system.atomic import write_bytes

# The families, in the order of the columns.
FAMILIES = tuple(NAMES)
Cells = tuple[str, ...]
Groups = Sequence[Group | None]

# Values that are not measured here, in the order of the columns. "Other solutions" are further
# solutions of the report's assignment, with the same networks. Lucic et al. 2018 have other
# networks and take the features of FID from Inception, so their values do not compare with these.
TRAINING = ("324, 40 epochs", "5048, 200 epochs", "492, 40 epochs")
EPOCH = ("8.1", "25.2", "12.3")
QUALITY, COVERAGE = ("3", "1", "2"), ("2", "3", "1")
INCEPTION = ("23.8", "6.8 ± 0.5", "–")
SOLUTIONS_ELBO, SOLUTIONS_BITS = ("101.6 to 101.9", "–", "–"), ("–", "–", "1.83")


def closing_table(evaluations: Sequence[Evaluation]) -> str:
    """The table, and the verdicts on the report's claims, as Markdown.

    Args:
        evaluations: of the report's networks, or of the same preset with changes if the report's
            own are not among them; others are left out.

    Raises:
        UsageError: the evaluations do not compare.
    """
    all_groups = group_evaluations(evaluations)
    check_measured_alike(all_groups)
    # The report's own networks come last, and so replace those with changes.
    by_family = {
        group.family: group
        for group in sorted(all_groups, key=is_reported)
        if group.preset == REPORTED_PRESET
    }
    groups = [by_family.get(family) for family in FAMILIES]
    names = (
        family if group is None else group.name
        for family, group in zip(FAMILIES, groups, strict=True)
    )
    lines = [f"| quantity | source | {' | '.join(names)} |", "|---|---|---:|---:|---:|"]
    lines += [f"| {what} | {by} | {' | '.join(cells)} |" for what, by, cells in rows(groups)]
    reported = [group for group in all_groups if is_reported(group)]
    claims = claims_table([decide(claim, reported) for claim in CLAIMS])
    return "\n".join(lines) + f"\n\n{ERRORS}\n\n{claims}\n"


def check_measured_alike(groups: Sequence[Group]) -> None:
    """Refuse evaluations that do not compare: the table has one row for all of them.

    Raises:
        UsageError: the way in which they were measured differs.
    """
    for name in Measurement._fields:
        values = {getattr(group.measurement, name) for group in groups} - {None}
        if len(values) > 1:
            raise UsageError(f"the evaluations do not compare: {name} differs; evaluate them alike")


def rows(groups: Groups) -> list[tuple[str, str, Cells]]:
    """The rows of the table: what was measured, by whom, and a cell for each family."""
    elbo = measured(groups, "likelihood", "negative_elbo", 4)
    nll = measured(groups, "likelihood", "nll", 4)
    one_draw = measured(groups, "likelihood", "bits_per_dim_one_draw", 4)
    several_draws = measured(groups, "likelihood", "bits_per_dim", 4)
    inception = "Lucic et al. 2018, Inception features, best of a search"
    return [
        ("training [s]", "the report", TRAINING),
        ("", "tfgen", measured(groups, "cost", "seconds")),
        ("one epoch [s]", "the report", EPOCH),
        ("", "tfgen, median", measured(groups, "cost", "seconds_an_epoch")),
        ("image quality, rank", "the report, by eye", QUALITY),
        ("image quality, FID (rank)", "tfgen", ranked(groups, "fid", lower_is_better=True)),
        ("", inception, INCEPTION),
        ("coverage of the data, rank", "the report, by theory", COVERAGE),
        ("coverage of the data, recall (rank)", "tfgen", ranked(groups, "recall")),
        ("coverage of the data, coverage (rank)", "tfgen", ranked(groups, "coverage")),
        ("−ELBO [nats]", "other solutions, validation, static binarization", SOLUTIONS_ELBO),
        ("", "tfgen, test, dynamic binarization", elbo),
        ("NLL [nats]", "tfgen, test, dynamic binarization", nll),
        ("bits/dim", "other solutions, validation, one dequantization draw", SOLUTIONS_BITS),
        ("", "tfgen, test, one draw", one_draw),
        ("", "tfgen, test, several draws", several_draws),
        ("seeds", "tfgen", for_each_family(groups, seeds)),
        ("minutes of training, all seeds", "tfgen", for_each_family(groups, minutes)),
        ("machine", "tfgen", for_each_family(groups, machine)),
    ]


def for_each_family(groups: Groups, text: Callable[[Group], str]) -> Cells:
    """A cell for each family; a dash if there is no evaluation of its networks."""
    return tuple("–" if group is None else text(group) for group in groups)


def statistics(groups: Groups, part: str, name: str) -> list[Statistic | None]:
    """A metric of each family; None if it was not measured."""
    return [None if group is None else group.statistic((part, name)) for group in groups]


def measured(groups: Groups, part: str, name: str, digits: int = 3) -> Cells:
    """Means over seeds, and their errors."""
    values = statistics(groups, part, name)
    return tuple(
        "–" if value is None else cell_text((value.mean, value.error), digits) for value in values
    )


def ranked(groups: Groups, name: str, lower_is_better: bool = False) -> Cells:
    """A metric of samples, and the rank of its mean in brackets, 1 for the best."""
    values = statistics(groups, "samples", name)
    means = [value.mean for value in values if value is not None]
    order = sorted(means, reverse=not lower_is_better)
    return tuple(
        text if value is None else f"{text} ({order.index(value.mean) + 1})"
        for text, value in zip(measured(groups, "samples", name), values, strict=True)
    )


def seeds(group: Group) -> str:
    """The seeds of the trainings."""
    return ", ".join(str(evaluation["seed"]) for evaluation in group.evaluations)


def minutes(group: Group) -> str:
    """Minutes of training over all seeds; a dash if the time of a training is unknown."""
    seconds = [evaluation["cost"].get("seconds", math.nan) for evaluation in group.evaluations]
    total = sum(seconds) / 60
    return format_number(total, 3) if math.isfinite(total) else "–"


def machine(group: Group) -> str:
    """Processors and cores of all trainings."""
    costs = [evaluation["cost"] for evaluation in group.evaluations]
    machines = {
        f"{cost['processor']}, {cost['cores']} cores" for cost in costs if cost.get("processor")
    }
    return "; ".join(sorted(machines)) or "–"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it to `--out`."""
    parser = argparse.ArgumentParser(
        description="The closing table of the source report, from what tfgen-evaluate wrote."
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
