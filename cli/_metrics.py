"""How `tfgen-evaluate` prints an evaluation."""

from collections.abc import Mapping
from typing import Any

from tfgen.errors import size_text
from tfgen.evaluation.compare import feature_remarks, features_text, training_text
from tfgen.evaluation.metrics import find_metric
from tfgen.evaluation.reading import extractor
from tfgen.system.terminal import print_line

from ._images import describe_skipped


def print_result(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples, then likelihood and cost."""
    if "samples" in result:
        print_samples(result, console)
    for part in ("modes", "likelihood", "cost"):
        for key in result.get(part, {}):
            if not key.endswith("_error"):
                print_line(console, f"{label(part, key)}: {format_value(result, part, key)}")
    if result.get("train_on") == "all":
        print_line(console, training_text([result["title"]]))
    if "images" in result:
        print_line(console, "no likelihood and no cost: these are images, not a model")


def print_samples(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples next to those of real images and of noise."""
    from rich.markup import escape
    from rich.table import Table

    split, n, samples = result["dataset"]["split"], result["n"], result["samples"]
    kind = "images" if "images" in result else "samples"
    table = Table(title=escape(f"{result['title']}: {n} {kind} against {split} images"))
    for heading in ("", kind, "real images (floor)", "noise (ceiling)"):
        table.add_column(heading, justify="right" if heading else "left")
    for key, value in samples.items():
        if isinstance(value, float | int) and not key.endswith("_error"):
            sets = [{"samples": result[part]} for part in ("samples", "floor", "ceiling")]
            cells = [format_value(of_set, "samples", key) for of_set in sets]
            table.add_row(escape(label("samples", key)), *cells)
    console.print(table)
    lines = []
    if "fid" not in samples:
        lines.append(f"no FID: n = {n} images are too few for so many features")
    if "floor_images" in result:
        lines.append(f"floor: as many {result['floor_images']} images")
    copied = samples["copies"]
    lines.append(
        f"median distance to the nearest training image: {copied['distance']:.2f}, of held-out "
        f"images {copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} of the {kind} "
        "are nearer than the nearest 1 % of held-out images"
    )
    if "all_images" in result:
        lines.append(describe_all_images(result["all_images"], n))
    for line in [*lines, *describe_features(result)]:
        print_line(console, line)


def describe_all_images(metrics: Mapping[str, Any], n: int) -> str:
    """What was computed of all images of a folder of shards, in one line.

    Args:
        metrics: the part `all_images` of an evaluation.
        n: number of images that the table is of.
    """
    of_all = {"samples": metrics}
    values = (
        f"{label('samples', key)} {format_value(of_all, 'samples', key)}"
        for key, value in metrics.items()
        if isinstance(value, float | int) and key != "n"
    )
    drawn = "" if metrics["n"] == n else f" (the table is of {n}, drawn at random)"
    return f"all {metrics['n']} images{drawn}: {', '.join(values)}"


def describe_features(result: Mapping[str, Any]) -> list[str]:
    """Where features come from, and what they cannot tell."""
    description = extractor(result)
    text = f"features of {features_text(result)}"
    if "classifier" not in result:
        text += f", sha256 {description['sha256'][:12]}"
    if "range" in description:
        text += f", pixels in {description['range'].replace(',', ' … ')}"
    if description.get("accuracy") is not None:
        text += f", accuracy {description['accuracy']:.2%}"
    return [text, *feature_remarks(result)]


def describe_reading(images: Any) -> list[str]:
    """Which images were read, resized and skipped.

    Args:
        images: the subject of an evaluation.
    """
    reading, n = images.reading, len(images.images)
    lines = []
    if n < reading["available"] - reading["skipped"]:
        lines.append(f"{n} of {reading['available']} images, drawn at random")
    if reading["resized"]:
        size = size_text(images.image_shape[:2])
        lines.append(f"{reading['resized']} of other sizes: resized to {size}, {reading['rule']}")
    return [*lines, *describe_skipped(images.skipped)]


def label(part: str, key: str) -> str:
    """What a value of an evaluation is called at the terminal."""
    metric = find_metric(part, key)
    return key.replace("_", " ") if metric is None else metric.heading


def format_value(evaluation: Mapping[str, Any], part: str, key: str) -> str:
    """A value of an evaluation as a text, with its standard error if it has one."""
    metric, value = find_metric(part, key), evaluation[part].get(key, "")
    if metric is None or not isinstance(value, float):
        return f"{value:.5g}" if isinstance(value, float) else str(value)
    has_error = f"{key}_error" in evaluation[part]
    error = f" ± {metric.error(evaluation):.2g}" if has_error else ""
    return f"{metric.scale * value:.5g}{error}"
