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
# tfgen reproduces a course report of 2019 that compares three generative models of MNIST, images of
# handwritten digits of 28 × 28 pixels. This notebook answers questions 1.1 to 1.15 of that report,
# which are about the variational autoencoder (VAE). Each section has the question, its answer with
# the equation and the paper that it comes from, and a cell that shows the answer on MNIST or on a
# model whose exact values are known.
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

# %% tags=["setup"]
import os

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfgen
from tfgen.evaluation.classifier import FeatureClassifier
from tfgen.evaluation.distances import fid
from tfgen.notebooks.checks import check
from tfgen.publishing.versions import Version, shipped_folder

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))  # the settings of the tests
TRAIN, TEST = (10_000, 500) if SMALL else (50_000, 2_000)  # images
LATENT_DIMS, SHORT_EPOCHS = ((2, 20), 2) if SMALL else ((2, 5, 10, 20), 4)  # of short trainings
EPOCHS, PLANE_EPOCHS = (2, 2) if SMALL else (40, 10)  # of the models of figures 1 to 3
PRIOR_SAMPLES, ENCODER_SAMPLES = (10_000, 500) if SMALL else (100_000, 2_000)
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
# ## Question 1.1: how a VAE differs from an autoencoder
#
# *How does a VAE differ from an autoencoder? Which of them is generative? Can the one stand in for
# the other? What has generalization to do with it?*
#
# An **autoencoder** is two networks. The encoder maps an image to a code, the decoder maps the code
# back to an image, and training makes the result like the image. Nothing asks what lies between the
# codes of the training images. An autoencoder has no distribution over codes, so it has no
# distribution over images either, and it is not generative.
#
# A **VAE** (Kingma and Welling 2013; Rezende et al. 2014, "Stochastic backpropagation and
# approximate inference in deep generative models") is a probability distribution of images. It has
# a prior $p(z)$ over latents and a decoder $p_\theta(x \mid z)$. Its encoder gives a distribution
# $q_\varphi(z \mid x)$ instead of a point. Sections 1.4 to 1.11 say why it is there and how it is
# trained. Here, both models are 784–500–20–500–784, except that the VAE's encoder has 40 outputs: a
# mean and a scale for each latent. A decoder returns logits, numbers of any size; their sigmoid is
# the pixel means $f(z)$.


# %%
def two_layers(inputs, outputs):
    """A network with one hidden layer of 500 units."""
    layers = [keras.layers.Dense(500, "relu"), keras.layers.Dense(outputs)]
    return keras.Sequential([keras.Input((inputs,)), *layers])


def cross_entropy(x, logits):
    """Loss of each image in nats, the sum over its pixels."""
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    return tf.reduce_sum(losses, axis=-1)


def train_vae(latent_dim):
    """A VAE with that many latents, trained for `SHORT_EPOCHS`."""
    model = tfgen.VAE(latent_dim=latent_dim, hidden=(500,), seed=0)
    model.compile(**model.default_optimizers(1e-3), steps_per_execution=20)
    model.fit(train_images, batch_size=128, epochs=SHORT_EPOCHS, verbose=0)
    return model


# %%
encoder, decoder = two_layers(784, 20), two_layers(20, 784)
autoencoder = keras.Sequential([encoder, decoder])
autoencoder.compile(optimizer=keras.optimizers.Adam(1e-3), loss=cross_entropy)
autoencoder.fit(x_train, x_train, batch_size=128, epochs=SHORT_EPOCHS, verbose=0)
vaes = {latent_dim: train_vae(latent_dim) for latent_dim in LATENT_DIMS}
vae = vaes[20]

# %% [markdown]
# To sample from the VAE, draw $z$ from the prior and decode it. The autoencoder has no prior. The
# cell below decodes two guesses of one: the VAE's prior $\mathcal{N}(0, I)$, and the normal
# distribution with the mean and the covariance of the codes of training images. The Fréchet
# distance measures how far samples are from test images; lower is better (Heusel et al. 2017, "GANs
# trained by a two time-scale update rule converge to a local Nash equilibrium", there called FID).
# It compares mean and covariance of features, which here are the outputs of the last hidden layer
# of tfgen's classifier of MNIST.

# %%
codes = encoder(x_train[:5000]).numpy()
guesses = {
    "autoencoder, z from N(0, I)": rng.standard_normal((TEST, 20)),
    "autoencoder, z from a normal fitted to its codes": rng.multivariate_normal(
        codes.mean(axis=0), np.cov(codes.T), TEST
    ),
}
samples = {
    name: tf.sigmoid(decoder(z)).numpy().reshape(-1, 28, 28, 1) for name, z in guesses.items()
}
samples["VAE, z from its prior N(0, I)"] = vae.sample(n=TEST, seed=0).numpy()

classifier = FeatureClassifier(Version.at(shipped_folder() / "classifier" / "1"))
reference = classifier.extract(test_images).features
distances = {}
for name, images in samples.items():
    features = classifier.extract(np.round(255 * images).astype("uint8")).features
    distances[name] = fid(features, reference)
    print(f"{name:50} Fréchet distance {distances[name]:6.1f}")
unfitted, fitted, of_vae = distances.values()
assert of_vae < unfitted

# %%
figure, panels = plt.subplots(3, 1, figsize=(8, 3.2), layout="constrained")
for axes, (name, images) in zip(panels, samples.items(), strict=True):
    axes.imshow(np.hstack(images[:12, ..., 0]), cmap="gray", vmin=0, vmax=1)
    axes.set_title(name, fontsize=10)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 1.1.* Pixel means of samples: an autoencoder with two guesses of a distribution of its
# codes, and a VAE. The VAE's prior is part of the model, and its decoder was trained for it.
#
# So only the VAE is generative by itself. With a distribution of the codes added afterwards, an
# autoencoder becomes a generative model too (Ghosh et al. 2020, "From variational to deterministic
# autoencoders"). The second row shows a simple one; its samples may even be better than those of a
# VAE that has trained for so few epochs. But nothing in its training knows of this distribution,
# and it has no bound on the probability of an image, as question 1.6 derives it for the VAE.
#
# A VAE can stand in for an autoencoder: encode an image, take the mean of $q_\varphi(z \mid x)$,
# and decode it. It pays a price, because its code is noisy in training and is pulled towards the
# prior. The next cell measures that price by $-\log p(x \mid z)$, the cross-entropy. On training
# images, the autoencoder has an advantage: it was trained on exactly these binary images, the VAE
# on a new binarization in each epoch.
#
# For a VAE of tfgen, `posterior(x)` is $q_\varphi(z \mid x)$, `prior()` is $p(z)$ and
# `likelihood(z)` is $p_\theta(x \mid z)$, each a distribution of TensorFlow Probability with
# `sample`, `log_prob`, `mean` and `stddev`. `decoder(z)` returns the logits, `decode(z)` the means
# $f(z)$.


# %%
def reconstruction_losses(x):
    """Mean loss of the autoencoder's and of the VAE's reconstructions, in nats."""
    mean = vae.posterior(x.reshape(-1, 28, 28, 1)).mean()
    logits = tf.reshape(vae.decoder(mean), [-1, 784])
    return [float(tf.reduce_mean(cross_entropy(x, y))) for y in (autoencoder(x), logits)]


for name, x in (("training", x_train[:TEST]), ("test", x_test)):
    of_autoencoder, of_vae = reconstruction_losses(x)
    print(f"{name:8} images: autoencoder {of_autoencoder:.1f} nats, VAE {of_vae:.1f} nats")
    assert of_autoencoder < of_vae

# %% [markdown]
# **Generalization** of an autoencoder means that it reconstructs images that it has not seen, and
# both models do. A generative model must do more: images that it has not seen must be likely, and
# latents that belong to no training image must decode to good images. The VAE trains for this. Each
# training image is decoded from all $z$ that are likely under $q_\varphi(z \mid x)$, not from a
# point. And training pulls $q_\varphi(z \mid x)$ of every image towards the prior, so that a draw
# from the prior is likely to fall where the decoder was trained.

# %% [markdown]
# ## Question 1.2: how an image is sampled from the decoder
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
# `rng`; it has the methods `standard_normal(shape)` and `random(shape)`, uniform in [0, 1).


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
# and was trained for 100 epochs.

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
    panels[1, column].imshow(decode(z)[column].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
    panels[2, column].imshow(x[column].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
for axes in panels[1:].flat:
    axes.set(xticks=[], yticks=[])
for axes, label in zip(panels[:, 0], ("latents z", "means f(z)", "image x"), strict=True):
    axes.set_ylabel(label)
plt.show()

# %% [markdown]
# *Figure 1.2.* Ancestral sampling, one image a column: the 20 latents, the means that the decoder
# computes from them, and an image whose pixels are drawn from these means. Pictures of samples
# usually show the means, as the rest of this notebook does.

# %% [markdown]
# ## Question 1.3: why a standard normal prior is no restriction
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
weights, centres, spreads = np.array([0.3, 0.7]), np.array([-2.0, 1.5]), np.array([0.4, 0.8])
mixture = tfd.MixtureSameFamily(
    tfd.Categorical(probs=weights), tfd.Normal(tf.constant(centres), tf.constant(spreads))
)
line, z = np.linspace(-5, 6, 2001), rng.standard_normal((5000, 2))
uniform = tfd.Normal(0.0, 1.0).cdf(z[:, 0].astype("float32")).numpy()
mapped = np.interp(uniform, mixture.cdf(line), line)  # the inverse of F, from a table
ring = z / 10 + z / np.linalg.norm(z, axis=1, keepdims=True)

figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
panels[0].hist(mapped, 60, density=True, color=COLOUR, alpha=0.5, label="F⁻¹(Φ(z))")
panels[0].plot(line, mixture.prob(line), "k", label="density of F")
panels[0].set(xlabel="value", ylabel="density", ylim=(0, 0.5), title="one dimension")
panels[0].legend(fontsize=8)
for axes, points, title in ((panels[1], z, "z"), (panels[2], ring, "z/10 + z/‖z‖")):
    axes.scatter(*points[:1500].T, s=2, color=COLOUR)
    axes.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate", title=title)
plt.show()

# Kolmogorov's test: 1.95 / √n is exceeded with probability 0.001.
empirical = np.arange(1, 5001) / 5000
assert np.abs(empirical - mixture.cdf(np.sort(mapped))).max() < 1.95 / np.sqrt(5000)

# %% [markdown]
# *Figure 1.3.* A standard normal variable becomes a mixture of two normal distributions (left), and
# a normal distribution in the plane (middle) becomes a ring (right; the map is that of Doersch
# 2016). The `assert` tests that the values on the left have the distribution $F$.
#
# The prior does cost something. A decoder is continuous, so it cannot map the normal distribution
# onto two separate parts without a thin bridge between them. These are the samples halfway between
# two digits.

# %% [markdown]
# ## Question 1.4: why plain Monte Carlo over the prior is hopeless
#
# *Write $\log p(x)$ as an expectation over the prior. Why is it hopeless to estimate it by samples
# from the prior, and why more so with more latents?*
#
# The probability of an image is
#
# $$\log p_\theta(x) = \log \int p_\theta(x \mid z)\, p(z)\, dz
#   = \log \mathbb{E}_{p(z)}\left[p_\theta(x \mid z)\right]
#   \approx \log \frac{1}{K} \sum_{k=1}^K p_\theta(x \mid z^{(k)}), \quad z^{(k)} \sim p(z).$$
#
# The sum is dominated by the few $z$ that decode to an image like $x$. Almost every $z$ from the
# prior decodes to another image, for which $p_\theta(x \mid z) \approx 0$. The latents that explain
# $x$ are those of the **posterior** $p_\theta(z \mid x)$, the distribution of the latents when the
# image is known. A sample of size $K$ from the prior has some of them if $K$ is about
# $\exp \mathrm{KL}(p_\theta(z \mid x) \,\|\, p(z))$ (Chatterjee and Diaconis 2018, "The sample size
# required in importance sampling"). KL, the Kullback-Leibler divergence, measures how far one
# distribution is from another; it is the subject of question 1.5. If latents are independent, it is
# the sum over them, so the need for samples grows exponentially with their number.
#
# ### Exercise 1.b — the logarithm of a mean
#
# $p_\theta(x \mid z)$ is about $e^{-100}$ for a $z$ that explains the image. For most other $z$ it
# is so small that it is 0 in `float32`. So all terms are kept as logarithms $\ell_k$. Write
# $\log \frac1K \sum_k \exp(\ell_k)$ such that it works for $\ell_k$ near −800. The mean is over the
# first axis, the samples. For any number $m$, it is $m + \log \frac1K \sum_k \exp(\ell_k - m)$.


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
# First a model whose $\log p(x)$ is known. It is linear and Gaussian: each $x_d = z_d + s\,
# \eta_d$ is a latent plus noise of standard deviation $s$. Then $p(x) = \mathcal{N}(0, (1 + s^2)
# I)$, and the posterior of each latent is $\mathcal{N}(x_d / (1 + s^2), s^2 / (1 + s^2))$. Over the
# images, its divergence from the prior is $\frac12 \log(1 + 1/s^2)$ nats a latent on average.

# %%
NOISE, IMAGES = 0.25, 32
COUNTS = np.unique(np.logspace(0, np.log10(PRIOR_SAMPLES), 16).astype(int))
KL_OF_A_LATENT = np.log(1 + 1 / NOISE**2) / 2


def toy_errors(latent_dim):
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


toy = {latent_dim: toy_errors(latent_dim) for latent_dim in (1, 2, 4, 8, 16)}

# %%
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = plt.cm.viridis(np.linspace(0, 0.85, len(toy)))
for colour, (latent_dim, errors) in zip(colours, toy.items(), strict=True):
    axes.plot(COUNTS, errors, "o-", ms=3, color=colour, label=f"{latent_dim}")
    needed = np.exp(KL_OF_A_LATENT * latent_dim)
    if needed < PRIOR_SAMPLES:
        axes.axvline(needed, color=colour, ls=":", lw=1)
axes.axhline(-1, color=NEUTRAL, lw=1)
axes.set(xscale="log", yscale="symlog", ylim=(-300, 1))
axes.set(xlabel="samples from the prior", ylabel="mean error of log p(x) [nats]")
axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="latents")
plt.show()

final = [errors[-1] for errors in toy.values()]
assert final[0] > -0.1 and final[-1] < -5  # 1 and 16 latents
assert final[2] > final[3] > final[4]
for latent_dim in (2, 4):
    needed = np.exp(KL_OF_A_LATENT * latent_dim) * np.array([0.1, 10])
    few, many = np.interp(np.log(needed), np.log(COUNTS), toy[latent_dim])
    assert few < -1 < many

# %% [markdown]
# *Figure 1.4.* Error of plain Monte Carlo in a linear Gaussian model, where $\log p(x)$ is known.
# Dotted: $\exp \mathrm{KL}$ samples. Within a factor of ten of this number, the error becomes less
# than one nat (grey line). With 16 latents, no number of samples in reach is enough.
#
# The estimates are below the truth on average. This is Jensen's inequality: the expectation of a
# logarithm is at most the logarithm of the expectation.
#
# Now the VAEs of question 1.1 on test images. Their true $\log p(x)$ is not known. **Importance
# sampling** gives a better estimate. It draws from the encoder's distribution
# $q_\varphi(z \mid x)$, which prefers the latents that explain $x$, and corrects for it by weights,
#
# $$\log p_\theta(x) = \log \mathbb{E}_{q_\varphi(z \mid x)}\left[
#   \frac{p_\theta(x \mid z)\, p(z)}{q_\varphi(z \mid x)}\right].$$
#
# This is how tfgen measures the likelihood of a VAE, as Burda et al. (2015) do.


# %%
def log_likelihoods(model, z, x):
    """log p(x|z) of all pairs of latents `[K, D]` and images `[N, 784]`, `float32[K, N]`."""
    logits = tf.reshape(model.decoder(tf.constant(z, tf.float32)), [-1, 784])
    log_normalizer = tf.reduce_sum(tf.nn.softplus(logits), axis=1, keepdims=True)
    return (tf.matmul(logits, x, transpose_b=True) - log_normalizer).numpy()


def prior_log_p(model, x):
    """log p(x|z) of `PRIOR_SAMPLES` latents from the prior, `[K, N]`."""
    parts = np.split(rng.standard_normal((PRIOR_SAMPLES, model.latent_dim)), 10)
    return np.concatenate([log_likelihoods(model, part, x) for part in parts])


def encoder_log_p(model, x):
    """log p(x|z) p(z) / q(z|x) of `ENCODER_SAMPLES` latents from the encoder, `[K, N]`."""
    columns = []
    for image in x:
        posterior = model.posterior(image.reshape(1, 28, 28, 1))
        z = posterior.sample(ENCODER_SAMPLES, seed=0)
        log_weights = model.prior().log_prob(z) - posterior.log_prob(z)
        columns.append(log_likelihoods(model, z[:, 0], image[None]) + log_weights)
    return np.concatenate(columns, axis=1)


# %%
def mean_errors(log_p, reference):
    """Mean absolute error of log p̂(x) in nats, by number of samples."""
    counts = [count for count in COUNTS if count <= len(log_p)]
    errors = [np.abs(log_mean_exp(log_p[:count]) - reference).mean() for count in counts]
    return counts, np.array(errors)


few = x_test[:IMAGES]
by_prior, by_encoder, divergences = {}, {}, {}
for latent_dim, model in vaes.items():
    log_p, log_weights = prior_log_p(model, few), encoder_log_p(model, few)
    reference = np.maximum(log_mean_exp(log_p), log_mean_exp(log_weights))
    by_prior[latent_dim] = mean_errors(log_p, reference)
    # The reference is the mean of all weights, so their first quarter is compared with it.
    by_encoder[latent_dim] = mean_errors(log_weights[: len(log_weights) // 4], reference)
    posterior = model.posterior(few.reshape(-1, 28, 28, 1))
    divergences[latent_dim] = float(tf.reduce_mean(posterior.kl_divergence(model.prior())))

# %%
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = plt.cm.viridis(np.linspace(0, 0.85, len(vaes)))
for colour, latent_dim in zip(colours, vaes, strict=True):
    axes.plot(*by_prior[latent_dim], "o-", ms=3, color=colour, label=f"{latent_dim}, prior")
    axes.plot(*by_encoder[latent_dim], "x--", ms=4, color=colour, label=f"{latent_dim}, encoder")
axes.axhline(1, color=NEUTRAL, lw=1)
axes.set(xscale="log", yscale="log", ylim=(0.01, 500))
axes.set(xlabel="samples of z", ylabel="mean error of log p(x) [nats]")
axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), title="latents, source")
plt.show()

# %% [markdown]
# *Figure 1.5.* Error of the estimated $\log p(x)$ of MNIST test images, from samples of the prior
# and of the encoder, by the number of latents. Grey line: one nat. Both estimates are below the
# truth on average. So the reference is the larger of two: from all samples of the prior, and from
# all samples of the encoder, of which the dashed curves use at most a quarter.
#
# **How many samples for one nat?** The next cell counts them, and prints
# $\exp \mathrm{KL}(q_\varphi(z \mid x) \,\|\, p(z))$, with the KL averaged over images. The need is
# greater than this where single images have a much larger KL than the average.


# %%
def samples_for_one_nat(counts, errors):
    """The least number of samples from which on the error is at most 1 nat; None: too few."""
    is_above = np.flatnonzero(errors > 1)
    first = is_above[-1] + 1 if len(is_above) else 0
    return counts[first] if first < len(counts) else None


print("latents   KL [nats]   exp KL      from the prior    from the encoder")
for latent_dim, kl in divergences.items():
    cells = []
    for counts, errors in (by_prior[latent_dim], by_encoder[latent_dim]):
        needed = samples_for_one_nat(counts, errors)
        cells.append(f"{f'more than {counts[-1]}' if needed is None else needed:>18}")
    print(f"{latent_dim:7} {kl:11.1f} {np.exp(kl):8.0e} {cells[0]}  {cells[1]}")
(_, from_prior), (counts, from_encoder) = by_prior[20], by_encoder[20]
print(f"20 latents: error {from_prior[-1]:.1f} nats with {PRIOR_SAMPLES} samples from the prior,")
print(f"and {from_encoder[-1]:.1f} nats with {counts[-1]} samples from the encoder")
assert samples_for_one_nat(*by_prior[20]) is None
assert from_encoder[-1] < from_prior[-1] / 2
final = [errors[-1] for _, errors in by_prior.values()]
assert final == sorted(final)  # the more latents, the larger the error

# %% [markdown]
# ## Question 1.5: the Kullback-Leibler divergence of two normal distributions
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
# ### Exercise 1.c — KL divergence to the prior
#
# Write the closed form for a batch of distributions $q_\varphi(z \mid x)$. They are given by
# $\log \sigma$ instead of $\sigma$, because this may be any number. Use TensorFlow, so that the
# result has a gradient.


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


def kl_of_normals(mu, sigma, m, s):
    """KL(N(mu, sigma²) ‖ N(m, s²)) in closed form, nats."""
    return np.log(s / sigma) + (sigma**2 + (mu - m) ** 2) / (2 * s**2) - 0.5


p = tfd.Normal(np.float64(0), np.float64(1))
print("    μ     σ   closed form        estimate   TensorFlow Probability   KL(p ‖ q)")
for mu, sigma in ((0.0, 1.0), (0.1, 1.0), (0.0, 0.5), (0.0, 2.0), (3.0, 1.0), (3.0, 0.1)):
    closed = float(kl_to_prior(tf.constant([[mu]]), tf.constant([[np.log(sigma)]], tf.float32))[0])
    q = tfd.Normal(np.float64(mu), np.float64(sigma))
    z = mu + sigma * rng.standard_normal(100_000)
    terms = (q.log_prob(z) - p.log_prob(z)).numpy()
    error = terms.std() / np.sqrt(len(terms))
    by_tfp, reverse = float(q.kl_divergence(p)), kl_of_normals(0, 1, mu, sigma)
    row = f"{mu:5} {sigma:5} {closed:13.4f} {terms.mean():8.4f} ± {error:.4f}"
    print(f"{row} {by_tfp:24.4f} {reverse:11.4f}")
    assert abs(closed - by_tfp) < 1e-5 * (1 + by_tfp)
    assert np.isclose(kl_of_normals(mu, sigma, 0, 1), by_tfp)
    assert abs(closed - terms.mean()) < 5 * error + 1e-6  # five standard errors

# %%
mu, sigma = np.meshgrid(np.linspace(-3, 3, 121), np.logspace(-1.5, 0.7, 121))
kl = (sigma**2 + mu**2 - 1 - np.log(sigma**2)) / 2
figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
levels = [0.03, 0.1, 0.3, 1, 2, 3, 5, 8]
contours = axes.contour(mu, sigma, kl, levels, colors=[COLOUR])
axes.clabel(contours, fmt="%g nats", fontsize=8)
axes.plot(0, 1, "o", color=COLOUR)
axes.set(yscale="log", xlabel="mean μ", ylabel="standard deviation σ")
plt.show()

# %% [markdown]
# *Figure 1.6.* $\mathrm{KL}(\mathcal{N}(\mu, \sigma^2) \,\|\, \mathcal{N}(0, 1))$. It is 0 at the
# point $\mu = 0$, $\sigma = 1$. It grows with the square of $\mu$, and slowly, as $-\log \sigma$,
# for a narrow $q$: a precise code has a price in nats. The last column of the table shows that the
# divergence is not symmetric.

# %% [markdown]
# ## Question 1.6: why the right-hand side is a lower bound
#
# *Why is $\mathbb{E}_q[\log p_\theta(x \mid z)] - \mathrm{KL}(q \,\|\, p(z))$ a lower bound of
# $\log p_\theta(x)$?*
#
# For every distribution $q(z \mid x)$, the definition of the conditional probability,
# $p(x) = p(x \mid z)\, p(z) / p(z \mid x)$, gives (Jordan et al. 1999, "An introduction to
# variational methods for graphical models"; Kingma and Welling 2013)
#
# $$\log p_\theta(x) - \mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))
#   = \mathbb{E}_{q(z \mid x)}[\log p_\theta(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)).$$
#
# A divergence is never negative, so the left-hand side is at most $\log p_\theta(x)$. Hence the
# right-hand side is a lower bound, the **evidence lower bound** (ELBO). The gap is exactly
# $\mathrm{KL}(q(z \mid x) \,\|\, p_\theta(z \mid x))$. It is 0 if $q$ is the posterior.
#
# A linear Gaussian model has $\log p(x)$, the bound and the gap in closed form. Here
# $p(z) = \mathcal{N}(0, I)$ with two latents and $p(x \mid z) = \mathcal{N}(W z, s^2 I)$ with three
# pixels. Then $p(x) = \mathcal{N}(0, W W^\top + s^2 I)$, and the posterior is normal with the
# inverse covariance $\Lambda = I + W^\top W / s^2$ and the mean $\Lambda^{-1} W^\top x / s^2$.

# %%
W, S2 = np.array([[1.0, 0.8], [0.7, 1.0], [0.4, -0.2]]), 0.4**2
precision = np.eye(2) + W.T @ W / S2
x = W @ np.array([0.8, -0.4]) + np.array([0.1, -0.3, 0.2])
posterior_mean = np.linalg.solve(precision, W.T @ x) / S2
scale = np.linalg.cholesky(np.linalg.inv(precision))
posterior = tfd.MultivariateNormalTriL(posterior_mean, scale)
scale = np.linalg.cholesky(W @ W.T + S2 * np.eye(3))
log_p_x = float(tfd.MultivariateNormalTriL(np.zeros(3), scale).log_prob(x))


def elbo(mean, stddev):
    """The ELBO of q = N(mean, diag stddev²) in closed form, nats."""
    squares = ((x - W @ mean) ** 2).sum() + (stddev**2 * (W**2).sum(axis=0)).sum()
    reconstruction = -squares / (2 * S2) - 1.5 * np.log(2 * np.pi * S2)
    return reconstruction - float(kl_to_prior(*map(tf.constant, ([mean], [np.log(stddev)])))[0])


def gap(mean, stddev):
    """KL(q ‖ p(z|x)) by TensorFlow Probability, nats."""
    return float(tfd.kl_divergence(tfd.MultivariateNormalDiag(mean, stddev), posterior))


# %%
best_stddev = 1 / np.sqrt(np.diag(precision))
choices = {
    "the prior": (np.zeros(2), np.ones(2)),
    "the mean of the posterior, σ = 1": (posterior_mean, np.ones(2)),
    "the mean of the posterior, σ = 0.01": (posterior_mean, np.full(2, 0.01)),
    "the best with independent latents": (posterior_mean, best_stddev),
}
print("q(z|x)                                   ELBO   KL(q ‖ p(z|x))       sum   log p(x)")
for name, (mean, stddev) in choices.items():
    bound, divergence = elbo(mean, stddev), gap(mean, stddev)
    print(f"{name:36} {bound:8.3f} {divergence:16.3f} {bound + divergence:9.3f} {log_p_x:10.3f}")
for _ in range(100):
    mean, stddev = rng.normal(size=2), rng.uniform(0.05, 2, 2)
    assert abs(elbo(mean, stddev) + gap(mean, stddev) - log_p_x) < 1e-6
    assert gap(mean, stddev) > gap(posterior_mean, best_stddev)
left = (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
assert abs(gap(posterior_mean, best_stddev) - left) < 1e-9
print(f"gap of the best q with independent latents: {left:.3f} nats")

# %% [markdown]
# The sum is $\log p(x)$ in every row, and the first `assert` tests this for a hundred random $q$.
# The last row shows a limit: the latents of this posterior are correlated, and a $q$ with
# independent latents cannot equal it. Its best standard deviations are $1 / \sqrt{\Lambda_{dd}}$,
# and the gap that is left is $\frac12 (\sum_d \log \Lambda_{dd} - \log \det \Lambda)$.

# %%
offsets = np.linspace(-1.2, 1.2, 121)
figure, (axes, plane) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for factor, style in ((0.5, ":"), (1.0, "-"), (2.0, "--")):
    means = posterior_mean + np.outer(offsets, [1, 0])
    bounds = [elbo(mean, factor * best_stddev) for mean in means]
    axes.plot(offsets, bounds, style, color=COLOUR, label=f"ELBO, σ = {factor} · best σ")
axes.axhline(log_p_x, color="k", label="log p(x)")
axes.set(xlabel="distance of q's first mean from the best", ylabel="log-probability [nats]")
axes.set_ylim(None, log_p_x + 0.5)
axes.legend(fontsize=8)
grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 101)] * 2), axis=-1)
for distribution, colour in (
    (posterior, "k"),
    (tfd.MultivariateNormalDiag(posterior_mean, best_stddev), COLOUR),
):
    log_density = distribution.log_prob(grid + posterior_mean).numpy()
    levels = log_density.max() - np.array([2.0, 0.5])  # two and one standard deviations
    z1, z2 = np.moveaxis(grid + posterior_mean, -1, 0)
    plane.contour(z1, z2, log_density, levels, colors=[colour], linestyles="solid")
plane.set(aspect="equal", xlabel="first latent", ylabel="second latent")
plt.show()

# %% [markdown]
# *Figure 1.7.* Left: the ELBO stays below $\log p(x)$ whatever $q$ is. Right: the posterior (black)
# and the best $q$ with independent latents (blue), by lines of one and two standard deviations.

# %% [markdown]
# ## Questions 1.7 and 1.8: why the bound is optimized, and what happens then
#
# *Why is the ELBO optimized and not $\log p_\theta(x)$? Which two things can happen when it is
# pushed up?*
#
# $\log p_\theta(x)$ needs an integral over all $z$, and question 1.4 shows what it costs to
# estimate it. The ELBO is an expectation under $q_\varphi(z \mid x)$. One sample of $z$ gives an
# estimate without bias, and the next sections give its gradient.
#
# By the identity of question 1.6, the ELBO is $\log p_\theta(x)$ minus
# $\mathrm{KL}(q_\varphi(z \mid x) \,\|\, p_\theta(z \mid x))$. If it rises, then
#
# 1. $\log p_\theta(x)$ rises, the model fits the data better; or
# 2. the divergence falls, the encoder comes closer to the posterior and the bound becomes tighter.
#
# The weights of the encoder $\varphi$ can do only the second, since $\log p_\theta(x)$ does not
# depend on them. To see both, the next cell trains a linear Gaussian model with one latent on 500
# points with five coordinates, by gradient ascent on the ELBO. Its parts are
# $p(x \mid z) = \mathcal{N}(w z, s^2 I)$ and $q(z \mid x) = \mathcal{N}(v^\top x, \sigma^2)$, with
# $w$, $s$, $v$ and $\sigma$ to be learned. The largest possible $\log p(x)$ of such a model is
# known. It is that of probabilistic principal component analysis (Tipping and Bishop 1999), from
# the eigenvalues $\lambda_1 \geq \lambda_2 \geq \dots$ of the second moments of the data. The best
# $s^2$ is the mean of $\lambda_2$ to $\lambda_5$.

# %%
STEPS, POINTS = 200, 500
direction = np.array([1.0, -0.5, 0.8, 0.0, 0.3])
points = rng.standard_normal((POINTS, 1)) * direction + 0.5 * rng.standard_normal((POINTS, 5))
moments = points.T @ points / POINTS
largest, *rest = np.linalg.eigvalsh(moments)[::-1]
ceiling = -(5 * np.log(2 * np.pi) + np.log(largest) + 4 * np.log(np.mean(rest)) + 5) / 2

w = tf.Variable([0.0, 1.2, 0.0, 1.2, 0.0])  # the decoder: the mean of x is w z
log_s = tf.Variable(0.0)  # of its noise
v, log_sigma = tf.Variable(tf.zeros(5)), tf.Variable(0.0)  # the encoder: μ = v · x, and σ
optimizer = keras.optimizers.Adam(0.02)


def average_elbo(x):
    """The ELBO of the linear Gaussian model in closed form, averaged over points, nats."""
    mean = tf.linalg.matvec(x, v)[:, None]
    squares = tf.reduce_sum((x - mean * w) ** 2, axis=1)
    squares += tf.exp(2 * log_sigma) * tf.reduce_sum(w**2)
    reconstruction = -squares / (2 * tf.exp(2 * log_s)) - 5 * (log_s + np.log(2 * np.pi) / 2)
    return tf.reduce_mean(reconstruction - kl_to_prior(mean, log_sigma * tf.ones_like(mean)))


# %%
@tf.function
def step(x):
    """One step of gradient ascent; returns the ELBO before it."""
    with tf.GradientTape() as tape:
        bound = average_elbo(x)
    variables = [w, log_s, v, log_sigma]
    gradients = tape.gradient(bound, variables)
    optimizer.apply([-gradient for gradient in gradients], variables)
    return bound


def average_log_p():
    """log p(x) averaged over the points, nats: p(x) = N(0, w wᵀ + s² I)."""
    covariance = np.outer(w, w) + np.exp(2 * float(log_s)) * np.eye(5)
    trace = np.trace(np.linalg.solve(covariance, moments))
    return -(5 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + trace) / 2


# %%
log_p, bounds = np.zeros(STEPS), np.zeros(STEPS)
for index in range(STEPS):
    log_p[index] = average_log_p()
    bounds[index] = step(tf.constant(points, tf.float32))
gaps = log_p - bounds
assert (gaps > -1e-4).all() and (log_p < ceiling + 1e-6).all()  # float32 rounds the ELBO
assert gaps[-1] < 0.01 and ceiling - log_p[-1] < 0.02
assert bounds[3] > bounds[0] and log_p[3] < log_p[0]
print(f"the ELBO rises by {bounds[-1] - bounds[0]:.3f} nats:")
print(f"  log p(x) rises by {log_p[-1] - log_p[0]:.3f}, the gap falls by {gaps[0] - gaps[-1]:.3f}")

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axes.axhline(ceiling, color=NEUTRAL, label="largest possible log p(x)")
axes.plot(log_p, "k", label="log p(x)")
axes.plot(bounds, color=COLOUR, label="ELBO")
axes.fill_between(range(STEPS), bounds, log_p, color=COLOUR, alpha=0.15, label="gap")
axes.set(xlabel="step", ylabel="average over the points [nats]")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# *Figure 1.8.* Training on the ELBO. In the first steps, the bound rises although $\log p(x)$
# falls, because the gap closes faster. Then $\log p(x)$ rises too. Here $q$ can equal the
# posterior, so the bound ends at $\log p(x)$, and that at the largest possible value.
#
# A VAE of MNIST keeps a gap, because its posteriors are not normal with independent latents, and
# because one network computes $q$ for all images. The evaluation that comes with the shipped VAE
# has both numbers, over all test images:

# %%
likelihood = shipped.manifest["evaluation"]["likelihood"]
negative_elbo_of_shipped, nll = likelihood["negative_elbo"], likelihood["nll"]
print(f"−ELBO {negative_elbo_of_shipped:.2f} nats")
print(f"−log p(x) {nll:.2f} nats, with {likelihood['importance_samples']} importance samples")
print(f"gap {negative_elbo_of_shipped - nll:.2f} nats")
assert negative_elbo_of_shipped > nll

# %% [markdown]
# ## Questions 1.9 and 1.10: the two terms of the loss
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
#   from the encoder. Alone, it would make a VAE an autoencoder: $\sigma$ would go to 0.
# - The **regularization** term is small if the encoder's distribution is close to the prior. Alone,
#   it would make $q$ the prior for every image, and $z$ would say nothing about $x$.
#
# In the language of codes, the first is the nats that an image costs when $z$ is known, and the
# second is the nats that $z$ costs. On average, $z$ says no more than this about the image. For
# Bernoulli pixels with means $f(z)$, and for $q = \mathcal{N}(\mu, \mathrm{diag}\, \sigma^2)$,
#
# $$\log p_\theta(x \mid z) = \sum_{i=1}^{784} x_i \log f_i(z) + (1 - x_i) \log (1 - f_i(z)),$$
#
# $$\mathrm{KL}(q \,\|\, p) = \tfrac12 \sum_{d=1}^{D} \sigma_d^2 + \mu_d^2 - 1 - \log \sigma_d^2.$$
#
# ### Exercise 1.d — the reconstruction term
#
# Write $\log p_\theta(x \mid z)$ of each image. The decoder returns logits $a$, with
# $f = \mathrm{sigmoid}(a)$. Compute from the logits: for large ones, $f$ rounds to 0 or 1, and its
# logarithm is lost. With $\mathrm{softplus}(a) = \log(1 + e^a)$, which is `tf.nn.softplus`,
# $\log f = -\mathrm{softplus}(-a)$ and $\log(1 - f) = -\mathrm{softplus}(a)$.


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
posterior = vae.posterior(x_test.reshape(-1, 28, 28, 1))
mean, log_stddev = posterior.mean(), tf.math.log(posterior.stddev())
z = posterior.sample(seed=1)
logits = tf.reshape(vae.decoder(z), [-1, 784])
by_tfgen = vae.likelihood(z).log_prob(x_test.reshape(-1, 28, 28, 1))
np.testing.assert_allclose(bernoulli_log_prob(x_test, logits), by_tfgen, rtol=1e-4)

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
own = float(negative_elbo(x_test, logits, mean, log_stddev))
logged = vae.evaluate(test_images, verbose=0, return_dict=True)
print(f"−ELBO of the test images: {own:.2f} nats; tfgen, with draws of its own: ", end="")
print(f"{logged['loss']:.2f} nats")
assert abs(own - logged["loss"]) < 3  # other binary images, and another z for each

parts = {}
print("\nlatents   reconstruction      KL   −ELBO  [nats]")
for latent_dim, model in vaes.items():
    logged = model.evaluate(test_images, verbose=0, return_dict=True)
    parts[latent_dim] = [logged[key] for key in ("reconstruction", "kl", "loss")]
    print(f"{latent_dim:7} {'{:16.1f} {:7.1f} {:7.1f}'.format(*parts[latent_dim])}")
assert parts[2][0] > parts[20][0] and parts[2][1] < parts[20][1]

# %%
columns, rows = 7, []
for model in (vaes[2], vaes[20]):
    for image in x_test[[0, 3]]:
        q = model.posterior(image.reshape(1, 28, 28, 1))
        means = model.decode(q.sample(columns - 1, seed=2)[:, 0]).numpy()
        rows += [image.reshape(1, 28, 28, 1), means]
labels = ["image", *("f(z)" for _ in range(columns - 1))]
tfgen.figures.picture(
    np.concatenate(rows),
    "draws from the encoder's distribution, decoded",
    columns,
    tfgen.figures.GridAxis("latents", ["2", "2", "20", "20"]),
    tfgen.figures.GridAxis("", labels),
)

# %% [markdown]
# *Figure 1.9.* Two test images, and the means of six draws from $q_\varphi(z \mid x)$. Little about
# an image fits into two latents: the means have the digit, but not its details. As the table shows,
# the KL is small and the reconstruction term large. With 20 latents it is the other way round.

# %% [markdown]
# ## Question 1.11: the gradient by the encoder's parameters
#
# *Why is the gradient by the encoder's parameters needed? Why does sampling break it, and how does
# reparameterization bring it back?*
#
# The encoder learns by $\nabla_\varphi$ of the ELBO. The KL is in closed form, so its gradient is
# no problem. But the reconstruction term is an expectation over $z \sim q_\varphi(z \mid x)$, and
# $\varphi$ is in the distribution, not in the function. Once a random number generator has drawn
# $z$, this number is a constant, and automatic differentiation finds no way from it to $\varphi$.
#
# **Reparameterization** (Kingma and Welling 2013; Rezende et al. 2014) draws noise that does not
# depend on $\varphi$, and makes $z$ a function of it:
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
# The next two cells take the loss of a batch twice, from the same numbers $z$. First they are
# passed to the decoder as numbers, then as a function of $\mu$ and $\sigma$.

# %%
batch, noise = x_test[:32], tf.random.normal([32, 20], seed=0)
mean = tf.Variable(vae.posterior(batch.reshape(-1, 28, 28, 1)).mean())
log_stddev = tf.Variable(tf.fill([32, 20], -1.0))


def gradient_of_mean(loss_of):
    """The gradient of a loss by μ, `[32, 20]`, or None."""
    with tf.GradientTape() as tape:
        loss = loss_of()
    return tape.gradient(loss, mean)


def loss_of_latents(z):
    """The loss of the batch for latents `[32, 20]`."""
    return negative_elbo(batch, tf.reshape(vae.decoder(z), [-1, 784]), mean, log_stddev)


# %%
numbers = sample_posterior(mean, log_stddev, noise).numpy()
without = gradient_of_mean(lambda: loss_of_latents(tf.constant(numbers)))
reparameterized = gradient_of_mean(
    lambda: loss_of_latents(sample_posterior(mean, log_stddev, noise))
)
of_kl = gradient_of_mean(lambda: tf.reduce_mean(kl_to_prior(mean, log_stddev)))
for name, gradient in (("without", without), ("with", reparameterized), ("the KL alone", of_kl)):
    print(f"{name:14} norm of the gradient by μ {float(tf.norm(gradient)):.4f}")
np.testing.assert_allclose(without, of_kl, rtol=1e-5)

# %% [markdown]
# Without reparameterization, the gradient is that of the KL alone. The encoder would never learn
# about images: it would move to the prior.
#
# There is a gradient without reparameterization: the **score function** estimator (Williams 1992,
# "Simple statistical gradient-following algorithms", there called REINFORCE),
#
# $$\nabla_\varphi\, \mathbb{E}_{q_\varphi}[g(z)] = \mathbb{E}_{q_\varphi}[g(z)\, \nabla_\varphi
#   \log q_\varphi(z)], \qquad \nabla_\mu \log q(z) = (z - \mu) / \sigma^2.$$
#
# It has no bias and needs no gradient of $g$, but its variance is large. First a case with a known
# gradient: one latent, $g(z) = \log \mathcal{N}(x; z, s^2)$ and $q = \mathcal{N}(\mu, \sigma^2)$.
# The gradient by $\mu$ is $(x - \mu) / s^2$.

# %%
x, s, mu, sigma, draws = 2.0, 0.5, 0.5, 0.4, 20_000
epsilon = rng.standard_normal(draws)
z = mu + sigma * epsilon
g = -((x - z) ** 2) / (2 * s**2) - np.log(2 * np.pi * s**2) / 2
estimates = {"reparameterized": (x - z) / s**2, "score function": g * epsilon / sigma}
truth = (x - mu) / s**2
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for (name, values), colour in zip(estimates.items(), (COLOUR, NEUTRAL), strict=True):
    error = values.std() / np.sqrt(draws)
    print(f"{name:16} mean {values.mean():6.3f} ± {error:.3f}, stddev {values.std():6.2f}")
    assert abs(values.mean() - truth) < 5 * error  # five standard errors
    axes.hist(values, np.linspace(-15, 60, 76), density=True, alpha=0.6, color=colour, label=name)
axes.axvline(truth, color="k", lw=1, label="true gradient")
axes.set(xlabel="gradient by μ from one sample [nats per unit of μ]", ylabel="density")
axes.legend(fontsize=8)
plt.show()
assert abs(estimates["reparameterized"].std() - sigma / s**2) < 0.05  # its closed form
assert estimates["score function"].std() > 3 * estimates["reparameterized"].std()

# %% [markdown]
# *Figure 1.10.* Estimates of a known gradient from single samples. Both have the right mean. The
# values of the score function spread much wider, and some have the wrong sign.
#
# Now the reconstruction term of a test image under the VAEs of question 1.1. Subtracting the mean
# of $g$, a baseline (Mnih and Gregor 2014, "Neural variational inference and learning in belief
# networks"), makes the score function better, but not good.


# %%
def gradient_estimates(model, image, count):
    """Estimates of the gradient of E_q[log p(x|z)] by μ from single samples, `[count, D]` each."""
    posterior = model.posterior(image.reshape(1, 28, 28, 1))
    means = tf.repeat(posterior.mean(), count, axis=0)
    log_stddev = tf.math.log(tf.repeat(posterior.stddev(), count, axis=0))
    noise = tf.random.normal(means.shape, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(means)
        logits = model.decoder(sample_posterior(means, log_stddev, noise))
        logits = tf.reshape(logits, [count, 784])
        log_p = bernoulli_log_prob(tf.repeat(image[None], count, axis=0), logits)
    score = noise / tf.exp(log_stddev)
    return {
        "reparameterized": tape.gradient(log_p, means),
        "score function": log_p[:, None] * score,
        "with baseline": (log_p - tf.reduce_mean(log_p))[:, None] * score,
    }


# %%
print("latents   standard deviation of a gradient [nats], and samples needed for equal error")
for latent_dim, model in vaes.items():
    estimates = gradient_estimates(model, x_test[0], 2000)
    spread = {
        name: float(tf.sqrt(tf.reduce_mean(tf.math.reduce_variance(values, axis=0))))
        for name, values in estimates.items()
    }
    least = spread["reparameterized"]
    cells = (f"{name} {value:.0f} ({(value / least) ** 2:.0f})" for name, value in spread.items())
    print(f"{latent_dim:7}   {', '.join(cells)}")
    assert spread["score function"] > 10 * least
assert spread["with baseline"] > 2 * least  # of 20 latents

# %% [markdown]
# The number in parentheses is the ratio of the variances: so many samples of that estimator are as
# good as one of the reparameterized one.

# %% [markdown]
# ## Questions 1.12 and 1.13: the networks, and the loss while they train
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
own_encoder, own_decoder = two_layers(784, 2 * 20), two_layers(20, 784)
optimizer = keras.optimizers.Adam(1e-3)


@tf.function
def train_step(x):
    """One step of training on images `[B, 784]`; returns the loss before it."""
    with tf.GradientTape() as tape:
        mean, log_stddev = tf.split(own_encoder(x), 2, axis=-1)
        z = sample_posterior(mean, log_stddev, tf.random.normal(tf.shape(mean)))
        loss = negative_elbo(x, own_decoder(z), mean, log_stddev)
    weights = own_encoder.trainable_variables + own_decoder.trainable_variables
    optimizer.apply(tape.gradient(loss, weights), weights)
    return loss


batches = tf.data.Dataset.from_tensor_slices(x_train).shuffle(TRAIN, seed=0).batch(128)
own_losses = [float(train_step(x)) for x in batches]
print(f"−ELBO of the first batch {own_losses[0]:.1f} nats, of the last {own_losses[-1]:.1f} nats")
assert own_losses[-1] < own_losses[0] / 2

# %% [markdown]
# **Before training**, the logits are close to 0, so each pixel has a mean of about ½ and costs
# $\ln 2$ nats, whatever its value. The reconstruction term is then about $784 \ln 2 = 543.4$ nats.
# The encoder's outputs are close to 0 too, so all posteriors are alike, and the report takes the KL
# for about 0. In tfgen, it is a few nats: $\sigma$ is about $\mathrm{softplus}(0) = \ln 2$ and not
# 1, and $\mu$ is not exactly 0.

# %%
logits = tf.zeros_like(x_test)
at_zero = -float(tf.reduce_mean(bernoulli_log_prob(x_test, logits)))
print(f"all logits 0: {at_zero:.1f} nats; 784 ln 2 = {784 * np.log(2):.1f} nats")
assert f"{at_zero:.1f}" == "543.4"

model = tfgen.VAE(latent_dim=20, hidden=(500,), seed=0)
model.compile(**model.default_optimizers(1e-3), steps_per_execution=20)
before = model.evaluate(test_images, verbose=0, return_dict=True)
print(f"untrained VAE: reconstruction {before['reconstruction']:.1f} nats, ", end="")
print(f"KL {before['kl']:.1f} nats")
assert abs(before["reconstruction"] - 784 * np.log(2)) < 3  # the logits are small, but not 0
assert 0 < before["kl"] < 5

# %%
validation_images = data.validation.images[: TRAIN // 5]
sample_grids = {0: model.sample(n=36, seed=0).numpy()}


def keep_samples(epoch, logs):
    """Samples half way through the training, and after it."""
    if epoch + 1 in (EPOCHS // 2, EPOCHS):
        sample_grids[epoch + 1] = model.sample(n=36, seed=0).numpy()


history = model.fit(
    train_images,
    validation_data=(validation_images, None),
    batch_size=128,
    epochs=EPOCHS,
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep_samples)],
    verbose=0,
).history
rows = [
    {"epoch": index + 1, **dict(zip(history, values, strict=True))}
    for index, values in enumerate(zip(*history.values(), strict=True))
]

# %%
panel = ("average over the images [nats]", ("loss", "reconstruction", "kl"))
tfgen.figures.curves(rows, [panel], "Negative ELBO (loss) and its parts, 20 latents", family="vae")

# %% [markdown]
# *Figure 1.11.* Figure 1 of the report: the average negative ELBO by epoch, and its two terms. The
# KL grows while the latents learn to say something about the images; the reconstruction term falls
# by more. A training value is the mean over an epoch in which the weights change. So in the first
# epochs it lags behind the validation value: the loss is above it, and the KL is below it.

# %%
last = rows[-1]
print(f"first epoch, training: −ELBO {rows[0]['loss']:.1f} nats; ", end="")
print(f"by the exercises alone {np.mean(own_losses):.1f} nats")
print(f"after {EPOCHS} epochs: training {last['loss']:.1f}, ", end="")
print(f"validation {last['val_loss']:.1f} nats")
assert abs(rows[0]["loss"] - np.mean(own_losses)) < 0.1 * rows[0]["loss"]
assert last["val_loss"] < (250 if SMALL else 105)  # 99.4 nats in docs/reproduction.md
assert last["val_reconstruction"] < before["reconstruction"] / 2

# %% [markdown]
# ## Questions 1.14 and 1.15: samples and the manifold of two latents
#
# *What do samples look like before, half way through and after the training? What is the manifold
# of two latents?*
#
# The samples have the same latents in all three pictures, so the same place shows what the decoder
# makes of the same $z$.

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for axes, (epoch, images) in zip(panels, sample_grids.items(), strict=True):
    axes.imshow(tfgen.figures.image_grid(images, 6)[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"after epoch {epoch}" if epoch else "before training")
    axes.set_axis_off()
plt.show()

# %% [markdown]
# *Figure 1.12.* Figure 2 of the report: pixel means of 36 samples before, half way through and
# after the training.
#
# With two latents, all means $f(z)$ lie on a surface, the **manifold**, and the latents are
# coordinates on it. The next cell trains the VAE of question 1.1 with two latents further, and
# decodes a grid of latents. The grid lines are not equally far apart: their coordinates are
# $\Phi^{-1}$, the inverse of the normal distribution function, of equally spaced numbers in (0, 1),
# so that there is the same prior probability between neighbouring lines (Kingma and Welling 2013,
# appendix A).

# %%
plane = vaes[2]
plane.fit(train_images, batch_size=128, epochs=PLANE_EPOCHS, verbose=0)
latents = tfgen.figures.manifold_latents(20)
levels = tfd.Normal(0.0, 1.0).cdf(latents[:20, 0]).numpy()
assert np.allclose(np.diff(levels), 1 / 20, atol=1e-6)
tfgen.figures.picture(
    plane.decode(latents).numpy(),
    "Manifold of a VAE with two latents",
    20,
    *tfgen.figures.manifold_axes(20),
)

# %% [markdown]
# *Figure 1.13.* Figure 3 of the report: the means that the decoder computes on a grid of two
# latents. Neighbouring latents give similar images. The area of a digit's region in the picture is
# the probability of that region under the prior.
#
# Two numbers say less about an image than twenty: the table of question 1.10 has the price in nats.
