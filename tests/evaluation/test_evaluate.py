"""What decides an evaluation, and how two evaluations of the same model are merged."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.conftest import job, tiny
from tfgen.errors import UsageError
from tfgen.evaluation.evaluate import copies, merge, provenance
from tfgen.evaluation.sources import SampleSource


def test_options_of_the_command_do_not_decide_a_model() -> None:
    former = {"saved_models": "saved_models", "publish": False, "dry_run": False}
    undeciding = {"seed": 3, "name": None, "run_dir": "runs/a", "resume": True, "data_dir": None}
    options = {"preset": "mlp", "epochs": 40, **former, **undeciding}
    source = source_of({"family": "vae", "options": options})
    description = provenance(job(source, tiny(np.zeros((9, 2, 2, 1), np.uint8))))
    assert description["settings"]["options"] == {"preset": "mlp", "epochs": 40}
    assert (description["seed"], description["preset"]) == (3, "mlp")


def source_of(run: dict[str, Any]) -> SampleSource:
    """A run with this configuration."""
    return SampleSource("t", Path("run"), "run", "0", (2, 2, 1), training=run)


def test_copies_of_validation_images_are_seen_if_the_model_was_trained_on_them() -> None:
    rng = np.random.default_rng(0)
    dataset = tiny(rng.integers(0, 256, (60, 2, 2, 1), np.uint8))
    data = {"name": "tiny", "fingerprint": "f"}
    shares = {}
    for train_on in ("train", "all"):
        source = source_of({"options": {"dataset": "d", "train_on": train_on}, "data": data})
        train = source.training_split(dataset).images
        copied = copies(dataset.validation.images, dataset.test.images, train)
        shares[train_on] = copied["share"]
        assert provenance(job(source, dataset))["train_on"] == source.train_on == train_on
    assert shares["all"] == 1
    assert shares["train"] < 0.2
    # Another data set has nothing that the model was trained on.
    foreign = dataclasses.replace(dataset, name="e", fingerprint="g")
    assert source.training_split(foreign) is foreign.train
    source.check_images(foreign, "validation")
    source.check_images(dataset, "test")
    with pytest.raises(UsageError, match="t was trained with --train-on all"):
        source.check_images(dataset, "validation")
    # An earlier version had no such option; what a file or Python made is not known.
    assert source_of({"options": {"dataset": "d"}}).train_on == "train"
    assert source_of({"options": {"seed": 0}}).train_on is source_of({}).train_on is None


def test_only_evaluations_of_the_same_weights_and_images_are_merged() -> None:
    shared = {"format": 1, "weights_sha256": "0", "dataset": {"fingerprint": "f"}}
    shared |= {"n": 10, "evaluation_seed": 0}
    previous = {**shared, "samples": {"fid": 1.0}, "classifier": {"sha256": "c"}}
    previous |= {"likelihood": {"nll": 1.0}, "cost": {"images_a_second": 5.0, "seconds": 1.0}}
    result = {**shared, "likelihood": {"nll": 2.0}, "cost": {"seconds": 2.0}}
    merged = merge(previous, result)
    assert merged["samples"] == {"fid": 1.0}
    assert merged["likelihood"] == {"nll": 2.0}
    assert merged["cost"] == {"images_a_second": 5.0, "seconds": 2.0}
    # The metrics of samples belong to their classifier: they are taken over as a whole.
    resampled = {**shared, "samples": {"fid": 3.0}, "cost": {}}
    assert merge(previous, resampled).keys() == {*resampled, "likelihood"}
    for name in shared:
        assert merge(previous | {name: "changed"}, result) == result
    assert merge(previous, result | {"weights_sha256": None})["cost"] == {"seconds": 2.0}
