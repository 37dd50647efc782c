"""Trains the preset `images` of each family for several lengths, for the advice of `tfgen-train`.

    python benchmarks/steps_to_quality.py data runs

The first folder holds the data sets `emoji32` and `emoji64`, made as in docs/images.md with
`--size 32` and `--size 64`; the second one gets the runs, and one that is there is not repeated.
The table is written to `tfgen/training/steps_to_quality.json`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tfgen.system.machine import hardware_record
from tfgen.training.folder import RunFolder

TABLE = Path(__file__).parents[1] / "tfgen" / "training" / "steps_to_quality.json"
# Numbers of epochs by family and side.
LENGTHS = {
    ("gan", 32): (1, 2, 7, 20),
    ("gan", 64): (1, 2, 7),
    ("vae", 32): (1, 4, 14, 40),
    ("flow", 32): (1, 2, 7),
    ("flow-matching", 32): (1, 4, 14),
}


def result(run: Path, data: Path, family: str, side: int, epochs: int) -> dict[str, Any]:
    """Trains and evaluates, unless that is done; returns a row, with the least time of a step."""
    if not (run / "evaluation.json").exists():
        words = ["--dataset", f"emoji{side}", "--data-dir", str(data), "--run-dir", str(run)]
        words += ["--epochs", str(epochs), "--no-publish"]
        subprocess.run(["tfgen-train", family, *words], check=True)
        subprocess.run(["tfgen-evaluate", str(run), "--no-likelihood"], check=True)
    evaluation = json.loads((run / "evaluation.json").read_text())
    newest = max((run / "checkpoints").glob("step-*"))
    steps = int(newest.name.partition("-")[2])
    seconds = [row["seconds"] * epochs / steps for row in RunFolder(run).read_metrics()]
    fids = {"fid": evaluation["samples"]["fid"], "floor": evaluation["floor"]["fid"]}
    return {"family": family, "side": side, "steps": steps, **fids, "seconds": min(seconds)}


def main(data: Path, runs: Path) -> None:
    """Writes the table."""
    rows = [
        result(runs / f"{family}-{side}-{epochs}", data, family, side, epochs)
        for (family, side), lengths in LENGTHS.items()
        for epochs in lengths
    ]
    about = {"collection": "emoji", "machine": hardware_record()}
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    TABLE.write_text(f'{json.dumps(about)[:-1]}, "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
