"""The variational autoencoder."""

import functools
from typing import Any

import keras
import tensorflow as tf

from tfgen.errors import UsageError
from tfgen.models.base import Curve, Signatures
from tfgen.models.generative import BYTES, Density, GenerativeModel
from tfgen.models.preprocessing import Labels, Noise, Preprocessing
from tfgen.models.vae import likelihoods
from tfgen.models.vae.bounds import POSTERIOR, Distribution, Draws, NormalPosterior, Terms, tfd
from tfgen.models.vae.config import VAEConfig
from tfgen.models.vae.hierarchy import TopDown, TopDownPosterior
from tfgen.models.vae.networks import build_decoder, build_encoder
from tfgen.nn.average import moving_statistics, trained_weights
from tfgen.nn.blocks import append_labels, build_network
from tfgen.settings.model import check_image_architecture

# Keeps log σ finite where the softplus underflows.
_MIN_STDDEV = 1e-7


@keras.saving.register_keras_serializable(package="tfgen")
class VAE(GenerativeModel):
    """A variational autoencoder.

    Kingma & Welling 2013, "Auto-encoding variational Bayes"; Doersch 2016, "Tutorial on variational
    autoencoders". With `architecture="hierarchical"`, see `tfgen.models.vae.hierarchy`: z is the
    noise of all levels of latents, and q(z|x) is normal level by level.

    The posterior q(z|x) is a diagonal normal with a softplus scale, the prior p(z) is standard
    normal, and the likelihood p(x|z) is a product over pixels. Training maximizes a bound on log
    p(x) by reparameterized samples: the ELBO with its KL in closed form, or with `objective="iwae"`
    the importance-weighted bound (Burda et al. 2015). Logs `loss` = −bound, and the terms of the
    ELBO, `reconstruction` = −E_q[log p(x|z)] and `kl`, in nats, summed over the image and averaged
    over images. With `likelihood="logistic_mixture"`, which is of bytes, it also logs
    `bits_per_dim` = `loss` / (H·W·C·ln 2).

    In the gradient, the KL has the weight `beta` (Higgins et al. 2017, "beta-VAE"), which grows
    from 0 in the first `kl_warmup_steps` (Sønderby et al. 2016, "Ladder variational autoencoders").
    An image's KL of a level below `free_bits` has no gradient; Kingma et al. 2016 bound the mean of
    the batch instead. The bound itself is logged.
    With `ema_decay`, evaluation and sampling use the EMA of the weights. Metrics passed to
    `compile` compare images in 0…1 with their reconstructions.

    `encode` gives the posterior's mean; see `posterior_moments`. `log_prob` gives the
    importance-weighted bound; a draw has 64 importance samples.

    Args:
        config: the configuration; None takes the defaults.
        seed: seed of the initial weights and of all noise.
        encoder: a layer `[B, *event_shape] → [B, 2·latent_dim]`, mean and scale before softplus;
            None builds one. In a conditional model, its input's last axis is longer by
            `num_classes`.
        decoder: a layer `[B, latent_dim (+ num_classes)] → [B, *event_shape]`, the likelihood's
            logits or means; None builds one. A hierarchical model takes neither encoder nor
            decoder. For `logistic_mixture`, the last axis has
            (1 + 2 C + C (C − 1) / 2) K numbers, for C channels and K = `mixtures`; see
            `LogisticMixture`.
        preprocessing: turns bytes into events; None takes `Pixels(binarization)`, and
            `SymmetricPixels()` for `logistic_mixture`. With `Identity()`, `image_shape` may be any
            event shape.
        name: name of the model.
        dtype: dtype policy of the networks.
        **fields: fields of `VAEConfig`, which replace those of `config`.

    Raises:
        tfgen.errors.UsageError: an argument is out of its range, or a network does not map the
            shapes above (a `ValueError`).

    Examples:
        >>> vae = VAE(latent_dim=2)
        >>> vae.compile(optimizer="adam")
        >>> vae.fit(images, epochs=1)  # uint8[N, 28, 28, 1]
        >>> vae.sample(n=25, seed=0)  # float32[25, 28, 28, 1]
    """

    Config = VAEConfig
    config: VAEConfig
    density: Density = "latent"
    logged: tuple[str, ...] = ("loss", "reconstruction", "kl")
    curves: tuple[Curve, ...] = (Curve("negative bound and the parts of the ELBO [nats]", logged),)

    def __init__(
        self,
        config: VAEConfig | None = None,
        *,
        seed: int = 0,
        encoder: keras.Layer | None = None,
        decoder: keras.Layer | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | None = None,
        dtype: Any = None,
        **fields: Any,
    ):
        config = VAEConfig.build(config, fields)
        pixels = likelihoods.make_preprocessing(config, preprocessing)
        if encoder is None or decoder is None:
            check_image_architecture(config.architecture, config.image_shape)
        if config.architecture == "hierarchical" and not (encoder is decoder is None):
            raise UsageError("a hierarchical VAE takes no encoder= and decoder=; leave them out")
        own_parts = {"encoder": encoder, "decoder": decoder, "preprocessing": preprocessing}
        if config.is_of_bytes:
            self.logged = (*self.logged, "bits_per_dim")
            self.curves = (*self.curves, Curve("negative bound [bits/dim]", ("bits_per_dim",)))
        super().__init__(config, pixels, seed, own_parts, name=name, dtype=dtype)
        # Our dense encoder takes flat events, to which a label is appended once, not per pixel.
        self._flat = encoder is None and config.architecture == "dense" and config.num_classes > 0
        self.encoder = encoder or build_encoder(config, seed, self.dtype_policy)
        self.decoder = decoder or build_decoder(config, seed, self.dtype_policy)
        *sides, depth = config.image_shape
        if encoder is not None:
            events = (*sides, depth + config.num_classes)
            build_network(encoder, events, (2 * config.latent_dim,), "encoder")
        if decoder is not None:
            latents = (config.latent_dim + config.num_classes,)
            build_network(decoder, latents, likelihoods.outputs_shape(config), "decoder")
        # The moments of batch normalization are not trainable, but belong to the weights.
        averaged = [*trained_weights(self), *moving_statistics(self)]
        self.track_average(averaged, config.ema_decay)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z, of all its levels."""
        return self.config.latents

    @property
    def leading_latents(self) -> int:
        """Dimensions of the level at the top, which decides the image as a whole."""
        return self.config.latent_dim

    # --- q(z|x), p(z), p(x|z) and the bounds on log p(x) ----------------------------------

    def posterior(
        self, events: tf.Tensor, labels: Labels = None, training: bool = False
    ) -> Distribution:
        """q(z|x): batch shape `[B]`, event shape `[D]`.

        Args:
            events: `[B, *event_shape]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: whether the encoder's dropout is on and its batch normalization uses the
                batch's moments.
        """
        if labels is not None:
            events = append_labels(events, labels, self._flat)
        code = self.encoder(events, training=training)
        if isinstance(self.decoder, TopDown):
            return TopDownPosterior(self.decoder, code, labels, self.likelihood_dtype)
        mean, raw_scale = tf.split(tf.cast(code, self.likelihood_dtype), 2, axis=-1)
        decode = functools.partial(self._outputs, labels=labels, training=training)
        stddev = tf.nn.softplus(raw_scale) + _MIN_STDDEV
        return NormalPosterior(mean, stddev, self.prior(), decode)

    def prior(self) -> Distribution:
        """p(z), standard normal: event shape `[D]`."""
        zeros = tf.zeros([self.latent_dim], self.likelihood_dtype)
        return tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))

    def likelihood(
        self, latents: tf.Tensor, labels: Labels = None, training: bool = False
    ) -> Distribution:
        """p(x|z): batch shape `[..., B]`, event shape `event_shape`.

        Args:
            latents: `[..., B, D]`.
            labels: one-hot, `[B, K]`, for a conditional model.
            training: as for `posterior`, for the decoder.
        """
        return self._likelihood_of(self._outputs(latents, labels, training), latents)

    def _outputs(self, latents: tf.Tensor, labels: Labels, training: bool = False) -> tf.Tensor:
        """The decoder's outputs, `[N, *outputs_shape]`, of N latents `[..., B, D]`."""
        if labels is not None:
            shape = tf.concat([tf.shape(latents)[:-1], tf.shape(labels)[-1:]], axis=0)
            latents = tf.concat([latents, tf.broadcast_to(labels, shape)], axis=-1)
        flat = tf.reshape(latents, [-1, self.latent_dim + self.num_classes])
        return self.decoder(flat, training=training)

    def _likelihood_of(self, outputs: tf.Tensor, latents: tf.Tensor) -> Distribution:
        """p(x|z) of the decoder's outputs for latents `[..., B, D]`."""
        batch = tf.shape(latents)[:-1]
        shape = tf.concat([batch, likelihoods.outputs_shape(self.config)], axis=0)
        outputs = tf.reshape(tf.cast(outputs, self.likelihood_dtype), shape)
        return likelihoods.make_likelihood(self.config, outputs)

    def sample_terms(
        self,
        events: tf.Tensor,
        noise: Noise,
        labels: Labels = None,
        samples: int | tf.Tensor = 1,
        training: bool = False,
    ) -> Terms:
        """The terms of the bounds on log p(x), from samples of z; uses the raw weights.

        Args:
            events: `[B, *event_shape]`.
            noise: the source of the samples of z.
            labels: one-hot, `[B, K]`, for a conditional model.
            samples: samples of z for each event.
            training: whether dropout is on and batch normalization uses the batch's moments.
        """
        posterior = self.posterior(events, labels, training)
        shape = (samples, self.latent_dim)
        epsilon = noise.normal(tf.shape(events)[0], shape, POSTERIOR, self.likelihood_dtype)
        epsilon = tf.transpose(epsilon, [1, 0, 2])

        def terms(epsilon: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
            draws: Draws = posterior.draw(epsilon)
            likelihood = self._likelihood_of(draws.outputs, draws.latents)
            return likelihood.log_prob(events), draws.log_ratios, draws.kls

        def of_sample(epsilon: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            log_likelihoods, log_ratios, kls = terms(epsilon[None])
            return log_likelihoods[0], log_ratios[0], tf.add_n(kls)

        if not self.config.is_of_bytes or training or epsilon.shape[0] == 1:
            log_likelihoods, log_ratios, kls = terms(epsilon)
        else:
            # One sample of each image at a time: a pixel's mixture takes dozens of numbers.
            one_by_one = {"parallel_iterations": 1, "fn_output_signature": (epsilon.dtype,) * 3}
            log_likelihoods, log_ratios, kl = tf.map_fn(of_sample, epsilon, **one_by_one)
            kls = [tf.reduce_mean(kl, axis=0)]
        return Terms(tf.transpose(log_likelihoods), tf.transpose(log_ratios), kls)

    # --- training -----------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step on −bound, in which the KL has the weight `kl_weight`."""
        images, labels, weights = self.unpack(data)
        terms_of = functools.partial(self.image_terms, training=True)
        with tf.GradientTape() as tape:
            terms = self.side_by_side(terms_of, images, self.training_noise(), labels)
            loss = self.reduce_loss(-self.bound(terms, training=True), weights)
        self.minimize(loss, tape)
        return self._log_terms(terms, data, images, labels, weights)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """−bound of a batch, with the EMA weights if there are any."""
        images, labels, weights = self.unpack(data)
        with self.averaged():
            terms = self.image_terms(images, self.next_test_noise(), labels)
        return self._log_terms(terms, data, images, labels, weights)

    def image_terms(
        self, images: tf.Tensor, noise: Noise, labels: Labels, training: bool = False
    ) -> Terms:
        """The terms of the bound that training maximizes, of images.

        Args:
            images: `uint8[B, H, W, C]`.
            noise: the source of the binarization and of the samples of z.
            labels: one-hot, `[B, K]`, for a conditional model; else None.
            training: as for `sample_terms`.
        """
        events = self.preprocessing.events(images, noise, self.likelihood_dtype)
        samples = self.config.importance_samples
        return self.sample_terms(events, noise, labels, samples, training)

    def bound(self, terms: Terms, training: bool = False) -> tf.Tensor:
        """The bound on log p(x) that training maximizes, nats, `[B]`.

        A subclass with a bound of its own overrides this method.

        Args:
            terms: of `sample_terms`.
            training: whether the KL has its weight in the gradient, and free bits.
        """
        if self.config.objective == "iwae":
            return terms.importance_weighted(self.kl_weight() if training else 1.0)
        return terms.elbo(self.kl_weight(), self.config.free_bits) if training else terms.elbo()

    def kl_weight(self) -> tf.Tensor | float:
        """Weight of the KL in this step's gradient, `beta` · step / `kl_warmup_steps`, `[]`."""
        steps, beta = self.config.kl_warmup_steps, self.config.beta
        if not steps:
            return beta
        return beta * tf.minimum(tf.cast(self.step.value, self.likelihood_dtype) / steps, 1.0)

    def compared(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Images in 0…1 and their reconstructions, as symbols."""
        return (keras.KerasTensor((None, *self.config.image_shape), "float32"),) * 2

    def _log_terms(
        self, terms: Terms, data: Any, images: tf.Tensor, labels: Any, weights: Any
    ) -> dict[str, tf.Tensor]:
        def compared() -> tuple[tf.Tensor, tf.Tensor]:
            grey = tf.cast(images, tf.float32) / (255 if images.dtype == tf.uint8 else 1)
            # Reconstructions as `predict` gives them.
            return grey, self(images, None if labels is None else tf.argmax(labels, axis=-1))

        self.compare(data, compared, weights)
        bound = self.bound(terms)
        values = {"loss": -bound, "reconstruction": -terms.reconstruction, "kl": terms.kl}
        if self.config.is_of_bytes:
            values["bits_per_dim"] = self.bits_per_dim(bound)
        return self.log(weights, **values)

    # --- use ----------------------------------------------------------------------------

    def posterior_moments(self, images: Any, *, labels: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of q(z|x), two `float32[B, D]`.

        With several levels of latents, they are those of each level given the levels above at their
        means: `decode` of the mean follows the means of the posterior from the top to the bottom.
        Where training binarizes at random, encoding uses a threshold of 1/2.

        Args:
            images: `uint8[B, H, W, C]`.
            labels: `int[B]`, for a conditional model.
        """

        def moments(images: tf.Tensor, one_hot: Labels = None) -> tuple[tf.Tensor, tf.Tensor]:
            events = self.preprocessing.likely_events(images, self.likelihood_dtype)
            posterior = self.posterior(events, one_hot)
            return tf.cast(posterior.mean(), tf.float32), tf.cast(posterior.stddev(), tf.float32)

        images = tf.convert_to_tensor(images)
        return self.apply_averaged(moments, images, self.one_hot(labels, images))

    def encode_images(self, images: tf.Tensor, noise: Noise, labels: Labels = None) -> tf.Tensor:
        """The mean of q(z|x), as in `posterior_moments`; draws no noise."""
        events = self.preprocessing.likely_events(images, self.likelihood_dtype)
        return self.posterior(events, labels).mean()

    def decode_events(self, latents: tf.Tensor, labels: Labels = None) -> tf.Tensor:
        """The mean of p(x|z), `[B, *event_shape]`."""
        return self.likelihood(latents, labels).mean()

    def call(self, images: tf.Tensor, labels: Any = None, training: bool | None = None) -> Any:
        """Reconstructions `float32[B, H, W, C]`, decoded from the posterior's mean."""
        return self.decode(self.encode(images, labels=labels), labels)

    def describe_events(self) -> str:
        """`bytes`, or likelihood and binarization: nats of other events do not compare."""
        if self.config.is_of_bytes:
            return BYTES
        return f"{self.config.likelihood}, binarization {self.config.binarization}"

    def signatures(self) -> Signatures:
        """The signatures of every generative family; `encode` also gives the posterior's spread."""
        signatures = super().signatures()
        images, _, *label = signatures["encode"][1]

        def encode(images: tf.Tensor, label: Labels = None) -> dict[str, tf.Tensor]:
            moments = self.posterior_moments(images, labels=label)
            return dict(zip(("latents", "stddev"), moments, strict=True))

        return {**signatures, "encode": (encode, [images, *label])}
