"""The contract of a family, as checks that pytest runs.

`tfgen.models.base.ImageModel` and `tfgen.models.generative.GenerativeModel` say what a family must
offer. These checks hold it to that. A package runs them on its family with a test file such as

    import pytest
    from tfgen import testing
    from tfgen_ppca.model import PPCA

    @pytest.mark.parametrize("check", testing.checks(PPCA))
    def test_contract(check, tmp_path):
        check(tmp_path)

If the models of `PPCA` are too large to train in a test, pass a function `make` in its place:
`make(seed=…, dtype=…, image_shape=…)` returns a small untrained model. Conditional models get
labels with their images.
"""

import functools
from collections.abc import Collection
from typing import Any

try:
    import pytest
except ImportError as error:
    raise ImportError("tfgen.testing needs pytest: pip install 'tfgen[test]'") from error

from tfgen.errors import UsageError
from tfgen.settings.fields import hint
from tfgen.testing import sampling, saving, training  # noqa: F401, each adds its checks
from tfgen.testing.contract import CHECKS as CHECKS
from tfgen.testing.contract import IMAGES as IMAGES
from tfgen.testing.contract import Check as Check
from tfgen.testing.contract import Make as Make
from tfgen.testing.contract import check as check
from tfgen.testing.contract import images_of as images_of


def checks(
    make: Make,
    *,
    generative: bool = True,
    only: Collection[str] | None = None,
    skip: Collection[str] = (),
) -> list[Any]:
    """The checks of a family, as arguments of `pytest.mark.parametrize`.

    Args:
        make: the model class, or a function of `seed`, `dtype` and `image_shape` that returns a
            small untrained model.
        generative: whether the models generate images.
        only: names of the checks to run; None: all.
        skip: names of checks to leave out.

    Returns:
        A `pytest.param` for each check, whose value is a function of an empty folder.

    Raises:
        UsageError: a name is unknown.
    """
    for name in (*(only or ()), *skip):
        if name not in CHECKS:
            raise UsageError(f"unknown check {name!r}{hint(name, CHECKS)}")
    return [
        pytest.param(functools.partial(entry.run, make), id=name)
        for name, entry in CHECKS.items()
        if (only is None or name in only)
        and name not in skip
        and (generative or not entry.generative)
    ]
