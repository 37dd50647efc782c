"""Runs every script that README and docs name, whole, with the options that they name it with.

    python -m benchmarks.run_documented --list
    python -m benchmarks.run_documented website. closing_table    # those that contain a text

Each command runs in a fresh copy of the checkout, one after the other; all of them take many hours.
The commands of tfgen itself are left to the tests. At the end, a table has the exit status and the
minutes of each command; the exit status is 1 if one failed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "notebooks" / "README.md")
# At the start of a line or of inline code, with what it sets in the environment.
COMMAND = re.compile(
    r"(?m)(?:^|`)((?:\w+=\S+ +)*python (?:-m )?(?:benchmarks|examples|notebooks|website)\b[^`#\n]*)"
)
# What a command reads, and a quick way to make it.
INPUTS = {
    "runs/matching": "tfgen-train flow-matching --preset mlp --epochs 1 --run-dir runs/matching",
    "pictures/": "tfgen-sample gan --n 1000 --out pictures/",
}
NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "runs", "site")


def commands() -> list[str]:
    """The commands in the order of the documents, each once."""
    texts = (re.sub(r"\\\n *", "", path.read_text(encoding="utf-8")) for path in DOCUMENTS)
    return list(dict.fromkeys(line.strip() for text in texts for line in COMMAND.findall(text)))


def run(command: str) -> int:
    """The exit status of a command, after what makes its inputs."""
    script = " && ".join([*(INPUTS[word] for word in command.split() if word in INPUTS), command])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        checkout = shutil.copytree(ROOT, Path(folder, "checkout"), ignore=NOT_COPIED)
        environment = {**os.environ, "PATH": path}
        return subprocess.run(["bash", "-c", script], cwd=checkout, env=environment).returncode


def main() -> None:
    """Lists or runs the commands, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="only commands with such a text")
    parser.add_argument("--list", action="store_true", help="print the commands, run none")
    arguments = parser.parse_args()
    texts = arguments.texts or [""]
    chosen = [command for command in commands() if any(text in command for text in texts)]
    if arguments.list:
        print("\n".join(chosen))
        return
    rows = []
    for command in chosen:
        print(f"+ {command}", flush=True)
        start = time.monotonic()
        rows.append((command, run(command), (time.monotonic() - start) / 60))
    print("| command | exit status | minutes |\n|---|---:|---:|")
    for command, status, minutes in rows:
        print(f"| `{command}` | {status} | {minutes:.1f} |")
    raise SystemExit(any(status for _, status, _ in rows))


if __name__ == "__main__":
    main()
