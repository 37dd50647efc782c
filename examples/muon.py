"""Muon beside Adam, in equal minutes: FID, and the loss of validation images.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") moves the
kernel of an inner layer along the orthogonal matrix that is nearest to its momentum. Keras's own
takes matrices alone; here the kernel of a convolution is the matrix `[-1, channels]`. The first and
the last layer, embeddings of the context, biases, and a GAN's discriminator have Adam.

    python examples/muon.py flow-matching [--preset unet] [--minutes 10] [--seed 0]
    python examples/muon.py gan --preset dcgan
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tfgen
from tfgen import registry
from tfgen.evaluation.distances import fid
from tfgen.evaluation.own_network import choose_extractor
from tfgen.nn.cores import share_cores
from tfgen.nn.cpu import Adam

SAMPLES = 5000
# Kernels before the first inner one: the two of the context and that of the image; of the latents.
FIRST = {"flow-matching": 3, "gan": 1}
# Steps before those that are timed, and these.
FIRST_STEPS, TIMED_STEPS = 50, 100


class Muon(Adam):
    """Muon for inner kernels and Adam for the others, with Adam's learning rate.

    Args:
        inner: indices of the kernels that it moves by Muon.
        **kwargs: arguments of Adam.
    """

    def __init__(self, inner: frozenset[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.inner = inner

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Moves one variable; the factor 0.2 √size gives a step the length of one of Adam's."""
        index = self._get_variable_index(variable)
        if index not in self.inner:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[index].value
        total = momentum.assign(0.95 * momentum + gradient)
        matrix = tf.reshape(gradient + 0.95 * total, [-1, variable.shape[-1]])
        length = 0.2 * math.sqrt(max(matrix.shape))
        step = tf.reshape(orthogonal(matrix), variable.shape)
        variable.assign_sub(tf.cast(learning_rate, variable.dtype) * length * step)


def orthogonal(matrix: tf.Tensor, steps: int = 5) -> tf.Tensor:
    """A matrix whose singular values are near 1, by Newton–Schulz steps in bfloat16."""
    x = tf.cast(matrix / (tf.norm(matrix) + 1e-7), tf.bfloat16)
    is_tall = matrix.shape[0] > matrix.shape[1]
    for _ in range(steps):
        square = tf.matmul(x, x, transpose_a=is_tall, transpose_b=not is_tall)
        factor = -4.7750 * square + 2.0315 * tf.matmul(square, square)
        x = 3.4445 * x + (tf.matmul(x, factor) if is_tall else tf.matmul(factor, x))
    return tf.cast(x, matrix.dtype)


def use_muon(model: Any, first: int) -> None:
    """Compiles a model, or a GAN's generator, with Muon from kernel `first` to the last but one."""
    is_gan = isinstance(model, tfgen.GAN)
    weights = (model.generator if is_gan else model).trainable_variables
    kernels = [index for index, weight in enumerate(weights) if len(weight.shape) > 1]
    inner = frozenset(kernels[first:-1])
    muon = Muon.from_config({**model.optimizer.get_config(), "inner": inner})
    model.compile(*([muon, model.discriminator_optimizer] if is_gan else [muon]))


def trained(family: Any, options: argparse.Namespace, optimizer: str, images: np.ndarray) -> Any:
    """A model after as many steps as its optimizer takes in the minutes."""
    data = tf.data.Dataset.from_tensor_slices(images)
    data = data.shuffle(len(images), options.seed).batch(options.batch, drop_remainder=True)

    def fitted(steps: int, *runs: int) -> tuple[Any, float]:
        arguments = {"steps": steps, "seed": options.seed, "dtype": "mixed_bfloat16"}
        model = registry.load_class(family.name).preset(options.preset, **arguments)
        if optimizer == "muon":
            use_muon(model, FIRST[options.family])
        for count in runs:
            start = time.perf_counter()
            model.fit(data.repeat(), steps_per_epoch=count, verbose=2)
        return model, (time.perf_counter() - start) / count

    seconds = fitted(TIMED_STEPS, FIRST_STEPS, TIMED_STEPS)[1]
    steps = round(60 * options.minutes / seconds)
    print(f"{optimizer}: {1000 * seconds:.0f} ms a step, {steps} steps", flush=True)
    return fitted(steps, steps)[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Compare Muon with Adam in equal minutes.")
    parser.add_argument("family", choices=FIRST)
    parser.add_argument("--preset", default="unet")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    family = registry.family(options.family)
    options.batch = family.preset(options.preset).batch_size
    if family.shares_cores:
        share_cores()
    data = tfgen.load_data("mnist")
    extractor = choose_extractor("mnist", SAMPLES, Path("saved_models"))
    reference = extractor.extract(data.test.images).features
    for optimizer in ("adam", "muon"):
        model = trained(family, options, optimizer, data.training_split().images)
        losses = model.evaluate(data.validation.images, batch_size=500, verbose=0, return_dict=True)
        batches = [model.sample(n=500, seed=seed) for seed in range(SAMPLES // 500)]
        samples = np.rint(255 * np.concatenate(batches)).astype(np.uint8)
        distance = fid(extractor.extract(samples).features, reference)
        print(f"{optimizer}: FID {distance:.2f} of {SAMPLES} samples, validation {losses}")


if __name__ == "__main__":
    main()
