"""One way to sample: a live model, an opened version and a served one give the same answers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgen
from tests.errors import refuses
from tests.publishing.serving_double import Double
from tfgen import GAN, VAE, Flow, sampling
from tfgen.errors import UsageError
from tfgen.publishing import export
from tfgen.publishing.rest import Rest
from tfgen.publishing.served import ServedSampler
from tfgen.random import image_seeds, standard_normal
from tfgen.testing import contract

SIDE, CLASSES = 6, 3
SHAPE = (SIDE, SIDE, 1)
GAN_WIDTHS = {"generator_hidden": (8,), "discriminator_hidden": (8,)}
MODELS: dict[str, Callable[[], Any]] = {
    "vae": lambda: VAE(image_shape=SHAPE, latent_dim=2, hidden=(8,)),
    "vae-conditional": lambda: VAE(
        image_shape=SHAPE, latent_dim=2, hidden=(8,), num_classes=CLASSES
    ),
    "gan-conditional": lambda: GAN(
        image_shape=SHAPE, latent_dim=3, num_classes=CLASSES, **GAN_WIDTHS
    ),
    "flow": lambda: Flow(image_shape=SHAPE, couplings=2, hidden=(8,)),
}
CONDITIONAL = ["vae-conditional", "gan-conditional"]
KINDS = ["live", "opened", "rest"]  # for gRPC see publishing/test_served.py
PUBLISHED = KINDS[1:]
SEEDS = [5, -7, 2**31 - 1, 5]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)


class Samplers:
    """The sampler of each model, live and published."""

    def __init__(self, folder: Path):
        self.live = {name: make() for name, make in MODELS.items()}
        for name, model in self.live.items():
            export.publish(model, folder, name)
        self.folder, self.double = folder, Double(folder)
        self._opened: dict[tuple[str, str], Any] = {}

    def open(self, name: str, kind: str) -> Any:
        if kind == "live":
            return self.live[name]
        if (name, kind) not in self._opened:
            openers: dict[str, Callable[[], Any]] = {
                "opened": lambda: tfgen.load(self.folder / name / "2"),
                "rest": lambda: ServedSampler(Rest(self.double.url), name),
            }
            self._opened[name, kind] = openers[kind]()
        return self._opened[name, kind]


@pytest.fixture(scope="module")
def samplers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samplers]:
    samplers = Samplers(tmp_path_factory.mktemp("samplers"))
    with samplers.double.running():
        yield samplers


def assert_close(answer: Any, expected: Any) -> None:
    """Equal up to rounding, with the same dtype."""
    assert np.asarray(answer).dtype == np.asarray(expected).dtype
    contract.assert_close(answer, expected)


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("name", MODELS)
def test_every_sampler_gives_the_live_models_answers(
    samplers: Samplers, name: str, kind: str
) -> None:
    sampler, model = samplers.open(name, kind), samplers.live[name]
    latents = model.latents(SEEDS).numpy()
    np.testing.assert_array_equal(sampler.latents(SEEDS), latents)
    assert_close(sampler.decode(latents), model.decode(latents))
    for request in ({"n": 0}, {"n": 2}, {"n": 5}, {"n": 5, "seed": 3}, {"seeds": SEEDS}):
        assert_close(sampler.sample(**request), model.sample(**request))
    unsigned = [seed % 2**32 for seed in SEEDS]
    assert_close(sampler.sample(seeds=unsigned), sampler.sample(seeds=SEEDS))
    if name in CONDITIONAL:
        for labels in (2, [2, 0, 1, 1]):
            assert_close(sampler.decode(latents, labels), model.decode(latents, labels))
            request = {"seeds": SEEDS, "labels": labels}
            assert_close(sampler.sample(**request), model.sample(**request))


@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_image_i_has_class_i_mod_k(samplers: Samplers, kind: str) -> None:
    sampler, n = samplers.open("gan-conditional", kind), sampling.BATCH + 4  # in two batches
    images, classes = sampler.sample(n), np.arange(n + 1) % CLASSES
    assert_close(sampler.sample(n, labels=classes[:-1]), images)
    assert_close(sampler.decode(sampler.latents(image_seeds(0, n))), images)
    assert not np.allclose(sampler.sample(n, labels=classes[1:]), images, atol=1e-3)


# --- encode and log_prob ------------------------------------------------------------------


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("name", ["vae", "vae-conditional", "flow"])
def test_encode_and_log_prob(samplers: Samplers, name: str, kind: str) -> None:
    sampler, model = samplers.open(name, kind), samplers.live[name]
    labels = {"labels": [2, 0, 1, 1]} if name in CONDITIONAL else {}
    for seeds in ({}, {"seeds": SEEDS}):
        expected = model.encode(IMAGES, **seeds, **labels)
        assert_close(sampler.encode(IMAGES, **seeds, **labels), expected)
    # The seeds are 0, 1, 2, … by default.
    for seeds in ({"seeds": SEEDS}, {"seeds": np.arange(4)}, {}):
        answer = sampler.log_prob(IMAGES, **seeds, **labels)
        expected = model.log_prob(IMAGES, **{"seeds": np.arange(4), **seeds}, **labels)
        np.testing.assert_allclose(answer, expected, rtol=1e-4)
    assert sampler.log_prob(IMAGES[:0], **({"labels": []} if labels else {})).shape == (0,)


# --- errors -------------------------------------------------------------------------------

Request = Callable[[Any], Any]
# Every request is wrong for the model; the message is written once.
WRONG: dict[str, tuple[list[str], Request, str]] = {
    "seeds are no integers": (list(MODELS), lambda s: s.sample(seeds=[0.5]), "pass one integer"),
    "no label for log_prob": (
        ["vae-conditional"],
        lambda s: s.log_prob(IMAGES),
        "the model is conditional: pass labels 0…2",
    ),
    "too few seeds of images": (
        ["vae", "flow"],
        lambda s: s.log_prob(IMAGES, seeds=[1, 2]),
        "there are 2 seeds for 4 images",
    ),
    "floats": (
        ["vae", "flow"],
        lambda s: s.encode(IMAGES / np.float32(255)),
        "images are float32; pass uint8 images of 0…255",
    ),
    "colour images": (
        ["vae", "flow"],
        lambda s: s.log_prob(IMAGES.repeat(3, -1)),
        "images have shape [4, 6, 6, 3]; pass [B, H, W, C] = [B, 6, 6, 1] (the model takes grey ",
    ),
}
CASES = [
    pytest.param(name, request, text, id=f"{name}-{case.replace(' ', '-')}")
    for case, (names, request, text) in WRONG.items()
    for name in names
]


@pytest.mark.parametrize(("name", "request_", "text"), CASES)
def test_a_wrong_request_is_refused_alike_everywhere(
    samplers: Samplers, name: str, request_: Request, text: str
) -> None:
    messages = set()
    for kind in KINDS:
        with pytest.raises(UsageError) as caught:
            request_(samplers.open(name, kind))
        messages.add(str(caught.value))
    (message,) = messages
    assert text in message and "\n" not in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["vae-conditional", "flow"])
def test_every_sampler_completes_images_alike(samplers: Samplers, name: str, kind: str) -> None:
    mask, labels = np.arange(SIDE) < [[2], [4]] * 3, [1, 1, 1, 2] if name in CONDITIONAL else None
    # One round, because a byte that rounding moves could move others further in the next one.
    arguments: dict[str, Any] = {"n": 2, "rounds": 1, "seed": 5, "labels": labels}
    results = sampling.complete(samplers.open(name, kind), IMAGES, mask, **arguments)
    assert (results.dtype, results.shape) == (np.uint8, (4, 2, *SHAPE))
    known = np.broadcast_to(IMAGES[:, None], results.shape)[:, :, ~mask]
    np.testing.assert_array_equal(results[:, :, ~mask], known)
    assert (results[:, 0] != results[:, 1]).any((1, 2, 3)).all()
    live = sampling.complete(samplers.live[name], IMAGES, np.array([mask] * 4), **arguments)
    assert np.abs(live - results.astype(int)).max() <= 1


class Linear:
    """x = 1/2 + W z / 10 of four pixels and two latents; the columns of W are orthonormal."""

    batch_size, num_classes = 1000, 0
    weights = np.linalg.qr([[1, 2], [0.5, -1], [2, 0.3], [-1, 1]])[0]

    def latents(self, seeds: np.ndarray) -> np.ndarray:
        return np.asarray(standard_normal(seeds, 2))

    def decode(self, latents: np.ndarray, labels: None) -> np.ndarray:
        return (0.5 + latents @ self.weights.T / 10).reshape(-1, 2, 2, 1)

    def encode(self, images: np.ndarray, seeds: np.ndarray, labels: None) -> np.ndarray:
        return 10 * (images.reshape(-1, 4) / 255 - 0.5) @ self.weights


def test_completions_have_the_conditional_distribution_of_a_linear_model() -> None:
    image = np.array([180, 0, 0, 0], np.uint8).reshape(1, 2, 2, 1)
    mask = np.array([[False, True], [True, True]])
    results = sampling.complete(Linear(), image, mask, 2000, rounds=40).reshape(2000, 4)[:, 1:]
    known, unknown = Linear.weights[0], Linear.weights[1:]
    # The latents that give the known pixel: the shortest of them, and a normal variate across it.
    shortest = 10 * (180 / 255 - 0.5) * known / (known @ known)
    across = np.array([-known[1], known[0]]) / np.linalg.norm(known)
    np.testing.assert_allclose(results.mean(0) / 255, 0.5 + unknown @ shortest / 10, atol=0.01)
    np.testing.assert_allclose(results.std(0) / 255, np.abs(unknown @ across) / 10, atol=0.01)


def test_what_cannot_be_completed_is_refused(samplers: Samplers) -> None:
    mask, flow, gan = np.ones((SIDE, SIDE), bool), samplers.live["flow"], "gan-conditional"
    refuses(lambda: sampling.complete(samplers.open(gan, "opened"), IMAGES, mask, labels=1), "enc")
    refuses(lambda: sampling.complete(flow, IMAGES, ~mask), "white")
    refuses(lambda: sampling.complete(flow, IMAGES, mask[1:]), "shape [5, 6]")
    refuses(lambda: sampling.complete(flow, IMAGES, mask, rounds=0), "rounds = 0")
