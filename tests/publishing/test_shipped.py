"""The shipped versions: a seed means the same latents and images wherever it comes."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfgen import random
from tfgen.errors import TfgenError
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


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_release_replaces_nothing_before_all_versions_are_there(
    fault: str, tmp_path: Path
) -> None:
    script = tmp_path / ".ci" / "release_samplers.py"
    script.parent.mkdir()
    shutil.copy(Path(__file__).parents[2] / ".ci" / script.name, script)
    trained = tmp_path / "trained"
    for name in ("classifier", "gan"):
        (tmp_path / "saved_models" / name / "1").mkdir(parents=True)
        shutil.copytree(versions.shipped_folder() / name / "1", trained / name / "2")
    if fault == "missing":
        shutil.rmtree(trained / "gan" / "2")
    else:
        (trained / "gan" / "2" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(TfgenError, match="gan"):
        runpy.run_path(str(script))["main"](trained, [])
    assert not [path for path in (tmp_path / "saved_models").rglob("*") if path.is_file()]
    # A name on its own needs the others neither found nor intact.
    runpy.run_path(str(script))["main"](trained, ["classifier"])
    assert versions.verify(tmp_path / "saved_models" / "classifier" / "1")
