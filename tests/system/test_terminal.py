"""What appears on the terminal, and what does not."""

import io

import pytest
from rich.console import Console

from tfgen.system import status
from tfgen.system.terminal import (
    count_noun,
    format_seconds,
    make_bar,
    print_line,
)

pytestmark = pytest.mark.quick


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"run directory: /tmp/[red]{'long' * 50}[/red]/1.5"
    print_line(Console(width=40, force_terminal=True), line)
    assert capsys.readouterr().out == line + "\n"


def test_without_a_terminal_a_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bar = make_bar(Console())
    task = bar.add_task("working", total=2)
    with bar:
        bar.update(task, completed=2)
    assert capsys.readouterr().out == ""


def test_a_count_agrees_with_its_noun() -> None:
    assert [count_noun(n, "epoch") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]


class Screen(io.StringIO):
    """A terminal of a given width that keeps what is written."""

    def isatty(self) -> bool:
        return True


def test_a_bar_shows_what_is_done_and_how_much() -> None:
    console = Console(file=Screen(), width=80, force_terminal=True)
    bar = make_bar(console)
    bar.add_task("epoch 12  loss 163.20", total=10, completed=5)
    console.print(bar.get_renderable())
    (line,) = console.file.getvalue().splitlines()
    assert all(part in line for part in ("epoch 12", "loss 163.20", "━", " 50%", "elapsed"))


def test_times_are_minutes_and_seconds() -> None:
    assert [format_seconds(seconds) for seconds in (0, 6.4, 59.6, 3599, 3606)] == [
        "0:00",
        "0:06",
        "1:00",
        "59:59",
        "1:00:06",
    ]


def test_a_status_is_one_line_that_disappears(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("tfgen.system.status._columns", lambda: 20)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyError), status.status("opening"):
        with status.status("reading a file of a long name"):
            assert screen.getvalue().endswith("\r\x1b[Kreading a file of a")
        assert screen.getvalue().endswith("\r\x1b[Kopening …")
        raise KeyError
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "\n" not in screen.getvalue()


def test_without_a_terminal_there_is_no_status(capsys: pytest.CaptureFixture[str]) -> None:
    with status.status("opening"):
        pass
    assert capsys.readouterr() == ("", "")
