"""A published version as a folder for a model hub: its card, samples, archive and page.

The card is Markdown with the YAML header of Hugging Face. A value as JSON is YAML, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.errors import UsageError
from tfgen.evaluation import reading, tables
from tfgen.evaluation.compare import Table, compare
from tfgen.evaluation.metrics import format_number
from tfgen.figures import image_grid, png_bytes
from tfgen.publishing import versions
from tfgen.publishing.listing import describe, mapping
from tfgen.publishing.signatures import describe_signature
from tfgen.serving import static
from tfgen.serving.listing import dataset_name
from tfgen.system.atomic import fresh_folder, publish

PICTURE = "samples.png"
SAMPLES = 64
# The hub's names of data sets.
_ON_HUB = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}
_METRICS = """{tables}
Metrics of samples can be compared only if their features come from the same network."""
_NO_METRICS = "This version has not been evaluated."
_CARD = """---
{header}
---

# {name}

{sentence}
{picture}
## Use

With tfgen, which is not the package of this name on PyPI:

```sh
{command}
```

With TensorFlow alone:

```python
import zipfile
import tensorflow as tf

zipfile.ZipFile("{archive}").extractall()
model = tf.saved_model.load("{name}/{number}")
# {tensors}
outputs = model.signatures["{signature}"]({arguments})
```

The folder `page` has the model for any web host: `python -m http.server --directory page`.

## Metrics

{metrics}

## Training

{training}

## Limits

- The model knows only its training images, with their gaps and biases.
- The hashes in the archive reveal damage, not tampering.

Written by `tfgen-export {name} --format hub`.
"""


def write_hub(version: versions.Version, target: Path, license: str | None) -> None:
    """Writes a folder to upload to a model hub.

    Args:
        version: the model.
        target: the folder, which replaces an earlier one of the same model.
        license: as the hub names it; None leaves it out of the card.

    Raises:
        UsageError: the target holds something else, or the page cannot draw the model's latents.
        WorkError: the version or its evaluation is damaged, or its decoder cannot be converted.
    """
    archive = f"{version.name}{versions.ARCHIVE}"
    if rest := {path.name for path in target.glob("*")} - {"README.md", PICTURE, archive, "page"}:
        raise UsageError(f"{target} holds {min(rest)}, too; choose another folder")
    with fresh_folder(target.absolute().parent, target.name) as folder:
        versions.write_archive(version, folder / archive)
        (folder / "README.md").write_text(model_card(version, license), encoding="utf-8")
        if content := samples_picture(version):
            (folder / PICTURE).write_bytes(content)
        static.write_page([version], folder / "page")
        publish(folder, target, overwrite=True)


def shipped_license(version: versions.Version) -> str | None:
    """The licence of a shipped version; None for any other, whose licence tfgen cannot know."""
    return "apache-2.0" if versions.is_shipped(version.path) else None


def samples_picture(version: versions.Version) -> bytes | None:
    """A PNG of samples with the seed 0; None if the model makes no images."""
    from tfgen.publishing.sampler import Sampler

    sampler = Sampler(version)
    if not sampler.has_signature("sample"):
        return None
    return png_bytes(image_grid(sampler.sample(SAMPLES)))


def model_card(version: versions.Version, license: str | None) -> str:
    """The card of a version, without what its manifest does not say.

    Raises:
        WorkError: the manifest or the evaluation in it is damaged.
    """
    manifest = versions.read_manifest(version.path)
    signatures, archive = manifest["signatures"], f"{version.name}{versions.ARCHIVE}"
    is_sampler = "sample" in signatures
    signature = "sample" if is_sampler else next(iter(signatures))
    use = "tfgen-sample {} --n 25" if is_sampler else "tfgen-evaluate IMAGES --classifier {}"
    compared: Sequence[Table] = ()
    if manifest.get("evaluation"):
        path = str(version.path.absolute())
        compared = compare([reading.read_evaluation(path, version.path)])
    family = mapping(manifest, "run").get("family") or registry.family_of(version.name)
    entries = [entry for entry in registry.families() if entry.name == family]
    training = {
        "data set": dataset_name(manifest),
        "settings": describe(manifest),
        "seed": mapping(mapping(manifest, "run"), "options").get("seed"),
    }
    return _CARD.format(
        header=_header(version.name, family, manifest, compared, license),
        name=version.name,
        number=version.number,
        sentence="".join(entry.sentence or f"A {entry.summary}." for entry in entries),
        picture=f"\n![{SAMPLES} samples]({PICTURE})\n" if is_sampler else "",
        archive=archive,
        command=use.format(archive),
        tensors=describe_signature(signatures[signature]),
        signature=signature,
        arguments=", ".join(
            f"{name}={_two_rows(**tensor)}"
            for name, tensor in signatures[signature]["inputs"].items()
        ),
        metrics=_METRICS.format(tables=tables.markdown(compared)) if compared else _NO_METRICS,
        training="\n".join(
            f"- {key}: {value}" for key, value in training.items() if value not in ("", None)
        ),
    )


def _two_rows(shape: Sequence[int | None], dtype: str) -> str:
    """An input of a signature for two images, as Python code."""
    return f"tf.zeros({[2, *shape[1:]]}, tf.{dtype})" if shape[1:] else "tf.range(2)"


def _header(
    name: str,
    family: str,
    manifest: Mapping[str, Any],
    compared: Sequence[Table],
    license: str | None,
) -> str:
    """The YAML of a card; see https://huggingface.co/docs/hub/model-cards."""
    signatures = manifest["signatures"]
    # The hub has no task for images of a class.
    task = "unconditional-image-generation" if "sample" in signatures else "image-classification"
    metrics = [metric for table in compared for metric in _metrics(table)]
    judged_on = mapping(mapping(manifest, "evaluation"), "dataset")
    result = {
        "task": {"type": task},
        "dataset": {
            "type": _ON_HUB.get(judged_on.get("name", ""), judged_on.get("name")),
            "name": judged_on.get("name"),
            "split": judged_on.get("split"),
        },
        "metrics": metrics,
    }
    trained_on = _ON_HUB.get(dataset_name(manifest).partition(":")[0])
    conditional = ["class-conditional"] if "classes" in signatures else []
    fields = {
        "license": license,
        "library_name": "tfgen",
        "pipeline_tag": task,
        "tags": ["tensorflow", "saved-model", family, *conditional],
        "datasets": [trained_on] if trained_on else [],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": name, "results": [result]}] if metrics else [],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in fields.items() if value)


def _metrics(table: Table) -> list[dict[str, Any]]:
    """The metrics of a model for the header, each with that of real images in its name.

    Those of a table with a warning are left out: the hub would show them without it.
    """
    model, *others = table.rows
    real = next((row.cells for row in others if row.name == "real images"), {})
    metrics = []
    for metric in table.columns if not table.warnings else []:
        if metric.better and (cell := model.cells.get(metric.heading)):
            floor = real.get(metric.heading)
            text = floor and f" (real images: {format_number(floor.mean, metric.digits)})"
            # PyYAML reads a number with an exponent as text.
            value = round(cell.mean, 4)
            name = f"{metric.heading}{text or ''}"
            metrics.append({"type": metric.key, "name": name, "value": value})
    return metrics
