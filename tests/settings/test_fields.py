"""Configurations: a JSON round trip, ranges, and errors that name the value and the way out."""

import json
from pathlib import Path

import pytest

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.model import ModelConfig
from tfgen.settings.training import TrainingOptions

CONFIGS = [
    VAEConfig(),
    VAEConfig((32, 32, 3), 2, (100, 50), "continuous_bernoulli", "none"),
    TrainingOptions(),
    TrainingOptions(run_dir=Path("a/b"), name="x", resume=True, learning_rate=1e-4),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_json_round_trip(config: TrainingOptions | ModelConfig) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs = 0 is too small; the least is 1"),
        ({"epochs": 1.5}, "epochs = 1.5 is not an integer"),
        ({"epochs": True}, "epochs = True is not an integer"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 is too small; it must be more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan is not a number"),
        ({"learning_rate": float("inf")}, "learning_rate = inf is not finite"),
        ({"seed": 2**31}, "seed = 2147483648 is too large"),
        ({"precision": "mixed_float32"}, "unknown precision = 'mixed_float32'; did you mean"),
    ],
)
def test_values_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        TrainingOptions(**arguments)


def test_unknown_field() -> None:
    with pytest.raises(UsageError, match="no field 'latent_dims'; did you mean 'latent_dim'"):
        VAEConfig.from_json({"latent_dims": 3})


def test_names_tell_what_changes_a_signature() -> None:
    assert registry.default_name("vae", "mnist", VAEConfig()) == "vae"
    assert registry.default_name("vae", "mnist", VAEConfig(hidden=(100,))) == "vae"
    assert registry.default_name("vae", "mnist", VAEConfig(latent_dim=2)) == "vae-2d"
    assert registry.default_name("vae", "fashion_mnist", VAEConfig()) == "vae-fashion_mnist"


def test_every_preset_is_of_its_family() -> None:
    for entry in registry.families():
        assert entry.default_preset in entry.presets
        for preset in entry.presets.values():
            assert isinstance(preset.model, entry.config)
    with pytest.raises(UsageError, match="unknown model 'vea'; did you mean 'vae'"):
        registry.family("vea")
