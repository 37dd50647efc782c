"""A flow has as many scales as are asked for and as the sides of its images allow."""

import pytest

from tests.told import fails
from tfgen import Flow
from tfgen.models.flow.config import FAMILY, FlowConfig

pytestmark = [pytest.mark.newest, pytest.mark.quick]


@pytest.mark.parametrize(
    ("sides", "scales"),
    [((28, 28), 2), ((32, 32), 3), ((64, 64), 3), ((100, 60), 2), ((8, 4), 2), ((6, 32), 1)],
)
def test_the_sides_are_halved_as_often_as_they_can_be(sides: tuple[int, int], scales: int) -> None:
    fields = {"architecture": "multiscale", "scale_steps": (1, 1, 1), "scale_channels": (2, 2, 2)}
    config = FlowConfig(image_shape=(*sides, 3), **fields)
    config.check_events()
    assert config.scales == scales


def test_odd_sides_are_refused_with_what_to_do() -> None:
    advice = "import them with even sides, for example with tfgen-data images --size 32"
    for name, shape in (("mlp", (36, 37, 1)), ("multiscale", (36, 37, 1)), ("images", (37, 36, 1))):
        config = FAMILY.preset(name).model
        fails(lambda: Flow(config, image_shape=shape), "37", advice)  # noqa: B023
    # The dense flow has no use for an even height.
    Flow(couplings=2, hidden=(4,), image_shape=(3, 4, 1))
