"""What the generative families share: latents of seeds, samples, labels, their export."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from tfgen import figures, random, sampling
from tfgen.errors import UsageError
from tfgen.models.base import Curve as Curve
from tfgen.models.base import ImageModel, Signatures
from tfgen.nn.batches import not_empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFOLD_SIDE = 20
# Samples that a run shows as it goes.
GRID_IMAGES = 64
# What a run shows of a conditional model: a row of images for each class, up to a number of
# classes.
IMAGES_PER_CLASS, MAX_ROWS = 10, 20


class GenerativeModel(ImageModel, sampling.ImageSampler):
    """Base of the families that make images: VAE, GAN, flow, and those of other packages.

    A family must say what `ImageModel` asks for, and:

    - `latent_dim`: the length of a latent vector, a property.
    - `decode_events(latents, labels)`: events of latents. `decode`, `sample`, the pictures and the
      export follow from it.

    A family may say:

    - `density`: how held-out images are judged beside samples. `"exact"`: the model has
      `log_prob(images, seeds)`, in nats, `[B]`, of `uint8` images, where `seeds: int32[B]` decide
      all noise. `"latent"`: it has `prior()`, `posterior(events, labels)` and `likelihood(latents,
      labels)`, which give TFP distributions, and an importance-weighted bound is estimated. None:
      samples alone are judged.
    - `encode`, `log_prob`, and further signatures of the export: `{**super().signatures(),
      "encode": …}`.

    In these methods `labels` are one-hot, `[B, K]`, or None of an unconditional model. Public
    methods take integers and pass them through `one_hot`.

    Samples are `float32` in 0…1, each a function of its own seed. Arguments: those of `ImageModel`.
    """

    density: ClassVar[Literal["latent", "exact"] | None] = None

    # --- what a family offers
    # --------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        raise NotImplementedError("a family says how long its latents are")

    def decode_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Events `[B, *event_shape]` of latents `[B, D]`; conditional: of one-hot labels `[B, K]`
        too."""
        raise NotImplementedError("a family says how it decodes")

    def signatures(self) -> Signatures:
        """`sample`, `latents`, `decode`; `classes` for a conditional model."""
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
            # The shape of its output tells a client how many classes there are.
            **(
                {"classes": (lambda label: {"one_hot": self.one_hot(label)}, label)}
                if label
                else {}
            ),
        }

    def label_specs(self) -> list[tf.TensorSpec]:
        """The input `label: int32[B]` of a conditional model's signatures; empty for another
        model."""
        return [tf.TensorSpec([None], tf.int32, name="label")] if self.num_classes else []

    def example_inputs(self, size: int) -> dict[str, np.ndarray]:
        """Example inputs of the signatures, `size` rows of each, by name."""
        seeds = np.arange(size, dtype=np.int32)
        labels = seeds % max(1, self.num_classes)
        samples = self.sample(seeds=seeds, labels=labels if self.num_classes else None)
        return {
            "seed": seeds,
            "label": labels,
            "latents": self.latents(seeds).numpy(),
            "images": np.round(255 * samples.numpy()).astype(np.uint8),
        }

    def shown(self) -> tuple[np.ndarray, int | None]:
        """Samples from the same seeds each time, and the columns of their grid: a row for each
        class."""
        if not self.num_classes:
            return self.sample(GRID_IMAGES, seed=0).numpy(), None
        labels = np.repeat(np.arange(min(self.num_classes, MAX_ROWS)), IMAGES_PER_CLASS)
        return self.sample(len(labels), seed=0, labels=labels).numpy(), IMAGES_PER_CLASS

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """An interpolation; with two latents the manifold."""
        ends = self.latents(random.image_seeds(0, 2)).numpy()
        paths = [figures.interpolated_latents(ends[0], ends[1], 7, path) for path in figures.PATHS]
        between = self.decode(np.concatenate(paths), 0 if self.num_classes else None).numpy()
        title = f"between two samples: {', '.join(figures.PATHS)}"
        result = {"interpolation": figures.picture(between, title, 7)}
        if self.latent_dim == 2 and not self.num_classes:
            plane = self.decode(figures.manifold_latents(MANIFOLD_SIDE)).numpy()
            result["manifold"] = figures.picture(plane, "the latent plane", MANIFOLD_SIDE)
        return result

    # --- sampling
    # --------------------------------------------------------------------------------------

    def latents(self, seeds: Any) -> tf.Tensor:
        """Latents `float32[B, D]` of `seeds: int32[B]`, bit-equal for a seed in every batch."""
        return random.standard_normal(seeds, self.latent_dim)

    def decode(self, latents: Any, labels: Any = None) -> tf.Tensor:
        """Images `float32[B, H, W, C]` in 0…1, by the weights that judge.

        Args:
            latents: `float32[B, D]`.
            labels: classes of a conditional model, `int[B]` or one for all; None: i mod K.

        Raises:
            UsageError: a label is out of range, or the model takes none.
        """
        latents = tf.cast(latents, self.likelihood_dtype)
        if labels is None and self.num_classes:
            labels = tf.range(tf.shape(latents)[0]) % self.num_classes
        elif labels is not None and len(np.shape(labels)) == 0:
            labels = tf.fill(tf.shape(latents)[:1], labels)
        return self.preprocessing.images(
            self.judged(self.decode_events, latents, self.one_hot(labels))
        )

    def joined(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Batches put one after the other."""
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)

    def judged(self, function: Any, *batches: tf.Tensor | None) -> Any:
        """`function` of batches, which may be empty, by the EMA of the weights where there is one.

        Args:
            function: of the batches that are not None.
            *batches: tensors with the batch first, or None.
        """
        with self.averaged():
            return not_empty(function, *(batch for batch in batches if batch is not None))

    def one_hot(self, labels: Any) -> tf.Tensor | None:
        """Labels `int[B]` as `float[B, K]` for a conditional model's networks; None for another
        model.

        Raises:
            UsageError: the model is conditional and there are no labels, or the other way round; or
                a label is out of range. In a graph, where values are not known, the range is not
                checked.
        """
        if not self.num_classes:
            sampling.request_labels(0, 0, labels)
            return None
        if labels is None:
            raise UsageError(
                f"the model is conditional: pass labels 0…{self.num_classes - 1}, in fit as (images, labels)"
            )
        labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
        values = tf.get_static_value(labels)
        if values is not None:
            sampling.check_labels(values, self.num_classes)
        return tf.one_hot(labels, self.num_classes, dtype=self.likelihood_dtype)
