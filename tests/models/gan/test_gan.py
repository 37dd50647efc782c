"""The GAN against closed forms, and the rules of its game."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.families import equal, gan
from tfgen import GAN, Identity
from tfgen.random import LATENTS


def values(variables: Any) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def weights_of(layer: keras.Layer) -> list[Any]:
    return [*layer.trainable_variables, *layer.non_trainable_variables]


# --- densities on a line ----------------------------------------------------------------


def density(x: np.ndarray, mean: float, stddev: float) -> np.ndarray:
    return np.exp(-(((x - mean) / stddev) ** 2) / 2) / (stddev * np.sqrt(2 * np.pi))


# Seeds 0, 1, 2 come within 0.006 and 0.023, which is what is left of the draws' noise.
@pytest.mark.parametrize(("pack", "least", "atol"), [(1, 1e-3, 0.02), (2, 1e-2, 0.05)])
def test_the_best_discriminator_is_the_share_of_the_real_density(
    pack: int, least: float, atol: float
) -> None:
    """Of a pack, the density is the product of those of its members."""
    # z ↦ 0.7 z + 1 makes q = N(1, 0.7²).
    generator = keras.layers.Dense(1)
    generator.build((None, 1))
    generator.set_weights([np.array([[0.7]]), np.array([1.0])])
    first, last = (keras.initializers.GlorotUniform(seed=seed) for seed in range(2))
    # Sums of squares of lines: the logit log p − log q of two normal densities is one.
    discriminator = keras.Sequential(
        [
            keras.Input((pack,)),
            keras.layers.Dense(8, activation=keras.ops.square, kernel_initializer=first),
            keras.layers.Dense(1, kernel_initializer=last),
        ]
    )
    model = GAN(
        image_shape=(1,),
        latent_dim=1,
        pack=pack,
        generator=generator,
        discriminator=discriminator,
        preprocessing=Identity(),
    )
    steps = 400
    rate = keras.optimizers.schedules.CosineDecay(0.03, steps)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.Adam(rate))
    real = np.random.default_rng(0).normal(-0.5, 1, (200_000, 1)).astype(np.float32)
    model.fit(real, batch_size=2000, epochs=steps // 100, shuffle=False, verbose=0)
    places = np.linspace(-6, 6, 1201 if pack == 1 else 61).astype(np.float32)
    packs = np.stack(np.meshgrid(*[places] * pack), axis=-1).reshape(-1, pack)
    p, q = density(packs, -0.5, 1).prod(1), density(packs, 1, 0.7).prod(1)
    somewhere = (p > least) | (q > least)
    scores = model.score(packs.reshape(-1, 1)).numpy()[::pack]
    np.testing.assert_allclose(scores[somewhere], (p / (p + q))[somewhere], rtol=0, atol=atol)


# --- the order of moves -----------------------------------------------------------------


# Learning rates of generator and discriminator: exact in float32, in which Keras holds them.
RATES = (1 / 8, 1 / 4)


def linear(inputs: int, units: int, seed: int) -> keras.Layer:
    layer = keras.layers.Dense(units, dtype="float64")
    layer.build((None, inputs))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=(inputs, units)), rng.normal(size=units)])
    return layer


def game_on_vectors(**arguments: Any) -> GAN:
    """Linear generator, and a discriminator that is tanh's of lines, in float64."""
    discriminator = keras.Sequential(
        [linear(4, 5, 1), keras.layers.Activation("tanh", dtype="float64"), linear(5, 1, 2)]
    )
    discriminator.build((None, 4))
    return GAN(
        image_shape=(4,),
        latent_dim=3,
        generator=linear(3, 4, 0),
        discriminator=discriminator,
        preprocessing=Identity(),
        dtype="float64",
        **arguments,
    )


def logits(x: tf.Tensor, player: list[tf.Tensor]) -> tf.Tensor:
    kernel, bias, out, shift = player
    return (tf.tanh(x @ kernel + bias) @ out + shift)[:, 0]


def descent(loss: Any, weights: list[np.ndarray], rate: float) -> list[tf.Tensor]:
    tensors = [tf.constant(w) for w in weights]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(tensors)
    return [w - rate * g for w, g in zip(tensors, tape.gradient(value, tensors), strict=True)]


def move(game: GAN, x: np.ndarray) -> list[tf.Tensor]:
    """Both players' weights after descent, with the fakes from before the generator's move."""
    z = game.training_noise().normal(len(x), (3,), LATENTS, "float64")
    generator, discriminator = game.generator.get_weights(), game.discriminator.get_weights()
    fake = z @ generator[0] + generator[1]

    def generator_loss(w: list[tf.Tensor]) -> tf.Tensor:
        return -tf.reduce_mean(tf.math.log_sigmoid(logits(z @ w[0] + w[1], discriminator)))

    def discriminator_loss(w: list[tf.Tensor]) -> tf.Tensor:
        terms = tf.math.log_sigmoid(logits(x, w)) + tf.math.log_sigmoid(-logits(fake, w))
        return -tf.reduce_mean(terms)

    moved = descent(generator_loss, generator, RATES[0])
    return moved + descent(discriminator_loss, discriminator, RATES[1])


# Eagerly in the written order, and in a graph, where nothing but data decides it; and with scaled
# losses, whose scales cancel.
@pytest.mark.parametrize(
    ("run_eagerly", "scales"), [(True, None), (False, None), (True, (2.0**4, 2.0**9))]
)
def test_the_generator_moves_first_and_the_discriminator_sees_what_that_move_drew(
    run_eagerly: bool, scales: tuple[float, ...] | None
) -> None:
    game, x = game_on_vectors(), np.random.default_rng(3).normal(size=(7, 4))
    optimizers = [keras.optimizers.SGD(rate) for rate in RATES]
    if scales:
        optimizers = list(map(keras.optimizers.LossScaleOptimizer, optimizers, scales))
    game.compile(*optimizers, run_eagerly=run_eagerly)
    moved = move(game, x)
    game.train_on_batch(x)
    weights = game.generator.get_weights() + game.discriminator.get_weights()
    for made, wanted in zip(weights, moved, strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_generator_moves_at_each_nth_step(jit_compile: bool, images: np.ndarray) -> None:
    model = gan(critic_steps=3, generator_hidden=(8,), discriminator_hidden=(8,))
    model.compile(**model.default_optimizers(1e-3), jit_compile=jit_compile)
    moved = []
    for _ in range(6):
        players = (model.generator, model.discriminator)
        before = [values(player.trainable_variables) for player in players]
        model.train_on_batch(images[:16])
        after = [values(player.trainable_variables) for player in players]
        moved.append([not equal(a, b) for a, b in zip(before, after, strict=True)])
    assert [generator for generator, _ in moved] == [False, False, True] * 2
    assert all(discriminator for _, discriminator in moved)
    assert int(model.optimizer.iterations) == 2
    assert int(model.discriminator_optimizer.iterations) == 6
    assert int(model.step) == 6


# --- the moving average -----------------------------------------------------------------


@pytest.mark.parametrize(("decay", "critic_steps"), [(0.15, 1), (0.999, 2)])
def test_the_average_is_that_of_the_weights_so_far(
    decay: float, critic_steps: int, images: np.ndarray
) -> None:
    model = gan(ema_decay=decay, critic_steps=critic_steps)
    model.compile(**model.default_optimizers(1e-2), jit_compile=False)
    averages = [w for w in model.weights if w.name.startswith("average_")]
    wanted = [w.astype(np.float64) for w in values(weights_of(model.generator))]
    assert equal([w.astype(np.float32) for w in wanted], values(averages))
    for step in range(6):
        model.train_on_batch(images[:16])
        if (step + 1) % critic_steps == 0:
            t = step // critic_steps
            share = min(decay, (1 + t) / (10 + t))
            now = values(weights_of(model.generator))
            wanted = [share * w + (1 - share) * n for w, n in zip(wanted, now, strict=True)]
        for made, average in zip(values(averages), wanted, strict=True):
            # Six roundings of float32, of weights below 2.
            np.testing.assert_allclose(made, average, rtol=1e-6, atol=1e-6)
