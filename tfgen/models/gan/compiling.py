"""Two optimizers in one Keras model: one for each player of a game."""

from typing import Any

import keras

from tfgen.models.gan.config import GANConfig
from tfgen.models.generative import GenerativeModel
from tfgen.nn.optimizers import Schedule, make_adam


class TwoPlayerModel(GenerativeModel):
    """The part of a GAN that creates, compiles, saves and finalizes its two optimizers."""

    config: GANConfig
    generator: keras.Layer
    discriminator: keras.Layer

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
        generator_schedule = schedule and schedule.every(config.critic_steps)
        return {
            "generator_optimizer": make_adam(
                learning_rate, config.beta_1, generator_schedule, config.beta_2
            ),
            "discriminator_optimizer": make_adam(
                learning_rate * config.discriminator_rate, config.beta_1, schedule, config.beta_2
            ),
        }

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
            ValueError: `optimizer` is passed, or both optimizers are the same object.
        """
        if "optimizer" in kwargs:
            raise ValueError(
                "a GAN has two optimizers, not one: pass compile(generator_optimizer=…, "
                "discriminator_optimizer=…)"
            )
        optimizer = keras.optimizers.get(discriminator_optimizer)
        if optimizer is generator_optimizer:
            raise ValueError(
                "both networks got the same optimizer object; each network needs its own"
            )
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
        return {
            "generator_optimizer": config.pop("optimizer"),
            "discriminator_optimizer": self._discriminator_config,
            **config,
        }

    def build_optimizers(self) -> None:
        """Creates the slots of both optimizers."""
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def generator_optimizer(self) -> keras.optimizers.Optimizer:
        """The generator's optimizer, which Keras calls `optimizer`."""
        return self.optimizer

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """Both optimizers by the names of `compile`; empty before `compile`."""
        if getattr(self, "optimizer", None) is None:
            return {}
        return {
            "generator_optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`keras.Model.fit`; at its end, `use_ema` of both optimizers takes effect.

        Keras itself overwrites the weights of the generator alone by their averages.
        """
        finalize = keras.callbacks.LambdaCallback(on_train_end=lambda _: self._finalize())
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(finalize)
        else:
            # Before the callbacks of the caller, as Keras does.
            callbacks = [finalize, *keras.tree.flatten(callbacks or [])]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, *args, **kwargs)

    def _finalize(self) -> None:
        """Ends training of the discriminator, as Keras ends that of the generator."""
        optimizer = self.discriminator_optimizer
        if int(optimizer.iterations.numpy()):  # else there is no average
            optimizer.finalize_variable_values(self.discriminator.trainable_variables)
