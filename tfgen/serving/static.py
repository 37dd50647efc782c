"""The page as a folder of static files: the models are computed in the browser."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from tfgen import random
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.versions import Version
from tfgen.serving.app import PAGE
from tfgen.serving.listing import Listing, dataset_name, statistics
from tfgen.serving.models import Listed, Models
from tfgen.serving.pool import Pool
from tfgen.system.atomic import fresh_folder, move_into_place
from tfgen.system.status import status

if TYPE_CHECKING:
    from tfgen.publishing.sampler import Sampler

# ONNX Runtime for browsers. It gets another extension: not every web host knows what .mjs is.
RUNTIME = Path(__file__).parent / "runtime"
LISTING = "page/models.json"
README = "Put this folder on any web host, or run in it: python -m http.server\n"
# Signatures that the page computes itself, or only looks at.
_OF_PAGE = ("sample", "latents", "classes")


def write_page(versions: Sequence[Version], target: Path) -> None:
    """Writes a folder with the page and with everything that it needs.

    Args:
        versions: the models, each of another name.
        target: the folder, which replaces an earlier page.

    Raises:
        UsageError: the target holds something else, two versions have the same name, or a model
            draws latents of its own.
        WorkError: a version is damaged, or its decoder cannot be converted.
    """
    from tfgen.publishing.sampler import Sampler

    if target.is_file() or (any(target.glob("*")) and not (target / LISTING).exists()):
        raise UsageError(f"{target} is not an exported page; choose another folder")
    only: dict[str, Version | None] = {version.name: version for version in versions}
    if len(only) < len(versions):
        raise UsageError("two of the models have the same name; leave out one of them")
    samplers = {}
    for version in versions:
        with status(f"opening {version.path}"):
            samplers[version.name] = Sampler(version)
            check_latents(samplers[version.name])
    models = Models(target, 0, only)
    listing = Listing(models, Pool(1, 0, 0), None)
    with fresh_folder(target.absolute().parent, target.name) as folder:
        copy_page(folder)
        listed = [convert(entry, samplers[entry.name], folder) for entry in models.listed()]

        def measure(entry: Listed) -> dict[str, Any]:
            sampler = samplers[entry.name]
            sampler.signature_names = entry.manifest["signatures"]
            with status(f"measuring test images with {sampler.title}"):
                return statistics(sampler, *listing.test_images(dataset_name(entry.manifest)))

        (folder / LISTING).write_bytes(orjson.dumps({"models": listing.described(listed, measure)}))
        (folder / "page" / "real").mkdir()
        for name in samplers:
            if image := listing.real_images(name):
                (folder / "page" / "real" / f"{name}.png").write_bytes(image)
        move_into_place(folder, target, overwrite=True)


def check_latents(sampler: "Sampler") -> None:
    """Checks that the latents are those that the page computes.

    Raises:
        UsageError: they are not.
    """
    if not sampler.has_signature("latents"):
        return
    seeds = np.arange(-3, 3, dtype=np.int32)
    expected = random.standard_normal(seeds, sampler.latent_dim)
    if not np.array_equal(sampler.latents(seeds), expected):
        raise UsageError(f"the page cannot draw the latents of {sampler.title}; use tfgen-serve")


def copy_page(folder: Path) -> None:
    """Copies the page, which then computes with the runtime in place of a server."""
    shutil.copytree(PAGE, folder / "page")
    (folder / "page" / "index.html").rename(folder / "index.html")
    source = folder / "page" / "source.js"
    source.write_text(source.read_text().replace("rest.js", "browser.js"))
    (folder / "runtime").mkdir()
    for path in RUNTIME.iterdir():
        shutil.copy(path, folder / "runtime" / path.name.replace(".mjs", ".js"))
    values, slopes = random.quantile_table()
    edges = np.append(values, values[-1] - slopes[-1])
    (folder / "runtime" / "quantiles.bin").write_bytes(edges.astype("<i4").tobytes())
    (folder / "README.txt").write_text(README)


def convert(listed: Listed, sampler: "Sampler", folder: Path) -> Listed:
    """Writes the signatures of a model that can be converted; returns the model with these.

    Those with seeds cannot: the formats have no integer operations for random numbers.

    Raises:
        WorkError: the decoder cannot be converted.
    """
    from tfgen.publishing import formats

    signatures = {}
    path = folder / "models" / sampler.name / str(sampler.number)
    path.mkdir(parents=True)
    for name, tensors in listed.manifest["signatures"].items():
        if name not in _OF_PAGE:
            if "seed" in tensors["inputs"]:
                continue
            try:
                with status(f"converting {name} of {sampler.title}"):
                    content = formats.convert(sampler, "onnx", name)[0]
            except WorkError:
                if name == formats.DECODE:
                    raise
                continue
            (path / f"{name}.onnx").write_bytes(content)
        signatures[name] = tensors
    return listed._replace(manifest={**listed.manifest, "signatures": signatures})
