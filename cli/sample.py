"""`tfgen-sample`: images from a published sampler, on this machine or behind a server."""

import contextlib
import io
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from tfgen.seeds import image_seeds

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.publishing.served import MAX_RETRIES, Grpc, Rest, ServedSampler
from tfgen.publishing.versions import Sampler, find
from tfgen.settings.fields import Config, option
from tfgen.settings.training import MAX_SEED
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly

from ._command import check_output, run_command
from ._flags import Parser, add_flags, read_flags

PROG = "tfgen-sample"

AnySampler: TypeAlias = Sampler | ServedSampler


@dataclass(frozen=True)
class SampleOptions(Config):
    """The flags of `tfgen-sample`."""

    n: int = option(25, "how many images", minimum=1, maximum=2**31 - 1)
    seed: int = option(
        0, "of the request; the same seed gives the same images", minimum=0, maximum=MAX_SEED
    )
    seeds: tuple[int, ...] | None = option(
        None,
        "each image's own seed, in place of --n and --seed; an .npz tells those of its images",
        minimum=-(2**31),
        maximum=2**31 - 1,
    )
    label: int | None = option(
        None, "class of all images, of a conditional model (default: all classes alike)", minimum=0
    )
    temperature: float = option(
        1.0,
        "scale of the latents: below 1 images are likelier and more alike",
        above=0,
        maximum=10.0,
    )
    out: Path | None = option(None, "file to write, .png or .npz (default: NAME-samples.png)")
    saved_models: Path = option(Path("saved_models"), "folder of published samplers")
    version: int | None = option(
        None, "version to use (default: the newest)", minimum=1, maximum=2**63 - 1
    )
    manifold: int | None = option(
        None, "side of a grid through a latent space of 2 dimensions", minimum=2
    )
    interpolate: int | None = option(
        None, "images on the way between each two neighbouring seeds", minimum=2
    )
    path: Literal["linear", "spherical"] = option("linear", "the way that --interpolate takes")
    batch_size: int = option(250, "images computed at once, or asked for in one request", minimum=1)
    url: str | None = option(
        None, "TensorFlow Serving's REST address, http://host:8501, in place of a folder"
    )
    grpc: str | None = option(None, "its gRPC address, host:8500; needs the extra [serving]")
    timeout: float = option(
        60.0, "seconds to wait for a server's answer [s]", above=0, maximum=86_400
    )
    retries: int = option(
        3,
        "how often a request is sent again where no server is met, or an overloaded one",
        minimum=0,
        maximum=MAX_RETRIES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    parser = Parser(
        PROG, "Sample images from a published model; where none was trained, from the shipped one."
    )
    parser.add_argument(
        "name", metavar="NAME", help="name that the model was published under, vae for one"
    )
    add_flags(parser, SampleOptions)
    namespace = parser.parse(argv)
    options = read_flags(namespace, SampleOptions)
    if options.manifold and options.interpolate:
        raise UsageError("--manifold and --interpolate exclude each other")
    if options.manifold and options.temperature != 1:
        raise UsageError("--manifold has its own latents; leave out --temperature")
    if options.interpolate and options.seeds and len(options.seeds) < 2:
        raise UsageError("--interpolate needs two --seeds or more")
    if options.url is not None and options.grpc is not None:
        raise UsageError("--url and --grpc exclude each other")
    out = options.out or Path(f"{namespace.name}-samples.png")
    check_output(out, (".png", ".npz"))
    sampler = open_sampler(namespace.name, options)
    arrays, columns = draw(sampler, options)
    write(out, arrays, columns)
    print(f"{len(arrays['images'])} images of {sampler.name} version {sampler.number} in {out}")


def open_sampler(name: str, options: SampleOptions) -> AnySampler:
    """The published sampler of that name, from a folder or behind a server.

    Raises:
        UsageError: there is no such name or version.
        WorkError: the version is broken, or the server gives no answer.
    """
    if options.url is not None:
        return ServedSampler(
            Rest(options.url, options.timeout, options.retries), name, options.version
        )
    if options.grpc is not None:
        import_quietly()
        return ServedSampler(
            Grpc(options.grpc, options.timeout, options.retries), name, options.version
        )
    version = find(name, options.saved_models, options.version)
    import_quietly()
    sampler = Sampler(version)
    if "sample" not in sampler.manifest["signatures"]:
        offered = ", ".join(sampler.manifest["signatures"])
        raise UsageError(f"{name} version {sampler.number} makes no images; it offers {offered}")
    return sampler


def draw(sampler: AnySampler, options: SampleOptions) -> tuple[dict[str, np.ndarray], int | None]:
    """The images asked for with their latents (and seeds), and the columns of their grid.

    Raises:
        UsageError: a manifold is asked of a latent space that is not of 2 dimensions, or a label
            that the model does not have.
    """
    arrays: dict[str, np.ndarray] = {}
    columns = None
    if options.manifold:
        if sampler.latent_dim != 2:
            raise UsageError(f"--manifold needs 2 latents; {sampler.name} has {sampler.latent_dim}")
        if sampler.num_classes and options.label is None:
            raise UsageError(f"--manifold of {sampler.name}, which is conditional, needs a --label")
        latents, columns = figures.manifold_latents(options.manifold), options.manifold
    elif options.interpolate:
        ends = in_batches(sampler, "latents", options, seed=seeds_of(options, 1))["latents"]
        rows = [
            figures.interpolated_latents(*pair, options.interpolate, options.path)
            for pair in itertools.pairwise(ends)
        ]
        latents, columns = np.concatenate(rows), options.interpolate
    else:
        arrays["seeds"] = seeds_of(options)
        latents = in_batches(sampler, "latents", options, seed=arrays["seeds"])["latents"]
    if options.temperature != 1:
        latents = latents * np.float32(options.temperature)
    inputs = {"latents": latents}
    if sampler.num_classes or options.label is not None:
        inputs["label"] = arrays["labels"] = choose_labels(
            sampler, options.label, len(latents), columns
        )
        if columns is None and options.label is None and len(latents) % sampler.num_classes == 0:
            columns = len(latents) // sampler.num_classes
    images = in_batches(sampler, "decode", options, **inputs)["images"]
    return {"images": images, "latents": latents, **arrays}, columns


def in_batches(
    sampler: AnySampler, signature: str, options: SampleOptions, **inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """What a signature gives for arrays with the batch first, `--batch-size` rows at a time."""
    size = len(next(iter(inputs.values())))
    parts = []
    with tracked(range(0, size, options.batch_size), signature) as starts:
        for at in starts:
            batch = {key: each[at : at + options.batch_size] for key, each in inputs.items()}
            parts.append(sampler.call(signature, **batch))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@contextlib.contextmanager
def tracked(steps: range, title: str) -> Iterator[Iterable[int]]:
    """The steps, on a terminal with progress and the time left where there are several."""
    if len(steps) < 2 or not sys.stderr.isatty():
        yield steps
        return
    from rich.console import Console
    from rich.progress import Progress

    # Whatever goes wrong is told after the bar has gone, in one line.
    with Progress(console=Console(stderr=True), transient=True, redirect_stderr=False) as progress:
        yield progress.track(steps, description=title)


def seeds_of(options: SampleOptions, more: int = 0) -> np.ndarray:
    """The images' own seeds, `int32[n]`; of a request for `n` by its seed, so many more."""
    if options.seeds is not None:
        return np.array(options.seeds, np.int32)
    return image_seeds(options.seed, options.n + more)


def choose_labels(
    sampler: AnySampler, label: int | None, n: int, columns: int | None
) -> np.ndarray:
    """The labels of n images, `int32[n]`: one for all, or all classes in their order, alike often.

    Of an interpolation, whose rows have so many columns, each row has one label.

    Raises:
        UsageError: the model has no such label, or none at all.
    """
    name, classes = sampler.name, sampler.num_classes
    if not classes:
        raise UsageError(
            f"{name} is not conditional: it takes no --label; train one with --conditional"
        )
    if label is not None and label >= classes:
        raise UsageError(f"label = {label} is too large; {name} has the classes 0 … {classes - 1}")
    if label is not None:
        return np.full(n, label, np.int32)
    rows = np.arange(n) // columns if columns else np.arange(n) * classes // n
    return (rows % classes).astype(np.int32)


def write(path: Path, arrays: dict[str, np.ndarray], columns: int | None) -> None:
    """Writes a picture of the images or all arrays, whole or not at all."""
    if path.suffix == ".npz":
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_bytes(path, file.getvalue())
    else:
        write_bytes(path, figures.png_bytes(figures.image_grid(arrays["images"], columns)))


if __name__ == "__main__":
    raise SystemExit(main())
