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
# "Generative adversarial nets". This notebook explains the game and its losses, shows why a GAN may
# leave out a part of the data, and trains one on MNIST.
#
# - **Time.** At most six minutes on two cores, without a GPU and without network. MNIST comes with
#   the package.
# - **Exercises.** Six functions, 2.a to 2.f. In the assignment, their bodies are blank. After each
#   of them, `check` says at once whether the function is right, or names the mistake. `python -m
#   tfgen.notebooks.check gan.ipynb` grades the whole notebook.
# - **In Colab.** Upload this notebook, and install tfgen in a first cell with `%pip install FILE`,
#   where `FILE` is its wheel; `notebooks/README.md` shows how to build it. The notebook needs only
#   what the package contains. In a checkout, it also shows the record of a longer training.
#
# Symbols are those of the paper: $x$ is an image, or a point in a toy example; $z$ are its latents;
# $G$ is the generator, $D$ the discriminator. $\log$ is the natural logarithm, so values are in
# nats.
#
# tfgen reproduces a course report of 2019 that compares three generative models of MNIST. Its
# questions on the GAN are answered here, and its figures 4, 5 and 6 are drawn:
#
# | question | section |
# |---|---|
# | 2.1 | [Generator and discriminator](#Generator-and-discriminator,-question-2.1) |
# | 2.2 | [The minimax objective](#The-minimax-objective,-question-2.2) |
# | 2.3 | [The value at the optimum](#The-value-at-the-optimum,-question-2.3) |
# | 2.4 | [The vanishing gradient](#The-vanishing-gradient,-question-2.4) |
# | 2.5 | [The networks and their losses](#The-networks-and-their-losses,-question-2.5) |
# | 2.6 | [Samples during training](#Samples-during-training,-question-2.6) |
# | 2.7 | [Interpolation](#Interpolation,-question-2.7) |

# %% tags=["setup"]
import json
import os

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import tfgen
from tfgen.data import train_batches
from tfgen.models.gan.losses import LOSSES
from tfgen.notebooks import RECORDS
from tfgen.notebooks.checks import check
from tfgen.publishing.versions import shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
TOY_STEPS = 300 if SMALL else 1500  # of a discriminator of points on a line
FROZEN_STEPS = 40 if SMALL else 150  # of a discriminator while the generator waits
RING_STEPS = 20 if SMALL else 1000  # of the generator on the ring, with each loss
DIGIT_STEPS, DIGIT_POINT = (40, 10) if SMALL else (3000, 50)  # on MNIST; steps of one point
REAL_COLOUR, GAN_COLOUR = tfgen.figures.REAL_COLOUR, tfgen.figures.family_colour("gan")
keras.utils.set_random_seed(0)
tf.get_logger().setLevel("ERROR")

# %% [markdown]
# ## Generator and discriminator, question 2.1
#
# *What goes into generator and discriminator, and what comes out?*
#
# The **generator** $G$ takes latents $z$, a vector of random numbers drawn from a standard normal
# distribution, and returns an image $x = G(z)$. The same $z$ always gives the same image. The
# distribution of $G(z)$, when $z$ is drawn at random, is called $p_g$. Training is to make it equal
# to $p_\text{data}$, the distribution of the real images.
#
# The **discriminator** $D$ takes an image, real or generated, and returns one number, the *logit*
# $a$. The probability that the image is real, according to $D$, is
# $D(x) = \sigma(a) = 1 / (1 + e^{-a})$.
#
# The next cell builds the report's GAN for MNIST, images of handwritten digits of 28 × 28 pixels.
# Its generator makes 784 pixels between $-1$ and $1$ from 100 latents. Nothing is trained yet, so
# the probabilities are near $\frac12$ on average.

# %%
data = tfgen.load_data("mnist")
gan = tfgen.GAN(seed=0)
latents = gan.latents(tfgen.image_seeds(0, 64))
fake_images = gan.generate(latents)


def scaled(images):
    """Images of bytes 0…255 as numbers in −1…1."""
    return tf.cast(images, tf.float32) / 127.5 - 1


real_images = scaled(data.train.images[:64])

print("G:", latents.shape, "→", fake_images.shape)
print("D:", fake_images.shape, "→", gan.discriminate(fake_images).shape)
for words, images in {"generated": fake_images, "real": real_images}.items():
    probability = tf.reduce_mean(tf.sigmoid(gan.discriminate(images)))
    print(f"{words}: mean of D(x) {probability:.3f} before training")

# %% [markdown]
# A GAN draws samples but has no density: $p_g(x)$ cannot be evaluated. The reason is the dimension.
# The images that $G$ can draw are the values of a function of 100 numbers, so they lie on a surface
# of at most 100 dimensions in the space of 784 pixels. Such a surface has no volume.

# %% [markdown]
# ## The minimax objective, question 2.2
#
# *What do the two terms of the minimax objective mean?*
#
# $G$ and $D$ play a game with one number at stake, its value $V$ (Goodfellow et al. 2014,
# equation 1):
#
# $$\min_G \max_D V(D, G) = \mathbb{E}_{x \sim p_\text{data}}[\log D(x)]
#   + \mathbb{E}_{z \sim \mathcal{N}(0, I)}[\log(1 - D(G(z)))].$$
#
# | term | $D$, which maximizes $V$ | $G$, which minimizes $V$ |
# |---|---|---|
# | $\mathbb{E}[\log D(x)]$ | gives real images a high probability | has no influence |
# | $\mathbb{E}[\log(1 - D(G(z)))]$ | gives generated images a low one | makes $D$ give a high one |
#
# Both terms are at most 0, because a probability is at most 1. $D$ is a classifier that sees as
# many real as generated images. $V$ is $-2$ times its cross-entropy.
#
# $D$ returns logits, and the logarithms are computed from them directly. If $D$ is certain,
# $\sigma(a)$ or $1 - \sigma(a)$ is rounded to 0, which has no logarithm. With
# $\text{softplus}(a) = \log(1 + e^a)$:
#
# $$\log D(x) = \log \sigma(a) = -\text{softplus}(-a), \qquad
#   \log(1 - D(x)) = -\text{softplus}(a).$$

# %% [markdown]
# ### Exercise 2.a — The loss of the discriminator
#
# Optimizers minimize, so the loss of $D$ is $-V$. Write it for the logits of a batch of real images
# and of a batch of generated ones. Each expectation becomes a mean over its batch. The function
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
# The value for discriminators that know nothing, that are right, and that are wrong, and for the
# GAN before training:

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
# The two networks take turns. In the turn of $D$, its weights move and those of $G$ do not. The
# images $G(z)$ are then data like the real ones. `tf.stop_gradient` says so: it returns its
# argument and lets no gradient through. Without it, an optimizer that has the weights of both
# networks would also move $G$, to where $D$ wins more easily. If the optimizer has only the weights
# of $D$, the gradient is still computed back through $G$, for nothing.

# %% [markdown]
# ### Exercise 2.b — The turn of the discriminator
#
# Write the loss of one turn of $D$. Call both networks with `training=True`, so that dropout and
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

# %% [markdown]
# ## The value at the optimum, question 2.3
#
# *What is the value of the objective at the optimum?*
#
# Hold $G$ fixed and ask for the best $D$. Suppose that $p_\text{data}$ and $p_g$ have densities, as
# in the examples below. The $p_g$ of images has none; this derivation, which is that of the paper,
# leaves that aside. Then both expectations are integrals over $x$:
#
# $$V(D, G) = \int \bigl(p_\text{data}(x) \log D(x) + p_g(x) \log(1 - D(x))\bigr) \, dx.$$
#
# $D$ may be any function, so its value $y = D(x)$ can be chosen for each $x$ alone. The integrand
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
# Now a discriminator *learns*, and $D^*$ is known. Real points $x$ on a line come from a mixture of
# two normal distributions. The generator is $G(z) = 0.5 + 1.5 z$, so $p_g$ is the normal
# distribution $\mathcal{N}(0.5, 1.5^2)$. A network with one input and two hidden layers minimizes
# `discriminator_loss` on fresh points in each step. It sees points only, never a density.

# %%
GRID = np.linspace(-16, 16, 6401)
SPACING = GRID[1] - GRID[0]
MEANS, STDDEVS = np.array([-1.5, 2.0]), np.array([0.5, 0.8])


def log_normal(x, mean, stddev):
    """The log density of a normal distribution."""
    return -0.5 * ((x - mean) / stddev) ** 2 - np.log(stddev * np.sqrt(2 * np.pi))


log_p_data = np.logaddexp(*(log_normal(GRID, *part) for part in zip(MEANS, STDDEVS, strict=True)))
log_p_data -= np.log(2)
log_p_g = log_normal(GRID, 0.5, 1.5)
best = optimal_discriminator(log_p_data, log_p_g)

# %%
hidden = [keras.layers.Dense(64, activation="swish") for _ in range(2)]
network = keras.Sequential([keras.Input([1]), *hidden, keras.layers.Dense(1)])
optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, TOY_STEPS))


@tf.function
def train_on_points(real, fake):
    """One step of a discriminator of points on a line, whose generator does not move."""
    with tf.GradientTape() as tape:
        loss = discriminator_loss(network(real), network(fake))
    optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)


rng = np.random.default_rng(0)
for _ in range(TOY_STEPS):
    part = rng.integers(2, size=(1024, 1))
    real, fake = rng.normal(MEANS[part], STDDEVS[part]), 0.5 + 1.5 * rng.normal(size=(1024, 1))
    train_on_points(*(tf.constant(points, tf.float32) for points in (real, fake)))
learned = tf.sigmoid(network(GRID[:, None].astype(np.float32)))[:, 0].numpy()

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(GRID, np.exp(log_p_data), color=REAL_COLOUR, label="real points")
left.plot(GRID, np.exp(log_p_g), color=GAN_COLOUR, label="generated points")
left.set(xlim=(-5, 6), xlabel="$x$", ylabel="density", title="two known densities")
right.plot(GRID, best, color=REAL_COLOUR, label="$D^*$, from the densities")
right.plot(GRID, learned, "--", color=GAN_COLOUR, label="$D$, learned from points")
right.axhline(0.5, color="grey", linewidth=0.5)
right.set(xlim=(-5, 6), ylim=(0, 1), xlabel="$x$", ylabel="probability that $x$ is real")
right.set_title("discriminators")
for axes in (left, right):
    axes.legend(fontsize=8)
plt.show()

density = (np.exp(log_p_data) + np.exp(log_p_g)) / 2
difference = SPACING * np.sum(density * np.abs(learned - best))
print(f"The learned D differs from D* by {difference:.4f} on average over all points.")
# Batches of 1024 points leave some noise in D; a D that knows nothing differs by more than 0.2.
assert difference < (0.06 if SMALL else 0.02)

# %% [markdown]
# *Figure 2.1.* Left: the densities of real and of generated points. Right: the optimal
# discriminator, and one that was trained on points alone. They agree where points are. Outside,
# where neither density puts points, nothing tells $D$ what to answer. $D^*$ is $\frac12$ where the
# densities cross.
#
# ### Derivation: the value with the best discriminator
#
# Put $D^*$ into $V$, and show (Goodfellow et al. 2014, theorem 1)
#
# $$V(D^*, G) = -2 \ln 2 + 2\, \text{JSD}(p_\text{data}, p_g),$$
#
# with the Jensen-Shannon divergence of two densities $p$ and $q$, whose mean is $m = (p + q) / 2$:
#
# $$\text{JSD}(p, q) = \tfrac12 \text{KL}(p \,\|\, m) + \tfrac12 \text{KL}(q \,\|\, m), \qquad
#   \text{KL}(p \,\|\, m) = \int p(x) \log \frac{p(x)}{m(x)} \, dx.$$
#
# It is 0 if $p = q$, and else positive. Its largest value is $\ln 2$, for densities without
# overlap.
#
# <details>
# <summary>Hint 1</summary>
#
# Write $D^*$ and $1 - D^*$ with $m = (p_\text{data} + p_g) / 2$ in the denominator instead of
# $p_\text{data} + p_g$.
#
# </details>
# <details>
# <summary>Hint 2</summary>
#
# A factor $\frac12$ in a logarithm is a constant. What is the integral of a constant times a
# density?
#
# </details>
# <details>
# <summary>Derivation</summary>
#
# With $m$, $D^* = \frac12 p_\text{data} / m$ and $1 - D^* = \frac12 p_g / m$. So
#
# $$V(D^*, G) = \int \left(p_\text{data} \log \frac{p_\text{data}}{2 m}
#   + p_g \log \frac{p_g}{2 m}\right) dx.$$
#
# Each density has the integral 1, so each factor $\frac12$ gives $-\ln 2$, and what is left are
# two divergences:
#
# $$V(D^*, G) = -2 \ln 2 + \text{KL}(p_\text{data} \,\|\, m) + \text{KL}(p_g \,\|\, m)
#   = -2 \ln 2 + 2\, \text{JSD}(p_\text{data}, p_g).$$
#
# </details>

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
# $G$ minimizes $V$, and the divergence is smallest where it is 0. So at the optimum of the game
# $p_g = p_\text{data}$. Then $D^*(x) = \tfrac12$ for each $x$: $D$ can only guess. The value is
# $2 \log \tfrac12 = -2 \ln 2$.
#
# The next cell compares both sides of the equation on the two densities above. The picture moves
# the generator of another game, $G(z) = \mu + z$, away from
# $p_\text{data} = \mathcal{N}(0, 1)$.

# %%
integrand = np.exp(log_p_data) * np.log(best) + np.exp(log_p_g) * np.log1p(-best)
best_value = SPACING * np.sum(integrand)
by_divergence = -2 * np.log(2) + 2 * jensen_shannon(log_p_data, log_p_g, SPACING)
print(f"V(D*, G)        = {best_value:.6f} nats")
print(f"−2 ln 2 + 2 JSD = {by_divergence:.6f} nats")
assert np.isclose(best_value, by_divergence, atol=1e-9)

shifts, log_standard = np.linspace(0, 8, 81), log_normal(GRID, 0, 1)
divergences = [jensen_shannon(log_standard, log_normal(GRID, m, 1), SPACING) for m in shifts]
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.plot(shifts, -2 * np.log(2) + 2 * np.array(divergences), color=GAN_COLOUR)
axes.axhline(-2 * np.log(2), color="grey", ls=":", label=r"$-2\,\ln\,2$: nothing to tell apart")
axes.axhline(0, color="grey", linestyle="--", label="0: no overlap")
axes.set(xlabel=r"shift $\mu$ of the generator", ylabel="$V(D^*, G)$ [nats]")
axes.legend(loc="center right", fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.2.* The value of the game with the best discriminator, by the distance of two normal
# densities of standard deviation 1. It is lowest, $-2 \ln 2$, where they are equal, and rises to 0.
# Far away it is flat. A generator that starts there does not see from $V$ where to go. This is the
# subject of the next section.
#
# ## The vanishing gradient, question 2.4
#
# *Why has $\log(1 - D(G(z)))$ no gradient early on, and what is done about it?*
#
# Early in training, generated images look like noise. $D$ is soon certain: the logit $a$ of each
# $G(z)$ is far below 0. The gradient reaches $G$ through this logit. By the chain rule it has the
# factor
#
# $$\frac{d}{da} \log(1 - \sigma(a)) = -\sigma(a) = -D(G(z)),$$
#
# which is about 0 just there. The loss is said to *saturate*. Goodfellow et al. 2014 (section 3)
# therefore let $G$ minimize another loss, $-\log D(G(z))$, the *non-saturating* loss. Its
# derivative
#
# $$\frac{d}{da} \bigl(-\log \sigma(a)\bigr) = -(1 - \sigma(a))$$
#
# is about $-1$ where $D$ is certain. Both losses push $D(G(z))$ up, and differ in how hard. With
# the second one, $G$ and $D$ no longer play for the same number $V$.

# %% [markdown]
# ### Exercise 2.e — The loss of the generator
#
# Write the non-saturating loss, the mean of $-\log D(G(z))$ over a batch, from logits.


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
    r"$\log(1 - D)$, saturating": (saturating_loss, "grey"),
    r"$-\log\,D$, non-saturating": (generator_loss, GAN_COLOUR),
}
a = tf.linspace(-8.0, 8.0, 161)
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for words, (loss, colour) in GENERATOR_LOSSES.items():
    with tf.GradientTape() as tape:
        tape.watch(a)
        losses = tf.map_fn(loss, a)
    for axes, values in zip(panels, (losses, tape.gradient(losses, a)), strict=True):
        axes.plot(a, values, color=colour, label=words)
panels[0].set(ylabel="loss of the generator [nats]", title="loss")
panels[1].set(ylabel="derivative of the loss by $a$", title="gradient that reaches $G$")
for axes in panels:
    axes.axvspan(-8, -4, color="grey", alpha=0.15, label="early in training")
    axes.set(xlim=(-8, 8), xlabel="logit $a$ of a generated image")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.3.* The two losses of the generator and their derivatives. Where $D$ is certain that the
# image is generated, in the shaded part, the saturating loss is flat, and the non-saturating one
# has slope $-1$. Where $D$ is fooled, at the right, it is the other way round, and nothing is left
# to do.
#
# The flat part of figure 2.2 is the same: the gradient of $V$ at the best $D$ is that of
# $2\, \text{JSD}$ (Arjovsky & Bottou 2017, "Towards principled methods for training generative
# adversarial networks").
#
# And for MNIST: the generator stays as it was before training, and the discriminator learns alone,
# step by step. The next cells record the norm of the gradient by all weights of $G$, with both
# losses.

# %%
optimizer = keras.optimizers.Adam(2e-4)
optimizer.build(gan.discriminator.trainable_variables)


@tf.function
def move_discriminator(real, latents):
    """One turn of the discriminator; returns the gradient norms of a generator that waits."""
    norms = []
    for loss, _ in GENERATOR_LOSSES.values():
        with tf.GradientTape() as tape:
            losses = loss(gan.discriminator(gan.generator(latents, training=True)))
        weights = gan.generator.trainable_variables
        norms.append(tf.linalg.global_norm(tape.gradient(losses, weights)))
    with tf.GradientTape() as tape:
        loss = discriminator_step_loss(gan.generator, gan.discriminator, real, latents)
    optimizer.apply(tape.gradient(loss, gan.discriminator.trainable_variables))
    return norms


batches = train_batches(data.train.images, batch_size=64, seed=0).take(FROZEN_STEPS)
norms = [move_discriminator(scaled(images), tf.random.normal([64, 100])) for images in batches]

# %%
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (words, (_, colour)), curve in zip(GENERATOR_LOSSES.items(), np.transpose(norms), strict=True):
    axes.semilogy(curve, color=colour, label=words)
axes.set_xlabel("steps of $D$, while $G$ waits")
axes.set_ylabel("norm of the gradient by the weights of $G$")
axes.legend(fontsize=8)
plt.show()
assert norms[-1][0] < 0.2 * norms[-1][1]

# %% [markdown]
# *Figure 2.4.* The gradient of an untrained generator of digits, while its discriminator learns. As
# $D$ becomes certain, the gradient of the saturating loss becomes much smaller than that of the
# non-saturating loss.

# %% [markdown]
# ## Mode collapse
#
# Of its three models, the report ranks the GAN last in coverage of the data, by theory. What may go
# wrong is called *mode collapse*: $G$ draws only some kinds of images, and leaves out others. A
# *mode* is a peak of the density, such as one digit. A ring of eight narrow normal distributions in
# the plane shows it, because its modes can be counted (Metz et al. 2016, "Unrolled generative
# adversarial networks").
#
# Does $V$ not forbid this? Let $G$ draw $k$ of the eight modes, each perfectly and equally often.
# Inside such a mode, $p_\text{data}$ has the weight $1/8$ and $p_g$ the weight $1/k$. So $D^*$ is
# $k / (k + 8)$ there, and 1 in the modes that are left out:
#
# $$V(D^*, G) = \tfrac{k}{8} \log \tfrac{k}{k + 8} + \log \tfrac{8}{k + 8}.$$
#
# This falls with $k$, so each further mode pays: the value forbids collapse. But the gradient does
# not show the way out. It reaches $G$ through $D(G(z))$, at the points that $G$ draws. There $D^*$
# is the same number $k / (k + 8)$ everywhere. Its slope is 0 at each point of $G$, so no point has
# a reason to move. That a mode is missing shows only where $G$ draws nothing.
#
# In practice $D$ is not $D^*$ but a network in training, and the loss decides how $G$ follows it.
# `tfgen.GAN` has six pairs of losses. Here $a_x$ is the logit of a real image, $a_z$ that of a
# generated one:
#
# | `loss` | $D$ minimizes the mean of | $G$ minimizes the mean of |
# |---|---|---|
# | `minimax` | $-\log \sigma(a_x) - \log(1 - \sigma(a_z))$ | $\log(1 - \sigma(a_z))$ |
# | `non_saturating` | the same | $-\log \sigma(a_z)$ |
# | `least_squares` | $\frac12 (a_x - 1)^2 + \frac12 a_z^2$ | $\frac12 (a_z - 1)^2$ |
# | `hinge` | $\max(0, 1 - a_x) + \max(0, 1 + a_z)$ | $-a_z$ |
# | `wasserstein` | $-a_x + a_z$ + gradient penalty | $-a_z$ |
# | `relativistic` | $-\log \sigma(a_x - a_z)$ | $-\log \sigma(a_z - a_x)$ |
#
# The first two are of Goodfellow et al. 2014, and you wrote the second one. The others are of Mao
# et al. 2017 ("Least squares generative adversarial networks"), Lim & Ye 2017 ("Geometric GAN"),
# Arjovsky et al. 2017 ("Wasserstein GAN") and Jolicoeur-Martineau 2019 ("The relativistic
# discriminator"). The *gradient penalty* of Gulrajani et al. 2017 ("Improved training of
# Wasserstein GANs") keeps the slope of $D$ near 1 between real and generated points. With the last
# four losses, $D$ is called a *critic*, and its output is a score, not the logit of a probability.
#
# The next cells train a GAN on the ring with each loss, from five random starts at once: each
# weight has a first axis for the start, and no start knows of the others. $D$ takes five steps for
# each step of $G$, so that it is near its optimum. This is the hard case for the losses of a
# classifier, as the section before showed.

# %%
MODES, STDDEV, STARTS, BATCH = 8, 0.05, 5, 128
angles = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def draw_ring():
    """Points of the ring, for each start, `[STARTS, BATCH, 2]`."""
    centres = tf.gather(CENTRES, tf.random.uniform([STARTS, BATCH], 0, MODES, tf.int32))
    return centres + STDDEV * tf.random.normal([STARTS, BATCH, 2])


def make_weights(outputs, hidden=64):
    """Random weights of a network of points with two hidden layers, for each start."""
    sizes = ((2, hidden), (hidden, hidden), (hidden, outputs))
    kernels = [tf.random.normal([STARTS, *size]) * (2 / size[0]) ** 0.5 for size in sizes]
    return [[tf.Variable(kernel), tf.Variable(tf.zeros_like(kernel[:, :1]))] for kernel in kernels]


def apply_network(weights, points):
    """The outputs `[STARTS, N, outputs]` of points `[STARTS, N, 2]`."""
    *hidden, (kernel, bias) = weights
    for hidden_kernel, hidden_bias in hidden:
        points = tf.nn.leaky_relu(points @ hidden_kernel + hidden_bias)
    return points @ kernel + bias


# %%
def loss_of_critic(loss, critic, real, fake):
    """The discriminator's loss, a mean over the batch and a sum over the starts."""
    logits = (apply_network(critic, points)[..., 0] for points in (real, fake))
    losses = tf.add_n(loss.discriminator(*logits, 0.0))
    if loss.penalized:
        share = tf.random.uniform([STARTS, BATCH, 1])
        between = share * real + (1 - share) * fake
        with tf.GradientTape() as tape:
            tape.watch(between)
            scores = apply_network(critic, between)
        losses += (tf.norm(tape.gradient(scores, between), axis=-1) - 1) ** 2
    return tf.reduce_sum(losses) / BATCH


def loss_of_generator(loss, critic, real, fake):
    """The generator's loss, a mean over the batch and a sum over the starts."""
    points = (fake, real) if loss.relative else (fake,)
    logits = (apply_network(critic, part)[..., 0] for part in points)
    return tf.reduce_sum(loss.generator(*logits)) / BATCH


# %%
def train_on_ring(loss, critic_steps=5, steps=RING_STEPS, rate=1e-3):
    """Samples `[STARTS, 1000, 2]` of a GAN that is trained on the ring."""
    weights = {loss_of_generator: make_weights(2), loss_of_critic: make_weights(1)}
    generator, critic = weights.values()
    options = {"beta_1": 0.5, "use_ema": True, "ema_momentum": 0.99}
    adams = {turn: keras.optimizers.Adam(rate, **options) for turn in weights}

    @tf.function
    def take_turn(turn):
        with tf.GradientTape() as tape:
            fake = apply_network(generator, tf.random.normal([STARTS, BATCH, 2]))
            value = turn(loss, critic, draw_ring(), fake)
        variables = tf.nest.flatten(weights[turn])
        adams[turn].apply(tape.gradient(value, variables), variables)

    for turn, adam in adams.items():
        adam.build(tf.nest.flatten(weights[turn]))
    for _ in range(steps):
        for turn in (loss_of_generator, *critic_steps * [loss_of_critic]):
            take_turn(turn)
    # Samples are drawn with a moving average of the generator's weights.
    adams[loss_of_generator].finalize_variable_values(tf.nest.flatten(generator))
    return apply_network(generator, tf.random.normal([STARTS, 1000, 2])).numpy()


# %%
def captured_modes(points):
    """The number of captured modes of points `[N, 2]`, and the share of points within 3σ of one."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=-1)
    shares = np.mean(distances <= 3 * STDDEV, axis=0)
    return int(np.sum(shares >= 0.01)), np.sum(shares)


def draw_starts(samples):
    """A row for each loss of `samples`, a column for each start; prints what was captured."""
    size = {"figsize": (1.7 * STARTS, 1.7 * len(samples) + 0.2), "layout": "constrained"}
    _, panels = plt.subplots(len(samples), STARTS, squeeze=False, **size)
    for (name, starts), row in zip(samples.items(), panels, strict=True):
        modes, shares = zip(*map(captured_modes, starts), strict=True)
        print(f"{name:<15} {np.mean(modes):.1f} modes, {np.mean(shares):4.0%} within 3σ of a mode")
        row[0].set_ylabel(name.replace("_", "-"))
        for count, points, axes in zip(modes, starts, row, strict=True):
            axes.scatter(*CENTRES.T, s=60, facecolors="none", edgecolors=REAL_COLOUR, lw=0.7)
            axes.scatter(*points.T, s=2, alpha=0.3, linewidths=0, color=GAN_COLOUR)
            axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
            axes.set_title(f"{count} of {MODES} modes", fontsize=9)
    plt.show()


# %%
draw_starts({name: train_on_ring(loss) for name, loss in LOSSES.items()})

# %% [markdown]
# *Figure 2.5.* Samples of GANs in the plane, trained with each loss of tfgen on a ring of eight
# narrow normal distributions, from five random starts each. The circles are the modes. A mode
# counts as captured if at least 1 % of the samples lie within $3 \sigma$ of its centre.
#
# A single start says little: `non_saturating` captures from five to all eight modes. Over all
# starts, `minimax`, whose gradient vanishes, loses most of them, then `least_squares` and
# `non_saturating`. The other losses keep almost all. The balance of the two networks matters, too,
# as the open task at the end shows.
#
# ## The networks and their losses, question 2.5
#
# *Which networks make up the GAN? How do its two losses behave during training?*
#
# The report's generator has hidden layers of 128, 256, 512 and 1024 units, the discriminator of 512
# and 256, all with leaky ReLU. The generator has batch normalization from the second layer on and
# ends in a tanh; the discriminator has dropout and ends in one logit. They are the defaults of
# `tfgen.GAN`. The report trains them with Adam (learning rate $2 \cdot 10^{-4}$, batch size 64) for
# 200 epochs. tfgen's record of this training is in `docs/gan/metrics.jsonl` of its repository. It
# departs from the report in two points: its losses are computed from logits, not from clipped
# probabilities, and 50 000 of the 60 000 images are for training, the others for validation.
#
# Dense networks need these many epochs. The next cell trains convolutional networks (Chen et al.
# 2016, "InfoGAN"), whose samples look like digits after few steps. A learning rate of the
# discriminator that is a fifth of the generator's keeps the two in balance, and samples are drawn
# with a moving average of the generator's weights.

# %%
networks = {"architecture": "convolutional", "channels": 8, "units": 256, "dropout": 0.0}
training = {"ema_decay": 0.99, "beta_1": 0.5, "discriminator_rate": 0.2}
quick = tfgen.GAN(**networks, discriminator_batch_norm=True, **training, seed=0)
quick.compile(**quick.default_optimizers(1e-3), steps_per_execution=10)
history, stages = [], [quick.sample(16, seed=0).numpy()]
for half in range(2):
    batches = train_batches(data.train.images, batch_size=64, seed=half)
    epochs = DIGIT_STEPS // (2 * DIGIT_POINT)
    options = {"steps_per_epoch": DIGIT_POINT, "epochs": epochs, "shuffle": False, "verbose": 0}
    logs = quick.fit(batches, **options).history
    history += [dict(zip(logs, values, strict=True)) for values in zip(*logs.values(), strict=True)]
    stages.append(quick.sample(16, seed=0).numpy())

# %%
curves = {"steps of the convolutional GAN": (DIGIT_POINT * np.arange(1, len(history) + 1), history)}
if (RECORDS / "gan" / "metrics.jsonl").is_file():
    record = [json.loads(line) for line in (RECORDS / "gan" / "metrics.jsonl").open()]
    curves["epochs of the report's GAN"] = (np.arange(1, len(record) + 1), record)
_, panels = plt.subplots(1, len(curves), figsize=(10, 3.8), layout="constrained", squeeze=False)
for axes, (label, (positions, logs)) in zip(panels[0], curves.items(), strict=True):
    for name, colour, times in (("generator", GAN_COLOUR, 1), ("discriminator", "saddlebrown", 2)):
        losses = [log[f"{name}_loss"] for log in logs]
        axes.plot(positions, losses, color=colour, label=f"loss of the {name}")
        unsure = r"its loss if $D = \frac{1}{2}$"
        axes.axhline(times * np.log(2), color=colour, ls=":", label=unsure)
    axes.set(xlabel=label, ylim=(0, None))
panels[0, 0].set_ylabel("loss [nats]")
panels[0, 0].legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 2.6, the report's figure 4.* The losses of generator and discriminator, on MNIST. Left:
# the training above; each point is a mean over some steps. Right, only in a checkout: 200 epochs of
# the report's networks; each point is a mean over an epoch. The dotted lines are the losses if $D$
# says $\frac12$ to every image: $\ln 2$ and $2 \ln 2$. In the long run, the losses approach them.
# Neither loss measures how good the images are: each network is judged by an opponent that changes
# too.
#
# ## Samples during training, question 2.6
#
# *What do samples look like before, half way through and after the training?*
#
# The pictures have the same 16 latents $z$ before, in the middle and at the end of the training
# above. The last row is from the version of a GAN that comes with tfgen: larger convolutional
# networks, trained for 60 epochs. It gets the same $z$ too, but it was trained from other weights.
# So its image of a $z$ has nothing to do with the images above it.

# %%
shipped = tfgen.load(shipped_folder() / "gan" / "1")
stages.append(shipped.sample(16, seed=0))
steps = ["0", f"{DIGIT_STEPS // 2}", f"{DIGIT_STEPS}", "shipped"]
row_axis = tfgen.figures.GridAxis("steps", steps)
title = "samples of the generator, by steps of training"
tfgen.figures.picture(np.concatenate(stages), title, columns=16, row_axis=row_axis)

# %% [markdown]
# *Figure 2.7.* Samples before training, half way and after the training above, and of the shipped
# version. Before training, they are noise.
#
# In a checkout, the next cell also shows the samples of the report's networks.

# %%
pictures = [RECORDS / "gan" / f"samples-{epoch}.png" for epoch in (0, 100, 200)]
if all(path.is_file() for path in pictures):
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.8), layout="constrained")
    for axes, path in zip(panels, pictures, strict=True):
        axes.imshow(plt.imread(path), cmap="gray")
        axes.axis("off")
    plt.show()

# %% [markdown]
# *Figure 2.8, the report's figure 5.* Only in a checkout: samples of the report's GAN before
# training, after 100 and after 200 epochs.
#
# ## Interpolation, question 2.7
#
# *What is between two samples?*
#
# If $G$ has learned more than to repeat the training images, the images between two latents should
# be digits too. The report goes from a 2 to a 6 in seven steps, on the straight line between their
# latents.
#
# The straight line has a flaw. In $d$ dimensions, the norm of a standard normal vector is close to
# $\sqrt{d}$: here 10, with a standard deviation of about 0.7. Two such vectors are almost
# orthogonal, so the norm in the middle of the line is only about $\sqrt{d / 2}$. The generator has
# hardly ever seen such a $z$. The great circle through both keeps the norm if both have the same
# (White 2016, "Sampling generative networks"). With the angle $\omega$ between start and end, the
# point at the share $t$ of the way is
#
# $$z(t) = \frac{\sin((1 - t)\, \omega)}{\sin \omega} \, z_\text{start}
#   + \frac{\sin(t\, \omega)}{\sin \omega} \, z_\text{end}.$$

# %% [markdown]
# ### Exercise 2.f — The path along the great circle
#
# Write this path at equal steps of $t$. The first point is the start and the last one is the end.


# %% tags=["exercise"]
def spherical_path(start, end, steps):
    """Points z(t) at equal steps of t between two latents that are not parallel.

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


def digit_logits(images):
    """The classifier's logits of the ten digits, `[N, 10]`."""
    pixels = np.round(255 * np.asarray(images)).astype(np.uint8)
    return classifier.call("serving_default", images=pixels)["logits"]


candidates = np.asarray(shipped.latents(tfgen.image_seeds(0, 200)))
certainty = tf.nn.log_softmax(digit_logits(shipped.decode(candidates))).numpy()
start, end = (candidates[np.argmax(certainty[:, digit])] for digit in (2, 6))
paths = {"straight line": np.linspace(start, end, 7), "great circle": spherical_path(start, end, 7)}
decoded = [shipped.decode(path.astype(np.float32)) for path in paths.values()]
for words, path, images in zip(paths, paths.values(), decoded, strict=True):
    digits = " ".join(map(str, digit_logits(images).argmax(axis=1)))
    lengths = " ".join(f"{norm:4.1f}" for norm in np.linalg.norm(path, axis=1))
    print(f"{words}: classified as {digits}, norms {lengths}")

# %%
axes = tfgen.figures.GridAxis("path", ["line", "circle"]), tfgen.figures.path_axis(7)
tfgen.figures.picture(np.concatenate(decoded), "from a 2 to a 6 in seven steps", 7, *axes)

# %% [markdown]
# *Figure 2.9, the report's figure 6.* Interpolation between the latents of a 2 and of a 6, by the
# shipped version. Upper row: on the straight line, as in the report. Lower row: on the great
# circle. The cell before prints how the classifier reads each image, and the norms of the latents.
#
# ## Open task: all modes from every start
#
# Make the ring complete with the non-saturating loss: **eight modes from each of the five starts,
# and 60 % of the points within $3 \sigma$ of a mode**, after at most two minutes of training on two
# cores. You may add to the loss and change everything but the ring and `captured_modes`. The cell
# below is a start.
#
# <details>
# <summary>Hint 1</summary>
#
# With `critic_steps=1`, $D$ is no longer near its optimum, so its slope at the points of $G$ does
# not vanish. Two minutes are many steps: how do their number and the learning rate matter?
#
# </details>
# <details>
# <summary>Hint 2</summary>
#
# The modes are so narrow that $D$ can tell real and generated points apart. Add normal noise to
# both in both losses, and let it shrink during training (Arjovsky & Bottou 2017).
#
# </details>
# <details>
# <summary>Hint 3</summary>
#
# Keep $D$ smooth at the real points by the penalty
# $\frac{\gamma}{2}\, \mathbb{E}_{x \sim p_\text{data}}\left[\lVert \nabla D(x) \rVert^2\right]$
# (Mescheder et al. 2018, "Which training methods for GANs do actually converge?").
# `loss_of_critic` shows how to take the slope.
#
# </details>

# %%
draw_starts({"non_saturating": train_on_ring(LOSSES["non_saturating"], critic_steps=1)})

# %% [markdown]
# *Figure 2.10.* The start of the open task: one step of $D$ for each step of $G$.
#
# ## What to take along
#
# - A GAN learns from a classifier instead of a likelihood. At the optimum, $D$ says $\frac12$, and
#   the value is $-2 \ln 2$.
# - With the best $D$, the value measures the Jensen-Shannon divergence, whose gradient vanishes
#   where densities do not overlap. The non-saturating loss keeps a gradient.
# - Neither the value nor the losses tell how good or how varied the samples are. Notebook 4
#   measures both.
