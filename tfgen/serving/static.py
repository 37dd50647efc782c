"""The page as a folder of static files: the models are computed in the browser."""

import hashlib
import html
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from tfgen import figures, random
from tfgen.errors import UsageError, WorkError
from tfgen.publishing.versions import Version
from tfgen.serving import preview
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
# Inputs that tell whether a model may be rounded.
SOME = 25
# Signatures that the page computes itself, or only looks at.
_OF_PAGE = ("sample", "latents", "classes")


def write_page(versions: Sequence[Version], target: Path, url: str = "") -> None:
    """Writes a folder with the page and with everything that it needs.

    Args:
        versions: the models, each of another name.
        target: the folder, which replaces an earlier page.
        url: where the page will be, which previews of links need.

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
        listed = []
        for entry in models.listed():
            name = dataset_name(entry.manifest)
            images = listing.test_images(name)[0] if listing.has_images(name) else None
            listed.append(convert(entry, samplers[entry.name], images, folder))

        def measure(entry: Listed) -> dict[str, Any]:
            sampler = samplers[entry.name]
            sampler.signature_names = entry.manifest["signatures"]
            with status(f"measuring test images with {sampler.title}"):
                return statistics(sampler, *listing.test_images(dataset_name(entry.manifest)))

        described = listing.described(listed, measure)
        for name in ("real", "preview"):
            (folder / "page" / name).mkdir()
        picture = None
        for model in described:
            name, sampler = model["name"], samplers[model["name"]]
            if image := listing.real_images(name):
                (folder / "page" / "real" / f"{name}.png").write_bytes(image)
            if not sampler.has_signature("latents"):
                continue
            with status(f"drawing the first pictures of {sampler.title}"):
                directions = (model["test_statistics"] or {}).get("latent_directions")
                drawn = preview.draw(sampler, directions)
            picture = picture or figures.png_bytes(figures.image_grid(drawn["grid"].images))
            model["preview"] = {part: pictures.keys() for part, pictures in drawn.items()}
            for part, pictures in drawn.items():
                (folder / "page" / "preview" / f"{name}-{part}.webp").write_bytes(pictures.webp())
        (folder / LISTING).write_bytes(orjson.dumps({"models": described}))
        write_head(folder, picture, url)
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
    for name in ("index.html", "worker.js"):
        (folder / "page" / name).rename(folder / name)
    source = folder / "page" / "source.js"
    source.write_text(source.read_text().replace("rest.js", "browser.js"))
    (folder / "runtime").mkdir()
    for path in RUNTIME.iterdir():
        if path.suffix == ".wasm":
            write_packed(folder / "runtime" / path.name, path.read_bytes())
        else:
            shutil.copy(path, folder / "runtime" / path.name.replace(".mjs", ".js"))
    values, slopes = random.quantile_table()
    edges = np.append(values, values[-1] - slopes[-1])
    write_packed(folder / "runtime" / "quantiles", edges.astype("<i4").tobytes())
    (folder / "README.txt").write_text(README)


def write_packed(path: Path, content: bytes) -> None:
    """Writes a file that the page unpacks: few hosts send compressed what browsers do not know."""
    path.with_suffix(".bin").write_bytes(zlib.compress(content, 9))


def write_head(folder: Path, picture: bytes | None, url: str) -> None:
    """Tells previews of links, browsers and the page's worker which files there are.

    Args:
        folder: the page, with all other files.
        picture: a PNG; None if no model draws.
        url: where the page will be; empty if that is unknown.
    """
    image, index, worker = "page/preview/picture.png", folder / "index.html", folder / "worker.js"
    scripts = sorted(path.name for path in folder.glob("page/*.js"))
    tags = [f'<link rel="modulepreload" href="page/{name}">' for name in scripts]
    if picture:
        (folder / image).write_bytes(picture)
        address = html.escape(f"{url.rstrip('/')}/{image}" if url else image)
        tags.append(f'<meta property="og:image" content="{address}">')
        tags.append(f'<link rel="apple-touch-icon" href="{image}">')
    index.write_text(index.read_text().replace("</head>", "\n".join([*tags, "</head>"])))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != worker)
    names = [path.relative_to(folder).as_posix() for path in files]
    constants = {
        "VERSION": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "PAGE": ["./", *(name for name in names if name.startswith("page/"))],
        "MODELS": [name for name in names if name.startswith(("runtime/", "models/"))],
    }
    lines = [f"const {key} = {orjson.dumps(value).decode()};" for key, value in constants.items()]
    worker.write_text("\n".join([*lines, worker.read_text()]))


def convert(listed: Listed, sampler: "Sampler", images: np.ndarray | None, folder: Path) -> Listed:
    """Writes the signatures of a model that can be converted; returns the model with these.

    Those with seeds cannot: the formats have no integer operations for random numbers.

    Args:
        listed: the model.
        sampler: its version.
        images: test images, `uint8[N, H, W, C]`; without, encoders keep their exact weights.
        folder: the page.

    Raises:
        WorkError: the decoder cannot be converted.
    """
    from tfgen.publishing import formats

    signatures = {}
    path = folder / "models" / sampler.name / str(sampler.number)
    path.mkdir(parents=True)
    inputs: dict[str, np.ndarray] = {}
    if sampler.has_signature("latents"):
        inputs["latents"] = sampler.latents(random.image_seeds(0, SOME))
    if sampler.num_classes:
        inputs["label"] = np.arange(SOME, dtype=np.int32) % sampler.num_classes
    if images is not None:
        inputs["images"] = images[:SOME]
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
            if tensors["inputs"].keys() <= inputs.keys():
                content = formats.in_half(content, {key: inputs[key] for key in tensors["inputs"]})
            write_packed(path / name, content)
        signatures[name] = tensors
    return listed._replace(manifest={**listed.manifest, "signatures": signatures})
