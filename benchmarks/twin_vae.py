"""The convolutional VAE of the preset `images` in PyTorch."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_layers import (
    GatedResidual,
    inputs_to_channels_first,
    load_layers,
    outputs_to_channels_first,
    products,
    products_of,
)
from twins import Average, Twin, make_adam

from tfgen.errors import UsageError
from tfgen.settings.model import halved, halvings
from tfgen.settings.training import RunConfig

_MIN_STDDEV = 1e-7  # as in tfgen.models.vae.model
_LOG_SCALES = (-7.0, 7.0)  # as in tfgen.models.vae.logistic_mixture
_HALF_BIN = 1 / 255


class VAETwin(Twin):
    """Encoder, decoder and a step on −ELBO, whose likelihood is a mixture of logistics.

    Raises:
        UsageError: the configuration is not like that of the preset `images`, or a side is not
            divisible often enough.
    """

    def __init__(self, config: RunConfig, way: str):
        super().__init__(way)
        model, options = config.model, config.options
        self.config, self.clip_norm = model, options.clip_norm
        wanted = "convolutional", "logistic_mixture", "elbo", 1, "relu", 0
        given = model.architecture, model.likelihood, model.objective, model.importance_samples
        height, width, depth = model.image_shape
        times = model.halvings or halvings(model.image_shape)
        rest = model.activation, model.num_classes
        if (*given, *rest) != wanted or height % 2**times or width % 2**times or depth != 3:
            raise UsageError("the twin of vae is like its preset images, for sides of 32, 64, …")
        channels = [model.channels * min(2**index, 8) for index in range(times)]
        self.smallest = (channels[-1], *halved(model.image_shape, times))
        flat = math.prod(self.smallest)
        self.encoder = nn.Sequential(
            *itertools.chain(*itertools.starmap(self._halved, itertools.pairwise([3, *channels]))),
            nn.Flatten(),
            *dense([flat, *model.hidden]),
            nn.Linear([flat, *model.hidden][-1], 2 * model.latent_dim),
        )
        hidden = [model.latent_dim, *model.hidden[::-1]]
        self.decoder = nn.Sequential(
            *dense(hidden),
            nn.Linear(hidden[-1], flat),
            nn.Unflatten(1, self.smallest),
            *itertools.chain(
                *itertools.starmap(
                    self._doubled, itertools.pairwise([*channels[::-1], 10 * model.mixtures])
                )
            ),
        )
        centers = (2 * torch.arange(model.mixtures) + 1) / model.mixtures - 1
        self.register_buffer("centers", centers[:, None, None])
        self.loss = self.compiled(self._loss)
        self.optimizer = make_adam(self.parameters(), options.learning_rate, (0.9, 0.999))
        self.average = Average(self.parameters(), model.ema_decay) if model.ema_decay else None

    def _halved(self, inputs: int, outputs: int) -> list[nn.Module]:
        """A strided convolution, gated blocks and ReLU."""
        blocks = [GatedResidual(outputs) for _ in range(self.config.blocks)]
        return [nn.Conv2d(inputs, outputs, 4, 2, 1), *blocks, nn.ReLU()]

    def _doubled(self, inputs: int, outputs: int) -> list[nn.Module]:
        """Gated blocks, ReLU and a transposed convolution."""
        blocks = [GatedResidual(inputs) for _ in range(self.config.blocks)]
        return [*blocks, nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]

    def log_likelihood(self, events: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """log p(x|z), nats, `[B]`.

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

    def _loss(self, images: torch.Tensor) -> torch.Tensor:
        """Mean −ELBO of `uint8[B, 3, H, W]`, nats, with one sample of z and the exact KL."""
        events = images.float() / 127.5 - 1
        with self.precision():
            parameters = self.encoder(events)
        mean, raw_scale = parameters.float().chunk(2, dim=1)
        stddev = functional.softplus(raw_scale) + _MIN_STDDEV
        with self.precision():
            outputs = self.decoder(mean + stddev * torch.randn_like(stddev))
        kl = 0.5 * (mean.square() + stddev.square() - 1 - 2 * stddev.log()).sum()
        return (kl - self.log_likelihood(events, outputs.float()).sum()) / len(images)

    def step(self, images: torch.Tensor) -> torch.Tensor:
        """One step on −ELBO; the mean loss."""
        loss = self.loss(images)
        self.minimize(loss)
        detached: torch.Tensor = loss.detach()
        return detached

    # --- the same as tfgen's? -----------------------------------------------------------------

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

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """The posterior's parameters, and log p(x|z) at its mean."""
        events = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        parameters = self.encoder(events)
        latents = parameters.chunk(2, dim=1)[0]
        return [parameters.numpy(), self.log_likelihood(events, self.decoder(latents)).numpy()]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """The posterior's parameters, and log p(x|z) at its mean."""
        events = model.preprocessing.likely_events(images, "float32")
        parameters = model.encoder(events)
        latents = parameters[:, : model.latent_dim]
        return [parameters.numpy(), model.likelihood(latents).log_prob(events).numpy()]


def dense(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers between these widths, each followed by ReLU."""
    return [
        layer
        for inputs, outputs in itertools.pairwise(widths)
        for layer in (nn.Linear(inputs, outputs), nn.ReLU())
    ]


TWIN = VAETwin
