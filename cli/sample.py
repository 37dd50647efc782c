"""`tfgen-sample`: images from a published sampler, on this machine or behind a server."""

import contextlib
import io
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfgen import figures
from tfgen.errors import UsageError, size_text
from tfgen.publishing import listing
from tfgen.publishing.served import MAX_RETRIES, ServedSampler
from tfgen.publishing.signatures import SignatureSampler
from tfgen.publishing.versions import check_name, find
from tfgen.sampling import BATCH, Arrays, request_labels, request_seeds
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly, interruptible
from tfgen.system.status import status

from ._command import SAVED_MODELS, check_output, run_command
from ._flags import Parser, add_flags, align_columns, read_flags

PROG = "tfgen-sample"
# Pixels of a side up to which matplotlib writes words beside a grid; it refuses 65 536.
MAX_FIGURE_SIDE = 2**15


@dataclass(frozen=True)
class SampleOptions(Config):
    """The flags of `tfgen-sample`."""

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
    label: int | None = option(
        None,
        "class of all images, for a conditional model (default: image i has class i mod K)",
        minimum=0,
    )
    temperature: float = option(
        1.0,
        "scale of the latents; below 1, images are more probable and less diverse",
        above=0,
        maximum=10.0,
    )
    out: Path | None = option(None, "file to write, .png or .npz (default: NAME-samples.png)")
    saved_models: Path = option(SAVED_MODELS, "folder of published samplers")
    version: int | None = option(
        None,
        "version to use (default: the newest); as the only argument, --version shows the version "
        "of tfgen",
        minimum=1,
        maximum=2**63 - 1,
    )
    manifold: int | None = option(
        None, "draw a grid of N × N points of a latent space with 2 dimensions", minimum=2
    )
    interpolate: int | None = option(
        None, "draw N images on the way from each seed to the next, one row per pair", minimum=2
    )
    path: Literal["linear", "spherical"] = option("linear", "path of --interpolate")
    batch_size: int = option(
        BATCH, "images computed at once, or requested from a server at once", minimum=1
    )
    url: str | None = option(
        None, "REST address of TensorFlow Serving, http://host:8501, in place of --saved-models"
    )
    grpc: str | None = option(
        None, "gRPC address of TensorFlow Serving, host:8500; needs the extra [serving]"
    )
    timeout: float = option(
        60.0, "time to wait for an answer of the server [s]", above=0, maximum=86_400
    )
    retries: int = option(
        3,
        "repetitions of a request if the server cannot be reached or is busy",
        minimum=0,
        maximum=MAX_RETRIES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.manifold and self.interpolate:
            raise UsageError("--manifold and --interpolate exclude each other")
        if self.manifold and self.temperature != 1:
            raise UsageError("--manifold has its own latents; leave out --temperature")
        if self.interpolate and self.seeds and len(self.seeds) < 2:
            raise UsageError("--interpolate needs two --seeds or more")
        if self.url is not None and self.grpc is not None:
            raise UsageError("--url and --grpc exclude each other")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG,
        "Sample images from a published model; if none was trained, from the shipped one.",
        conflict_handler="resolve",  # --version is a flag of its own
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        # Without --list the name is required.
        nargs="?" if "--list" in argv else None,
        help="name that the model was published under, for example vae",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the published versions of NAME, or of all names, and exit",
    )
    add_flags(parser, SampleOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, SampleOptions)
    if namespace.list:
        print(list_versions(namespace.name, options))
        return
    check_name(namespace.name)
    out = options.out or Path(f"{namespace.name}-samples.png")
    check_output(out, (".png", ".npz"))
    with interruptible():
        sampler = open_sampler(namespace.name, options)
        arrays = draw(sampler, options)
    write(out, arrays, options)
    # The manifest says how the model was trained; a server does not.
    if training := listing.describe(getattr(sampler, "manifest", {})):
        print(f"{sampler.name} version {sampler.number}: {training}")
    n = len(arrays["images"])
    images = "1 image" if n == 1 else f"{n} images"
    print(f"{images} of {sampler.name} version {sampler.number} in {out}")


def list_versions(name: str | None, options: SampleOptions) -> str:
    """A table of the published versions of a name, or of all names.

    Without a terminal it has a line for each version, with tabs between the cells.

    Raises:
        UsageError: there is no such name, or the versions are behind a server.
    """
    if options.url is not None or options.grpc is not None:
        raise UsageError("--list shows --saved-models; leave out --url and --grpc")
    table = [listing.HEADINGS, *listing.rows(options.saved_models, name)]
    if sys.stdout is None or not sys.stdout.isatty():
        return "\n".join(map("\t".join, table))
    return "\n".join(align_columns(table, right=[1, 2, 4, 5]))


def open_sampler(name: str, options: SampleOptions) -> SignatureSampler:
    """The published sampler of a name, from a folder or behind a server.

    Raises:
        UsageError: there is no such name or version, or it is no sampler of images.
        WorkError: the version is damaged, or the server gives no answer.
    """
    sampler = _connect(name, options) or _open_version(name, options)
    sampler.batch_size, sampler.track = options.batch_size, show_progress
    return sampler


def _connect(name: str, options: SampleOptions) -> SignatureSampler | None:
    """The sampler behind the server of `--url` or `--grpc`; None without these flags."""
    if options.url is not None:
        from tfgen.publishing.rest import Rest

        rest = Rest(options.url, options.timeout, options.retries)
        return ServedSampler(rest, name, options.version)
    if options.grpc is not None:
        from tfgen.publishing.grpc import Grpc

        import_quietly()
        grpc = Grpc(options.grpc, options.timeout, options.retries)
        return ServedSampler(grpc, name, options.version)
    return None


def _open_version(name: str, options: SampleOptions) -> SignatureSampler:
    version = find(name, options.saved_models, options.version)
    import_quietly()
    from tfgen.publishing.sampler import Sampler

    with status(f"opening {name} version {version.number}"):
        sampler = Sampler(version)
    if "sample" not in sampler.manifest["signatures"]:
        offered = ", ".join(sampler.manifest["signatures"])
        raise UsageError(f"{name} version {sampler.number} makes no images; it offers {offered}")
    return sampler


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
    labels = request_labels(len(latents) // columns, sampler.num_classes, options.label)
    if labels is not None:
        arrays["labels"] = labels = np.repeat(labels, columns)
    return {"images": sampler.decode(latents, labels), "latents": latents, **arrays}


def _check_memory(sampler: SignatureSampler, options: SampleOptions) -> None:
    from tfgen.data.memory import GIGABYTE, machine_memory

    rows = options.n if options.seeds is None else len(options.seeds)
    count = options.manifold**2 if options.manifold else rows * (options.interpolate or 1)
    shape = sampler.signature("decode").outputs["images"].shape[1:]
    # The images in float32, and the same in the picture.
    needed, limit = 2 * 4 * count * math.prod(side or 1 for side in shape), machine_memory()
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


@contextlib.contextmanager
def show_progress(parts: Sequence[slice], title: str) -> Iterator[Iterable[slice]]:
    """Shows progress and the remaining time over several batches, if there is a terminal."""
    if len(parts) < 2 or sys.stderr is None or not sys.stderr.isatty():
        with status("drawing images"):
            yield parts
        return
    from rich.console import Console

    from tfgen.system.terminal import make_bar

    with make_bar(Console(stderr=True)) as bar:
        yield bar.track(parts, description=title)


def write(path: Path, arrays: Arrays, options: SampleOptions) -> None:
    """Writes a picture of the images, or all arrays, whole or not at all."""
    if path.suffix == ".npz":
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_bytes(path, file.getvalue())
        return
    images, title, columns, *axes = describe(arrays, options)
    grid = figures.image_grid(images, columns)
    if title and max(grid.shape) <= MAX_FIGURE_SIDE:
        figures.save_figure(figures.grid_figure(grid, title, *axes), path)
    else:
        write_bytes(path, figures.png_bytes(grid))


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
