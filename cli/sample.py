"""`tfgen-sample`: images from a published sampler or a run, on this machine or behind a server."""

import csv
import itertools
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfgen import figures
from tfgen.errors import UsageError, size_text
from tfgen.publishing import listing
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import Arrays, batches, byte_pixels, request_labels, request_seeds
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED
from tfgen.system.atomic import fresh_folder
from tfgen.system.machine import memory_bytes
from tfgen.system.quiet import interruptible
from tfgen.system.terminal import count_noun

from ._command import check_folder, check_output, run_command, terminable
from ._flags import Parser, add_flags, align_columns, read_flags
from ._ray import RayOptions
from ._samplers import (
    NAME_HELP,
    NAME_METAVAR,
    SamplerOptions,
    open_sampler,
    plain_name,
    read_label,
    sampler_opening,
    show_progress,
    write_grid,
    write_npz,
)

PROG = "tfgen-sample"
# Above so many images, a folder has shards of this size instead of a PNG file per image.
MAX_PICTURES, SHARD_SIZE = 50_000, 10_000


@dataclass(frozen=True)
class SampleOptions(Config):
    """The flags that say what `tfgen-sample` draws and writes."""

    n: int = option(25, "number of images", minimum=1, maximum=2**31 - 1)
    seed: int = option(
        0, "seed of the request; the same seed gives the same images", minimum=0, maximum=MAX_SEED
    )
    seeds: tuple[int, ...] | None = option(
        None,
        "one seed for each image, in place of --n and --seed; an .npz file has those of its images",
        minimum=-(2**31),
        maximum=2**31 - 1,
    )
    label: str | None = option(
        None,
        "class of all images, for a conditional model: the name that the data set gives it, or its "
        "number (default: image i has class i mod K)",
    )
    temperature: float = option(
        1.0,
        "scale of the latents; below 1, images are more probable and less diverse",
        above=0,
        maximum=10.0,
    )
    out: str | None = option(
        None,
        "file to write, .png or .npz, or a new folder for one PNG file per image, with / at its "
        "end (default: NAME-samples.png)",
    )
    manifold: int | None = option(
        None, "draw a grid of N × N points of a latent space with 2 dimensions", minimum=2
    )
    interpolate: int | None = option(
        None, "draw N images on the way from each seed to the next, one row per pair", minimum=2
    )
    path: Literal["linear", "spherical"] = option("linear", "path of --interpolate")
    shard_size: int | None = option(
        None,
        "write shards, TFRecord files of N images each, to the folder --out; an interrupted "
        f"command continues if it is repeated (default: {SHARD_SIZE} for a folder of more than "
        f"{MAX_PICTURES} images, otherwise no shards)",
        minimum=1,
    )
    pixels: Literal["png", "raw"] = option(
        "png", "encoding of an image in a shard: a PNG file, or raw uint8 pixels"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.manifold and self.interpolate:
            raise UsageError("--manifold and --interpolate exclude each other")
        if self.manifold and self.temperature != 1:
            raise UsageError("--manifold has its own latents; leave out --temperature")
        if self.interpolate and self.seeds and len(self.seeds) < 2:
            raise UsageError("--interpolate needs two --seeds or more")
        if self.out == "":
            raise UsageError("--out: the path is empty")
        if self.pixels == "raw" and not self.images_per_shard:
            raise UsageError("--pixels raw is for shards; pass --shard-size too")
        if self.shard_size is None:
            return
        for name in ("manifold", "interpolate", "seeds"):
            if getattr(self, name) is not None:
                raise UsageError(f"--shard-size and --{name} exclude each other")
        if self.out and Path(self.out).suffix in (".png", ".npz") and not is_folder(self.out):
            raise UsageError(
                f"--shard-size: {self.out} names a file; pass a folder, or leave it out"
            )

    @property
    def images_per_shard(self) -> int | None:
        """Number of images in each shard; None if no shards are written."""
        if self.manifold or self.interpolate or self.seeds is not None or self.shard_size:
            return self.shard_size
        if self.n <= MAX_PICTURES or self.out is None:
            return None
        return SHARD_SIZE if is_folder(self.out) or not Path(self.out).suffix else None


def is_folder(out: str) -> bool:
    """Whether `--out` is a folder: its name ends with a separator, or there is such a folder."""
    return out.endswith(("/", os.sep)) or Path(out).is_dir()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Sample images from a published model; if none was trained, from the shipped one. Or from "
        "the model of a run.",
        conflict_handler="resolve",  # --version is a flag of its own
    )
    parser.add_argument(
        "name",
        metavar=NAME_METAVAR,
        # Without --list the name is required.
        nargs="?" if "--list" in argv else None,
        help=NAME_HELP,
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the published versions of NAME, or of all names, and exit",
    )
    add_flags(parser, SampleOptions)
    add_flags(parser, SamplerOptions)
    add_flags(parser, RayOptions)
    namespace = parser.parse(argv)
    options, source = (read_flags(namespace, kind) for kind in (SampleOptions, SamplerOptions))
    cluster: RayOptions = read_flags(namespace, RayOptions)
    if namespace.list:
        print(list_versions(namespace.name, source))
        return
    if options.images_per_shard:
        sample_shards(namespace.name, options, source, cluster)
        return
    if cluster.ray is not None:
        raise UsageError("--ray is for shards; pass --shard-size too")
    out = options.out or f"{plain_name(namespace.name, source)}-samples.png"
    check_destination(out)
    with interruptible():
        sampler = open_sampler(namespace.name, source)
        arrays = draw(sampler, options)
    write(out, arrays, options)
    print_training(sampler)
    print(f"{count_noun(len(arrays['images']), 'image')} of {sampler.title} in {out}")


def sample_shards(
    name: str, options: SampleOptions, source: SamplerOptions, cluster: RayOptions
) -> None:
    """Writes the requested images as shards, and says what was done.

    Args:
        name: the positional argument, a name or a run directory.
        options: what is sampled.
        source: where the sampler is.
        cluster: where the work is done.

    Raises:
        UsageError: the folder cannot be used, the model has no such label, it makes no images, or
            the cluster has too few cores.
        WorkError: the model or the folder is damaged, or a server or a cluster gives no answer.
        InterruptedRunError: a signal ended the work.
    """
    from tfgen.publishing.sampling_job import SamplingJob, shard_request
    from tfgen.system.ray_cluster import check_installed

    from . import _shards

    assert options.images_per_shard
    out = options.out or f"{plain_name(name, source)}-samples/"
    check_destination(out, is_for_shards=True)
    if cluster.ray is not None:
        check_installed()
    with interruptible():
        sampler = open_sampler(name, source)
        request = shard_request(
            sampler,
            options.n,
            seed=options.seed,
            label=read_label(options.label, sampler),
            temperature=options.temperature,
            shard_size=options.images_per_shard,
            batch_size=source.batch_size,
            pixels=options.pixels,
        )
    job = SamplingJob(Path(out), request)
    if cluster.ray is None:
        done = _shards.complete(job, _shards.in_this_process(sampler))
    else:
        opening = sampler_opening(name, source, sampler)
        done = _shards.complete(job, _shards.on_cluster(opening, cluster))
    print_training(sampler)
    images, shards = count_noun(request.n, "image"), count_noun(request.num_shards, "shard")
    print(f"{images} of {sampler.title} in {shards} in {out}")
    print(done)


def print_training(sampler: SignatureSampler) -> None:
    """Prints how the model was trained, if that is known; behind a server it is not."""
    manifest = getattr(sampler, "manifest", {"run": sampler.training})
    if training := listing.describe(manifest):
        print(f"{sampler.title}: {training}")


def list_versions(name: str | None, options: SamplerOptions) -> str:
    """A table of the published versions of a name, or of all names.

    Without a terminal it has a line for each version, with tabs between the cells.

    Raises:
        UsageError: there is no such name, or the versions are behind a server.
    """
    if options.is_served:
        raise UsageError("--list shows --saved-models; leave out --url and --grpc")
    table = [listing.HEADINGS, *listing.rows(options.saved_models, name)]
    if sys.stdout is None or not sys.stdout.isatty():
        return "\n".join(map("\t".join, table))
    return "\n".join(align_columns(table, right=[1, 2, 4, 5]))


def draw(sampler: SignatureSampler, options: SampleOptions) -> Arrays:
    """The requested images with their latents, and with their seeds and labels if they have some.

    Raises:
        UsageError: `--manifold` needs a latent space of two dimensions, or a label; the model has
            no such label; or the images do not fit into memory.
    """
    _check_memory(sampler, options)
    arrays: Arrays = {}
    if options.manifold:
        latents = _manifold(sampler, options)
    elif options.interpolate:
        latents = _interpolations(sampler, options, options.interpolate)
    else:
        arrays["seeds"] = request_seeds(options.n, options.seed, options.seeds)
        latents = sampler.latents(arrays["seeds"])
    if options.temperature != 1:
        latents = latents * np.float32(options.temperature)
    # All images in a row of an interpolation have the same class.
    columns = options.interpolate or 1
    label = read_label(options.label, sampler)
    labels = request_labels(len(latents) // columns, sampler.num_classes, label)
    if labels is not None:
        arrays["labels"] = labels = np.repeat(labels, columns)
    return {"images": sampler.decode(latents, labels), "latents": latents, **arrays}


def _check_memory(sampler: SignatureSampler, options: SampleOptions) -> None:
    from tfgen.data.cache import GIGABYTE

    rows = options.n if options.seeds is None else len(options.seeds)
    count = options.manifold**2 if options.manifold else rows * (options.interpolate or 1)
    shape = sampler.signature("decode").outputs["images"].shape[1:]
    # The images in float32, and the same in the picture.
    needed, limit = 2 * 4 * count * math.prod(side or 1 for side in shape), memory_bytes()
    if needed > limit:
        raise UsageError(
            f"{count} images of {size_text(shape)} need {needed / GIGABYTE:.3g} GB of memory, this "
            f"machine has {limit / GIGABYTE:.3g} GB; ask for fewer images at once"
        )


def _manifold(sampler: SignatureSampler, options: SampleOptions) -> np.ndarray:
    assert options.manifold is not None
    if sampler.latent_dim != 2:
        raise UsageError(f"--manifold needs 2 latents; {sampler.name} has {sampler.latent_dim}")
    if sampler.num_classes and options.label is None:
        raise UsageError(f"--manifold of {sampler.name}, which is conditional, needs a --label")
    return figures.manifold_latents(options.manifold)


def _interpolations(sampler: SignatureSampler, options: SampleOptions, columns: int) -> np.ndarray:
    """The latents of all rows, each from one seed to the next."""
    ends = sampler.latents(request_seeds(options.n + 1, options.seed, options.seeds))
    rows = [
        figures.interpolated_latents(start, end, columns, options.path)
        for start, end in itertools.pairwise(ends)
    ]
    return np.concatenate(rows)


# --- files ------------------------------------------------------------------------------


def check_destination(out: str, is_for_shards: bool = False) -> None:
    """Refuses a value of `--out` before any work is done.

    Args:
        out: the value.
        is_for_shards: whether it is the folder of shards, which may have some already.

    Raises:
        UsageError: the file or the folder cannot be written, or the folder has files already.
    """
    from tfgen.publishing.sampling_job import is_job

    path = Path(out)
    if not (is_for_shards or is_folder(out)):
        check_output(path, (".png", ".npz"))
        return
    if path.is_dir() and any(path.iterdir()) and not (is_for_shards and is_job(path)):
        raise UsageError(
            f"cannot write {out}: the folder is not empty; choose a new folder, or the name of a "
            ".png or .npz file"
        )
    check_folder(path)


def write(out: str, arrays: Arrays, options: SampleOptions) -> None:
    """Writes a picture of the images, all arrays, or a folder of pictures, whole or not at all."""
    path = Path(out)
    if is_folder(out):
        write_folder(path, arrays)
        return
    if path.suffix == ".npz":
        write_npz(path, arrays)
        return
    images, title, columns, *axes = describe(arrays, options)
    write_grid(path, figures.image_grid(images, columns), title, *axes)


def write_folder(path: Path, arrays: Arrays) -> None:
    """Writes a PNG file of each image, `000000.png` and so on, and a table of seeds and labels.

    The folder appears complete, by one rename, or not at all.
    """
    from tfgen.data.pictures import SAMPLES_TABLE

    images = arrays["images"]
    names = [f"{index:06}.png" for index in range(len(images))]
    columns = {"seed": arrays.get("seeds"), "label": arrays.get("labels")}
    present = {name: array for name, array in columns.items() if array is not None}
    parent = path.absolute().parent
    with terminable("terminated; nothing was written"), fresh_folder(parent, path.name) as folder:
        with show_progress(list(batches(len(images))), "writing the files") as parts:
            for part in parts:
                for name, image in zip(names[part], images[part], strict=True):
                    png = figures.png_bytes(byte_pixels(image), least_side=0)
                    (folder / name).write_bytes(png)
        with (folder / SAMPLES_TABLE).open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", *present])
            table.writerows(zip(names, *present.values(), strict=True))
        folder.chmod(0o755)  # a temporary folder is private
        folder.rename(path)


def describe(
    arrays: Arrays, options: SampleOptions
) -> tuple[np.ndarray, str, int | None, figures.GridAxis | None, figures.GridAxis | None]:
    """The images of a picture, its title, its columns, and what its rows and columns are.

    The title is empty for samples without an order, which nothing is written beside.
    """
    images = arrays["images"]
    if options.manifold:
        of_class = "" if options.label is None else f" of class {options.label}"
        axes = figures.manifold_axes(options.manifold)
        return images, f"the latent plane{of_class}", options.manifold, *axes
    if columns := options.interpolate:
        pairs = itertools.pairwise(request_seeds(options.n + 1, options.seed, options.seeds))
        rows = figures.GridAxis("seeds", [f"{start} → {end}" for start, end in pairs])
        if "labels" in arrays:
            words = zip(arrays["labels"][::columns], rows.labels, strict=True)
            rows = figures.GridAxis("class: seeds", [f"{label}: {row}" for label, row in words])
        title = f"between samples, {options.path} path"
        return images, title, columns, rows, figures.path_axis(columns)
    if options.label is None and "labels" in arrays:
        images, columns = sort_by_class(images, arrays["labels"])
        if columns is not None:
            rows = figures.class_axis(len(images) // columns)
            return images, "samples by class", columns, rows, None
    return images, "", None, None, None


def sort_by_class(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Images in rows of one class each, and the number of columns.

    Images that do not fill the rows stay in their order; then the number of columns is None.
    """
    counts = np.bincount(labels)
    if len(set(counts)) > 1:
        return images, None
    return images[np.argsort(labels, kind="stable")], int(counts[0])


if __name__ == "__main__":
    raise SystemExit(main())
