"""Times how long the commands take to start, beside the import of TensorFlow, as whole processes in
turns."""

import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
COMMANDS = {
    "import tensorflow": ["-c", "import tensorflow"],
    "tfgen-sample vae --n 25": ["-m", "tfgen.cli.sample", "vae", "--n", "25"],
    "tfgen-sample gan --n 25": ["-m", "tfgen.cli.sample", "gan", "--n", "25"],
    "tfgen-sample flow --n 25": ["-m", "tfgen.cli.sample", "flow", "--n", "25"],
    "tfgen-train --help": ["-m", "tfgen.cli.train", "--help"],
}


def seconds(arguments: list[str], folder: str) -> float:
    """Wall time of one process [s]."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints each command's median and its ratio to the import's."""
    with tempfile.TemporaryDirectory() as folder:
        for arguments in COMMANDS.values():
            seconds(arguments, folder)  # warms the disk's cache
        rounds = [
            {name: seconds(arguments, folder) for name, arguments in COMMANDS.items()}
            for _ in range(ROUNDS)
        ]
    medians = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    for name, median in medians.items():
        print(
            f"{name:<26}{median:8.3f} s   {median / medians['import tensorflow']:.2f} × the import"
        )


if __name__ == "__main__":
    main()
