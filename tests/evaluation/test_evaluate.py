"""What decides an evaluation, and how two evaluations of the same model are merged."""

from types import SimpleNamespace

import pytest

from tfgen.data import Dataset, Split
from tfgen.evaluation.evaluate import describe, merge
from tfgen.evaluation.request import EvaluationRequest

pytestmark = pytest.mark.quick


def test_options_of_the_command_do_not_decide_a_model() -> None:
    former = {"saved_models": "saved_models", "publish": False, "dry_run": False}
    undeciding = {"seed": 3, "name": None, "run_dir": "runs/a", "resume": True, "data_dir": None}
    options = {"preset": "mlp", "epochs": 40, **former, **undeciding}
    subject = SimpleNamespace(
        run={"family": "vae", "options": options}, title="t", weights="best", weights_sha256="0"
    )
    split = Split(None)  # type: ignore[arg-type]
    dataset = Dataset("mnist", "3.0.1", split, split, split, 10, "fingerprint")
    job = SimpleNamespace(subject=subject, dataset=dataset, request=EvaluationRequest(), n=5)
    description = describe(job)  # type: ignore[arg-type]
    assert description["settings"]["options"] == {"preset": "mlp", "epochs": 40}
    assert (description["seed"], description["preset"]) == (3, "mlp")


def test_only_evaluations_of_the_same_weights_and_images_are_merged() -> None:
    shared = {
        "format": 1,
        "weights_sha256": "0",
        "dataset": {"fingerprint": "f"},
        "n": 10,
        "evaluation_seed": 0,
    }
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
