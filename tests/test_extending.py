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

pytestmark = pytest.mark.newest

PACKAGE = commands.ROOT / "examples" / "tfgen-ppca"
EPOCHS, LATENTS = 2, 3


@dataclass(frozen=True)
class Environment:
    """An environment with the package, and a folder to work in.

    Attributes:
        packages: the folder that pip installed the package into.
        folder: the working folder, with the run `run` and the folder `saved_models`.
        data: the TFDS root with the data set `tiny`.
    """

    packages: Path
    folder: Path
    data: Path

    def python(self, *arguments: object) -> str:
        """Runs Python in the working folder; returns what it printed."""
        variables = {**os.environ, "PYTHONPATH": f"{self.packages}{os.pathsep}{commands.ROOT}"}
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=commands.PATIENCE,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    def command(self, verb: str, *arguments: object) -> str:
        """Runs a command in the working folder; returns what it printed."""
        return self.python("-m", f"{commands.PACKAGE}.{verb}", *arguments)

    def run_in_one_process(self, *lines: list[object]) -> str:
        """Runs commands one after another in one process; returns what they printed."""
        code = "import sys; from tests import commands\n"
        code += f"for line in {[list(map(str, line)) for line in lines]}:\n"
        code += "    assert commands.main(line[0], line[1:]) == 0, line"
        return self.python("-c", code)


@pytest.fixture(scope="module")
def environment(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The package installed, and a run of it on `tiny`."""
    folder = tmp_path_factory.mktemp("extending")
    # A copy, because building writes beside the source.
    built = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=built)
    packages = folder / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(packages)]
    subprocess.run([*pip, str(source)], check=True, timeout=commands.PATIENCE)
    (folder / "work").mkdir()
    environment = Environment(packages, folder / "work", tiny_data)
    flags = ["--dataset", "tiny", "--data-dir", tiny_data, "--latent-dim", LATENTS]
    flags += ["--epochs", EPOCHS, "--batch-size", 64, "--schedule", "constant"]
    flags += ["--run-dir", "run", "--name", "ppca"]
    environment.command("train", "ppca", *flags)
    return environment


@pytest.fixture(scope="module")
def compared(environment: Environment) -> str:
    """What `tfgen-compare` prints after the commands that use the run and the version."""
    classifier = tfgen.Classifier(image_shape=(SIDE, SIDE, 1), num_classes=3, channels=2, units=8)
    export.publish(classifier, environment.folder / "saved_models", "classifier-tiny")
    shutil.copytree(environment.folder / "run", environment.folder / "resumed")
    resumption = ["--resume", "--run-dir", "resumed", "--epochs", EPOCHS + 1, "--no-publish"]
    return environment.run_in_one_process(
        ["sample", "ppca", "--n", 5, "--out", "samples.npz"],
        ["evaluate", "run", "--data-dir", environment.data],
        ["compare", "run"],
        ["export", "run", "--to", "exported"],
        ["train", "ppca", *resumption],
    )


def test_training_logs_and_publishes(environment: Environment) -> None:
    run = environment.folder / "run"
    logs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(logs) == EPOCHS
    assert logs[-1]["val_loss"] < logs[0]["val_loss"]
    # bits/dim and nats are one likelihood in two units.
    nats = np.array([log["loss"] for log in logs])
    bits = [log["bits_per_dim"] for log in logs]
    np.testing.assert_allclose(bits, nats / (SIDE**2 * np.log(2)), rtol=1e-6)
    assert {"curves.png", "interpolation.png"} <= {path.name for path in run.glob("figures/*")}
    assert (environment.folder / "saved_models" / "ppca" / "2" / "manifest.json").is_file()


def test_evaluation_judges_samples_and_likelihood(environment: Environment, compared: str) -> None:
    evaluation = json.loads((environment.folder / "run" / "evaluation.json").read_text())
    assert evaluation["family"] == "ppca"
    assert np.isfinite(evaluation["samples"]["fid"])
    likelihood = evaluation["likelihood"]
    assert likelihood["events"] == "bytes"
    assert 0 < likelihood["bits_per_dim"] < likelihood["bits_per_dim_one_draw"]
    assert "| run | " in compared


def test_the_tests_of_the_package(environment: Environment) -> None:
    """The contract, and the closed form of the likelihood."""
    tests = environment.packages.with_name("source") / "tests"
    chosen = [] if HAS_16_BITS else ["-k", "not float16"]
    report = environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, tests)
    assert re.search(r"\n\d\d passed", report), report
