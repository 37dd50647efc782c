"""What appears on the terminal, and what does not."""

import io

import pytest
from rich.console import Console

from tfgen.system import status
from tfgen.system.terminal import make_bar, print_line


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"run directory: /tmp/[red]{'long' * 50}[/red]/1.5"
    print_line(Console(width=40, force_terminal=True), line)
    assert capsys.readouterr().out == line + "\n"


def test_without_a_terminal_nothing_appears(capsys: pytest.CaptureFixture[str]) -> None:
    bar = make_bar(Console())
    task = bar.add_task("working", total=2)
    with bar, status.status("opening"):
        bar.update(task, completed=2)
    assert capsys.readouterr() == ("", "")


class Screen(io.StringIO):
    """A terminal of a given width that keeps what is written."""

    def isatty(self) -> bool:
        return True


def test_a_status_is_one_line_that_disappears(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyError), status.status("opening"):
        with status.status("reading a file of a long name"):
            assert screen.getvalue().endswith("\r\x1b[Kreading a file of a")
        assert screen.getvalue().endswith("\r\x1b[Kopening …")
        raise KeyError
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "\n" not in screen.getvalue()
