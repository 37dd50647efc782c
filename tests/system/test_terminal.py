"""What appears on the terminal, and what does not."""

import io
import os
import signal

import pytest
from rich.console import Console

from tfgen.system import status
from tfgen.system.quiet import hold_back_stderr, interruptible
from tfgen.system.terminal import (
    count_noun,
    format_seconds,
    make_bar,
    on_screen,
    print_line,
    print_values,
)

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


def test_standard_error_is_dropped_after_ctrl_c(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), hold_back_stderr():
        os.write(2, b"start-up messages")
        raise KeyboardInterrupt
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [None, ImportError, KeyboardInterrupt])
def test_ctrl_c_ends_a_block_whatever_becomes_of_the_exception(
    error: type[BaseException] | None,
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if error is not None:
                raise error from None
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_without_ctrl_c_stays_that_error() -> None:
    with pytest.raises(ImportError), interruptible():
        raise ImportError


class Screen(io.StringIO):
    """A terminal of a given width that keeps what is written."""

    def isatty(self) -> bool:
        return True


VALUES = ["epoch  1/40", "3.9 s", "loss 122.98", "kl 22.98", "reconstruction 100.00"]
VALUES += ["val_loss 117.44", "val_kl 24.47", "val_reconstruction 92.97"]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_line_of_values_fits_the_terminal_and_no_value_is_split(width: int) -> None:
    console = Console(file=Screen(), width=width, force_terminal=True)
    print_values(console, VALUES)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [part for line in lines for part in line.strip().split("  ")] == [
        part for value in VALUES for part in value.split("  ")
    ]
    assert (len(lines) == 1) == (width == 200)


def test_values_too_wide_for_the_indentation_still_fit() -> None:
    console = Console(file=Screen(), width=30, force_terminal=True)
    print_values(console, ["epoch 100/200", "val_discriminator_loss 0.1235"])
    assert console.file.getvalue() == "epoch 100/200\n val_discriminator_loss 0.1235\n"


def test_without_a_terminal_values_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_values(Console(width=40), VALUES)
    assert capsys.readouterr().out == "  ".join(VALUES) + "\n"


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        (80, ["epoch 12", "loss 163.20", "━", " 50% ", "elapsed 0:06, remaining 0:05"]),
        (60, ["epoch 12", "loss 163.20", "━", " 50% ", "elapsed 0:06, remaining 0:05"]),
        (40, ["epoch 12", "loss 163.20", "remaining 0:05"]),
        (26, ["epoch 12", "remaining 0:05"]),
    ],
)
def test_a_bar_is_one_line_and_no_number_is_cut(
    width: int, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=Screen(), width=width, force_terminal=True)
    bar = make_bar(console)
    task = bar.add_task("epoch 12  loss 163.20", total=10, completed=5)
    monkeypatch.setattr("rich.progress.Task.elapsed", 6.0)
    monkeypatch.setattr("rich.progress.Task.time_remaining", 5.0)
    console.print(bar.get_renderable())
    (line,) = console.file.getvalue().splitlines()
    bar.remove_task(task)
    assert all(part in line for part in parts)
    assert "…" not in line


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
