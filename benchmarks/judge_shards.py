"""Measures the memory and the rate of `tfgen-evaluate` on shards of more and more images.

Samples shards from the shipped VAE, and judges each folder against MNIST in a process of its own:

    python benchmarks/judge_shards.py
    python benchmarks/judge_shards.py 20000 1000000 --features classifier --n 10000
"""

import argparse
import re
import tempfile
from pathlib import Path

from memory import run_command


def main() -> int:
    """Judges all folders and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("counts", nargs="*", type=int, default=[20_000, 100_000], metavar="N")
    parser.add_argument("--features", default="random", help="as tfgen-evaluate takes it")
    parser.add_argument("--n", type=int, default=500, help="images of the metrics but FID")
    args = parser.parse_args()
    print(f"{'images':>10}{'peak memory':>14}{'all':>9}{'shards read at':>18}", flush=True)
    for count in args.counts:
        peak, seconds, rate = measure(count, args.features, args.n)
        print(f"{count:>10}{peak:>11.0f} MB{seconds:>7.0f} s{rate:>18}", flush=True)
    return 0


def measure(count: int, features: str, n: int) -> tuple[float, float, str]:
    """Peak memory [MB] and time [s] of the command, and the rate that it prints.

    Raises:
        RuntimeError: a command failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = str(folder / "shards")
        flags = ["--n", str(count), "--shard-size", "10000", "--out", shards]
        run_command("sample", ["vae", "--version", "1", *flags], folder)
        flags = ["--dataset", "mnist", "--features", features, "--n", str(n)]
        output = str(folder / "evaluation.json")
        text, peak, seconds = run_command("evaluate", [shards, *flags, "--out", output], folder)
    match = re.search(r"^shards: [\d.]+ s, (.* images/s)$", text, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"tfgen-evaluate printed no rate:\n{text}")
    return peak, seconds, match[1]


if __name__ == "__main__":
    raise SystemExit(main())
