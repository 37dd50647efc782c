"""`--help` of every command: without TensorFlow, in columns, and true."""

import importlib
from pathlib import Path

import pytest

from tests import commands
from tfgen import __version__, registry
from tfgen.errors import UsageError
from tfgen.models.flow.config import FlowConfig
from tfgen.models.vae.config import VAEConfig

_flags, options = (
    importlib.import_module(f"{commands.PACKAGE}.{name}") for name in ("_flags", "_train_options")
)
VERBS = sorted(path.stem for path in (commands.ROOT / "cli").glob("[a-z]*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_help_and_version_import_no_tensorflow(verb: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from {commands.PACKAGE}.{verb} import main\n"
        "assert main(['--version']) == 0 and main(['--help']) == 0\n"
        f"assert {verb!r} != 'train' or main(['vae', '--preset', 'mlp-2d', '-h']) == 0\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib')))"
    )
    done = commands.python(["-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"tfgen-{verb} {__version__}\nusage: tfgen-{verb} ")
    if verb == "train":
        assert "(default: 2)" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_the_package_lists_the_commands(tmp_path: Path) -> None:
    done = commands.python(["-m", "tfgen"], tmp_path)
    *lines, _ = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [f"tfgen-{verb}" for verb in VERBS]
    assert all(len(line) <= 100 for line in lines) and done.stderr == ""
    done = commands.python(["-m", "tfgen", "sample", "--version"], tmp_path)
    assert done.stdout == f"tfgen-sample {__version__}\n"
    assert commands.python(["-m", "tfgen", "samples"], tmp_path).returncode == 2


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


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_as_wide_as_the_terminal(verb: str, capsys, monkeypatch) -> None:
    text = help_text(capsys, monkeypatch, columns=80, verb=verb)
    assert max(map(len, text.splitlines())) <= 80
    # No flag is cut in two.
    assert not any(line.rstrip().endswith("-") for line in text.splitlines())


def test_help_shows_every_preset_with_its_time_and_result_in_columns(capsys, monkeypatch) -> None:
    lines = help_text(capsys, monkeypatch, columns=100).splitlines()
    heading = next(line for line in lines if line.split()[:2] == ["preset", "time"])
    start, end = heading.index("result"), heading.index("network")
    for family in registry.families():
        title = next(i for i, line in enumerate(lines) if line.startswith(f"  {family.name} "))
        for name, preset in family.presets.items():
            row = next(line for line in lines[title:] if line.startswith(f"    {name} "))
            assert row[start:end].strip() == preset.result
            assert preset.summary.startswith(row[end:].strip())


def test_a_switch_has_both_spellings_and_says_how_to_turn_it_off(capsys, monkeypatch) -> None:
    text = " ".join(help_text(capsys, monkeypatch, "gan", "--preset", "dcgan").split())
    assert "--publish publish the model at the end (turn off with --no-publish)" in text
    assert "(turn off with --no-discriminator-batch-norm)" in text
    assert "--no-resume" not in text
    for default in (False, True):
        parser = _flags.Parser("prog", "")
        _flags.add_flags(parser, options.PublishOptions, {"publish": default})
        for argv, publish in (([], default), (["--publish"], True), (["--no-publish"], False)):
            read = _flags.read_flags(parser.parse(argv), options.PublishOptions)
            assert read.publish is publish


@pytest.mark.parametrize(
    ("argv", "values"),
    [
        (["--scale-steps", "4", "2"], (4, 2)),
        (["--scale-steps", "4,2"], (4, 2)),
        (["--hidden", "none"], ()),
        (["--hidden", "4", "many"], None),
        # A shell variable that is not set must not stand for `none`.
        (["--hidden", ""], None),
    ],
)
def test_several_values_of_a_flag(argv: list[str], values: tuple[int, ...] | None) -> None:
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, FlowConfig)
    if values is None:
        with pytest.raises(UsageError, match=f"argument {argv[0]}: "):
            parser.parse(argv)
    else:
        read = _flags.read_flags(parser.parse(argv), FlowConfig)
        assert getattr(read, argv[0].removeprefix("--").replace("-", "_")) == values


def test_only_what_a_family_has_is_a_flag(capsys, monkeypatch) -> None:
    for family in registry.families():
        is_offered = "--conditional" in help_text(capsys, monkeypatch, family.name)
        assert is_offered == family.conditional
    assert not registry.family("classifier").conditional
    parser = _flags.Parser("prog", "")
    _flags.add_flags(parser, VAEConfig)
    # The data decides these.
    assert not {"image_shape", "num_classes"} & vars(parser.parse([])).keys()
