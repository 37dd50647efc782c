"""What `tfgen-score` and `tfgen-reconstruct` share: images of the user's own."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tfgen.errors import UsageError, size_text
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays, image_labels
from tfgen.settings.fields import Config, option
from tfgen.system.terminal import count_noun, progress

from ._command import check_output
from ._flags import Parser, add_flags, read_flags, read_path
from ._samplers import (
    NAME_HELP,
    NAME_METAVAR,
    SamplerOptions,
    open_sampler,
    plain_name,
    read_label,
)

if TYPE_CHECKING:
    from tfgen.data.pictures import Collection

# Skipped files that are listed at the terminal.
_MAX_LISTED = 20


@dataclass(frozen=True)
class ImageOptions(Config):
    """The flags that say how images of the user's own are read."""

    seed: int = option(
        0,
        "seed of the first image's noise; each further image has the next seed",
        minimum=-(2**31),
        maximum=2**31 - 1,
    )
    label: str | None = option(
        None,
        "class of all images, for a conditional model: the name that the data set gives it, or its "
        "number (default: the labels of an NPZ file)",
    )
    fit: Literal["crop", "pad", "stretch"] = option(
        "crop", "how pictures of another size get the size of the model's images"
    )
    background: str = option(
        "white", "colour behind transparency and in the bars of --fit pad, such as '#808080'"
    )


class OwnImages(NamedTuple):
    """Images of the user's own, and the model that they are for.

    Attributes:
        sampler: the model.
        collection: the images in the size and the channels that the model takes.
        labels: of a conditional model, `int32[N]`; else None.
        options: how the images were read.
    """

    sampler: SignatureSampler
    collection: "Collection"
    labels: np.ndarray | None
    options: ImageOptions


def parse(
    prog: str, description: str, options: type, argv: list[str]
) -> tuple[argparse.Namespace, str]:
    """The arguments of a command for images of the user's own, and the plain name of the model.

    Args:
        prog: the console script's name.
        description: the text above the flags.
        options: the flags of this command alone.
        argv: the arguments.
    """
    parser = Parser(prog, description, conflict_handler="resolve")  # --version is a flag of its own
    parser.add_argument("name", metavar=NAME_METAVAR, help=NAME_HELP)
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        type=read_path,
        help="picture files, folders of pictures, NPZ files with images (of tfgen-sample, or any)",
    )
    for kind in (options, ImageOptions, SamplerOptions):
        add_flags(parser, kind)
    flags = parser.parse(argv)
    return flags, plain_name(flags.name, read_flags(flags, SamplerOptions))


def open_images(
    flags: argparse.Namespace,
    signature: str,
    meaning: str,
    out: Path | None,
    suffixes: Sequence[str],
) -> OwnImages:
    """Opens the model and reads the images; what is wrong with a file is said before.

    Args:
        flags: what `parse` returned.
        signature: name of the signature that takes the images.
        meaning: what the model has if it has the signature, in words.
        out: the file that will be written; None if there is none.
        suffixes: its possible extensions.

    Raises:
        UsageError: a path does not exist, there is no picture, a flag has no valid value, an image
            would be overwritten, or the model has no such signature or takes other images.
        WorkError: the model is damaged, or the server gives no answer.
    """
    from tfgen.data.pictures import Fitting, find_files

    options: ImageOptions = read_flags(flags, ImageOptions)
    Fitting(fit=options.fit, background=options.background)
    if out is not None:
        check_output(out, suffixes)
    files = find_files(flags.images)
    # A link that leads nowhere is among the files, too; reading will report it.
    present = [file for file in files if file.exists()]
    if out is not None and out.exists() and any(file.samefile(out) for file in present):
        raise UsageError(f"cannot write {out}: it is among the images; choose another file")
    sampler = open_sampler(flags.name, read_flags(flags, SamplerOptions))
    check_signature(sampler, signature, meaning)
    collection = read_images(files, sampler, signature, options)
    return OwnImages(sampler, collection, own_labels(collection, sampler, options), options)


def check_signature(sampler: SignatureSampler, signature: str, meaning: str) -> None:
    """Refuses a model without a signature.

    Args:
        sampler: the model.
        signature: name of the signature.
        meaning: what the model has if it has the signature, in words.

    Raises:
        UsageError: it has none, or one of other inputs or outputs.
    """
    if not sampler.has_signature(signature):
        raise UsageError(
            f"{sampler.title} has no {meaning}: it offers no {signature}, as no GAN does; pass a "
            "VAE or a flow"
        )
    tensors = sampler.signature(signature)
    has_output = signature != "log_prob" or signature in tensors.outputs
    if "images" not in tensors.inputs or not has_output:
        raise UsageError(
            f"{signature} of {sampler.title} computes {', '.join(tensors.outputs)} of "
            f"{', '.join(tensors.inputs)}: tfgen did not export it"
        )


def read_images(
    files: Sequence[Path], sampler: SignatureSampler, signature: str, options: ImageOptions
) -> "Collection":
    """Reads images in the size and channels that a signature takes; shows progress.

    Raises:
        UsageError: no image can be read, or the model's images have neither 1 nor 3 channels.
    """
    from rich.console import Console

    from tfgen.data.pictures import Fitting, read_images

    shape = image_shape(sampler, signature)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UsageError(f"{sampler.title} takes {size_text(shape)}; pictures have 1 or 3 channels")
    height, width, channels = shape
    fitting = Fitting((height, width), options.fit, options.background, channels)
    with progress(Console(stderr=True), "reading images", len(files)) as advance:
        return read_images(files, fitting, advance)


def image_shape(sampler: SignatureSampler, signature: str) -> tuple[int, ...]:
    """Height, width and channels of the images that a signature takes."""
    return tuple(side or 0 for side in sampler.signature(signature).inputs["images"].shape[1:])


def evaluate(
    sampler: SignatureSampler,
    signature: str,
    images: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
) -> tuple[Arrays, Arrays]:
    """The outputs of a signature, and its inputs beside the images.

    Args:
        sampler: the model.
        signature: name of the signature.
        images: `uint8[N, H, W, C]`.
        labels: of a conditional model, `int[N]`; else None.
        seed: of the noise of image 0; image i has seed + i.

    Returns:
        The outputs; `seeds` and `labels`, `int32[N]`, where the model takes them.

    Raises:
        UsageError: the last seed does not fit into 32 bits.
    """
    seeds, n = None, len(images)
    if "seed" in sampler.signature(signature).inputs:
        if seed + n > 2**31:
            raise UsageError(f"seed = {seed} is too large for {n} images; the most is {2**31 - n}")
        seeds = np.arange(seed, seed + n, dtype=np.int32)
    inputs = {"seeds": seeds, "labels": labels}
    outputs = sampler.evaluate(signature, images, seeds, labels)
    return outputs, {name: array for name, array in inputs.items() if array is not None}


def own_labels(
    collection: "Collection", sampler: SignatureSampler, options: ImageOptions
) -> np.ndarray | None:
    """The classes of the images, `int32[N]`; None of an unconditional model.

    Raises:
        UsageError: the model is conditional and there are no labels, a label is out of range, or
            `--label` is passed to an unconditional model.
    """
    labels: int | np.ndarray | None = read_label(options.label, sampler)
    if labels is None and sampler.num_classes:
        labels = collection.labels
        if labels is None:
            raise UsageError(
                f"{sampler.title} is conditional; pass the class of all images with --label, or "
                "NPZ files with labels"
            )
    return image_labels(len(collection.images), sampler.num_classes, labels)


def describe_reading(own: OwnImages, shape: Sequence[int]) -> list[str]:
    """Lines that say which images were resized to `shape`, and which files were skipped."""
    lines, collection = [], own.collection
    if collection.resized:
        verb = "was" if collection.resized == 1 else "were"
        lines.append(
            f"{count_noun(collection.resized, 'image')} of another size {verb} resized to "
            f"{size_text(shape[:2])} (Lanczos, {own.options.fit})"
        )
    return [*lines, *describe_skipped(collection.skipped)]


def describe_skipped(skipped: "Sequence[tuple[Path, str]]") -> list[str]:
    """Lines that list skipped files, each with the reason; none if there are none."""
    from tfgen.data.pictures import printable

    if not skipped:
        return []
    lines = [f"{count_noun(len(skipped), 'file')} skipped:"]
    lines += [f"  {printable(path)} {reason}" for path, reason in skipped[:_MAX_LISTED]]
    if len(skipped) > _MAX_LISTED:
        lines.append(f"  … and {len(skipped) - _MAX_LISTED} more")
    return lines
