"""Every family against the same contract, `tfgen.testing`. A new family adds one line."""

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tfgen import GAN, VAE, Classifier, Flow, FlowMatching, testing

# --- small models -------------------------------------------------------------------------


def small(family: type, **fixed: Any) -> testing.Make:
    """A constructor of small models, of images of 6 × 6 unless `fixed` says otherwise."""
    return functools.partial(family, **{"image_shape": (6, 6, 1), **fixed})


VAE_FIELDS = {"latent_dim": 3, "hidden": (16,)}
GAN_FIELDS = {"latent_dim": 3, "generator_hidden": (8, 16), "discriminator_hidden": (16, 8)}
PENALIZED = {**GAN_FIELDS, "loss": "wasserstein", "spectral_norm": True}
CONDITIONAL = {"num_classes": 3, "ema_decay": 0.9}
# With all that the presets have and more, so that all of it is saved and published.
FULL_VAE = {
    **{"image_shape": (8, 8, 1), "architecture": "convolutional", "channels": 2, "hidden": (4,)},
    **{"latent_dim": 3, "objective": "iwae", "importance_samples": 2, "kl_warmup_steps": 3},
    **CONDITIONAL,
}
BYTES_VAE = {
    **{"image_shape": (7, 5, 3), "architecture": "convolutional", "channels": 2, "hidden": (4,)},
    **{"latent_dim": 3, "likelihood": "logistic_mixture", "binarization": "none", "mixtures": 2},
    **{"halvings": 2, **CONDITIONAL},
}
HIERARCHICAL_VAE = {
    **{"image_shape": (7, 5, 3), "architecture": "hierarchical", "channels": 2, "latent_dim": 3},
    **{"levels": 3, "level_channels": 1, "free_bits": 0.1, "kl_warmup_steps": 3},
    **CONDITIONAL,
}
FULL_GAN = {
    **{"image_shape": (8, 8, 1), "architecture": "convolutional", "channels": 2, "units": 4},
    **{"latent_dim": 3, "dropout": 0.3, "discriminator_batch_norm": True},
    **CONDITIONAL,
}
PACKED_GAN = {**FULL_GAN, "pack": 2, "diff_augment": ("translation",)}
RESIDUAL_GAN = {
    **{"image_shape": (7, 5, 3), "architecture": "residual", "channels": 2, "halvings": 2},
    **{"latent_dim": 3, "dropout": 0.0, "conditioning": "projection", "loss": "relativistic"},
    **{"r1": 0.1, "r2": 0.1, "penalty_every": 2, "diff_augment": ("color", "translation")},
    **CONDITIONAL,
}
FULL_FLOW = {
    **{"image_shape": (12, 4, 3), "architecture": "multiscale", "scale_steps": (1, 1)},
    **{"scale_channels": (2, 2), "blocks": 1, "components": 2, "dequantization": "variational"},
    **{"dequantization_couplings": 1},
    **CONDITIONAL,
}
# Outputs so small that no image is black throughout after a step of the rate 0.1.
MATCHING = {"steps": 2, "guidance": 2.0, "data_stddev": 0.001, **CONDITIONAL}
DENSE_MATCHING = {"architecture": "dense", "hidden": (8,), "density_steps": 2, **MATCHING}
FULL_MATCHING = {
    **{"image_shape": (7, 5, 3), "channels": (2, 3), "blocks": (1,), "halvings": 2},
    **{"density_steps": 1, **MATCHING},
}
FLOW_MAP = {**DENSE_MATCHING, "guidance": 1.0, "flow_map": 0.5, "solver": "euler"}
CLASSIFIER = {"num_classes": 3, "channels": 2, "units": 6, "dropout": 0.25}

FAMILIES: dict[str, testing.Make] = {
    "vae": small(VAE, **VAE_FIELDS),
    "vae-convolutional": small(VAE, **FULL_VAE),
    "vae-bytes": small(VAE, **BYTES_VAE),
    "vae-hierarchical": small(VAE, **HIERARCHICAL_VAE),
    "gan": small(GAN, **GAN_FIELDS),
    "gan-penalized": small(GAN, **PENALIZED),
    "gan-convolutional": small(GAN, **FULL_GAN),
    "gan-packed": small(GAN, **PACKED_GAN),
    "gan-residual": small(GAN, **RESIDUAL_GAN),
    "flow": small(Flow, couplings=2, hidden=(8,)),
    "flow-multiscale": small(Flow, **FULL_FLOW),
    "flow-matching": small(FlowMatching, **DENSE_MATCHING),
    "flow-matching-unet": small(FlowMatching, **FULL_MATCHING),
    "flow-matching-map": small(FlowMatching, **FLOW_MAP),
    "classifier": small(Classifier, **CLASSIFIER),
}

# --- which checks -------------------------------------------------------------------------

# The columns are the models above: four VAEs, five GANs, two flows, three of flow matching, and a
# classifier. x: in the default tier, s: slow, a point: not run, because another model of the family
# covers it. In the default tier, each family has all checks, with the layers that are quickly
# traced. The slow tests hold each architecture to the checks that depend on layers. For sizes of
# images see test_sizes.py.
TABLE = """
floats_are_refused                          x...  x....  x.    x..       x
images_may_have_colour_and_other_sides      x...  x....  x.    x..       x
labels_are_used_or_ignored                  xs..  x.s..  x.    x..       .
missing_labels_cycle_through_the_classes    xs.s  x.s..  xs    xs.       .
a_sample_is_a_function_of_its_seed          xs.s  x.s..  xs    xs.       .
a_density_is_a_function_of_its_seed         xs.s  x.s..  xs    xs.       .
a_configuration_rebuilds_its_model          xs.s  xss..  xs    xs.       x
a_model_starts_from_the_weights_of_another  xs..  x.s..  x.    x..       x
a_saved_model_trains_on_in_a_fresh_process  .s..  ...s.  s.    s..       s
a_published_version_equals_its_model        xs.s  x.s.s  xs    xs.       .
an_epoch_trains_every_weight                xsss  xssss  xs    xss       x
the_seed_determines_training                x...  x....  x.    x..       x
metrics_are_means_over_images               xs..  xsss.  x.    x..       x
sample_weights_count                        x...  x....  x.    x..       x
it_trains_in_any_precision-float64          x...  x....  x.    x..       x
it_trains_in_any_precision-mixed_bfloat16   xs.s  x.s..  xs    xs.       .
it_trains_in_any_precision-mixed_float16    x...  xs...  x.    x..       x
keras_callbacks_work                        x...  x....  ..    ...       .
"""


def cases() -> list[Any]:
    """The checks of the table as parameters of a test."""
    rows = {name: "".join(cells) for name, *cells in map(str.split, TABLE.strip().splitlines())}
    assert rows.keys() == testing.CHECKS.keys()
    cases = []
    for index, (model, make) in enumerate(FAMILIES.items()):
        for case in testing.checks(make, only=[n for n, row in rows.items() if row[index] != "."]):
            marks = [pytest.mark.slow] if rows[case.id][index] == "s" else []
            cases.append(pytest.param(*case.values, id=f"{case.id}-{model}", marks=marks))
    return cases


@pytest.fixture(scope="module", autouse=True)
def one_fresh_process() -> Iterator[None]:
    """All models go on in the same process, because each start of TensorFlow takes long."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool, pytest.MonkeyPatch.context() as patch:
        opened = contextlib.nullcontext(pool)
        patch.setattr("tfgen.testing.contract.ProcessPoolExecutor", lambda *_: opened)
        yield


@pytest.mark.parametrize("check", cases())
def test_contract(check: Callable[[Path], None], tmp_path: Path) -> None:
    check(tmp_path)


# --- the checks themselves ----------------------------------------------------------------


class LatentsOfPositions(VAE):
    """Samples depend on their position in the batch."""

    def latents(self, seeds: Any) -> tf.Tensor:
        latents = super().latents(seeds)
        return latents + tf.range(tf.shape(latents)[0], dtype=tf.float32)[:, None]


class FirstClass(VAE):
    """Without labels, all images have class 0."""

    def decode(self, latents: Any, labels: Any = None) -> tf.Tensor:
        return super().decode(latents, 0 if labels is None else labels)


class UnrepeatedTests(VAE):
    """Evaluation draws the noise of training, which changes with the step."""

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        images, labels, _ = self.unpack(data)
        self.step.assign_add(1)
        terms = self.image_terms(images, self.training_noise(), labels)
        return self.log(loss=-terms.elbo(), reconstruction=-terms.reconstruction, kl=terms.kl)


class MeansOfBatches(VAE):
    """Logs means over the batch, which weigh the images of a small batch more."""

    def log(self, weights: tf.Tensor | None = None, /, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        return super().log(**{name: tf.reduce_mean(value) for name, value in values.items()})


class Unweighted(VAE):
    """Sample weights are ignored."""

    def unpack(self, data: Any) -> Any:
        return (*super().unpack(data)[:2], None)


class UnseededTraining(VAE):
    """Training depends on a random number that no seed determines."""

    def kl_weight(self) -> tf.Tensor:
        return tf.constant(np.random.default_rng().random(), tf.float32)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("a_sample_is_a_function_of_its_seed", LatentsOfPositions),
        ("missing_labels_cycle_through_the_classes", FirstClass),
        ("an_epoch_trains_every_weight", UnrepeatedTests),
        ("metrics_are_means_over_images", MeansOfBatches),
        ("the_seed_determines_training", UnseededTraining),
        ("sample_weights_count", Unweighted),
    ],
)
def test_a_check_fails_for_a_model_that_breaks_it(name: str, family: type, tmp_path: Path) -> None:
    make = small(family, **VAE_FIELDS, num_classes=3)
    with pytest.raises(AssertionError):
        testing.CHECKS[name].run(make, tmp_path)


def test_checks_are_selected_by_name() -> None:
    def ids(**selection: Any) -> set[str]:
        return {case.id for case in testing.checks(VAE, **selection)}

    assert ids() == set(testing.CHECKS)
    assert ids(generative=False) == {
        n for n, check in testing.CHECKS.items() if not check.generative
    }
    assert ids(skip=["floats_are_refused"]) == ids() - {"floats_are_refused"}
    assert ids(only=["floats_are_refused"]) == {"floats_are_refused"}
    for wrong in ({"only": ["floats_are_refuse"]}, {"skip": ["floats_are_refuse"]}):
        refuses(lambda wrong=wrong: ids(**wrong), "did you mean 'floats_are_refused'")


def test_images_of_a_check_are_the_same_for_all() -> None:
    images = testing.images_of((6, 4, 3))
    assert images.shape == (testing.IMAGES, 6, 4, 3) and images.dtype == np.uint8
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) > len(images) / 2
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
