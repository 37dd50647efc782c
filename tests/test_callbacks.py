"""The callbacks of a user's own script: pictures and metrics of samples during `fit`."""

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfgen
from tests.arrays import shows_grid
from tests.errors import refuses
from tfgen import figures
from tfgen.callbacks import Evaluate, SampleGrid, SampleMonitor
from tfgen.evaluation.classifier import FeatureClassifier
from tfgen.evaluation.metrics import sample_metrics
from tfgen.evaluation.monitoring import SampleComparison
from tfgen.publishing import versions

SHAPE, LABELS = (6, 6, 1), np.arange(64) % 3
VAE = {"image_shape": SHAPE, "latent_dim": 2, "hidden": (8,)}
HIDDEN = {"generator_hidden": (8,), "discriminator_hidden": (8,)}
GAN = {"image_shape": SHAPE, "latent_dim": 2, **HIDDEN}
FAMILIES = {
    "vae": (tfgen.VAE, VAE),
    "vae-conditional": (tfgen.VAE, {**VAE, "num_classes": 3}),
    "gan-ema": (tfgen.GAN, {**GAN, "ema_decay": 0.9}),
    "gan-conditional": (tfgen.GAN, {**GAN, "num_classes": 3, "ema_decay": 0.5}),
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


@pytest.mark.parametrize("family", ["gan-conditional", pytest.param("vae", marks=pytest.mark.slow)])
def test_training_is_bit_equal_with_and_without_them(
    family: str, images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    plain, observed = compiled(family), compiled(family)
    expected = fit(plain, images).history
    labels = LABELS if observed.num_classes else None
    evaluate, monitor = Evaluate(images, labels, features=classifier), SampleMonitor(images, labels)
    history = fit(observed, images, SampleGrid(tmp_path), evaluate, monitor).history
    assert {name: history[name] for name in expected} == expected
    for variable, same in zip(observed.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(variable, same)
    # The metrics are those of what `sample` gives, which uses the EMA weights.
    extractor = FeatureClassifier(classifier)
    samples = np.round(255 * observed.sample(64, seed=0, labels=labels).numpy()).astype(np.uint8)
    metrics = sample_metrics(extractor.extract(samples), extractor.extract(images), 3)
    metrics |= SampleComparison(images, labels).compare(samples)
    assert metrics.keys() - {"classes"} == history.keys() - expected.keys()
    for name in metrics.keys() - {"classes"}:
        assert history[name][-1] == pytest.approx(metrics[name], rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fid")  # Keras warns of epochs without a monitored value
def test_the_callbacks_of_keras_after_it_use_the_metrics(
    images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    history = fit(
        compiled("vae"),
        images,
        Evaluate(images, n=64, features=classifier, every=2),
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


@pytest.mark.slow
def test_a_picture_is_of_the_same_seeds_and_named_by_the_epoch(
    images: np.ndarray, tmp_path: Path
) -> None:
    model = compiled("gan-ema")
    untrained = figures.image_grid(*model.preview())
    fit(model, images, SampleGrid(tmp_path / "a" / "b", every=2), epochs=3)
    pictures = sorted((tmp_path / "a" / "b").iterdir())
    assert [path.name for path in pictures] == ["samples-0000.png", "samples-0002.png"]
    assert [shows_grid(path, untrained) for path in pictures] == [True, False]


def metrics_of(model: Any, *arguments: Any, **options: Any) -> dict[str, float]:
    evaluate = Evaluate(*arguments, **options)
    evaluate.set_model(model)
    return evaluate.metrics()


@pytest.mark.slow
def test_a_classifier_is_named_opened_or_passed() -> None:
    images = tfgen.load_data("mnist").validation.images[:140]
    path = versions.shipped_folder() / "classifier" / "1"
    model = tfgen.VAE(latent_dim=2, hidden=(4,))
    sources = (None, "classifier", path, str(path), tfgen.load(path))
    values = [metrics_of(model, images, n=130, features=source) for source in sources]
    assert all(metrics == values[0] for metrics in values)
    assert values[0]["fid"] > 1 and values[0]["modes"] <= 10


def test_features_of_images_unlike_mnist(images: np.ndarray, tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((6, 6, 1)), *layers]).save(tmp_path / "net.keras")
    model, own = tfgen.VAE(**VAE), {"features": tmp_path / "net.keras"}
    by_default = metrics_of(model, images)
    assert by_default == metrics_of(model, images, features="random")
    assert by_default["fid"] > 0 and "modes" not in by_default
    assert metrics_of(model, images, features_range="0,1", **own)["fid"] != by_default["fid"]
    refuses(lambda: Evaluate(images, **own), "features_range = None", "0,1 or -1,1 or 0,255")
    refuses(lambda: Evaluate(images, features_range="0,1"), "a network of your own")
    refuses(lambda: Evaluate(images, features="classifier"), "28 × 28 × 1", "features = random")


@pytest.mark.slow
def test_what_does_not_suit_is_refused_in_one_line(
    images: np.ndarray, classifier: tfgen.Classifier, tmp_path: Path
) -> None:
    evaluate = Evaluate(images, n=64, features=classifier)
    for callback in (evaluate, SampleGrid(tmp_path / "none")):
        refuses(lambda each=callback: each.set_model(classifier), "Classifier generates none")
    assert not (tmp_path / "none").exists()
    refuses(lambda: Evaluate(images, n=64, features=classifier, every=0), "every = 0")
    refuses(lambda: Evaluate(images, n=6, features=classifier), "too few images, 6", "at least 7")
    refuses(lambda: Evaluate(images / 255, n=64), "images are float64; pass uint8 images")
    refuses(lambda: Evaluate(images, features="none"), "no classifier 'none'", "features = random")
    refuses(lambda: Evaluate(images, features=tfgen.VAE(**VAE)), "a VAE is not a classifier")
    labelled = Evaluate(images, LABELS + 1, n=64, features=classifier)
    model = compiled("vae-conditional")
    refuses(lambda: fit(model, images, labelled), "label 3 is out of range")
