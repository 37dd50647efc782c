"""VAEs in PyTorch: dense and convolutional ones, and hierarchical ones.

As in tfgen, a level's latents are z = μ_p + σ_p ε, and those of the posterior are relative to the
prior.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import twins
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError
from tfgen.models.vae.config import VAEConfig
from tfgen.settings.model import halved, halvings
from tfgen.settings.training import RunConfig

_MIN_STDDEV = 1e-7  # as in tfgen.models.vae.distributions
_LOG_SCALES = (-7.0, 7.0)  # as in tfgen.models.vae.logistic_mixture
_HALF_BIN = 1 / 255
# As in tfgen.models.vae.hierarchy.
_LOG_SCALE_BOUND = 5.0
_LEVELS_PER_BLOCK = 2
# Weight of the KL with which the objectives are compared.
_COMPARED_WEIGHT = 0.25

# log p(x|z), `[B]`, and the KL of each level of latents, `[B]`, in nats.
Terms: TypeAlias = tuple[torch.Tensor, list[torch.Tensor]]


class BoundTwin(twins.Twin):
    """What the VAEs share: events, likelihood, −ELBO with free bits and KL warm-up, and its step.

    A subclass has `build(config)`, which creates the networks, and `terms(events, noise)`: log
    p(x|z) and the KL of each level for events `[B, C, H, W]`, which are in 0…1, or in −1…1 for a
    mixture of logistics, with one sample of z. The noise is standard normal, `[B, D]`, of all
    levels of latents, that of a level with the channels last; None draws it.

    Raises:
        UsageError: the configuration is not like that of a preset with a twin, or a side is not
            divisible often enough.
    """

    # Latents to the numbers of the likelihood.
    decoder: nn.Module

    def __init__(self, config: RunConfig, way: str):
        super().__init__(config, way)
        model = config.model
        times = 0
        if model.architecture != "dense":
            times = model.halvings or halvings(model.image_shape)
        check_config(model, times)
        # Channels at half the side, at a quarter, and so on.
        self.widths = [model.channels * min(2**index, 8) for index in range(times)]
        # Numbers that the decoder has for each pixel.
        depth = model.image_shape[2]
        self.output_channels = 10 * model.mixtures if model.is_of_bytes else depth
        self.smallest = ([depth, *self.widths][-1], *halved(model.image_shape, times))
        centers = (2 * torch.arange(model.mixtures) + 1) / model.mixtures - 1
        self.register_buffer("centers", centers[:, None, None])
        # Weight of the KL. A tensor, because a number would be compiled into the graph.
        self.register_buffer("kl_weight", torch.ones(()))
        self.steps = 0
        self.build(model)
        self.loss = self.compiled(self._loss)
        self.prepare()

    def smaller(self, channels: Sequence[int]) -> list[nn.Module]:
        """Between these numbers of channels: strided convolutions, gated blocks and ReLU."""
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            blocks = twins.residual(self.config.blocks, outputs)
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), *blocks]
        return layers

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels' probabilities `[B, H, W, C]` of latents `[B, D]`.

        Raises:
            UsageError: the likelihood is of bytes.
        """
        if self.config.is_of_bytes:
            raise UsageError("only a VAE of binary pixels is compared in sampling")
        return torch.sigmoid(self.decoder(latents)).permute(0, 2, 3, 1)

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
        first, second, third = (means + self.centers).unbind(1)
        c10, c20, c21 = torch.tanh(coefficients).unbind(1)
        means = torch.stack([first, second + c10 * red, third + c20 * red + c21 * green], dim=1)
        values = torch.stack([red, green, blue], dim=1)
        precisions = torch.exp(-(log_scales - math.log(k)).clamp(*_LOG_SCALES))
        distances, halves = (values - means) * precisions, _HALF_BIN * precisions
        above = functional.softplus(-distances - halves)
        below = functional.softplus(distances - halves)
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

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """log p(x|z), the KL of each level, and the objective, with given noise and KL weight."""
        events = twins.channels_first(_likely_events(self.config, images))
        noise = torch.from_numpy(twins.normal(len(images), self.config.latents))
        log_likelihood, kls = self.terms(events, noise)
        self.kl_weight.fill_(_COMPARED_WEIGHT)
        values = [log_likelihood, *kls, self.objective(log_likelihood, kls)]
        return [value.numpy() for value in values]

    @staticmethod
    def outputs_of(model: Any, images: np.ndarray) -> list[np.ndarray]:
        """log p(x|z), the KL of each level, and the objective, with given noise and KL weight."""
        events = _likely_events(model.config, images)
        noise = twins.GivenNoise(twins.normal(len(images), model.latent_dim)[:, None])
        terms = model.sample_terms(events, noise)
        bound = terms.elbo(_COMPARED_WEIGHT, model.config.free_bits)
        return [value.numpy() for value in (terms.log_likelihoods[:, 0], *terms.kls, -bound)]


def check_config(config: VAEConfig, times: int) -> None:
    """Refuses a model that has no twin, whose sides are halved so many times.

    Raises:
        UsageError: it has no twin.
    """
    height, width, depth = config.image_shape
    expected = "elbo", 1, "relu", 0
    actual = config.objective, config.importance_samples, config.activation, config.num_classes
    likelihoods = [("bernoulli", "dynamic", 1)]
    if times:
        likelihoods.append(("logistic_mixture", "none", 3))
    likelihood = config.likelihood, config.binarization, depth
    divisible = height % 2**times == 0 and width % 2**times == 0
    if actual != expected or likelihood not in likelihoods or not divisible:
        raise UsageError(
            "the twins of vae are like its presets mlp, conv and hierarchical, for grey images, "
            "and images, for sides of 32, 64, …"
        )


def _likely_events(config: VAEConfig, images: np.ndarray) -> np.ndarray:
    events = images / 127.5 - 1 if config.is_of_bytes else images >= 128
    return events.astype(np.float32)


class VAETwin(BoundTwin):
    """Dense or convolutional encoder and decoder, with a posterior of independent latents."""

    def build(self, config: VAEConfig) -> None:
        """Creates encoder and decoder."""
        flat, depth = math.prod(self.smallest), config.image_shape[2]
        self.encoder = nn.Sequential(
            *self.smaller([depth, *self.widths]),
            nn.Flatten(),
            *twins.dense([flat, *config.hidden]),
            nn.Linear([flat, *config.hidden][-1], 2 * config.latent_dim),
        )
        hidden = [config.latent_dim, *config.hidden[::-1]]
        larger = (
            [*twins.residual(config.blocks, wide), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
            for wide, narrow in itertools.pairwise([*self.widths[::-1], self.output_channels])
        )
        self.decoder = nn.Sequential(
            *twins.dense(hidden),
            nn.Linear(hidden[-1], flat),
            nn.Unflatten(1, self.smallest),
            *itertools.chain(*larger),
        )

    def terms(self, events: torch.Tensor, noise: torch.Tensor | None = None) -> Terms:
        """See `BoundTwin`; there is one level."""
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
        twins.load_network(self.encoder, model.encoder.layers)
        twins.load_network(self.decoder, model.decoder.layers)
        twins.inputs_to_channels_first(twins.linear(self.encoder)[0], self.smallest)
        twins.outputs_to_channels_first(twins.linear(self.decoder)[-1], self.smallest)


# --- the hierarchy --------------------------------------------------------------------------------


class HierarchyTwin(BoundTwin):
    """A bottom-up network, and a top-down network of several levels of latents."""

    def build(self, config: VAEConfig) -> None:
        """Creates the bottom-up network, the blocks whose outputs the levels get, and these."""
        *larger, width = self.widths
        sides = [config.image_shape[2], *larger]
        smallest = nn.Conv2d(sides[-1], width, 4, 2, 1)
        self.encoder = nn.Sequential(*self.smaller(sides), smallest)
        count = -(-config.levels // _LEVELS_PER_BLOCK)
        self.features = nn.ModuleList(twins.GatedResidual(width) for _ in range(count))
        self.decoder = TopDown(config, self.widths, self.smallest, self.output_channels)

    def terms(self, events: torch.Tensor, noise: torch.Tensor | None = None) -> Terms:
        """See `BoundTwin`; there are the dense level and those below it."""
        with self.precision():
            features = [self.features[0](self.encoder(events))]
            for block in self.features[1:]:
                features.append(block(features[-1]))
            maps, kls = self.follow(features, noise)
            maps = self.decoder.tail(maps)
        # tfgen's last layer has float32 too.
        return self.log_likelihood(events, self.decoder.last(maps.float())), kls

    def follow(
        self, features: Sequence[torch.Tensor], noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The maps of the last level, and the KL of each level, on the path of the posterior."""
        decoder, kls = self.decoder, []

        def draw(mean: torch.Tensor, log_stddev: torch.Tensor) -> torch.Tensor:
            epsilon = torch.randn_like(mean) if noise is None else decoder.split(noise)[len(kls)]
            kls.append(kl_of_noise(mean, log_stddev))
            return mean + torch.exp(log_stddev) * epsilon

        top = draw(*moments(decoder.top_moments(features[-1].flatten(1))))
        maps = self.laid_out(decoder.first_maps(top))
        for index, level in enumerate(decoder.levels):
            prior_mean, prior_log_stddev = moments(level.prior_moments(maps))
            source = features[-1 - index // _LEVELS_PER_BLOCK]
            joined = torch.relu(level.join(torch.cat([maps, source], dim=1)))
            shift, log_stddev = moments(level.moments(joined))
            sample = draw(shift * torch.exp(-prior_log_stddev), log_stddev)
            maps = level.advance(maps, prior_mean + torch.exp(prior_log_stddev) * sample)
        return maps, kls

    def load(self, model: Any) -> None:
        """Takes over the weights of a hierarchical `tfgen.VAE`."""
        twins.load_network(nn.ModuleList([self.encoder, self.features]), model.encoder.layers)
        self.decoder.load(model.decoder)


def kl_of_noise(mean: torch.Tensor, log_stddev: torch.Tensor) -> torch.Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)), summed over all but the batch, nats, `[B]`."""
    kls = (mean.square() + torch.exp(2 * log_stddev) - 1) / 2 - log_stddev
    return kls.flatten(1).sum(dim=1)


def moments(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean or shift, and a bounded log σ, in float32, of a layer's outputs."""
    mean, raw = outputs.float().chunk(2, dim=1)
    return mean, _LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)


class Level(nn.Module):
    """A level of latents below the top, at each position of maps `[B, width, H, W]`.

    Args:
        channels: latents at each position.
        width: channels of the maps and of the bottom-up features.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.prior_moments = nn.Conv2d(width, 2 * channels, 1)
        self.join = nn.Conv2d(2 * width, width, 1)
        self.moments = nn.Conv2d(width, 2 * channels, 3, padding=1)
        self.expand = nn.Conv2d(channels, width, 1)
        self.block = twins.GatedResidual(width)

    def advance(self, maps: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The maps for the next level, of z."""
        return self.block(maps + self.expand(latents))


class TopDown(nn.Module):
    """A dense level at the top, levels of maps below it, and layers from maps to outputs.

    Args:
        config: as tfgen's has it.
        widths: channels at half the side, at a quarter, and so on.
        smallest: shape of the smallest maps.
        outputs: numbers for each pixel.
    """

    def __init__(
        self, config: VAEConfig, widths: list[int], smallest: tuple[int, int, int], outputs: int
    ):
        super().__init__()
        self.top, self.smallest, flat = config.latent_dim, smallest, math.prod(smallest)
        self.top_moments = nn.Linear(flat, 2 * self.top)
        self.top_expand = nn.Linear(self.top, flat)
        self.level_shape = (*smallest[1:], config.level_channels)
        self.levels = nn.ModuleList(
            Level(config.level_channels, widths[-1]) for _ in range(config.levels)
        )
        larger = [
            [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), *twins.residual(config.blocks, narrow)]
            for wide, narrow in itertools.pairwise(widths[::-1])
        ]
        self.tail = nn.Sequential(nn.ReLU(), *itertools.chain(*larger))
        self.last = nn.ConvTranspose2d(widths[0], outputs, 4, 2, 1)

    def split(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """The latents of each level, as `[B, D]` and `[B, C, H, W]`, of those of all levels.

        Args:
            latents: `[B, D]`, those of a level with the channels last.
        """
        size = math.prod(self.level_shape)
        first, *parts = latents.split([self.top, *[size] * len(self.levels)], dim=1)
        maps = [part.unflatten(1, self.level_shape).permute(0, 3, 1, 2) for part in parts]
        return [first, *(part.contiguous() for part in maps)]

    def first_maps(self, epsilon: torch.Tensor) -> torch.Tensor:
        """The maps for the level below the top, of the latents at the top."""
        return self.top_expand(epsilon).unflatten(1, self.smallest)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Outputs `[B, C, H, W]` of latents `[B, D]`: the path of the prior."""
        top, *parts = self.split(latents)
        maps = self.first_maps(top)
        for level, epsilon in zip(self.levels, parts, strict=True):
            mean, log_stddev = moments(level.prior_moments(maps))
            maps = level.advance(maps, mean + torch.exp(log_stddev) * epsilon)
        return self.last(self.tail(maps))

    def load(self, decoder: Any) -> None:
        """Takes over the weights of tfgen's `TopDown`."""
        top, *levels = decoder.levels
        twins.load_layers([self.top_moments, self.top_expand], [top.moments, top.expand])
        twins.inputs_to_channels_first(self.top_moments, self.smallest)
        twins.outputs_to_channels_first(self.top_expand, self.smallest)
        for module, level in zip(self.levels, levels, strict=True):
            layers = [level.prior_moments, level.join, level.moments, level.expand, level.block]
            twins.load_network(module, layers)
        twins.load_network(nn.ModuleList([self.tail, self.last]), decoder.tail)
