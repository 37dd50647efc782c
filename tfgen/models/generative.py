"""What the three generative families share: latents of seeds, samples, their export."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import tensorflow as tf

from tfgen import figures, random
from tfgen.models.image_model import Curve as Curve
from tfgen.models.image_model import ImageModel, Signatures
from tfgen.models.image_model import not_empty as not_empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFOLD_SIDE = 20
# Samples that a run shows as it goes.
GRID_IMAGES = 64
# Of a conditional model: so many images of each class, in a row, and no more classes than these.
IMAGES_A_CLASS, MOST_ROWS = 10, 20


class GenerativeModel(ImageModel):
    """Base of VAE, GAN and flow.

    A family implements `train_step`, `test_step`, `decode` and `call`, and says what it logs and exports.
    Samples are `float32` in 0…1, each a function of its own seed. A class-conditional model, whose
    configuration has `num_classes`, needs labels, 0 … `num_classes` − 1. Arguments: those of `ImageModel`.
    """

    # How held-out images may be judged beside samples: `latent` by prior, posterior and likelihood, `exact`
    # by `log_prob`, or not at all.
    density: ClassVar[Literal["latent", "exact"] | None] = None

    # --- what a family offers -------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        raise NotImplementedError("a family says how long its latents are")

    def decode(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1 of `latents: float32[B, D]`, conditional: `labels: int[B]`."""
        raise NotImplementedError("a family says how it decodes")

    def signatures(self) -> Signatures:
        """`sample`, `latents`, `decode`, of a conditional model `classes`."""
        seed = tf.TensorSpec([None], tf.int32, name="seed")
        latents = tf.TensorSpec([None, self.latent_dim], tf.float32, name="latents")
        label = self.label_specs()

        def sample(seed: tf.Tensor, label: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
            return {"images": self.decode(self.latents(seed), label)}

        def decode(latents: tf.Tensor, label: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
            return {"images": self.decode(latents, label)}

        return {
            "sample": (sample, [seed, *label]),
            "latents": (lambda seed: {"latents": self.latents(seed)}, [seed]),
            "decode": (decode, [latents, *label]),
            # Its output's shape tells a client how many classes there are.
            **({"classes": (lambda label: {"one_hot": self.one_hot(label)}, label)} if label else {}),
        }

    def label_specs(self) -> list[tf.TensorSpec]:
        """The input `label: int32[B]` of a conditional model's signatures; none of another's."""
        return [tf.TensorSpec([None], tf.int32, name="label")] if self.num_classes else []

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Inputs that the signatures may get, `size` rows of each, by name."""
        seeds = np.arange(size, dtype=np.int32)
        labels = seeds % max(1, self.num_classes)
        samples = self.sample(seeds=tf.constant(seeds), labels=labels if self.num_classes else None)
        return {
            "seed": seeds,
            "label": labels,
            "latents": self.latents(tf.constant(seeds)).numpy(),
            "images": np.round(255 * samples.numpy()).astype(np.uint8),
        }

    def shown(self) -> tuple[np.ndarray, int | None]:
        """Samples from the same seeds each time, and the columns of their grid: of classes, a row each."""
        if not self.num_classes:
            return self.sample(GRID_IMAGES, seed=0).numpy(), None
        labels = np.repeat(np.arange(min(self.num_classes, MOST_ROWS)), IMAGES_A_CLASS)
        return self.sample(len(labels), seed=0, labels=labels).numpy(), IMAGES_A_CLASS

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """An interpolation; of two latents the manifold."""
        ends = self.latents(random.image_seeds(0, 2)).numpy()
        paths = [figures.interpolated_latents(ends[0], ends[1], 7, path) for path in figures.PATHS]
        label = None if labels is None else tf.zeros([sum(map(len, paths))], tf.int32)
        between = self.decode(tf.constant(np.concatenate(paths)), label).numpy()
        shown = {
            "interpolation": figures.picture(between, f"between two samples: {', '.join(figures.PATHS)}", 7)
        }
        if self.latent_dim == 2 and not self.num_classes:
            plane = self.decode(tf.constant(figures.manifold_latents(MANIFOLD_SIDE))).numpy()
            shown["manifold"] = figures.picture(plane, "the latent plane", MANIFOLD_SIDE)
        return shown

    # --- sampling --------------------------------------------------------------------------------------

    def latents(self, seeds: tf.Tensor) -> tf.Tensor:
        """Latents `float32[B, D]` of `seeds: int32[B]`, bit-equal for a seed in whatever batch it comes."""
        return random.standard_normal(seeds, self.latent_dim)

    def sample(
        self,
        n: int = 25,
        *,
        seed: int = 0,
        seeds: tf.Tensor | None = None,
        labels: tf.Tensor | int | None = None,
    ) -> tf.Tensor:
        """Sampled images.

        Args:
            n: how many.
            seed: of the whole request; the same one gives the same images.
            seeds: `int32[B]`, one an image, in place of `n` and `seed`.
            labels: of a conditional model, `int[B]` or one for all; by default all classes in turn.

        Returns:
            `float32[n, H, W, C]` in 0…1.
        """
        latents = self.latents(random.image_seeds(seed, n) if seeds is None else seeds)
        if self.num_classes:
            places = tf.range(tf.shape(latents)[0])
            given = places % self.num_classes if labels is None else labels
            labels = tf.zeros_like(places) + tf.cast(given, places.dtype)
        return self.decode(latents, labels)

    def one_hot(self, labels: tf.Tensor | None) -> tf.Tensor | None:
        """Labels `int[B]` as `float[B, num_classes]` for a conditional model's networks; None for another.

        Raises:
            ValueError: the model is conditional and there are no labels, or the other way round; or there is
                no such label. Within a graph, where values are not known, that one is not told.
        """
        if not self.num_classes and labels is not None:
            raise ValueError("the model is not conditional: it takes no labels")
        if not self.num_classes:
            return None
        if labels is None:
            raise ValueError(
                f"the model is conditional: pass labels 0…{self.num_classes - 1}, in fit as (images, labels)"
            )
        labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
        known = tf.get_static_value(labels)
        if known is not None and np.any((known < 0) | (known >= self.num_classes)):
            raise ValueError(f"labels go from {known.min()} to {known.max()}, not 0…{self.num_classes - 1}")
        return tf.one_hot(labels, self.num_classes, dtype=self.likelihood_dtype)
