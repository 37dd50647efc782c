"""The GAN as it is used: labels, wrong arguments, saving, precision, logs, pictures."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.families import equal, gan
from tfgen import GAN
from tfgen.models.gan.model import PENALTY
from tfgen.random import LATENTS


def state(model: GAN) -> list[np.ndarray]:
    """All weights, and all that the optimizers hold."""
    return model.get_weights() + [v.numpy() for o in model.optimizers.values() for v in o.variables]


# --- wrong arguments --------------------------------------------------------------------


def test_two_optimizers_are_two_objects() -> None:
    model, one = gan(), keras.optimizers.Adam()
    with pytest.raises(ValueError, match=r"generator_optimizer=…, discriminator_optimizer=…"):
        model.compile(optimizer=one)
    with pytest.raises(ValueError, match="each needs its own object"):
        model.compile(one, one)
    assert model.optimizers == {}
    model.compile("adam", "adam")
    assert set(model.optimizers) == {"generator_optimizer", "discriminator_optimizer"}


# --- saving and precision ---------------------------------------------------------------


@pytest.mark.slow
def test_a_saved_game_goes_on_in_the_middle_of_a_cycle(tmp_path: Path, images: np.ndarray) -> None:
    model = gan(loss="wasserstein", critic_steps=2, ema_decay=0.9)
    model.compile(**model.default_optimizers(1e-3))
    for _ in range(3):
        model.train_on_batch(images[:16])
    model.save(tmp_path / "g.keras")
    loaded = keras.saving.load_model(tmp_path / "g.keras")
    assert [int(o.iterations) for o in loaded.optimizers.values()] == [1, 3]
    assert equal(state(loaded), state(model))
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
        assert equal(state(loaded), state(model))
        assert not equal(before, state(model))
    assert [int(o.iterations) for o in loaded.optimizers.values()] == [2, 5]


def test_half_precision_scales_each_loss_by_itself() -> None:
    model, plain = gan(dtype="mixed_float16"), [keras.optimizers.SGD(0.1) for _ in range(2)]
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


# --- what it logs and shows ----------------------------------------------------------------------


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("loss", ["non_saturating", "wasserstein"])
def test_evaluation_is_what_the_logits_say(loss: str, images: np.ndarray) -> None:
    model = gan(loss=loss)
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
