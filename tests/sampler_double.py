"""A sampler without a model: its images are a function of seed and class, computed by numpy."""

import numpy as np

from tfgen.publishing.signatures import Signature, SignatureSampler, TensorSpec
from tfgen.sampling import Arrays

HEIGHT, WIDTH = 4, 3


class SamplerDouble(SignatureSampler):
    """Draws images in which each seed, class and pixel has its own grey value.

    Args:
        num_classes: number of classes; 0: unconditional.
        channels: channels of the images.

    Attributes:
        batches: number of rows of each call.
    """

    name, number = "double", 3
    fingerprint: str = "0" * 64

    def __init__(self, num_classes: int = 0, channels: int = 1):
        self.batches: list[int] = []
        float32, int32 = np.float32, np.int32
        latents, images = (None, 2), (None, HEIGHT, WIDTH, channels)
        self._signatures = {
            "latents": ({"seed": (int32, (None,))}, {"latents": (float32, latents)}),
            "decode": ({"latents": (float32, latents)}, {"images": (float32, images)}),
        }
        if num_classes:
            one_hot = {"one_hot": (float32, (None, num_classes))}
            self._signatures["classes"] = ({"label": (int32, (None,))}, one_hot)
        self._weights = np.random.default_rng(0).random((3, HEIGHT * WIDTH * channels))

    def has_signature(self, name: str) -> bool:
        return name in self._signatures

    def signature(self, name: str) -> Signature:
        sides = [
            {key: TensorSpec(*spec) for key, spec in side.items()}
            for side in self._signatures[name]
        ]
        return Signature(*sides)

    def call(self, signature: str, **inputs: np.ndarray) -> Arrays:
        (rows,) = {len(array) for array in inputs.values()}
        self.batches.append(rows)
        if signature == "latents":
            seeds = inputs["seed"].astype(np.int64) % 10_007
            return {"latents": np.stack([seeds % 101, seeds // 101], 1).astype(np.float32)}
        label = inputs.get("label", np.zeros(rows, np.int32))
        images = np.column_stack([inputs["latents"], 7 * label]) @ self._weights % 1
        shape = self.signature("decode").outputs["images"].shape[1:]
        return {"images": images.astype(np.float32).reshape(rows, *shape)}

    def _sample_batch(self, seeds: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        return self.decode(self.latents(seeds), labels)
