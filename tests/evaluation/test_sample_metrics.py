"""The metrics of samples on real images, noise and copies."""

from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests.evaluation.conftest import job, tiny
from tests.evaluation.evaluations import named
from tfgen.callbacks import Evaluate
from tfgen.evaluation import metrics
from tfgen.evaluation.classifier import FeatureClassifier
from tfgen.evaluation.compare import compare
from tfgen.evaluation.evaluate import copies, evaluate, noise
from tfgen.evaluation.features import RandomNetwork
from tfgen.evaluation.metrics import HIGHER, METRICS, Metric, sample_metrics
from tfgen.evaluation.sources import SampleSource
from tfgen.serving.models import shown_version


def test_real_images_are_between_themselves_and_noise(
    classifier: FeatureClassifier, mnist: tfgen.data.Dataset
) -> None:
    n = 600
    reference = classifier.extract(mnist.test.images[:n])
    real = classifier.extract(mnist.validation.images[:n])
    uniform = classifier.extract(noise(n, mnist.image_shape))
    floor = sample_metrics(real, reference, 10)
    ceiling = sample_metrics(uniform, reference, 10)
    itself = sample_metrics(reference, reference, 10)
    assert abs(itself["fid"]) < 1e-6 < floor["fid"] < ceiling["fid"] / 20
    assert abs(floor["kid"]) < 5 * floor["kid_error"] < ceiling["kid"]
    assert min(floor["precision"], floor["recall"], floor["coverage"]) > 0.7
    assert max(ceiling["recall"], ceiling["coverage"]) < 0.1
    assert sum(floor["classes"]) == n
    assert floor["modes"] == 10
    assert 2.25 < floor["class_entropy"] <= np.log(10)


def test_copies_are_found(mnist: tfgen.data.Dataset) -> None:
    train, held_out = mnist.train.images[:2000], mnist.validation.images[:200]
    samples = mnist.test.images[:200].copy()
    fresh = copies(samples, held_out, train)
    assert fresh["share"] == fresh["share_of_held_out"] == 0
    samples[:50] = train[100:150] // 16 * 16  # not even exact copies
    samples[50:100] = 0
    copied = copies(samples, held_out, train)
    assert copied["share"] == 0.25
    assert {(sample, index - sample) for sample, index in copied["nearest"]} <= {
        (i, 100) for i in range(50)
    }
    assert fresh["distance_of_held_out"] == copied["distance_of_held_out"]


def test_what_is_declared_is_measured_compared_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def spread(samples: np.ndarray, real: np.ndarray) -> float:
        return samples.std() / real.std()

    declared = Metric("samples", "spread", "Spread", "spread of features", HIGHER, spread)
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, declared))
    images = noise(900, (3, 3, 1)).repeat(2, 1).repeat(2, 2)
    dataset, results = tiny(images), {}
    for name, samples in (("model", images[300:600]), ("noise", noise(300, (6, 6, 1)))):
        source = SampleSource(name, Path(name), "images", name, (6, 6, 1), images=samples)
        results[name] = evaluate(job(source, dataset), RandomNetwork(300)) | {"cost": {}}
    real = results["noise"]["floor"]["spread"]
    assert results["model"]["samples"]["spread"] == real
    (table,) = compare([named(name, result) for name, result in results.items()])
    cells = {row.name: row.cells["Spread"] for row in table.rows}
    assert [name for name, cell in cells.items() if cell.is_best] == ["noise"]
    assert cells["real images"].mean == real < cells["uniform noise"].mean
    shown = shown_version(1, False, {"evaluation": results["model"]})["evaluation"][-1]
    caption, text = "spread of features (higher is better)", metrics.format_number(real, 3)
    assert shown == {"name": "Spread", "caption": caption, "value": text, "real": text}
    callback = Evaluate(images[:64])
    callback.set_model(tfgen.VAE(image_shape=(6, 6, 1), latent_dim=2, hidden=(4,)))
    assert callback.metrics()["spread"] > 0


def test_the_page_and_the_callbacks_have_no_list_of_metrics() -> None:
    folder = Path(tfgen.__file__).parent
    for path in (folder / "serving" / "page" / "compare.js", folder / "callbacks.py"):
        text = path.read_text(encoding="utf-8")
        assert len([m.key for m in METRICS if m.estimate and m.key in text.lower()]) < 2, path
