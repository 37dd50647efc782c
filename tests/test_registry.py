"""Families by name: the built-in ones, those of other packages, and packages that are broken."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

import tfgen
from tests import commands
from tfgen import registry
from tfgen.models.vae.config import VAEConfig

BUILT_IN = ["vae", "gan", "flow", "flow-matching", "classifier"]
# The module of a sound package. `{name}` is the name of the family, `{model}` its model class.
MODULE = """
from tfgen.registry import Family, Preset
from tfgen.models.vae.config import VAEConfig
from tfgen.training.folder import saved_config

PRESETS = {{"only": Preset("the only one", VAEConfig(), 1, 1, 1)}}
FAMILY = Family("{name}", "a family of a test", "{model}", VAEConfig, PRESETS)
"""
SOUND = MODULE.format(name="extra", model="tfgen.models.vae.model:VAE")
Install = Callable[..., None]


# With the families of packages that are installed where the tests run.
BEFORE = registry.names()


@pytest.fixture(autouse=True)
def _uncached() -> Iterator[None]:
    """Each test finds the packages of its own."""
    registry._paths.cache_clear()
    yield
    registry._paths.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs packages of one module and one entry point each, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def package(module: str, text: str, name: str = "extra") -> None:
        (tmp_path / f"{module}.py").write_text(text)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        entry = f"[{registry.ENTRY_POINTS}]\n{name} = {module}:FAMILY\n"
        (metadata / "entry_points.txt").write_text(entry)
        modules.append(module)
        registry._paths.cache_clear()

    yield package
    for module in modules:
        sys.modules.pop(module, None)


def test_built_in_families() -> None:
    assert registry.names()[:5] == BUILT_IN
    families = [registry.family(name) for name in BUILT_IN]
    assert registry.families()[:5] == families
    assert [family.name for family in families] == BUILT_IN
    for family in families:
        assert family.config() in [preset.model for preset in family.presets.values()]
        assert bool(family.sentence) == family.generative
    assert len({family.colour for family in families}) == len(families)


def test_a_package_adds_a_family_and_replaces_no_built_in_one(install: Install) -> None:
    install("sound", SOUND)
    install("thief", MODULE.format(name="vae", model="nowhere:VAE"), name="vae")
    assert registry.family("vae").model == "tfgen.models.vae.model:VAE"
    assert set(registry.names()) - set(BEFORE) == {"extra"}
    assert registry.family("extra").summary == "a family of a test"
    assert registry.family("extra") in registry.families()
    assert registry.default_name("extra", "mnist", VAEConfig(latent_dim=3)) == "extra-3d"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_installed", "cannot be imported (ModuleNotFoundError: No module named "),
        ("raise RuntimeError('two\\nlines')", "cannot be imported (RuntimeError: two lines)"),
        (MODULE.format(name="other", model="x:X"), "is no tfgen.registry.Family of that name"),
    ],
)
def test_a_broken_package_is_an_error_for_those_who_ask_for_it(
    install: Install, capsys: pytest.CaptureFixture, text: str, message: str
) -> None:
    install("broken", text)
    assert set(registry.names()) - set(BEFORE) == {"extra"}
    assert [family.name for family in registry.families()] == BEFORE
    commands.refused("train", ["extra"], f"error: model 'extra': broken:FAMILY {message}")
    assert commands.main("train", ["--help"]) == 0
    assert "flow" in capsys.readouterr().out


NAMES = """
from dataclasses import dataclass
from tfgen.registry import Family, Preset
from tfgen.settings.fields import option
from tfgen.settings.model import ModelConfig

@dataclass(frozen=True)
class Config(ModelConfig):
    {fields}

PRESETS = {{"only": Preset("the only one", Config(), 1)}}
FAMILY = Family("extra", "of a test", "tfgen.models.vae.model:VAE", Config, PRESETS)
"""


@pytest.mark.parametrize("field", ["model", "epochs", "conditional", "weights", "ray", "dry_run"])
def test_a_field_with_the_name_of_a_flag_of_the_command_is_refused(
    install: Install, capsys: pytest.CaptureFixture, field: str
) -> None:
    install(
        "names", NAMES.format(fields=f"{field}: int = option(1, ''); steps: int = option(1, '')")
    )
    assert commands.main("train", ["extra", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert field in error and "steps" not in error
    assert commands.main("train", ["--help"]) == 0
    assert commands.main("train", ["vae", "--help"]) == 0


def test_an_option_of_sampling_may_have_the_name_of_any_flag(
    install: Install, tiny_data: Path, tmp_path: Path
) -> None:
    fields = "n: int = option(1, '', sampling=True); epochs: int = option(1, '', sampling=True)"
    text = NAMES.replace("(ModelConfig)", "(VAEConfig)").format(fields=fields)
    install("names", text.replace("settings.model import Model", "models.vae.config import VAE"))
    words = ["extra", "--dataset", "tiny", "--data-dir", str(tiny_data), "--no-publish"]
    words += ["--hidden", "4", "--epochs", "1", "--run-dir", str(tmp_path / "run")]
    assert commands.main("train", [*words, "--sampling-n", "3", "--sampling-epochs", "7"]) == 0
    model = tfgen.load(tmp_path / "run")
    assert (model.config.n, model.config.epochs) == (3, 7)
    arrays = commands.npz("sample", tmp_path / "run", "--n", 5, "--sampling-n", 2)
    assert len(arrays["images"]) == 5


def test_default_name_appends_what_changes_a_signature() -> None:
    names = {
        ("mnist", VAEConfig()): "vae",
        ("mnist", VAEConfig(hidden=(100,))): "vae",
        ("mnist", VAEConfig(latent_dim=2)): "vae-2d",
        ("mnist", VAEConfig(num_classes=10)): "vae-conditional",
        ("fashion_mnist", VAEConfig(latent_dim=2, num_classes=10)): (
            "vae-2d-conditional-fashion_mnist"
        ),
    }
    for (dataset, config), name in names.items():
        assert registry.default_name("vae", dataset, config) == name
    # A classifier always has classes.
    config = registry.family("classifier").config(num_classes=10)
    assert registry.default_name("classifier", "mnist", config) == "classifier"


def test_a_model_is_described_by_its_nearest_family(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Derived(tfgen.VAE):
        """A VAE of a script: it has no family of its own."""

    config = {"image_shape": (4, 4, 1), "hidden": (4,)}
    model = Derived(seed=3, **config)
    run = {"family": "vae", "model": model.config.to_json(), "options": {"seed": 3}}
    assert registry.describe_model(model) == run
    # Once a package adds it as a family, it is described as one of that family.
    monkeypatch.setattr("tfgen.models.vae.model.Derived", Derived, raising=False)
    install("sound", MODULE.format(name="extra", model="tfgen.models.vae.model:Derived"))
    assert registry.describe_model(model) == {**run, "family": "extra"}
    assert registry.describe_model(tfgen.VAE(**config))["family"] == "vae"


def test_keras_finds_classes_that_are_not_imported(install: Install) -> None:
    model = "class Extra:\n    from_config = staticmethod(lambda config: ['extra', config])\n"
    text = MODULE.format(name="extra", model="extra_package:Extra")
    install("extra_package", text + model)
    registered, vae = keras.saving.get_custom_objects(), tfgen.VAE
    try:
        registry.register_with_keras()
        assert registered["extra_package>Extra"].from_config({"a": 1}) == ["extra", {"a": 1}]
        # A class that is imported already stays.
        assert registered["tfgen>VAE"] is vae
    finally:
        del registered["extra_package>Extra"]
