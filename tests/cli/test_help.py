"""`--help` of every command: without TensorFlow, in columns, and true."""

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest

from tests import commands
from tfgen import __version__, registry
from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.models.gan.config import GANConfig
from tfgen.models.vae.config import VAEConfig

_flags, options = (
    importlib.import_module(f"{commands.PACKAGE}.{name}") for name in ("_flags", "_train_options")
)


@pytest.mark.newest
@pytest.mark.parametrize(
    ("verb", "argv", "text"),
    [
        ("train", ["--help"], "one of vae"),
        ("train", ["vae", "--help"], "--latent-dim"),
        (
            "train",
            ["vae", "--preset", "mlp-2d", "-h"],
            "of its level at the top (default: 2)",
        ),
        ("sample", ["--help"], "--manifold"),
        ("score", ["--help"], "IMAGES [IMAGES ...]"),
        ("reconstruct", ["--help"], "NAME-reconstructions.png"),
        ("data", ["--help"], "SOURCE"),
        ("export", ["--help"], "best (by validation), last,"),
        ("evaluate", ["--help"], "--importance-samples"),
        ("compare", ["--help"], "comparison.png"),
    ],
)
def test_help_imports_no_tensorflow(verb: str, argv: list[str], text: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from {commands.PACKAGE}.{verb} import main; assert main({argv!r}) == 0; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib')))"
    )
    done = commands.python(["-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert text in " ".join(done.stdout.split())


@pytest.mark.newest
@pytest.mark.parametrize(
    "verb", ["train", "sample", "score", "reconstruct", "data", "export", "evaluate", "compare"]
)
def test_every_command_has_a_version_which_imports_no_tensorflow(verb: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from {commands.PACKAGE}.{verb} import main; assert main(['--version']) == 0; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib')))"
    )
    done = commands.python(["-c", code], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tfgen-{verb} {__version__}\n", "")
    assert "--version" in commands.process(verb, ["--help"], tmp_path).stdout


def help_text(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *argv: str,
    columns: int = 80,
    verb: str = "train",
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert commands.main(verb, [*argv, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.quick
@pytest.mark.parametrize("columns", [80, 100, 300])
@pytest.mark.parametrize(
    ("verb", "argv"),
    [("train", []), *(("train", [name]) for name in registry.names())]
    + [
        (verb, [])
        for verb in ("sample", "score", "reconstruct", "data", "export", "evaluate", "compare")
    ],
)
def test_help_is_as_wide_as_the_terminal_and_at_most_100(
    verb: str, argv: list[str], columns: int, capsys, monkeypatch
) -> None:
    text = help_text(capsys, monkeypatch, *argv, columns=columns, verb=verb)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    # No flag is cut in two.
    assert not any(line.rstrip().endswith("-") for line in text.splitlines())


@pytest.mark.quick
def test_help_shows_every_preset_with_its_time_and_result_in_columns(capsys, monkeypatch) -> None:
    lines = help_text(capsys, monkeypatch, columns=100).splitlines()
    heading = next(line for line in lines if line.split()[:2] == ["preset", "time"])
    for family in registry.families():
        title = next(i for i, line in enumerate(lines) if line.startswith(f"  {family.name} "))
        assert family.summary.split()[0] in lines[title]
        for name, preset in family.presets.items():
            row = next(line for line in lines[title:] if line.startswith(f"    {name} "))
            start, end = heading.index("time"), heading.index("result")
            minutes = "" if preset.minutes is None else f"{preset.minutes:g} min"
            # Right-aligned, one word of the summary to the right of the result.
            assert row[:end].rstrip().endswith(minutes or name)
            assert len(row[:end].rstrip()) <= start + len("time") or not minutes
            assert row[end : heading.index("network")].strip() == preset.result
            assert preset.summary.startswith(row[heading.index("network") :].strip())


@pytest.mark.quick
def test_help_of_a_model_shows_its_presets_alone(capsys, monkeypatch) -> None:
    text = help_text(capsys, monkeypatch, "gan", columns=100)
    assert "FID 0.70" in text
    assert "bits/dim" not in text
    assert "gan (defaults of preset mlp):" in text


@pytest.mark.quick
def test_columns_line_up_for_a_family_of_another_package(monkeypatch) -> None:
    vae = registry.family("vae")
    preset = dataclasses.replace(vae.presets["mlp"], minutes=1234, result="R")
    foreign = dataclasses.replace(
        vae, name="probabilistic-pca", presets={"a-very-long-name-of-a-preset": preset, "b": preset}
    )
    monkeypatch.setattr(registry, "families", lambda: [vae, foreign])
    monkeypatch.setenv("COLUMNS", "100")
    table = options.preset_table(registry.families())
    # Where the summary starts, in each row of a preset that has one.
    rows = [
        line for line in table.splitlines() if line.startswith("    ") and "the report's" in line
    ]
    assert len(rows) == 3
    assert len({row.index("the report's") for row in rows}) == 1
    titles = [line for line in table.splitlines() if "variational autoencoder" in line]
    assert len({line.index("variational") for line in titles}) == 1


@pytest.mark.quick
@pytest.mark.parametrize("preset", ["mlp", "dcgan"])
def test_help_of_a_switch_says_how_to_turn_it_off(preset: str, capsys, monkeypatch) -> None:
    text = " ".join(help_text(capsys, monkeypatch, "gan", "--preset", preset).split())
    assert (
        "--publish, --no-publish publish the sampler at the end (turn off with --no-publish)"
        in text
    )
    assert "--resume continue the run" in text
    assert "--no-resume" not in text
    off = "(turn off with --no-discriminator-batch-norm)"
    assert (off in text) == (preset == "dcgan")
    assert "--spectral-norm" in text
    assert "--no-spectral-norm" not in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_the_output_is_one_line(tmp_path: Path) -> None:
    command = f"{sys.executable} -m {commands.PACKAGE}.train --help > /dev/full"
    done = commands.python(["-c", f"import os; os.system({command!r})"], tmp_path)
    assert done.stderr == (
        "tfgen-train: error: No space left on device; free some space and try again\n"
    )


@pytest.mark.quick
def test_both_spellings_of_a_switch_are_accepted() -> None:
    for default in (False, True):
        parser = _flags.Parser("prog", "")
        _flags.add_flags(parser, options.PublishOptions, {"publish": default})
        for argv, publish in (([], default), (["--publish"], True), (["--no-publish"], False)):
            read = _flags.read_flags(parser.parse(argv), options.PublishOptions)
            assert read.publish is publish
        assert parser.parse(["--no-publish", "--publish"]).publish is True


@pytest.mark.quick
@pytest.mark.parametrize(
    ("argv", "values"),
    [
        (["--scale-steps", "4", "2"], (4, 2)),
        (["--scale-steps", "4,2"], (4, 2)),
        (["--hidden", "none"], ()),
    ],
)
def test_several_values_of_a_flag(argv: list[str], values: tuple[int, ...]) -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, FlowConfig)
    options = vars(parser.parse(argv))
    assert options[argv[0].removeprefix("--").replace("-", "_")] == values


@pytest.mark.quick
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["4", "many"], "'many' is not an integer"),
        # A shell variable that is not set must not stand for `none`.
        ([""], "expected at least one value, or none"),
        ([","], "expected at least one value, or none"),
    ],
)
def test_wrong_values_of_a_flag_with_several(values: list[str], message: str) -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, FlowConfig)
    with pytest.raises(UsageError, match=f"argument --hidden: {message}"):
        parser.parse(["--hidden", *values])


@pytest.mark.quick
def test_help_says_how_to_turn_off_what_a_preset_turns_on() -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, GANConfig, {"diff_augment": ("translation", "cutout")})
    text = " ".join(parser.format_help().split())
    assert "(default: translation cutout; turn off with none)" in text
    assert parser.parse(["--diff-augment", "none"]).diff_augment == ()


@pytest.mark.quick
@pytest.mark.parametrize("config", [VAEConfig, GANConfig, FlowConfig])
def test_help_says_that_there_may_be_no_hidden_layers(config: type) -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, config)
    fields = [f.name for f in dataclasses.fields(config) if f.name.endswith("hidden")]
    text = " ".join(parser.format_help().split())
    assert text.count("; none for no hidden layers (default: ") == len(fields)
    for name in fields:
        flag = "--" + name.replace("_", "-")
        assert getattr(parser.parse([flag, "none"]), name) == ()


@pytest.mark.quick
def test_allowed_values_are_shown_alike(capsys, monkeypatch) -> None:
    text = help_text(capsys, monkeypatch, "gan")
    assert "--architecture {dense,convolutional,residual}" in text
    assert "--loss {non_saturating,minimax,least_squares,hinge,wasserstein," in text


@pytest.mark.quick
def test_without_a_model_no_preset_is_presumed(capsys, monkeypatch) -> None:
    text = " ".join(help_text(capsys, monkeypatch).split())
    assert "as many steps as the preset makes (default: set by the preset)" in text
    assert "sets the defaults of the other flags (default: the data set decides)" in text
    assert "usage: tfgen-train MODEL [options]" in text


@pytest.mark.quick
def test_the_usage_line_names_what_is_required() -> None:
    parser = _flags.Parser("prog", "About.")
    parser.add_argument("kind", metavar="KIND")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("optional", metavar="LAST", nargs="?")
    parser.add_argument("--to", metavar="FOLDER", required=True)
    parser.add_argument("--n", type=int)
    lines = parser.format_help().splitlines()
    assert lines[0] == "usage: prog KIND FILE [FILE ...] [LAST] --to FOLDER [options]"


@pytest.mark.quick
def test_help_texts_are_whole_phrases() -> None:
    kinds = [entry.config for entry in registry.families()]
    for kind in (*kinds, options.TrainingOptions, options.PublishOptions, options.CommandOptions):
        for field in dataclasses.fields(kind):
            text = field.metadata.get("help", "a phrase")
            assert text, field.name
            assert not text.startswith("of "), field.name
            assert not text.endswith("."), field.name


@pytest.mark.quick
def test_only_a_family_with_a_conditional_variant_offers_it(capsys, monkeypatch) -> None:
    offers = {
        name: "--conditional" in help_text(capsys, monkeypatch, name) for name in registry.names()
    }
    assert offers == {"vae": True, "gan": True, "flow": True, "classifier": False}
    # Without a model, all flags are shown.
    assert "--conditional" in help_text(capsys, monkeypatch)


@pytest.mark.quick
def test_what_the_data_decides_is_no_flag() -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, VAEConfig)
    assert not {"image_shape", "num_classes"} & vars(parser.parse([])).keys()
