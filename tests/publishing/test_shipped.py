"""The shipped versions: a seed means the same latents and images wherever it comes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import commands
from tfgen.publishing import opening, versions
from tfgen.publishing.sampler import Sampler
from tfgen.random import image_seeds

pytestmark = pytest.mark.newest

NAMES = ("vae", "vae-hierarchical", "gan", "flow")


def assert_close(images: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-5; of a flow's images, a byte in a thousand may be the neighbouring one."""
    difference = np.abs(images - expected)
    far = difference > 1e-5 * (1 + np.abs(images))
    if far.any():
        bytes_ = 255 * images
        assert np.abs(bytes_ - np.round(bytes_)).max() < 1e-3, difference.max()
        assert far.mean() < 1e-3 and difference.max() < 1.001 / 255


@pytest.fixture(scope="module", params=NAMES)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return Sampler(versions.find(request.param, Path("none"), 1))


@pytest.fixture(scope="module")
def loaded(sampler: Sampler) -> Any:
    """The version as TensorFlow alone loads it."""
    return tf.saved_model.load(str(sampler.version.path))


def latents(sampler: Sampler, seeds: np.ndarray) -> np.ndarray:
    return sampler.call("latents", seed=seeds)["latents"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a process without tfgen gets for 50 seeds: `name/tensor` → array."""
    folder = tmp_path_factory.mktemp("elsewhere")
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "answers, seeds = {}, tf.constant(np.load('seeds.npy'))\n"
        "for name, path in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    signatures = tf.saved_model.load(path).signatures\n"
        "    for key in ('latents', 'sample'):\n"
        "        outputs = signatures[key](seed=seeds)\n"
        "        answers |= {f'{name}/{k}': value.numpy() for k, value in outputs.items()}\n"
        "np.savez('answers.npz', **answers)\n"
    )
    np.save(folder / "seeds.npy", image_seeds(0, 50))
    words = [
        word for name in NAMES for word in (name, str(versions.find(name, Path("none"), 1).path))
    ]
    done = commands.python(["-c", script, *words], folder)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answers.npz") as answers:
        return dict(answers)


def test_latents_do_not_depend_on_batch_order_process_or_compiler(
    sampler: Sampler, loaded: Any, elsewhere: dict[str, np.ndarray]
) -> None:
    seeds = image_seeds(0, 1000)
    expected = latents(sampler, seeds)
    alone = np.concatenate([latents(sampler, seeds[i : i + 1]) for i in (0, 1, 500, 999)])
    np.testing.assert_array_equal(alone, expected[[0, 1, 500, 999]])
    shuffled = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(latents(sampler, seeds[shuffled]), expected[shuffled])
    compiled = tf.function(
        lambda seed: loaded.signatures["latents"](seed=seed)["latents"], jit_compile=True
    )
    np.testing.assert_array_equal(compiled(seeds), expected)
    np.testing.assert_array_equal(elsewhere[f"{sampler.name}/latents"], expected[:50])
    assert_close(
        sampler.call("sample", seed=seeds[:50])["images"], elsewhere[f"{sampler.name}/images"]
    )


def test_exported_latents_are_standard_normal(sampler: Sampler) -> None:
    drawn = latents(sampler, image_seeds(1, 10_000)).astype(np.float64)
    n, dimensions = drawn.shape
    # Fixed for ever by the seed; the bounds keep the chance of a false alarm over all dimensions
    # below 1 %.
    assert min(scipy.stats.kstest(column, "norm").pvalue for column in drawn.T) > 0.01 / dimensions
    across = drawn[: 20 * (n // 20)].reshape(20, -1)  # neighbouring seeds in a row
    assert min(scipy.stats.kstest(row[:20_000], "norm").pvalue for row in across) > 0.01 / 20
    largest = scipy.stats.norm.isf(0.005 / dimensions**2) / np.sqrt(n)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(dimensions)).max() < largest
    standard = (drawn - drawn.mean(axis=0)) / drawn.std(axis=0)
    assert np.abs((standard[:-1] * standard[1:]).mean(axis=0)).max() < largest


def test_the_servers_configuration_names_the_shipped_versions() -> None:
    shipped = versions.shipped_names()
    assert shipped == sorted((*NAMES, "classifier"))
    text = (versions.shipped_folder() / "shipped.config").read_text()
    assert re.findall(r'base_path: "/models/(.+)"', text) == shipped


def test_the_live_model_of_a_version_is_the_one_that_was_exported(
    sampler: Sampler,
) -> None:
    if sampler.name == "flow":
        pytest.skip("takes long to trace; .ci/alone.py does it")
    model = opening.exported_model(sampler.version.path)
    seeds = image_seeds(0, 5)
    np.testing.assert_array_equal(model.latents(seeds), latents(sampler, seeds))
    assert_close(sampler.call("sample", seed=seeds)["images"], model.sample(seeds=seeds).numpy())
