"""What the commands that use a sampler share: its flags, opening it, progress, files."""

import contextlib
import csv
import dataclasses
import io
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.publishing.artifacts import check_sampling, identify
from tfgen.publishing.served import MAX_RETRIES, ServedSampler
from tfgen.publishing.signatures import SignatureSampler
from tfgen.sampling import BATCH
from tfgen.settings.fields import hint, option
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly
from tfgen.system.status import status
from tfgen.system.terminal import make_bar
from tfgen.training.checkpoint import WEIGHTS_HELP, check_choice

from ._command import SAVED_MODELS, say_missing_best
from ._flags import SamplingOptions, argument

# Minimum number of images side by side in a picture of pairs, if there are so many.
_MIN_COLUMNS = 8
# Pixels of a side up to which matplotlib writes words beside a grid; it refuses 65 536.
MAX_FIGURE_SIDE = 2**15
# The positional argument of these commands.
NAME = ("NAME|RUN", "published name, for example vae, archive (.tfgen), or run directory")
# What a sampler is doing while it computes a signature.
_STEPS = {"latents": "drawing latents", "decode": "drawing images"}
_STEPS |= {"encode": "encoding images", "log_prob": "computing log p(x)"}


@dataclasses.dataclass(frozen=True)
class ModelOptions(SamplingOptions):
    """The flags that choose the version of a name, or the weights of a run."""

    saved_models: Path = option(SAVED_MODELS, "folder of published models")
    version: int | None = option(
        None,
        "version to use (default: the newest); alone, --version shows the version of tfgen",
        minimum=1,
        maximum=2**63 - 1,
    )
    weights: str = option("best", WEIGHTS_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.weights)


@dataclasses.dataclass(frozen=True)
class SamplerOptions(ModelOptions):
    """The arguments that choose a sampler, where it is, and how it computes."""

    name: str = argument(*NAME)
    batch_size: int = option(BATCH, "images per batch, or per request to a server", minimum=1)
    url: str | None = option(
        None, "REST address of tfgen-serve or TensorFlow Serving, such as http://localhost:8501"
    )
    grpc: str | None = option(None, "gRPC address of TensorFlow Serving, such as localhost:8500")
    timeout: float = option(60.0, "time limit for an answer [s]", above=0, maximum=86_400)
    retries: int = option(
        3, "retries when the server cannot be reached or is busy", minimum=0, maximum=MAX_RETRIES
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.url is not None and self.grpc is not None:
            raise UsageError("--url and --grpc exclude each other")
        if self.is_served:
            check_sampling("version", self.name, self.sampling)

    @property
    def is_served(self) -> bool:
        """Whether the sampler is behind a server."""
        return self.url is not None or self.grpc is not None


def open_sampler(options: SamplerOptions) -> SignatureSampler:
    """The sampler of a name or of a run, which shows its progress.

    Raises:
        UsageError: there is no such name, version or run, or it makes no images.
        WorkError: it is damaged, or the server gives no answer.
    """
    sampler = _connect(options) if options.is_served else _open(options)
    sampler.batch_size, sampler.track = options.batch_size, show_progress
    return sampler


def pinned(options: SamplerOptions, sampler: SignatureSampler) -> SamplerOptions:
    """The options that open the same sampler in another process, whatever its working directory.

    Args:
        options: of `open_sampler`.
        sampler: what it returned for them.
    """
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(SamplerOptions)}
    if options.is_served:
        return SamplerOptions(**values | {"version": sampler.number})
    path = Path(options.name)  # of an archive, which each machine unpacks
    if not path.is_file():
        path = identify(options.name, options.saved_models, options.version).path
    return SamplerOptions(**values | {"name": str(path.absolute()), "version": None})


def _connect(options: SamplerOptions) -> SignatureSampler:
    """The sampler behind the server of `--url` or `--grpc`."""
    limits = options.timeout, options.retries
    if options.url is not None:
        from tfgen.publishing.rest import Rest

        return ServedSampler(Rest(options.url, *limits), options.name, options.version)
    from tfgen.publishing.grpc import Grpc

    import_quietly()
    return ServedSampler(Grpc(str(options.grpc), *limits), options.name, options.version)


def _open(options: SamplerOptions) -> SignatureSampler:
    """The sampler of a run or of a published version on this machine."""
    artifact = identify(options.name, options.saved_models, options.version)
    if artifact.kind not in ("run", "version"):
        raise UsageError(f"{options.name} is neither a run directory nor a published model")
    check_sampling(artifact.kind, options.name, options.sampling)
    # A version needs no Keras.
    modules = ["tensorflow_probability", "tfgen.publishing.opening"]
    import_quietly(*(modules if artifact.version is None else []))
    from tfgen.nn.cores import share_cores

    share_cores()
    with status(f"opening {options.name}"):
        if artifact.version is None:
            from tfgen.publishing.opening import RunSampler

            run = RunSampler(artifact.path, options.weights, options.sampling)
            say_missing_best(run.path, options.weights, run.weights)
            return run
        from tfgen.publishing.sampler import Sampler

        sampler = Sampler(artifact.version)
    if not sampler.has_signature("sample"):
        offered = ", ".join(sampler.manifest["signatures"])
        raise UsageError(f"{sampler.title} makes no images; it offers {offered}")
    return sampler


def class_names(sampler: SignatureSampler) -> list[str]:
    """The names of a model's classes; empty if they are unknown."""
    return list((sampler.training.get("data") or {}).get("class_names") or ())


def read_label(text: str, sampler: SignatureSampler) -> int:
    """The class of `--label`, a name in any case or a number; a name of digits counts as a name.

    Args:
        text: the value of the flag.
        sampler: the model that has the class.

    Raises:
        UsageError: it is neither a number nor the name of a class, as far as names are known.
    """
    names = class_names(sampler)
    name = unicodedata.normalize("NFC", text)  # as tfgen-data stores names
    alike = [name] if name in names else [n for n in names if n.casefold() == name.casefold()]
    if len(alike) == 1:
        return names.index(alike[0])
    with contextlib.suppress(ValueError):
        return int(text)
    advice = hint(text, names, "manifest.json") if names else "; pass the number of a class"
    raise UsageError(f"{sampler.title} has no class {text!r}{advice}")


@contextlib.contextmanager
def show_progress(parts: Sequence[slice], title: str) -> Iterator[Iterable[slice]]:
    """Show progress and the remaining time over several batches, if there is a terminal."""
    title = _STEPS.get(title, title)
    if len(parts) < 2:
        with status(title):
            yield parts
        return
    with make_bar(Console(stderr=True)) as bar:
        yield bar.track(parts, description=title)


def csv_bytes(columns: Mapping[str, Iterable[Any]]) -> bytes:
    """A table as CSV, from its columns by their headings."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def write_grid(path: Path, grid: np.ndarray, title: str, *axes: figures.GridAxis | None) -> None:
    """Write the pixels of a grid as PNG, whole or not at all.

    Args:
        path: the file.
        grid: `uint8[H, W, C]`.
        title: what the grid shows; without it, nothing is written beside the images.
        axes: what the rows are, and what the columns are.
    """
    if title and max(grid.shape) <= MAX_FIGURE_SIDE:
        figures.save_figure(figures.grid_figure(grid, title, *axes), path)
    else:
        write_bytes(path, figures.png_bytes(grid))


def write_pairs(
    path: Path, images: np.ndarray, partners: np.ndarray, title: str, partner: str
) -> None:
    """Write a grid whose rows are, in turn, images and their partners.

    Args:
        path: the file, PNG.
        images: `[N, H, W, C]` in 0…1.
        partners: the image below each, `[N, H, W, C]` in 0…1.
        title: what the grid shows.
        partner: what is written beside the rows of the partners.
    """
    n, *shape = images.shape
    columns = min(n, max(_MIN_COLUMNS, math.ceil(math.sqrt(2 * n))))
    blocks = math.ceil(n / columns)
    # Grey, like the empty cells of a grid's last row.
    grey = np.full((blocks * columns - n, *shape), 0.5, np.float32)
    rows = [np.concatenate([part, grey]) for part in (images, partners)]
    cells = np.stack([row.reshape(blocks, columns, *shape) for row in rows], axis=1)
    grid = figures.image_grid(cells.reshape(-1, *shape), columns)
    write_grid(path, grid, title, figures.GridAxis("", ("image", partner) * blocks))
