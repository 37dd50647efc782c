"""The callbacks of a user's own script: pictures and metrics of samples during `fit`."""

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tfgen
from tests.arrays import shows_grid
from tests.told import fails
from tfgen import figures
from tfgen.callbacks import Evaluate, SampleGrid
from tfgen.evaluation.classifier import FeatureClassifier
from tfgen.evaluation.metrics import sample_metrics
from tfgen.publishing import versions

pytestmark = pytest.mark.newest

SHAPE, LABELS = (6, 6, 1), np.arange(64) % 3
VAE = {"image_shape": SHAPE, "latent_dim": 2, "hidden": (8,)}
GAN = {
    **{"image_shape": SHAPE, "latent_dim": 2, "generator_hidden": (8,)},
    "discriminator_hidden": (8,),
}
FAMILIES = {
    "vae": (tfgen.VAE, VAE),
    "vae-conditional": (tfgen.VAE, {**VAE, "num_classes": 3}),
    "gan-ema": (tfgen.GAN, {**GAN, "ema_decay": 0.9}),
    "gan-conditional": (tfgen.GAN, {**GAN, "num_classes": 3}),
    "flow": (tfgen.Flow, {"image_shape": SHAPE, "couplings": 2, "hidden": (8,)}),
}


@pytest.fixture(scope="module")
def classifier() -> tfgen.Classifier:
    return tfgen.Classifier(image_shape=SHAPE, num_classes=3, channels=2, units=6)


def compiled(family: str) -> Any:
    model_class, fields = FAMILIES[family]
    model = model_class(**fields)
    # A step without a graph takes less time than tracing one.
    model.compile(**model.default_optimizers(1e-2), run_eagerly=True)
    return model


def fit(model: Any, images: np.ndarray, *callbacks: keras.callbacks.Callback, **more: Any) -> Any:
    keras.utils.set_random_seed(0)  # the order of the batches
    labels = LABELS if model.num_classes else None
    arguments = {"epochs": 2, "batch_size": 16, "verbose": 0, **more}
    return model.fit(images, labels, callbacks=list(callbacks), **arguments)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_is_bit_equal_with_and_without_them(
    family: str, images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    plain, observed = compiled(family), compiled(family)
    expected = fit(plain, images).history
    labels = LABELS if observed.num_classes else None
    evaluate = Evaluate(images, labels, n=64, classifier=classifier)
    history = fit(observed, images, SampleGrid(tmp_path), evaluate).history
    assert {name: history[name] for name in expected} == expected
    for variable, same in zip(observed.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(variable, same)
    # The metrics are those of what `sample` gives, which uses the EMA weights.
    extractor = FeatureClassifier(classifier)
    samples = observed.sample(64, seed=0, labels=labels)
    features = extractor.extract(np.round(255 * samples.numpy()).astype(np.uint8))
    metrics = sample_metrics(features, extractor.extract(images), 3)
    assert metrics.keys() - {"classes"} == history.keys() - expected.keys()
    for name in metrics.keys() - {"classes"}:
        assert history[name][-1] == pytest.approx(metrics[name], rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*fid")  # Keras warns of epochs without a monitored value
def test_the_callbacks_of_keras_after_it_use_the_metrics(
    images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    history = fit(
        compiled("vae"),
        images,
        Evaluate(images, n=64, classifier=classifier, every=2),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="fid", mode="min", save_best_only=True
        ),
        keras.callbacks.EarlyStopping(monitor="fid", mode="min", min_delta=1e9, patience=2),
        epochs=9,
    ).history
    # After the first epoch and every second one; two of them without an improvement end it.
    assert (len(history["loss"]), len(history["fid"])) == (4, 3)
    with (tmp_path / "log.csv").open() as file:
        column = [row["fid"] for row in csv.DictReader(file)]
    assert [float(column[epoch]) for epoch in (0, 1, 3)] == history["fid"]
    assert column[2] == "NA"
    assert (tmp_path / "best.keras").is_file()


def test_a_picture_is_of_the_same_seeds_and_named_and_titled_by_the_epoch(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = {}

    def save(figure: Figure, path: Path) -> None:
        titles[path.name] = figure.axes[0].get_title()
        original(figure, path)

    original = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", save)
    model = compiled("gan-ema")
    untrained = figures.image_grid(*model.preview())
    fit(model, images, SampleGrid(tmp_path / "a" / "b", every=2), epochs=5)
    assert titles == {
        "samples-0000.png": "samples after 0 epochs",
        "samples-0002.png": "samples after 2 epochs",
        "samples-0004.png": "samples after 4 epochs",
    }
    pictures = sorted((tmp_path / "a" / "b").iterdir())
    assert [path.name for path in pictures] == list(titles)
    assert [shows_grid(path, untrained) for path in pictures] == [True, False, False]
    fit(model, images, SampleGrid(tmp_path), epochs=1)
    assert titles["samples-0001.png"] == "samples after 1 epoch"


@pytest.mark.quick
def test_a_picture_of_a_conditional_model_names_the_class_of_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: axes.extend(figure.axes))
    callback = SampleGrid(tmp_path)
    callback.set_model(compiled("gan-conditional"))
    callback.on_epoch_begin(0)
    assert axes[0].get_ylabel() == "class"
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["0", "1", "2"]


def test_a_classifier_is_named_opened_or_passed() -> None:
    images = tfgen.load_data("mnist").validation.images[:140]
    path = versions.shipped_folder() / "classifier" / "1"
    model = tfgen.VAE(latent_dim=2, hidden=(4,))
    values = []
    for classifier in (None, path, tfgen.load(path)):
        evaluate = Evaluate(images, n=130, classifier=classifier)
        evaluate.set_model(model)
        values.append(evaluate.metrics())
    assert all(metrics == values[0] for metrics in values)
    assert values[0]["fid"] > 1 and values[0]["modes"] <= 10


@pytest.mark.quick
def test_what_does_not_suit_is_refused_in_one_line(
    images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    def start(callback: keras.callbacks.Callback, family: str = "vae") -> None:
        fit(compiled(family), images, callback)

    evaluate = Evaluate(images, n=64, classifier=classifier)
    for callback in (evaluate, SampleGrid(tmp_path / "none")):
        fails(lambda callback=callback: callback.set_model(classifier), "Classifier generates none")
    assert not (tmp_path / "none").exists()
    fails(lambda: SampleGrid(tmp_path, every=0), "every = 0 is too small")
    fails(lambda: Evaluate(images / 255, n=64), "images are float64; pass uint8 images")
    fails(lambda: Evaluate(images, n=64), "28 × 28 × 1, not of 6 × 6 × 1")
    larger = Evaluate(images.repeat(2, axis=1), n=64, classifier=wide_classifier())
    fails(lambda: start(larger), "6 × 6 × 1", "12 × 6 × 1")
    labelled = Evaluate(images, LABELS + 1, n=64, classifier=classifier)
    fails(lambda: start(labelled), "not conditional")
    fails(lambda: start(labelled, "vae-conditional"), "labels 1…3 are out of range")


def wide_classifier() -> tfgen.Classifier:
    return tfgen.Classifier(image_shape=(12, 6, 1), num_classes=3, channels=2, units=6)
