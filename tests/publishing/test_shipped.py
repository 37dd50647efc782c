"""The shipped versions: a seed means the same latents and images wherever it comes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfgen import random
from tfgen.publishing import versions
from tfgen.publishing.sampler import Sampler

NAMES = ("vae", "vae-hierarchical", "gan", "flow", "flow-matching")


# .ci/alone.py compares the latents of all of them.
@pytest.fixture(scope="module", params=["vae", "gan"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return Sampler(versions.find(request.param, Path("none"), 1))


@pytest.fixture(scope="module")
def loaded(sampler: Sampler) -> Any:
    """The version as TensorFlow alone loads it."""
    return tf.saved_model.load(str(sampler.version.path))


def latents(sampler: Sampler, seeds: np.ndarray) -> np.ndarray:
    return sampler.call("latents", seed=seeds)["latents"]


def test_latents_do_not_depend_on_batch_order_or_compiler(sampler: Sampler, loaded: Any) -> None:
    seeds = random.image_seeds(0, 1000)
    expected = latents(sampler, seeds)
    alone = np.concatenate([latents(sampler, seeds[i : i + 1]) for i in (0, 1, 500, 999)])
    np.testing.assert_array_equal(alone, expected[[0, 1, 500, 999]])
    shuffled = np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(latents(sampler, seeds[shuffled]), expected[shuffled])
    compiled = tf.function(
        lambda seed: loaded.signatures["latents"](seed=seed)["latents"], jit_compile=True
    )
    np.testing.assert_array_equal(compiled(seeds), expected)
    # Those of the generator, which tests/test_random.py holds against the normal distribution.
    live = random.standard_normal(seeds, sampler.latent_dim)
    np.testing.assert_array_equal(live, expected)


def test_the_servers_configuration_names_the_shipped_versions() -> None:
    shipped = versions.shipped_names()
    assert shipped == sorted((*NAMES, "classifier"))
    text = (versions.shipped_folder() / "shipped.config").read_text()
    assert re.findall(r'base_path: "/models/(.+)"', text) == shipped
