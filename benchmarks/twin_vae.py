"""The convolutional VAE of the presets `conv` and `images` in PyTorch."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_hierarchy import residual, widths
from torch_layers import (
    inputs_to_channels_first,
    load_layers,
    outputs_to_channels_first,
    products,
    products_of,
)
from twins import Average, Twin, make_adam

from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.model import halved
from tfgen.settings.training import RunConfig

_MIN_STDDEV = 1e-7  # as in tfgen.models.vae.distributions
_LOG_SCALES = (-7.0, 7.0)  # as in tfgen.models.vae.logistic_mixture
_HALF_BIN = 1 / 255
# Weight of the KL with which the objectives are compared.
_COMPARED_WEIGHT = 0.25

# log p(x|z), `[B]`, and the KL of each level of latents, `[B]`, in nats.
Terms: TypeAlias = tuple[torch.Tensor, list[torch.Tensor]]


class BoundTwin(Twin):
    """What the VAEs share: events, likelihood, −ELBO with free bits and KL warm-up, and its step.

    Raises:
        UsageError: the configuration is not like that of a preset with a twin, or a side is not
            divisible often enough.
    """

    def __init__(self, config: RunConfig, way: str):
        super().__init__(way)
        model, options = config.model, config.options
        self.config, self.clip_norm = model, options.clip_norm
        self.widths = widths(model)
        check_config(model, len(self.widths))
        self.smallest = (self.widths[-1], *halved(model.image_shape, len(self.widths)))
        centers = (2 * torch.arange(model.mixtures) + 1) / model.mixtures - 1
        self.register_buffer("centers", centers[:, None, None])
        # Weight of the KL. A tensor, because a number would be compiled into the graph.
        self.register_buffer("kl_weight", torch.ones(()))
        self.steps = 0
        self.build(model)
        self.loss = self.compiled(self._loss)
        self.optimizers = [make_adam(self.parameters(), options.learning_rate, (0.9, 0.999))]
        self.average = Average(self.parameters(), model.ema_decay) if model.ema_decay else None

    def build(self, config: VAEConfig) -> None:
        """Creates the networks."""
        raise NotImplementedError

    def terms(self, events: torch.Tensor, noise: torch.Tensor | None = None) -> Terms:
        """The terms of the ELBO of events `[B, C, H, W]`, with one sample of z.

        Args:
            events: in 0…1, or in −1…1 for a mixture of logistics.
            noise: standard normal, `[B, D]`, of all levels of latents, that of a level with the
                channels last; None draws it.
        """
        raise NotImplementedError

    @property
    def output_channels(self) -> int:
        """Numbers that the decoder has for each pixel."""
        return 10 * self.config.mixtures if self.config.is_of_bytes else self.config.image_shape[2]

    def log_likelihood(self, events: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """log p(x|z), nats, `[B]`, of events and the decoder's outputs, both channels first."""
        if self.config.is_of_bytes:
            return self._log_mixture(events, outputs)
        losses = functional.binary_cross_entropy_with_logits(outputs, events, reduction="none")
        return -losses.sum(dim=(1, 2, 3))

    def _log_mixture(self, events: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """log p(x|z) of a mixture of logistics, nats, `[B]`.

        Args:
            events: `[B, 3, H, W]` in −1…1.
            outputs: the decoder's, `[B, 10 K, H, W]`: logits, means, log-scales, coefficients.
        """
        k = self.config.mixtures
        logits, rest = outputs.split([k, 9 * k], dim=1)
        means, log_scales, coefficients = rest.unflatten(1, (9, k)).split(3, dim=1)
        red, green, blue = events[:, :, None].unbind(1)
        means = means + self.centers
        first, second, third = means.unbind(1)
        c10, c20, c21 = torch.tanh(coefficients).unbind(1)
        means = torch.stack([first, second + c10 * red, third + c20 * red + c21 * green], dim=1)
        values = torch.stack([red, green, blue], dim=1)
        precisions = torch.exp(-(log_scales - math.log(k)).clamp(*_LOG_SCALES))
        distances, halves = (values - means) * precisions, _HALF_BIN * precisions
        above, below = (
            functional.softplus(-distances - halves),
            functional.softplus(distances - halves),
        )
        inside = torch.log(-torch.expm1(-2 * halves)) - above - below
        bins = torch.where(values < _HALF_BIN - 1, -above, inside)
        bins = torch.where(values > 1 - _HALF_BIN, -below, bins)
        log_pixels = torch.logsumexp(functional.log_softmax(logits, dim=1) + bins.sum(dim=1), dim=1)
        return log_pixels.sum(dim=(1, 2))

    def _loss(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The objective and −ELBO, means over `uint8[B, C, H, W]`, nats."""
        if self.config.is_of_bytes:
            events = images.float() / 127.5 - 1
        else:
            events = torch.bernoulli(images.float() / 255)
        log_likelihood, kls = self.terms(events)
        objective = self.objective(log_likelihood, kls).mean()
        return objective, (sum(kls) - log_likelihood).mean().detach()

    def objective(self, log_likelihood: torch.Tensor, kls: list[torch.Tensor]) -> torch.Tensor:
        """What training minimizes, of the terms of the ELBO, `[B]`."""
        free_bits = self.config.free_bits
        penalty = sum(kl.clamp(min=free_bits) if free_bits else kl for kl in kls)
        return self.kl_weight * penalty - log_likelihood

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One step on the objective; the mean of −ELBO."""
        if self.config.kl_warmup_steps:
            self.kl_weight.fill_(min(self.steps / self.config.kl_warmup_steps, 1.0))
        objective, loss = self.loss(images)
        self.minimize(objective)
        self.steps += 1
        return loss

    # --- the same as tfgen's? -----------------------------------------------------------------

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """log p(x|z), the KL of each level, and the objective, with given noise and KL weight."""
        events = torch.from_numpy(_likely_events(self.config, images)).permute(0, 3, 1, 2)
        noise = torch.from_numpy(_noise(len(images), self.config.latents))
        log_likelihood, kls = self.terms(events, noise)
        self.kl_weight.fill_(_COMPARED_WEIGHT)
        values = [log_likelihood, *kls, self.objective(log_likelihood, kls)]
        return [value.numpy() for value in values]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """log p(x|z), the KL of each level, and the objective, with given noise and KL weight."""
        events = _likely_events(model.config, images)
        noise = _GivenNoise(_noise(len(images), model.latent_dim))
        log_likelihoods, _, kls = model.sampled_terms(events, noise)
        bound = model.elbo(events, noise, training=True).bound(_COMPARED_WEIGHT)
        return [value.numpy() for value in (log_likelihoods[0], *kls, -bound)]


class _GivenNoise:
    """The noise of `tfgen.models.preprocessing.Noise`, with given values in place of drawn ones."""

    def __init__(self, values: np.ndarray):
        self.values = values

    def normal(self, batch: Any, event_shape: Any, stream: int, dtype: Any) -> np.ndarray:
        """The values, `[B, 1, D]`."""
        return self.values[:, None]


class VAETwin(BoundTwin):
    """Convolutional encoder and decoder, with a posterior of independent latents."""

    def build(self, config: VAEConfig) -> None:
        """Creates encoder and decoder."""
        channels, flat = self.widths, math.prod(self.smallest)
        inputs = [config.image_shape[2], *channels]
        self.encoder = nn.Sequential(
            *itertools.chain(*itertools.starmap(self._halved, itertools.pairwise(inputs))),
            nn.Flatten(),
            *dense([flat, *config.hidden]),
            nn.Linear([flat, *config.hidden][-1], 2 * config.latent_dim),
        )
        hidden = [config.latent_dim, *config.hidden[::-1]]
        outputs = [*channels[::-1], self.output_channels]
        self.decoder = nn.Sequential(
            *dense(hidden),
            nn.Linear(hidden[-1], flat),
            nn.Unflatten(1, self.smallest),
            *itertools.chain(*itertools.starmap(self._doubled, itertools.pairwise(outputs))),
        )

    def _halved(self, inputs: int, outputs: int) -> list[nn.Module]:
        """A strided convolution, gated blocks and ReLU."""
        return [nn.Conv2d(inputs, outputs, 4, 2, 1), *residual(self.config.blocks, outputs)]

    def _doubled(self, inputs: int, outputs: int) -> list[nn.Module]:
        """Gated blocks, ReLU and a transposed convolution."""
        return [*residual(self.config.blocks, inputs), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]

    def terms(self, events: torch.Tensor, noise: torch.Tensor | None = None) -> Terms:
        """See `BoundTwin.terms`; there is one level."""
        with self.precision():
            parameters = self.encoder(events)
        mean, raw_scale = parameters.float().chunk(2, dim=1)
        stddev = functional.softplus(raw_scale) + _MIN_STDDEV
        epsilon = torch.randn_like(stddev) if noise is None else noise
        with self.precision():
            outputs = self.decoder(mean + stddev * epsilon)
        kl = 0.5 * (mean.square() + stddev.square() - 1 - 2 * stddev.log()).sum(dim=1)
        return self.log_likelihood(events, outputs.float()), [kl]

    def load(self, model: Any) -> None:
        """Takes over the weights of a `tfgen.VAE`."""
        for network, keras_network in (
            (self.encoder, model.encoder),
            (self.decoder, model.decoder),
        ):
            load_layers(products(network), products_of(keras_network.layers))
        linear = [module for module in self.encoder if isinstance(module, nn.Linear)]
        inputs_to_channels_first(linear[0], self.smallest)
        linear = [module for module in self.decoder if isinstance(module, nn.Linear)]
        outputs_to_channels_first(linear[-1], self.smallest)


def check_config(config: VAEConfig, times: int) -> None:
    """Refuses a model that has no twin.

    Args:
        config: of the model.
        times: how often the sides are halved.

    Raises:
        UsageError: it has no twin.
    """
    height, width, depth = config.image_shape
    expected = "elbo", 1, "relu", 0
    actual = config.objective, config.importance_samples, config.activation, config.num_classes
    likelihoods = (("bernoulli", "dynamic", 1), ("logistic_mixture", "none", 3))
    likelihood = config.likelihood, config.binarization, depth
    divisible = height % 2**times == 0 and width % 2**times == 0
    if actual != expected or likelihood not in likelihoods or not divisible:
        raise UsageError(
            "the twins of vae are like its presets conv and hierarchical, for grey images, and "
            "images, for sides of 32, 64, …"
        )


def _likely_events(config: VAEConfig, images: np.ndarray) -> np.ndarray:
    events = images / 127.5 - 1 if config.is_of_bytes else images >= 128
    return events.astype(np.float32)


def _noise(count: int, dimensions: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dimensions), np.float32)


def dense(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers between these widths, each followed by ReLU."""
    return [
        layer
        for inputs, outputs in itertools.pairwise(widths)
        for layer in (nn.Linear(inputs, outputs), nn.ReLU())
    ]


TWIN = VAETwin
