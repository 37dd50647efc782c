"""Damage that tests do to files."""

import fcntl
import json
import os
from pathlib import Path

NAME = "vae-2d-tiny"


def flip(path: Path) -> None:
    """Damages the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(byte ^ 255 for byte in content[middle : middle + 8])
    path.write_bytes(content)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def hold_lock(run: Path) -> None:
    """For as long as this process lives, as another process would."""
    fcntl.flock(os.open(run / ".lock", os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
