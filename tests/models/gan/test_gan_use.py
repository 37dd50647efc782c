"""The GAN as it is used: labels, wrong arguments, saving, precision, logs, pictures."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.gan.small import SHAPE, same, small, values
from tests.told import fails
from tfgen import GAN, image_seeds
from tfgen.models.gan.config import GANConfig
from tfgen.models.gan.model import PENALTY
from tfgen.models.preprocessing import Identity
from tfgen.nn.optimizers import Schedule
from tfgen.random import LATENTS

pytestmark = pytest.mark.newest


def state(model: GAN) -> list[np.ndarray]:
    """All weights, and all that the optimizers hold."""
    return model.get_weights() + [v.numpy() for o in model.optimizers.values() for v in o.variables]


# --- labels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [("dense", SHAPE), ("dense", (4, 4, 3)), ("convolutional", (8, 4, 1))],
)
def test_both_networks_see_the_label(architecture: str, shape: tuple[int, ...]) -> None:
    common = {"channels": 2, "generator_hidden": (8,), "discriminator_hidden": (8,)}
    common |= {"latent_dim": 3, "num_classes": 3}
    model = GAN(image_shape=shape, architecture=architecture, seed=1, **common)
    latents = model.latents(image_seeds(0, 4))
    pictures = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.uint8)
    for first, second in ((0, 1), (1, 2)):
        labels = [tf.fill([4], label) for label in (first, second)]
        decoded = [model.decode(latents, label).numpy() for label in labels]
        assert decoded[0].shape == (4, *shape)
        assert np.all(np.max(np.abs(decoded[0] - decoded[1]), axis=(1, 2, 3)) > 1e-4)
        scores = [model.score(pictures, label).numpy() for label in labels]
        assert np.all(scores[0] != scores[1])
    # A label concerns its own image alone.
    mixed = model.decode(latents, tf.constant([0, 1, 0, 1])).numpy()
    np.testing.assert_allclose(
        mixed[::2], model.decode(latents, tf.zeros([4], tf.int32))[::2], atol=1e-6
    )


def test_a_conditional_model_asks_for_labels(images: np.ndarray) -> None:
    model = small(num_classes=3)
    model.compile(**model.default_optimizers(1e-3), run_eagerly=True)
    message = r"pass labels .*0…2, in fit as \(images, labels\)"
    for call in (
        lambda: model.score(images[:2]),
        lambda: model(images[:2]),
        lambda: model.fit(images, batch_size=16, verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    model.fit(images, np.arange(64) % 3, batch_size=16, verbose=0)
    assert int(model.step) == 4


def test_an_unconditional_model_takes_no_labels(images: np.ndarray) -> None:
    model, labels = small(), tf.constant([0, 1])
    for call in (
        lambda: model.decode(model.latents(image_seeds(0, 2)), labels),
        lambda: model.score(images[:2], labels),
    ):
        with pytest.raises(ValueError, match="it takes no labels"):
            call()


# --- wrong arguments --------------------------------------------------------------------


def test_two_optimizers_are_two_objects() -> None:
    model, one = small(), keras.optimizers.Adam()
    with pytest.raises(ValueError, match=r"generator_optimizer=…, discriminator_optimizer=…"):
        model.compile(optimizer=one)
    with pytest.raises(ValueError, match="each network needs its own"):
        model.compile(one, one)
    assert model.optimizers == {}
    model.compile("adam", "adam")
    assert model.generator_optimizer is not model.discriminator_optimizer
    assert set(model.optimizers) == {"generator_optimizer", "discriminator_optimizer"}


@pytest.mark.parametrize("loss", ["hinge", "wasserstein"])
def test_smoothing_needs_a_target(loss: str) -> None:
    fails(lambda: GANConfig(label_smoothing=0.1, loss=loss), "label_smoothing = 0.1", loss)
    fails(lambda: small(label_smoothing=0.1, loss=loss), "label_smoothing = 0.1", loss)


def test_a_penalty_of_each_image_needs_a_critic_of_each_image() -> None:
    wrong = {"discriminator_batch_norm": True, "loss": "wasserstein"}
    fails(lambda: small(**wrong), "gradient penalty", "--no-discriminator-batch-norm")


def test_the_discriminator_has_a_rate_of_its_own() -> None:
    optimizers = small(discriminator_rate=0.25).default_optimizers(0.01)
    rates = {name: float(optimizer.learning_rate) for name, optimizer in optimizers.items()}
    assert rates == pytest.approx({"generator_optimizer": 0.01, "discriminator_optimizer": 0.0025})


def test_a_generator_that_rarely_moves_ends_its_schedule_too() -> None:
    schedule = Schedule(warmup_steps=10, cosine_steps=50)
    optimizers = small(critic_steps=5).default_optimizers(0.1, schedule)
    ends = {
        name: float(optimizer._learning_rate(50 if name[0] == "d" else 10))
        for name, optimizer in optimizers.items()
    }
    assert ends == pytest.approx({"generator_optimizer": 0, "discriminator_optimizer": 0}, abs=1e-8)
    assert float(optimizers["generator_optimizer"]._learning_rate(2)) == pytest.approx(0.1)


@pytest.mark.parametrize("architecture", ["convolutional", "residual"])
def test_convolutions_need_images(architecture: str) -> None:
    fails(
        lambda: small(image_shape=(2,), architecture=architecture),
        "events of size 2",
        "--architecture dense",
    )
    # With both networks of the caller's own, the configuration builds none.
    own = {"generator": keras.layers.Dense(2), "discriminator": keras.layers.Dense(1)}
    GAN(image_shape=(2,), architecture=architecture, preprocessing=Identity(), **own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wassertein"}, "did you mean 'wasserstein'"),
        ({"critic_steps": 0}, "critic_steps = 0 is too small"),
        ({"label_smoothing": 0.6}, "too large"),
        ({"hidden": (8,)}, "no field 'hidden'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
    fails(lambda: GAN(image_shape=SHAPE, **arguments), message)


def test_events_that_are_no_images_suit_no_convolution() -> None:
    fails(
        lambda: GAN(image_shape=(4,), architecture="convolutional"),
        "not images",
        "--architecture dense",
    )


def test_networks_that_have_no_weights_yet_get_them(images: np.ndarray) -> None:
    flat = [keras.layers.Flatten(), keras.layers.Dense(1)]
    wide = [keras.layers.Dense(36), keras.layers.Reshape(SHAPE)]
    own = {"generator": keras.Sequential(wide), "discriminator": keras.Sequential(flat)}
    model = GAN(image_shape=SHAPE, latent_dim=3, **own)
    model.compile(**model.default_optimizers(1e-2))
    before = [
        values(network.trainable_variables) for network in (model.generator, model.discriminator)
    ]
    model.fit(images, batch_size=16, verbose=0)
    for network, old in zip((model.generator, model.discriminator), before, strict=True):
        assert old and not same(values(network.trainable_variables), old)


# --- saving and precision ---------------------------------------------------------------


def test_a_saved_game_goes_on_in_the_middle_of_a_cycle(tmp_path: Path, images: np.ndarray) -> None:
    model = small(loss="wasserstein", critic_steps=2, ema_decay=0.9)
    model.compile(**model.default_optimizers(1e-3))
    for _ in range(3):
        model.train_on_batch(images[:16])
    model.save(tmp_path / "g.keras")
    loaded = keras.saving.load_model(tmp_path / "g.keras")
    assert [int(o.iterations) for o in loaded.optimizers.values()] == [1, 3]
    assert same(state(loaded), state(model))
    # Two moments of each weight that is trained, beside iterations and learning rate.
    for optimizer, player in zip(
        loaded.optimizers.values(), (loaded.generator, loaded.discriminator), strict=True
    ):
        assert len(optimizer.variables) == 2 + 2 * len(player.trainable_variables)
    assert loaded.get_compile_config() == model.get_compile_config()
    for _ in range(2):
        before = state(model)
        for player in (model, loaded):
            player.train_on_batch(images[16:32])
        assert same(state(loaded), state(model))
        assert not same(before, state(model))
    assert [int(o.iterations) for o in loaded.optimizers.values()] == [2, 5]


def test_each_optimizer_comes_back_as_it_was(tmp_path: Path, images: np.ndarray) -> None:
    model = small()
    optimizers = keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(3e-4, beta_1=0.5)
    model.compile(*optimizers, run_eagerly=True)
    model.train_on_batch(images[:16])
    model.save(tmp_path / "g.keras")
    loaded = keras.saving.load_model(tmp_path / "g.keras")
    for name, kind, rate in (
        ("generator_optimizer", keras.optimizers.SGD, 0.1),
        ("discriminator_optimizer", keras.optimizers.Adam, 3e-4),
    ):
        optimizer = loaded.optimizers[name]
        assert type(optimizer) is kind
        assert optimizer.get_config() == model.optimizers[name].get_config()
        np.testing.assert_allclose(float(optimizer.learning_rate), rate, rtol=1e-6)
    for player in (model, loaded):
        player.run_eagerly = True
        player.train_on_batch(images[16:32])
    assert same(state(loaded), state(model))


def test_pictures_score_what_is_sampled() -> None:
    model = small(ema_decay=0.9)
    for weight in model.weights:
        if weight.name.startswith("average_"):
            weight.assign(tf.zeros_like(weight.value))
    latents = model.latents(image_seeds(0, 4))
    # Events of 0, the middle of −1…1.
    np.testing.assert_array_equal(model.decode(latents), 0.5)
    assert np.any(model.generate(latents).numpy() != 0)
    images = np.zeros((4, *SHAPE), np.uint8)
    (axes,) = model.pictures(tf.constant(images))["scores"].axes
    grey = tf.sigmoid(model.discriminate(tf.zeros([1, *SHAPE])))
    assert f"generated, mean {float(grey[0]):.3g}" in [
        t.get_text() for t in axes.get_legend().get_texts()
    ]


def test_half_precision_scales_each_loss_by_itself() -> None:
    model, plain = small(dtype="mixed_float16"), [keras.optimizers.SGD(0.1) for _ in range(2)]
    model.compile(*plain)
    scaled = list(model.optimizers.values())
    assert all(isinstance(optimizer, keras.optimizers.LossScaleOptimizer) for optimizer in scaled)
    assert [optimizer.inner_optimizer for optimizer in scaled] == plain
    assert scaled[0] is not scaled[1]
    own = [keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)) for _ in range(2)]
    model.compile(*own)
    assert list(model.optimizers.values()) == own
    model.compile(*plain, auto_scale_loss=False)
    assert list(model.optimizers.values()) == plain


def test_half_precision_is_saved_with_its_scales(tmp_path: Path, images: np.ndarray) -> None:
    model = small(dtype="mixed_float16")
    model.compile(**model.default_optimizers(1e-3), run_eagerly=True)
    model.train_on_batch(images[:16])
    model.save(tmp_path / "h.keras")
    loaded = keras.saving.load_model(tmp_path / "h.keras")
    for optimizer in loaded.optimizers.values():
        assert not isinstance(optimizer.inner_optimizer, keras.optimizers.LossScaleOptimizer)
    assert same(state(loaded), state(model))


# --- what it logs and shows ----------------------------------------------------------------------


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("loss", ["non_saturating", "hinge", "wasserstein"])
def test_evaluation_is_what_the_logits_say(loss: str, images: np.ndarray) -> None:
    model = small(loss=loss)
    model.compile(**model.default_optimizers(1e-2), run_eagerly=True)
    model.fit(images[:32], batch_size=16, verbose=0)
    model.reset_metrics()
    noise = model.next_test_noise()
    latents = noise.normal(64, (3,), LATENTS)
    generated = model.generate(latents)
    events = tf.constant(images / 127.5 - 1, tf.float32)
    real, fake = (model.discriminate(x).numpy().astype(np.float64) for x in (events, generated))
    if loss == "non_saturating":
        generator, discriminator = (
            -np.log(sigmoid(fake)),
            -np.log(sigmoid(real)) - np.log(sigmoid(-fake)),
        )
    elif loss == "hinge":
        generator, discriminator = -fake, np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)
    else:
        share = noise.uniform(64, (), PENALTY)[:, None, None, None]
        between = share * events + (1 - share) * generated
        with tf.GradientTape() as tape:
            tape.watch(between)
            slopes = tape.gradient(model.discriminate(between), between)
        norm = np.linalg.norm(np.reshape(slopes, [64, -1]), axis=1)
        generator, discriminator = -fake, fake - real + 10 * (norm - 1) ** 2
    scores = (sigmoid(real), sigmoid(fake)) if loss == "non_saturating" else (real, fake)
    names = ("generator_loss", "discriminator_loss", "real_score", "fake_score")
    logs = model.evaluate(images, batch_size=64, verbose=0, return_dict=True)
    assert set(logs) == set(names)
    for name, wanted in zip(names, (generator, discriminator, *scores), strict=True):
        # Float32's roundings in two networks of some ten units.
        np.testing.assert_allclose(logs[name], wanted.mean(), rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(model.score(images), scores[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model(images), model.score(images))


def test_smoothing_reaches_the_discriminators_loss_alone(images: np.ndarray) -> None:
    logs = []
    for smoothing in (0.0, 0.2):
        model = small(label_smoothing=smoothing)
        model.compile(**model.default_optimizers(1e-2), jit_compile=False)
        logs.append(model.evaluate(images, batch_size=64, verbose=0, return_dict=True))
    real = model.discriminate(model.preprocessing.likely_events(tf.constant(images))).numpy()
    change = {name: logs[1][name] - logs[0][name] for name in logs[0]}
    # −(1 − s) log σ(a) − s log σ(−a) = −log σ(a) + s a.
    np.testing.assert_allclose(
        change.pop("discriminator_loss"), 0.2 * real.mean(), rtol=1e-4, atol=1e-6
    )
    assert set(change.values()) == {0.0}


@pytest.mark.parametrize(
    ("arguments", "labels", "more"),
    [
        ({}, None, set()),
        ({"latent_dim": 2}, None, {"manifold"}),
        ({"num_classes": 3}, np.arange(8) % 3, set()),
    ],
)
def test_pictures_show_samples_and_scores(
    arguments: dict, labels: np.ndarray | None, more: set[str], images: np.ndarray
) -> None:
    shown = small(**arguments).pictures(images[:8], labels)
    assert set(shown) == {"interpolation", "scores", *more}
    for name, figure in shown.items():
        assert figure.axes, name
    words = shown["scores"].axes[0]
    assert "probability of being real" in words.get_xlabel()
    axes = shown["interpolation"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["linear", "spherical"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("path", "share of the way")
    if "manifold" in more:
        axes = shown["manifold"].axes[0]
        assert (axes.get_ylabel(), axes.get_xlabel()) == ("second latent", "first latent")
