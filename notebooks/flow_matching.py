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
# # 5 · Flow matching
#
# Flow matching moves noise until it is an image. A network says for each point and each time where
# to go and how fast; it learns this by regression (Lipman et al. 2023, Liu et al. 2023). This
# notebook goes from a ring of points in the plane, where everything is known exactly, to digits. On
# the way it shows that a diffusion model and a continuous flow are the same thing, seen from two
# other sides.
#
# - **Before you start**: notebook 3 explains densities, bits/dim and the change of variables.
# - **Time**: at most six minutes on two processor cores. It needs no network and no GPU.
# - **Exercises**: six functions, 5.a to 5.f, a derivation, and an open task at the end.
#   `check(function)` says at once whether a function is right, or names the mistake. Hints are
#   folded: open one at a time.
# - **In Colab**: upload this notebook, and install tfgen in a first cell with `%pip install FILE`,
#   where `FILE` is tfgen's wheel; `notebooks/README.md` shows how to build it.
#
# | symbol | meaning |
# |---|---|
# | $x_0$ | noise, from N(0, I) |
# | $x_1$ | a point of the data, with D entries: two coordinates, or the pixels of an image |
# | t | time, from 0 (noise) to 1 (data) |
# | $x_t$ | the point at time t of the path from $x_0$ to $x_1$; its density is $p_t$ |
# | v(x, t) | the velocity of a point that is at x at time t |
#
# Papers on diffusion count time the other way round, from data to noise.

# %% tags=["setup"]
import os
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tfgen.notebooks.checks import check

import tfgen
from tfgen.evaluation import classifier, distances
from tfgen.models.flow_matching.solvers import SOLVERS, solve
from tfgen.publishing.opening import exported_model
from tfgen.publishing.versions import shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
SEED, BATCH = 0, 2048
RING_STEPS, PATHS = (200, 20_000) if SMALL else (1500, 1_000_000)
STEPS = (4, 8, 16) if SMALL else (4, 8, 16, 32, 64, 128)  # of the solvers
GRID, NOISY_STEPS = (40, 40) if SMALL else (160, 400)
TRAINING_IMAGES, EPOCHS, SAMPLES = (1024, 1, 200) if SMALL else (50_000, 3, 1000)
KNOWN, PROBES = (100, 20) if SMALL else (1000, 1000)
COLOUR, NEUTRAL = tfgen.figures.family_colour("flow-matching"), tfgen.figures.NEUTRAL_COLOUR

# %% [markdown]
# ## Paths: from noise to data on a straight line
#
# Draw noise $x_0$ and, independently, a point $x_1$ of the data. Between them, take the straight
# line
#
# $$x_t = (1 - t)\, x_0 + t\, x_1.$$
#
# A point that moves along it has the velocity $dx_t / dt$, the same at all times.
#
# ### Exercise 5.a — A point of a straight path, and its velocity
#
# Write `straight_path` for a batch. Each example has a time of its own, and may be a point or an
# image.
#
# <details markdown="1"><summary>Hint</summary>
#
# Give t the shape [B, 1], or [B, 1, 1, 1] for images, so that it multiplies each entry of its own
# example.
#
# </details>


# %% tags=["exercise"]
def straight_path(x0, x1, t):
    """The point at time t of the straight path from x0 to x1, and its velocity.

    x0: noise, float[B, ...]. x1: data, of the same shape. t: times in 0…1, float[B].
    Returns x_t and dx_t/dt, both of the shape of x1.
    """
    t = tf.reshape(t, [-1] + [1] * (len(x1.shape) - 1))
    return (1 - t) * x0 + t * x1, x1 - x0


# %%
check(straight_path)

# %% [markdown]
# The data of the first half of this notebook are points of a **ring** of eight normal
# distributions, as in notebook 2, each with standard deviation 0.15.

# %%
MODES, RADIUS, STDDEV = 8, 2.0, 0.15
angles = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def draw(n, seed):
    """Noise, points of the ring, both float32[n, 2], and times, float32[n]."""
    x0, noise = tf.unstack(tf.random.stateless_normal([2, n, 2], [seed, 0]))
    modes = tf.random.stateless_uniform([n], [seed, 1], maxval=MODES, dtype=tf.int32)
    times = tf.random.stateless_uniform([n], [seed, 2])
    return x0, tf.gather(tf.constant(CENTRES, tf.float32), modes) + STDDEV * noise, times


def panels_of(count):
    """A figure with square panels, side by side, each from −3 to 3."""
    figure, panels = plt.subplots(1, count, figsize=(3 * count, 3.2), layout="constrained")
    for axes in panels:
        axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="first coordinate")
    panels[0].set_ylabel("second coordinate")
    return figure, panels


# %%
x0, x1, _ = draw(1000, SEED)
modes = np.argmin(np.linalg.norm(x1[:, None] - CENTRES, axis=2), axis=1)
figure, panels = panels_of(5)
for axes, t in zip(panels, (0.0, 0.4, 0.7, 1.0), strict=False):
    x_t, _ = straight_path(x0, x1, tf.fill([1000], t))
    axes.scatter(*x_t.numpy().T, s=2, c=modes, cmap="tab10")
    axes.set_title(f"$x_t$ at t = {t:g}")
panels[4].plot(*np.stack([x0[:60], x1[:60]]).transpose(2, 0, 1), color=NEUTRAL, linewidth=0.7)
panels[4].set_title("60 paths")
plt.show()

# %% [markdown]
# *Figure 5.1.* From noise to the ring. Colours are the modes of $x_1$. Right: straight paths cross
# each other everywhere. Since $x_1$ is drawn without looking at $x_0$, two paths may leave from
# the same place to opposite modes.
#
# ## Velocity: one for each place and time
#
# A sampler starts from noise alone. It does not know $x_1$, only where it is. So it needs one
# velocity for each place and time, although many paths pass there. Take their mean, the
# **marginal velocity**
#
# $$v(x, t) = \mathbb{E}[\,x_1 - x_0 \mid x_t = x\,].$$
#
# Points that start as N(0, I) and follow $dx/dt = v(x, t)$ have the density $p_t$ at each time, the
# same as the points of the straight paths (Lipman et al. 2023, theorem 1). At t = 1 they are data.
# The reason: a density changes by what flows in and out,
# $\partial p_t / \partial t = -\nabla \cdot (p_t\, v)$, and there only the mean velocity counts.
#
# If the data are a mixture of K equally probable normals $N(c_k, s^2 I)$, the mean has a closed
# form. This includes any finite set of images, with a small s.
#
# ### Exercise 5.b — The marginal velocity of a mixture of normals
#
# Write `marginal_velocity`.
#
# <details markdown="1"><summary>Hint 1: a single normal</summary>
#
# If $x_1$ is of mode k, $x_1 = c_k + s\,\varepsilon$. Then $x_t - t c_k = (1 - t) x_0 + t s\,
# \varepsilon$ is normal, with mean 0 and variance $\sigma_t^2 = (1 - t)^2 + t^2 s^2$ in each entry.
#
# </details>
#
# <details markdown="1"><summary>Hint 2: its mean velocity</summary>
#
# $x_1 - x_0 = c_k + s\,\varepsilon - x_0$ and $x_t$ are jointly normal. So the mean of the first,
# given the second, is $c_k + a\,(x - t c_k)$. The slope a is the covariance of the two, divided by
# the variance: $a = (t s^2 - (1 - t)) / \sigma_t^2$.
#
# </details>
#
# <details markdown="1"><summary>Hint 3: the mixture</summary>
#
# Given $x_t = x$, the probability of mode k is proportional to
# $\exp(-\|x - t c_k\|^2 / (2 \sigma_t^2))$. Weight the means of hint 2 by these. `tf.nn.softmax`
# also works where all exponentials round to 0.
#
# </details>


# %% tags=["exercise"]
def marginal_velocity(x, t, centres, stddev):
    """E[x1 − x0 | x_t = x] for x1 from a mixture of K equally probable normals.

    x: float[B, D]. t: times in 0…1, float[B]. centres: means of the normals, float[K, D].
    stddev: standard deviation of each normal in each entry, a number.
    Returns float[B, D].
    """
    t = t[:, None, None]
    variance = (1 - t) ** 2 + (stddev * t) ** 2
    offsets = x[:, None] - t * centres
    logits = -tf.reduce_sum(offsets**2, axis=2, keepdims=True) / (2 * variance)
    slope = (stddev**2 * t - (1 - t)) / variance
    velocities = centres + slope * offsets
    return tf.reduce_sum(tf.nn.softmax(logits, axis=1) * velocities, axis=1)


# %%
check(marginal_velocity)

# %% [markdown]
# The next cell compares it with the paths themselves: the mean velocity of those that pass a small
# circle at time 0.6. Then the field is drawn.


# %%
def ring_velocity(x, t):
    """The exact velocity of the ring, in the dtype of x."""
    return marginal_velocity(x, t, tf.constant(CENTRES, x.dtype), STDDEV)


place, t = tf.constant([[0.5, 0.3]]), tf.constant([0.6])
x0, x1, _ = draw(PATHS, SEED)
x_t, velocities = straight_path(x0, x1, tf.fill([PATHS], t[0]))
near = velocities[tf.norm(x_t - place, axis=1) < 0.05].numpy()
exact, error = ring_velocity(place, t).numpy()[0], near.std(axis=0) / np.sqrt(len(near))
print(f"{len(near)} paths: their velocities vary by ±{near.std(axis=0).round(2)}")
print(f"their mean {near.mean(axis=0).round(3)} ± {error.round(3)}; exactly {exact.round(3)}")
assert np.all(np.abs(near.mean(axis=0) - exact) < 5 * error + 0.01)

# %%
axis = np.linspace(-2.8, 2.8, 19, dtype=np.float32)
places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
figure, panels = panels_of(4)
for axes, t in zip(panels, (0.0, 0.4, 0.7, 0.95), strict=True):
    x_t, _ = straight_path(x0[:5000], x1[:5000], tf.fill([5000], t))
    v = ring_velocity(tf.constant(places), tf.fill([len(places)], t)).numpy()
    axes.scatter(*x_t.numpy().T, s=1, color=NEUTRAL, alpha=0.3)
    axes.quiver(*places.T, *v.T, color=COLOUR, scale=60, width=0.005)
    axes.set_title(f"v(x, t) at t = {t:g}")
plt.show()

# %% [markdown]
# *Figure 5.2.* The marginal velocity (arrows) and points $x_t$ (grey). At t = 0 all arrows point to
# the mean of the data: noise says nothing about the mode. Later each place has a preferred mode.
#
# ## Training: a regression on single paths
#
# For images nobody knows v. A network $v_\theta$ would have to minimize
# $\mathbb{E}\|v_\theta(x_t, t) - v(x_t, t)\|^2$. It minimizes instead
#
# $$L(\theta) = \mathbb{E}\bigl[\,\|v_\theta(x_t, t) - (x_1 - x_0)\|^2\,\bigr],$$
#
# where all is known: draw $x_0$, $x_1$ and t, and regress the velocity of this one path.
#
# ### Exercise 5.c — The loss of a batch
#
# Write `flow_matching_loss`, the mean of the squared error over the batch and all entries.


# %% tags=["exercise"]
def flow_matching_loss(velocity, x0, x1, t):
    """The mean squared error of a velocity on straight paths.

    velocity: function of points x, [B, ...], and times, [B], that returns [B, ...].
    x0: noise, float[B, ...]. x1: data, of the same shape. t: times in 0…1, float[B].
    Returns a scalar.
    """
    x_t, target = straight_path(x0, x1, t)
    return tf.reduce_mean((velocity(x_t, t) - target) ** 2)


# %%
check(flow_matching_loss)

# %% [markdown]
# ### Derivation: why this loss has the right gradient
#
# Show that
#
# $$L(\theta) = \mathbb{E}\|v_\theta(x_t, t) - v(x_t, t)\|^2 + C,$$
#
# where C does not depend on θ. Then both losses have the same gradient and the same minimum, the
# marginal velocity. Take paper and pencil; these are the steps.
#
# <details markdown="1"><summary>Hint 1</summary>
#
# Let $u = x_1 - x_0$. Write $v_\theta - u = (v_\theta - v) + (v - u)$ and expand the square.
#
# </details>
#
# <details markdown="1"><summary>Hint 2</summary>
#
# In the middle term $2\,\mathbb{E}[(v_\theta - v) \cdot (v - u)]$, take the expectation given $x_t$
# and t first.
#
# </details>
#
# <details markdown="1"><summary>Solution</summary>
#
# Given $x_t$ and t, $v_\theta - v$ is fixed, and the mean of u is v by definition. So the middle
# term is $2\,\mathbb{E}[(v_\theta - v) \cdot (v - \mathbb{E}[u \mid x_t, t])] = 0$. What remains is
# $\mathbb{E}\|v_\theta - v\|^2$ and $C = \mathbb{E}\|v - u\|^2$, the variance of the velocities of
# all paths through a place. It has no θ.
#
# </details>
#
# The next cells train a network on the ring by your loss, and measure all three terms.

# %%
options = {"image_shape": (2,), "preprocessing": tfgen.Identity(), "data_stddev": 1.4}
ring = tfgen.FlowMatching(architecture="dense", hidden=(128, 128, 128), seed=SEED, **options)
optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, RING_STEPS))


@tf.function
def train_step(seed):
    x0, x1, t = draw(BATCH, seed)
    with tf.GradientTape() as tape:
        loss = flow_matching_loss(ring.velocity, x0, x1, t)
    optimizer.apply(tape.gradient(loss, ring.trainable_variables), ring.trainable_variables)
    return loss


losses = np.array([train_step(tf.constant(number)) for number in range(RING_STEPS)])

# %%
x0, x1, t = draw(PATHS // 10, SEED + RING_STEPS)
x_t, _ = straight_path(x0, x1, t)
loss = flow_matching_loss(ring.velocity, x0, x1, t)
floor = flow_matching_loss(ring_velocity, x0, x1, t)
distance = tf.reduce_mean((ring.velocity(x_t, t) - ring_velocity(x_t, t)) ** 2)
print(f"L of the network: {loss:.4f}; C, the loss of the exact velocity: {floor:.4f}")
print(f"L − C = {loss - floor:.4f}; distance of the network from the exact velocity {distance:.4f}")
assert abs(loss - floor - distance) < 0.02  # the middle term, a mean over finitely many paths
assert distance < (0.5 if SMALL else 0.02)

# %% [markdown]
# The loss never comes near 0: it cannot be below C, even for the best network. So its value alone
# says little; compare losses of the same data and times.
#
# ## Steps: solving the equation
#
# A sample is the solution of $dx/dt = v(x, t)$ at t = 1 that begins with noise at t = 0. A
# **solver** takes steps of length h. **Euler**'s method goes along the velocity at the start of the
# step: $x + h\, v(x, t)$. The **midpoint** method goes half of the way first, and takes the
# velocity there for the whole step:
#
# $$x + h\, v\bigl(x + \tfrac{h}{2} v(x, t),\; t + \tfrac{h}{2}\bigr).$$
#
# ### Exercise 5.d — A step of the midpoint method
#
# Write `midpoint_step`. The step may also lead back, with h < 0.


# %% tags=["exercise"]
def midpoint_step(velocity, x, t, h):
    """The point at time t + h of the solution that is at x at time t, by one step.

    velocity: function of points, [B, D], and times, [B], that returns [B, D].
    x: float[B, D]. t: times, float[B]. h: length of the step, a number.
    Returns float[B, D].
    """
    middle = x + h / 2 * velocity(x, t)
    return x + h * velocity(middle, t + h / 2)


# %%
check(midpoint_step)

# %% [markdown]
# What does a step cost, and what does it gain? The cost is the number of evaluations of v. The next
# cell solves the ring's equation by the four methods of tfgen. They use the exact velocity, so all
# of the error is the solver's. `travel` is the same loop with your step.


# %%
def travel(velocity, x, steps):
    """The points of the solutions that are at x at t = 0, by midpoint steps, [steps + 1, B, D]."""
    path = [x]
    for number in range(steps):
        t = tf.fill([len(x)], tf.cast(number / steps, x.dtype))
        path.append(midpoint_step(velocity, path[-1], t, 1 / steps))
    return np.stack(path)


def derivative(time, state):
    """The same equation for tfgen's solvers, whose states are tuples."""
    return (ring_velocity(state[0], tf.fill(tf.shape(state[0])[:1], time)),)


starts = tf.constant(np.random.default_rng(SEED).normal(size=(500, 2)))
truth = solve(derivative, (starts,), 0.0, 1.0, 4 * STEPS[-1], "rk4")[0]
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
errors = {name: [] for name in SOLVERS}
for name, solver_errors in errors.items():
    for steps in STEPS:
        (ends,) = solve(derivative, (starts,), 0.0, 1.0, steps, name)
        solver_errors.append(float(tf.reduce_mean(tf.norm(ends - truth, axis=1))))
(ends,) = solve(derivative, (starts,), 0.0, 1.0, 8, "midpoint")
assert np.allclose(travel(ring_velocity, starts, 8)[-1], ends)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for (name, solver_errors), style in zip(errors.items(), "osd^", strict=True):
    evaluations = EVALUATIONS[name] * np.array(STEPS)
    left.loglog(evaluations, solver_errors, f"-{style}", label=name)
    order = np.log2(solver_errors[-2] / solver_errors[-1])
    print(f"{name:<9} twice the steps divide the error by {2**order:5.1f}: order {order:.1f}")
left.set(xlabel="evaluations of v", ylabel="mean distance from the solution", title="solvers")
left.legend()
right.semilogx(1 + np.arange(RING_STEPS), losses, color=COLOUR, linewidth=0.5, label="L of a batch")
right.axhline(floor, color=NEUTRAL, linestyle="--", label="C")
right.set(xlabel="step of the training", ylabel="loss", title="training on the ring")
right.legend()
plt.show()
assert errors["euler"][-1] > errors["midpoint"][-1] > errors["rk4"][-1]

# %% [markdown]
# *Figure 5.3.* Left: the error of four solvers by the number of evaluations. Euler's error is
# proportional to h, that of midpoint and Heun to h², of the classical Runge–Kutta method (rk4) to
# h⁴. With few evaluations, the methods differ less. Right: the loss of the training above; it ends
# at C.
#
# Now the trained network draws, with more and more steps from the same noise.

# %%
noise = draw(1000, SEED)[0]
figure, panels = panels_of(5)
for axes, steps in zip(panels, (1, 2, 4, 8), strict=False):
    points = travel(ring.velocity, noise, steps)[-1]
    nearest = np.linalg.norm(points[:, None] - CENTRES, axis=2).min(axis=1)
    axes.scatter(*points.T, s=2, color=COLOUR)
    axes.set_title(f"{2 * steps} evaluations")
    print(f"{2 * steps:2d} evaluations: {np.mean(nearest < 3 * STDDEV):4.0%} within 3 s of a mode")
paths = travel(ring.velocity, noise[:60], 32)
panels[4].plot(*paths.transpose(2, 0, 1), color=COLOUR, linewidth=0.7)
panels[4].set_title("60 paths")
plt.show()
assert SMALL or np.mean(nearest < 3 * STDDEV) > 0.8
one_step = noise + ring_velocity(noise, tf.zeros([1000]))
assert np.allclose(one_step, 0, atol=1e-5)  # Euler's only step leads to the mean of the data

# %% [markdown]
# *Figure 5.4.* Samples by few steps, and the paths of many. The paths bend: they first lead to the
# mean of all data and turn to a mode later. Solutions of one equation never cross, unlike the
# straight paths of figure 5.1. Were they straight, one step would be enough. That is the aim of
# rectified flows (Liu et al. 2023) and of the preset `flow-map` of tfgen.
#
# ## Continuous flows: the density of a sample
#
# The solution is an invertible map from noise to data: solve the equation back from t = 1 to t = 0.
# So flow matching is a normalizing flow (notebook 3) with infinitely many layers. One short step
# $x + h\, v$ has the Jacobian $I + h\, \partial v / \partial x$, with
# $\log|\det| = h \,\mathrm{tr}(\partial v / \partial x) + O(h^2)$. That trace is the
# **divergence** of v. Summed over all steps (Chen et al. 2018):
#
# $$\log p(x_1) = \log N(x_0; 0, I) - \int_0^1 \nabla \cdot v(x_t, t)\, dt,$$
#
# along the solution that ends at $x_1$. In notebook 3, networks had a special form so that their
# determinants cost little. Here the network is free: a trace costs less than a determinant.
#
# It still costs D passes of back-propagation. A **probe** ε costs one, whatever D is: the product
# $\varepsilon^T (\partial v / \partial x)\, \varepsilon$ has the trace as its mean if the entries
# of ε are independent with mean 0 and variance 1 (Hutchinson 1990). Unit vectors as probes give the
# entries of the diagonal one by one.
#
# ### Exercise 5.e — The divergence, along a probe
#
# Write `probe_divergence`.
#
# <details markdown="1"><summary>Hint</summary>
#
# `tape.gradient(v, x, output_gradients=probe)` is $\varepsilon^T\, \partial v / \partial x$, for
# each example. Multiply by the probe and sum.
#
# </details>


# %% tags=["exercise"]
def probe_divergence(velocity, x, t, probe):
    """εᵀ (∂v/∂x) ε for each example of a batch.

    velocity: function of points, [B, D], and times, [B], that returns [B, D].
    x: float[B, D]. t: times, float[B]. probe: ε, float[B, D].
    Returns float[B].
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        v = velocity(x, t)
    return tf.reduce_sum(probe * tape.gradient(v, x, output_gradients=probe), axis=1)


# %%
check(probe_divergence)

# %% [markdown]
# The density of the ring is known. The next cell computes log p by the equation, from the exact
# velocity and from the trained network.


# %%
def log_prob(velocity, x, steps=32):
    """log p(x) in nats, by the solution back to noise and the divergence along it."""

    def derivative(time, state):
        points, _ = state
        t, units = tf.fill(tf.shape(points)[:1], time), ([1.0, 0.0], [0.0, 1.0])
        parts = [probe_divergence(velocity, points, t, unit + 0 * points) for unit in units]
        return velocity(points, t), tf.add_n(parts)

    starts, change = solve(derivative, (x, 0 * x[:, 0]), 1.0, 0.0, steps, "rk4")
    return change - tf.reduce_sum(starts**2 + np.log(2 * np.pi), axis=1) / 2


axis = np.linspace(-3, 3, GRID, dtype=np.float32)
plane = tf.constant(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
squares = np.sum((plane[:, None] - CENTRES) ** 2, axis=2) / STDDEV**2
ring_log_prob = np.logaddexp.reduce(-squares / 2, axis=1) - np.log(2 * np.pi * STDDEV**2 * MODES)
densities = {
    "the mixture": np.exp(ring_log_prob),
    "exact velocity": np.exp(log_prob(ring_velocity, plane)),
    "trained network": np.exp(log_prob(ring.velocity, plane)),
}

# %%
figure, panels = panels_of(3)
for axes, (name, density) in zip(panels, densities.items(), strict=True):
    pixels = density.reshape(GRID, GRID)
    mesh = axes.imshow(pixels, origin="lower", extent=(-3, 3, -3, 3), vmin=0, vmax=0.9)
    axes.set_title(name)
    print(f"{name}: integral {np.sum(density) * (axis[1] - axis[0]) ** 2:.4f}")
figure.colorbar(mesh, ax=panels, label="density")
plt.show()
difference = np.abs(densities["exact velocity"] - densities["the mixture"]).max()
print(f"largest difference of the first two: {difference:.5f}")
assert difference < 0.01
noise_of_probes = tfgen.random.SeedNoise(tf.range(5))  # not used for points of two coordinates
by_tfgen = ring.event_log_prob(x1[:5], noise_of_probes)
assert np.allclose(log_prob(ring.velocity, x1[:5]), by_tfgen, atol=0.2)

# %% [markdown]
# *Figure 5.5.* The density of the ring: in closed form, by the equation with the exact velocity,
# and by the equation with the trained network. The first two agree, so v indeed carries N(0, I) to
# the ring. `tfgen` computes the third by the same formula.
#
# ## Diffusion: velocity, noise and score are one thing
#
# A diffusion model learns to predict the noise in $x_t$, or the data, or the **score**
# $\nabla \log p_t(x)$ (Ho et al. 2020, Song et al. 2021). Given $x_t = x$, the two means
# $\hat x_0 = \mathbb{E}[x_0 \mid x_t = x]$ and $\hat x_1 = \mathbb{E}[x_1 \mid x_t = x]$ obey
# two equations:
#
# $$(1 - t)\, \hat x_0 + t\, \hat x_1 = x, \qquad \hat x_1 - \hat x_0 = v(x, t).$$
#
# So v gives both, without training. Given $x_1$, $x_t$ is $N(t x_1, (1 - t)^2 I)$, whose score is
# $-(x - t x_1) / (1 - t)^2 = -x_0 / (1 - t)$. The score of $p_t$ is its mean:
#
# $$\nabla \log p_t(x) = -\frac{\hat x_0}{1 - t}.$$
#
# ### Exercise 5.f — Noise, data and score from the velocity
#
# Write `diffusion_terms`. Solve the two equations first.


# %% tags=["exercise"]
def diffusion_terms(x, v, t):
    """E[x0 | x_t = x], E[x1 | x_t = x] and the score ∇ log p_t(x), from v = v(x, t).

    x: float[B, D]. v: float[B, D]. t: times in 0…1, but not 1, float[B].
    Returns three tensors, float[B, D] each.
    """
    t = t[:, None]
    noise = x - t * v
    return noise, x + (1 - t) * v, -noise / (1 - t)


# %%
check(diffusion_terms)

# %% [markdown]
# With the score, a sampler may also walk at random. In
#
# $$dx = \Bigl(v + \tfrac{g^2}{2} \nabla \log p_t\Bigr) dt + g\, dW,$$
#
# the noise spreads points and the score pulls them back, so that the density is $p_t$ for each
# function g(t) ≥ 0 (Song et al. 2021). With g = 0 this is flow matching. Diffusion models often
# draw with g > 0. The next cell takes $g^2 = 4\, (1 - t)$ and short steps.


# %%
def walk(velocity, x, steps, strength, seed=SEED):
    """The points of random paths at all times, float32[steps + 1, B, D]; g² = strength (1 − t)."""
    rng, path = np.random.default_rng(seed), [x]
    for number in range(steps):
        t = tf.fill([len(x)], number / steps)
        v, squared = velocity(path[-1], t), strength * (1 - number / steps)
        score = diffusion_terms(path[-1], v, t)[2]
        jump = np.sqrt(squared / steps) * rng.normal(size=x.shape)
        path.append(path[-1] + (v + squared / 2 * score) / steps + tf.cast(jump, x.dtype))
    return np.stack(path)


# %%
figure, panels = panels_of(4)
for left, right, strength in zip(panels[::2], panels[1::2], (0.0, 4.0), strict=True):
    one_start = walk(ring_velocity, tf.constant([[0.3, 0.1]] * 8), NOISY_STEPS, strength)
    left.plot(*one_start.transpose(2, 0, 1), color=COLOUR, linewidth=0.7)
    left.set_title(f"8 paths, g² = {strength:g} (1 − t)")
    ends = walk(ring_velocity, draw(2000, SEED)[0], NOISY_STEPS, strength)[-1]
    apart = np.linalg.norm(ends[:, None] - CENTRES, axis=2)
    shares = np.bincount(apart.argmin(axis=1), minlength=MODES) / 2000
    spread = np.sqrt(np.mean(apart.min(axis=1) ** 2) / 2)
    right.scatter(*ends.T, s=2, color=COLOUR)
    right.set_title(f"samples, g² = {strength:g} (1 − t)")
    print(f"g² = {strength:g} (1 − t): modes {shares.min():.3f} to {shares.max():.3f}, ", end="")
    print(f"standard deviation of a mode {spread:.3f}")
    assert np.abs(shares - 1 / 8).max() < 0.04  # the standard error of a share is 0.007
    assert abs(spread - STDDEV) < (0.1 if SMALL else 0.02)
plt.show()

# %% [markdown]
# *Figure 5.6.* Without noise a start has one end; with noise it may end in any mode. The
# distribution of all samples is the same: eight equal modes of the right width. The random walk
# needs many more steps, as its errors are of the order $\sqrt{h}$ on each path.
#
# ## Digits
#
# A batch of images is a batch of points with D = 784. The bytes become numbers in [−1, 1). The next
# cell trains a small U-Net of tfgen, with the loss of exercise 5.c, for a minute or two.

# %%
data = tfgen.load_data("mnist")
batches = EPOCHS * (TRAINING_IMAGES // 128)
warm_up = {"warmup_target": 2e-3, "warmup_steps": batches // 10}
schedule = keras.optimizers.schedules.CosineDecay(0.0, batches - batches // 10, **warm_up)
small = tfgen.FlowMatching(channels=(16, 32), ema_decay=0.99, seed=SEED)
small.compile(optimizer=keras.optimizers.Adam(schedule, global_clipnorm=1.0))
history = small.fit(data.train.images[:TRAINING_IMAGES], batch_size=128, epochs=EPOCHS, verbose=0)
print("loss by epoch:", [round(loss, 3) for loss in history.history["loss"]])
shipped = exported_model(shipped_folder() / "flow-matching" / "1")
models = {"small": small, "shipped": shipped}
print("weights:", {name: model.network.count_params() for name, model in models.items()})

# %% [markdown]
# `shipped` is the model that comes with tfgen, trained for an hour and a half. The next cell draws
# from the same noise with more and more evaluations. The FID (notebook 4) compares samples with
# test images. Here it is of few samples, so it is higher than in tfgen's documents.

# %%
features_of = classifier.open_classifier("mnist", None, Path("saved_models")).extract
test_features = features_of(data.test.images[:5000]).features


def fid(samples):
    """The FID of images in 0…1, float[N, 28, 28, 1], to 5000 test images."""
    pixels = np.round(255 * np.asarray(samples)).astype(np.uint8)
    return distances.fid(features_of(pixels).features, test_features)


rows = {}
drawn = [("shipped", "euler", 1), *(("shipped", "midpoint", steps) for steps in (1, 2, 8))]
for name, solver, steps in (*drawn, ("small", "midpoint", 8)):
    models[name].set_sampling(solver=solver, steps=steps)
    samples = models[name].sample(SAMPLES, seed=SEED).numpy()
    label = f"{name}, {steps * EVALUATIONS[solver]}"
    rows[label] = samples[:12]
    print(f"{label} evaluations: FID {fid(samples):.1f}")

# %%
off = rows["shipped, 1"] - data.train.images.mean(axis=0) / 255
print(f"one step: samples differ from the mean of all digits by {np.sqrt(np.mean(off**2)):.3f}")
row_axis = tfgen.figures.GridAxis("model, evaluations", list(rows))
images = np.concatenate(list(rows.values()))
tfgen.figures.picture(images, "one noise in each column", columns=12, row_axis=row_axis)

# %% [markdown]
# *Figure 5.7.* Digits by few and by many evaluations, of the shipped model and, last, of the small
# one. One step of Euler leads to the mean of all digits, as on the ring.
#
# ### What the exact velocity would draw
#
# For a finite set of images, `marginal_velocity` is the exact minimum of the loss. What does it
# draw? The next cell takes 1000 training images as centres, with s = 0.05.

# %%
train = (data.train.images.reshape(-1, 784) / 255).astype(np.float32)
known = tf.constant(2 * train[:KNOWN] - 1)


def known_velocity(x, t):
    return marginal_velocity(x, t, known, 0.05)


def nearest(images):
    """The nearest training images, [N, 28, 28, 1], and the RMS differences of their pixels."""
    pixels = images.reshape(-1, 784)
    squares = np.sum(train**2, axis=1) - 2 * pixels @ train.T
    distance = np.sqrt((np.sum(pixels**2, axis=1) + squares.min(axis=1)) / 784)
    return train[squares.argmin(axis=1)].reshape(-1, 28, 28, 1), distance


# %%
latents = small.latents(tfgen.image_seeds(SEED, 12))
copies = (travel(known_velocity, latents, 32)[-1].reshape(12, 28, 28, 1) + 1) / 2
rows = {"exact velocity": copies, "small network": rows["small, 16"]}
rows["test images"] = (data.test.images[:12] / 255).astype(np.float32)
pairs = {}
for name, images in rows.items():
    neighbours, distance = nearest(images)
    pairs |= {name: images, f"nearest to {name}": neighbours}
    print(f"{name}: RMS difference from the nearest training image {distance.mean():.3f}")
    assert (distance.max() < 0.05) == (name == "exact velocity")

# %%
row_axis = tfgen.figures.GridAxis("", [name if name in rows else "nearest" for name in pairs])
images = np.concatenate(list(pairs.values())).clip(0, 1)
tfgen.figures.picture(images, "samples and neighbours", columns=12, row_axis=row_axis)

# %% [markdown]
# *Figure 5.8.* Samples and below each the nearest of all training images. The exact minimum of the
# loss copies its training images, apart from noise of size s. A network draws new digits because it
# is smoother and cannot reach this minimum.
#
# ### The likelihood of a digit
#
# For D = 784, the divergence would take 784 passes at each step. The next cell makes them once, for
# a point half way between noise and a digit, and compares with random signs as probes.


# %%
def image_velocity(x, t):
    """The velocity of the small network, of points [B, 784]."""
    return tf.reshape(small.velocity(tf.reshape(x, [-1, 28, 28, 1]), t), [-1, 784])


x_t, _ = straight_path(latents[:1], known[:1], tf.constant([0.5]))
signs = np.random.default_rng(SEED).choice(np.float32([-1, 1]), size=(PROBES, 784))
parts, estimates = (
    probe_divergence(image_velocity, tf.repeat(x_t, n, axis=0), tf.fill([n], 0.5), probes).numpy()
    for n, probes in ((784, tf.eye(784)), (PROBES, tf.constant(signs)))
)
error = estimates.std() / np.sqrt(PROBES)
print(f"divergence {parts.sum():.2f} by 784 unit vectors, one random probe varies by ±", end="")
print(f"{estimates.std():.1f}, the mean of {PROBES} is {estimates.mean():.2f} ± {error:.2f}")
assert abs(estimates.mean() - parts.sum()) < 5 * error

bits = -shipped.log_prob(data.test.images[:16]).numpy() / (784 * np.log(2))
print(f"16 test digits under the shipped model: {bits.mean():.2f} ± {bits.std() / 4:.2f} bits/dim")

# %% [markdown]
# The estimate varies, but is right on average, and its error shrinks in the mean over images. The
# shipped flow of notebook 3, which maximizes the likelihood, needs fewer bits/dim; flow matching
# minimizes another loss and draws better digits.
#
# ## Open task: an FID below 3.5 with four evaluations
#
# Two midpoint steps of the shipped model, four evaluations, have an FID of about 5 above. Reach an
# FID below 3.5 with the same network, the same noise and four evaluations for each digit, without
# any training. Ten minutes on two cores are enough: an attempt takes less than one.
#
# Begin with `tf.reshape(shipped.latents(tfgen.image_seeds(SEED, 1000)), [-1, 28, 28, 1])`, take
# `shipped.velocity(x, t)` within `with shipped.averaged():`, a hundred images at a time, and call
# `fid(shipped.preprocessing.images(x))`.
#
# <details markdown="1"><summary>Hint 1</summary>
#
# The steps need not have the same length. Try the times $1 - (1 - s)^p$ for evenly spaced s.
#
# </details>
#
# <details markdown="1"><summary>Hint 2</summary>
#
# A step may use the velocity of the step before, which costs nothing. With steps of the same
# length, the method of Adams and Bashforth goes $h\, (\tfrac32 v_n - \tfrac12 v_{n-1})$ far. How
# does this change if the step before was shorter?
#
# </details>
#
# ## Papers
#
# - Lipman, Chen, Ben-Hamu, Nickel & Le 2023, "Flow matching for generative modeling": marginal
#   velocity, conditional loss.
# - Liu, Gong & Liu 2023, "Flow straight and fast: learning to generate and transfer data with
#   rectified flow": straight paths, fewer steps.
# - Chen, Rubanova, Bettencourt & Duvenaud 2018, "Neural ordinary differential equations": the
#   density along a solution.
# - Grathwohl et al. 2019, "FFJORD": probes for the divergence (Hutchinson 1990).
# - Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models".
# - Song et al. 2021, "Score-based generative modeling through stochastic differential equations":
#   random and deterministic sampling with the same densities.
