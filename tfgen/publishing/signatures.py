"""A sampler made of signatures: what an opened and a served version share. No TensorFlow here."""

import abc
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfgen import sampling
from tfgen.errors import UsageError, printable
from tfgen.models import notebook
from tfgen.settings.fields import hint


class TensorSpec(NamedTuple):
    """dtype and shape of an input or output of a signature.

    Attributes:
        dtype: numpy's dtype.
        shape: the shape, the batch first; None for a dimension of any size.
    """

    dtype: Any
    shape: tuple[int | None, ...]

    @property
    def sides(self) -> tuple[int, ...]:
        """The shape without the batch; 0 for a dimension of any size."""
        return tuple(side or 0 for side in self.shape[1:])


class Signature(NamedTuple):
    """The inputs and outputs of a signature by name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


def describe_signature(tensors: Mapping[str, Mapping[str, Any]]) -> str:
    """Inputs and outputs of a signature of a manifest; B stands for the batch size."""
    return " → ".join(
        ", ".join(
            f"{name}: {tensor['dtype']}[{', '.join(['B', *map(str, tensor['shape'][1:])])}]"
            for name, tensor in tensors[side].items()
        )
        for side in ("inputs", "outputs")
    )


class SignatureSampler(sampling.ImageSampler):
    """Base of the samplers that call the signatures of a published version.

    A subclass offers `signature` and `call`. Inputs and outputs are numpy arrays.

    Attributes:
        name: name that the version was published under.
        number: number of the version.
        signature_names: the signatures that it offers.
        batch_size: number of images in a batch, which is computed or requested by one call.
        track: shows progress over the batches of a request.
        training: how the model was trained, the content of config.json of its run, as far as that
            is known; behind a server, at most the names of the classes.
    """

    name: str
    number: int
    signature_names: Collection[str] = ()
    track: sampling.Track = staticmethod(sampling.no_progress)
    training: Mapping[str, Any] = {}

    @property
    def title(self) -> str:
        """What messages call the sampler."""
        return printable(f"{self.name} version {self.number}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 that identifies graph and weights; empty if unknown, as behind a server."""
        return ""

    @abc.abstractmethod
    def signature(self, name: str) -> Signature:
        """The inputs and outputs of a signature.

        Raises:
            UsageError: there is no such signature.
        """

    def has_signature(self, name: str) -> bool:
        """Whether the version offers a signature."""
        return name in self.signature_names

    def check_signature(self, name: str) -> None:
        """Check that the version offers a signature.

        Raises:
            UsageError: it does not.
        """
        if not self.has_signature(name):
            known = hint(name, self.signature_names)
            raise UsageError(f"{self.title} has no signature {name!r}{known}")

    @abc.abstractmethod
    def call(self, signature: str, **inputs: np.ndarray) -> sampling.Arrays:
        """The outputs of a signature, computed in one batch.

        Args:
            signature: name of the signature.
            **inputs: its inputs by name, the batch first.

        Returns:
            Its outputs by name, the batch first.

        Raises:
            UsageError: there is no such signature.
        """

    def _repr_html_(self) -> str | None:
        """What a notebook shows of the version: samples."""
        return notebook.samples_html(self, f"{self.name}, version {self.number}")

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector, D."""
        return self.signature("latents").outputs["latents"].shape[-1] or 0

    @property
    def num_classes(self) -> int:
        """Number of classes of a conditional model, K; 0 of an unconditional model."""
        if not self.has_signature("classes"):
            return 0
        return self.signature("classes").outputs["one_hot"].shape[-1] or 0

    def latents(self, seeds: Any) -> np.ndarray:
        """Latents `float32[B, D]` of `seeds: int32[B]`."""
        return self._compute("latents", seed=sampling.request_seeds(0, 0, seeds))["latents"]

    def decode(self, latents: Any, labels: Any = None) -> np.ndarray:
        """Images `float32[B, H, W, C]` in 0…1 of latents.

        Args:
            latents: `float32[B, D]`.
            labels: classes of a conditional model, `int[B]`, or one class for all images; None:
                image i has the class i mod K.

        Raises:
            UsageError: a label is out of range, there are not B labels, or the model is not
                conditional.
        """
        latents = np.asarray(latents, np.float32)
        labels = sampling.request_labels(len(latents), self.num_classes, labels)
        return self._compute("decode", latents=latents, label=labels)["images"]

    def _sample_batch(self, seeds: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        return self.call("sample", **_present(seed=seeds, label=labels))["images"]

    def encode(self, images: Any, *, seeds: Any = None, labels: Any = None) -> np.ndarray:
        """Latents `float32[B, D]` of images; of a VAE, the mean of the posterior.

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: seeds of the images' noise, if they get any, `int32[B]`; None: 0, 1, 2, ….
            labels: classes of the images for a conditional model, `int[B]`, or one class for all.

        Raises:
            UsageError: the version has no such signature; the images are not bytes; seeds or labels
                do not fit the images.
        """
        return split_latents(self.evaluate("encode", images, seeds, labels))[0]

    def log_prob(self, images: Any, *, seeds: Any = None, labels: Any = None) -> np.ndarray:
        """log p(x) in nats, or a lower bound of it, `float32[B]`, by one draw of the noise.

        Args:
            images: `uint8[B, H, W, C]`.
            seeds: seeds of each image's noise, `int32[B]`; None: 0, 1, 2, ….
            labels: classes of the images for a conditional model, `int[B]`, or one class for all.

        Raises:
            UsageError: as for `encode`.
        """
        return self.evaluate("log_prob", images, seeds, labels)["log_prob"]

    def evaluate(
        self, signature: str, images: Any, seeds: Any = None, labels: Any = None
    ) -> sampling.Arrays:
        """All outputs of a signature of images, `encode` or `log_prob`, by name.

        Args:
            signature: name of the signature.
            images: `uint8[B, H, W, C]`.
            seeds: seeds of each image's noise, if it gets any, `int32[B]`; None: 0, 1, 2, ….
            labels: classes of the images for a conditional model, `int[B]`, or one class for all.

        Raises:
            UsageError: as for `encode`.
        """
        inputs = self.signature(signature).inputs
        images = np.asarray(images)
        sampling.check_image_bytes(images.dtype.name, images.shape, inputs["images"].shape[1:])
        seeds = sampling.noise_seeds(len(images), seeds) if "seed" in inputs else None
        classes = self.num_classes if "label" in inputs else 0
        labels = sampling.image_labels(len(images), classes, labels)
        return self._compute(signature, images=images, seed=seeds, label=labels)

    def _compute(self, signature: str, **inputs: np.ndarray | None) -> sampling.Arrays:
        """The outputs of a signature, computed in batches."""
        arrays = _present(**inputs)
        parts = list(sampling.batches(len(next(iter(arrays.values()))), self.batch_size))
        with self.track(parts, signature) as steps:
            rows = ({name: array[part] for name, array in arrays.items()} for part in steps)
            outputs = [self.call(signature, **row) for row in rows]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def split_latents(outputs: sampling.Arrays) -> tuple[np.ndarray, sampling.Arrays]:
    """The latents among the outputs of `encode`, `float32[N, D]`, and the others by name."""
    # Versions published before 0.1.0 call a posterior's mean so.
    name = "latents" if "latents" in outputs else "mean"
    return outputs[name], {other: outputs[other] for other in outputs if other != name}


def _present(**inputs: np.ndarray | None) -> sampling.Arrays:
    """The inputs that are not None."""
    return {name: array for name, array in inputs.items() if array is not None}
