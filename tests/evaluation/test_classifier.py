"""The shipped classifier: what it sees, how it is found, and what is measured by it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tfgen
from tfgen.errors import UsageError
from tfgen.evaluation.judge import Judge, check_enough, copies, judged, noise, open_judge
from tfgen.publishing import versions

NONE = Path("none")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return open_judge("mnist", None, NONE)


@pytest.fixture(scope="module")
def mnist() -> tfgen.data.Dataset:
    return tfgen.load_data("mnist")


def test_it_knows_digits(judge: Judge, mnist: tfgen.data.Dataset) -> None:
    seen = judge.see(mnist.test.images[:1000])
    assert seen.features.shape == (1000, 128)
    # 99.48 % of all 10 000.
    assert (seen.classes == mnist.test.labels[:1000]).mean() > 0.98


def test_stacked_digits_are_seen_channel_by_channel(
    judge: Judge, mnist: tfgen.data.Dataset
) -> None:
    digits = mnist.test.images[:300].reshape(100, 3, 28, 28).transpose(0, 2, 3, 1)
    labels = mnist.test.labels[:300].reshape(100, 3) @ [100, 10, 1]
    judge.check_images(digits.shape[1:])
    seen = judge.see(digits)
    assert seen.features.shape == (100, judge.dimensions(digits.shape[1:])) == (100, 384)
    assert judge.num_modes(digits.shape[1:]) == 1000
    assert (seen.classes == labels).mean() > 0.95
    np.testing.assert_array_equal(seen.features[:, 128:256], judge.see(digits[..., 1:2]).features)


def test_real_images_stand_between_themselves_and_noise(
    judge: Judge, mnist: tfgen.data.Dataset
) -> None:
    n = 600
    reference, real = judge.see(mnist.test.images[:n]), judge.see(mnist.validation.images[:n])
    floor = judged(real, reference, 10)
    ceiling = judged(judge.see(noise(n, mnist.image_shape)), reference, 10)
    itself = judged(reference, reference, 10)
    assert abs(itself["fid"]) < 1e-6 < floor["fid"] < ceiling["fid"] / 20
    assert abs(floor["kid"]) < 5 * floor["kid_error"] < ceiling["kid"]
    assert min(floor["precision"], floor["recall"], floor["coverage"]) > 0.7
    assert max(ceiling["recall"], ceiling["coverage"]) < 0.1
    assert sum(floor["classes"]) == n
    assert floor["modes"] == 10
    assert 2.25 < floor["class_entropy"] <= np.log(10)


def test_copies_are_seen(mnist: tfgen.data.Dataset) -> None:
    train, held_out = mnist.train.images[:2000], mnist.validation.images[:200]
    samples = mnist.test.images[:200].copy()
    fresh = copies(samples, held_out, train)
    assert fresh["share_nearer"] < 0.05
    samples[:50] = train[100:150]
    copied = copies(samples, held_out, train)
    assert copied["share_nearer"] >= 0.25
    assert {(sample, place - sample) for sample, place in copied["nearest"]} <= {
        (i, 100) for i in range(50)
    }
    assert fresh["distance_of_held_out"] == copied["distance_of_held_out"]


def test_a_shipped_one_is_preferred_to_one_of_its_name(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = versions.shipped_folder() / "classifier" / "1"
    assert judge.describe()["version"] == 1
    # In a checkout what is trained comes into the folder of what is shipped.
    for number in ("1", "2"):
        shutil.copytree(shipped, tmp_path / "models" / "classifier" / number)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "shipped_folder", lambda: tmp_path / "models")
        assert open_judge("mnist", None, tmp_path / "models").describe()["version"] == 1
    assert open_judge("mnist", None, tmp_path / "models").describe()["version"] == 1
    assert open_judge("stacked_mnist", None, NONE).describe() == judge.describe()
    # By its folder any can be had.
    assert open_judge("mnist", str(shipped), NONE).describe() == judge.describe()
    with pytest.raises(UsageError, match="train it with: tfgen-train classifier --dataset emnist"):
        open_judge("emnist", None, tmp_path)


def test_what_it_cannot_see_is_refused(judge: Judge, mnist: tfgen.data.Dataset) -> None:
    with pytest.raises(UsageError, match=r"sees images of \(28, 28, 1\), not of \(32, 32, 1\)"):
        judge.check_images((32, 32, 1))
    with pytest.raises(
        UsageError, match=r"n = 128 is too small for the covariance of 128 features; .* 129"
    ):
        check_enough(judge, mnist, 128)
    check_enough(judge, mnist, 129)
