"""How `tfgen-evaluate` prints an evaluation."""

from collections.abc import Mapping
from typing import Any

from tfgen.evaluation.remarks import (
    RANDOM_NETWORK,
    TRAINED_CLASSIFIER,
    WEAK_ACCURACY,
    training_text,
)
from tfgen.system.terminal import count_noun, print_line

from ._images import describe_skipped

# What the parts of an evaluation are called at the terminal, with the unit.
LABELS = {
    "fid": "FID",
    "kid": "KID",
    "modes": "modes",
    "modes_kl": "KL of modes [nats]",
    "class_entropy": "class entropy [nats]",
    "label_accuracy": "label accuracy",
    "captured": "modes captured",
    "kl": "KL of modes [nats]",
    "captured_by_uniform": "modes captured by as many uniform draws",
    "kl_of_uniform": "KL of modes of as many uniform draws [nats]",
    "n": "samples for the modes",
    "events": "likelihood of",
    "negative_elbo": "−ELBO [nats]",
    "nll": "NLL [nats]",
    "bits_per_dim_one_draw": "bits/dim, one dequantization draw",
    "bits_per_dim": "bits/dim",
    "dequantizations": "dequantization draws",
    "active_units": "active latents",
    "seconds_an_epoch": "training [s/epoch], median",
    "seconds": "training [s]",
    "peak_mib": "peak memory [MiB]",
    "images_a_second": "images per second",
}


def print_result(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples, then likelihood and cost."""
    if "samples" in result:
        print_samples(result, console)
    for part in ("modes", "likelihood", "cost"):
        values = result.get(part, {})
        for key, value in values.items():
            if not key.endswith("_error"):
                text = format_value(value, values.get(f"{key}_error"))
                print_line(console, f"{label(key)}: {text}")
    if result.get("train_on") == "all":
        print_line(console, training_text([result["title"]]))
    if "images" in result:
        print_line(console, "no likelihood and no cost: these are images, not a model")


def print_samples(result: Mapping[str, Any], console: Any) -> None:
    """Print the metrics of samples next to those of real images and of noise."""
    from rich.markup import escape
    from rich.table import Table

    split, n = result["dataset"]["split"], result["n"]
    kind = "images" if "images" in result else "samples"
    table = Table(title=escape(f"{result['title']}: {n} {kind} against {split} images"))
    for heading in ("", kind, "real images (floor)", "noise (ceiling)"):
        table.add_column(heading, justify="right" if heading else "left")
    parts = [result[part] for part in ("samples", "floor", "ceiling")]
    for key, value in result["samples"].items():
        if isinstance(value, float | int) and not key.endswith("_error"):
            cells = [
                format_value(part[key], part.get(f"{key}_error"), 4) if key in part else ""
                for part in parts
            ]
            table.add_row(label(key), *cells)
    console.print(table)
    if "fid" not in result["samples"]:
        print_line(console, f"no FID: n = {n} images are too few for so many features")
    if "floor_images" in result:
        print_line(console, f"floor: as many {result['floor_images']} images")
    copied = result["samples"]["copies"]
    print_line(
        console,
        f"median distance to the nearest training image: {copied['distance']:.2f}, of held-out "
        f"images {copied['distance_of_held_out']:.2f}; {copied['share_nearer']:.1%} of the {kind} "
        "are nearer than the nearest 1 % of held-out images",
    )
    if "all_images" in result:
        print_line(console, describe_all_images(result["all_images"], n))
    for line in describe_features(result):
        print_line(console, line)


def describe_all_images(metrics: Mapping[str, Any], n: int) -> str:
    """What was computed of all images of a folder of shards, in one line.

    Args:
        metrics: the part `all_images` of an evaluation.
        n: number of images that the table is of.
    """
    values = (
        f"{label(key)} {format_value(value, digits=4)}"
        for key, value in metrics.items()
        if isinstance(value, float | int) and key != "n"
    )
    drawn = "" if metrics["n"] == n else f" (the table is of {n}, drawn at random)"
    return f"all {metrics['n']} images{drawn}: {', '.join(values)}"


def describe_features(result: Mapping[str, Any]) -> list[str]:
    """Where features come from, and what they cannot tell."""
    if "classifier" not in result:
        features = result["features"]
        text = f"features of {features['name']}, sha256 {features['sha256'][:12]}"
        if "range" in features:
            return [f"{text}, pixels in {features['range'].replace(',', ' … ')}"]
        return [f"{text}, {count_noun(features['features'], 'feature')}", RANDOM_NETWORK]
    classifier = result["classifier"]
    version = "" if classifier["version"] is None else f" version {classifier['version']}"
    accuracy = classifier.get("accuracy")
    text = "" if accuracy is None else f", accuracy {accuracy:.2%}"
    lines = [f"features of {classifier['name']}{version}{text}"]
    if classifier.get("train_on") == "all":
        lines.append(TRAINED_CLASSIFIER)
    if accuracy is not None and accuracy < WEAK_ACCURACY:
        lines.append(
            f"the classifier is weak on the real images (below {WEAK_ACCURACY:.0%}), so these "
            "metrics say little; compare with --features random"
        )
    return lines


def describe_reading(images: Any, shape: tuple[int, ...]) -> list[str]:
    """Which images were read, resized and skipped.

    Args:
        images: an `ImageSet`.
        shape: height, width, channels of the data set.
    """
    from tfgen.errors import size_text

    reading, n = images.reading, len(images.images)
    lines = []
    if n < reading["available"] - reading["skipped"]:
        lines.append(f"{n} of {reading['available']} images, drawn at random")
    if reading["resized"]:
        size = size_text(shape[:2])
        lines.append(f"{reading['resized']} of other sizes: resized to {size}, {reading['rule']}")
    return [*lines, *describe_skipped(images.skipped)]


def label(key: str) -> str:
    """What a part of an evaluation is called at the terminal."""
    return LABELS.get(key, key.replace("_", " "))


def format_value(value: Any, error: float | None = None, digits: int = 5) -> str:
    """A value as a text, with its standard error if it has one."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits}g}" + ("" if error is None else f" ± {error:.2g}")
