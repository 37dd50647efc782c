"""The base of all generative families: latents of seeds, samples, labels, export."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from tfgen import figures, random, sampling
from tfgen.errors import UsageError
from tfgen.models import notebook
from tfgen.models.base import ImageModel, Signatures
from tfgen.models.batch import shaped_images
from tfgen.models.preprocessing import Labels, Noise
from tfgen.nn.replicas import not_empty

# How the likelihood of a family is computed; see `GenerativeModel`.
Density: TypeAlias = Literal["latent", "exact", "dequantized", "estimate"] | None
# What `describe_events` returns for a probability of bytes, the only likelihood in bits/dim.
BYTES = "bytes"
# Importance samples of a draw of `log_prob`, of the density "latent".
IMPORTANCE_SAMPLES = 64
# Points along each side of the picture of a two-dimensional latent space.
MANIFOLD_SIDE = 20
# Images that a run shows after each epoch. A conditional model has a row for each class, up to a
# number of rows.
GRID_IMAGES = 64
IMAGES_PER_CLASS, MAX_ROWS = 10, 20
# The `monitor` of a family whose best checkpoint has the samples that are nearest to validation
# images. `tfgen.callbacks.SampleMonitor` logs it; no step does.
SAMPLE_DISTANCE = "val_distance"


class GenerativeModel(ImageModel, sampling.ImageSampler):
    """Base of the families that generate images.

    Samples are `float32` in 0…1, each a function of its own seed: `sample` is `decode` of
    `latents`. Arguments are those of `ImageModel`.

    A family must define what `ImageModel` asks for, and:

    - `latent_dim`: the length of a latent vector, a property.
    - `decode_events(latents, labels)`: events `[B, *event_shape]` of latents `[B, latent_dim]`.
      `decode`, `sample`, the pictures and the export follow from it.

    A family may define:

    - `latents(seeds)`: the latents of seeds, where these are not standard normal.
    - `leading_latents`: how many of the first latents the pictures vary.
    - `encode_images(images, noise, labels)`: latents `[B, latent_dim]` of images `uint8[B, H, W,
      C]`. `encode` and the signature `encode` follow from it.
    - `density` and `log_prob_images(images, noise, labels)`: log p(x) of images in nats, `[B]`, by
      one draw of `noise`. `log_prob`, its signature and the likelihood of `tfgen-evaluate` follow.
      The kind of density says how several draws combine. `"exact"`: the probability of the events.
      Only the data may be drawn, as by a binarization; draws are averaged in nats.
      `"dequantized"`: the density of dequantized bytes, which is averaged over draws, a tighter
      bound. `"estimate"`: an unbiased estimate of a lower bound, such as Hutchinson's; draws are
      averaged in nats, because an average of probabilities would reward their noise. `"latent"`: a
      bound by importance sampling, which is averaged as a probability. It needs no
      `log_prob_images`, but `sample_terms(events, noise, labels, samples)`, which returns an object
      with `log_likelihoods` log p(x|z) and `log_ratios` log p(z) − log q(z|x), both
      `[B, samples]`, and `kl` `[B]`, in closed form where there is one; and
      `posterior(events, labels)`, which has a `mean()`. None: there is no likelihood.
    - `describe_events()`: what the likelihood is a density of, in words. `BYTES` says that it is a
      probability of bytes, which is also given in bits/dim. By default, a density but `"latent"` is
      of bytes, unless the preprocessing binarizes them.
    - further signatures of the export: `{**super().signatures(), "name": …}`. Public methods
      compute with the EMA weights by `apply_averaged`. A graph that is traced in it keeps these
      weights.
    - `preview` and `pictures`: what a run shows. By default they draw 64 images after each epoch,
      too many for a slow sampler.

    A conditional model gets labels. `sample`, `decode`, `encode` and `log_prob` take integers
    `[B]`; `one_hot` turns them into `[B, K]`, which is what `unpack` and the methods above give to
    a family. Those of an unconditional model are None.
    """

    density: Density = None

    # --- what a family defines -----------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        raise NotImplementedError(f"{type(self).__name__} must define latent_dim")

    @property
    def leading_latents(self) -> int:
        """How many of the first latents the pictures vary, by default all.

        The others, which decide details, are shared by the images of an interpolation, and 0 in the
        latent plane.
        """
        return self.latent_dim

    def decode_events(self, latents: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """Events `[B, *event_shape]` of latents.

        Args:
            latents: `[B, D]`, in `likelihood_dtype`.
            labels: one-hot, `[B, K]`, for a conditional model; else None.
        """
        raise NotImplementedError(f"{type(self).__name__} must define decode_events()")

    def describe_events(self) -> str:
        """What the likelihood is a density of, in words.

        Likelihoods of different events do not compare. By default, what `log_prob` returns is of
        bytes, or of binary pixels if the preprocessing binarizes; any other density is of the
        events of the preprocessing.
        """
        if self.density not in (None, "latent"):
            binarization = getattr(self.preprocessing, "binarization", "none")
            # As of a VAE with a Bernoulli likelihood, which has the same events.
            return BYTES if binarization == "none" else f"bernoulli, binarization {binarization}"
        settings = self.preprocessing.get_config().items()
        arguments = ", ".join(f"{name}={value!r}" for name, value in settings)
        return f"{type(self.preprocessing).__name__}({arguments})"

    def encode_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """Latents `[B, D]` of images; uses the raw weights.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of their noise.
            labels: one-hot, `[B, K]`, for a conditional model; else None.

        Raises:
            UsageError: the family has no encoder.
        """
        raise UsageError(f"a {type(self).__name__} has no encoder")

    def log_prob_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """log p(x) of images by one draw of the noise, nats, `[B]`; uses the raw weights.

        With the density `"latent"`, the importance-weighted bound of `IMPORTANCE_SAMPLES` samples
        (Burda et al. 2015).

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of their noise.
            labels: one-hot, `[B, K]`, for a conditional model; else None.

        Raises:
            UsageError: the family has no likelihood.
        """
        if self.density != "latent":
            raise UsageError(f"a {type(self).__name__} has no likelihood")
        events = self.preprocessing.events(images, noise, self.likelihood_dtype)
        terms: Any = self.sample_terms(events, noise, labels, IMPORTANCE_SAMPLES)
        log_weights = terms.log_likelihoods + terms.log_ratios
        return tf.reduce_logsumexp(log_weights, axis=1) - math.log(IMPORTANCE_SAMPLES)

    def signatures(self) -> Signatures:
        """`sample`, `latents` and `decode`; `encode`, `log_prob` and `classes` where they exist."""
        seed = tf.TensorSpec([None], tf.int32, name="seed")
        latents = tf.TensorSpec([None, self.latent_dim], tf.float32, name="latents")
        label = [tf.TensorSpec([None], tf.int32, name="label")] if self.num_classes else []
        images = tf.TensorSpec([None, *self.config.image_shape], tf.uint8, name="images")

        # A function of its own, so that an export has the decoder's graph once, not twice.
        @tf.function(input_signature=[latents, *label], autograph=False)
        def decode(latents: tf.Tensor, label: Labels = None) -> dict[str, tf.Tensor]:
            return {"images": self.decode(latents, label)}

        def sample(seed: tf.Tensor, label: Labels = None) -> dict[str, tf.Tensor]:
            return decode(self.latents(seed), *([] if label is None else [label]))

        def encode(images: tf.Tensor, seed: tf.Tensor, label: Any = None) -> dict[str, tf.Tensor]:
            return {"latents": self.encode(images, seeds=seed, labels=label)}

        def log_prob(images: tf.Tensor, seed: tf.Tensor, label: Any = None) -> dict[str, tf.Tensor]:
            outputs = {"log_prob": self.log_prob(images, seeds=seed, labels=label)}
            if self.describe_events() == BYTES:
                outputs["bits_per_dim"] = self.bits_per_dim(outputs["log_prob"])
            return outputs

        functions: Signatures = {
            "sample": (sample, [seed, *label]),
            "latents": (lambda seed: {"latents": self.latents(seed)}, [seed]),
            "decode": (decode, [latents, *label]),
        }
        if label:
            # The shape of its output tells a client how many classes there are.
            functions["classes"] = (lambda label: {"one_hot": self.one_hot(label)}, label)
        if type(self).encode_images is not GenerativeModel.encode_images:
            functions["encode"] = (encode, [images, seed, *label])
        if self.density is not None:
            functions["log_prob"] = (log_prob, [images, seed, *label])
        return functions

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Example inputs of the signatures, `size` rows of each, by name."""
        seeds = np.arange(size, dtype=np.int32)
        labels = seeds % max(1, self.num_classes)
        samples = self.sample(seeds=seeds, labels=labels if self.num_classes else None)
        latents, images = self.latents(seeds).numpy(), np.round(255 * samples.numpy())
        inputs = {"seed": seeds, "label": labels, "latents": latents}
        return {**inputs, "images": images.astype(np.uint8)}

    def preview(self) -> tuple[np.ndarray, int | None]:
        """Samples of the same seeds each time, for a conditional model a row per class."""
        if not self.num_classes:
            return self.sample(GRID_IMAGES, seed=0).numpy(), None
        labels = np.repeat(np.arange(min(self.num_classes, MAX_ROWS)), IMAGES_PER_CLASS)
        return self.sample(len(labels), seed=0, labels=labels).numpy(), IMAGES_PER_CLASS

    def pictures(self, images: tf.Tensor, labels: Labels = None) -> dict[str, "figures.Figure"]:
        """An interpolation; with two leading latents also the manifold."""
        ends, leading = self.latents(random.image_seeds(0, 2)).numpy(), self.leading_latents
        first, second = ends[:, :leading]
        paths = [figures.interpolated_latents(first, second, 7, path) for path in figures.PATHS]
        latents = np.repeat(ends[:1], 7 * len(paths), axis=0)
        latents[:, :leading] = np.concatenate(paths)
        between = self.decode(latents, 0 if self.num_classes else None).numpy()
        axes = figures.GridAxis("path", figures.PATHS), figures.path_axis(7)
        title = "between two samples"
        if leading < self.latent_dim:
            title = "between the latents of two samples at the top, with the others of the first"
        result = {"interpolation": figures.picture(between, title, 7, *axes)}
        if leading == 2 and not self.num_classes:
            others = [(0, 0), (0, self.latent_dim - leading)]
            plane = self.decode(np.pad(figures.manifold_latents(MANIFOLD_SIDE), others)).numpy()
            axes = figures.manifold_axes(MANIFOLD_SIDE)
            result["manifold"] = figures.picture(plane, "the latent plane", MANIFOLD_SIDE, *axes)
        return result

    def _repr_html_(self) -> str | None:
        """What a notebook shows of the model: samples."""
        steps = f"after {int(self.step):,} steps" if int(self.step) else "untrained"
        return notebook.samples_html(self, f"{type(self).__name__} {self.name}, {steps}")

    # --- sampling ---------------------------------------------------------------------

    def latents(self, seeds: Any) -> tf.Tensor:
        """Latents `float32[B, D]` of `seeds: int32[B]`, bit-equal in every batch."""
        return random.standard_normal(seeds, self.latent_dim)

    def decode(self, latents: Any, labels: Any = None) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1, computed with the EMA weights, if any.

        Args:
            latents: `float32[B, D]`.
            labels: classes of a conditional model, `int[B]`, or one class for all images; None:
                image i has the class i mod K.

        Raises:
            UsageError: a label is out of range, there are not B labels, or the model is not
                conditional.
        """
        latents = tf.cast(latents, self.likelihood_dtype)
        if labels is None and self.num_classes:
            labels = tf.range(tf.shape(latents)[0]) % self.num_classes
        one_hot = self.one_hot(labels, latents)
        return self.preprocessing.images(self.apply_averaged(self.decode_events, latents, one_hot))

    def encode(self, images: Any, *, seeds: Any = None, labels: Any = None) -> tf.Tensor:
        """Latents `float32[B, D]` of images, computed with the EMA weights, if any.

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: `int32[B]`, of the noise of each image, where it gets any; None: 0, 1, 2, …
            labels: classes of a conditional model, `int[B]`, or one class for all.

        Raises:
            UsageError: the family has no encoder; images, seeds or labels do not suit the model.
        """
        return tf.cast(self._of_images(self.encode_images, images, seeds, labels), tf.float32)

    def log_prob(
        self, images: Any, *, seeds: Any = None, labels: Any = None, draws: int = 1
    ) -> tf.Tensor:
        """log p(x), or a lower bound of it, nats, `float32[B]`, or `float64[B]` by the policy.

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: `int32[B]`, of the noise of each image; None: 0, 1, 2, …
            labels: classes of a conditional model, `int[B]`, or one class for all; then the
                density is p(x|label).
            draws: number of draws of the noise. The class says what a draw is, and `density` how
                several combine. A single draw is that of `seeds`.

        Raises:
            UsageError: the family has no likelihood; an argument does not suit the model.
        """
        if draws < 1:
            raise UsageError(f"draws = {draws} is too small; the least is 1")
        images = tf.convert_to_tensor(images)
        draw_seeds = self.noise_seeds(images, seeds)[:, None]
        if draws > 1:
            draw_seeds = random.seeds_of_draws(draw_seeds[:, 0], draws)
        columns = tf.unstack(draw_seeds, axis=1)
        values = [self._of_images(self.log_prob_images, images, seeds, labels) for seeds in columns]
        if draws == 1:
            return values[0]
        if self.density in ("latent", "dequantized"):
            return tf.reduce_logsumexp(values, axis=0) - math.log(draws)
        return tf.reduce_mean(values, axis=0)

    def _of_images(
        self, function: Callable[..., tf.Tensor], images: Any, seeds: Any, labels: Any
    ) -> tf.Tensor:
        """`function(images, noise, one_hot)` with the EMA weights, if any."""
        images = shaped_images(tf.convert_to_tensor(images), self.config.image_shape)
        batches = images, self.noise_seeds(images, seeds), self.one_hot(labels, images)
        return self.apply_averaged(functools.partial(_with_seeds, function), *batches)

    def joined(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Concatenates batches."""
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)

    def unpack(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """Images, one-hot labels `[B, K]` and sample weights of a batch; see `ImageModel.unpack`.

        Raises:
            UsageError: a conditional model gets no labels, or as for `ImageModel.unpack`.
        """
        images, labels, weights = super().unpack(data)
        return images, self.one_hot(labels), weights

    def call(self, images: tf.Tensor, labels: Any = None, training: bool | None = None) -> Any:
        """What `model(images)` returns: `log_prob`, unless the family says otherwise."""
        return self.log_prob(images, labels=labels)

    # --- for methods of a family --------------------------------------------------------

    def apply_averaged(self, function: Callable[..., Any], *batches: tf.Tensor | None) -> Any:
        """`function(*batches)` with the EMA weights, if any; batches may be empty.

        Args:
            function: gets the batches that are not None; returns tensors (or a structure of them)
                with the batch first.
            *batches: tensors with the batch first, all of the same size, or None.
        """
        with self.averaged():
            return not_empty(function, *(batch for batch in batches if batch is not None))

    def bits_per_dim(self, log_prob: tf.Tensor) -> tf.Tensor:
        """Bits/dim `[B]`: −log p / (D ln 2), where D is the number of entries of an image.

        Args:
            log_prob: log-probabilities of bytes `[B]` in nats.
        """
        return -log_prob / (math.prod(self.config.image_shape) * math.log(2))

    def noise_seeds(self, images: tf.Tensor, seeds: Any = None) -> tf.Tensor:
        """Seeds `int32[B]` of the images' noise: `seeds`, or 0, 1, 2, … for None."""
        if images.shape[0] is not None and not tf.is_symbolic_tensor(seeds):
            return tf.constant(sampling.noise_seeds(images.shape[0], seeds))
        return tf.range(tf.shape(images)[0]) if seeds is None else tf.cast(seeds, tf.int32)

    def one_hot(self, labels: Any, batch: tf.Tensor | None = None) -> tf.Tensor | None:
        """One-hot labels `[B, K]` for the networks of a conditional model, else None.

        Args:
            labels: classes of a conditional model, `int[B]`; None for an unconditional model.
            batch: what the labels belong to, with the batch first. If passed, the number of labels
                is checked, and `labels` may be one class for all.

        Raises:
            UsageError: a conditional model gets no labels, an unconditional one gets some, a label
                is out of range, or there are not B labels. Tensors of a graph have no values, and
                are not checked.
        """
        if not self.num_classes or labels is None:
            sampling.image_labels(0, self.num_classes, labels)
            return None
        if (batch is None or batch.shape[0] is not None) and not tf.is_symbolic_tensor(labels):
            size = np.size(labels) if batch is None else batch.shape[0]
            labels = sampling.image_labels(size, self.num_classes, labels)
        elif batch is not None and len(np.shape(labels)) == 0:
            labels = tf.fill(tf.shape(batch)[:1], labels)
        labels = tf.cast(labels, tf.int32)
        return tf.one_hot(labels, self.num_classes, dtype=self.likelihood_dtype)


def _with_seeds(
    function: Callable[..., tf.Tensor], images: tf.Tensor, seeds: tf.Tensor, labels: Labels = None
) -> tf.Tensor:
    return function(images, random.SeedNoise(seeds), labels)
