"""The commands in README and docs exist, with the flags and presets that they are shown with."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import run_documented
from tests import commands
from tfgen import registry
from website import board, presets

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each line of a shell block that calls a command of tfgen."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" (?:&&|\||;) ", line):
                if re.match(r"\S*tfgen-\w+( |$)", part):
                    words = shlex.split(part, comments=True)
                    yield [Path(words[0]).name.removeprefix("tfgen-"), *words[1:]]


def help_of(verb: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    # Each family has its own flags. Help shows `--no-x` only if the preset turns x on.
    family = [word for word in words[:1] if verb == "train" and word in registry.names()]
    preset = words[words.index("--preset") :][:2] if family and "--preset" in words else []
    assert commands.main(verb, [*family, *preset, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_flag_of_a_command_exists(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb, *words in command_lines(document.read_text()):
        assert importlib.util.find_spec(f"{commands.PACKAGE}.{verb}"), f"tfgen-{verb}"
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        known = set(re.findall(r"--[a-z][\w-]*", help_of(verb, words, capsys)))
        unknown = set(flags) - known - {"--help"}
        assert not unknown, f"tfgen-{verb} {shlex.join(words)}"


def test_every_script_that_a_document_names_exists() -> None:
    lines = run_documented.commands()
    names = [re.findall(r"python (?:-m )?(\S+)", line)[0].removesuffix(".py") for line in lines]
    assert {"benchmarks/sample", "examples/ring", "website.board", "notebooks.run"} <= set(names)
    for name in names:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


@pytest.mark.parametrize("module", [presets, board])
def test_generated_tables_are_those_of_the_code(module: ModuleType) -> None:
    assert f"writes this table -->\n\n{module.table()}\n<!--" in module.DOCUMENT.read_text()
