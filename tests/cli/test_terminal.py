"""The commands in a pseudo-terminal: what appears there, and what Ctrl-C leaves."""

import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import commands

STARTING = "starting TensorFlow …"


def in_terminal(
    verb: str, argv: list[str], folder: Path, react: Callable[[str], bytes] = lambda text: b""
) -> tuple[int, str]:
    """Runs a command in a terminal; returns its exit status and all that was written there.

    Args:
        verb: the command.
        argv: its arguments.
        folder: the working directory.
        react: the keys that are pressed, from all that was written so far.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
        os.environ |= {"TERM": "xterm", "PYTHONPATH": str(commands.ROOT)}
        os.execv(sys.executable, [sys.executable, "-m", "tfgen", verb, *argv])
    written = b""
    while True:
        try:
            content = os.read(terminal, 4096)
        except OSError:  # Linux says so that the process has ended
            content = b""
        if not content:
            break
        written += content
        if keys := react(written.decode(errors="ignore")):
            os.write(terminal, keys)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode()


def visible(written: str) -> list[str]:
    """The lines that remain on the screen: an erased line starts again."""
    return [re.split(r"\x1b\[2?K", line)[-1].strip() for line in written.strip().split("\n")]


@pytest.mark.slow
def test_the_start_is_announced_and_the_announcement_disappears(tmp_path: Path) -> None:
    status, written = in_terminal("sample", ["vae", "--n", "1"], tmp_path)
    assert status == 0
    assert written.removeprefix("\r\x1b[K").startswith(STARTING)
    training = "vae version 1: preset conv, 100 epochs"
    assert visible(written) == [training, "1 image of vae version 1 in vae-samples.png"]


def test_ctrl_c_at_the_start_leaves_one_line(tmp_path: Path) -> None:
    # In the working directory, it takes the place of TensorFlow, whose start might be over before
    # the key is pressed.
    endless = tmp_path / "tensorflow.py"
    endless.write_text(f"import time\ntime.sleep({2 * commands.PATIENCE})\n")
    pressed = []

    def press(text: str) -> bytes:
        if STARTING not in text or pressed:
            return b""
        pressed.append(True)
        return b"\x03"

    status, written = in_terminal("sample", ["vae", "--n", "1"], tmp_path, press)
    assert pressed
    assert status == 130
    assert visible(written) == ["tfgen-sample: interrupted"]
    assert {path.name for path in tmp_path.iterdir()} <= {endless.name, "__pycache__"}
