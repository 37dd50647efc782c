"""A family from another package: `examples/tfgen-ppca`, installed and run by its users' commands.

pip installs the package into a folder of its own, which is on the path of the processes here, and
of no other test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests import commands
from tests.conftest import HAS_16_BITS, SIDE
from tfgen.publishing import export

pytestmark = pytest.mark.slow

PACKAGE = commands.ROOT / "examples" / "tfgen-ppca"
EPOCHS, LATENTS = 2, 3
# Runs commands and tests one after another in one process, because each start takes long.
PROGRAM = """
import pytest, sys
from tests import commands
lines, arguments = map(eval, sys.argv[1:])
for line in lines:
    assert commands.main(line[0], line[1:]) == 0, line
sys.exit(pytest.main(arguments))
"""


@dataclass(frozen=True)
class Done:
    """What the commands and the tests of the package have left.

    Attributes:
        folder: the working folder, with the run `run` and the folder `saved_models`.
        printed: what they printed.
    """

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def done(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The package is installed, trained on `tiny`, used by every command, and tested."""
    folder = tmp_path_factory.mktemp("extending")
    # A copy, because building writes beside the source.
    built = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=built)
    packages, work = folder / "packages", folder / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(packages)]
    subprocess.run([*pip, str(source)], check=True, timeout=commands.PATIENCE)
    classifier = tfgen.Classifier(image_shape=(SIDE, SIDE, 1), num_classes=3, channels=2, units=8)
    export.publish(classifier, work / "saved_models", "classifier-tiny")
    data = ["--data-dir", str(tiny_data)]
    flags = ["--dataset", "tiny", *data, "--latent-dim", str(LATENTS), "--epochs", str(EPOCHS)]
    flags += ["--batch-size", "64", "--schedule", "constant", "--run-dir", "run", "--name", "ppca"]
    longer = ["--epochs", str(EPOCHS + 1), "--no-publish"]
    lines = [
        ["train", "ppca", *flags],
        ["sample", "ppca", "--n", "5", "--out", "samples.npz"],
        ["evaluate", "run", *data, "--out", "run.json"],
        ["compare", "run.json"],
        ["train", "ppca", "--resume", "--run-dir", "run", *longer],
    ]
    tests = ["-q", "-p", "no:cacheprovider", str(source / "tests")]
    tests += [] if HAS_16_BITS else ["-k", "not float16"]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(lines), repr(tests)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{commands.ROOT}"},
        capture_output=True,
        text=True,
        timeout=commands.PATIENCE,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return Done(work, process.stdout)


def test_training_logs_and_publishes(done: Done) -> None:
    run = done.folder / "run"
    logs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(logs) == EPOCHS + 1  # of the resumption
    assert logs[-1]["val_loss"] < logs[0]["val_loss"]
    # bits/dim and nats are one likelihood in two units.
    nats = np.array([log["loss"] for log in logs])
    bits = [log["bits_per_dim"] for log in logs]
    np.testing.assert_allclose(bits, nats / (SIDE**2 * np.log(2)), rtol=1e-5)
    assert {"curves.png", "interpolation.png"} <= {path.name for path in run.glob("figures/*")}
    assert (done.folder / "saved_models" / "ppca" / "2" / "manifest.json").is_file()


def test_evaluation_judges_samples_and_likelihood(done: Done) -> None:
    evaluation = json.loads((done.folder / "run.json").read_text())
    assert evaluation["family"] == "ppca"
    assert np.isfinite(evaluation["samples"]["fid"])
    likelihood = evaluation["likelihood"]
    assert likelihood["events"] == "bytes"
    assert 0 < likelihood["bits_per_dim"] < likelihood["bits_per_dim_one_draw"]
    assert "| run | " in done.printed


def test_the_tests_of_the_package(done: Done) -> None:
    """The contract, and the closed form of the likelihood."""
    assert re.search(r"\n\d\d passed", done.printed), done.printed
