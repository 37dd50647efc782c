"""The closing table of the source report, next to the same networks in tfgen, and its claims.

    python examples/closing_table.py docs/evaluations/*.json --out closing-table.md

Takes what `tfgen-evaluate` wrote for runs of the presets `mlp`, of one seed or several. The claims
are about the report's networks, trained as in the report and judged on MNIST.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow_probability as tfp

from tfgen import registry
from tfgen.errors import TfgenError, UsageError
from tfgen.evaluation.distances import Estimate
from tfgen.evaluation.metrics import METRICS, Metric, format_number
from tfgen.evaluation.reading import (
    Evaluation,
    Group,
    Measurement,
    group_evaluations,
    is_finished,
    read_evaluation,
)
from tfgen.evaluation.tables import ERRORS, cell_text
from tfgen.publishing.listing import changed_settings
from tfgen.system.atomic import write_bytes

# Fingerprint of MNIST, which the report's networks were trained and judged on.
MNIST = "1bd51719028adab285039dd44ce659a257efd0ce7701d2e49954a57d6c1eaebb"
# The preset that all networks of the report have, and its families as it writes them, in the order
# of the columns.
PRESET, NAMES = "mlp", {"vae": "VAE", "gan": "GAN", "flow": "flow"}
WORDS = {1: "holds", 0: "is within error", -1: "is reversed"}
CONFIDENCE = 0.95


class Claim(NamedTuple):
    """An order of the families that the source report asserts.

    Attributes:
        topic: what it is about.
        order: families, the one with the most of it first.
        part: of the evaluation that has the metric that decides.
        key: of this metric.
        by: what the claim is measured by.
        sign: 1 if more of the metric is more of what is claimed, −1 if it is less.
    """

    topic: str
    order: tuple[str, ...]
    part: str
    key: str
    by: str
    sign: int


EPOCHS, COVERING = "seconds per epoch", ("flow", "vae", "gan")
CLAIMS = (
    Claim("image quality", ("gan", "flow", "vae"), "samples", "fid", "FID", -1),
    Claim("cost of an epoch", ("gan", "flow", "vae"), "cost", "seconds_an_epoch", EPOCHS, 1),
    Claim("coverage", COVERING, "samples", "recall", "recall", 1),
    Claim("coverage", COVERING, "samples", "coverage", "coverage", 1),
)
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
        group.first["family"]: group
        for group in sorted(all_groups, key=is_reported)
        if group.first["preset"] == PRESET
    }
    groups = [by_family.get(family) for family in NAMES]
    names = [family if family not in by_family else name_of(by_family[family]) for family in NAMES]
    lines = [f"| quantity | source | {' | '.join(names)} |", "|---|---|---:|---:|---:|"]
    lines += [f"| {what} | {by} | {' | '.join(cells)} |" for what, by, cells in rows(groups)]
    reported = [group for group in all_groups if is_reported(group)]
    claims = ["| claim of the report | measured by | verdict | pair by pair |", "|---|---|---|---|"]
    for claim in CLAIMS:
        verdict, pairs = decide(claim, reported)
        text = f"{claim.topic}: {order_in_words(claim.order)}"
        claims.append(f"| {text} | {claim.by} | **{verdict}** | {pairs or '–'} |")
    return "\n".join([*lines, "", ERRORS, "", *claims]) + "\n"


def name_of(group: Group) -> str:
    """Family and preset, and in brackets what differs from it."""
    first = group.first
    notes = ["changed"] * (not follows_preset(group)) + ["unfinished"] * (not is_finished(first))
    return f"{first['family']} {first['preset']}" + (f" ({', '.join(notes)})" if notes else "")


def is_reported(group: Group) -> bool:
    """Whether a group is of the report's networks, trained as in the report and judged on MNIST."""
    first = group.first
    own = first["family"] in NAMES and first["preset"] == PRESET and follows_preset(group)
    return own and is_finished(first) and group.measurement.dataset == MNIST


def follows_preset(group: Group) -> bool:
    """Whether model and training are as the preset says."""
    first, options = group.first, group.first["settings"]["options"]
    preset = registry.family(first["family"]).presets[first["preset"]]
    deciding = {*preset.model.to_json(), *preset.training(), "train_on", "start_from"}
    changed = changed_settings({"family": first["family"], **first["settings"]})
    return deciding.isdisjoint(changed) and options.get("epochs") in (None, preset.epochs)


def decide(claim: Claim, groups: Sequence[Group]) -> tuple[str, str]:
    """The verdict on a claim, and what was decided of each pair of families.

    A pair is decided if the 95 % confidence interval of the difference of its means lacks 0, by
    Student's t with Welch's degrees of freedom (Welch 1947). A claim is borne out if all pairs are
    decided in its order, not borne out if a pair is decided in the opposite order, and within error
    otherwise.

    There is no verdict if a family is missing, has a single seed, or is in two rows; nor on times
    of machines that differ or are unknown.

    Args:
        claim: of the report.
        groups: of the report's networks, measured alike.
    """
    by_family = {group.first["family"]: group for group in groups}
    known = {
        family: statistic
        for family, group in by_family.items()
        if (statistic := group.statistic(metric(claim.part, claim.key))) is not None
    }
    machines = {
        (evaluation["cost"].get("processor"), evaluation["cost"].get("cores"))
        for group in groups
        for evaluation in group.evaluations
    }
    if len(by_family) < len(groups):
        return "undecided: a family is in two rows", ""
    if len(known) < len(claim.order):
        return "undecided: a value is missing", ""
    if any(len(group.members) < 2 for group in groups):
        return "undecided: a family has only one seed", ""
    if claim.part == "cost" and (len(machines) > 1 or None in machines.pop()):
        return "undecided: the machines differ or are unknown", ""
    signs, words = [], []
    for first, second in itertools.combinations(claim.order, 2):
        difference = claim.sign * (known[first].value - known[second].value)
        error = half_interval(
            *((known[family].error, len(by_family[family].members)) for family in (first, second))
        )
        signs.append(0 if abs(difference) <= error else int(math.copysign(1, difference)))
        words.append(f"{order_in_words((first, second))} {WORDS[signs[-1]]}")
    verdicts = {1: "borne out", 0: "within error", -1: "not borne out"}
    return verdicts[min(signs)], ", ".join(words)


def half_interval(*samples: tuple[float, int]) -> float:
    """Half the confidence interval of the difference of two means, by Welch's t.

    Args:
        samples: for each mean its standard deviation and the number of seeds.
    """
    squares = [deviation**2 / n for deviation, n in samples]
    if not any(squares):
        return 0.0
    freedom = sum(squares) ** 2 / sum(
        square**2 / (n - 1) for square, (_, n) in zip(squares, samples, strict=True)
    )
    t = tfp.distributions.StudentT(freedom, 0.0, 1.0).quantile((1 + CONFIDENCE) / 2)
    return float(t) * math.sqrt(sum(squares))


def order_in_words(families: Sequence[str]) -> str:
    """Families in a claimed order, such as "GAN > flow"."""
    return " > ".join(NAMES[family] for family in families)


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
    # Nats of bytes are in the rows of bits/dim.
    of_pixels = [
        None if group and "bits_per_dim" in group.first.get("likelihood", {}) else group
        for group in groups
    ]
    nll = measured(of_pixels, "likelihood", "nll", 4)
    one_draw = measured(groups, "likelihood", "bits_per_dim_one_draw", 4)
    several_draws = measured(groups, "likelihood", "bits_per_dim", 4)
    inception = "Lucic et al. 2018: VAE, NS GAN; Inception features, best of a search"
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
        *(
            (what, "tfgen", tuple("–" if group is None else text(group) for group in groups))
            for what, text in (
                ("seeds", seeds),
                ("minutes of training, all seeds", minutes),
                ("machine", machine),
            )
        ),
    ]


def statistics(groups: Groups, part: str, name: str) -> list[Estimate | None]:
    """A metric of each family; None if it was not measured."""
    return [None if group is None else group.statistic(metric(part, name)) for group in groups]


def metric(part: str, key: str) -> Metric:
    """The metric of that key in a part of an evaluation, which may be one without a column."""
    declared = (metric for metric in METRICS if (metric.part, metric.key) == (part, key))
    return next(declared, Metric(part, key, key, ""))


def measured(groups: Groups, part: str, name: str, digits: int = 3) -> Cells:
    """Means over seeds, and their errors."""
    values = statistics(groups, part, name)
    return tuple("–" if value is None else cell_text(*value, digits) for value in values)


def ranked(groups: Groups, name: str, lower_is_better: bool = False) -> Cells:
    """A metric of samples, and the rank of its mean in brackets, 1 for the best."""
    values = statistics(groups, "samples", name)
    means = [mean.value for mean in values if mean is not None]
    order = sorted(means, reverse=not lower_is_better)
    return tuple(
        text if mean is None else f"{text} ({order.index(mean.value) + 1})"
        for text, mean in zip(measured(groups, "samples", name), values, strict=True)
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
