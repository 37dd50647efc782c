"""Configurations: a JSON round trip, ranges, and errors that name the value and the way out."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.errors import refuses
from tfgen import registry
from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.fields import Config, nearest, option
from tfgen.settings.model import ModelConfig
from tfgen.settings.training import TrainingOptions

CONFIGS = [
    VAEConfig(),
    VAEConfig((32, 32, 3), 2, (100, 50), likelihood="continuous_bernoulli", binarization="none"),
    TrainingOptions(),
    TrainingOptions(run_dir=Path("a/b"), name="x", resume=True, learning_rate=1e-4),
]


@dataclass(frozen=True)
class AllTypes(Config):
    """Fields of several types."""

    flag: bool = option(False, "a bool")
    count: int = option(1, "an int", minimum=0)
    rate: float = option(0.5, "a float", above=0, maximum=1)
    sizes: tuple[int, ...] = option((1, 2), "a tuple", minimum=1)
    chosen: str = option("c", "a string with choices", choices=("c", "d"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_json_round_trip(config: TrainingOptions | ModelConfig) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flag": 1}, "flag = 1 is not of type bool"),
        ({"count": 1.5}, "count = 1.5 is not of type int"),
        ({"rate": 0}, "rate = 0 is too small; it must be more than 0"),
        ({"rate": 1.5}, "rate = 1.5 is too large; the most is 1"),
        ({"sizes": (3, 0)}, "sizes has the entry 0, which is too small; the least is 1"),
        ({"chosen": "cc"}, "unknown chosen = 'cc'; did you mean 'c'? known: c, d"),
        ({"sises": (3,)}, "AllTypes has no field 'sises'; did you mean 'sizes'?"),
    ],
)
def test_a_wrong_value_is_refused_however_the_configuration_is_built(
    fields: dict, message: str
) -> None:
    for config in (None, AllTypes(count=7)):
        refuses(lambda config=config: AllTypes.build(config, fields), message)
    refuses(lambda: AllTypes.from_json(fields), message)
    if "sises" not in fields:
        refuses(lambda: AllTypes(**fields), message)


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("vea", ["vae", "gan", "flow"], "vae"),
        ("--batch_sise", ["--batch-size", "--blocks"], "--batch-size"),
        ("photos", ["toto", "mnist"], None),
        ("--lr", ["--url", "--learning-rate"], None),
    ],
)
def test_only_a_name_that_is_near_is_suggested(
    wrong: str, known: list[str], expected: str | None
) -> None:
    assert nearest(wrong, known) == expected


def test_every_preset_is_of_its_family() -> None:
    for entry in registry.families():
        assert entry.preset_for("mnist") in entry.presets
        for preset in entry.presets.values():
            assert isinstance(preset.model, entry.config)
            # What a preset says about training are options of a training.
            assert TrainingOptions(**preset.training())
    with pytest.raises(UsageError, match="unknown model 'vea'; did you mean 'vae'"):
        registry.family("vea")
