"""The generative adversarial network."""

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfgen import figures, random
from tfgen.errors import UsageError
from tfgen.models.gan.config import GANConfig
from tfgen.models.gan.losses import LOSSES, gradient_penalty
from tfgen.models.gan.networks import build_discriminator, build_generator
from tfgen.models.generative import Curve, GenerativeModel
from tfgen.models.preprocessing import Noise, Preprocessing, SymmetricPixels
from tfgen.nn.blocks import append_labels, build_network
from tfgen.nn.optimizers import Schedule, make_adam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The stream of the gradient penalty's interpolation weights; see `tfgen.random`.
PENALTY = 0x7065


@keras.saving.register_keras_serializable(package="tfgen")
class GAN(GenerativeModel):
    """A generative adversarial network (Goodfellow et al. 2014, "Generative adversarial nets").

    Two networks play against each other, each with its own optimizer. In a step the generator moves
    first, then the discriminator, on real images and on those that the generator drew before it
    moved. With n `critic_steps`, each step moves the discriminator and every n-th step the
    generator.

    Logs `generator_loss` and `discriminator_loss` (with the gradient penalty), `real_score` and
    `fake_score`. A score is the mean probability of being real that the discriminator gives to real
    or to generated images; with the losses of a critic (`least_squares`, `hinge`, `wasserstein`) it
    is the critic's mean output.

    Args:
        config: the configuration; None takes the defaults.
        seed: of the initial weights and of all noise.
        generator: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`; None builds one.
        discriminator: a layer `[B, *event_shape] → [B, 1]`, logits; None builds one. In a
            conditional model (Mirza & Osindero 2014), its input's last axis is longer by
            `num_classes`.
        preprocessing: turns bytes into events; None takes `SymmetricPixels()`. With `Identity()`,
            `image_shape` may be any event shape.
        name: of the model.
        dtype: policy of the networks.
        **fields: fields of `GANConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range (a `ValueError`).

    Example:
        >>> gan = GAN()
        >>> gan.compile(**gan.default_optimizers(2e-4))
        >>> gan.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> gan.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = GANConfig
    config: GANConfig
    logged = ("generator_loss", "discriminator_loss", "real_score", "fake_score")
    curves = (
        Curve("loss [nats; of a critic: its own unit]", logged[:2]),
        Curve("mean score of the discriminator", logged[2:]),
    )
    # Neither loss tells which generator is better.
    monitor = None

    def __init__(
        self,
        config: GANConfig | None = None,
        *,
        seed: int = 0,
        generator: keras.Layer | None = None,
        discriminator: keras.Layer | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = GANConfig.build(config, fields)
        if generator is None or discriminator is None:
            config.check_architecture()
        own_parts = {
            "generator": generator,
            "discriminator": discriminator,
            "preprocessing": preprocessing,
        }
        super().__init__(
            config, preprocessing or SymmetricPixels(), seed, own_parts, name=name, dtype=dtype
        )
        self._loss = LOSSES[config.loss]
        self.generator = generator or build_generator(config, seed, self.dtype_policy)
        build_network(self.generator, (config.latent_dim + config.num_classes,))
        # A difference of two outputs has no gradient by a bias that they share.
        self.discriminator = discriminator or build_discriminator(
            config, seed, self.dtype_policy, output_bias=not self._loss.penalized
        )
        *sides, depth = config.image_shape
        build_network(self.discriminator, (*sides, depth + config.num_classes))
        # A dense network of ours takes flat events, so that a label is not appended at each pixel.
        self._flat = (
            discriminator is None and config.architecture == "dense" and config.num_classes > 0
        )
        # The moments of batch normalization are no trainable variables, and go with the weights.
        averaged = [*self.generator.trainable_variables, *self.generator.non_trainable_variables]
        self.track_average(averaged, config.ema_decay)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.config.latent_dim

    # --- the two networks
    # ------------------------------------------------------------------------------

    def generate(
        self, latents: tf.Tensor, labels: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """G(z): events `[B, *event_shape]` of latents `[B, D]`, conditional: of one-hot labels `[B,
        K]`."""
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
        """The discriminator's score of `uint8` images, `float32[B]`: a probability, or a critic's
        output."""
        events = self.preprocessing.likely_events(
            tf.convert_to_tensor(images), self.likelihood_dtype
        )
        return tf.cast(self._score(self.discriminate(events, self.one_hot(labels))), tf.float32)

    def _score(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits) if self._loss.classifies else logits

    # --- training
    # --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The generator's move, where it is its turn, and the discriminator's."""
        real, labels = self._real(data, noise := self.training_noise())
        fake = tf.stop_gradient(self._generator_turn(tf.shape(real)[0], labels, noise))
        with tf.GradientTape() as tape:
            values = self.game_values(real, fake, labels, noise, training=True)
            loss = tf.reduce_mean(values["discriminator_loss"])
        self.descend(
            loss, tape, self.discriminator_optimizer, self.discriminator.trainable_variables
        )
        self.count_step()
        return self.log(**values)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Both losses and scores of a batch, by the generator that plays, not by its EMA."""
        real, labels = self._real(data, noise := self.next_test_noise())
        fake = self._draw(tf.shape(real)[0], labels, noise, training=False)
        return self.log(**self.game_values(real, fake, labels, noise, training=False))

    def game_values(
        self,
        real: tf.Tensor,
        fake: tf.Tensor,
        labels: tf.Tensor | None,
        noise: Noise,
        training: bool,
    ) -> dict[str, tf.Tensor]:
        """Both losses and both scores of real and generated events, `[B]` each.

        The discriminator sees real and generated events in two passes: with batch normalization it
        must see them apart, and the pass over the real ones need not wait for the generator.
        """
        real_logits, fake_logits = (
            self.discriminate(events, labels, training) for events in (real, fake)
        )
        loss = self._loss.discriminator(real_logits, fake_logits, self.config.label_smoothing)
        if self._loss.penalized:
            weights = noise.uniform(tf.shape(real)[0], (), PENALTY, self.likelihood_dtype)
            loss += self.config.gradient_penalty * gradient_penalty(
                lambda events: self.discriminate(events, labels, training), real, fake, weights
            )
        return {
            "generator_loss": self._loss.generator(fake_logits),
            "discriminator_loss": loss,
            "real_score": self._score(real_logits),
            "fake_score": self._score(fake_logits),
        }

    def _generator_turn(
        self, batch: tf.Tensor, labels: tf.Tensor | None, noise: Noise
    ) -> tf.Tensor:
        """Generated events; every `critic_steps`-th step the generator then moves."""
        if self.config.critic_steps == 1:
            return self._move_generator(batch, labels, noise)
        return tf.cond(
            (self.step.value + 1) % self.config.critic_steps == 0,
            lambda: self._move_generator(batch, labels, noise),
            lambda: self._draw(batch, labels, noise, training=True),
        )

    def _move_generator(
        self, batch: tf.Tensor, labels: tf.Tensor | None, noise: Noise
    ) -> tf.Tensor:
        """One step of the generator; returns what it drew before it moved."""
        with tf.GradientTape() as tape:
            fake = self._draw(batch, labels, noise, training=True)
            losses = self._loss.generator(self.discriminate(fake, labels, training=True))
            loss = tf.reduce_mean(losses)
        self.descend(loss, tape, self.optimizer, self.generator.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value // self.config.critic_steps)
        return fake

    def _draw(
        self, batch: tf.Tensor, labels: tf.Tensor | None, noise: Noise, training: bool
    ) -> tf.Tensor:
        latents = noise.normal(batch, (self.latent_dim,), random.LATENTS, self.likelihood_dtype)
        return self.generate(latents, labels, training)

    def _real(self, data: Any, noise: Noise) -> tuple[tf.Tensor, tf.Tensor | None]:
        images, labels = self.unpack(data)
        return self.preprocessing.events(images, noise, self.likelihood_dtype), self.one_hot(labels)

    # --- two optimizers
    # --------------------------------------------------------------------------------

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
            generator_optimizer: becomes `self.optimizer` too, which Keras's callbacks use.
            discriminator_optimizer: another object.
            jit_compile: whether to compile by XLA.
            **kwargs: for `keras.Model.compile`.

        Raises:
            ValueError: there is one `optimizer`, one object stands for both, or several replicas
                are to make critic steps.
        """
        if "optimizer" in kwargs:
            raise ValueError(
                "a GAN has two optimizers: compile(generator_optimizer=…, discriminator_optimizer=…)"
            )
        if self.config.critic_steps > 1 and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            # TensorFlow cannot synchronize replicas inside the branch of a step that moves the
            # generator.
            raise UsageError(
                f"critic_steps = {self.config.critic_steps} cannot be trained over several replicas; "
                "use 1, or a single device"
            )
        optimizer = keras.optimizers.get(discriminator_optimizer)
        if optimizer is generator_optimizer:
            raise ValueError("the two optimizers are one object; each network needs its own")
        # As Keras saves the other one: without the wrapper.
        self._discriminator_config = keras.saving.serialize_keras_object(optimizer)
        scaled = self.dtype_policy.name == "mixed_float16" and kwargs.get("auto_scale_loss", True)
        if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.discriminator_optimizer = optimizer
        super().compile(optimizer=generator_optimizer, jit_compile=jit_compile, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`; part of `keras.Model.save`."""
        config = super().get_compile_config()
        if not config:  # not compiled
            return config
        return {
            "generator_optimizer": config.pop("optimizer"),
            "discriminator_optimizer": self._discriminator_config,
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

    # --- use
    # -------------------------------------------------------------------------------------------

    def decode_events(self, latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """G(z), `[B, *event_shape]`."""
        return self.generate(latents, labels)

    def call(
        self, images: tf.Tensor, labels: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """The discriminator's scores of `uint8` images."""
        return self.score(images, labels)

    def pictures(self, images: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, "Figure"]:
        """Those of every family, and the discriminator's scores of real images and of samples."""
        one_hot = self.one_hot(labels)
        latents = tf.cast(self.latents(random.image_seeds(0, len(images))), self.likelihood_dtype)
        fake = self.judged(self.generate, latents, one_hot)
        scores = {
            "real": self.score(images, labels).numpy(),
            "generated": self._score(self.discriminate(fake, one_hot)).numpy(),
        }
        label = "discriminator's score" + (
            ", probability of being real" if self._loss.classifies else ""
        )
        shown = figures.histograms(scores, label, "scores of held-out and of generated images")
        return {**super().pictures(images, labels), "scores": shown}
