"""What the commands that use a sampler share: its flags, opening it, progress, files."""

import contextlib
import dataclasses
import functools
import io
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfgen import figures
from tfgen.errors import UsageError
from tfgen.publishing.artifacts import Artifact, identify
from tfgen.publishing.served import MAX_RETRIES, ServedSampler
from tfgen.publishing.signatures import SignatureSampler
from tfgen.publishing.versions import check_name
from tfgen.sampling import BATCH, Arrays
from tfgen.settings.fields import Config, hint, option
from tfgen.system.atomic import write_bytes
from tfgen.system.quiet import import_quietly
from tfgen.system.status import status
from tfgen.training.checkpoint import WEIGHTS_HELP, check_choice
from tfgen.training.folder import run_name, saved_config

from ._command import SAVED_MODELS, say_missing_best

# Pixels of a side up to which matplotlib writes words beside a grid; it refuses 65 536.
MAX_FIGURE_SIDE = 2**15
# What a sampler is doing while it computes a signature.
_STEPS = {
    "latents": "drawing latents",
    "decode": "drawing images",
    "encode": "encoding images",
    "log_prob": "computing log p(x)",
}
# The positional argument of these commands.
NAME_METAVAR = "NAME|RUN"
NAME_HELP = "name that the model was published under, for example vae, or a run directory"


@dataclass(frozen=True)
class ModelOptions(Config):
    """The flags that say which model of a name or of a run is meant."""

    saved_models: Path = option(SAVED_MODELS, "folder of published models")
    version: int | None = option(
        None,
        "version to use (default: the newest); as the only argument, --version shows the version "
        "of tfgen",
        minimum=1,
        maximum=2**63 - 1,
    )
    weights: str = option("best", WEIGHTS_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.weights)


@dataclass(frozen=True)
class SamplerOptions(ModelOptions):
    """The flags that say where a sampler is, and how it computes."""

    batch_size: int = option(
        BATCH, "images computed at once, or requested from a server at once", minimum=1
    )
    url: str | None = option(
        None,
        "REST address of tfgen-serve or TensorFlow Serving, http://host:8501, in place of "
        "--saved-models",
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
        if self.url is not None and self.grpc is not None:
            raise UsageError("--url and --grpc exclude each other")

    @property
    def is_served(self) -> bool:
        """Whether the sampler is behind a server."""
        return self.url is not None or self.grpc is not None


def plain_name(name: str, options: SamplerOptions) -> str:
    """The name of a published sampler, or the one that a run would be published under.

    Args:
        name: the positional argument, a name or a run directory.
        options: where the sampler is.

    Raises:
        UsageError: it is neither a valid name nor a run directory.
        WorkError: the configuration of the run is damaged.
    """
    if not options.is_served:
        artifact = _identify(name, options)
        if artifact.version is None:
            return run_name(saved_config(artifact.path))
        return artifact.version.name
    check_name(name)
    return name


def open_sampler(name: str, options: SamplerOptions) -> SignatureSampler:
    """The sampler of a name or of a run, which shows its progress.

    Args:
        name: the positional argument, a name or a run directory.
        options: where the sampler is.

    Raises:
        UsageError: there is no such name, version or run, or it makes no images.
        WorkError: it is damaged, or the server gives no answer.
    """
    sampler = (_connect if options.is_served else _open)(name, options)
    sampler.batch_size, sampler.track = options.batch_size, show_progress
    return sampler


def sampler_opening(
    name: str, options: SamplerOptions, sampler: SignatureSampler
) -> Callable[[], SignatureSampler]:
    """Opens the same sampler in another process, whatever its working directory is.

    Args:
        name: the positional argument, a name or a run directory.
        options: where the sampler is.
        sampler: what `open_sampler` returned for them.
    """
    # A newer version may be published on the way.
    version, folder = sampler.number or None, options.saved_models.absolute()
    if not options.is_served:
        path = _identify(name, options).path
        if path == Path(name):  # a run, or the folder of a version
            name, version = str(path.absolute()), None
    return functools.partial(
        open_sampler, name, dataclasses.replace(options, version=version, saved_models=folder)
    )


def _identify(name: str, options: SamplerOptions) -> Artifact:
    artifact = identify(name, options.saved_models, options.version)
    if artifact.kind not in ("run", "version"):
        raise UsageError(f"{name} is neither a run directory nor a published model")
    return artifact


def _connect(name: str, options: SamplerOptions) -> SignatureSampler:
    """The sampler behind the server of `--url` or `--grpc`."""
    if options.url is not None:
        from tfgen.publishing.rest import Rest

        rest = Rest(options.url, options.timeout, options.retries)
        return ServedSampler(rest, name, options.version)
    from tfgen.publishing.grpc import Grpc

    assert options.grpc is not None
    import_quietly()
    grpc = Grpc(options.grpc, options.timeout, options.retries)
    return ServedSampler(grpc, name, options.version)


def _open(name: str, options: SamplerOptions) -> SignatureSampler:
    """The sampler of a run or of a published version on this machine."""
    artifact = _identify(name, options)
    if artifact.version is None:
        import_quietly("tensorflow_probability", "tfgen.publishing.opening")
    else:  # without Keras
        import_quietly()
    from tfgen.nn.cores import share_cores

    share_cores()
    with status(f"opening {name}"):
        if artifact.version is None:
            from tfgen.publishing.opening import RunSampler

            run = RunSampler(artifact.path, options.weights)
            say_missing_best(run.path, options.weights, run.weights)
            return run
        from tfgen.publishing.sampler import Sampler

        sampler = Sampler(artifact.version)
    if not sampler.has_signature("sample"):
        offered = ", ".join(sampler.manifest["signatures"])
        raise UsageError(f"{sampler.title} makes no images; it offers {offered}")
    return sampler


def read_label(text: str | None, sampler: SignatureSampler) -> int | None:
    """The class of `--label`, a name or a number; a name that is a number counts as a name.

    Args:
        text: the value of the flag; None, if it is not passed, stays None.
        sampler: the model that has the class.

    Raises:
        UsageError: it is neither a number nor the name of a class, as far as names are known.
    """
    if text is None:
        return None
    data = sampler.training.get("data")
    names = data.get("class_names") if isinstance(data, dict) else None
    name = unicodedata.normalize("NFC", text)  # as tfgen-data stores names
    if names and name in names:
        return int(names.index(name))
    if not sampler.num_classes:
        return 0  # a model without classes refuses every label
    try:
        return int(text)
    except ValueError:
        known = hint(text, names, "manifest.json") if names else "; its classes have numbers only"
    raise UsageError(f"{sampler.title} has no class {text!r}{known}")


@contextlib.contextmanager
def show_progress(parts: Sequence[slice], title: str) -> Iterator[Iterable[slice]]:
    """Shows progress and the remaining time over several batches, if there is a terminal."""
    title = _STEPS.get(title, title)
    if len(parts) < 2 or sys.stderr is None or not sys.stderr.isatty():
        with status(title):
            yield parts
        return
    from rich.console import Console

    from tfgen.system.terminal import make_bar

    with make_bar(Console(stderr=True)) as bar:
        yield bar.track(parts, description=title)


def write_npz(path: Path, arrays: Arrays) -> None:
    """Writes arrays by name to a compressed NPZ file, whole or not at all."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_bytes(path, file.getvalue())


def write_grid(
    path: Path,
    grid: np.ndarray,
    title: str = "",
    row_axis: figures.GridAxis | None = None,
    column_axis: figures.GridAxis | None = None,
) -> None:
    """Writes the pixels of a grid as PNG, whole or not at all.

    Args:
        path: the file.
        grid: `uint8[H, W, C]`.
        title: what the grid shows; without it, nothing is written beside the images.
        row_axis: what the rows are.
        column_axis: what the columns are.
    """
    if title and max(grid.shape) <= MAX_FIGURE_SIDE:
        figures.save_figure(figures.grid_figure(grid, title, row_axis, column_axis), path)
    else:
        write_bytes(path, figures.png_bytes(grid))
