"""The generative adversarial network."""

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfgen import figures, random
from tfgen.config import GANConfig
from tfgen.errors import UsageError
from tfgen.layers import Dense
from tfgen.losses import LOSSES, gradient_penalty
from tfgen.models.average import MovingAverage
from tfgen.models.base import Curve, GenerativeModel, not_empty
from tfgen.models.preprocessing import Noise, Preprocessing, SymmetricPixels
from tfgen.networks import (
    append_labels,
    build_network,
    convolutional_discriminator,
    convolutional_generator,
    dense_network,
)
from tfgen.optimizers import Schedule, make_adam

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@keras.saving.register_keras_serializable(package="tfgen")
class GAN(GenerativeModel):
    """A generative adversarial network (Goodfellow et al. 2014, "Generative adversarial nets").

    Two networks play against each other, each with its own optimizer. In a step the generator moves first,
    then the discriminator, on real images and on those that the generator's move drew. With n `critic_steps`
    each step moves the discriminator and each n-th the generator.

    Logs `generator_loss` and `discriminator_loss` (a gradient penalty included), `real_score` and
    `fake_score`: the means of the probability of being real that the discriminator gives to real and to
    generated images, or of its plain output where it is a critic (losses `least_squares`, `hinge`,
    `wasserstein`).

    Args:
        image_shape: height, width, channels; with `preprocessing=Identity()` any event shape.
        latent_dim: dimensions of z, standard normal.
        num_classes: of a class-conditional model, which needs labels; 0: of another. Both networks see the
            label (Mirza & Osindero 2014), one-hot, appended along the last axis.
        seed: of the initial weights and of all noise.
        generator: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`; None builds one.
        discriminator: a layer `[B, *event_shape] → [B, 1]`, logits; None builds one. Conditional, the last
            axis is longer by `num_classes`.
        preprocessing: what turns bytes into events; None takes `SymmetricPixels()`.
        name: of the model.
        dtype: policy of the networks.
        **config: further fields of `GANConfig`, described there.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> gan = GAN()
        >>> gan.compile(**gan.default_optimizers(2e-4))
        >>> gan.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> gan.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    config: GANConfig
    curves = (
        Curve("loss", ("generator_loss", "discriminator_loss")),
        Curve("discriminator's mean score", ("real_score", "fake_score")),
    )
    # Neither loss says which generator is the better one.
    monitor = None

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28, 1),
        latent_dim: int = GANConfig.latent_dim,
        *,
        num_classes: int = 0,
        seed: int = 0,
        generator: keras.Layer | None = None,
        discriminator: keras.Layer | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        dtype: Any = None,
        **config: Any,
    ):
        made = GANConfig.from_json(
            {"image_shape": image_shape, "latent_dim": latent_dim, "num_classes": num_classes, **config}
        )
        if generator is None or discriminator is None:
            made.check_architecture()
        super().__init__(made, preprocessing or SymmetricPixels(), seed, name=name, dtype=dtype)
        self._given = {"generator": generator, "discriminator": discriminator, "preprocessing": preprocessing}
        self._loss = LOSSES[made.loss]
        self.generator = generator or self._build_generator()
        build_network(self.generator, (made.latent_dim + num_classes,))
        self.discriminator = discriminator or self._build_discriminator()
        *sides, depth = made.image_shape
        build_network(self.discriminator, (*sides, depth + num_classes))
        # A dense network of ours takes events flat, lest a label be appended at each pixel.
        self._flat = discriminator is None and made.architecture == "dense" and num_classes > 0
        # Batch normalization's moments are no trainable variables, and go with the weights.
        averaged = [*self.generator.trainable_variables, *self.generator.non_trainable_variables]
        self._average = MovingAverage(self, averaged, made.ema_decay) if made.ema_decay else None
        self._means = {
            name: keras.metrics.Mean(name, dtype="float64") for curve in self.curves for name in curve.names
        }
        self.built = True

    def _build_generator(self) -> keras.Sequential:
        config, common = self.config, {"dtype": self.dtype_policy, "name": "generator"}
        inputs, seed = config.latent_dim + config.num_classes, 2 * self.seed
        if config.architecture == "convolutional":
            widths = config.channels, config.units
            return convolutional_generator(inputs, *widths, config.image_shape, seed=seed, **common)
        return dense_network(
            (inputs,),
            config.generator_hidden,
            config.image_shape,
            seed=seed,
            activation="leaky_relu",
            output_activation="tanh",
            batch_norm=True,
            layer=Dense,
            **common,
        )

    def _build_discriminator(self) -> keras.Sequential:
        config = self.config
        common = {
            "seed": 2 * self.seed + 1,
            "dtype": self.dtype_policy,
            "name": "discriminator",
            "batch_norm": config.discriminator_batch_norm,
            "spectral_norm": config.spectral_norm,
            "dropout": config.dropout,
            # A difference of two outputs has no gradient by a bias that they share.
            "output_bias": not self._loss.penalized,
        }
        *sides, depth = config.image_shape
        if config.architecture == "convolutional":
            shape = (*sides, depth + config.num_classes)
            return convolutional_discriminator(shape, config.channels, config.units, **common)
        flat = (math.prod(config.image_shape) + config.num_classes,)
        shape = flat if config.num_classes else config.image_shape
        return dense_network(
            shape, config.discriminator_hidden, (1,), activation="leaky_relu", layer=Dense, **common
        )

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.config.latent_dim

    # --- the two networks ------------------------------------------------------------------------------

    def generate(
        self, latents: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """G(z): events `[B, *event_shape]` of latents `[B, D]`, conditional: of one-hot labels `[B, K]`."""
        inputs = latents if labels is None else append_labels(latents, labels)
        return tf.cast(self.generator(inputs, training=training), self.likelihood_dtype)

    def discriminate(
        self, events: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Logits `[B]` of events `[B, *event_shape]`, conditional: with one-hot labels `[B, K]`."""
        if labels is not None:
            events = append_labels(events, labels, self._flat)
        return tf.cast(self.discriminator(events, training=training), self.likelihood_dtype)[:, 0]

    def score(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """The discriminator's score of `uint8` images, `float32[B]`: a probability, or a critic's output."""
        events = self.preprocessing.likely_events(tf.convert_to_tensor(images), self.likelihood_dtype)
        return tf.cast(self._score(self.discriminate(events, self.one_hot(labels))), tf.float32)

    def _score(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits) if self._loss.classifies else logits

    # --- training --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The generator's move, where it is its turn, and the discriminator's."""
        real, labels = self._real(data, noise := self.training_noise())
        if self.config.critic_steps == 1:
            fake = self._generator_move(tf.shape(real)[0], labels, noise)
        else:
            turn = (self.step.value + 1) % self.config.critic_steps == 0
            fake = tf.cond(
                turn,
                lambda: self._generator_move(tf.shape(real)[0], labels, noise),
                lambda: self._draw(tf.shape(real)[0], labels, noise, training=True),
            )
        fake = tf.stop_gradient(fake)
        variables, optimizer = self.discriminator.trainable_variables, self.discriminator_optimizer
        with tf.GradientTape() as tape:
            values = self._discriminator_values(real, fake, labels, noise, training=True)
            loss = self.gradient_loss(tf.reduce_mean(values["discriminator_loss"]), optimizer)
        _move(optimizer, tape.gradient(loss, variables), variables, after=loss)
        self.step.assign_add(1)
        return self._updated_logs(values)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Both losses and scores of a batch, with as many images of the generator as it is in the game."""
        real, labels = self._real(data, noise := self.next_test_noise())
        fake = self._draw(tf.shape(real)[0], labels, noise, training=False)
        return self._updated_logs(self._discriminator_values(real, fake, labels, noise, training=False))

    def _real(self, data: Any, noise: Noise) -> tuple[tf.Tensor, tf.Tensor | None]:
        images, labels = self.unpack(data)
        return self.preprocessing.events(images, noise, self.likelihood_dtype), self.one_hot(labels)

    def _draw(self, batch: tf.Tensor, labels: tf.Tensor | None, noise: Noise, training: bool) -> tf.Tensor:
        latents = noise.normal(batch, (self.latent_dim,), random.LATENTS, self.likelihood_dtype)
        return self.generate(latents, labels, training)

    def _generator_move(self, batch: tf.Tensor, labels: tf.Tensor | None, noise: Noise) -> tf.Tensor:
        """One step of the generator; returns what it drew before it moved."""
        variables, optimizer = self.generator.trainable_variables, self.optimizer
        with tf.GradientTape() as tape:
            fake = self._draw(batch, labels, noise, training=True)
            losses = self._loss.generator(self.discriminate(fake, labels, training=True))
            loss = self.gradient_loss(tf.reduce_mean(losses), optimizer)
        _move(optimizer, tape.gradient(loss, variables), variables, after=loss)
        if self._average is not None:
            self._average.update(self.step.value // self.config.critic_steps)
        return fake

    def _discriminator_values(
        self, real: tf.Tensor, fake: tf.Tensor, labels: tf.Tensor | None, noise: Noise, training: bool
    ) -> dict[str, tf.Tensor]:
        """What is logged, `[B]` each.

        Two passes, not one over both: a discriminator with batch normalization is to see them apart, and the
        pass over the real ones need not wait for the generator.
        """
        real_logits, fake_logits = (self.discriminate(events, labels, training) for events in (real, fake))
        loss = self._loss.discriminator(real_logits, fake_logits, self.config.label_smoothing)
        if self._loss.penalized:
            weights = noise.uniform(tf.shape(real)[0], (), random.PENALTY, self.likelihood_dtype)
            loss += self.config.gradient_penalty * gradient_penalty(
                lambda events: self.discriminate(events, labels, training), real, fake, weights
            )
        return {
            "generator_loss": self._loss.generator(fake_logits),
            "discriminator_loss": loss,
            "real_score": self._score(real_logits),
            "fake_score": self._score(fake_logits),
        }

    def _updated_logs(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, metric in self._means.items():
            metric.update_state(values[name])
        return self.logs()

    # --- two optimizers --------------------------------------------------------------------------------

    def compile(  # type: ignore[override]
        self,
        generator_optimizer: Any = "adam",
        discriminator_optimizer: Any = "adam",
        *,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training; see `GenerativeModel.compile`.

        Args:
            generator_optimizer: also `self.optimizer`, which Keras's callbacks look at.
            discriminator_optimizer: another one.
            jit_compile: whether to compile by XLA.
            **kwargs: for `keras.Model.compile`.

        Raises:
            ValueError: there is one `optimizer`, one object stands for both, or several replicas are to make
                critic steps.
        """
        if "optimizer" in kwargs:
            raise ValueError(
                "a GAN has two optimizers: compile(generator_optimizer=…, discriminator_optimizer=…)"
            )
        if self.config.critic_steps > 1 and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            # TensorFlow cannot synchronize replicas inside the branch of a step that moves the generator.
            raise UsageError(
                f"critic_steps = {self.config.critic_steps} cannot be trained over several replicas; "
                "use 1, or a single device"
            )
        given = keras.optimizers.get(discriminator_optimizer)
        if given is generator_optimizer:
            raise ValueError("the two optimizers are one object; each network needs its own")
        scaled = self.dtype_policy.name == "mixed_float16" and kwargs.get("auto_scale_loss", True)
        if scaled and not isinstance(given, keras.optimizers.LossScaleOptimizer):
            self.discriminator_optimizer = keras.optimizers.LossScaleOptimizer(given)
        else:
            self.discriminator_optimizer = given
        self._given_optimizer = keras.saving.serialize_keras_object(given)
        super().compile(optimizer=generator_optimizer, jit_compile=jit_compile, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`; part of `keras.Model.save`."""
        config = super().get_compile_config()
        if not config:  # not compiled
            return config
        return {
            "generator_optimizer": config.pop("optimizer"),
            "discriminator_optimizer": self._given_optimizer,
            **config,
        }

    def build_optimizers(self) -> None:
        """Makes the slots of both."""
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def generator_optimizer(self) -> keras.optimizers.Optimizer:
        """The generator's, which Keras knows as `optimizer`."""
        return self.optimizer

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """Both, by the names that `compile` gives them."""
        if getattr(self, "optimizer", None) is None:
            return {}
        return {
            "generator_optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def default_optimizers(
        self, learning_rate: float, schedule: Schedule | None = None
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Adam for each, with the configuration's first decay; the rate is the generator's."""
        config = self.config
        rarely = schedule and schedule.every(config.critic_steps)
        return {
            "generator_optimizer": make_adam(learning_rate, config.beta_1, rarely),
            "discriminator_optimizer": make_adam(
                learning_rate * config.discriminator_rate, config.beta_1, schedule
            ),
        }

    # --- use -------------------------------------------------------------------------------------------

    def sampled_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """`generate` by the moving average of the generator where there is one."""
        with self._average.scope() if self._average else contextlib.nullcontext():
            return self.generate(latents, labels)

    def decode(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """G(z), `float32[B, H, W, C]` in 0…1; by the moving average of the generator where there is one."""
        latents, one_hot = tf.cast(latents, self.likelihood_dtype), self.one_hot(labels)
        events = not_empty(self.sampled_events, latents, *([] if one_hot is None else [one_hot]))
        return self.preprocessing.images(events)

    def call(
        self, images: tf.Tensor, labels: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """The discriminator's scores of `uint8` images."""
        return self.score(images, labels)

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """Those of every family, and the discriminator's scores of real images and of samples."""
        one_hot = self.one_hot(labels)
        latents = tf.cast(self.latents(random.image_seeds(0, len(images))), self.likelihood_dtype)
        fake = self.sampled_events(latents, one_hot)
        scores = {
            "real": self.score(images, labels).numpy(),
            "generated": self._score(self.discriminate(fake, one_hot)).numpy(),
        }
        label = "discriminator's score" + (", probability of being real" if self._loss.classifies else "")
        shown = figures.histograms(scores, label, "scores of held-out and of generated images")
        return {**super().pictures(images, labels), "scores": shown}


def _move(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any], variables: list[Any], after: tf.Tensor
) -> None:
    """Applies gradients once the loss is known, and so has read all weights that it is made of.

    TensorFlow's graph optimizer drops the edges by which an update waits for the reads of its variable. The
    gradient mostly needs these reads itself, but that of a linear loss by the last layer does not: a critic's
    pass could then see that layer already moved.
    """
    with tf.control_dependencies([after]):
        optimizer.apply(gradients, variables)
