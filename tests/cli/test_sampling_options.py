"""Options of sampling: a run of flow matching takes others than those of its training."""

import json
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests import commands
from tests.conftest import Trained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("here")]

NAME = "flow-matching-conditional-tiny"


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of flow matching on `tiny`, with labels and 2 steps of sampling."""
    folder = tmp_path_factory.mktemp("flow-matching") / "run"
    flags = ["--dataset", "tiny", "--data-dir", str(tiny_data), "--run-dir", str(folder)]
    flags += ["--preset", "mlp", "--hidden", "8", "--epochs", "1", "--batch-size", "64"]
    flags += ["--sampling-steps", "2", "--sampling-density-steps", "2"]
    flags += ["--conditional", "--no-publish"]
    assert commands.main("train", ["flow-matching", *flags]) == 0
    return folder


def sample(what: object, *flags: object) -> np.ndarray:
    return commands.npz("sample", what, "--n", 5, *flags)["images"] / 255


def test_a_run_is_sampled_with_other_options(run: Path) -> None:
    own = sample(run)
    same = sample(run, "--sampling-steps", 2, "--sampling-solver", "midpoint")
    np.testing.assert_array_equal(same, own)
    assert not np.allclose(sample(run, "--sampling-solver", "euler"), own, atol=1e-3)
    assert not np.allclose(sample(run, "--sampling-guidance", 4), own, atol=1e-3)
    # More steps of any solver lead to the same path.
    limit = tfgen.load(run, steps=64, solver="rk4").sample(5, seed=0)
    ends = [tfgen.load(run, steps=n).sample(5, seed=0) for n in (2, 32)]
    errors = [np.abs(end - limit).max() for end in ends]
    assert errors[0] > 4 * errors[1]
    exact = sample(run, "--sampling-steps", 64, "--sampling-solver", "rk4")
    np.testing.assert_allclose(exact, limit, atol=1 / 255)


def test_an_evaluation_and_a_version_have_options_of_their_own(
    run: Path, tiny_data: Path, trained: Trained
) -> None:
    flags = ["--sampling-steps", "3", "--sampling-solver", "euler"]
    folder = Path("saved_models", NAME)
    judging = ["--data-dir", str(tiny_data), "--no-samples", "--n", "30"]
    assert commands.main("evaluate", [str(run), *judging, *flags]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["settings"]["model"]["steps"] == 3
    assert evaluation["likelihood"]["estimates"] == 30
    assert evaluation["likelihood"]["events"] == "bytes, given the label"
    # The evaluation is that of the version with the same options.
    for number, own in ((2, []), (3, flags)):
        assert commands.main("export", [str(run), "--to", "saved_models", *own]) == 0
        manifest = json.loads((folder / str(number) / "manifest.json").read_text())
        assert (manifest["evaluation"] is not None) == (own == flags)
    np.testing.assert_allclose(sample(NAME), sample(run, *flags), atol=1 / 255)
    np.testing.assert_allclose(sample(NAME, "--version", 2), sample(run), atol=1 / 255)
    model = manifest["run"]["model"]
    assert (model["steps"], model["solver"], model["density_steps"]) == (3, "euler", 2)
    # Neither a version nor a server can change its options, and a VAE has none.
    steps = ["--sampling-steps", "4"]
    advice = "tfgen-export RUN --sampling-steps 4"
    commands.refused("sample", [NAME, "--url", "http://localhost:1", *steps], advice)
    commands.refused("evaluate", [folder / "3", *steps], advice)
    commands.refused("sample", [trained.runs / "flat", *steps], "no option of sampling 'steps'")
