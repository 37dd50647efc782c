"""The claims of the source report about its families, and the verdicts on them.

No TensorFlow here.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfgen.evaluation.groups import Group

# Fingerprint of MNIST, which the report's networks were trained and judged on.
MNIST = "1bd51719028adab285039dd44ce659a257efd0ce7701d2e49954a57d6c1eaebb"
# The preset that all networks of the report have.
REPORTED_PRESET = "mlp"
# The report's families, as it writes them.
NAMES = {"vae": "VAE", "gan": "GAN", "flow": "flow"}
_WORDS = {1: "holds", 0: "is within error", -1: "is reversed"}


@dataclass(frozen=True)
class Claim:
    """An order of the families that the source report asserts.

    Attributes:
        topic: what it is about.
        order: families, the one with the most of it first.
        path: of the metric that decides.
        metric: its name.
        sign: 1 if more of the metric is more of what is claimed, −1 if it is less.
    """

    topic: str
    order: tuple[str, ...]
    path: tuple[str, ...]
    metric: str
    sign: int

    @property
    def text(self) -> str:
        """The claim in words."""
        return f"{self.topic}: {order_in_words(self.order)}"


CLAIMS = (
    Claim("image quality", ("gan", "flow", "vae"), ("samples", "fid"), "FID", -1),
    Claim(
        "cost of an epoch",
        ("gan", "flow", "vae"),
        ("cost", "seconds_an_epoch"),
        "seconds per epoch",
        1,
    ),
    Claim("coverage", ("flow", "vae", "gan"), ("samples", "recall"), "recall", 1),
    Claim("coverage", ("flow", "vae", "gan"), ("samples", "coverage"), "coverage", 1),
)


def is_reported(group: Group) -> bool:
    """Whether a group is of the report's networks, trained as in the report and judged on MNIST."""
    own = group.family in NAMES and group.preset == REPORTED_PRESET
    return own and group.follows_preset and group.finished and group.measurement.dataset == MNIST


def decide(claim: Claim, groups: Sequence[Group]) -> dict[str, Any]:
    """The verdict on a claim, for JSON.

    A pair of families is decided if their means differ by more than the pair's error, the root of
    the sum of both squared standard deviations over seeds. A claim is borne out if all pairs of its
    order are decided in this order, not borne out if a pair is decided in the opposite order, and
    within error otherwise.

    There is no verdict if a family is missing, has a single seed, or is in two rows; nor on metrics
    that were measured differently, or on times of machines that differ or are unknown.

    Args:
        claim: of the report.
        groups: of the report's networks.
    """
    claimed = [group for group in groups if group.family in claim.order]
    by_family = {group.family: group for group in claimed}
    statistics = {
        family: by_family[family].statistic(claim.path) if family in by_family else None
        for family in claim.order
    }
    decision: dict[str, Any] = {
        "claim": claim.text,
        "by": claim.metric,
        "figures": {
            family: None if statistic is None else [statistic.mean, statistic.error]
            for family, statistic in statistics.items()
        },
        "seeds": {family: len(group.evaluations) for family, group in by_family.items()},
        "pairs": [],
    }
    known = [item for item in statistics.values() if item is not None and math.isfinite(item.mean)]
    if (reason := _reason_against(claim, claimed, len(known))) is not None:
        return {**decision, "verdict": f"undecided: {reason}"}
    ordered = zip(claim.order, known, strict=True)
    for (first, first_value), (second, second_value) in itertools.combinations(ordered, 2):
        difference = claim.sign * (first_value.mean - second_value.mean)
        error = math.hypot(first_value.error, second_value.error)
        holds = 0 if abs(difference) <= error else math.copysign(1, difference)
        pair = {"pair": [first, second], "difference": difference, "error": error, "holds": holds}
        decision["pairs"].append(pair)
    signs = [pair["holds"] for pair in decision["pairs"]]
    verdict = (
        "borne out" if min(signs) > 0 else "not borne out" if min(signs) < 0 else "within error"
    )
    return {**decision, "verdict": verdict}


def _reason_against(claim: Claim, groups: Sequence[Group], known: int) -> str | None:
    """Why there is no verdict; None if there is one.

    Args:
        claim: of the report.
        groups: of its families.
        known: number of families with a finite value of the metric.
    """
    families = [group.family for group in groups]
    if several := [name for name in claim.order if families.count(name) > 1]:
        return f"two rows are of the {NAMES.get(several[0], several[0])}"
    if known < len(claim.order):
        return "a value is missing"
    ways = {
        (group.measurement.split, group.measurement.n, group.measurement.features)
        for group in groups
    }
    if claim.path[0] == "samples" and len(ways) > 1:
        return "the samples were measured in different ways"
    if any(len(group.evaluations) < 2 for group in groups):
        return "a family has only one seed"
    costs = [evaluation["cost"] for group in groups for evaluation in group.evaluations]
    machines = {(cost.get("processor"), cost.get("cores")) for cost in costs}
    if claim.path[0] == "cost" and len(machines) > 1:
        return "the machines differ"
    if claim.path[0] == "cost" and None in machines.pop():
        return "the machine is unknown"
    return None


def order_in_words(families: Sequence[str]) -> str:
    """Families in a claimed order, such as "GAN > flow"."""
    return " > ".join(NAMES.get(family, family) for family in families)


def pairs_in_words(decision: Mapping[str, Any]) -> str:
    """What was decided of each pair; empty if there is no verdict."""
    return ", ".join(
        f"{order_in_words(pair['pair'])} {_WORDS[pair['holds']]}" for pair in decision["pairs"]
    )
