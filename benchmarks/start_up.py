"""Times the start-up of the commands and of `import tensorflow`, as whole processes in turns."""

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


def time_process(arguments: list[str], folder: str) -> float:
    """Wall time of a Python process with these arguments [s]."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints the median time of each command and its ratio to that of the import."""
    with tempfile.TemporaryDirectory() as folder:
        for arguments in COMMANDS.values():
            time_process(arguments, folder)  # warms the disk cache
        rounds = [
            {name: time_process(arguments, folder) for name, arguments in COMMANDS.items()}
            for _ in range(ROUNDS)
        ]
    medians = {name: statistics.median(times[name] for times in rounds) for name in COMMANDS}
    for name, median in medians.items():
        ratio = median / medians["import tensorflow"]
        print(f"{name:<26}{median:8.3f} s   {ratio:.2f} × the import")


if __name__ == "__main__":
    main()
