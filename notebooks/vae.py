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
# # 1 · The variational autoencoder
#
# A variational autoencoder (VAE) learns a probability distribution of images, here of the
# handwritten digits of MNIST. This notebook builds one step by step: how it draws an image, which
# bound it is trained on, and how the gradient of this bound is estimated. Then you train it.
#
# - **Time**: at most six minutes on two CPU cores. No cell needs the network.
# - **Exercises**: six functions, 1.a to 1.f. In the assignment, their bodies are blank. After each
#   of them, `check` says at once whether the function is right, or names the mistake.
# - **In Colab**: upload this notebook, and install tfgen in a first cell with `%pip install FILE`,
#   where `FILE` is tfgen's wheel or the address of its repository. See `notebooks/README.md`.
#
# Symbols are those of Kingma and Welling (2013, "Auto-encoding variational Bayes"):
#
# | symbol | meaning |
# |---|---|
# | $x$ | an image: 784 pixels, each 0 or 1 |
# | $z$ | its latents, a vector of $D$ numbers that nobody observes |
# | $p(z)$ | the prior, the distribution of the latents |
# | $p_\theta(x \mid z)$ | the likelihood of an image given its latents; $\theta$ are the weights |
# | $f(z)$ | the decoder, a network that computes the pixel means of $p_\theta(x \mid z)$ |
# | $q_\varphi(z \mid x)$ | the encoder's distribution of latents; $\varphi$ are its weights |
#
# Logarithms are natural, so log-probabilities and divergences are in nats.
#
# tfgen reproduces a course report of 2019 that compares three generative models of MNIST. Its
# questions on the VAE are answered here, in an order in which each section needs only those before
# it. This index has them in the order of the report:
#
# | question | section |
# |---|---|
# | 1.1 | [A VAE and an autoencoder](#A-VAE-and-an-autoencoder,-question-1.1) |
# | 1.2 | [Ancestral sampling](#Ancestral-sampling,-question-1.2) |
# | 1.3 | [The standard normal prior](#The-standard-normal-prior,-question-1.3) |
# | 1.4 | [Plain Monte Carlo](#Plain-Monte-Carlo,-question-1.4) |
# | 1.5 | [The Kullback-Leibler divergence](#The-Kullback-Leibler-divergence,-question-1.5) |
# | 1.6 | [The lower bound](#The-lower-bound,-question-1.6) |
# | 1.7 | [What raises the bound](#What-raises-the-bound,-questions-1.7-and-1.8) |
# | 1.8 | [What raises the bound](#What-raises-the-bound,-questions-1.7-and-1.8) |
# | 1.9 | [The two terms of the loss](#The-two-terms-of-the-loss,-questions-1.9-and-1.10) |
# | 1.10 | [The two terms of the loss](#The-two-terms-of-the-loss,-questions-1.9-and-1.10) |
# | 1.11 | [Reparameterization](#Reparameterization,-question-1.11) |
# | 1.12 | [Networks and training](#Networks-and-training,-questions-1.12-and-1.13) |
# | 1.13 | [Networks and training](#Networks-and-training,-questions-1.12-and-1.13) |
# | 1.14 | [Samples and the manifold](#Samples-and-the-manifold,-questions-1.14-and-1.15) |
# | 1.15 | [Samples and the manifold](#Samples-and-the-manifold,-questions-1.14-and-1.15) |

# %% tags=["setup"]
import os
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfgen
from tfgen.notebooks.checks import check
from tfgen.publishing.versions import shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
TRAIN, TEST = (10_000, 500) if SMALL else (50_000, 2_000)  # images
EPOCHS = 2 if SMALL else 12
PRIOR_SAMPLES = 10_000 if SMALL else 100_000
COLOUR, NEUTRAL = tfgen.figures.family_colour("vae"), tfgen.figures.NEUTRAL_COLOUR
tfd = tfp.distributions
rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)
tf.get_logger().setLevel("ERROR")  # no advice on speed

# %% [markdown]
# MNIST comes with tfgen. Its grey values are 0 to 255. A VAE with Bernoulli pixels needs pixels
# that are 0 or 1, so each grey value becomes the probability of a 1, and each pixel is drawn from
# it (Burda et al. 2015, "Importance weighted autoencoders"). A tfgen model does this by itself for
# the `uint8` images that it trains on.

# %%
data = tfgen.load_data("mnist")
train_images, test_images = data.train.images[:TRAIN], data.test.images[:TEST]


def binarize(images):
    """Flat binary images `float32[N, 784]` of grey ones `uint8[N, 28, 28, 1]`."""
    grey = images.reshape(len(images), 784) / 255
    return (rng.random(grey.shape) < grey).astype("float32")


x_train, x_test = binarize(train_images), binarize(test_images)
print(f"training images {x_train.shape}, test images {x_test.shape}")

# %% [markdown]
# ## Ancestral sampling, question 1.2
#
# *How is an image sampled from the VAE?*
#
# The model is a chain of two draws, from $p(z)$ and from $p_\theta(x \mid z)$. **Ancestral
# sampling** draws each variable after those that its distribution depends on:
#
# 1. draw the latents, $z \sim p(z) = \mathcal{N}(0, I)$;
# 2. compute the pixel means $f(z)$ with the decoder;
# 3. draw each pixel from its own Bernoulli distribution, $x_i \sim \mathrm{Bernoulli}(f_i(z))$.
#
# The pair $(z, x)$ is then a draw from the joint distribution $p(z)\, p_\theta(x \mid z)$, and $x$
# alone is a draw from $p_\theta(x) = \int p_\theta(x \mid z)\, p(z)\, dz$. Given $z$, the pixels
# are independent. Without $z$ they are not, because they share it.
#
# ### Exercise 1.a — ancestral sampling
#
# Write the three steps. `decode` is $f$, for a whole batch of latents. Draw all random numbers with
# `rng`; it has the methods `standard_normal(shape)` and `random(shape)`, uniform in $[0, 1)$.


# %% tags=["exercise"]
def sample_images(decode, n, latent_dim, rng):
    """Draw n images by ancestral sampling.

    Args:
        decode: the decoder f, from latents `[n, latent_dim]` to pixel means `[n, pixels]` in 0…1.
        n: number of images.
        latent_dim: number of latents D.
        rng: a `numpy.random.Generator`, the source of all random numbers.

    Returns:
        The latents z, `[n, latent_dim]`, and the images x, `[n, pixels]`, of 0 and 1.
    """
    z = rng.standard_normal((n, latent_dim))
    means = decode(z)
    x = (rng.random(means.shape) < means).astype("float32")
    return z, x


# %%
check(sample_images)

# %% [markdown]
# The decoder below is that of the VAE that comes with tfgen. It is convolutional, has 20 latents,
# and was trained for 100 epochs. The sections below explain how.

# %%
shipped = tfgen.load(shipped_folder() / "vae" / "1")


def decode(z):
    """Pixel means `[n, 784]` of latents `[n, 20]`, by the shipped VAE."""
    return shipped.decode(z.astype("float32")).reshape(len(z), 784)


z, x = sample_images(decode, 8, 20, np.random.default_rng(3))
figure, panels = plt.subplots(3, 8, figsize=(9, 3.6), layout="constrained")
for column in range(8):
    panels[0, column].bar(range(1, 21), z[column], color=COLOUR)
    panels[0, column].set(ylim=(-3.5, 3.5), xticks=[], yticks=[-3, 0, 3] if column == 0 else [])
    for axes, pixels in zip(panels[1:, column], (decode(z)[column], x[column]), strict=True):
        axes.imshow(pixels.reshape(28, 28), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
for axes, label in zip(panels[:, 0], ("latents $z$", "means $f(z)$", "image $x$"), strict=True):
    axes.set_ylabel(label)
plt.show()

# %% [markdown]
# *Figure 1.1.* Ancestral sampling, one image a column: the 20 latents, the means that the decoder
# computes from them, and an image whose pixels are drawn from these means. Pictures of samples
# usually show the means, as the rest of this notebook does.

# %% [markdown]
# ## The standard normal prior, question 1.3
#
# *The prior is as simple as it can be. Why does this not restrict the distribution of images?*
#
# Because the decoder may be any function. A function of normal variables can have almost any
# distribution (Doersch 2016, "Tutorial on variational autoencoders"). In one dimension this is the
# inverse of a distribution function $F$: if $\Phi$ is that of $\mathcal{N}(0, 1)$, then $\Phi(z)$
# is uniform, and $F^{-1}(\Phi(z))$ has the distribution $F$. In several dimensions, the same is
# done one coordinate at a time. The first layers of a decoder can learn such a function, and the
# other layers make images of the result.

# %%
means, stddevs = np.array([-2, 1.5]), np.array([0.4, 0.8])
parts = tfd.Categorical(probs=np.array([0.3, 0.7]))
mixture = tfd.MixtureSameFamily(parts, tfd.Normal(means, stddevs))
line, z = np.linspace(-5, 6, 2001), rng.standard_normal((5000, 2))
uniform = tfd.Normal(np.float64(0), np.float64(1)).cdf(z[:, 0])
mapped = np.interp(uniform, mixture.cdf(line), line)  # the inverse of F, from a table
ring = z / 10 + z / np.linalg.norm(z, axis=1, keepdims=True)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
left.hist(mapped, 60, density=True, color=COLOUR, alpha=0.5, label=r"$F^{-1}(\Phi(z))$")
left.plot(line, mixture.prob(line), "k", label="density of $F$")
left.set(xlabel="value", ylabel="density", ylim=(0, 0.5))
left.legend(fontsize=8)
right.scatter(*ring[:1500].T, s=2, color=COLOUR)
right.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
plt.show()

# %% [markdown]
# *Figure 1.2.* Left: a standard normal variable becomes a mixture of two normal distributions.
# Right: a standard normal $z$ in the plane becomes a ring, $z / 10 + z / \lVert z \rVert$ (Doersch
# 2016).
#
# The prior does cost something. A decoder is continuous, so it cannot map the normal distribution
# onto two separate parts without a thin bridge between them. These are the samples halfway between
# two digits.

# %% [markdown]
# ## The Kullback-Leibler divergence, question 1.5
#
# *When is the KL divergence of two normal distributions small, when large? What is its closed
# form?*
#
# The divergence $\mathrm{KL}(q \,\|\, p) = \mathbb{E}_{q}[\log q(z) - \log p(z)]$ says by how many
# nats, on average, a draw from $q$ is likelier under $q$ than under $p$ (Kullback and Leibler 1951,
# "On information and sufficiency"). It is never negative, and 0 only if $q = p$. It is large where
# $q$ puts probability on values that are unlikely under $p$: if their means are far apart in units
# of the standard deviation of $p$, or if $q$ is much wider. For $q = \mathcal{N}(\mu, \sigma^2)$,
#
# $$\mathrm{KL}(q \,\|\, \mathcal{N}(m, s^2))
#   = \log \frac{s}{\sigma} + \frac{\sigma^2 + (\mu - m)^2}{2 s^2} - \frac12, \qquad
#   \mathrm{KL}(q \,\|\, \mathcal{N}(0, 1))
#   = \tfrac12\left(\sigma^2 + \mu^2 - 1 - \log \sigma^2\right).$$
#
# For a normal distribution with independent components, it is the sum over the components (Kingma
# and Welling 2013, appendix B).
#
# ### Exercise 1.b — KL divergence to the prior
#
# Write the closed form for a batch of normal distributions $q$ with $D$ independent components. A
# network will compute $\mu$ and $\log \sigma$; $\log \sigma$ may be any number, $\sigma$ may not.
# Use TensorFlow, so that the result has a gradient.


# %% tags=["exercise"]
def kl_to_prior(mean, log_stddev):
    """KL(q(z|x) ‖ p(z)) to a standard normal prior, for each image.

    Args:
        mean: μ, the means of q(z|x), a tensor `[B, D]`.
        log_stddev: log σ, the logarithms of its standard deviations, a tensor `[B, D]`.

    Returns:
        The divergence in nats, a tensor `[B]`.
    """
    variance = tf.exp(2 * log_stddev)
    return tf.reduce_sum(variance + mean**2 - 1 - 2 * log_stddev, axis=-1) / 2


# %%
check(kl_to_prior)

# %%
p = tfd.Normal(np.float64(0), np.float64(1))
print("    μ     σ   KL(q ‖ p)   from samples     KL(p ‖ q)")
for mu, sigma in ((0.0, 1.0), (0.1, 1.0), (0.0, 0.5), (0.0, 2.0), (3.0, 1.0), (3.0, 0.1)):
    closed = kl_to_prior(tf.constant([[mu]]), tf.math.log([[sigma]]))[0]
    q = tfd.Normal(np.float64(mu), np.float64(sigma))
    z = q.sample(100_000, seed=0)
    terms = (q.log_prob(z) - p.log_prob(z)).numpy()
    error = terms.std() / np.sqrt(len(terms))
    row = f"{mu:5} {sigma:5} {closed:11.4f} {terms.mean():8.4f} ± {error:.4f}"
    print(f"{row} {p.kl_divergence(q):11.4f}")
    assert abs(closed - terms.mean()) < 5 * error + 1e-6  # five standard errors

# %% [markdown]
# The divergence grows with the square of $\mu$, and slowly, as $-\log \sigma$, for a narrow $q$: a
# precise code has a price in nats. It is not symmetric, as the last column shows.

# %% [markdown]
# ## Plain Monte Carlo, question 1.4
#
# *Write $\log p(x)$ as an expectation over the prior. Why is it hopeless to estimate it by samples
# from the prior, and why more so with more latents?*
#
# The probability of an image is
#
# $$\log p_\theta(x) = \log \int p_\theta(x \mid z)\, p(z)\, dz
#   = \log \mathbb{E}_{p(z)}\left[p_\theta(x \mid z)\right]
#   \approx \log \left(\frac{1}{K} \sum_{k=1}^K p_\theta(x \mid z^{(k)})\right), \quad
#   z^{(k)} \sim p(z).$$
#
# The sum is dominated by the few $z$ that decode to an image like $x$. Almost every $z$ from the
# prior decodes to another image, for which $p_\theta(x \mid z) \approx 0$. The latents that explain
# $x$ are those of the **posterior** $p_\theta(z \mid x)$, the distribution of the latents when the
# image is known. A sample of size $K$ from the prior has some of them if $K$ is about
# $\exp \mathrm{KL}(p_\theta(z \mid x) \,\|\, p(z))$ (Chatterjee and Diaconis 2018, "The sample size
# required in importance sampling"). If latents are independent, the divergence is a sum over them,
# so the need for samples grows exponentially with their number.
#
# ### Exercise 1.c — the logarithm of a mean
#
# $p_\theta(x \mid z)$ is about $e^{-100}$ for a $z$ that explains the image. For most other $z$ it
# is so small that it is 0 in `float32`. So all terms are kept as logarithms $\ell_k$. Write
# $\log \left(\frac1K \sum_k \exp(\ell_k)\right)$ such that it works for $\ell_k$ near $-800$. The
# mean is over the first axis, the samples. For any number $m$, it is
# $m + \log \left(\frac1K \sum_k \exp(\ell_k - m)\right)$.


# %% tags=["exercise"]
def log_mean_exp(log_p):
    """Logarithm of the mean of exp(log_p) over the samples, for each image.

    Args:
        log_p: log p(x|z) of K samples for each of N images in nats, an array `[K, N]`.

    Returns:
        log (1/K) Σ_k exp(log_p[k]) in nats, an array `[N]`.
    """
    largest = log_p.max(axis=0)
    return largest + np.log(np.mean(np.exp(log_p - largest), axis=0))


# %%
check(log_mean_exp)

# %% [markdown]
# A model whose $\log p(x)$ is known shows this. It is linear and Gaussian: each
# $x_d = z_d + s\, \eta_d$ is a latent plus noise of standard deviation $s$. Then
# $p(x) = \mathcal{N}(0, (1 + s^2) I)$, and the posterior of each latent is
# $\mathcal{N}(x_d / (1 + s^2), s^2 / (1 + s^2))$. Over the images, its divergence from the prior is
# $\frac12 \log(1 + 1/s^2)$ nats a latent on average.

# %%
NOISE, IMAGES = 0.25, 32
COUNTS = np.unique(np.logspace(0, np.log10(PRIOR_SAMPLES), 16).astype(int))
KL_OF_A_LATENT = np.log(1 + 1 / NOISE**2) / 2


def monte_carlo_errors(latent_dim):
    """Mean of log p̂(x) − log p(x) over images for each number of samples, nats."""
    z, noise = rng.standard_normal((2, IMAGES, latent_dim))
    x = z + NOISE * noise
    samples = rng.standard_normal((PRIOR_SAMPLES, latent_dim))
    squares = (samples**2).sum(1)[:, None] - 2 * samples @ x.T + (x**2).sum(1)
    constant = latent_dim * np.log(2 * np.pi * NOISE**2) / 2
    log_p = -squares / (2 * NOISE**2) - constant  # log p(x|z) of all pairs, [K, N]
    exact = -(x**2).sum(1) / (2 * (1 + NOISE**2))
    exact -= latent_dim * np.log(2 * np.pi * (1 + NOISE**2)) / 2
    return [np.mean(log_mean_exp(log_p[:count]) - exact) for count in COUNTS]


# %%
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
for index, latent_dim in enumerate((1, 2, 4, 8, 16)):
    colour = plt.cm.viridis(0.2 * index)
    errors = monte_carlo_errors(latent_dim)
    axes.plot(COUNTS, errors, "o-", ms=3, color=colour, label=f"{latent_dim}")
    needed = np.exp(KL_OF_A_LATENT * latent_dim)
    if needed < PRIOR_SAMPLES:
        axes.axvline(needed, color=colour, ls=":", lw=1)
assert errors[-1] < -5  # 16 latents
axes.axhline(-1, color=NEUTRAL, lw=1)
axes.set(xscale="log", yscale="symlog", ylim=(-300, 1))
axes.set(xlabel="samples from the prior", ylabel=r"mean error of $\log\,p(x)$ [nats]")
axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="latents")
plt.show()

# %% [markdown]
# *Figure 1.3.* Error of plain Monte Carlo in a linear Gaussian model, where $\log p(x)$ is known.
# Dotted: $\exp \mathrm{KL}$ samples. Within a factor of ten of this number, the error becomes less
# than one nat (grey line). With 16 latents, no number of samples in reach is enough.
#
# The estimates are below the truth on average. This is Jensen's inequality: the expectation of a
# logarithm is at most the logarithm of the expectation.
#
# The VAE that you will train has 20 latents, and a divergence of about 25 nats. It would need
# $e^{25} \approx 7 \cdot 10^{10}$ samples for each image and each step of training.

# %% [markdown]
# ## The lower bound, question 1.6
#
# *Why is $\mathbb{E}_q[\log p_\theta(x \mid z)] - \mathrm{KL}(q \,\|\, p(z))$ a lower bound of
# $\log p_\theta(x)$?*
#
# The samples should come from latents that explain $x$. Let $q(z \mid x)$ be any distribution of
# latents, which may depend on the image. Then (Jordan et al. 1999, "An introduction to variational
# methods for graphical models"; Kingma and Welling 2013)
#
# $$\log p_\theta(x) - \mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))
#   = \mathbb{E}_{q(z \mid x)}[\log p_\theta(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)).$$
#
# A divergence is never negative, so the left-hand side is at most $\log p_\theta(x)$. Hence the
# right-hand side is a lower bound, the **evidence lower bound** (ELBO). The gap is exactly
# $\mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))$. It is 0 if $q$ is the posterior.
#
# ### Derivation: the identity of the bound
#
# Show the identity with pencil and paper, from the definition of the divergence alone.
#
# <details>
# <summary>Hint 1</summary>
#
# Begin with $\mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))$, written as an expectation over
# $q$. Which term of it can nobody compute?
#
# </details>
# <details>
# <summary>Hint 2</summary>
#
# Bayes' rule: $\log p_\theta(z \mid x) = \log p_\theta(x \mid z) + \log p(z) - \log p_\theta(x)$.
# Which of these terms does not depend on $z$?
#
# </details>
# <details>
# <summary>Derivation</summary>
#
# With Bayes' rule in the definition,
#
# $$\mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))
#   = \mathbb{E}_q\left[\log q(z \mid x) - \log p_\theta(x \mid z) - \log p(z)
#   + \log p_\theta(x)\right].$$
#
# $\log p_\theta(x)$ does not depend on $z$, so it is its own expectation. The terms
# $\mathbb{E}_q[\log q(z \mid x) - \log p(z)]$ are $\mathrm{KL}(q(z \mid x) \,\|\, p(z))$:
#
# $$\mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))
#   = \mathrm{KL}(q(z \mid x) \,\|\, p(z)) - \mathbb{E}_q[\log p_\theta(x \mid z)]
#   + \log p_\theta(x).$$
#
# Take $\log p_\theta(x)$ to the other side and change all signs.
#
# </details>
#
# ### The identity in numbers
#
# A linear Gaussian model has $\log p(x)$, the bound and the gap in closed form. Here
# $p(z) = \mathcal{N}(0, I)$ with two latents and $p(x \mid z) = \mathcal{N}(W z, s^2 I)$ with five
# coordinates. Then $p(x) = \mathcal{N}(0, W W^\top + s^2 I)$, and the posterior is normal with the
# inverse covariance $\Lambda = I + W^\top W / s^2$ and the mean $\Lambda^{-1} W^\top x / s^2$.

# %%
W = tf.Variable([[1.0, 0.8], [0.7, 1.0], [0.4, -0.2], [0.0, 0.5], [0.2, 0.0]], dtype=tf.float64)
log_s = tf.Variable(np.log(0.4), dtype=tf.float64)


def elbos(x, mean, log_stddev):
    """ELBOs of points `[N, 5]` for q = N(mean, diag stddev²), `[N, 2]` each; nats, `[N]`."""
    squares = tf.reduce_sum((x - mean @ tf.transpose(W)) ** 2, axis=1)
    squares += tf.reduce_sum(tf.exp(2 * log_stddev) * tf.reduce_sum(W**2, axis=0), axis=1)
    reconstruction = -squares / (2 * tf.exp(2 * log_s)) - 5 * (log_s + np.log(2 * np.pi) / 2)
    return reconstruction - kl_to_prior(mean, log_stddev)


def solve_model(x):
    """log p(x) of points `[N, 5]` in nats, `[N]`, and their posteriors, N normal distributions."""
    variance = tf.exp(2 * log_s)
    covariance = tf.linalg.inv(np.eye(2) + tf.transpose(W) @ W / variance)
    mean = x @ W @ covariance / variance
    posterior = tfd.MultivariateNormalTriL(mean, tf.linalg.cholesky(covariance))
    scale = tf.linalg.cholesky(W @ tf.transpose(W) + variance * np.eye(5))
    return tfd.MultivariateNormalTriL(scale_tril=scale).log_prob(x), posterior


# %%
x = W @ [[0.8], [-0.4]] + rng.normal(scale=0.4, size=(5, 1))
(log_p_x,), posterior = solve_model(tf.transpose(x))
best_mean, precision = posterior.mean(), tf.linalg.inv(posterior.covariance())[0]
choices = {
    "the prior": (tf.zeros_like(best_mean), 1.0),
    "the mean of the posterior, σ = 1": (best_mean, 1.0),
    "the mean of the posterior, σ = 0.01": (best_mean, 0.01),
    "the best with independent latents": (best_mean, 1 / np.sqrt(np.diag(precision))),
}
print("q(z|x)                                   ELBO   KL(q ‖ p(z|x))       sum   log p(x)")
for name, (mean, stddev) in choices.items():
    stddev = stddev * tf.ones_like(mean)
    bound = elbos(tf.transpose(x), mean, tf.math.log(stddev))[0]
    gap = tfd.kl_divergence(tfd.MultivariateNormalDiag(mean, stddev), posterior)[0]
    print(f"{name:36} {bound:8.3f} {gap:16.3f} {bound + gap:9.3f} {log_p_x:10.3f}")
    assert abs(bound + gap - log_p_x) < 1e-6

# %% [markdown]
# The sum is $\log p(x)$ in every row. The last row shows a limit: the latents of this posterior are
# correlated, and a $q$ with independent latents cannot equal it. Its best standard deviations are
# $1 / \sqrt{\Lambda_{dd}}$, and the gap that is left is
# $\frac12 \left(\sum_d \log \Lambda_{dd} - \log \det \Lambda\right)$.

# %% [markdown]
# ## What raises the bound, questions 1.7 and 1.8
#
# *Why is the ELBO optimized and not $\log p_\theta(x)$? Which two things can happen when it is
# pushed up?*
#
# $\log p_\theta(x)$ needs an integral over all $z$, and the section on plain Monte Carlo shows what
# it costs to estimate it. The ELBO is an expectation under $q$. One sample of $z$ gives an estimate
# without bias, and the next sections give its gradient.
#
# A VAE does not search a $q$ for each image. A network, the **encoder**, computes the means and
# standard deviations of $q_\varphi(z \mid x)$ from the image. By the identity, the ELBO is
# $\log p_\theta(x)$ minus $\mathrm{KL}(q_\varphi(z \mid x) \,\|\, p_\theta(z \mid x))$. If it
# rises, then
#
# 1. $\log p_\theta(x)$ rises, the model fits the data better; or
# 2. the divergence falls, the encoder comes closer to the posterior and the bound becomes tighter.
#
# The weights of the encoder $\varphi$ can do only the second, since $\log p_\theta(x)$ does not
# depend on them. To see both, the next cells train the linear Gaussian model above on 500 points,
# by gradient ascent on the ELBO. Its encoder is $q(z \mid x) = \mathcal{N}(V x, \mathrm{diag}\,
# \sigma^2)$, and $W$, $s$, $V$ and $\sigma$ are learned. The largest possible $\log p(x)$ of such a
# model is known. It is that of probabilistic principal component analysis (Tipping and Bishop
# 1999), from the eigenvalues $\lambda_1 \geq \lambda_2 \geq \dots$ of the second moments of the
# data. The best $s^2$ is the mean of $\lambda_3$ to $\lambda_5$.

# %%
STEPS = 300
points = rng.standard_normal((500, 2)) @ rng.normal(size=(2, 5)) + 0.5 * rng.normal(size=(500, 5))
first, second, *rest = np.linalg.eigvalsh(points.T @ points / 500)[::-1]
spread = np.log(first * second) + 3 * np.log(np.mean(rest))
ceiling = -(5 * np.log(2 * np.pi) + spread + 5) / 2

log_s.assign(0.0)
V = tf.Variable(tf.zeros([2, 5], tf.float64))
log_sigma = tf.Variable(tf.zeros(2, tf.float64))
variables, optimizer = [W, log_s, V, log_sigma], keras.optimizers.Adam(0.02)
log_p, bounds = np.zeros(STEPS), np.zeros(STEPS)
for index in range(STEPS):
    log_p[index] = tf.reduce_mean(solve_model(points)[0])
    with tf.GradientTape() as tape:
        mean = points @ tf.transpose(V)
        loss = -tf.reduce_mean(elbos(points, mean, log_sigma * tf.ones_like(mean)))
    bounds[index] = -loss
    optimizer.apply(tape.gradient(loss, variables), variables)
assert (log_p > bounds).all() and (log_p < ceiling + 1e-9).all()

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.axhline(ceiling, color=NEUTRAL, label=r"largest possible $\log\,p(x)$")
axes.plot(log_p, "k", label=r"$\log\,p(x)$")
axes.plot(bounds, color=COLOUR, label="ELBO")
axes.fill_between(range(STEPS), bounds, log_p, color=COLOUR, alpha=0.15, label="gap")
axes.set(xlabel="step", ylabel="average over the points [nats]")
axes.legend(fontsize=8)
plt.show()
gaps = log_p - bounds
print(f"the ELBO rises by {bounds[-1] - bounds[0]:.2f} nats")
print(f"log p(x) rises by {log_p[-1] - log_p[0]:.2f} nats")
print(f"the gap falls from {gaps[0]:.2f} to {gaps[-1]:.2f} nats")

# %% [markdown]
# *Figure 1.4.* Training on the ELBO, which stays below $\log p(x)$. In the first steps, the bound
# rises faster than $\log p(x)$, because the gap closes. Then both rise, almost to the largest
# possible value.
#
# A VAE of MNIST keeps a gap, because its posteriors are not normal with independent latents, and
# because one network computes $q$ for all images. The evaluation that comes with the shipped VAE
# has both numbers, over all test images. It estimates $p_\theta(x)$ by the mean of
# $p_\theta(x \mid z)\, p(z) / q_\varphi(z \mid x)$ over samples of $q$ (Burda et al. 2015):

# %%
likelihood = shipped.manifest["evaluation"]["likelihood"]
print(f"−ELBO {likelihood['negative_elbo']:.2f} nats")
print(f"−log p(x) {likelihood['nll']:.2f} nats")

# %% [markdown]
# ## The two terms of the loss, questions 1.9 and 1.10
#
# *What do the reconstruction term and the regularization term mean? Write both out for Bernoulli
# pixels and a diagonal normal $q$.*
#
# The loss of an image is the negative ELBO,
#
# $$\mathcal{L}(x) = \underbrace{-\mathbb{E}_{q_\varphi(z \mid x)}[\log p_\theta(x \mid
#   z)]}_{\text{reconstruction}} + \underbrace{\mathrm{KL}(q_\varphi(z \mid x) \,\|\,
#   p(z))}_{\text{regularization}}.$$
#
# - The **reconstruction** term is small if the decoder finds the image likely when it gets latents
#   from the encoder. Alone, it would make $\sigma$ go to 0: a precise code is best for it.
# - The **regularization** term is small if the encoder's distribution is close to the prior. Alone,
#   it would make $q$ the prior for every image, and $z$ would say nothing about $x$.
#
# In the language of codes, the first is the nats that an image costs when $z$ is known, and the
# second is the nats that $z$ costs. On average, $z$ says no more than this about the image. For
# Bernoulli pixels with means $f(z)$, and for $q = \mathcal{N}(\mu, \mathrm{diag}\, \sigma^2)$,
#
# $$\log p_\theta(x \mid z) = \sum_{i=1}^{784} \bigl(x_i \log f_i(z)
#   + (1 - x_i) \log (1 - f_i(z))\bigr),$$
#
# $$\mathrm{KL}(q \,\|\, p) = \tfrac12 \sum_{d=1}^{D} \left(\sigma_d^2 + \mu_d^2 - 1
#   - \log \sigma_d^2\right).$$
#
# ### Exercise 1.d — the reconstruction term
#
# Write $\log p_\theta(x \mid z)$ of each image. The decoder returns logits $a$, numbers of any
# size, with $f = \mathrm{sigmoid}(a)$. Compute from the logits: for large ones, $f$ rounds to 0 or
# 1, and its logarithm is lost. With $\mathrm{softplus}(a) = \log(1 + e^a)$, which is
# `tf.nn.softplus`, $\log f = -\mathrm{softplus}(-a)$ and $\log(1 - f) = -\mathrm{softplus}(a)$.


# %% tags=["exercise"]
def bernoulli_log_prob(x, logits):
    """log p(x|z) of each image, whose pixels are independent given z.

    Args:
        x: images of 0 and 1, a tensor `[B, pixels]`.
        logits: the decoder's outputs, whose sigmoid is f(z), a tensor `[B, pixels]`.

    Returns:
        log p(x|z) in nats, a tensor `[B]`.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    return -tf.reduce_sum(losses, axis=-1)


# %%
check(bernoulli_log_prob)

# %% [markdown]
# ### Exercise 1.e — the loss of a batch
#
# Write the negative ELBO of a batch. Both terms are sums, over the pixels and over the latents.
# Only the batch is averaged. `kl_to_prior` and `bernoulli_log_prob` are the functions that you
# wrote. One sample of $z$ for each image estimates the expectation.


# %% tags=["exercise"]
def negative_elbo(x, logits, mean, log_stddev):
    """The negative ELBO, averaged over the images of a batch.

    Args:
        x: images of 0 and 1, a tensor `[B, pixels]`.
        logits: the decoder's outputs for one sample z of each q(z|x), a tensor `[B, pixels]`.
        mean: μ, the means of q(z|x), a tensor `[B, D]`.
        log_stddev: log σ, the logarithms of its standard deviations, a tensor `[B, D]`.

    Returns:
        −ELBO in nats, a scalar tensor.
    """
    return tf.reduce_mean(kl_to_prior(mean, log_stddev) - bernoulli_log_prob(x, logits))


# %%
check(negative_elbo)

# %% [markdown]
# ## Reparameterization, question 1.11
#
# *Why is the gradient by the encoder's parameters needed? Why does sampling break it, and how does
# reparameterization bring it back?*
#
# The encoder learns by $\nabla_\varphi$ of the ELBO. The KL is in closed form, so its gradient is
# no problem. But the reconstruction term is an expectation over $z \sim q_\varphi(z \mid x)$, and
# $\varphi$ is in the distribution, not in the function. Once a random number generator has drawn
# $z$, this number is a constant, and automatic differentiation finds no way from it to $\varphi$.
# With the gradient of the KL alone, the encoder would move to the prior and never learn about
# images.
#
# **Reparameterization** (Kingma and Welling 2013; Rezende et al. 2014, "Stochastic backpropagation
# and approximate inference in deep generative models") draws noise that does not depend on
# $\varphi$, and makes $z$ a function of it:
#
# $$z = \mu + \sigma\, \varepsilon, \quad \varepsilon \sim \mathcal{N}(0, I), \qquad
#   \nabla_\varphi\, \mathbb{E}_{q_\varphi}[g(z)]
#   = \mathbb{E}_\varepsilon[\nabla_\varphi\, g(\mu + \sigma\, \varepsilon)].$$
#
# ### Exercise 1.f — reparameterization
#
# Write $z$ as a function of $\mu$, $\log \sigma$ and $\varepsilon$. It must have a gradient by
# $\mu$ and $\log \sigma$.


# %% tags=["exercise"]
def sample_posterior(mean, log_stddev, noise):
    """A sample z of q(z|x), with a gradient by mean and log_stddev.

    Args:
        mean: μ, the means of q(z|x), a tensor `[B, D]`.
        log_stddev: log σ, the logarithms of its standard deviations, a tensor `[B, D]`.
        noise: ε, standard normal, a tensor `[B, D]`.

    Returns:
        z, a tensor `[B, D]`.
    """
    return mean + tf.exp(log_stddev) * noise


# %%
check(sample_posterior)

# %% [markdown]
# There is a gradient without reparameterization: the **score function** estimator (Williams 1992,
# "Simple statistical gradient-following algorithms", there called REINFORCE),
#
# $$\nabla_\varphi\, \mathbb{E}_{q_\varphi}[g(z)] = \mathbb{E}_{q_\varphi}[g(z)\, \nabla_\varphi
#   \log q_\varphi(z)], \qquad \nabla_\mu \log q(z) = (z - \mu) / \sigma^2.$$
#
# It has no bias and needs no gradient of $g$, but its variance is large. A case with a known
# gradient shows this: one latent, $g(z) = \log \mathcal{N}(x; z, s^2)$ and
# $q = \mathcal{N}(\mu, \sigma^2)$. The gradient by $\mu$ is $(x - \mu) / s^2$.

# %%
x, s, mu, sigma, draws = 2.0, 0.5, 0.5, 0.4, 20_000
mean, noise = tf.fill([draws, 1], mu), tf.random.normal([draws, 1], seed=0)
with tf.GradientTape(persistent=True) as tape:
    tape.watch(mean)
    z = sample_posterior(mean, tf.math.log(sigma * tf.ones_like(mean)), noise)
    g = tfd.Normal(z, s).log_prob(x)
    g_of_numbers = tfd.Normal(tf.constant(z.numpy()), s).log_prob(x)
print("gradient if the draws are only numbers:", tape.gradient(g_of_numbers, mean))
estimates = {"reparameterized": tape.gradient(g, mean), "score function": g * noise / sigma}
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for (name, values), colour in zip(estimates.items(), (COLOUR, NEUTRAL), strict=True):
    values, truth = values.numpy()[:, 0], (x - mu) / s**2
    error = values.std() / np.sqrt(draws)
    print(f"{name:16} mean {values.mean():6.3f} ± {error:.3f}, stddev {values.std():6.2f}")
    assert abs(values.mean() - truth) < 5 * error  # five standard errors
    axes.hist(values, np.linspace(-15, 60, 76), density=True, alpha=0.6, color=colour, label=name)
axes.axvline(truth, color="k", lw=1, label="true gradient")
axes.set(xlabel=r"gradient by $\mu$ from one sample [nats per unit of $\mu$]", ylabel="density")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 1.5.* Estimates of a known gradient from single samples. Both have the right mean. The
# values of the score function spread much wider, and some have the wrong sign. So many more samples
# are needed for the same error: the ratio of the variances, here more than a hundred.

# %% [markdown]
# ## Networks and training, questions 1.12 and 1.13
#
# *Which networks make up the VAE? How does the negative ELBO fall by epoch, and what is it before
# training?*
#
# The encoder is 784–500–$2D$ with ReLU and returns the mean and the scale of $q_\varphi(z \mid x)$;
# the decoder is $D$–500–784 and returns logits. With $D = 20$ latents, these are the networks of
# the report. Its $\sigma$ came from a ReLU, which can be 0, and then $\log \sigma$ does not exist.
# tfgen uses $\mathrm{softplus}(a) = \log(1 + e^a) > 0$ instead.
#
# The exercises are the whole algorithm of Kingma and Welling (2013). This cell trains a VAE with
# them for one epoch. Its encoder returns $\mu$ and $\log \sigma$:


# %%
def two_layers(inputs, outputs):
    """A network with one hidden layer of 500 units."""
    layers = [keras.layers.Dense(500, "relu"), keras.layers.Dense(outputs)]
    return keras.Sequential([keras.Input((inputs,)), *layers])


encoder, decoder = two_layers(784, 2 * 20), two_layers(20, 784)
weights = encoder.trainable_variables + decoder.trainable_variables
optimizer = keras.optimizers.Adam(1e-3)


@tf.function
def train_step(x):
    """One step of training on images `[B, 784]`; returns the loss before it."""
    with tf.GradientTape() as tape:
        mean, log_stddev = tf.split(encoder(x), 2, axis=-1)
        z = sample_posterior(mean, log_stddev, tf.random.normal(tf.shape(mean)))
        loss = negative_elbo(x, decoder(z), mean, log_stddev)
    optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


# %%
batches = tf.data.Dataset.from_tensor_slices(x_train).shuffle(TRAIN, seed=0).batch(128)
own_losses = [float(train_step(x)) for x in batches]
print(f"−ELBO of the first batch {own_losses[0]:.1f} nats, of the last {own_losses[-1]:.1f} nats")
print(f"784 ln 2 = {784 * np.log(2):.1f} nats")
assert own_losses[-1] < own_losses[0] / 2

# %% [markdown]
# **Before training**, the logits are close to 0, so each pixel has a mean of about $\frac12$ and
# costs $\ln 2$ nats, whatever its value. The reconstruction term is then about
# $784 \ln 2 \approx 543.4$ nats. The encoder's outputs are close to 0 too, so the KL is small.
#
# The longer training is that of `tfgen.VAE`, which does the same with these networks. Its samples
# are kept for the section after this one.

# %%
vae = tfgen.VAE(latent_dim=20, hidden=(500,), seed=0)
vae.compile(**vae.default_optimizers(1e-3), steps_per_execution=20)
before = vae.evaluate(test_images, verbose=0, return_dict=True)
print(f"untrained: reconstruction {before['reconstruction']:.1f} nats, KL {before['kl']:.1f} nats")
sample_grids = {"before training": vae.sample(n=36, seed=0).numpy()}
rows, held_out = [], (data.validation.images[: TRAIN // 5], None)
options = {"validation_data": held_out, "batch_size": 128, "epochs": EPOCHS // 2, "verbose": 0}
for _ in range(2):
    history = vae.fit(train_images, **options).history
    for values in zip(*history.values(), strict=True):
        rows.append({"epoch": len(rows) + 1, **dict(zip(history, values, strict=True))})
    sample_grids[f"after epoch {len(rows)}"] = vae.sample(n=36, seed=0).numpy()

# %%
panel = ("average over the images [nats]", ("loss", "reconstruction", "kl"))
tfgen.figures.curves(rows, [panel], "Negative ELBO (loss) and its parts, 20 latents", family="vae")

# %% [markdown]
# *Figure 1.6.* The report's figure 1, which has 40 epochs: the average negative ELBO by epoch, and
# its two terms. The KL grows while the latents learn to say something about the images; the
# reconstruction term falls by more. A training value is the mean over an epoch in which the weights
# change. So in the first epochs it lags behind the validation value: the loss is above it, and the
# KL is below it.

# %%
first, last, own = rows[0], rows[-1], np.mean(own_losses)
print(f"first epoch: −ELBO {first['loss']:.1f} nats; by the exercises alone {own:.1f} nats")
print(f"after {EPOCHS} epochs: training {last['loss']:.1f}, validation {last['val_loss']:.1f} nats")
assert abs(first["loss"] - own) < 0.1 * first["loss"]
assert last["val_loss"] < (250 if SMALL else 106)

# %% [markdown]
# ## Samples and the manifold, questions 1.14 and 1.15
#
# *What do samples look like before, half way through and after the training? What is the manifold
# of two latents?*
#
# The samples have the same latents in all three pictures, so the same place shows what the decoder
# makes of the same $z$.

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for axes, (name, images) in zip(panels, sample_grids.items(), strict=True):
    axes.imshow(tfgen.figures.image_grid(images, 6)[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(name)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 1.7.* The report's figure 2: pixel means of 36 samples before, half way through and after
# the training.
#
# With two latents, all means $f(z)$ lie on a surface, the **manifold**, and the latents are
# coordinates on it. The next cell trains a VAE with two latents, and decodes a grid of them. The
# grid lines are not equally far apart: their coordinates are $\Phi^{-1}$, the inverse of the normal
# distribution function, of equally spaced numbers in $(0, 1)$, so that there is the same prior
# probability between neighbouring lines (Kingma and Welling 2013, appendix A).

# %%
plane = tfgen.VAE(latent_dim=2, hidden=(500,), seed=0)
plane.compile(**plane.default_optimizers(1e-3), steps_per_execution=20)
plane.fit(train_images, batch_size=128, epochs=EPOCHS, verbose=0)
images = plane.decode(tfgen.figures.manifold_latents(20)).numpy()
title = "Manifold of a VAE with two latents"
tfgen.figures.picture(images, title, 20, *tfgen.figures.manifold_axes(20))

# %% [markdown]
# *Figure 1.8.* The report's figure 3: the means that the decoder computes on a grid of two latents.
# Neighbouring latents give similar images. The area of a digit's region in the picture is the
# probability of that region under the prior.
#
# Two numbers say less about an image than twenty. The two terms of the loss tell the price:

# %%
print("latents   reconstruction      KL   −ELBO  [nats], test images")
for latent_dim, model in ((2, plane), (20, vae)):
    logged = model.evaluate(test_images, verbose=0, return_dict=True)
    values = (logged[key] for key in ("reconstruction", "kl", "loss"))
    print(f"{latent_dim:7} {'{:16.1f} {:7.1f} {:7.1f}'.format(*values)}")

# %% [markdown]
# ## A VAE and an autoencoder, question 1.1
#
# *How does a VAE differ from an autoencoder? Which of them is generative? Can the one stand in for
# the other? What has generalization to do with it?*
#
# An **autoencoder** is two networks, too. The encoder maps an image to a code, the decoder maps the
# code back to an image, and training makes the result like the image. Nothing asks what lies
# between the codes of the training images. An autoencoder has no distribution over codes, so it has
# no distribution over images either, and it is not generative.
#
# The cell below trains one, 784–500–20–500–784, and decodes two guesses of a distribution of its
# codes: the VAE's prior $\mathcal{N}(0, I)$, and the normal distribution with the mean and the
# covariance of the codes of training images.

# %%
encoder, decoder = two_layers(784, 20), two_layers(20, 784)
autoencoder = keras.Sequential([encoder, decoder])
autoencoder.compile("adam", loss=lambda x, logits: -bernoulli_log_prob(x, logits))
autoencoder.fit(x_train, x_train, batch_size=128, epochs=EPOCHS, verbose=0)
codes = encoder(x_train[:5000]).numpy()
fitted = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), 12)
samples = {
    "autoencoder, codes from $\\mathcal{N}(0, I)$": decoder(rng.standard_normal((12, 20))),
    "autoencoder, codes from a normal distribution fitted to its codes": decoder(fitted),
    "VAE, latents from its prior $\\mathcal{N}(0, I)$": vae.decoder(rng.standard_normal((12, 20))),
}
figure, panels = plt.subplots(3, 1, figsize=(8, 3.2), layout="constrained")
for axes, (name, logits) in zip(panels, samples.items(), strict=True):
    images = tf.sigmoid(logits).numpy().reshape(12, 28, 28)
    axes.imshow(np.hstack(images), cmap="gray", vmin=0, vmax=1)
    axes.set_title(name, fontsize=10)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 1.9.* Pixel means of samples: an autoencoder with two guesses of a distribution of its
# codes, and a VAE. The VAE's prior is part of the model, and its decoder was trained for it.
#
# So only the VAE is generative by itself. With a distribution of the codes added afterwards, an
# autoencoder becomes a generative model too (Ghosh et al. 2020, "From variational to deterministic
# autoencoders"); the second row shows a simple one. But nothing in its training knows of this
# distribution, and it has no bound on the probability of an image.
#
# A VAE can stand in for an autoencoder: encode an image, take the mean of $q_\varphi(z \mid x)$,
# and decode it. It pays a price, because its code is noisy in training and is pulled towards the
# prior. The next cell measures the price by $-\log p(x \mid z)$.

# %%
posterior = vae.posterior(x_test.reshape(-1, 28, 28, 1))
logits = tf.reshape(vae.decoder(posterior.mean()), [-1, 784])
for name, outputs in (("autoencoder", autoencoder(x_test)), ("VAE", logits)):
    print(f"{name:11} {-tf.reduce_mean(bernoulli_log_prob(x_test, outputs)):.1f} nats")

# %% [markdown]
# **Generalization** of an autoencoder means that it reconstructs images that it has not seen, and
# both models do. A generative model must do more: images that it has not seen must be likely, and
# latents that belong to no training image must decode to good images. The VAE trains for this. Each
# training image is decoded from all $z$ that are likely under $q_\varphi(z \mid x)$, not from a
# point. And training pulls $q_\varphi(z \mid x)$ of every image towards the prior, so that a draw
# from the prior is likely to fall where the decoder was trained.

# %% [markdown]
# ## Open task: below 95 nats in five minutes
#
# Reach a $-\mathrm{ELBO}$ **below 95 nats** on all test images, after at most five minutes of
# training on two cores. Any network, optimizer and schedule is allowed, but no test image. The cell
# below is a start; it measures both numbers.
#
# <details>
# <summary>Hint 1</summary>
#
# Look at figure 1.6. Is the gap between training and validation large or small, and what does this
# say about the size of the networks?
#
# </details>
# <details>
# <summary>Hint 2</summary>
#
# Neighbouring pixels belong together, and a dense layer does not know this. `tfgen.VAE` has
# `architecture="convolutional"`. One epoch then takes about ten times as long, so there are few.
#
# </details>
# <details>
# <summary>Hint 3</summary>
#
# With few epochs, the learning rate matters: a larger one with smaller batches, which falls to 0 at
# the end (`keras.optimizers.schedules.CosineDecay`). `ema_decay=0.999` measures an average of the
# last weights.
#
# </details>

# %%
start = time.perf_counter()
candidate = tfgen.VAE(latent_dim=20, hidden=(500,), seed=1)
candidate.compile(**candidate.default_optimizers(1e-3), steps_per_execution=20)
candidate.fit(train_images, batch_size=128, epochs=1, verbose=0)
minutes = (time.perf_counter() - start) / 60
loss = candidate.evaluate(data.test.images, verbose=0, return_dict=True)["loss"]
print(f"−ELBO {loss:.1f} nats after {minutes:.1f} minutes")
