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
# # 3 · The normalizing flow
#
# A normalizing flow is a model of images whose density can be computed exactly. This notebook
# answers questions 3.1 to 3.8 of the report, a course report of 2019 that tfgen reproduces, each
# with equations and with a cell that shows that they hold: change of variables, what it costs,
# dequantization, couplings, and a flow that is trained on MNIST.
#
# - **Time**: at most six minutes on two processor cores. It needs no network and no GPU.
# - **Exercises**: six. Each is a function. `check(function)` says at once whether it is right, and
#   names the mistake if it is not.
# - **In Colab**: upload this notebook, and install tfgen in a first cell with `%pip install FILE`,
#   where `FILE` is tfgen's wheel. `notebooks/README.md` has the steps. All cells run from an
#   installed package; where the records of a longer training are found, they are drawn too.
#
# | symbol | meaning |
# |---|---|
# | x | an image of M pixels, or a point of a toy example with M coordinates |
# | z | its latents, also M numbers |
# | p(z) = N(z; 0, I) | the prior, the density of latents: standard normal, independent entries |
# | p(x) | the density of images under the model |
# | f, f⁻¹ | the function from latents to images, and its inverse |
# | u | the noise that is added to bytes |
# | $h_0, \ldots, h_L$ | what the L maps of a flow compute, from $h_0 = x$ to $h_L = z$ |
#
# Logarithms are natural, so log-densities are in **nats**. One nat is 1 / ln 2 = 1.44 bits.

# %% tags=["setup"]
import json
import math
import os
import sys
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tfgen.notebooks.checks import check

import tfgen
from tfgen.publishing.versions import shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
SIDES = (64, 128, 256) if SMALL else (64, 128, 256, 512, 1024, 2048)  # of matrices
LENGTHS, SAMPLES = (64, 256, 1024, 4096, 16384), 20_000 if SMALL else 200_000  # toys
TOY_STEPS, MOON_STEPS = (300, 200) if SMALL else (600, 2000)  # of short trainings
DRAWS, BOUND_IMAGES, SCORED = (4, 10, 50) if SMALL else (16, 100, 300)  # log p(x) of digits
TRAINING_IMAGES, VALIDATION, EPOCHS = (2560, 500, 2) if SMALL else (50_000, 5000, 6)
HIDDEN, SEED = (64, 64) if SMALL else (256, 256), 0  # widths of the conditioners
FLOW, REAL, NEUTRAL = tfgen.figures.family_colour("flow"), "black", tfgen.figures.NEUTRAL_COLOUR
RECORDS = Path(sys.modules["tfgen.notebooks"].__file__).resolve().parents[1] / "docs"

# %%
keras.utils.set_random_seed(SEED)
data = tfgen.load_data("mnist")  # uint8 images [N, 28, 28, 1] and their labels
digits = data.test.images


def show_images(axes, images, columns, title):
    """Draws images [N, H, W, C] in 0…1 as a grid."""
    axes.imshow(
        tfgen.figures.image_grid(np.asarray(images), columns), cmap="gray", vmin=0, vmax=255
    )
    axes.set_title(title)
    axes.set_axis_off()


# %% [markdown]
# ## Question 3.1: change of variables, and log p(x) through a sequence of maps
#
# How does a flow give the density of an image?
#
# A flow draws latents z from a simple density, the **prior** p(z) = N(z; 0, I), and computes the
# image x = f(z). The function f is smooth and invertible: each x comes from exactly one z, f⁻¹(x).
# A density is probability per length (in two dimensions per area, in M dimensions per volume). f
# moves probability, but creates none and loses none. So the probability of a short interval dz
# around z is that of the interval dx into which f maps it: p(x) |dx| = p(z) |dz|. In logarithms:
#
# $$\log p(x) = \log p(z) + \log\left|\frac{\partial z}{\partial x}\right|, \qquad z = f^{-1}(x)$$
#
# Where f stretches an interval, |∂z/∂x| is below 1, and the density is lower.
#
# ### Exercise 3.a — the density of x = f(z) in one dimension
#
# Write `log_prob_of_map`. It gets x and the inverse f⁻¹, which maps each entry of x to its z. The
# prior is log N(z; 0, 1) = −½ (z² + ln 2π). Compute the derivative of f⁻¹ with a `tf.GradientTape`;
# x is a constant, so call `tape.watch(x)`. The function f may rise or fall.


# %% tags=["exercise"]
def log_prob_of_map(x, inverse):
    """log p(x) in nats, where x = f(z) and z ~ N(0, 1).

    x: float64[N]. inverse: the function f⁻¹, from float64[N] to float64[N], entry by entry.
    Returns float64[N].
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = inverse(x)
    slope = tape.gradient(z, x)
    log_prior = -0.5 * (tf.square(z) + math.log(2 * math.pi))
    return log_prior + tf.math.log(tf.abs(slope))


# %%
check(log_prob_of_map)

# %% [markdown]
# Take f(z) = arsinh(4 z), with f⁻¹(x) = sinh(x) / 4. It is steep around 0, and flat far from 0. The
# next cell colours eight intervals of z that have the probability 1/8 each, and the intervals of x
# that f maps them to.

# %%
z = np.linspace(-3, 3, 1201)
x = np.arcsinh(4 * z)
prior = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
density = np.exp(log_prob_of_map(tf.constant(x), lambda x: tf.sinh(x) / 4).numpy())
samples = np.arcsinh(4 * np.random.default_rng(SEED).normal(size=SAMPLES))

figure, axes = plt.subplot_mosaic(
    [["x", "map"], [".", "z"]],
    figsize=(7.5, 6),
    width_ratios=(1, 2),
    height_ratios=(2, 1),
    layout="constrained",
)
bands = np.digitize(z, tf.math.ndtri(np.arange(1, 8) / 8))
for band, colour in enumerate(plt.get_cmap("viridis")(np.linspace(0, 1, 8))):
    inside = bands == band
    axes["z"].fill_between(z[inside], prior[inside], color=colour)
    axes["map"].plot(z[inside], x[inside], color=colour, linewidth=4)
    axes["x"].fill_betweenx(x[inside], density[inside], color=colour)
axes["x"].hist(samples, 80, density=True, orientation="horizontal", histtype="step", color=REAL)
axes["map"].set(title="the map x = f(z) = arsinh(4 z)", xlabel="latent z", ylabel="point x")
axes["z"].set(title="prior p(z)", xlabel="latent z", ylabel="density")
axes["x"].set(title="p(x), and samples", xlabel="density", ylabel="point x")
plt.show()

# %% [markdown]
# *Figure 3.1.* Change of variables in one dimension. Each colour has the probability 1/8 in z and
# in x. The map is steep in the middle, so the two middle colours are spread over a long interval of
# x, and p(x) is low there; p(x) has two peaks although p(z) has one. The black outline is a
# histogram of samples f(z): it agrees with the formula, which does not use any samples.

# %%
between = np.sum((density[1:] + density[:-1]) / 2 * np.diff(x))
expected = math.erf(3 / math.sqrt(2))
print(f"probability between f(−3) and f(3), by the density of x: {between:.5f}")
print(f"probability between −3 and 3, by the density of z:       {expected:.5f}")
assert abs(between - expected) < 1e-4  # the error of the sum over 1200 intervals

# %% [markdown]
# **In M dimensions**, f stretches a small cube into a small parallelepiped. Its volume is that of
# the cube times |det ∂x/∂z|. The **Jacobian** ∂x/∂z is the matrix of all M × M partial derivatives,
# and its determinant takes the place of the derivative:
#
# $$\log p(x) = \log p(z) + \log\left|\det\frac{\partial z}{\partial x}\right|$$
#
# **A sequence of maps** makes a flexible f from simple ones. Let $h_0 = x$, and
# $h_l = f_l^{-1}(h_{l-1})$ for l = 1 … L, so that $h_L = z$. The Jacobian of a composition is the
# product of the Jacobians. The determinant of a product is the product of the determinants, so
# their logarithms add up (Rezende & Mohamed 2015, Dinh et al. 2014):
#
# $$\log p(x) = \log p(z)
# + \sum_{l=1}^{L} \log\left|\det\frac{\partial h_l}{\partial h_{l-1}}\right|$$
#
# The next cells follow a grid of small squares through three maps of the plane: one that bends, one
# that turns, and again one that bends.


# %%
def bend(h):
    """Scales and shifts the second coordinate by functions of the first; float64[N, 2]."""
    first, second = h[:, 0], h[:, 1]
    return tf.stack([first, second * tf.exp(tf.tanh(first) / 2) + first**2 / 4 - 0.5], axis=1)


def turn(h):
    """Turns by 60°, and then stretches the first coordinate by 1.2."""
    first, second = h[:, 0], h[:, 1]
    cosine, sine = 0.5, math.sqrt(0.75)
    turned = (1.2 * (cosine * first - sine * second), sine * first + cosine * second)
    return tf.stack(turned, axis=1)


def log_det_of_jacobian(function, h):
    """log |det ∂function/∂h| of each row of h, by M passes of back-propagation."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(h)
        outputs = tf.unstack(function(h), axis=1)
    rows = [tape.gradient(output, h) for output in outputs]
    return tf.linalg.slogdet(tf.stack(rows, axis=1)).log_abs_determinant


# %%
axis = np.linspace(-2.4, 2.4, 61)  # corners of 60 × 60 squares
corners = tf.constant(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
centres_axis = (axis[1:] + axis[:-1]) / 2
centres = tf.constant(np.stack(np.meshgrid(centres_axis, centres_axis), axis=-1).reshape(-1, 2))
log_density = -0.5 * tf.reduce_sum(centres**2, axis=1) - math.log(2 * math.pi)
stages = [("latents z = h₃", corners, log_density)]
for name, map_ in (("bent: h₂", bend), ("turned: h₁", turn), ("bent again: x = h₀", bend)):
    log_density -= log_det_of_jacobian(map_, centres)  # this direction is that from z to x
    corners, centres = map_(corners), map_(centres)
    stages.append((name, corners, log_density))

# %%
figure, panels = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for axes, (name, points, logs) in zip(panels, stages, strict=True):
    first, second = points.numpy().T.reshape(2, 61, 61)
    mesh = axes.pcolormesh(first, second, np.exp(logs).reshape(60, 60), vmin=0, vmax=0.2)
    axes.plot(first[::6].T, second[::6].T, color="white", linewidth=0.4)
    axes.plot(first[:, ::6], second[:, ::6], color="white", linewidth=0.4)
    row, column = slice(24, 31), slice(36, 43)
    for line in ((24, column), (30, column), (row, 36), (row, 42)):
        axes.plot(first[line], second[line], color="red", linewidth=2)
    axes.set(
        title=name, xlim=(-4.8, 4.8), ylim=(-4, 5.6), aspect="equal", xlabel="first coordinate"
    )
panels[0].set_ylabel("second coordinate")
figure.colorbar(mesh, ax=panels, label="density", shrink=0.8)
plt.show()

# %% [markdown]
# *Figure 3.2.* Change of variables in two dimensions, through three maps. The white lines and the
# red square move with the maps. Where squares become smaller the density rises, and where they
# become larger it falls, so that each keeps its probability. Turning changes the density only
# because it also stretches by 1.2 in one direction.


# %%
def areas(points):
    """The areas of the quadrilaterals of a grid of 61 × 61 corners, [60 × 60]."""
    p = points.numpy().reshape(61, 61, 2)
    across, along = p[1:, 1:] - p[:-1, :-1], p[1:, :-1] - p[:-1, 1:]  # the two diagonals
    return np.abs(across[..., 0] * along[..., 1] - across[..., 1] * along[..., 0]).ravel() / 2


expected = math.erf(2.4 / math.sqrt(2)) ** 2  # the probability of the square under p(z)
for name, points, logs in stages:
    probability = np.sum(np.exp(logs) * areas(points))
    print(f"{name:20s} sum of density × area: {probability:.4f}")
    assert abs(probability - expected) < 2e-3  # the density is not constant over a square

z = tf.constant(np.random.default_rng(SEED).normal(size=(5, 2)))
separate = log_det_of_jacobian(bend, z) + log_det_of_jacobian(turn, bend(z))
separate += log_det_of_jacobian(bend, turn(bend(z)))
joint = log_det_of_jacobian(lambda z: bend(turn(bend(z))), z)
print("log |det| of the three maps, added up:", separate.numpy().round(6))
print("log |det| of their composition:       ", joint.numpy().round(6))
assert np.allclose(separate, joint)

# %% [markdown]
# ## Question 3.2: what f must be: square, of non-zero determinant
#
# Which conditions must f fulfil for the formula to hold?
#
# 1. **As many latents as pixels.** Only a square matrix has a determinant. A function of 100
#    latents to 784 pixels, like the generator of notebook 2, reaches a set of volume 0: it has no
#    density in the space of images.
# 2. **A determinant that is nowhere zero.** As it tends to zero, f presses a volume flat, and p(x)
#    grows without bound.
# 3. **One z for each x.** If two values of z lead to the same x, then p(x) is the sum over both,
#    and the formula, which sees one of them, is too small.
#
# The next cell shows condition 2 by linear maps x = A z of the plane. There, the mean of log p(x)
# over samples is known: −1 − ln 2π − ln |det A|. It shows condition 3 by x = z², where z and −z
# lead to the same x.

# %%
rng = np.random.default_rng(SEED)
z = rng.normal(size=(2000, 2))
turned = np.array([[0.8, -0.6], [0.6, 0.8]])
figure, panels = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
for axes, determinant in zip(panels, (1.0, 0.1, 0.001), strict=False):
    matrix = turned @ np.diag([1, determinant]) @ turned.T
    log_prob = -0.5 * np.sum(z**2, axis=1) - math.log(2 * math.pi)
    log_prob -= np.linalg.slogdet(matrix).logabsdet
    assert abs(log_prob.mean() + 1 + math.log(2 * math.pi * determinant)) < 0.1  # ± 0.02
    axes.scatter(*(z @ matrix.T).T, s=1, color=FLOW)
    mean = f"mean log p(x) = {log_prob.mean():.2f} nats".replace("-", "−")
    axes.set_title(f"|det A| = {determinant:g}\n{mean}")
    axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="first coordinate of x")
panels[0].set_ylabel("second coordinate of x")
x = np.linspace(0.02, 4, 400)
branch = np.exp(log_prob_of_map(tf.constant(x), tf.sqrt).numpy())
counts, _ = np.histogram(rng.normal(size=SAMPLES) ** 2, bins=np.linspace(0, 4, 81))
panels[3].stairs(counts / SAMPLES / 0.05, np.linspace(0, 4, 81), color=REAL, label="samples")
panels[3].plot(x, branch, color=NEUTRAL, label="formula with one z")
panels[3].plot(x, 2 * branch, color=FLOW, label="sum over z and −z")
panels[3].set(title="x = z² is not invertible", xlabel="x", ylabel="density", ylim=(0, 1.5))
panels[3].legend()
plt.show()

# %% [markdown]
# *Figure 3.3.* Three clouds x = A z with smaller and smaller determinants, and the density of x =
# z². A flat cloud has a high density on a small area; at det A = 0 the points lie on a line, whose
# area is 0, and there is no density left. On the right, the formula with one z gives half of the
# density of the samples.

# %%
upper, lower = counts[10:].sum() / SAMPLES, x >= 0.5  # between 0.5 and 4
widths = np.diff(x[lower])
mass = np.sum((branch[lower][1:] + branch[lower][:-1]) / 2 * widths)
print(f"share of samples between 0.5 and 4: {upper:.3f}; formula with one z: {mass:.3f}")
assert abs(mass - upper / 2) < 0.01

# %% [markdown]
# ## Question 3.3: what a determinant costs: O(M³), of L maps O(L M³)
#
# Why not use any invertible network as f?
#
# The determinant of a general M × M matrix takes about ⅔ M³ operations by elimination (LU
# decomposition), and the matrix must first be filled by M passes of back-propagation. A flow of L
# maps needs L determinants, O(L M³), for each image of each step. A **coupling** (question 3.7) has
# a triangular Jacobian. The determinant of a triangular matrix is the product of its diagonal, so
# log |det| is a sum of at most M numbers: O(M).
#
# The next cells measure both, for growing M: the determinant of a full matrix, and a whole
# coupling. The coupling leaves the first half of a vector as it is. A network with one hidden layer
# of fixed width computes from it how to scale and shift the second half.


# %%
def seconds(function, repeats=5):
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def make_coupling(size, rng, width=16):
    """A function that computes a coupling of one vector, and its log |det|."""
    half, z = size // 2, rng.normal(size=size)
    into, out = rng.normal(size=(half, width)), rng.normal(size=(width, size)) / size

    def couple():
        parameters = np.tanh(z[:half] @ into) @ out
        log_scale, shift = parameters[:half], parameters[half:]
        return np.concatenate([z[:half], z[half:] * np.exp(log_scale) + shift]), log_scale.sum()

    return couple


# %%
rng = np.random.default_rng(SEED)
matrices = [rng.normal(size=(size, size)) for size in SIDES]
determinants = [seconds(lambda m=matrix: np.linalg.slogdet(m)) for matrix in matrices]
couplings = [seconds(make_coupling(size, rng)) for size in LENGTHS]
sums = [seconds(rng.normal(size=size // 2).sum) for size in LENGTHS]

# %%
figure, axes = plt.subplots(figsize=(6.5, 4.4), layout="constrained")
for sizes, times, colour, label in (
    (SIDES, determinants, REAL, "determinant of a full matrix"),
    (LENGTHS, couplings, FLOW, "whole coupling with its network"),
    (LENGTHS, sums, "#98df8a", "log |det| of the coupling alone"),
):
    axes.loglog(sizes, 1e3 * np.array(times), "o-", color=colour, label=label)
for sizes, times, power in ((SIDES, determinants, 3), (LENGTHS, couplings, 1)):
    line = 1e3 * times[-1] * (np.array(sizes) / sizes[-1]) ** power
    axes.loglog(sizes, line, ":", color=NEUTRAL, label=f"slope of M{'³' * (power == 3)}")
axes.set(xlabel="dimensions M", ylabel="time for one vector [ms]")
axes.set_title("cost of a determinant and of a coupling")
figure.legend(fontsize=8, loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# *Figure 3.4.* Time of one determinant, of one coupling, and of the coupling's log |det| alone, on
# the machine that ran this notebook, against the number of dimensions; both axes are logarithmic.
# The dotted lines have the slopes of M³ and of M. For small M, the time of a function call
# dominates.

# %%
common = max(set(SIDES) & set(LENGTHS))
ratio = determinants[SIDES.index(common)] / couplings[LENGTHS.index(common)]
print(f"at M = {common}, a determinant takes as long as {ratio:.0f} couplings")
assert ratio > 1
for name, sizes, times in (("determinant", SIDES, determinants), ("coupling", LENGTHS, couplings)):
    exponent = np.polyfit(np.log(sizes[-3:]), np.log(times[-3:]), 1)[0]
    print(f"{name}: time ~ M^{exponent:.1f} from M = {sizes[-3]} to {sizes[-1]}")
pixels, maps, batch = 784, 8, 128
print(f"operations for one batch of {batch} digits through {maps} maps:")
print(f"  determinants {batch * maps * 2 / 3 * pixels**3:.1e}, ", end="")
print(f"log |det| of couplings {batch * maps * pixels / 2:.1e}")

# %% [markdown]
# ## Question 3.4: why integers need dequantization: the density degenerates onto points
#
# The pixels of an image are integers from 0 to 255. What happens if a flow is fitted to them as
# they are?
#
# A density can put a narrow peak at each integer. A peak of half the width is twice as high. So the
# likelihood of the training data grows without bound as the peaks become narrower. The density
# degenerates onto points, and the model learns little more than that pixels are integers.
#
# The remedy is **dequantization** (Uria et al. 2013, Theis et al. 2016): add noise u, uniform in
# [0, 1) in each pixel. The points x + u fill a cube of volume 1. Let P(x) be the probability that
# the model gives to this cube. The logarithm is concave, so by Jensen's inequality
#
# $$\log P(x) = \log \int_{[0,1)^M} p(x + u)\, du \;\ge\; E_u[\log p(x + u)]$$
#
# The right-hand side is what a flow maximizes. P(x) is a probability, so log P(x) is at most 0, and
# nothing can grow without bound. If the data have the probabilities $P_d(x)$, the best mean of log
# P(x) is minus their **entropy** H:
#
# $$\sum_x P_d(x) \log P(x) \;\le\; \sum_x P_d(x) \log P_d(x) = -H$$
#
# **A toy whose truth is known**: four values with the probabilities ½, 0.1, 0.3 and 0.1. The flow
# has one dimension, z = F(x), where F is the distribution function of a mixture of 16 logistic
# distributions with fixed means, and z is uniform in (0, 1). By question 3.1, p(x) = F′(x). Weights
# and widths are fitted by gradient descent.

# %%
shares = np.array([0.5, 0.1, 0.3, 0.1])
integers = np.repeat(np.arange(4.0), [500, 100, 300, 100])
best = np.sum(shares * np.log(shares))  # −H, nats
grid = np.linspace(-0.5, 4.5, 5001)


def mixture_log_prob(x, means, logits, log_scales):
    """log F′(x) in nats, [N]: the density of the mixture of logistic distributions."""
    t = (x[:, None] - means) * tf.exp(-log_scales)
    terms = tf.nn.log_softmax(logits) - log_scales - t - 2 * tf.nn.softplus(-t)
    return tf.reduce_logsumexp(terms, axis=1)


# %%
def train_toy(noise):
    """The mean log p(x) of each step, and p on the grid after some steps."""
    # Four logistic distributions for each value: at x, x + ¼, …, or in the middle of the quarters.
    means = np.arange(0, 4, 0.25) + (0.125 if noise else 0)
    variables = [tf.Variable(np.zeros(16)), tf.Variable(np.full(16, -1.0))]
    optimizer, rng = keras.optimizers.Adam(0.03), np.random.default_rng(SEED)
    optimizer.build(variables)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(mixture_log_prob(x, means, *variables))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return -loss

    history, densities = [], {}
    for number in range(1, TOY_STEPS + 1):
        u = rng.uniform(size=integers.shape) if noise else 0.0
        history.append(float(step(tf.constant(integers + u))))
        if number in (TOY_STEPS // 6, TOY_STEPS // 2, TOY_STEPS):
            densities[number] = np.exp(mixture_log_prob(tf.constant(grid), means, *variables))
    return np.array(history), densities


# %%
history_without, toy_without = train_toy(noise=False)
history_with, toy_with = train_toy(noise=True)

# %%
figure, panels = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
for axes, densities, title in (
    (panels[0], toy_without, "fitted to integers"),
    (panels[1], toy_with, "fitted to integers + noise"),
):
    for (step, density), alpha in zip(densities.items(), (0.3, 0.6, 1.0), strict=True):
        axes.plot(grid, density, color=FLOW, alpha=alpha, label=f"after {step} steps")
    axes.set(title=title, xlabel="value x, or x + u", ylabel="density")
panels[0].set(yscale="log", ylim=(1e-3, None))
panels[1].legend(fontsize=8)
panels[1].bar(np.arange(4) + 0.5, shares, 1, color=NEUTRAL, alpha=0.4, zorder=0)
panels[2].plot(history_without, color=REAL, label="integers")
panels[2].plot(history_with, color=FLOW, label="integers + noise")
panels[2].axhline(best, color=NEUTRAL, linestyle=":", label="−H, the best possible log P(x)")
panels[2].set(title="likelihood in training", xlabel="step", ylabel="mean log p(x) [nats]")
panels[2].set_ylim(-2.5, 4)
panels[2].legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 3.5.* The density that grows without bound. Left: fitted to integers, the density becomes
# four peaks, which are narrower and higher at each stage (logarithmic axis; shades as in the
# middle). Middle: fitted to integers plus noise, it approaches the grey bars, whose areas are the
# probabilities of the four values. Right: the likelihood without noise passes the best possible
# log-probability and leaves the picture; with noise it stays below.

# %%
growth = history_without[-1] - history_without[-101]
print(f"−H = {best:.3f} nats; last step without noise {history_without[-1]:.3f}, ", end="")
print(f"with noise {history_with[-1]:.3f}")
print(f"growth over the last 100 steps without noise: {growth:.2f} nats")
assert history_without[-1] > best + 1
assert growth > 0.5
assert history_with[-50:].mean() < best

# %% [markdown]
# ### Exercise 3.b — dequantization
#
# Write `dequantize`: bytes become points in [0, 1)^M by (x + u) / 256. The division is a map like
# any other, so its log |det| is part of log p. It is computed here, once for each image.


# %% tags=["exercise"]
def dequantize(images, u):
    """Bytes as points of the unit cube.

    images: uint8[B, M]. u: noise, uniform in [0, 1), float64[B, M].
    Returns y, float64[B, M], in [0, 1), and log |det ∂y/∂(x + u)| in nats, float64[B].
    """
    y = (tf.cast(images, u.dtype) + u) / 256
    log_det = -images.shape[1] * math.log(256)
    return y, tf.fill(tf.shape(images)[:1], tf.constant(log_det, u.dtype))


# %%
check(dequantize)

# %% [markdown]
# ### Exercise 3.c — bits per dimension
#
# Log-likelihoods of images are usually given in **bits/dim**: −log P(x) in bits, divided by M. It
# is the mean number of bits that an ideal code needs for a pixel. Write `bits_per_dim`.


# %% tags=["exercise"]
def bits_per_dim(log_prob, size):
    """−log P(x) in bits per dimension.

    log_prob: log P(x) in nats, [B]. size: the number of dimensions M.
    Returns [B].
    """
    return -log_prob / (size * math.log(2))


# %%
check(bits_per_dim)

# %% [markdown]
# Both together give the simplest model of bytes: y uniform in the unit cube. Its density is 1, so
# log p(x + u) is the log |det| of `dequantize` alone. All 256 values of a pixel are equally likely,
# and a byte takes 8 bits:

# %%
pixels = tf.constant(digits[:5].reshape(5, 784))
u = tf.constant(np.random.default_rng(SEED).uniform(size=(5, 784)))
y, log_det = dequantize(pixels, u)
print("uniform model:", bits_per_dim(log_det, 784).numpy(), "bits/dim")
assert np.allclose(bits_per_dim(log_det, 784), 8)
assert np.array_equal(np.floor(256 * y), pixels)  # the byte is not lost

# %% [markdown]
# **On MNIST**, too, the likelihood of bytes without noise grows without bound: most pixels of a
# digit are exactly 0. The next cell gives each pixel a flow of its own, z = F(x) as in the toy. F
# is the distribution function of a mixture of a normal peak and a uniform distribution over the 256
# values. The peak is at 0, or at 0.5 for bytes plus noise.
#
# The weight of the peak is the share of 10 000 training images whose pixel is 0, between 0.001 and
# 0.999. Only its width is left to choose. A probability is at most 1, so no model of bytes can need
# less than 0 bits/dim.

# %%
weights = np.clip(np.mean(data.train.images[:10_000] == 0, axis=0), 0.001, 0.999)
bytes_ = digits[:1000].astype(np.float64)
noisy = bytes_ + np.random.default_rng(SEED).uniform(size=bytes_.shape)


def peak_bits_per_dim(x, centre, width):
    """Mean −log p(x) in bits/dim, with peaks of a width around a centre; both in grey levels."""
    peak = np.exp(-0.5 * ((x - centre) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    log_prob = np.log(weights * peak + (1 - weights) / 256)
    return bits_per_dim(log_prob.sum(axis=(1, 2, 3)).mean(), 784)


widths = 2.0 ** np.arange(1, -13, -1)
without_noise = np.array([peak_bits_per_dim(bytes_, 0.0, width) for width in widths])
with_noise = np.array([peak_bits_per_dim(noisy, 0.5, width) for width in widths])

# %%
figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
axes.semilogx(widths, without_noise, "o-", color=REAL, label="bytes")
axes.semilogx(widths, with_noise, "o-", color=FLOW, label="bytes + noise")
axes.axhline(0, color=NEUTRAL, linestyle=":", label="0: no code can be shorter")
axes.set(xlabel="width of the peak [grey levels]", ylabel="−log p [bits/dim]")
axes.set_title("1000 test digits under one flow for each pixel")
axes.invert_xaxis()
axes.legend()
plt.show()

# %% [markdown]
# *Figure 3.6.* The same model of bytes and of bytes plus noise, with narrower and narrower peaks
# (to the right). Without noise, each halving of a small width gains the same number of bits, and
# −log p falls below 0, which no code can reach. With noise, there is a best width, and −log p stays
# above 0.

# %%
gain = without_noise[-2] - without_noise[-1]
zeros = np.mean(bytes_ == 0)
print(f"{zeros:.1%} of the pixels are 0; the last halving gained {gain:.3f} bits/dim")
print(f"best with noise: {with_noise.min():.2f} bits/dim")
assert abs(gain - zeros) < 1e-3  # one bit for each pixel that is 0
assert without_noise[-1] < 0 < with_noise.min()

# %% [markdown]
# **Logit.** One more map comes before the flow. y is in [0, 1), but f(z) with normal latents may be
# any real number. So the logit maps y to the whole line (as in Dinh et al. 2016, section 4.1),
#
# $$h_0 = \log\frac{y'}{1 - y'}, \qquad y' = \frac{\alpha}{2} + (1 - \alpha)\, y$$
#
# with a small α > 0 that keeps the logit of 0 finite. Its log |det| is a sum over the pixels, and
# is added like that of each map. tfgen has it as a **bijector**. This is the word of TensorFlow
# Probability for an invertible map with its log |det|: `forward` goes from latents to data,
# `inverse` from data to latents.

# %%
logit = tfgen.bijectors.InverseLogit(alpha=1e-5)
with tf.GradientTape() as tape:
    tape.watch(y)
    events, log_det = logit.inverse_and_log_det(y, 1)
slopes = tape.gradient(events, y)
print(f"logits from {np.min(events):.2f} to {np.max(events):.2f}")
assert np.allclose(log_det, np.sum(np.log(slopes), axis=1))
assert np.allclose(logit.forward(events), y)

# %% [markdown]
# **How loose is the bound?** More draws of u give a tighter one (Burda et al. 2015): the logarithm
# of the mean of k densities p(x + u₁) … p(x + uₖ) grows with k on average, and tends to log P(x).
# The next cell measures it with the flow that comes with tfgen, on digits of the test images. That
# flow learned its noise, u ~ q(u|x), and divides by q (Ho et al. 2019), which makes the bound
# tighter than uniform noise does.

# %%
shipped = tfgen.Sampler(shipped_folder() / "flow" / "1")
draws = np.stack(
    [
        shipped.log_prob(digits[:BOUND_IMAGES], seeds=draw * BOUND_IMAGES + np.arange(BOUND_IMAGES))
        for draw in range(DRAWS)
    ]
).astype(np.float64)
bounds, k = [], 1
while k <= DRAWS:
    groups = draws.reshape(DRAWS // k, k, BOUND_IMAGES)
    bound = tf.reduce_logsumexp(groups, axis=1) - math.log(k)
    bounds.append(float(np.mean(bound)))
    print(f"{k:2d} draws: {bits_per_dim(bounds[-1], 784):.4f} bits/dim")
    k *= 2
assert bounds == sorted(bounds)  # by Jensen's inequality, exactly, since groups share their draws

# %% [markdown]
# ## Questions 3.5 and 3.6: what goes in and comes out, and the whole algorithm, both ways
#
# What are the inputs and outputs of a flow in training and in sampling?
#
# The same maps are used in both directions:
#
# | | training | sampling |
# |---|---|---|
# | goes in | an image x, bytes | latents z ~ N(0, I) |
# | 1 | y = (x + u) / 256, u uniform | $h_{L-1} = f_L(z)$ |
# | 2 | $h_0$ = logit(y) | $h_{l-1} = f_l(h_l)$, down to $h_0$ |
# | 3 | $h_l = f_l^{-1}(h_{l-1})$, up to $h_L = z$ | y = logit⁻¹($h_0$) |
# | 4 | log p(x + u) = log N(z; 0, I) + Σ log \|det\| of steps 1 to 3 | x = 256 y, rounded down |
# | comes out | log p(x + u), one number | an image x, bytes |
# | then | a step of gradient descent on −log p(x + u) | |
#
# For images, $h_0$ is the logit of question 3.4 in place of x. Training never computes f, and
# sampling never computes a determinant. In all steps, the number of dimensions is M: 784 for a
# digit.
#
# ### Exercise 3.d — log p(x) through a chain of maps
#
# Write `log_prob_of_chain`: steps 3 and 4 of training. Its x is the $h_0$ of the table, so it adds
# the log |det| of step 3 alone. log N(z; 0, I) is the sum of log N(z; 0, 1) over the M entries of
# z. Take M from z: in question 3.8, x is a batch of images, which the last layer flattens.


# %% tags=["exercise"]
def log_prob_of_chain(x, layers):
    """z and log p(x) in nats, where z ~ N(0, I).

    x: float[B, M]. layers: functions in the order in which they are applied to x. Each maps
    h, [B, M], to the next h, [B, M], and the log |det| of this map in nats, [B].
    Returns z, [B, M], and log p(x), [B].
    """
    total = 0.0
    for layer in layers:
        x, log_det = layer(x)
        total += log_det
    log_prior = -0.5 * tf.reduce_sum(tf.square(x) + math.log(2 * math.pi), axis=1)
    return x, log_prior + total


# %%
check(log_prob_of_chain)

# %% [markdown]
# **Both ways on a toy.** Points of two half moons are data with two dimensions, so that everything
# can be drawn. With `preprocessing=tfgen.Identity()`, `tfgen.Flow` takes points in place of bytes.
# It is trained by the algorithm above. An *event* is one point or one image, as it enters the flow.
# The flow's chain has nine maps: eight couplings, and one that only reshapes an event to a vector,
# whose log |det| is 0.


# %%
def two_moons(n, seed):
    """Points of two half circles with noise, float32[n, 2], and which of the two, [n]."""
    rng = np.random.default_rng(seed)
    angle, moon = rng.uniform(0, np.pi, n), rng.integers(2, size=n)
    x = np.where(moon, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(moon, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return (np.stack([x, y], axis=1) + 0.1 * rng.normal(size=(n, 2))).astype(np.float32), moon


moons = tfgen.Flow(
    image_shape=(2,), couplings=8, hidden=(64, 64), seed=SEED, preprocessing=tfgen.Identity()
)
schedule = keras.optimizers.schedules.CosineDecay(1e-3, MOON_STEPS)
moons.compile(
    optimizer=keras.optimizers.Adam(schedule, global_clipnorm=1.0), steps_per_execution=100
)
batches = two_moons(256 * MOON_STEPS, SEED)[0].reshape(MOON_STEPS, 256, 2)
moons.fit(tf.data.Dataset.from_tensor_slices(batches), shuffle=False, verbose=0)

points, which = two_moons(2000, SEED + 1)
layers = [lambda h, b=b: b.inverse_and_log_det(h, 1) for b in moons.bijector().bijectors]
z, log_prob = log_prob_of_chain(tf.constant(points), layers)
print(f"the chain has {len(layers)} maps; mean log p of new points {np.mean(log_prob):.3f} nats")
assert np.allclose(log_prob, moons.event_log_prob(points), atol=1e-3)  # float32

# %%
axis = np.arange(-4, 4, 0.02, np.float32) + 0.01
plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
density = np.exp(np.asarray(log_prob_of_chain(tf.constant(plane), layers)[1], np.float64))
integral = density.sum() * 0.02**2
new = moons.sample(2000, seed=SEED).numpy()
new_latents = moons.latents(tfgen.image_seeds(SEED, 2000)).numpy()

figure, panels = plt.subplots(1, 5, figsize=(15, 3.3), layout="constrained")
for axes, cloud, title, colour in (
    (panels[0], points, "data x", which),
    (panels[1], z.numpy(), "their latents z = f⁻¹(x)", which),
    (panels[3], new_latents, "new latents z ~ N(0, I)", new_latents[:, 0] > 0),
    (panels[4], new, "samples x = f(z)", new_latents[:, 0] > 0),
):
    axes.scatter(*cloud.T, s=2, c=colour, cmap="coolwarm")
    axes.set_title(title)
panels[2].imshow(density.reshape(400, 400), origin="lower", extent=(-4, 4, -4, 4), cmap="viridis")
panels[2].set_title(f"density p(x), integral {integral:.3f}")
for axes, edge in zip(panels, (2, 3.5, 2, 3.5, 2), strict=True):
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal", xlabel="first coordinate")
panels[0].set_ylabel("second coordinate")
plt.show()

# %% [markdown]
# *Figure 3.7.* A flow in both directions. The first two panels: training maps the moons (by colour)
# to latents that together look like one normal cloud. The middle: the exact density, whose integral
# is 1. The last two: sampling maps new normal latents (coloured by the sign of the first) to new
# moons. f is continuous and cannot tear one cloud into two, so a thin bridge between the moons
# remains.

# %%
print(f"integral of p(x) over the plane: {integral:.4f}")
print(f"mean of z: {np.mean(z, axis=0)}, standard deviation: {np.std(z, axis=0)}")
assert abs(integral - 1) < 0.02  # p has creases, which the sum over squares resolves to this
assert np.all(np.abs(np.std(z, axis=0) - 1) < 0.3)
assert np.allclose(moons.decode(z), points, atol=1e-3)  # back from z to x

# %% [markdown]
# **Both ways on digits**, with the flow that comes with tfgen: the image of 28 × 28 bytes becomes
# 784 latents, and these become the same image again, up to rounding in float32. A VAE, in contrast,
# loses details of the image.

# %%
latents = shipped.encode(digits[:BOUND_IMAGES])
back = np.round(255 * shipped.decode(latents)).astype(np.uint8)
print(f"images {digits[:BOUND_IMAGES].shape}, latents {latents.shape}")
changed = np.count_nonzero(back != digits[:BOUND_IMAGES])
print(f"pixels that changed on the way there and back: {changed} of {back.size}")
assert changed <= back.size // 10_000  # rounding may cost a grey level

# %% [markdown]
# ## Question 3.7: the couplings, their mask and networks
#
# Which maps have an inverse and a determinant that cost little, and are yet flexible?
#
# An **affine coupling** (Dinh et al. 2016) splits the M entries by a **mask** b. Entries with b = 1
# stay as they are. A network, the **conditioner**, computes from them a log-scale s and a shift t
# for the entries with b = 0. From latents to data:
#
# $$x = b\, z + (1 - b)\,\bigl(z\, e^{s} + t\bigr), \qquad (s, t) = \mathrm{network}(b\, z)$$
#
# - **The inverse is as cheap**, whatever the network is: the entries with b = 1 are the same in x,
#   so that s and t can be computed again. Then z = (x − t) exp(−s) where b = 0.
# - **The Jacobian is triangular** if the entries with b = 1 are put first. These do not depend on
#   the others. Of the entries with b = 0, each depends only on itself, with the derivative exp(s).
#   So log |det ∂x/∂z| is the sum of s over the entries with b = 0.
# - **The next coupling has the mask 1 − b**, because one coupling alone leaves half of the entries
#   unchanged.
#
# ### Exercise 3.e — an affine coupling
#
# Write `coupling_forward`, from latents to data.


# %% tags=["exercise"]
def coupling_forward(z, mask, network):
    """x and log |det ∂x/∂z| in nats, [B].

    z: float[B, M]. mask: float[M], 1 where an entry stays as it is, 0 where it is changed.
    network: maps mask · z, [B, M], to the log-scales s and the shifts t, [B, M] each.
    Returns x, [B, M], and log |det|, [B].
    """
    s, t = network(mask * z)
    x = mask * z + (1 - mask) * (z * tf.exp(s) + t)
    return x, tf.reduce_sum((1 - mask) * s, axis=1)


# %%
check(coupling_forward)

# %% [markdown]
# ### Exercise 3.f — its inverse
#
# Write `coupling_inverse`, from data to latents, with log |det ∂z/∂x|.


# %% tags=["exercise"]
def coupling_inverse(x, mask, network):
    """z and log |det ∂z/∂x| in nats, [B]; undoes `coupling_forward`.

    x: float[B, M]. mask: float[M], 1 where an entry stays as it is, 0 where it is changed.
    network: maps mask · x, [B, M], to the log-scales s and the shifts t, [B, M] each.
    Returns z, [B, M], and log |det|, [B].
    """
    s, t = network(mask * x)
    z = mask * x + (1 - mask) * (x - t) * tf.exp(-s)
    return z, -tf.reduce_sum((1 - mask) * s, axis=1)


# %%
check(coupling_inverse)

# %% [markdown]
# The next cells chain three couplings with random networks on images of 4 × 4 pixels. The masks are
# checkerboards, in turn one and its complement.


# %%
def random_network(seed):
    """A network with one layer of random weights, from [B, 16] to s and t."""
    weights = tf.constant(np.random.default_rng(seed).normal(size=(16, 32)) / 4)
    return lambda fixed: tf.split(tf.tanh(tf.matmul(fixed, weights)), 2, axis=1)


board = np.indices((4, 4)).sum(axis=0).ravel() % 2
masks = [tf.constant(mask.astype(float)) for mask in (board, 1 - board, board)]
networks = [random_network(seed) for seed in range(3)]
z = tf.constant(np.random.default_rng(SEED).normal(size=(1, 16)))
h, total, jacobians, totals = z, 0.0, [], []
with tf.GradientTape(persistent=True) as tape:
    tape.watch(z)
    for mask, network in zip(masks, networks, strict=True):
        h, log_det = coupling_forward(h, mask, network)
        total += float(log_det[0])
        totals.append(total)
        jacobians.append(tf.unstack(h, axis=1))
jacobians = [np.concatenate([tape.gradient(e, z) for e in entries]) for entries in jacobians]
assert np.allclose(np.linalg.slogdet(jacobians).logabsdet, totals)

# %%
for mask, network in zip(masks[::-1], networks[::-1], strict=True):
    h, _ = coupling_inverse(h, mask, network)
print("largest error of z after three couplings and back:", float(np.max(np.abs(h - z))))
assert np.allclose(h, z)

# %%
figure, panels = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
panels[0].imshow(board.reshape(4, 4), cmap="gray", vmin=-0.5, vmax=1)
panels[0].set(title="first mask; light: b = 1", xlabel="column", ylabel="row")
panels[0].set(xticks=range(4), yticks=range(4))
order = np.argsort(1 - board, kind="stable")  # entries with b = 1 first
for number in range(3):
    axes, jacobian = panels[number + 1], jacobians[number]
    pixels = np.abs(jacobian[np.ix_(order, order)])
    mesh = axes.imshow(np.where(pixels == 0, np.nan, pixels), cmap="viridis", vmin=0, vmax=2)
    axes.set_title(f"couplings: {number + 1}, log |det| = {totals[number]:.2f}")
    axes.set(xlabel="entry of z", ylabel="entry of x")
figure.colorbar(mesh, ax=panels, label="size of the derivative", shrink=0.8)
plt.show()

# %% [markdown]
# *Figure 3.8.* The Jacobian ∂x/∂z after one, two and three couplings; white entries are exactly 0.
# The entries are ordered so that those of the first mask come first. One coupling has a triangular
# Jacobian, with ones for the entries that stay. After three couplings each pixel depends on each
# latent, and log |det| is still a sum of the couplings' own.

# %% [markdown]
# **The conditioner must not see what is changed.** If it gets all of z, the Jacobian is no longer
# triangular, and the sum of s is not its log |det|. The model then trains without an error message,
# but its likelihood is wrong:

# %%
with tf.GradientTape(persistent=True) as tape:
    tape.watch(z)
    leaky, log_det = coupling_forward(z, masks[0], lambda fixed: networks[0](z))
    entries = tf.unstack(leaky, axis=1)
true_log_det = np.linalg.slogdet(np.concatenate([tape.gradient(e, z) for e in entries])).logabsdet
print(f"sum of s: {float(log_det[0]):.3f} nats, log |det| of the Jacobian: {true_log_det:.3f} nats")
assert abs(float(log_det[0]) - true_log_det) > 0.01

# %% [markdown]
# **Masks of images.** A checkerboard gives each changed pixel its neighbours as context.
# **Squeezing** turns each block of 2 × 2 pixels into one pixel with four channels. After it, the
# mask can separate channels instead (Dinh et al. 2016, figure 3). tfgen's masks split an image into
# two tensors, so that the conditioner gets only the part that it may see.

# %%
digit = tf.constant(digits[:1] / 255, tf.float32)
checkerboard = tfgen.bijectors.Checkerboard()
fixed, changed = checkerboard.split(digit)
squeezed = tfgen.bijectors.Squeeze((28, 28, 1)).inverse(digit)
print(f"image {digit.shape}, halves {fixed.shape} and {changed.shape}, squeezed {squeezed.shape}")
assert np.array_equal(checkerboard.merge(fixed, changed), digit)
assert np.array_equal(tfgen.bijectors.Squeeze((28, 28, 1)).forward(squeezed), digit)
pictures = {
    "image": digit[0],
    "checkerboard: fixed": checkerboard.merge(fixed, 0.3 * tf.ones_like(changed))[0],
    "checkerboard: changed": checkerboard.merge(0.3 * tf.ones_like(fixed), changed)[0],
    **{f"channel {c}: {'fixed' if c < 2 else 'changed'}": squeezed[0, ..., c] for c in range(4)},
}
figure, panels = plt.subplots(1, 7, figsize=(14, 2.3), layout="constrained")
for axes, (name, pixels) in zip(panels, pictures.items(), strict=True):
    axes.imshow(np.squeeze(pixels), cmap="gray", vmin=0, vmax=1)
    axes.set_title(name, fontsize=9)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 3.9.* Masks of a digit. Grey pixels of the second and third picture belong to the other
# half. On the right, the squeezed image: four channels of 14 × 14, of which two are fixed and two
# are changed.
#
# **Networks.** In tfgen's version of the report's flow, the conditioner is dense: 392 pixels in,
# two hidden layers of 1024 with ReLU, and s and t of the 392 others out. Two details keep the
# training stable. The last layer begins at zero, so that each coupling begins as the identity:
# before the training, z is $h_0$. And s = 2 tanh(r / 2), where r is the network's output, so that
# no coupling scales by more than exp(2). The next cell builds this flow with narrower hidden
# layers, for the training below.

# %%
flow = tfgen.Flow(couplings=8, hidden=HIDDEN, seed=SEED)
flow.compile(optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=500.0))
noise = tfgen.random.SeedNoise(tf.range(5))
events, logit_log_det = flow.preprocessing.events_and_log_det(tf.constant(digits[:5]), noise)
z = flow.encode(digits[:5], seeds=np.arange(5))
before = flow.evaluate(data.validation.images[:VALIDATION], verbose=0, return_dict=True)
print(f"before the training: {before['bits_per_dim']:.2f} bits/dim on validation images")
assert np.array_equal(tf.reshape(events, [5, 784]), z)

# %% [markdown]
# **Several scales.** Convolutional flows work at several resolutions (Dinh et al. 2016, section
# 3.6). After some couplings at 14 × 14 × 4, half of the channels are factored out: they are latents
# already. The other half is squeezed to 7 × 7 × 8 and goes on. The flow that comes with tfgen has
# two such scales. Its 784 latents are 392 of the small scale, which passed all couplings, followed
# by the 392 that were factored out.
#
# Each of its steps has three maps (Kingma & Dhariwal 2018): it normalizes the channels, mixes them
# by an invertible 1 × 1 convolution, and then applies a coupling. In place of z exp(s) + t, the
# coupling uses the distribution function of a mixture of logistic distributions (Ho et al. 2019).

# %%
first, second = shipped.latents(tfgen.image_seeds(SEED, 16)).reshape(2, 8, 784)
rows = {
    "samples": first,
    "factored-out latents drawn again": np.concatenate([first[:, :392], second[:, 392:]], axis=1),
    "latents of the small scale drawn again": np.concatenate(
        [second[:, :392], first[:, 392:]], axis=1
    ),
}
pictures = {name: shipped.decode(latents) for name, latents in rows.items()}
figure, panels = plt.subplots(3, 1, figsize=(7, 4.2), layout="constrained")
for axes, (name, images) in zip(panels, pictures.items(), strict=True):
    show_images(axes, images, 8, name)
plt.show()

# %% [markdown]
# *Figure 3.10.* What the two scales hold. First row: samples of the flow that comes with tfgen.
# Second row: the same latents of the small scale, with other factored-out latents. Third row: the
# other way round. In both rows 392 latents are drawn again, but the shape of a digit is in those of
# the small scale, and the others change details of the strokes.

# %%
fine, coarse = (
    np.sqrt(np.mean((images - pictures["samples"]) ** 2)) for images in list(pictures.values())[1:]
)
print(f"RMS change of the pixels: {fine:.3f} by factored-out latents, {coarse:.3f} by the others")
assert fine < coarse

# %% [markdown]
# ## Question 3.8: bits/dim by epoch (figure 7 of the report), samples (figure 8)
#
# How does the likelihood change in training, and what do samples look like?
#
# The next cell trains the dense flow of the last question on MNIST. It has the report's eight
# couplings, but narrower conditioners, so that it takes minutes. An **epoch** is one pass through
# the training images. The values of each epoch use one draw of the noise. The report trains for 40
# epochs, and ends below 1.85 bits/dim.

# %%
samples = {"before": flow.sample(16, seed=SEED)}
history = {"bits_per_dim": [], "val_bits_per_dim": []}
for name, start in (("half way", 0), ("after", EPOCHS // 2)):
    fitted = flow.fit(
        data.train.images[:TRAINING_IMAGES],
        validation_data=(data.validation.images[:VALIDATION], None),
        batch_size=128,
        initial_epoch=start,
        epochs=start + EPOCHS // 2,
        verbose=0,
    )
    samples[name] = flow.sample(16, seed=SEED)
    for key, values in history.items():
        values.extend(fitted.history[key])

# %%
log = RECORDS / "flow" / "metrics.jsonl"
record = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
epochs = np.arange(1, EPOCHS + 1)
axes.plot(epochs, history["bits_per_dim"], "-o", color=REAL, label="this notebook, training")
axes.plot(epochs, history["val_bits_per_dim"], "--o", color=REAL, label="validation")
if record:
    epochs = [row["epoch"] for row in record]
    for key, style, label in (
        ("bits_per_dim", "-", "record of 40 epochs, training"),
        ("val_bits_per_dim", "--", "validation"),
    ):
        axes.plot(epochs, [row[key] for row in record], style, color=FLOW, label=label)
axes.axhline(1.85, color=NEUTRAL, linestyle=":", label="the report: below 1.85")
axes.set(xlabel="epoch", ylabel="−log p(x) [bits/dim]", title="likelihood of a flow by epoch")
axes.legend()
plt.show()

# %% [markdown]
# *Figure 3.11, figure 7 of the report.* Bits/dim by epoch, of training images (means over the
# epoch) and of validation images. Green: the record of the full training by
# `tfgen-train flow --seed 0`, with conditioners of 1024, where the notebook finds it. Black: the
# training above.

# %%
final = history["val_bits_per_dim"][-1]
print(f"validation: {before['bits_per_dim']:.2f} bits/dim before the training, ", end="")
print(f"{final:.3f} after {EPOCHS} epochs")
assert final < before["bits_per_dim"]
if record:
    print(f"record: {record[-1]['val_bits_per_dim']:.3f} after {record[-1]['epoch']} epochs")
    assert record[-1]["val_bits_per_dim"] < 1.85

# %%
epochs = {"before": 0, "half way": EPOCHS // 2, "after": EPOCHS}
recorded = [RECORDS / "flow" / f"samples-{epoch}.png" for epoch in (0, 20, 40)]
rows = 2 if all(path.is_file() for path in recorded) else 1
figure, panels = plt.subplots(
    rows, 3, figsize=(10, 3.6 * rows), layout="constrained", squeeze=False
)
for axes, (name, images) in zip(panels[0], samples.items(), strict=True):
    show_images(axes, images, 4, f"this notebook, {name}: epoch {epochs[name]}")
if rows == 2:
    for axes, path in zip(panels[1], recorded, strict=True):
        axes.imshow(plt.imread(path), cmap="gray")
        axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 3.12, figure 8 of the report.* Samples before, half way and after, each time from the same
# latents. Before the training the flow is the identity, so a sample is the logistic function of
# normal noise: grey. Second row: the record of the full training, before, after 20 and after 40
# epochs, where the notebook finds it.
#
# **The whole algorithm, once more.** `log_prob_of_chain` of exercise 3.d, with the couplings of the
# trained flow as its layers, gives the same log p(x) as `tfgen.Flow.log_prob` for the same noise.
# What is added is log |det| of dequantization and logit.

# %%
layers = [lambda h, b=b: b.inverse_and_log_det(h, 3) for b in flow.bijector().bijectors]
z, log_prob = log_prob_of_chain(events, layers)  # the last layer flattens an image to 784 numbers
log_prob += logit_log_det
print("by log_prob_of_chain:", bits_per_dim(log_prob, 784).numpy().round(4), "bits/dim")
print("by tfgen:            ", end=" ")
print(bits_per_dim(flow.log_prob(digits[:5], seeds=np.arange(5)), 784).numpy().round(4), "bits/dim")
assert np.allclose(log_prob, flow.log_prob(digits[:5], seeds=np.arange(5)), rtol=1e-4)  # float32

# %% [markdown]
# At 784 dimensions, the full Jacobian can still be computed. Its log |det| must be the sum of the
# couplings' own:

# %%
start = time.perf_counter()
h, total, steps = events[:1], 0.0, [events[0]]
for layer in layers:
    h, log_det = layer(h)
    total += float(log_det[0])
    steps.append(tf.reshape(h, [28, 28]))
by_couplings = time.perf_counter() - start

# %%
start = time.perf_counter()
with tf.GradientTape() as tape:
    tape.watch(events)
    z = flow.bijector().inverse(events[:1])
jacobian = tf.reshape(tape.jacobian(z, events)[:, :, 0], [784, 784])
by_jacobian = np.linalg.slogdet(np.asarray(jacobian, np.float64)).logabsdet
print(f"log |det ∂z/∂h₀| of a digit: {total:.2f} nats by the couplings in {by_couplings:.2f} s,")
print(f"{by_jacobian:.2f} nats by its Jacobian in {time.perf_counter() - start:.2f} s")
assert abs(total - by_jacobian) < 0.1  # float32

# %%
figure, panels = plt.subplots(1, len(steps) - 1, figsize=(14, 2.2), layout="constrained")
for number, (axes, h) in enumerate(zip(panels, steps[:-1], strict=True)):
    h = np.squeeze(h)
    axes.imshow(h, cmap="gray")
    name = "z" if number == len(steps) - 2 else f"h{number}"
    axes.set_title(f"{name}: {h.min():.1f} … {h.max():.1f}".replace("-", "−"), fontsize=9)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 3.13.* A test digit on its way from logits $h_0$ through eight couplings to latents z;
# each picture has its own range of grey, which its title gives. Step by step, the couplings turn
# the digit into noise. After so short a training, z still shows some of it.
#
# ## Are digits likelier than other images?
#
# Does the flow know what a digit is? The next cell computes the bits/dim of test digits under the
# flow that comes with tfgen. It does the same for changed digits (shifted by six rows, turned
# upside down, inverted to 255 − x, with shuffled pixels), for uniform noise and for a plain black
# image.

# %%
rng, chosen = np.random.default_rng(SEED), digits[:SCORED]
shuffled = rng.permutation(chosen.reshape(SCORED, 784), axis=1).reshape(chosen.shape)
groups = {
    "test digits": chosen,
    "shifted by six rows": np.roll(chosen, 6, axis=1),
    "upside down": chosen[:, ::-1],
    "inverted": 255 - chosen,
    "shuffled pixels": shuffled,
    "uniform noise": rng.integers(0, 256, chosen.shape).astype(np.uint8),
    "plain black": np.zeros_like(chosen),
}
scores = {name: bits_per_dim(shipped.log_prob(images), 784) for name, images in groups.items()}

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for row, (name, values) in enumerate(scores.items()):
    low, first, median, third, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
    colour = FLOW if name == "test digits" else NEUTRAL
    axes.plot([low, high], [row, row], color=colour, linewidth=1)
    axes.plot([first, third], [row, row], color=colour, linewidth=8)
    axes.plot(median, row, "o", color=REAL)
axes.set_yticks(range(len(scores)), list(scores))
axes.set(xscale="log", xlabel="−log p(x) [bits/dim]; further left is likelier")
axes.set_title("digits and what is no digit, under the flow")
axes.invert_yaxis()
plt.show()

# %% [markdown]
# *Figure 3.14.* −log p(x) of digits and of other images, on a logarithmic axis. Points are medians,
# thick lines reach from quartile to quartile, thin lines from the least to the greatest value.

# %%
for name, values in list(scores.items())[1:]:
    share = np.mean(scores["test digits"] < values)
    print(f"{share:7.1%} of the digits are likelier than the same image: {name}")
for name in ("inverted", "shuffled pixels", "uniform noise"):
    assert np.mean(scores["test digits"] < scores[name]) > 0.99
assert np.mean(scores["test digits"]) < np.mean(scores["upside down"])
assert np.mean(scores["test digits"]) < np.mean(scores["shifted by six rows"])
assert np.max(scores["plain black"]) < np.min(scores["test digits"])

# %% [markdown]
# Digits are likelier than noise, shuffled pixels and inverted digits, and on average likelier than
# the same digits upside down or shifted. **But a high likelihood is no proof**: a plain black image
# is likelier than each of the digits. Most pixels of digits are black, and the flow predicts them
# almost with certainty; only strokes cost many bits. Flows trained on one data set often give
# simpler images of another one a higher likelihood (Nalisnick et al. 2019).
#
# ## Papers
#
# - Rezende & Mohamed 2015, "Variational inference with normalizing flows": change of variables.
# - Dinh, Krueger & Bengio 2014, "NICE: non-linear independent components estimation": couplings.
# - Dinh, Sohl-Dickstein & Bengio 2016, "Density estimation using Real NVP": affine couplings,
#   masks, squeezing and several scales, logit.
# - Kingma & Dhariwal 2018, "Glow: generative flow with invertible 1×1 convolutions": the steps of
#   the flow that comes with tfgen.
# - Ho et al. 2019, "Flow++": learned noise, mixture couplings.
# - Uria, Murray & Larochelle 2013, "RNADE: the real-valued neural autoregressive
#   density-estimator": dequantization.
# - Theis, van den Oord & Bethge 2016, "A note on the evaluation of generative models": the lower
#   bound of dequantization.
# - Burda, Grosse & Salakhutdinov 2015, "Importance weighted autoencoders": several draws.
# - Nalisnick et al. 2019, "Do deep generative models know what they don't know?"
