"""`tfgen-sample`: images from a published model or a run, on this machine or behind a server."""

import contextlib
import functools
import itertools
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from tfgen import figures
from tfgen.errors import InterruptedRunError, UsageError, size_text
from tfgen.publishing import listing, sampling_job
from tfgen.publishing.sampling_job import SamplingJob, write_shard
from tfgen.publishing.signatures import SignatureSampler, split_latents
from tfgen.sampling import Arrays, batches, byte_pixels, request_labels, request_seeds
from tfgen.settings.fields import option
from tfgen.system.atomic import fresh_folder, write_arrays, write_bytes
from tfgen.system.machine import memory_bytes
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.ray_cluster import check_installed, connected
from tfgen.system.status import note, status
from tfgen.system.terminal import count_noun, format_bytes, format_rate, progress

from . import _samplers
from ._command import check_folder, check_output, command
from ._flags import RayOptions, align_columns, argument
from ._images import ImageOptions, evaluate_files

# Above so many images, a folder has shards of this size instead of a PNG file per image.
MAX_PICTURES, SHARD_SIZE = 50_000, 10_000
# The extensions of animations.
ANIMATIONS = (".gif", ".webp")


@dataclass(frozen=True)
class SampleOptions(_samplers.SamplerOptions, RayOptions):
    """The arguments that say what `tfgen-sample` draws and writes."""

    name: str = argument(*_samplers.NAME, default="")
    list: bool = option(False, "list the published versions of NAME, or of all names, and exit")
    n: int = option(25, "number of images", minimum=1)
    seed: int = option(0, "seed that the seeds of all images are derived from", minimum=0)
    seeds: tuple[int, ...] | None = option(
        None,
        "one seed for each image, in place of --n and --seed",
        minimum=-(2**31),
        maximum=2**32 - 1,  # unsigned, as the page shows them
    )
    label: tuple[str, ...] | None = option(
        None,
        "classes of the images in turn, by name or number (default: image i has class i mod K)",
        whole=True,
    )
    temperature: float = option(
        1.0, "scale of the latents; below 1, images are less diverse", above=0, maximum=10.0
    )
    out: str | None = option(
        None,
        "file to write: .png, .npz, .gif or .webp (an animation of --interpolate or --between); or "
        "a new folder of PNG files, with / at its end (default: NAME-samples.png)",
    )
    manifold: int | None = option(
        None, "draw N × N images on a grid of the latent plane of a model with 2 latents", minimum=2
    )
    interpolate: int | None = option(
        None, "draw N images on the way from each seed to the next, one row per pair", minimum=2
    )
    between: tuple[Path, ...] | None = option(
        None, "draw --n images on the way from each of these pictures to the next, one row per pair"
    )
    path: Literal["linear", "spherical"] = option("linear", "path of --interpolate and --between")
    shard_size: int | None = option(
        None,
        "write shards, TFRecord files of N images, to the folder --out; run again, the command "
        f"continues (default: {SHARD_SIZE} for a folder of over {MAX_PICTURES} images, else none)",
        minimum=1,
    )
    pixels: Literal["png", "raw"] = option(
        "png", "encoding of images in shards: a PNG file each, or raw uint8 pixels"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name and not self.list:
            raise UsageError(f"{_samplers.NAME[0]} is missing; see tfgen-sample --help")
        ways = ["shard_size", "between", "manifold", "interpolate" if self.interpolate else "seeds"]
        passed = [name for name in ways if getattr(self, name) is not None]
        if len(passed) > 1:
            first, second = (f"--{name.replace('_', '-')}" for name in passed[:2])
            raise UsageError(f"{first} and {second} exclude each other")
        if self.manifold and self.temperature != 1:
            raise UsageError("--manifold has its own latents; leave out --temperature")
        if self.out == "":
            raise UsageError("--out: the path is empty")
        if not self.images_per_shard and (self.pixels == "raw" or self.ray is not None):
            raise UsageError("--pixels raw and --ray are for shards; pass --shard-size too")
        suffix = Path(self.out or "").suffix
        if suffix in ANIMATIONS and not self.columns:
            raise UsageError(f"{self.out} is an animation; pass --interpolate or --between, too")
        if self.shard_size and suffix in (".png", ".npz") and not is_folder(self.out or ""):
            raise UsageError(f"{self.out} names a file; pass a folder for --shard-size")
        if (self.images_per_shard or self.manifold or self.between) and len(self.label or ()) > 1:
            raise UsageError("shards, --manifold and --between take one --label")

    @property
    def columns(self) -> int | None:
        """Number of images on the way from one latent to the next; None without such a way."""
        return self.n if self.between else self.interpolate

    @property
    def images_per_shard(self) -> int | None:
        """Number of images in each shard; None if no shards are written."""
        if self.manifold or self.columns or self.seeds is not None or self.shard_size:
            return self.shard_size
        is_for_folder = self.out and (is_folder(self.out) or not Path(self.out).suffix)
        return SHARD_SIZE if self.n > MAX_PICTURES and is_for_folder else None


def is_folder(out: str) -> bool:
    """Whether `--out` is a folder: its name ends with a slash, or there is such a folder."""
    return out.endswith("/") or Path(out).is_dir()


@command("tfgen-sample", SampleOptions)
def main(options: SampleOptions) -> None:
    """Sample images from a published model (the shipped one if there is no other) or from a run."""
    if options.list:
        print(list_versions(options))
        return
    if options.images_per_shard:
        sample_shards(options, options.images_per_shard)
        return
    if options.out:
        check_destination(options.out)
    sampler = _samplers.open_sampler(options)
    arrays = draw(sampler, options)
    out = options.out or f"{sampler.name}-samples.png"
    write(out, arrays, options, _samplers.class_names(sampler))
    print_training(sampler)
    print(f"{count_noun(len(arrays['images']), 'image')} of {sampler.title} in {out}")


def print_training(sampler: SignatureSampler) -> None:
    """Print how the model was trained, if that is known; behind a server it is not."""
    if training := listing.training_text(getattr(sampler, "manifest", {"run": sampler.training})):
        print(f"{sampler.title}: {training}")


def list_versions(options: SampleOptions) -> str:
    """A table of the published versions of a name, or of all names.

    Without a terminal it has a line for each version, with tabs between the cells.

    Raises:
        UsageError: there is no such name, or the versions are behind a server.
    """
    if options.is_served:
        raise UsageError("--list shows --saved-models; leave out --url and --grpc")
    table = [listing.HEADINGS, *listing.rows(options.saved_models, options.name or None)]
    if sys.stdout is None or not sys.stdout.isatty():
        return "\n".join(map("\t".join, table))
    return "\n".join(align_columns(table, right=[1, 2, 4, 5, 6]))


# --- shards -----------------------------------------------------------------------------


def sample_shards(options: SampleOptions, shard_size: int) -> None:
    """Write the requested images as shards of that size, and say what was done.

    Raises:
        UsageError: the folder cannot be used or has shards of another request, the model has no
            such label, it makes no images, or the cluster has too few cores.
        WorkError: the model or the folder is damaged, or a server or a cluster gives no answer.
        InterruptedRunError: a signal ended the work; the message says how much is done.
    """
    if options.ray is not None:
        check_installed()
    if options.out:
        check_destination(options.out, is_for_shards=True)
    sampler = _samplers.open_sampler(options)
    out = options.out or f"{sampler.name}-samples/"
    check_destination(out, is_for_shards=True)
    request = sampling_job.shard_request(
        sampler,
        options.n,
        seed=options.seed,
        label=None if options.label is None else _samplers.read_label(options.label[0], sampler),
        temperature=options.temperature,
        shard_size=shard_size,
        batch_size=options.batch_size,
        pixels=options.pixels,
    )
    done = complete(SamplingJob(Path(out), request), sampler, options)
    print_training(sampler)
    images, shards = count_noun(request.n, "image"), count_noun(request.num_shards, "shard")
    print(f"{images} of {sampler.title} in {shards} in {out}")
    print(done)


def complete(job: SamplingJob, sampler: SignatureSampler, options: SampleOptions) -> str:
    """Write the shards that a folder lacks; return what was done, in one line."""
    import_quietly()
    with job.locked():
        with status(f"checking the shards in {job.folder}"):
            job.prepare()
        present, start = job.images_done, time.perf_counter()
        try:
            with interruptible():
                if job.missing and options.ray is None:
                    with _bar(job) as advance:
                        for index in job.missing:
                            job.add(write_shard(sampler, job.request, index, job.folder, advance))
                elif job.missing:
                    write_on_cluster(job, sampler, options)
                job.finish()
        except KeyboardInterrupt as error:
            done, total = len(job.records), count_noun(job.request.num_shards, "shard")
            text = f"interrupted; {done} of {total} in {job.folder} are complete"
            signum = getattr(error, "signum", signal.SIGINT)
            raise InterruptedRunError(f"{text}; the same command continues", signum) from error
        seconds = time.perf_counter() - start
    images = job.request.n - present
    if not images:
        return "all shards were there already; no image was sampled"
    rest = f"; {present} were there already" if present else ""
    rate = format_rate(images / seconds)
    return f"{count_noun(images, 'image')} sampled in {seconds:.1f} s, {rate}{rest}"


def write_on_cluster(job: SamplingJob, sampler: SignatureSampler, options: SampleOptions) -> None:
    """Write the missing shards with the workers of a Ray cluster, which open the sampler."""
    opening = functools.partial(_samplers.open_sampler, _samplers.pinned(options, sampler))
    with connected(options.ray_address, options.ray or 0) as cluster, _bar(job) as advance:
        sampling_job.write_missing(cluster, job, opening, advance)


def _bar(job: SamplingJob) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    console, present = Console(stderr=True), job.images_done
    return progress(console, "sampling images", job.request.n, present, has_rate=True)


# --- images -----------------------------------------------------------------------------


def draw(sampler: SignatureSampler, options: SampleOptions) -> Arrays:
    """The requested images with their latents, and with seeds, labels or names if there are some.

    Raises:
        UsageError: `--manifold` needs a latent space of two dimensions, or a label; the model has
            no such label, or does not encode; there are not two pictures for `--between`; or the
            images do not fit into memory.
    """
    _check_memory(sampler, options)
    arrays: Arrays = {}
    classes: Any = None
    if options.manifold:
        if sampler.latent_dim != 2:
            raise UsageError(f"--manifold needs 2 latents; {sampler.name} has {sampler.latent_dim}")
        if sampler.num_classes and options.label is None:
            raise UsageError(f"--manifold of {sampler.name}, which is conditional, needs a --label")
        latents = figures.manifold_latents(options.manifold)
    elif options.between:
        from tfgen.data.pictures import find_files

        label = options.label[0] if options.label else None
        pictures = ImageOptions(name=options.name, images=options.between, label=label)
        own = evaluate_files(pictures, sampler, "encode", find_files(options.between))
        arrays["names"] = np.array(own.collection.names)
        latents = _interpolations(split_latents(own.outputs)[0], options)
        classes = own.inputs["labels"][:-1] if sampler.num_classes else None
        for line in own.lines:
            note(line)
    elif options.interpolate:
        seeds = request_seeds(options.n + 1, options.seed, options.seeds)
        latents = _interpolations(sampler.latents(seeds), options)
    else:
        arrays["seeds"] = request_seeds(options.n, options.seed, options.seeds)
        latents = sampler.latents(arrays["seeds"])
    if options.temperature != 1:
        latents = latents * np.float32(options.temperature)
    # All images in a row of an interpolation have the same class.
    columns = options.columns or 1
    count = len(latents) // columns
    if options.label is not None:
        classes = np.resize([_samplers.read_label(text, sampler) for text in options.label], count)
    labels = request_labels(count, sampler.num_classes, classes)
    if labels is not None:
        arrays["labels"] = labels = np.repeat(labels, columns)
    return {"images": sampler.decode(latents, labels), "latents": latents, **arrays}


def _check_memory(sampler: SignatureSampler, options: SampleOptions) -> None:
    rows = options.n if options.seeds is None else len(options.seeds)
    count = options.manifold**2 if options.manifold else rows * (options.interpolate or 1)
    shape = sampler.signature("decode").outputs["images"].shape[1:]
    # The images in float32, and the same in the picture.
    needed, limit = 2 * 4 * count * math.prod(side or 1 for side in shape), memory_bytes()
    if needed > limit:
        text = f"{count} images of {size_text(shape)} need {format_bytes(needed)} of memory"
        raise UsageError(f"{text}; this machine has {format_bytes(limit)}: ask for fewer images")


def _interpolations(ends: np.ndarray, options: SampleOptions) -> np.ndarray:
    """The latents of all rows, each from one end to the next."""
    if len(ends) < 2:
        raise UsageError("an interpolation needs two seeds or pictures, or more")
    way = options.columns or 0, options.path
    pairs = itertools.pairwise(ends)
    return np.concatenate([figures.interpolated_latents(*pair, *way) for pair in pairs])


# --- files ------------------------------------------------------------------------------


def check_destination(out: str, is_for_shards: bool = False) -> None:
    """Refuse a value of `--out` before any work is done.

    Args:
        out: the value.
        is_for_shards: whether it is the folder of shards, which may have some already.

    Raises:
        UsageError: the file or the folder cannot be written, or the folder has files already.
    """
    path = Path(out)
    if not is_for_shards and not is_folder(out):
        check_output(path, (".png", ".npz", *ANIMATIONS))
        return
    if path.is_dir() and any(path.iterdir()) and not (is_for_shards and sampling_job.is_job(path)):
        raise UsageError(f"cannot write {out}: the folder is not empty; choose a new folder")
    check_folder(path)


def write(out: str, arrays: Arrays, options: SampleOptions, names: Sequence[str]) -> None:
    """Write a picture, an animation, all arrays, or a folder of pictures, whole or not at all."""
    path = Path(out)
    if is_folder(out):
        write_folder(path, arrays)
    elif path.suffix == ".npz":
        write_arrays(path, arrays | {"images": byte_pixels(arrays["images"])})
    elif path.suffix in ANIMATIONS:
        write_bytes(path, figures.animation_bytes(arrays["images"], path.suffix[1:]))
    else:
        write_picture(path, arrays, options, names)


def write_folder(path: Path, arrays: Arrays) -> None:
    """Write a PNG file of each image, `000000.png` and so on, and a table of seeds and labels.

    The folder appears complete, by one rename, or not at all.
    """
    from tfgen.data.pictures import SAMPLES_TABLE

    images = arrays["images"]
    columns: dict[str, Any] = {"file": [f"{index:06}.png" for index in range(len(images))]}
    columns |= {name[:-1]: arrays[name] for name in ("seeds", "labels") if name in arrays}
    with fresh_folder(path.absolute().parent, path.name) as folder:
        with _samplers.show_progress(list(batches(len(images))), "writing the files") as parts:
            for part in parts:
                for name, image in zip(columns["file"][part], images[part], strict=True):
                    (folder / name).write_bytes(figures.png_bytes(byte_pixels(image), least_side=0))
        (folder / SAMPLES_TABLE).write_bytes(_samplers.csv_bytes(columns))
        folder.chmod(0o755)  # a temporary folder is private
        folder.rename(path)


def write_picture(path: Path, arrays: Arrays, options: SampleOptions, names: Sequence[str]) -> None:
    """Write a grid of the images; samples without an order have nothing written beside them.

    Args:
        path: the file.
        arrays: the images, and their labels if they have some.
        options: what was asked for.
        names: of the classes; empty if they are unknown.
    """
    images, title, columns = arrays["images"], "", None
    axes: tuple[figures.GridAxis, ...] = ()
    if options.manifold:
        title = "the latent plane" + (f" of class {options.label[0]}" if options.label else "")
        columns, axes = options.manifold, figures.manifold_axes(options.manifold)
    elif columns := options.columns:
        kind, ends = "seeds", list(request_seeds(options.n + 1, options.seed, options.seeds))
        if "names" in arrays:
            kind, stems = "pictures", [Path(name).stem for name in arrays["names"]]
            # Long names would take the width of the images.
            ends = [name if len(name) <= 12 else f"{name[:6]}…{name[-5:]}" for name in stems]
        title, heading = f"between images, {options.path} path", kind
        words = [f"{start} → {end}" for start, end in itertools.pairwise(ends)]
        if "labels" in arrays:
            of_rows = figures.class_axis(arrays["labels"][::columns], names).labels
            heading = f"class: {kind}"
            words = [f"{name}: {row}" for name, row in zip(of_rows, words, strict=True)]
        axes = (figures.GridAxis(heading, words), figures.path_axis(columns))
    elif "labels" in arrays and len(options.label or ()) != 1:
        of_image = arrays["labels"]
        classes, columns = dict.fromkeys(of_image.tolist()), int(np.bincount(of_image).max())
        # Grey, like the empty cells of a grid's last row.
        grey = np.full((columns, *images.shape[1:]), 0.5, np.float32)
        by_class = [np.concatenate([images[of_image == k], grey])[:columns] for k in classes]
        images, title = np.concatenate(by_class), "samples by class"
        axes = (figures.class_axis(classes, names),)
    _samplers.write_grid(path, figures.image_grid(images, columns), title, *axes)
