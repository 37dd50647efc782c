"""The generative adversarial network."""

import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfgen import figures, random
from tfgen.errors import UsageError
from tfgen.models.base import Curve
from tfgen.models.gan.augmentation import augment
from tfgen.models.gan.config import GANConfig
from tfgen.models.gan.losses import LOSSES, gradient_penalty, squared_slope
from tfgen.models.gan.networks import build_discriminator, build_generator
from tfgen.models.generative import SAMPLE_DISTANCE, GenerativeModel
from tfgen.models.preprocessing import Labels, Preprocessing, SymmetricPixels
from tfgen.nn import replicas
from tfgen.nn.average import moving_statistics, trained_weights
from tfgen.nn.blocks import append_labels, build_network
from tfgen.nn.optimizers import Schedule, make_adam
from tfgen.settings.model import check_image_architecture

# The stream of the gradient penalty's interpolation weights. "pe" in ASCII; see `tfgen.random`.
PENALTY = 0x7065


class Round(NamedTuple):
    """The data and the noise of a step, with which both networks play.

    Attributes:
        real: events, `[B, *event_shape]`.
        noise: draws the latents, and in training augments the events.
        labels: one-hot, `[B, K]`, of real and of generated events; None without labels.
        weights: sample weights of the packs of real events; None: all 1.
        training: whether the networks train.
    """

    real: tf.Tensor
    noise: random.BatchNoise
    labels: Labels = None
    weights: tf.Tensor | None = None
    training: bool = False


@keras.saving.register_keras_serializable(package="tfgen")
class GAN(GenerativeModel):
    """A generative adversarial network.

    Goodfellow et al. 2014, "Generative adversarial nets".

    Two networks play against each other, each with its own optimizer. In a training step the
    generator moves first. The discriminator moves second, on real images and on those that the
    generator drew before its move. With n `critic_steps`, the discriminator moves in every step and
    the generator in every n-th.

    Logs `generator_loss` and `discriminator_loss` (with the gradient penalties), `real_score` and
    `fake_score`. A score is the mean probability of being real that the discriminator assigns to
    real or to generated images. With the losses of a critic (`least_squares`, `hinge`,
    `wasserstein`, `relativistic`) it is the critic's mean output. Sample weights are those of real
    images: they multiply the real images' term of the discriminator's loss, and weigh `real_score`.

    With `pack` M above 1, the discriminator judges M images together, all real or all generated:
    consecutive images of a batch, or of a replica's part of it, with their channels side by side;
    see the function `pack`. Losses, penalties and scores are then those of packs, logged
    values are means over packs, and the weight of a pack is the product of those of its images.

    Args:
        config: the configuration; None takes the defaults.
        seed: seed of the initial weights and of all noise.
        generator: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`; None builds one.
        discriminator: a layer `[B, *event_shape] → [B, 1]`, logits; None builds one. With `pack` M,
            its input's last axis is M times as long. In a conditional model (Mirza & Osindero
            2014), its input's last axis is longer by M · `num_classes`, or, with
            `conditioning="projection"`, its output's last axis.
        preprocessing: turns bytes into events; None takes `SymmetricPixels()`. With `Identity()`,
            `image_shape` may be any event shape.
        name: name of the model.
        dtype: dtype policy of the networks.
        **fields: fields of `GANConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range, or a network does not map the
            shapes above (a `ValueError`).

    Examples:
        >>> gan = GAN()
        >>> gan.compile(**gan.default_optimizers(2e-4))
        >>> gan.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> gan.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = GANConfig
    config: GANConfig
    logged = ("generator_loss", "discriminator_loss", "real_score", "fake_score")
    curves = (
        Curve("loss [nats; a critic has no unit]", logged[:2]),
        Curve("mean score of the discriminator", logged[2:]),
    )
    # Neither loss says which generator is better.
    monitor = SAMPLE_DISTANCE

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
            check_image_architecture(config.architecture, config.image_shape)
        networks = {"generator": generator, "discriminator": discriminator}
        own_parts = {**networks, "preprocessing": preprocessing}
        bytes_to_events = preprocessing or SymmetricPixels()
        super().__init__(config, bytes_to_events, seed, own_parts, name=name, dtype=dtype)
        self._loss = LOSSES[config.loss]
        self.generator = generator or build_generator(config, seed, self.dtype_policy)
        if generator is not None:
            latents = (config.latent_dim + config.num_classes,)
            build_network(generator, latents, config.image_shape, "generator")
        # A loss of differences of outputs has no gradient by a bias that all outputs share.
        self.discriminator = discriminator or build_discriminator(
            config, seed, self.dtype_policy, not (self._loss.penalized or self._loss.relative)
        )
        if discriminator is not None:
            outputs = (1 + config.projected_classes,)
            build_network(discriminator, config.judged_shape, outputs, "discriminator")
        # Our dense discriminator takes flat events, to which a label is appended once.
        is_ours = discriminator is None and config.architecture == "dense"
        self._flat = is_ours and config.num_classes > 0
        # The moments of batch normalization are not trainable, but belong to the weights.
        averaged = [*trained_weights(self.generator), *moving_statistics(self.generator)]
        self.track_average(averaged, config.ema_decay)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return self.config.latent_dim

    # --- the two networks ---------------------------------------------------------------

    def generate(
        self, latents: tf.Tensor, labels: Labels = None, training: bool = False
    ) -> tf.Tensor:
        """G(z), events `[B, *event_shape]`.

        Args:
            latents: `[B, D]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: whether batch normalization uses the batch's moments.
        """
        inputs = latents if labels is None else append_labels(latents, labels)
        return tf.cast(self.generator(inputs, training=training), self.likelihood_dtype)

    def discriminate(
        self, events: tf.Tensor, labels: Labels = None, training: bool = False
    ) -> tf.Tensor:
        """The discriminator's logits, `[B]`, of what `pack` makes of events and labels.

        With `conditioning="projection"`, a network with the outputs (ψ, w₁, …, w_K) gives an event
        of class k the logit ψ + w_k (Miyato & Koyama 2018, "cGANs with projection discriminator").
        As the last layer is linear, w_k is the inner product of the features and an embedding of k.
        With `pack` M, there are w₁, …, w_K for each of the M places, and a logit has M such terms.

        Args:
            events: `[B, *event_shape]`, or packs of them.
            labels: one-hot, `[B, K]`, or packs of them, for a conditional model.
            training: whether dropout is on and batch normalization uses the batch's moments.
        """
        if labels is not None and self.config.appended_classes:
            events = append_labels(events, labels, self._flat)
        outputs = tf.cast(self.discriminator(events, training=training), self.likelihood_dtype)
        if labels is None or not self.config.projected_classes:
            return outputs[:, 0]
        return outputs[:, 0] + tf.reduce_sum(outputs[:, 1:] * labels, axis=1)

    def score(self, images: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """The discriminator's score, `float32[B]`: a probability, or a critic's output.

        With `pack` above 1, an image has the score of its pack.

        Args:
            images: `uint8[B, H, W, C]`.
            labels: `int[B]`, for a conditional model.
        """
        images = tf.convert_to_tensor(images)
        events = self.preprocessing.likely_events(images, self.likelihood_dtype)
        return self._event_scores(events, self.one_hot(labels, images))

    def pack(self, batch: tf.Tensor | None) -> tf.Tensor | None:
        """Packs a batch `[B, …]` of events or one-hot labels: M = `config.pack` rows in one."""
        return None if batch is None else pack(batch, self.config.pack)

    def _event_scores(self, events: tf.Tensor, labels: Labels) -> tf.Tensor:
        logits = self.discriminate(self.pack(events), self.pack(labels))
        scores = tf.repeat(self._score(logits), self.config.pack)
        return tf.cast(scores[: tf.shape(events)[0]], tf.float32)

    def _score(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits) if self._loss.classifies else logits

    # --- two optimizers -----------------------------------------------------------------

    def default_optimizers(
        self, learning_rate: float, schedule: Schedule | None = None
    ) -> dict[str, keras.optimizers.Optimizer]:
        """Adam for each network, with the configuration's `beta_1` and `beta_2`.

        Args:
            learning_rate: peak learning rate of the generator; `discriminator_rate` times as much
                for the discriminator.
            schedule: the schedule in steps of the discriminator. The generator, which moves in
                every `critic_steps`-th step, gets the same schedule in fewer steps.
        """
        config = self.config
        adam = functools.partial(make_adam, beta_1=config.beta_1, beta_2=config.beta_2)
        generator_schedule = schedule and schedule.every(config.critic_steps)
        rate = learning_rate * config.discriminator_rate
        generator = adam(learning_rate, schedule=generator_schedule)
        return _by_name(generator, adam(rate, schedule=schedule))

    def compile(  # type: ignore[override]
        self,
        generator_optimizer: Any = "adam",
        discriminator_optimizer: Any = "adam",
        *,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configures training; see `ImageModel.compile`.

        Args:
            generator_optimizer: also becomes `self.optimizer`, which Keras's callbacks use.
            discriminator_optimizer: a different optimizer object.
            jit_compile: whether to compile by XLA.
            **kwargs: further arguments of `keras.Model.compile`.

        Raises:
            UsageError: `optimizer` is passed, or both optimizers are the same object.
        """
        if "optimizer" in kwargs:
            arguments = "generator_optimizer=…, discriminator_optimizer=…"
            raise UsageError(f"a GAN has two optimizers, not one: pass compile({arguments})")
        optimizer = keras.optimizers.get(discriminator_optimizer)
        if optimizer is generator_optimizer:
            raise UsageError("both networks got the same optimizer; each needs its own object")
        # Saved without the wrapper, as Keras saves the generator's.
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
        return _by_name(config.pop("optimizer"), self._discriminator_config) | config

    def build_optimizers(self) -> None:
        """Creates the slots of both optimizers."""
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """Both optimizers by the names of `compile`; empty before `compile`."""
        if getattr(self, "optimizer", None) is None:
            return {}
        return _by_name(self.optimizer, self.discriminator_optimizer)

    def after_fit(self) -> None:
        """Ends training of the discriminator, as Keras ends that of the generator."""
        optimizer = self.discriminator_optimizer
        if int(optimizer.iterations.numpy()):  # else `use_ema` has no average
            optimizer.finalize_variable_values(self.discriminator.trainable_variables)

    # --- training -----------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The generator's move, in its turn, then the discriminator's."""
        game = self._round(data, self.training_noise(), training=True)
        fake = tf.stop_gradient(self._generator_turn(game))
        values, loss = self._discriminator_turn(game, fake)
        self.count_step(loss)
        return self._log_values(game, **values)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Both losses and scores of a batch, by the generator itself, not its EMA.

        Its opponent was trained against it, so that they compare with those of training.
        """
        game = self._round(data, self.next_test_noise(), training=False)
        return self._log_values(game, **self.game_values(game, self._draw(game)))

    def game_values(self, game: Round, fake: tf.Tensor, penalty: int = 1) -> dict[str, tf.Tensor]:
        """Both losses and both scores, `[B]` each; with packs, of packs.

        Args:
            game: real events, their labels and weights. The weights multiply the term of real
                events in the discriminator's loss, nothing else.
            fake: generated events, `[B, *event_shape]`.
            penalty: factor of the penalties R₁ and R₂.

        The discriminator gets real and generated events in two passes. Batch normalization needs
        separate moments for them, and the pass over real events need not wait for the generator.
        """
        config, noise, weights = self.config, game.noise, game.weights
        real = self.pack(self._augmented(game, game.real, 0))
        fake = self.pack(self._augmented(game, fake, 1))
        labels = self.pack(game.labels)
        critic = functools.partial(self.discriminate, labels=labels, training=game.training)
        real_logits, fake_logits = critic(real), critic(fake)
        smoothing = config.label_smoothing
        real_loss, fake_loss = self._loss.discriminator(real_logits, fake_logits, smoothing)
        loss = (real_loss if weights is None else weights * real_loss) + fake_loss
        if self._loss.penalized:
            between = noise.uniform(tf.shape(real)[0], (), PENALTY, self.likelihood_dtype)
            loss += config.gradient_penalty * gradient_penalty(critic, real, fake, between)
        slopes = [
            0.5 * weight * squared_slope(critic, events)
            for weight, events in ((config.r1, real), (config.r2, fake))
            if weight and penalty
        ]
        if slopes:
            loss += penalty * tf.add_n(slopes)
        return {
            "generator_loss": self._generator_loss(fake_logits, real_logits),
            "discriminator_loss": loss,
            "real_score": self._score(real_logits),
            "fake_score": self._score(fake_logits),
        }

    def _generator_loss(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None) -> tf.Tensor:
        logits = (fake_logits, real_logits) if self._loss.relative else (fake_logits,)
        return self._loss.generator(*logits)

    def _augmented(self, game: Round, events: tf.Tensor, place: int) -> tf.Tensor:
        """Events as the discriminator sees them in training; each place has its own noise."""
        names = self.config.diff_augment if game.training else ()
        return augment(events, names, game.noise.part(place)) if names else events

    def _log_values(
        self, game: Round, *, real_score: tf.Tensor, **others: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Logs the game's values; sample weights are those of real images."""
        self.accumulate(game.weights, real_score=real_score)
        present = replicas.are_present()
        if present is not None:
            present = tf.fill(tf.shape(real_score), present)
        return self.log(present, **others)

    def _generator_turn(self, game: Round) -> tf.Tensor:
        """Generated events; in every `critic_steps`-th step the generator also moves."""
        every = self.config.critic_steps
        if every == 1:
            return self._move_generator(game)
        is_due = (self.step.value + 1) % every == 0
        return replicas.cond(is_due, lambda: self._move_generator(game), lambda: self._draw(game))

    def _move_generator(self, game: Round) -> tf.Tensor:
        """One step of the generator; returns the events that it drew before the step."""

        def logits(events: tf.Tensor, place: int) -> tf.Tensor:
            seen = self.pack(self._augmented(game, events, place))
            return self.discriminate(seen, self.pack(game.labels), training=True)

        real_logits = logits(game.real, 2) if self._loss.relative else None
        with tf.GradientTape() as tape:
            fake = self._draw(game)
            losses = self._generator_loss(logits(fake, 3), real_logits)
            loss = self.reduce_loss(losses, network=self.generator)
        self.descend(loss, tape, self.optimizer, self.generator.trainable_variables)
        if self._average is not None:
            self._average.update(self.step.value // self.config.critic_steps)
        return fake

    def _discriminator_turn(
        self, game: Round, fake: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """One step of the discriminator; returns the game's values before it, and the loss.

        In every n-th step, R₁ and R₂ are n times as strong, n = `penalty_every`, else 0 (Karras et
        al. 2020, "Analyzing and improving the image quality of StyleGAN", "lazy regularization").
        """

        def move(penalty: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            with tf.GradientTape() as tape:
                values = self.game_values(game, fake, penalty)
                losses = values["discriminator_loss"]
                loss = self.reduce_loss(losses, network=self.discriminator)
            variables = self.discriminator.trainable_variables
            self.descend(loss, tape, self.discriminator_optimizer, variables)
            return values, loss

        every = self.config.penalty_every
        if every == 1 or not (self.config.r1 or self.config.r2):
            return move(1)
        return replicas.cond(self.step.value % every == 0, lambda: move(every), lambda: move(0))

    def _draw(self, game: Round) -> tf.Tensor:
        """As many generated events as real ones."""
        size, dtype = tf.shape(game.real)[0], self.likelihood_dtype
        latents = game.noise.normal(size, (self.latent_dim,), random.LATENTS, dtype)
        return self.generate(latents, game.labels, game.training)

    def _round(self, data: Any, noise: random.BatchNoise, training: bool) -> Round:
        images, labels, weights = self.unpack(data)
        events = self.preprocessing.events(images, noise, self.likelihood_dtype)
        if weights is not None:
            weights = pack_weights(weights, self.config.pack)
        return Round(events, noise, labels, weights, training)

    # --- use ----------------------------------------------------------------------------

    def decode_events(self, latents: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """G(z), `[B, *event_shape]`."""
        return self.generate(latents, labels)

    def call(self, images: tf.Tensor, labels: Any = None, training: bool | None = None) -> Any:
        """The discriminator's scores; see `score`."""
        return self.score(images, labels)

    def pictures(self, images: tf.Tensor, labels: Labels = None) -> dict[str, "figures.Figure"]:
        """The pictures of every family, and a histogram of the discriminator's scores."""
        one_hot = self.one_hot(labels, images)
        latents = tf.cast(self.latents(random.image_seeds(0, len(images))), self.likelihood_dtype)
        fake = self.apply_averaged(self.generate, latents, one_hot)
        scores = {
            "real": self.score(images, labels).numpy(),
            "generated": self._event_scores(fake, one_hot).numpy(),
        }
        unit = ", probability of being real" if self._loss.classifies else ""
        title = "scores of held-out and of generated images"
        histograms = figures.histograms(scores, f"discriminator's score{unit}", title, "gan")
        return {**super().pictures(images, labels), "scores": histograms}


def _by_name(generator: Any, discriminator: Any) -> dict[str, Any]:
    """What belongs to each of the two optimizers, by the names of `compile`."""
    return {"generator_optimizer": generator, "discriminator_optimizer": discriminator}


def pack(batch: tf.Tensor, count: int) -> tf.Tensor:
    """Puts consecutive rows of a batch side by side, along the last axis.

    Lin, Khetan, Fanti & Oh 2018, "PacGAN: the power of two samples in generative adversarial
    networks". A generator that draws too few modes repeats itself within a pack more often than
    real images do.

    If B is not divisible by M, rows from the start of the batch complete the last pack, each as
    often as is needed. Real and generated batches of one size thus repeat the same rows.

    Args:
        batch: `[B, …, C]`.
        count: M, the number of rows in a pack.

    Returns:
        `[⌈B/M⌉, …, M·C]`.
    """
    if count == 1:
        return batch
    size = batch.shape[0] or tf.shape(batch)[0]
    completion = tf.gather(batch, tf.range(-size % count) % size)
    *sides, depth = batch.shape[1:]
    rows = tf.reshape(tf.concat([batch, completion], axis=0), [-1, count, *sides, depth])
    places = range(2, 2 + len(sides))
    packs = tf.transpose(rows, [0, *places, 1, 2 + len(sides)])
    return tf.reshape(packs, [-1, *sides, count * depth])


def pack_weights(weights: tf.Tensor, count: int) -> tf.Tensor:
    """The sample weights of packs: the products of those of their images.

    If each image occurred w times, a pack would occur as often as this product. A pack with an
    image of weight 0 does not count.

    Args:
        weights: `[B]`.
        count: M, the number of images in a pack.

    Returns:
        `[⌈B/M⌉]`.
    """
    return weights if count == 1 else tf.reduce_prod(pack(weights[:, None], count), axis=1)
