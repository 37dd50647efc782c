"""One interface: methods and exported signatures of the four families, in two tables."""

import dataclasses
import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests.errors import refuses
from tests.models.families import FAMILIES, IMAGES
from tests.models.test_contracts import FAMILIES as ALL
from tfgen import GAN, VAE, Classifier, Flow, FlowMatching, registry
from tfgen.random import seeds_of_draws

MODELS = {name: make for name, make in FAMILIES.items() if name != "classifier"}

# What a caller passes to a method of any family.
METHODS = """
latents           seeds
decode            latents labels=None
sample            n=25 * seed=0 seeds=None labels=None
encode            images * seeds=None labels=None
log_prob          images * seeds=None labels=None draws=1
encode_images     images noise labels=None
log_prob_images   images noise labels=None
decode_events     latents labels=None
train_step        data
test_step         data
unpack            data
start_from        source
set_sampling      **options
pictures          images labels=None
export            filepath format='tf_saved_model' **kwargs
"""
# Inputs and outputs of the exported signatures, of a conditional model also the input `label`.
SIGNATURES = """
sample     seed           images                   vae gan flow flow-matching
latents    seed           latents                  vae gan flow flow-matching
decode     latents        images                   vae gan flow flow-matching
encode     images         latents,stddev           vae
encode     images,seed    latents                  flow flow-matching
log_prob   images,seed    log_prob                 vae
log_prob   images,seed    bits_per_dim,log_prob    flow flow-matching
"""


@pytest.mark.parametrize("family", [VAE, GAN, Flow, FlowMatching])
@pytest.mark.parametrize("row", METHODS.strip().splitlines(), ids=lambda row: row.split()[0])
def test_a_method_has_the_same_signature_in_all_families(row: str, family: type) -> None:
    name, *expected = row.split()
    parameters = list(inspect.signature(getattr(family, name)).parameters.values())[1:]
    words, keyword_only = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        words.append(str(parameter.replace(annotation=parameter.empty)))
    # What else a family's own steps pass to a hook has a default.
    assert words[: len(expected)] == expected
    assert all("=" in word for word in words[len(expected) :])


@pytest.mark.parametrize("family", [VAE, GAN, Flow, FlowMatching, Classifier])
def test_a_preset_is_a_compiled_model(family: type) -> None:
    preset, steps = registry.family_of(family).preset("images"), 50 if family is Flow else None
    model = family.preset("images", seed=3, steps=steps, image_shape=(8, 8, 3))
    config = dataclasses.replace(preset.model, image_shape=(8, 8, 3))
    assert (model.config, model.seed) == (config, 3)
    for optimizer in model.optimizers.values():
        assert (optimizer.global_clipnorm or 0) == preset.clip_norm
        optimizer.iterations.assign(50)
        rate = 0 if steps else preset.learning_rate  # at the end of the cosine, or constant
        # At the end of the cosine, float32 leaves a part of the peak.
        close = {"rel": 1e-6, "abs": 1e-6 * preset.learning_rate}
        assert float(optimizer.learning_rate) == pytest.approx(rate, **close)
    refuses(lambda: family.preset("image"), "unknown preset 'image'", "did you mean 'images'?")


@pytest.mark.parametrize("name", MODELS)
def test_exported_signatures(name: str) -> None:
    rows = [row.split() for row in SIGNATURES.strip().splitlines()]
    expected = {row[0]: (row[1], row[2]) for row in rows if name in row[3:]}
    model = MODELS[name]()
    actual = {}
    for signature, (function, specs) in model.signatures().items():
        outputs = tf.function(function, input_signature=specs).get_concrete_function()
        names = ",".join(sorted(outputs.structured_outputs))
        actual[signature] = (",".join(spec.name for spec in specs), names)
    assert actual == expected


@pytest.mark.parametrize("name", [name for name in MODELS if name != "gan"])
def test_draws_combine_as_the_density_says(name: str) -> None:
    model, images, seeds = MODELS[name](), IMAGES[:3], np.array([5, 6, 7], np.int32)
    columns = tf.unstack(seeds_of_draws(seeds, 3), axis=1)
    values = np.array([model.log_prob(images, seeds=column) for column in columns], np.float64)
    mean = np.log(np.exp(values - values.max()).mean(0)) + values.max()
    expected = values.mean(0) if model.density == "estimate" else mean
    np.testing.assert_allclose(model.log_prob(images, seeds=seeds, draws=3), expected, rtol=1e-5)
    refuses(lambda: model.log_prob(images, draws=0), "draws = 0", "least is 1")


# A hierarchical VAE has its own test.
@pytest.mark.parametrize("name", [name for name in ALL if name != "vae-hierarchical"])
def test_the_last_layer_of_a_network_computes_in_float32(name: str) -> None:
    model = ALL[name](dtype="mixed_bfloat16")
    assert model.networks
    for network in model.networks:
        if network.name == "features":
            continue  # no outputs of the model
        assert {output.dtype for output in network.outputs} == {"float32"}
        last = next(layer for layer in reversed(network.layers) if layer.weights)
        assert last.compute_dtype == "float32", network.name


def test_a_gan_has_neither_encoder_nor_likelihood() -> None:
    gan = MODELS["gan"]()
    refuses(lambda: gan.encode(IMAGES), "has no encoder")
    refuses(lambda: gan.log_prob(IMAGES), "has no likelihood")


def test_a_method_of_a_family_hides_no_property_of_keras() -> None:
    def losses(self: VAE) -> None:
        pass

    refuses(lambda: type("Own", (VAE,), {"losses": losses}), "Own.losses", "rename it")
