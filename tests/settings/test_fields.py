"""Configurations: a JSON round trip, ranges, and errors that name the value and the way out."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.told import fails
from tfgen import registry
from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.fields import Config, hint, nearest, option
from tfgen.settings.model import ModelConfig
from tfgen.settings.training import TrainingOptions, read_options

pytestmark = pytest.mark.quick

CONFIGS = [
    VAEConfig(),
    VAEConfig((32, 32, 3), 2, (100, 50), likelihood="continuous_bernoulli", binarization="none"),
    TrainingOptions(),
    TrainingOptions(run_dir=Path("a/b"), name="x", resume=True, learning_rate=1e-4),
]


@dataclass(frozen=True)
class AllTypes(Config):
    """A field of each type."""

    flag: bool = option(False, "a bool")
    count: int = option(1, "an int", minimum=0)
    rate: float = option(0.5, "a float", above=0, maximum=1)
    word: str = option("a", "a string")
    path: Path | None = option(None, "a path")
    sizes: tuple[int, ...] = option((1, 2), "a tuple", minimum=1)
    listed: Literal["a", "b"] = option("a", "a Literal")
    chosen: str = option("c", "a string with choices", choices=("c", "d"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_json_round_trip(config: TrainingOptions | ModelConfig) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_lists_become_tuples_and_strings_paths() -> None:
    config = AllTypes(sizes=[3, 4], path="a/b")  # type: ignore[arg-type]
    assert (config.sizes, config.path) == ((3, 4), Path("a/b"))
    assert AllTypes.build(config, {"sizes": [5]}).sizes == (5,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flag": 1}, "flag = 1 is not true or false"),
        ({"count": 1.5}, "count = 1.5 is not an integer"),
        ({"count": -1}, "count = -1 is too small; the least is 0"),
        ({"rate": 0}, "rate = 0 is too small; it must be more than 0"),
        ({"rate": 1.5}, "rate = 1.5 is too large; the most is 1"),
        ({"rate": float("inf")}, "rate = inf is not finite"),
        ({"sizes": "34"}, "sizes = '34' is not a sequence"),
        ({"sizes": (3, 0)}, "sizes has the entry 0, which is too small; the least is 1"),
        ({"listed": "c"}, "unknown listed = 'c'; known: a, b"),
        ({"chosen": "cc"}, "unknown chosen = 'cc'; did you mean 'c'? known: c, d"),
        ({"sises": (3,)}, "AllTypes has no field 'sises'; did you mean 'sizes'?"),
    ],
)
def test_a_wrong_value_is_refused_however_the_configuration_is_built(
    fields: dict, message: str
) -> None:
    for config in (None, AllTypes(count=7)):
        fails(lambda config=config: AllTypes.build(config, fields), message)
    fails(lambda: AllTypes.from_json(fields), message)
    if "sises" not in fields:
        fails(lambda: AllTypes(**fields), message)


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("vea", ["vae", "gan", "flow"], "vae"),
        ("VAE", ["vae", "gan", "flow"], "vae"),
        ("--epoch", ["--epochs", "--checkpoint-every"], "--epochs"),
        ("--batch_sise", ["--batch-size", "--blocks"], "--batch-size"),
        ("photos", ["toto", "mnist"], None),
        ("--count", ["--out", "--n"], None),
        ("--lr", ["--url", "--learning-rate"], None),
    ],
)
def test_only_a_name_that_is_near_is_suggested(
    wrong: str, known: list[str], expected: str | None
) -> None:
    assert nearest(wrong, known) == expected


def test_a_name_of_the_users_own_needs_to_be_very_similar() -> None:
    assert nearest("birds", ["beir"]) == "beir"
    assert nearest("birds", ["beir"], strict=True) is None
    assert nearest("fashion-mnist", ["fashion_mnist"], strict=True) == "fashion_mnist"


def test_names_are_listed_only_if_they_are_few() -> None:
    few = [f"name{n}" for n in range(8)]
    assert hint("x", few, "tfgen --help") == f"; known: {', '.join(few)}"
    assert hint("nam2", few) == f"; did you mean 'name2'? known: {', '.join(few)}"
    many = [*few, "last"]
    assert hint("x", many) == ""
    assert hint("x", many, "tfgen --help") == "; tfgen --help lists all"
    assert hint("lasst", many, "tfgen --help") == "; did you mean 'last'? tfgen --help lists all"


def test_build_replaces_fields_and_leaves_the_rest() -> None:
    config = AllTypes(count=7, rate=0.1)
    assert AllTypes.build(config, {}) == config
    assert AllTypes.build(config, {"rate": 0.2}) == dataclasses.replace(config, rate=0.2)
    assert AllTypes.build(None, {"rate": 0.2}) == AllTypes(rate=0.2)


def test_options_of_earlier_versions_are_read() -> None:
    command_options = {"saved_models": "models", "publish": True, "dry_run": False}
    options = TrainingOptions(epochs=3)
    assert read_options({**options.to_json(), **command_options}) == options
    with pytest.raises(UsageError, match="no field 'learning_rte'; did you mean 'learning_rate'"):
        read_options({"learning_rte": 1})


def test_names_tell_what_changes_a_signature() -> None:
    assert registry.default_name("vae", "mnist", VAEConfig()) == "vae"
    assert registry.default_name("vae", "mnist", VAEConfig(hidden=(100,))) == "vae"
    assert registry.default_name("vae", "mnist", VAEConfig(latent_dim=2)) == "vae-2d"
    entry = registry.family("vae")
    images = entry.preset(entry.preset_for("fashion_mnist")).model
    assert registry.default_name("vae", "fashion_mnist", images) == "vae-fashion_mnist"


def test_every_preset_is_of_its_family() -> None:
    for entry in registry.families():
        assert entry.default_preset in entry.presets
        for preset in entry.presets.values():
            assert isinstance(preset.model, entry.config)
            # What a preset says about training are options of a training.
            assert TrainingOptions(**preset.training())
    with pytest.raises(UsageError, match="unknown model 'vea'; did you mean 'vae'"):
        registry.family("vea")
