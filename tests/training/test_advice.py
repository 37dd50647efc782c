"""The advice on minutes: larger images take longer, more steps give no worse samples."""

import re

from tfgen.training import advice


def rows(
    shape: tuple[int, int, int], minutes: float, slower: float = 1.0
) -> dict[str, list[float]]:
    """Steps and FID by family."""
    _, *lines = advice.describe(shape, minutes, slower)
    numbers = (re.sub(r"steps|FID|,", "", line).split() for line in lines)
    return {family: [float(steps), float(fid)] for family, steps, fid in numbers}


def test_advice_follows_the_minutes_the_size_and_the_machine() -> None:
    few, many = rows((32, 32, 3), 2), rows((32, 32, 3), 20)
    assert few.keys() == {"vae", "gan", "flow", "flow-matching"}
    for family, (steps, fid) in few.items():
        assert many[family][0] > 5 * steps and 1 < many[family][1] <= fid
        assert rows((64, 64, 1), 2)[family][0] < steps
        assert abs(rows((32, 32, 3), 2, slower=2.0)[family][0] - steps / 2) <= 1
    assert 5 <= advice.minutes_for((32, 32, 1)) < advice.minutes_for((128, 128, 3))


def test_few_steps_are_told_with_a_faster_family_if_there_is_one() -> None:
    assert advice.few_steps("flow-matching", (32, 32, 3), 5000, 0.1) == ""
    assert "90" in advice.few_steps("", (32, 32, 3), 90, 4.0)
    assert "gan" not in advice.few_steps("gan", (32, 32, 3), 90, 4.0)
