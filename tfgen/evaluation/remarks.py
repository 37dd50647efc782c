"""What the tables of a comparison are of, and what to know when reading them, in words."""

from collections.abc import Mapping, Sequence

from tfgen.evaluation.groups import Group
from tfgen.evaluation.reading import extractor

# A classifier with a lower accuracy on the real images is weak: its features say little about them.
WEAK_ACCURACY = 0.9
# What to know of a classifier that was trained on images that the floor is of.
TRAINED_CLASSIFIER = (
    "the classifier was trained on the validation images, too (--train-on all); their features may "
    "differ from those of new images, and with them the floor"
)
# What the random network can tell, and where more about it is.
RANDOM_NETWORK = (
    "a fixed random network sees noise, blur and missing kinds of images; it cannot tell whether "
    'what is shown is right; see "The random network" in docs/judge.md'
)


def count_text(n: int | None) -> str:
    """A number of images as cells and titles name it: `n = 10 000`."""
    return "n unknown" if n is None else f"n = {n:,}".replace(",", " ")


def table_title(part: str, group: Group, counts: Sequence[int | None]) -> str:
    """What a table shows.

    Args:
        part: `samples`, `likelihood` or `cost`.
        group: one of the table's models.
        counts: numbers of images, that of most models first.
    """
    if part == "cost":
        return "Cost"
    dataset = group.evaluations[0]["dataset"]
    images = f"the {dataset['split']} images of {dataset.get('name') or 'an unnamed data set'}"
    number = count_text(counts[0]) + (" unless stated otherwise" if len(counts) > 1 else "")
    if part == "likelihood":
        return f"Likelihood of {images}, {number}"
    return f"Samples against {images}, features of {_extractor_words(group)}, {number}"


def _extractor_words(group: Group) -> str:
    """The network that features come from, such as `classifier version 1`."""
    description = extractor(group.evaluations[0])
    name, version = description.get("name") or "an unnamed network", description.get("version")
    return str(name) if version is None else f"{name} version {version}"


def table_remarks(part: str, models: Mapping[str, Group]) -> list[str]:
    """Sentences to read with a table.

    Args:
        part: `samples`, `likelihood` or `cost`.
        models: of the table, by name.
    """
    remarks = {
        "samples": _sample_remarks,
        "likelihood": _likelihood_remarks,
        "cost": _machine_remarks,
    }
    return [*_training_remarks(models), *remarks[part](models)]


def training_text(names: Sequence[str]) -> str:
    """Says of models that they were trained on more images than by default."""
    return f"{', '.join(names)}: trained on the validation images, too (--train-on all)"


def _training_remarks(models: Mapping[str, Group]) -> list[str]:
    """Which models were trained on the validation images, too."""
    names = [
        name for name, group in models.items() if group.evaluations[0].get("train_on") == "all"
    ]
    return [training_text(names)] if names else []


def _sample_remarks(models: Mapping[str, Group]) -> list[str]:
    """What the features cannot tell, and which images were resized or are of shards."""
    remarks = []
    first = next(iter(models.values())).evaluations[0]
    features, accuracy = first.get("features"), extractor(first).get("accuracy")
    # A network of the user's own is described by the range of its pixels, too.
    if features and "range" not in features:
        remarks.append(f"{RANDOM_NETWORK[0].upper()}{RANDOM_NETWORK[1:]}")
    if accuracy is not None and accuracy < WEAK_ACCURACY:
        remarks.append(
            f"The classifier is weak: its accuracy on the real images is {accuracy:.1%}, so these "
            "metrics say little; compare with --features random"
        )
    if extractor(first).get("train_on") == "all":
        remarks.append(f"{TRAINED_CLASSIFIER[0].upper()}{TRAINED_CLASSIFIER[1:]}")
    for name, group in models.items():
        images = group.evaluations[0].get("images") or {}
        if images.get("resized"):
            number = f"{images['resized']} of {group.measurement.n} images"
            remarks.append(f"{name}: {number} were resized; {images.get('rule')}")
        whole = group.evaluations[0].get("all_images") or {}
        if "fid" in whole:
            remarks.append(f"{name}: FID of all {whole['n']} images {whole['fid']:.4g}")
    return remarks


def _likelihood_remarks(models: Mapping[str, Group]) -> list[str]:
    """What the likelihoods are of: a line for each kind, with the models that have it."""
    names: dict[str, list[str]] = {}
    for name, group in models.items():
        likelihood = group.evaluations[0].get("likelihood") or {}
        events = likelihood.get("events") or "unknown events"
        if "importance_samples" in likelihood:
            k = likelihood["importance_samples"]
            unit = "bits/dim" if "bits_per_dim" in likelihood else "NLL"
            text = f"nats of {events}; {unit} with k = {k} importance samples"
        elif "dequantizations" in likelihood:
            draws = likelihood["dequantizations"]
            text = f"bits/dim of {events}, averaged over {draws} dequantization draws"
        else:
            continue
        names.setdefault(text, []).append(name)
    return [f"{', '.join(of_text)}: {text}" for text, of_text in names.items()]


def _machine_remarks(models: Mapping[str, Group]) -> list[str]:
    """Which model was trained on which machine, if these differ."""
    names: dict[str, list[str]] = {}
    for name, group in models.items():
        costs = [evaluation["cost"] for evaluation in group.evaluations]
        if any("seconds_an_epoch" in cost for cost in costs):
            machines = {_machine_words(cost) for cost in costs}
            names.setdefault(" and ".join(sorted(machines)), []).append(name)
    if len(names) < 2:
        return []
    words = (f"{', '.join(of_machine)} on {machine}" for machine, of_machine in names.items())
    return [f"Training times come from different machines: {'; '.join(words)}"]


def _machine_words(cost: Mapping[str, object]) -> str:
    processor, cores = cost.get("processor"), cost.get("cores")
    if not processor:
        return "an unknown machine"
    return f"{processor}, {cores} cores" if cores else str(processor)


def remarks_on_all(models: Mapping[str, Group]) -> list[str]:
    """Sentences about all tables: what some models lack that others have."""
    remarks = []
    for part, words in (("samples", "No metrics of samples"), ("likelihood", "No likelihood")):
        lacking = [
            name
            for name, group in models.items()
            if not any(evaluation.get(part) for evaluation in group.evaluations)
        ]
        if lacking and (part == "samples" or len(lacking) < len(models)):
            remarks.append(f"{words}: {', '.join(lacking)}")
    unfinished = [
        f"{name} ({cost['epochs']} of {last} epochs)"
        for name, group in models.items()
        if not group.finished
        for cost in [group.evaluations[0]["cost"]]
        for last in [group.evaluations[0]["settings"]["options"]["epochs"]]
    ]
    if unfinished:
        remarks.append(f"Training did not reach its last epoch: {', '.join(unfinished)}")
    return remarks
