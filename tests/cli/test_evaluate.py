"""`tfgen-evaluate` and `tfgen-compare`, after a classifier of `tiny` was trained by
`tfgen-train`."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests import commands
from tests.conftest import SIDE, Trained
from tests.evaluation import toys
from tfgen.evaluation.classifier import FeatureClassifier
from tfgen.evaluation.likelihood import Bounds
from tfgen.publishing import export
from tfgen.publishing.versions import Version, write_archive
from tfgen.random import SeedNoise, image_seeds

N = 40  # the test images of `tiny`
SHAPE = (SIDE, SIDE, 1)


def copy_of_version(judged: Trained) -> Path:
    """A copy in `models` of the version that the run `flat` published."""
    version = Path("models/vae-2d-tiny/2")
    shutil.copytree(judged.saved_models / "vae-2d-tiny" / "2", version)
    return version


@pytest.mark.slow
def test_the_evaluation_of_an_archive_is_a_file(evaluate: Any, judged: Trained) -> None:
    write_archive(Version.at(judged.saved_models / "vae-2d-tiny" / "2"), Path("theirs.tfgen"))
    assert evaluate("theirs.tfgen", "--no-samples", "--importance-samples", 2) == 0
    assert json.loads(Path("vae-2d-tiny-2-evaluation.json").read_text())["likelihood"]["nll"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("opened_once")
def test_a_run_is_judged(evaluate: Any, judged: Trained, classifier: Path, capfd: Any) -> None:
    out = Path("first.json")
    flags = ["--importance-samples", 20, "--out", out]
    assert evaluate(judged.runs / "flat", *flags) == 0
    result = json.loads(out.read_text())
    assert (result["family"], result["preset"], result["n"]) == ("vae", "mlp", N)
    metrics = result["samples"].keys() - {"copies"}
    assert metrics == result["floor"].keys() == result["ceiling"].keys() | {"copied"}
    assert 0 <= result["floor"]["fid"] < result["ceiling"]["fid"]
    assert 0 <= result["classifier"].pop("accuracy") <= 1
    version = Version("classifier-tiny", 2, classifier)
    assert result["classifier"] == FeatureClassifier(version).identity()
    # Without images a second: 40 samples are one batch.
    cost = {"seconds_an_epoch", "seconds", "epochs", "parameters", "peak_mib", "processor", "cores"}
    assert result["cost"].keys() - {"instruction_set"} == cost  # ARM has none that is known
    printed = capfd.readouterr().out
    floor = ("| real images |", "real images: as many validation images")
    for text in (*floor, "| uniform noise |", "coverage", "FID", "NLL [nats]"):
        assert text in printed
    # What decides the model, without the seed and without what the command did with the run.
    options = result["settings"]["options"]
    assert options["epochs"] == 2
    assert options.keys().isdisjoint({"seed", "name", "run_dir", "saved_models", "publish"})
    # Intermediate values are removed. A second evaluation gives the same result, in two parts, too.
    assert {path.name for path in Path().iterdir()} == {"first.json"}
    parts = ["--no-likelihood"], ["--no-samples", *flags[:2]]
    for part in parts:
        assert evaluate(judged.runs / "flat", *part, "--out", "second.json") == 0
    again = json.loads(Path("second.json").read_text())
    del again["classifier"]["accuracy"]
    for evaluation in (result, again):
        del evaluation["minutes"], evaluation["cost"]
    assert again == result
    # From an evaluation on other images, nothing is taken over.
    assert evaluate(judged.runs / "flat", *parts[1], "--n", 30, "--out", "second.json") == 0
    assert "samples" not in json.loads(Path("second.json").read_text())


@pytest.mark.slow
def test_a_versions_evaluation_is_in_its_manifest(
    evaluate: Any, judged: Trained, tmp_path: Path, capfd: Any
) -> None:
    version = copy_of_version(judged)
    before = json.loads((version / "manifest.json").read_text())
    assert before["evaluation"] is None
    assert evaluate(version, "--importance-samples", 5) == 0
    after = json.loads((version / "manifest.json").read_text())
    assert after["evaluation"]["title"] == "vae-2d-tiny version 2"
    # The run was not evaluated, but what its training took is known.
    assert after["evaluation"]["cost"].keys() >= {"epochs", "seconds", "peak_mib", "parameters"}
    assert after | {"evaluation": None} == before
    # The version still opens, and compares by its name.
    assert tfgen.load(version).number == 2
    assert commands.main("compare", ["vae-2d-tiny", "--saved-models", "models"]) == 0
    assert "| vae-2d-tiny version 2 |" in capfd.readouterr().out
    # Version 1 is a shipped one, also in a checkout: its evaluation is written to the current
    # folder.
    version = version.rename(version.with_name("1"))
    before = (version / "manifest.json").read_bytes()
    assert evaluate(version, "--no-samples", "--importance-samples", 1) == 0
    assert json.loads(Path("vae-2d-tiny-1-evaluation.json").read_text())["n"] == N
    assert (version / "manifest.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.usefixtures("opened_once")
def test_versions_of_a_run_have_its_evaluation(evaluate: Any, judged: Trained) -> None:
    run = judged.runs / "deep"
    assert evaluate(run, "--no-likelihood") == 0
    assert (run / "figures" / "nearest.png").stat().st_size > 100
    assert commands.main("export", [str(run), "--to", "models"]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    # So has the version that was published before, by the training.
    for folder in (Path("models"), judged.saved_models):
        manifest = json.loads((folder / "vae-tiny/2/manifest.json").read_text())
        assert manifest["evaluation"] == evaluation
    assert "likelihood" not in evaluation
    # An evaluation of the version adds its part: the weights are those that the run had.
    path = Path("models/vae-tiny/2")
    assert evaluate(path, "--no-samples", "--importance-samples", 1, "--n", N) == 0
    merged = json.loads((path / "manifest.json").read_text())["evaluation"]
    assert merged["samples"] == evaluation["samples"] and merged["likelihood"]["nll"] > 0
    # So it is with an older version, whose manifest has no hash of its weights.
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["weights_sha256"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    for part in ("--no-likelihood", "--no-samples"):
        assert evaluate(path, part, "--importance-samples", 1, "--out", "old.json") == 0
    assert json.loads(Path("old.json").read_text()).keys() >= {"samples", "likelihood"}
    # An evaluation of other weights is not taken.
    (run / "evaluation.json").write_text(json.dumps(evaluation | {"weights_sha256": "0"}))
    assert commands.main("export", [str(run), "--to", "models"]) == 0
    assert json.loads(Path("models/vae-tiny/3/manifest.json").read_text())["evaluation"] is None


def small(family: str) -> Any:
    if family == "flow":
        return tfgen.Flow(image_shape=SHAPE, couplings=2, hidden=(4,), ema_decay=0.5)
    if family == "vae":
        fields = {"latent_dim": 2, "hidden": (4,), "num_classes": 3, "ema_decay": 0.5}
        return tfgen.VAE(image_shape=SHAPE, **fields)
    widths = {"generator_hidden": (4,), "discriminator_hidden": (4,)}
    return tfgen.GAN(image_shape=SHAPE, latent_dim=3, num_classes=3, **widths)


@pytest.mark.slow
@pytest.mark.usefixtures("opened_once")
@pytest.mark.parametrize("family", ["gan", "flow", "vae"])
def test_versions_that_no_run_made(evaluate: Any, judged: Trained, family: str, capfd: Any) -> None:
    model = small(family)
    if family != "gan":
        # The likelihood uses the EMA of the weights, which has not moved with the weights.
        for weight in model.trainable_variables:
            weight.assign(weight + 1.0)
    version = export.publish(model, Path.cwd() / "models", family)
    if family == "gan":
        assert evaluate(version, "--dataset", "tiny", "--no-samples") == 2
        assert "gan version 2 has no likelihood; leave out --no-samples" in capfd.readouterr().err
    assert evaluate(version) == 2
    assert "name it with --dataset" in capfd.readouterr().err
    flags = ["--dataset", "tiny", "--n", 30]
    if family != "gan":
        flags += ["--no-samples", "--importance-samples", 4, "--dequantizations", 3]
    assert evaluate(version, *flags, "--out", "e.json") == 0
    result = json.loads(Path("e.json").read_text())
    test = tfgen.load_data("tiny", judged.data).test.take(0, 30)
    images, labels = test.images, test.labels
    if family == "flow":
        likelihood = result["likelihood"]
        for draws, name in ((1, "bits_per_dim_one_draw"), (3, "bits_per_dim")):
            nats = model.log_prob(images, seeds=image_seeds(0, 30), draws=draws).numpy()
            expected = -nats.mean() / (36 * np.log(2))
            np.testing.assert_allclose(likelihood[name], expected, rtol=1e-5)
    elif family == "vae":
        assert result["likelihood"]["events"] == "bernoulli, binarization dynamic, given the label"
        events = model.preprocessing.events(tf.constant(images), SeedNoise(image_seeds(0, 30)))
        one_hot, parts = model.one_hot(tf.constant(labels)), (slice(0, 16), slice(16, 30))
        with model.averaged():
            bounds = Bounds(model.sample_terms)
            values = [bounds.log_prob(events[p], (0, p.start), 4, one_hot[p]) for p in parts]
        nll = -np.concatenate(values).mean()
        np.testing.assert_allclose(result["likelihood"]["nll"], nll, rtol=1e-5)
    else:
        assert result["samples"].keys() >= {"fid", "kid", "recall"}
        assert "likelihood" not in result


def test_a_family_of_another_package(
    evaluate: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(monkeypatch)
    version = export.publish(toys.UniformBytes(image_shape=SHAPE), "models", "uniform")
    flags = ["--dataset", "tiny", "--n", 30, "--out", "e.json"]
    assert evaluate(version, *flags) == 0
    result = json.loads(Path("e.json").read_text())
    assert result["samples"].keys() >= {"fid", "kid", "recall"}
    assert result["likelihood"]["bits_per_dim"] == pytest.approx(8)
    assert "| 8.000 |" in capfd.readouterr().out
    assert commands.main("compare", ["e.json", "--out", "comparison.png"]) == 0
    assert Path("comparison.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("opened_once")
def test_an_interrupted_likelihood_continues_and_the_version_stays_whole(
    evaluate: Any, judged: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, calls = copy_of_version(judged), []
    estimate = Bounds.log_prob

    def stopped(self: Bounds, *arguments: Any) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return estimate(self, *arguments)

    flags = ["--no-samples", "--importance-samples", 3]
    assert evaluate(judged.runs / "flat", *flags, "--out", "whole.json") == 0
    monkeypatch.setattr(Bounds, "log_prob", stopped)
    assert evaluate(version, *flags) == 143
    # The first batch of 16 is stored in the current folder, not in the version, which still opens.
    partial = {".vae-2d-tiny-2-ELBO.npz", ".vae-2d-tiny-2-likelihood.npz"}
    assert {path.name for path in Path().glob(".*.npz")} == partial
    assert tfgen.load(version).number == 2
    assert evaluate(version, *flags) == 0
    assert len(calls) == 2 + 2
    assert not list(Path().glob(".*.npz"))
    resumed = json.loads((version / "manifest.json").read_text())["evaluation"]["likelihood"]
    whole = json.loads(Path("whole.json").read_text())
    assert whole["likelihood"] == resumed
