"""A published version as a folder for a model hub: its card, samples, archive and page.

The card is Markdown with the YAML header of Hugging Face. A value as JSON is YAML, too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.evaluation import reading, tables
from tfgen.evaluation.compare import Table, compare
from tfgen.evaluation.metrics import format_number
from tfgen.figures import image_grid, png_bytes
from tfgen.publishing import versions
from tfgen.publishing.listing import training_text
from tfgen.publishing.signatures import describe_signature
from tfgen.serving import static
from tfgen.serving.listing import dataset_name
from tfgen.system.atomic import fresh_folder, move_into_place

PICTURE, SAMPLES = "samples.png", 64
# The hub's names of data sets.
_ON_HUB = {"mnist": "ylecun/mnist", "fashion_mnist": "zalando-datasets/fashion_mnist"}
_ON_HUB |= {"cifar10": "uoft-cs/cifar10"}
_ALONE = """```python
import zipfile
import tensorflow as tf

zipfile.ZipFile("{}").extractall()
model = tf.saved_model.load("{}/{}")
# {}
outputs = model.signatures["{}"]({})
```"""


def write_hub(version: versions.Version, target: Path, license: str | None) -> None:
    """Writes a folder to upload to a model hub.

    Args:
        version: the model.
        target: the folder, which replaces an earlier one of the same model.
        license: as the hub names it; None: that of a shipped version, or none.

    Raises:
        UsageError: the target holds something else, or the page cannot draw the model's latents.
        WorkError: the version or its evaluation is damaged, or its decoder cannot be converted.
    """
    archive = f"{version.name}{versions.ARCHIVE}"
    names = {path.name for path in target.glob("*")}
    if names and not {archive, "page"} <= names <= {archive, "page", "README.md", PICTURE}:
        raise UsageError(f"{target} is not an exported {version.name}; choose another folder")
    with fresh_folder(target.absolute().parent, target.name) as folder:
        versions.write_archive(version, folder / archive)
        (folder / "README.md").write_text(model_card(version, license), encoding="utf-8")
        if content := samples_picture(version):
            (folder / PICTURE).write_bytes(content)
        static.write_page([version], folder / "page")
        move_into_place(folder, target, overwrite=True)


def samples_picture(version: versions.Version) -> bytes | None:
    """A PNG of samples with the seed 0; None if the model makes no images."""
    from tfgen.publishing.sampler import Sampler

    model = Sampler(version)
    return png_bytes(image_grid(model.sample(SAMPLES))) if model.has_signature("sample") else None


def model_card(version: versions.Version, license: str | None = None) -> str:
    """The card of a version, without what its manifest does not say.

    Args:
        version: the model.
        license: see `write_hub`.

    Raises:
        WorkError: the manifest or the evaluation in it is damaged.
    """
    manifest, archive = versions.read_manifest(version.path), f"{version.name}{versions.ARCHIVE}"
    is_sampler = "sample" in manifest["signatures"]
    name = "sample" if is_sampler else next(iter(manifest["signatures"]))
    tensors = manifest["signatures"][name]
    inputs = ", ".join(f"{key}={_two_rows(spec)}" for key, spec in tensors["inputs"].items())
    signature = describe_signature(tensors)
    command = f"sample {archive}" if is_sampler else f"evaluate FOLDER --classifier {archive}"
    compared: list[Table] = []
    if manifest["evaluation"]:
        compared = compare([reading.read_evaluation(str(version.path.absolute()), version.path)])
    license = license or ("apache-2.0" if versions.is_shipped(version.path) else None)
    fields = {"license": license, **_fields(version.name, manifest, compared)}
    header = [f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in fields.items() if v]
    entries = [entry for entry in registry.families() if entry.name == manifest["family"]]
    options, data = (manifest["run"].get(name) or {} for name in ("options", "data"))
    facts = {"data set": dataset_name(manifest), "about the data": data.get("description")}
    facts |= {"settings": training_text(manifest), "seed": options.get("seed")}
    training = [
        f"- {key}: {' '.join(str(value).split())}"
        for key, value in facts.items()
        if value not in ("", None)
    ]
    parts = [
        "\n".join(["---", *header, "---"]),
        f"# {version.name}",
        *(entry.sentence or f"A {entry.summary}." for entry in entries),
        f"![{SAMPLES} samples]({PICTURE})" if is_sampler else "",
        "## Use\n\nWith tfgen, the package `tfgen-images`:",
        f"```sh\ntfgen-{command}\n```\n\nWith TensorFlow alone:",
        _ALONE.format(archive, version.name, version.number, signature, name, inputs),
        "`python -m http.server --directory page` shows the model in a browser.\n\n## Metrics",
        tables.markdown(compared).strip() if compared else "This version has not been evaluated.",
        "\n".join(["## Training\n", *training]),
        "## Limits\n\n- The model reproduces its training images, with their gaps and biases.\n"
        "- Compare metrics of samples only if the same network computed their features.\n"
        "- The hashes in the archive reveal damage, not tampering.",
        f"Written by `tfgen-export {version.name} --format hub`.\n",
    ]
    return "\n\n".join(filter(None, parts))


def _two_rows(spec: Mapping[str, Any]) -> str:
    """An input for two images, as Python code."""
    sides = spec["shape"][1:]
    return f"tf.zeros({[2, *sides]}, tf.{spec['dtype']})" if sides else "tf.range(2)"


def _fields(name: str, manifest: Mapping[str, Any], compared: list[Table]) -> dict[str, Any]:
    """The fields of a card's header except the licence; what is not known is empty."""
    signatures, dataset = manifest["signatures"], dataset_name(manifest).partition(":")[0]
    # The hub has no task for images of a class.
    task = "unconditional-image-generation" if "sample" in signatures else "image-classification"
    tags = ["tensorflow", manifest["family"], "classes" in signatures and "class-conditional"]
    metrics = [metric for table in compared for metric in _metrics(table)]
    judged_on = manifest["evaluation"].get("dataset") or {}
    data = {"name": judged_on.get("name"), "split": judged_on.get("split")}
    data["type"] = _ON_HUB.get(str(data["name"]), data["name"])
    result = {"task": {"type": task}, "dataset": data, "metrics": metrics}
    return {
        "library_name": "tfgen",
        "pipeline_tag": task,
        "tags": list(filter(None, tags)),
        "datasets": [_ON_HUB[dataset]] if dataset in _ON_HUB else [],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": name, "results": [result]}] if metrics else [],
    }


def _metrics(table: Table) -> list[dict[str, Any]]:
    """The metrics of a model for the header, each with that of real images in its name.

    Those of a table with a warning are left out: the hub would show them without it.
    """
    model, *others = table.rows
    real = next((row.cells for row in others if row.name == "real images"), {})
    metrics = []
    for metric in [] if table.warnings else table.columns:
        if metric.better and (cell := model.cells.get(metric.heading)):
            floor = real.get(metric.heading)
            text = f" (real images: {format_number(floor.mean, metric.digits)})" if floor else ""
            # PyYAML takes a number with an exponent for text; four decimals need none.
            value = round(cell.mean, 4)
            metrics.append({"type": metric.key, "name": f"{metric.heading}{text}", "value": value})
    return metrics
