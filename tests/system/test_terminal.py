"""What appears on the terminal, and what does not."""

import os

import pytest
from rich.console import Console

from tfgen.system.quiet import hold_back_stderr
from tfgen.system.terminal import count_noun, make_bar, on_screen, print_line

pytestmark = pytest.mark.quick


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"run directory: /tmp/[red]{'long' * 50}[/red]/1.5"
    print_line(Console(width=40, force_terminal=True), line)
    assert capsys.readouterr().out == line + "\n"


def test_without_a_terminal_a_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bar = make_bar(Console())
    task = bar.add_task("working", total=2)
    with on_screen(bar):
        bar.update(task, completed=2)
    assert capsys.readouterr().out == ""


def test_a_count_agrees_with_its_noun() -> None:
    assert [count_noun(n, "epoch") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]


def test_standard_error_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with hold_back_stderr():
        os.write(2, b"start-up messages")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_standard_error_is_written_if_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), hold_back_stderr():
        os.write(2, b"why it failed")
        raise KeyError
    assert capfd.readouterr().err == "why it failed"
