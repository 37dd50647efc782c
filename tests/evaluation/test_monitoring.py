"""Distance and diversity of samples during a training, and when a training is said to fail."""

from typing import Any

import numpy as np
import pytest

import tfgen
from tests.conftest import make_images
from tests.test_callbacks import GAN
from tfgen.callbacks import SampleMonitor
from tfgen.evaluation.distances import fid
from tfgen.evaluation.monitoring import SampleComparison, TrainingWatch, mean_distance

# Of distances that are 0: equal images get features that differ by 1e-5 by their place in a batch,
# and the root of a covariance's eigenvalue that is 0 but for rounding is up to 1e-7.
ROUNDING = 1e-3
SCORES = ("real_score", "fake_score", "val_real_score", "val_fake_score")


def watched(values: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The warnings of a training with these logs, each with its epoch."""
    watch = TrainingWatch()
    return [
        (epoch, message)
        for epoch, logs in enumerate(values, 1)
        for message in watch.update(epoch, logs)
    ]


def diversities(*values: float) -> list[dict[str, Any]]:
    """Logs of samples that are the nearer to real images, the more diverse they are."""
    return [{"diversity": value, "val_distance": 2 - value} for value in values]


# --- distance and diversity ---------------------------------------------------------------


def test_real_images_are_near_and_diverse_and_a_repeated_image_is_not() -> None:
    images = make_images(200)
    comparison = SampleComparison(images[:100])
    dull_images = np.full_like(images[:100], images.mean())
    sets = (images[100:], images[:1].repeat(100, 0), dull_images)
    real, repeated, dull = map(comparison.compare, sets)
    assert real["diversity"] == pytest.approx(1, abs=0.1)
    assert real["val_distance"] < 0.2
    assert repeated["diversity"] == pytest.approx(0, abs=ROUNDING)
    assert min(repeated["val_distance"], dull["val_distance"]) > 1
    itself = comparison.compare(images[:100])
    assert itself["val_distance"] == pytest.approx(0, abs=ROUNDING)


def test_the_distance_is_the_fid_of_the_features_divided_by_their_number() -> None:
    images = make_images(160, 9, 3)  # 9 pixels have no 4 equal parts
    comparison = SampleComparison(images[:80])
    samples = np.random.default_rng(0).integers(0, 256, (80, 9, 9, 3), np.uint8)
    features, reference = comparison.features(samples), comparison.features(images[:80])
    assert features.shape[1] == 80 // 4
    expected = fid(features, reference) / features.shape[1]
    assert comparison.compare(samples)["val_distance"] == pytest.approx(expected)


def test_diversity_with_classes_is_that_within_them() -> None:
    features = np.array([[0.0], [2.0], [10.0], [16.0]])
    # 2 and 6 in the classes; the pairs between them are 10, 16, 8 and 14.
    assert mean_distance(features, np.array([0, 0, 1, 1])) == pytest.approx(4)
    assert mean_distance(features) == pytest.approx((2 + 6 + 10 + 16 + 8 + 14) / 6)
    # No class has two images.
    assert mean_distance(features, np.arange(4)) == pytest.approx(mean_distance(features))
    # One image of each class differs from the others, but a class has no diversity.
    images = make_images(120)
    comparison = SampleComparison(images, np.arange(120) % 3)
    few = comparison.compare(images[np.arange(120) % 3])
    assert few["diversity"] == pytest.approx(0, abs=ROUNDING)


# --- warnings -----------------------------------------------------------------------------


def test_a_collapse_is_told_once_when_it_happens() -> None:
    ((epoch, message),) = watched(diversities(0.3, 0.5, 0.61, 0.5, 0.2, 0.04, 0.05, 0.03, 0.1))
    assert epoch == 6
    assert message.startswith(
        "epoch 6: the samples have lost their diversity (0.04 of the real images'; 0.61 at epoch 3)"
    )


@pytest.mark.parametrize(
    "values",
    [
        [0.02, 0.05, 0.3, 0.6, 0.9, 0.95, 1.0],  # the first epochs
        [0.9, 0.3, 0.9, 0.4, 0.8],  # an epoch alone
        [1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.6],  # less diverse, but not all alike
        [0.05] * 19 + [0.2],
    ],
)
def test_a_training_that_goes_well_has_no_warning(values: list[float]) -> None:
    assert not watched(diversities(*values))


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [
        ((0.9, 0.1, 0.15, 0.1), [5]),  # held-out images score as samples do
        ((90.0, -70.0, -65.0, -68.0), [5]),  # and a critic's have no unit
        ((0.9, 0.1, 0.7, 0.1), []),
        ((0.9, 0.1, 0.7, 0.8), []),  # batch normalization: the two do not compare
        ((0.55, 0.45, 0.53, 0.45), []),
    ],
)
def test_a_discriminator_that_knows_the_training_images_by_heart_is_told(
    scores: tuple[float, ...], epochs: list[int]
) -> None:
    messages = watched([dict(zip(SCORES, scores, strict=True))] * 12)
    assert [epoch for epoch, _ in messages] == epochs
    assert all("learned the training images by heart" in message for _, message in messages)


# --- the callback -------------------------------------------------------------------------


def test_the_callback_warns_and_goes_on_from_earlier_logs(
    images: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tfgen.GAN(**GAN)
    kernel = next(v for v in model.generator.trainable_variables if v.shape == (8, 36))
    kernel.assign(0 * kernel)  # one image, whatever the latents
    earlier = [{"epoch": 1, "diversity": 0.9, "val_distance": 0.2}]
    monitor = SampleMonitor(images, earlier=earlier)
    monitor.set_model(model)
    logs: dict[str, Any] = {}
    for epoch in (1, 2, 3):
        monitor.on_epoch_end(epoch, logs)
    assert logs["diversity"] < 0.1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: epoch 3: the samples have lost their diversity (0.0")
    assert line.endswith("; the distance is least at epoch 1")
