"""GAN recipes that users of other libraries start with; `RECIPES` has them by name.

Each is written from its public description, in the library that it comes from, and takes RGB
images. Its docstring says how images of another size than the recipe's are treated.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers
from torch import nn
from torch.nn import functional

from tfgen.errors import UsageError

LATENTS = 128
# Images in one call of a generator without gradients.
DRAWN_AT_ONCE = 250


class Recipe(Protocol):
    """A GAN in training.

    Attributes:
        images_per_step: real images that a training step takes.
        flips: whether half of the real images are flipped horizontally.
    """

    images_per_step: int
    flips: bool

    def step(self, images: np.ndarray) -> None:
        """One training step on `uint8[images_per_step, H, W, 3]`."""

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Images `float32[N, H, W, 3]` in 0…1 of latents `float32[N, 128]`."""

    def save(self, path: Path) -> None:
        """Writes weights and optimizers to a file."""

    def restore(self, path: Path) -> None:
        """Restores what `save` wrote."""


def draw(recipe: Recipe, n: int, seed: int) -> np.ndarray:
    """Samples `uint8[n, H, W, 3]` from standard normal latents."""
    latents = np.random.default_rng(seed).standard_normal((n, LATENTS), np.float32)
    parts = [
        recipe.decode(latents[start : start + DRAWN_AT_ONCE])
        for start in range(0, n, DRAWN_AT_ONCE)
    ]
    return np.round(255 * np.concatenate(parts)).astype(np.uint8)


def training_batches(
    images: np.ndarray, recipe: Recipe, seed: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Endless batches of real images, shuffled again in each epoch, some flipped if it says so.

    Raises:
        UsageError: there are fewer images than in a batch.
    """
    rng, size = np.random.default_rng(seed), recipe.images_per_step
    if len(images) < size:
        raise UsageError(f"{len(images)} training images are too few for batches of {size}")
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            batch = images[np.sort(order[start : start + size])]
            if recipe.flips:
                flipped = rng.random(size) < 0.5
                batch[flipped] = batch[flipped, :, ::-1]
            yield batch


def smallest_sides(image_shape: Sequence[int], divisor: int) -> tuple[int, int]:
    """Height and width divided by `divisor`.

    Raises:
        UsageError: the images are not RGB, or a side is not divisible.
    """
    height, width, channels = image_shape
    if channels != 3 or height % divisor or width % divisor:
        raise UsageError(
            f"the recipe takes RGB images whose sides are divisible by {divisor}, not images of "
            f"{height} x {width} x {channels}"
        )
    return height // divisor, width // divisor


# --- keras.io -----------------------------------------------------------------------------------


class KerasDCGAN:
    """The recipe of keras.io's example "DCGAN to generate face images" (Chollet 2019), in Keras.

    No normalization, leaky ReLU 0.2, pixels in 0…1, batches of 32, Adam 1e-4. The discriminator
    gets generated and real images in one batch, whose labels, 1 and 0, have uniform noise of up to
    0.05 added. The example is for 64 × 64, where the generator starts at 8 × 8; with other sides it
    starts at an eighth of them, and the layers stay.

    Args:
        image_shape: height and width, divisible by 8, and 3 channels.
        seed: seed of weights, latents and noise.
    """

    images_per_step = 32
    flips = False

    def __init__(self, image_shape: Sequence[int], seed: int):
        keras.utils.set_random_seed(seed)
        sides = smallest_sides(image_shape, 8)
        halving = {"kernel_size": 4, "strides": 2, "padding": "same"}

        def activated(*convolutions: keras.Layer) -> list[keras.Layer]:
            return [
                layer
                for convolution in convolutions
                for layer in (convolution, layers.LeakyReLU(negative_slope=0.2))
            ]

        self.generator = keras.Sequential(
            [
                keras.Input((LATENTS,)),
                layers.Dense(math.prod(sides) * 128),
                layers.Reshape((*sides, 128)),
                *activated(
                    *(layers.Conv2DTranspose(width, **halving) for width in (128, 256, 512))
                ),
                layers.Conv2D(3, 5, padding="same", activation="sigmoid"),
            ]
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input(tuple(image_shape)),
                *activated(*(layers.Conv2D(width, **halving) for width in (64, 128, 128))),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        self._optimizers = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
        for optimizer, network in zip(
            self._optimizers, (self.generator, self.discriminator), strict=True
        ):
            optimizer.build(network.trainable_variables)
        self._loss = keras.losses.BinaryCrossentropy()
        self._step = tf.function(self._train)

    def step(self, images: np.ndarray) -> None:
        """One training step on `uint8[32, H, W, 3]`."""
        self._step(tf.constant(images))

    def _train(self, images: tf.Tensor) -> None:
        real, count = tf.cast(images, tf.float32) / 255, images.shape[0]
        fake = self.generator(tf.random.normal([count, LATENTS]))
        labels = tf.concat([tf.ones([count, 1]), tf.zeros([count, 1])], axis=0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        both = tf.concat([fake, real], axis=0)
        self._descend(
            1, self.discriminator, lambda: self.discriminator(both, training=True), labels
        )
        latents = tf.random.normal([count, LATENTS])
        self._descend(
            0,
            self.generator,
            lambda: self.discriminator(self.generator(latents, training=True), training=True),
            tf.zeros([count, 1]),
        )

    def _descend(
        self,
        optimizer: int,
        network: keras.Model,
        probabilities: Callable[[], tf.Tensor],
        labels: tf.Tensor,
    ) -> None:
        """One step of a network's optimizer down the cross-entropy."""
        with tf.GradientTape() as tape:
            loss = self._loss(labels, probabilities())
        variables = network.trainable_variables
        self._optimizers[optimizer].apply(tape.gradient(loss, variables), variables)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Images `float32[N, H, W, 3]` in 0…1 of latents `float32[N, 128]`."""
        images: np.ndarray = self.generator(latents).numpy()
        return images

    def save(self, path: Path) -> None:
        """Writes weights and optimizers to an NPZ file."""
        with path.open("wb") as file:
            np.savez(file, *(variable.numpy() for variable in self._variables()))

    def restore(self, path: Path) -> None:
        """Restores what `save` wrote."""
        with np.load(path) as arrays:
            for variable, name in zip(self._variables(), arrays.files, strict=True):
                variable.assign(arrays[name])

    def _variables(self) -> list[keras.Variable]:
        networks = self.generator, self.discriminator
        return [
            *(variable for network in networks for variable in network.weights),
            *(variable for optimizer in self._optimizers for variable in optimizer.variables),
        ]


# --- PyTorch-StudioGAN --------------------------------------------------------------------------


class StudioGANDCGAN:
    """DCGAN (Radford, Metz & Chintala 2015) as PyTorch-StudioGAN configures it, in PyTorch.

    The configuration for CIFAR-10: batch normalization and ReLU in both networks, orthogonal
    initial weights, pixels in −1…1, batches of 64, Adam 2e-4 with β₁ = 0.5, the non-saturating
    loss, two steps of the discriminator for one of the generator, real images flipped at random. It
    is for 32 × 32; for each further doubling of the sides, both networks get one more block, of 512
    channels, at their smallest side. The channels are last in memory, which is faster on a CPU.

    Args:
        image_shape: height and width, divisible by 8 (above 32 pixels: 16, …), and 3 channels.
        seed: seed of weights and latents.
    """

    batch_size = 64
    images_per_step = 2 * batch_size
    flips = True

    def __init__(self, image_shape: Sequence[int], seed: int):
        torch.manual_seed(seed)
        further = max(0, (max(image_shape[:2]) - 1).bit_length() - 5)
        sides = smallest_sides(image_shape, 8 * 2**further)
        *widths, smallest = 64, 128, 256, *[512] * (further + 1)
        doubled = [smallest, *widths[::-1]]
        self.generator = nn.Sequential(
            nn.Linear(LATENTS, smallest * math.prod(sides)),
            nn.Unflatten(1, (smallest, *sides)),
            *(
                layer
                for inputs, outputs in itertools.pairwise(doubled)
                for layer in normalized(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))
            ),
            nn.Conv2d(widths[0], 3, 3, padding=1),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            *(
                layer
                for inputs, outputs in itertools.pairwise([3, *widths])
                for layer in (
                    *normalized(nn.Conv2d(inputs, outputs, 3, padding=1)),
                    *normalized(nn.Conv2d(outputs, outputs, 4, 2, 1)),
                )
            ),
            *normalized(nn.Conv2d(widths[-1], smallest, 3, padding=1)),
            SumOverPixels(),
            nn.Linear(smallest, 1),
        )
        for network in (self.generator, self.discriminator):
            network.apply(orthogonal)
            network.to(memory_format=torch.channels_last)
        self._optimizers = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]

    def step(self, images: np.ndarray) -> None:
        """One training step on `uint8[128, H, W, 3]`."""
        real = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        for batch in real.chunk(2):
            with torch.no_grad():
                fake = self.generator(torch.randn(len(batch), LATENTS))
            # Batch normalization sees real and generated images apart.
            logits, fake_logits = self.discriminator(batch), self.discriminator(fake)
            loss = functional.softplus(-logits).mean() + functional.softplus(fake_logits).mean()
            self._descend(1, loss)
        self.discriminator.requires_grad_(False)
        fake = self.generator(torch.randn(self.batch_size, LATENTS))
        self._descend(0, functional.softplus(-self.discriminator(fake)).mean())
        self.discriminator.requires_grad_(True)

    def _descend(self, optimizer: int, loss: torch.Tensor) -> None:
        self._optimizers[optimizer].zero_grad()
        loss.backward()
        self._optimizers[optimizer].step()

    @torch.no_grad()
    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Images `float32[N, H, W, 3]` in 0…1 of latents `float32[N, 128]`."""
        self.generator.eval()
        images = (self.generator(torch.from_numpy(latents)) + 1) / 2
        self.generator.train()
        array: np.ndarray = images.permute(0, 2, 3, 1).numpy()
        return array

    def save(self, path: Path) -> None:
        """Writes weights and optimizers to a file of PyTorch's."""
        torch.save([part.state_dict() for part in self._parts()], path)

    def restore(self, path: Path) -> None:
        """Restores what `save` wrote."""
        states = torch.load(path, weights_only=True)
        for part, state in zip(self._parts(), states, strict=True):
            part.load_state_dict(state)

    def _parts(self) -> list[nn.Module | torch.optim.Optimizer]:
        return [self.generator, self.discriminator, *self._optimizers]


class SumOverPixels(nn.Module):
    """`[B, C, H, W] → [B, C]`."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The sum over height and width."""
        return inputs.sum(dim=(2, 3))


def normalized(convolution: nn.Module) -> list[nn.Module]:
    """A convolution, batch normalization and ReLU."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels, eps=1e-4), nn.ReLU()]


def orthogonal(module: nn.Module) -> None:
    """Orthogonal initial weights (Saxe et al. 2013), biases of zero."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.orthogonal_(module.weight)
        nn.init.zeros_(module.bias)


RECIPES: dict[str, Callable[[Sequence[int], int], Recipe]] = {
    "keras-dcgan": KerasDCGAN,
    "studiogan-dcgan": StudioGANDCGAN,
}
