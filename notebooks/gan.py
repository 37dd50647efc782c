# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · The generative adversarial network
#
# A generative adversarial network (GAN) learns to draw images by a game between two networks. One
# draws, the other one tells drawn images from real ones. The GAN is due to Goodfellow et al. 2014,
# "Generative adversarial nets". tfgen reproduces a course report of 2019 that compares three
# generative models of MNIST: a VAE, a GAN and a normalizing flow. This notebook answers questions
# 2.1 to 2.7 of that report and draws its figures 4, 5 and 6. After question 2.4, it shows why a GAN
# may leave out a part of the data.
#
# - **Time.** About five minutes on two cores, without a GPU and without network. MNIST comes with
#   the package.
# - **Exercises.** Six functions, 2.a to 2.f. In the assignment, their bodies are blank. After each
#   of them, `check` says at once whether the function is right, or names the mistake. `python -m
#   tfgen.notebooks.check gan.ipynb` grades the whole notebook.
# - **In Colab.** Upload this notebook, and install tfgen in a first cell with `%pip install FILE`,
#   where `FILE` is its wheel; `notebooks/README.md` shows how to build it. The notebook needs only
#   what the package contains. In a checkout, it also shows the record of a longer training.
#
# Symbols are those of the paper: x is an image, or a point in a toy example; z are its latents; G
# is the generator, D the discriminator. log is the natural logarithm, so values are in nats.

# %% tags=["setup"]
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no messages of TensorFlow on its start

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import tfgen
from tfgen.data import train_batches
from tfgen.models.gan.losses import LOSSES
from tfgen.nn.blocks import dense_network
from tfgen.notebooks.checks import check
from tfgen.publishing.versions import shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
SEED = 0
TOY_STEPS = 300 if SMALL else 2000  # of a discriminator of points on a line
FROZEN_STEPS = 40 if SMALL else 200  # of a discriminator while the generator waits
RING_STEPS = 200 if SMALL else 5000  # of the discriminator on the ring, with each loss
RING_LOSSES = ("non_saturating", "wasserstein") if SMALL else tuple(LOSSES)
DIGIT_STEPS, DIGIT_POINT = (60, 10) if SMALL else (6000, 100)  # on MNIST; steps of one point

# %%
REAL_COLOUR, GAN_COLOUR = tfgen.figures.REAL_COLOUR, tfgen.figures.family_colour("gan")
RECORDS = Path(tfgen.__file__).resolve().parents[1] / "docs" / "gan"  # in a checkout
keras.utils.set_random_seed(SEED)
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# ## Question 2.1: what goes into generator and discriminator, and what comes out
#
# The **generator** G takes latents z, a vector of random numbers drawn from a standard normal
# distribution, and returns an image x = G(z). The same z always gives the same image. The
# distribution of G(z), when z is drawn at random, is called $p_g$. Training is to make it equal to
# $p_\text{data}$, the distribution of the real images.
#
# The **discriminator** D takes an image, real or generated, and returns one number, the *logit* a.
# The probability that the image is real, according to D, is
# $D(x) = \sigma(a) = 1 / (1 + e^{-a})$.
#
# The next cell builds the report's GAN for MNIST, images of handwritten digits of 28 × 28 pixels.
# Its generator makes 784 pixels between −1 and 1 from 100 latents. Nothing is trained yet, so the
# probabilities are near ½ on average.

# %%
data = tfgen.load_data("mnist")
gan = tfgen.GAN(seed=SEED)
latents = gan.latents(tfgen.image_seeds(SEED, 64))
fake_images = gan.generate(latents)
real_images = tf.cast(data.train.images[:64], tf.float32) / 127.5 - 1  # bytes 0…255 to −1…1

print("G:", latents.shape, "→", fake_images.shape)
print("D:", fake_images.shape, "→", gan.discriminate(fake_images).shape)
for words, images in {"generated": fake_images, "real": real_images}.items():
    probability = tf.reduce_mean(tf.sigmoid(gan.discriminate(images)))
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    print(f"{words}: pixels {low:.2f} … {high:.2f}, mean of D(x) {probability:.3f} before training")
    assert -1 <= low <= high <= 1
    assert abs(probability - 0.5) < 0.2
assert np.array_equal(gan.generate(latents), fake_images)  # the same z, the same image

# %% [markdown]
# A GAN draws samples but has no density: $p_g(x)$ cannot be evaluated. The reason is the dimension.
# The images that G can draw are the values of a function of 100 numbers, so they lie on a surface
# of at most 100 dimensions in the space of 784 pixels. Such a surface has no volume. The Jacobian
# matrix of G, of 784 rows and 100 columns, shows this: its rank is the number of directions in
# which x can move when z moves.

# %%
first_latents = latents[:1]
with tf.GradientTape() as tape:
    tape.watch(first_latents)
    pixels = tf.reshape(gan.generate(first_latents), [784])
jacobian = tape.jacobian(pixels, first_latents)[:, 0]
rank = np.linalg.matrix_rank(jacobian)
print(f"The Jacobian of G is {jacobian.shape[0]} × {jacobian.shape[1]}. Its rank is {rank}.")
assert rank <= 100 < 784

# %% [markdown]
# ## Question 2.2: the two terms of the minimax objective
#
# G and D play a game with one number at stake, its value V (Goodfellow et al. 2014, equation 1):
#
# $$\min_G \max_D V(D, G) = \mathbb{E}_{x \sim p_\text{data}}[\log D(x)]
#   + \mathbb{E}_{z \sim N(0, I)}[\log(1 - D(G(z)))].$$
#
# | term | D, which maximizes V | G, which minimizes V |
# |---|---|---|
# | $\mathbb{E}[\log D(x)]$ | gives real images a high probability | has no influence |
# | $\mathbb{E}[\log(1 - D(G(z)))]$ | gives generated images a low one | makes D give a high one |
#
# Both terms are at most 0, because a probability is at most 1. D is a classifier that sees as many
# real as generated images. V is −2 times its cross-entropy.
#
# D returns logits, and the logarithms are computed from them directly. If D is certain, $\sigma(a)$
# or $1 - \sigma(a)$ is rounded to 0, which has no logarithm. With
# $\text{softplus}(a) = \log(1 + e^a)$:
#
# $$\log D(x) = \log \sigma(a) = -\text{softplus}(-a), \qquad
#   \log(1 - D(x)) = -\text{softplus}(a).$$

# %% [markdown]
# ### Exercise 2.a — The loss of the discriminator
#
# Optimizers minimize, so the loss of D is −V. Write it for the logits of a batch of real images and
# of a batch of generated ones. Each expectation becomes a mean over its batch. The function
# `tf.nn.softplus` is safe for any logit.


# %% tags=["exercise"]
def discriminator_loss(real_logits, fake_logits):
    """−V, the loss that the discriminator minimizes, in nats.

    Args:
        real_logits: logits of real images, float32[B] or float32[B, 1].
        fake_logits: logits of generated images, of any number of them.

    Returns:
        A scalar tensor.
    """
    real_term = tf.reduce_mean(tf.nn.softplus(-real_logits))
    fake_term = tf.reduce_mean(tf.nn.softplus(fake_logits))
    return real_term + fake_term


# %%
check(discriminator_loss)

# %% [markdown]
# The check compares the loss with closed forms. Then V is printed for discriminators that know
# nothing, that are right, and that are wrong, and for the GAN before training.

# %%
logits = {
    "knows nothing, D = ½": ([0.0], [0.0]),
    "certain and right": ([5.0], [-5.0]),
    "certain and wrong": ([-5.0], [5.0]),
    "before training": (gan.discriminate(real_images), gan.discriminate(fake_images)),
}
for words, (real, fake) in logits.items():
    value = -discriminator_loss(tf.constant(real), tf.constant(fake))
    print(f"{words:<22} V = {value:8.4f} nats")
print(f"{'':<22} −2 ln 2 = {-2 * np.log(2):.4f} nats")

# %% [markdown]
# The two networks take turns. In the turn of D, its weights move and those of G do not. The images
# G(z) are then data like the real ones. `tf.stop_gradient` says so: it returns its argument and
# lets no gradient through. Without it, an optimizer that has the weights of both networks would
# also move G, to where D wins more easily. If the optimizer has only the weights of D, the gradient
# is still computed back through G, for nothing.

# %% [markdown]
# ### Exercise 2.b — The turn of the discriminator
#
# Write the loss of one turn of D. Call both networks with `training=True`, so that dropout and
# batch normalization work as in training. No gradient may reach the generator.


# %% tags=["exercise"]
def discriminator_step_loss(generator, discriminator, real, latents):
    """The discriminator's loss in its turn, which has no gradient by the generator's weights.

    Args:
        generator: network, latents float32[B, d] → images; takes `training`.
        discriminator: network, images → logits float32[B, 1]; takes `training`.
        real: real images, float32[B, ...].
        latents: z, float32[B, d].

    Returns:
        A scalar tensor, in nats.
    """
    fake = tf.stop_gradient(generator(latents, training=True))
    real_logits = discriminator(real, training=True)
    return discriminator_loss(real_logits, discriminator(fake, training=True))


# %%
check(discriminator_step_loss)

# %%
with tf.GradientTape(persistent=True) as tape:
    loss = discriminator_step_loss(gan.generator, gan.discriminator, real_images, latents)
by_generator = tape.gradient(loss, gan.generator.trainable_variables)
by_discriminator = tape.gradient(loss, gan.discriminator.trainable_variables)
norm = tf.linalg.global_norm(by_discriminator)
print(f"norm of the gradient by the weights of D: {norm:.3f}")
print("gradients by the weights of G:", set(by_generator))
assert norm > 0
assert set(by_generator) == {None}

# %% [markdown]
# ## Question 2.3: the value at the optimum
#
# Hold G fixed and ask for the best D. Suppose that $p_\text{data}$ and $p_g$ have densities, as in
# the examples below. The $p_g$ of images has none (question 2.1); this derivation, which is that of
# the paper, leaves that aside. Then both expectations are integrals over x:
#
# $$V(D, G) = \int p_\text{data}(x) \log D(x) + p_g(x) \log(1 - D(x)) \, dx.$$
#
# D may be any function, so its value y = D(x) can be chosen for each x alone. The integrand
# $p_\text{data} \log y + p_g \log(1 - y)$ has the derivative $p_\text{data} / y - p_g / (1 - y)$,
# which is 0 at (Goodfellow et al. 2014, proposition 1)
#
# $$D^*(x) = \frac{p_\text{data}(x)}{p_\text{data}(x) + p_g(x)}.$$
#
# This is Bayes' rule for the question "real or generated?" if both are equally frequent.

# %% [markdown]
# ### Exercise 2.c — The optimal discriminator
#
# Write $D^*$ for two densities that are known by their logarithms. Where both densities are tiny,
# their exponentials round to 0. Find a form that needs only the difference of the log densities.


# %% tags=["exercise"]
def optimal_discriminator(log_p_data, log_p_g):
    """D*(x), the probability that x is real if real and generated points are equally frequent.

    Args:
        log_p_data: log density of real points, in nats, an array of any shape.
        log_p_g: log density of generated points at the same x, of the same shape.

    Returns:
        Probabilities, of the same shape.
    """
    return np.exp(-np.logaddexp(0.0, log_p_g - log_p_data))


# %%
check(optimal_discriminator)

# %% [markdown]
# Now a discriminator *learns*, and $D^*$ is known. Real points x on a line come from a mixture of
# two normal distributions. The generator is $G(z) = 0.5 + 1.5 z$, so $p_g$ is the normal
# distribution $N(0.5, 1.5^2)$. A network with one input and two hidden layers minimizes
# `discriminator_loss` on fresh points in each step. It sees points only, never a density.

# %%
GRID = np.linspace(-16, 16, 6401)
SPACING = GRID[1] - GRID[0]
MEANS, STDDEVS = np.array([-1.5, 2.0]), np.array([0.5, 0.8])
points_rng = np.random.default_rng(SEED)


def log_normal(x, mean, stddev):
    return -0.5 * ((x - mean) / stddev) ** 2 - np.log(stddev * np.sqrt(2 * np.pi))


def log_mixture(x):
    parts = log_normal(x[:, None], MEANS, STDDEVS)
    return np.logaddexp(parts[:, 0], parts[:, 1]) - np.log(2)


def draw_mixture(n):
    part = points_rng.integers(2, size=n)
    return points_rng.normal(MEANS[part], STDDEVS[part])


def draw_normal(n):
    return 0.5 + 1.5 * points_rng.normal(size=n)


# %%
def train_discriminator(draw_real, draw_fake, steps=TOY_STEPS, batch=1024):
    """A discriminator of points on a line, trained against a generator that does not move."""
    hidden = [keras.layers.Dense(64, activation="swish") for _ in range(2)]
    network = keras.Sequential([keras.Input([1]), *hidden, keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps))
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(real, fake):
        with tf.GradientTape() as tape:
            loss = discriminator_loss(network(real), network(fake))
        optimizer.apply(tape.gradient(loss, network.trainable_variables))

    for _ in range(steps):
        step(*(tf.constant(draw(batch)[:, None], tf.float32) for draw in (draw_real, draw_fake)))
    return network


log_p_data, log_p_g = log_mixture(GRID), log_normal(GRID, 0.5, 1.5)
best = optimal_discriminator(log_p_data, log_p_g)
learned_logits = train_discriminator(draw_mixture, draw_normal)(GRID[:, None].astype(np.float32))
learned = tf.sigmoid(learned_logits[:, 0]).numpy()

# %%
density = (np.exp(log_p_data) + np.exp(log_p_g)) / 2
difference = SPACING * np.sum(density * np.abs(learned - best))
print(f"The learned D differs from D* by {difference:.4f} on average over all points.")
# Batches of 1024 points leave some noise in D; a D that knows nothing differs by more than 0.2.
assert difference < (0.06 if SMALL else 0.02)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(GRID, np.exp(log_p_data), color=REAL_COLOUR, label="real points")
left.plot(GRID, np.exp(log_p_g), color=GAN_COLOUR, label="generated points")
left.set(xlim=(-5, 6), xlabel="x", ylabel="density", title="two known densities")
right.plot(GRID, best, color=REAL_COLOUR, label="D*, from the densities")
right.plot(GRID, learned, "--", color=GAN_COLOUR, label="D, learned from points")
right.axhline(0.5, color="grey", linewidth=0.5)
right.set(xlim=(-5, 6), ylim=(0, 1), xlabel="x", ylabel="probability that x is real")
right.set_title("discriminators")
for axes in (left, right):
    axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.1.* Left: the densities of real and of generated points. Right: the optimal
# discriminator, and one that was trained on points alone. They agree where points are. Outside,
# where neither density puts points, nothing tells D what to answer. $D^*$ is ½ where the densities
# cross.
#
# Put $D^*$ into V. Goodfellow et al. 2014 (theorem 1) find
#
# $$V(D^*, G) = -2 \ln 2 + 2\, \text{JSD}(p_\text{data}, p_g),$$
#
# with the Jensen-Shannon divergence of two densities p and q, whose mean is $m = (p + q) / 2$:
#
# $$\text{JSD}(p, q) = \tfrac12 \text{KL}(p \,\|\, m) + \tfrac12 \text{KL}(q \,\|\, m), \qquad
#   \text{KL}(p \,\|\, m) = \int p(x) \log \frac{p(x)}{m(x)} \, dx.$$
#
# It is 0 if p = q, and else positive. Its largest value is ln 2, for densities without overlap.

# %% [markdown]
# ### Exercise 2.d — The Jensen-Shannon divergence
#
# Write the divergence of two densities that are given by their logarithms on a grid of points. An
# integral is then a sum over the grid, times its spacing. `np.logaddexp(a, b)` is
# $\log(e^a + e^b)$.


# %% tags=["exercise"]
def jensen_shannon(log_p, log_q, spacing):
    """The Jensen-Shannon divergence of two densities, in nats.

    Args:
        log_p: log density of p on an even grid, in nats, float64[N].
        log_q: log density of q on the same grid.
        spacing: distance of neighbouring points of the grid.

    Returns:
        A number between 0 and ln 2.
    """
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    from_p = np.exp(log_p) * (log_p - log_m)
    from_q = np.exp(log_q) * (log_q - log_m)
    return 0.5 * spacing * np.sum(from_p + from_q)


# %%
check(jensen_shannon)

# %% [markdown]
# The next cell checks the equation for $V(D^*, G)$ on the two densities above. A learned D cannot
# do better than $D^*$, so $V(D, G) \leq V(D^*, G)$.


# %%
def value(log_d, log_not_d, log_p_data, log_p_g):
    """V on the grid, from log D(x) and log(1 − D(x))."""
    return SPACING * np.sum(np.exp(log_p_data) * log_d + np.exp(log_p_g) * log_not_d)


best_value = value(np.log(best), np.log1p(-best), log_p_data, log_p_g)
by_divergence = -2 * np.log(2) + 2 * jensen_shannon(log_p_data, log_p_g, SPACING)
a = learned_logits[:, 0].numpy().astype(np.float64)
learned_value = value(-np.logaddexp(0, -a), -np.logaddexp(0, a), log_p_data, log_p_g)
print(f"V(D*, G)        = {best_value:.6f} nats")
print(f"−2 ln 2 + 2 JSD = {by_divergence:.6f} nats")
print(f"V(D, G)         = {learned_value:.6f} nats, of the learned D")
assert np.isclose(best_value, by_divergence, atol=1e-9)
assert learned_value <= best_value
assert np.isclose(jensen_shannon(log_p_g, log_p_g, SPACING), 0, atol=1e-12)

# %% [markdown]
# G minimizes V, and the divergence is smallest where it is 0. So at the optimum of the game
# $p_g = p_\text{data}$. Then $D^*(x) = \tfrac12$ for each x: D can only guess. The value is
# $2 \log \tfrac12 = -2 \ln 2$.
#
# The next cell lets a discriminator learn when the "generator" draws from $p_\text{data}$ itself,
# and prints what it reaches. The picture moves the generator of another game,
# $G(z) = \mu + z$, away from $p_\text{data} = N(0, 1)$.

# %%
network = train_discriminator(draw_mixture, draw_mixture)
fresh = [network(draw_mixture(100_000)[:, None].astype(np.float32)) for _ in range(2)]
print(f"V = {-discriminator_loss(*fresh):.4f} nats where p_g is p_data")
print(f"2 log ½ = {2 * np.log(0.5):.4f} nats")
print(f"D(x) is {tf.reduce_mean(tf.sigmoid(fresh[0])):.3f} on average")
# With small logits a, V is below 2 log ½ by a quarter of the mean of a², the noise of training.
assert np.isclose(-discriminator_loss(*fresh), 2 * np.log(0.5), atol=0.02)

log_standard = log_normal(GRID, 0, 1)
shifts = np.linspace(0, 8, 81)
divergences = [jensen_shannon(log_standard, log_normal(GRID, m, 1), SPACING) for m in shifts]
values = -2 * np.log(2) + 2 * np.array(divergences)
assert np.isclose(values[0], 2 * np.log(0.5))
assert np.all(np.diff(values) > 0)
assert -0.001 < values[-1] < 0

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(shifts, values, color=GAN_COLOUR)
axes.axhline(-2 * np.log(2), color="grey", linestyle=":", label="−2 ln 2: nothing to tell apart")
axes.axhline(0, color="grey", linestyle="--", label="0: no overlap")
axes.set(xlabel="shift μ of the generator", ylabel="V(D*, G) [nats]")
axes.legend(loc="center right", fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.2.* The value of the game with the best discriminator, by the distance of two normal
# densities of standard deviation 1. It is lowest, −2 ln 2, where they are equal, and rises to 0.
# Far away it is flat. A generator that starts there does not see from V where to go. This is the
# subject of the next question.
#
# ## Question 2.4: why log(1 − D(G(z))) has no gradient early on, and what is done
#
# Early in training, generated images look like noise. D is soon certain: the logit a of each G(z)
# is far below 0. The gradient reaches G through this logit. By the chain rule it has the factor
#
# $$\frac{d}{da} \log(1 - \sigma(a)) = -\sigma(a) = -D(G(z)),$$
#
# which is about 0 just there. The loss is said to *saturate*. Goodfellow et al. 2014 (section 3)
# therefore let G minimize another loss, $-\log D(G(z))$, the *non-saturating* loss. Its derivative
#
# $$\frac{d}{da} \bigl(-\log \sigma(a)\bigr) = -(1 - \sigma(a))$$
#
# is about −1 where D is certain. Both losses push D(G(z)) up, and differ in how hard. With the
# second one, G and D no longer play for the same number V.

# %% [markdown]
# ### Exercise 2.e — The loss of the generator
#
# Write the non-saturating loss, the mean of −log D(G(z)) over a batch, from logits.


# %% tags=["exercise"]
def generator_loss(fake_logits):
    """The non-saturating loss that the generator minimizes, in nats.

    Args:
        fake_logits: logits of generated images, float32[B] or float32[B, 1].

    Returns:
        A scalar tensor.
    """
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


# %%
check(generator_loss)


# %%
def saturating_loss(fake_logits):
    """log(1 − D(G(z))), the generator's part of V."""
    return -tf.reduce_mean(tf.nn.softplus(fake_logits))


GENERATOR_LOSSES = {
    "log(1 − D), saturating": saturating_loss,
    "−log D, non-saturating": generator_loss,
}
COLOURS = dict(zip(GENERATOR_LOSSES, ("grey", GAN_COLOUR), strict=True))


def loss_and_slope(loss, logits):
    """Loss and its derivative by the logit, for each logit alone."""
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = tf.map_fn(loss, logits)
    return losses.numpy(), tape.gradient(losses, logits).numpy()


# %%
early = float(np.log(0.001 / 0.999))  # the logit of D(G(z)) = 0.001
for words, loss in GENERATOR_LOSSES.items():
    slope = loss_and_slope(loss, [early])[1][0]
    print(f"{words:<23} derivative {slope:8.4f} where D(G(z)) = 0.001")

# %%
a = np.linspace(-8, 8, 161)
curves = {words: loss_and_slope(loss, a) for words, loss in GENERATOR_LOSSES.items()}
saturating, non_saturating = (slope for _, slope in curves.values())
probability = 1 / (1 + np.exp(-a))
assert np.allclose(saturating, -probability, atol=1e-5)
assert np.allclose(non_saturating, probability - 1, atol=1e-5)

figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for words, results in curves.items():
    for axes, result in zip(panels, results, strict=True):
        axes.plot(a, result, color=COLOURS[words], label=words)
panels[0].set(ylabel="loss of the generator [nats]", title="loss")
panels[1].set(ylabel="derivative of the loss by a", title="gradient that reaches G")
for axes in panels:
    axes.axvspan(-8, -4, color="grey", alpha=0.15, label="early in training")
    axes.set(xlim=(-8, 8), xlabel="logit a of a generated image")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.3.* The two losses of the generator and their derivatives. Where D is certain that the
# image is generated, in the shaded part, the saturating loss is flat, and the non-saturating one
# has slope −1. Where D is fooled, at the right, it is the other way round, and nothing is left to
# do.
#
# The same for densities: let $p_\text{data} = N(0, 1)$, $G(z) = \mu + z$, and D the best
# discriminator. Its logit is
# $a(x) = \log p_\text{data}(x) - \log p_g(x) = \mu^2 / 2 - \mu x$, of derivative −μ. So the
# derivatives of the two losses by μ, with D held fixed, are
#
# $$\mu \, \mathbb{E}_{x \sim p_g}[D^*(x)] \quad \text{and} \quad
#   \mu \, \mathbb{E}_{x \sim p_g}[1 - D^*(x)].$$
#
# The first one is the slope of figure 2.2: the gradient of V at the best D is that of 2 JSD. For
# large μ it vanishes (Arjovsky & Bottou 2017, "Towards principled methods for training generative
# adversarial networks").

# %%
shifts, delta = np.linspace(0, 10, 101), 1e-3
slopes = []
for shift in shifts:
    log_p_g = log_normal(GRID, shift, 1)
    mean_d = SPACING * np.sum(np.exp(log_p_g) * optimal_discriminator(log_standard, log_p_g))
    slopes.append((shift * mean_d, shift * (1 - mean_d)))
saturating, non_saturating = np.transpose(slopes)


def double_divergence(shift):
    return 2 * jensen_shannon(log_standard, log_normal(GRID, shift, 1), SPACING)


for shift, slope in zip(shifts[10:50:10], saturating[10:50:10], strict=True):
    central = (double_divergence(shift + delta) - double_divergence(shift - delta)) / (2 * delta)
    assert np.isclose(slope, central, atol=1e-5)  # the error of the difference is of order delta²
# The logarithm of the first slope falls by more than 1 for each unit of μ, ever faster.
assert np.all(np.diff(np.log(saturating[60:])) < -(shifts[61] - shifts[60]))
assert np.allclose(non_saturating[60:] / shifts[60:], 1, atol=0.01)

# %%
print(f"Slopes at μ = {shifts[60]:.0f}: {saturating[60]:.1e} nats, {non_saturating[60]:.2f} nats")

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for words, slope in zip(GENERATOR_LOSSES, (saturating, non_saturating), strict=True):
    axes.semilogy(shifts[1:], slope[1:], color=COLOURS[words], label=words)
axes.set(xlabel="shift μ of the generator", ylabel="derivative of the loss by μ [nats]")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.4.* The slope of the generator's loss by its parameter μ, at the best discriminator. Far
# from the real points, the slope of the saturating loss falls faster than exponentially. That of
# the non-saturating loss grows in proportion to μ.
#
# And for MNIST: the generator stays as it was before training, and the discriminator learns alone,
# step by step. The next cells record the norm of the gradient by all weights of G, with both
# losses.

# %%
game = tfgen.GAN(seed=SEED)
optimizer = keras.optimizers.Adam(2e-4)
optimizer.build(game.discriminator.trainable_variables)


@tf.function
def move_discriminator(real, latents):
    with tf.GradientTape() as tape:
        loss = discriminator_step_loss(game.generator, game.discriminator, real, latents)
    optimizer.apply(tape.gradient(loss, game.discriminator.trainable_variables))


@tf.function
def gradient_norms(latents):
    weights, norms = game.generator.trainable_variables, []
    for loss in GENERATOR_LOSSES.values():
        with tf.GradientTape() as tape:
            fake = game.generator(latents, training=True)
            losses = loss(game.discriminator(fake))
        norms.append(tf.linalg.global_norm(tape.gradient(losses, weights)))
    return norms


# %%
norms = []
batches = train_batches(data.train.images, batch_size=64, seed=SEED)
for images in batches.take(FROZEN_STEPS):
    norms.append(gradient_norms(tf.random.normal([64, 100])))
    move_discriminator(tf.cast(images, tf.float32) / 127.5 - 1, tf.random.normal([64, 100]))

# %%
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for words, curve in zip(GENERATOR_LOSSES, np.transpose(norms), strict=True):
    axes.semilogy(curve, color=COLOURS[words], label=words)
axes.set(xlabel="steps of D, while G waits", ylabel="norm of the gradient by the weights of G")
axes.legend(fontsize=8)
plt.show()

first, last = norms[0], norms[-1]
for words, before, after in zip(GENERATOR_LOSSES, first, last, strict=True):
    print(f"{words:<23} {before:.4f} before, {after:.6f} after {FROZEN_STEPS} steps of D")
assert last[0] < 0.2 * last[1]

# %% [markdown]
# *Figure 2.5.* The gradient of an untrained generator of digits, while its discriminator learns. As
# D becomes certain, the gradient of the saturating loss becomes much smaller than that of the
# non-saturating loss. The cell prints both.

# %% [markdown]
# ## After question 2.4: mode collapse
#
# Of its three models, the report ranks the GAN last in coverage of the data, by theory. What may go
# wrong is called *mode collapse*: G draws only some kinds of images, and leaves out others. A
# *mode* is a peak of the density, such as one digit. A ring of eight narrow normal distributions in
# the plane shows it, because its modes can be counted (Metz et al. 2016, "Unrolled generative
# adversarial networks").
#
# Does V not forbid this? Let G draw k of the eight modes, each perfectly and equally often. Inside
# such a mode, $p_\text{data}$ has the weight 1/8 and $p_g$ the weight 1/k. So $D^*$ is
# k / (k + 8) there, and 1 in the modes that are left out:
#
# $$V(D^*, G) = \tfrac{k}{8} \log \tfrac{k}{k + 8} + \log \tfrac{8}{k + 8}.$$
#
# The next two cells define the ring, check this with points of both distributions, and draw it.

# %%
MODES, RADIUS, STDDEV = 8, 2.0, 0.02
angles = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw_ring(n, modes=MODES, seed=SEED):
    """Points of the first `modes` modes of the ring, float32[n, 2]."""
    rng = np.random.default_rng(seed)
    noise = STDDEV * rng.standard_normal((n, 2))
    return (CENTRES[rng.integers(modes, size=n)] + noise).astype(np.float32)


def log_ring(points, modes=MODES):
    """The log density of the first `modes` modes of the ring, float64[N]."""
    parts = log_normal(points[:, None].astype(np.float64), CENTRES[:modes], STDDEV).sum(axis=2)
    return np.logaddexp.reduce(parts, axis=1) - np.log(modes)


def best_ring_discriminator(points, modes):
    return optimal_discriminator(log_ring(points), log_ring(points, modes))


# %%
ring, covered = draw_ring(20_000), np.arange(1, MODES + 1)
exact = covered / 8 * np.log(covered / (covered + 8)) + np.log(8 / (covered + 8))
for k in covered:
    inside = best_ring_discriminator(draw_ring(20_000, k, seed=1), k)
    assert np.allclose(inside, k / (k + 8))  # the same number at each point of G
    with np.errstate(divide="ignore"):
        log_d = np.log(best_ring_discriminator(ring, k))
    # A mean over 20 000 points; in each mode log D is constant, so only the shares of modes vary.
    assert np.isclose(log_d.mean() + np.log(1 - inside).mean(), exact[k - 1], atol=0.03)

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(covered, exact, "o-", color=GAN_COLOUR)
axes.axhline(-2 * np.log(2), color="grey", linestyle=":", label="−2 ln 2")
axes.set(xlabel="modes that the generator covers, of 8", ylabel="V(D*, G) [nats]")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.6.* The value of the game at the best discriminator, if G covers k of eight modes
# perfectly. G minimizes V, so each further mode pays.
#
# The value forbids collapse, but the gradient does not show the way out. It reaches G through
# $D(G(z))$, at the points that G draws. There $D^*$ is the same number k / (k + 8) everywhere, as
# the cell above asserts. Its slope is 0 at each point of G, so no point has a reason to move. That
# a mode is missing shows only where G draws nothing.
#
# In practice D is not $D^*$ but a network in training, and the loss decides how G follows it.
# `tfgen.GAN` has six pairs of losses. Here $a_x$ is the logit of a real image, $a_z$ that of a
# generated one:
#
# | `loss` | D minimizes the mean of | G minimizes the mean of |
# |---|---|---|
# | `minimax` | $-\log \sigma(a_x) - \log(1 - \sigma(a_z))$ | $\log(1 - \sigma(a_z))$ |
# | `non_saturating` | the same | $-\log \sigma(a_z)$ |
# | `least_squares` | $\frac12 (a_x - 1)^2 + \frac12 a_z^2$ | $\frac12 (a_z - 1)^2$ |
# | `hinge` | $\max(0, 1 - a_x) + \max(0, 1 + a_z)$ | $-a_z$ |
# | `wasserstein` | $-a_x + a_z$ + gradient penalty | $-a_z$ |
# | `relativistic` | $-\log \sigma(a_x - a_z)$ | $-\log \sigma(a_z - a_x)$ |
#
# The first two are of Goodfellow et al. 2014, the others of Mao et al. 2017 ("Least squares
# generative adversarial networks"), Lim & Ye 2017 ("Geometric GAN"), Arjovsky et al. 2017
# ("Wasserstein GAN") and Jolicoeur-Martineau 2019 ("The relativistic discriminator"). The *gradient
# penalty* of Gulrajani et al. 2017 ("Improved training of Wasserstein GANs") keeps the slope of D
# near 1 between real and generated points. With the last four losses, D is called a *critic*, and
# its output is a score, not the logit of a probability.
#
# The next cell compares the table with the losses of tfgen, and with the two that you wrote.

# %%
x, z = tf.random.normal([2, 100], seed=SEED)  # logits of real and of generated images
log_d, log_not_d = (tf.math.log(tf.sigmoid(logits)) for logits in (x, -z))
classifier_loss = -log_d - log_not_d
table = {
    "minimax": (classifier_loss, log_not_d),
    "non_saturating": (classifier_loss, -tf.math.log(tf.sigmoid(z))),
    "least_squares": (((x - 1) ** 2 + z**2) / 2, (z - 1) ** 2 / 2),
    "hinge": (tf.maximum(0.0, 1 - x) + tf.maximum(0.0, 1 + z), -z),
    "wasserstein": (z - x, -z),
    "relativistic": (-tf.math.log(tf.sigmoid(x - z)), -tf.math.log(tf.sigmoid(z - x))),
}
assert table.keys() == LOSSES.keys()
for name, (of_discriminator, of_generator) in table.items():
    loss = LOSSES[name]
    assert np.allclose(tf.add_n(loss.discriminator(x, z, 0.0)), of_discriminator, atol=1e-5)
    logits = (z, x) if loss.relative else (z,)
    assert np.allclose(loss.generator(*logits), of_generator, atol=1e-5)
assert np.isclose(discriminator_loss(x, z), tf.reduce_mean(table["non_saturating"][0]))
assert np.isclose(generator_loss(z), tf.reduce_mean(table["non_saturating"][1]))
print("The table holds. The losses that you wrote are those of loss='non_saturating'.")

# %% [markdown]
# Each loss trains the same two networks on the ring, with the same points, noise, optimizer and
# number of steps. D takes five steps for each step of G, so that it is near its optimum. This is
# the hard case for the losses of a classifier, as question 2.4 showed.
#
# A mode counts as captured if at least 1 % of the samples lie within three standard deviations (3σ)
# of its centre. In a perfect sample, each mode has an eighth.

# %%
PENALTIES = {"wasserstein": {"gradient_penalty": 1.0}}
CRITIC_STEPS, RING_SEED, RING_BATCH = 5, 1, 256  # try CRITIC_STEPS = 1, or other seeds


def captured(points):
    """The number of captured modes, and the share of points within 3σ of a mode."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=-1)
    shares = np.mean(distances <= 3 * STDDEV, axis=0)
    return int(np.sum(shares >= 0.01)), float(np.sum(shares))


def train_on_ring(loss, batches):
    """2500 samples of a GAN that is trained on the ring with one loss."""
    # For points of the plane: unlike the built-in generator of images, it ends without a tanh.
    form = {"dtype": "float32", "name": "generator", "seed": 2 * RING_SEED}
    generator = dense_network((2,), (128, 128), (2,), **form)
    common = {"image_shape": (2,), "preprocessing": tfgen.Identity(), "seed": RING_SEED}
    networks = {"latent_dim": 2, "generator": generator, "discriminator_hidden": (128, 128)}
    options = {"dropout": 0.0, "critic_steps": CRITIC_STEPS, "beta_1": 0.5, "ema_decay": 0.99}
    penalty = PENALTIES.get(loss, {})
    ring_gan = tfgen.GAN(loss=loss, **common, **networks, **options, **penalty)
    ring_gan.compile(**ring_gan.default_optimizers(1e-3), steps_per_execution=100)
    ring_gan.fit(batches, shuffle=False, verbose=0)
    return ring_gan.sample(2500, seed=RING_SEED).numpy()


# %%
modes, quality = captured(ring)
assert modes == MODES
# The share within 3σ of a normal distribution in the plane; a mean over 20 000 points.
assert np.isclose(quality, 1 - np.exp(-9 / 2), atol=0.005)
print(f"{'the data':<15} {modes} modes, {quality:4.0%} within 3σ of a mode")

points = draw_ring(RING_STEPS * RING_BATCH, seed=RING_SEED).reshape(RING_STEPS, RING_BATCH, 2)
ring_batches = tf.data.Dataset.from_tensor_slices(points)
ring_samples = {}
for loss in RING_LOSSES:
    ring_samples[loss] = train_on_ring(loss, ring_batches)
    modes, quality = captured(ring_samples[loss])
    print(f"{loss:<15} {modes} modes, {quality:4.0%} within 3σ of a mode", flush=True)

# %%
counts = {loss: captured(points)[0] for loss, points in ring_samples.items()}
if not SMALL:
    assert counts["wasserstein"] == MODES
    assert max(counts["minimax"], counts["non_saturating"]) < MODES

shape = (1, 2) if SMALL else (2, 3)
figure, panels = plt.subplots(*shape, figsize=(9, 6.4), sharex=True, sharey=True)
figure.set_layout_engine("constrained")
for axes, (loss, points) in zip(panels.flat, ring_samples.items(), strict=True):
    axes.scatter(*CENTRES.T, s=150, facecolors="none", edgecolors=REAL_COLOUR)
    axes.scatter(*points.T, s=2, alpha=0.3, linewidths=0, color=GAN_COLOUR)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    axes.set_title(f"{loss.replace('_', '-')}: {counts[loss]} of {MODES} modes", fontsize=10)
figure.supxlabel("first coordinate")
figure.supylabel("second coordinate")
plt.show()

lost = [loss for loss, modes in counts.items() if modes < MODES]
complete = [loss for loss in counts if loss not in lost]
print(f"Modes are lost with: {', '.join(lost) or 'no loss'}.")
print(f"All modes are captured with: {', '.join(complete) or 'no loss'}.")

# %% [markdown]
# *Figure 2.7.* Samples of GANs in the plane, trained with each loss of tfgen on a ring of eight
# narrow normal distributions. The circles are the modes. A circle without points is a mode that the
# generator leaves out. The cell prints which losses lose modes. Both losses of a classifier do: the
# gradient of `minimax` vanishes against a discriminator that is near its optimum, and
# `non_saturating` collapses. The Wasserstein loss, which is meant for this case, captures all.
#
# The loss is not all that matters. The seed here is one with which the non-saturating loss
# collapses; with others it keeps more modes, as `examples/ring.py` of tfgen's repository shows.
# The balance of the two networks matters too: set `CRITIC_STEPS` to 1, run the last cells again,
# and compare.
#
# ## Question 2.5: the networks, and the two losses during training
#
# The report's generator has hidden layers of 128, 256, 512 and 1024 units, the discriminator of 512
# and 256, all with leaky ReLU. The generator has batch normalization from the second layer on and
# ends in a tanh; the discriminator has dropout and ends in one logit. They are the defaults of
# `tfgen.GAN`. The report trains them with Adam (learning rate 2e-4, batch size 64) for 200 epochs.
#
# tfgen departs from the report in two points:
#
# | | the report | tfgen |
# |---|---|---|
# | loss | clipped logarithms of a sigmoid | from logits |
# | images | all training images | 50 000 of 60 000; the others are for validation |

# %%
for network in gan.networks:
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    widths = [int(np.prod(network.input_shape[1:])), *(layer.units for layer in dense)]
    print(f"{network.name}: {'–'.join(map(str, widths))}, {network.count_params():,} weights")
assert widths == [784, 512, 256, 1]

# %% [markdown]
# The next cell trains this GAN for some epochs. The report's 200 epochs take much longer. They were
# done before, and their log is in `docs/gan/metrics.jsonl` of tfgen's repository.

# %%
gan.compile(**gan.default_optimizers(2e-4))
history, stages = [], [gan.sample(16, seed=SEED).numpy()]
for half in range(2):
    batches = train_batches(data.train.images, batch_size=64, seed=half)
    epochs = DIGIT_STEPS // (2 * DIGIT_POINT)
    options = {"steps_per_epoch": DIGIT_POINT, "epochs": epochs, "shuffle": False, "verbose": 0}
    logs = gan.fit(batches, **options).history
    history += [dict(zip(logs, values, strict=True)) for values in zip(*logs.values(), strict=True)]
    stages.append(gan.sample(16, seed=SEED).numpy())

OPTIMUM = {"generator_loss": np.log(2), "discriminator_loss": 2 * np.log(2)}
log = RECORDS / "metrics.jsonl"
rows = [json.loads(line) for line in log.open()] if log.is_file() else []
for name, optimum in OPTIMUM.items():
    late = rows[-1][name] if rows else history[-1][name]
    print(f"{name}: {late:.2f} nats at the end, {optimum:.2f} if D(x) is always ½")
    assert not rows or abs(late - optimum) < 0.15

# %%
steps = DIGIT_POINT * np.arange(1, len(history) + 1)
epochs = np.arange(1, len(rows) + 1)
curves = {"steps of this notebook": (steps, history)}
if rows:
    curves["epochs of the full training"] = (epochs, rows)
figure, panels = plt.subplots(1, len(curves), figsize=(10, 3.8), sharey=True, squeeze=False)
figure.set_layout_engine("constrained")
colours = {"generator_loss": GAN_COLOUR, "discriminator_loss": "saddlebrown"}
for axes, (label, (positions, logs)) in zip(panels[0], curves.items(), strict=True):
    for name, colour in colours.items():
        words = name.replace("_", " ")
        axes.plot(positions, [log[name] for log in logs], color=colour, label=words)
        axes.axhline(OPTIMUM[name], color=colour, linestyle=":", label=f"{words} if D = ½")
    axes.set(xlabel=label)
    axes.set_ylim(bottom=0)
panels[0, 0].set_ylabel("loss [nats]")
panels[0, 0].legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.8, the report's figure 4.* The losses of generator and discriminator, on MNIST. Left:
# the training above; each point is a mean over some steps. Right, only in a checkout: 200 epochs,
# as many as in the report; each point is a mean over an epoch. The dotted lines are the losses if D
# says ½ to every image: ln 2 and 2 ln 2. Over 200 epochs, the losses approach them. Neither loss
# measures how good the images are: each network is judged by an opponent that changes too.
#
# ## Question 2.6: samples before training, half way and after
#
# The pictures have the same 16 latents z before, in the middle and at the end of the training
# above. The last row is from the version of a GAN that comes with tfgen: convolutional networks,
# trained for 60 epochs. It gets the same z too, but it is another network, which was trained from
# other weights. So its image of a z has nothing to do with the images above it.

# %%
shipped = tfgen.load(shipped_folder() / "gan" / "1")
stages.append(shipped.sample(16, seed=SEED))
rows_of_grid = ["0", f"{DIGIT_STEPS // 2}", f"{DIGIT_STEPS}", "shipped"]
tfgen.figures.picture(
    np.concatenate(stages),
    "samples of the generator, by steps of training",
    columns=16,
    row_axis=tfgen.figures.GridAxis("steps", rows_of_grid),
)

# %% [markdown]
# *Figure 2.9, the report's figure 5.* Samples before training, half way and after the training
# above, and of the shipped version. Before training, they are noise.
#
# In a checkout, the next cell also shows the samples of the 200 epochs.

# %%
pictures = [RECORDS / f"samples-{epoch}.png" for epoch in (0, 100, 200)]
if all(path.is_file() for path in pictures):
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.8), layout="constrained")
    for axes, path in zip(panels, pictures, strict=True):
        axes.imshow(plt.imread(path), cmap="gray")
        axes.axis("off")
    plt.show()

# %% [markdown]
# *Figure 2.10, the report's figure 5.* Only in a checkout: samples of the report's GAN before
# training, after 100 and after 200 epochs.
#
# ## Question 2.7: interpolation between two samples
#
# If G has learned more than to repeat the training images, the images between two latents should be
# digits too. The report goes from a 2 to a 6 in seven steps, on the straight line between their
# latents.
#
# The straight line has a flaw. In d dimensions, the norm of a standard normal vector is close to
# $\sqrt{d}$: here 10, with a standard deviation of about 0.7. Two such vectors are almost
# orthogonal, so the norm in the middle of the line is only about $\sqrt{d / 2}$. The generator has
# hardly ever seen such a z. The great circle through both keeps the norm if both have the same
# (White 2016, "Sampling generative networks"). With the angle ω between start and end, the point at
# the share t of the way is
#
# $$z(t) = \frac{\sin((1 - t)\, \omega)}{\sin \omega} \, z_\text{start}
#   + \frac{\sin(t\, \omega)}{\sin \omega} \, z_\text{end}.$$

# %% [markdown]
# ### Exercise 2.f — The path along the great circle
#
# Write this path for a number of steps, of which the first is the start and the last is the end.


# %% tags=["exercise"]
def spherical_path(start, end, steps):
    """Latents at equal shares of the angle between two latents that are not parallel.

    Args:
        start: float32[d], the first latents.
        end: float32[d], the last latents.
        steps: number of points, both ends included.

    Returns:
        An array [steps, d].
    """
    cosine = np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(cosine)
    share = np.linspace(0, 1, steps)[:, None]
    parts = np.sin((1 - share) * angle) * start + np.sin(share * angle) * end
    return parts / np.sin(angle)


# %%
check(spherical_path)

# %% [markdown]
# The shipped classifier of MNIST finds a 2 and a 6 among samples of the shipped GAN: those of which
# it is most certain.

# %%
classifier = tfgen.load(shipped_folder() / "classifier" / "1")


def class_probabilities(images):
    """The classifier's probabilities of the ten digits, float64[N, 10]."""
    pixels = np.round(255 * np.asarray(images)).astype(np.uint8)
    logits = classifier.call("serving_default", images=pixels)["logits"].astype(np.float64)
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


candidates = np.asarray(shipped.latents(tfgen.image_seeds(SEED, 200)))
probabilities = class_probabilities(shipped.decode(candidates))
start, end = (candidates[np.argmax(probabilities[:, digit])] for digit in (2, 6))
norms = np.linalg.norm(np.random.default_rng(SEED).normal(size=(100_000, 100)), axis=1)
middle = np.linalg.norm((start + end) / 2)
share = np.mean(norms <= middle)
print(f"norms: {np.linalg.norm(start):.2f} and {np.linalg.norm(end):.2f}, {middle:.2f} half way")
print(f"standard normal vectors: {norms.mean():.2f} ± {norms.std():.2f}")
print(f"{share:.3%} of 100 000 standard normal vectors have a norm as small as that half way")
assert np.isclose(norms.mean(), 10, atol=0.1)
assert np.isclose(norms.std(), 0.7, atol=0.02)
assert share < 0.001

# %%
paths = {
    "straight line": np.linspace(start, end, 7),
    "great circle": spherical_path(start, end, 7),
}
decoded = [shipped.decode(path.astype(np.float32)) for path in paths.values()]
for words, path, images in zip(paths, paths.values(), decoded, strict=True):
    digits = " ".join(map(str, class_probabilities(images).argmax(axis=1)))
    lengths = " ".join(f"{norm:4.1f}" for norm in np.linalg.norm(path, axis=1))
    print(f"{words}: classified as {digits}, norms {lengths}")
    assert digits[0] == "2"
    assert digits[-1] == "6"

tfgen.figures.picture(
    np.concatenate(decoded),
    "from a 2 to a 6 in seven steps",
    columns=7,
    row_axis=tfgen.figures.GridAxis("path", ["line", "circle"]),
    column_axis=tfgen.figures.path_axis(7),
)

# %% [markdown]
# *Figure 2.11, the report's figure 6.* Interpolation between the latents of a 2 and of a 6, by the
# shipped version. Upper row: on the straight line, as in the report. Lower row: on the great
# circle. The cell prints how the classifier reads each image, and the norms of the latents.
#
# ## What to take along
#
# - A GAN learns from a classifier instead of a likelihood. At the optimum, D says ½, and the value
#   is −2 ln 2.
# - With the best D, the value measures the Jensen-Shannon divergence, whose gradient vanishes where
#   densities do not overlap. The non-saturating loss keeps a gradient.
# - Neither the value nor the losses tell how good or how varied the samples are. Notebook 4
#   measures both.
