"""What published versions are: preset, changed settings, date, figures. No TensorFlow here."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfgen import registry
from tfgen.errors import TfgenError, WorkError, printable
from tfgen.publishing import versions
from tfgen.settings.training import RESUMABLE, TrainingOptions
from tfgen.system.terminal import count_noun, format_bytes

# Formats of an evaluation's likelihoods; the first that is there is shown.
_LIKELIHOODS = {"bits_per_dim": "{:.3f} bits/dim", "negative_elbo": "−ELBO {:.2f} nats"}
_LIKELIHOODS["nll"] = "NLL {:.2f} nats"
# Of the rows.
_FIGURES = ("size", "FID", "n", "likelihood")
HEADINGS = ("name", "version", "epochs", "published", *_FIGURES, "preset and settings")


def rows(saved_models: Path, name: str | None = None) -> Iterator[tuple[str, ...]]:
    """A row under the `HEADINGS` for each version in a folder, then for each shipped one.

    The row of a version that is damaged or not tfgen's says so.

    Args:
        saved_models: folder of published models.
        name: the name to list; None lists all.

    Raises:
        UsageError: there is no such name, or a folder cannot be read.
    """
    if name is not None:
        versions.find(name, saved_models)
    listed = [
        version
        for key, numbers in versions.published(saved_models).items()
        for version in reversed(numbers)
        if name in (None, key)
    ]
    for version in sorted(listed, key=lambda v: v.path.parents[1] != saved_models):
        yield tuple(map(printable, _row(version)))


def training_text(manifest: Mapping[str, Any]) -> str:
    """How a version was trained: `preset dcgan, loss hinge, 20 epochs, published 2026-11-27`.

    What is not known is left out; a version that is not from `tfgen-train` may have nothing.
    """
    date = manifest.get("published")
    return printable(", ".join(filter(None, [_training(manifest), date and f"published {date}"])))


def difference(before: versions.Version, after: versions.Version) -> str:
    """How two versions were trained, in one line; empty if they were trained alike.

    A version whose manifest cannot be read counts as none.
    """
    try:
        old, new = (_training(versions.read_manifest(v.path)) for v in (before, after))
    except TfgenError:
        return ""
    text = f"{after.name} version {after.number}: {new}; version {before.number}: {old}"
    return "" if old == new else printable(text)


def shipped_advice(version: versions.Version) -> str:
    """A line on the shipped version of a name, which a newer one now takes the place of.

    Args:
        version: the newer version.

    Returns:
        The line; empty if no version of that name is shipped, or if it has no samples.
    """
    shipped = versions.shipped_folder() / version.name / str(versions.SHIPPED)
    try:
        manifest = versions.read_manifest(shipped)
    except WorkError:
        return ""
    if "sample" not in manifest["signatures"]:
        return ""
    evaluation = manifest["evaluation"]
    likelihood = _figure(evaluation, "likelihood", dict(reversed(_LIKELIHOODS.items())))
    result = likelihood or _figure(evaluation, "samples", {"fid": "FID {:.2f}"})
    return (
        f"tfgen-sample {version.name} now draws from version {version.number}; with --version "
        f"{versions.SHIPPED}, it draws from the shipped one{result and f' ({result})'}"
    )


def changed_settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that differ from those of its preset, by name.

    Settings that do not change what is computed are left out, as are those that the data decide. A
    warm-up whose share of the run is not that of the preset is always listed.

    Args:
        run: the content of config.json, as a manifest repeats it.

    Returns:
        The settings; none of them if the preset is unknown, for example because the package that
        adds the family is not installed.
    """
    options, model = run.get("options") or {}, run.get("model") or {}
    try:
        preset = registry.family(run.get("family") or "").preset(options.get("preset") or "")
    except TfgenError:
        return {}
    decided = [f.name for f in dataclasses.fields(preset.model) if "help" not in f.metadata]
    expected = {**TrainingOptions(**preset.training()).to_json(), **preset.model.to_json()}
    if options.get("warmup_epochs") == preset.scaled_warmup(options.get("epochs") or preset.epochs):
        # Both were scaled to the number of training images.
        expected["warmup_epochs"] = options["warmup_epochs"]
    return {
        name: value
        for name, value in {**options, **model}.items()
        if name in expected.keys() - {"preset", *RESUMABLE, *decided} and value != expected[name]
    }


def epochs_done(manifest: Mapping[str, Any]) -> int | None:
    """Epochs that the published weights were trained for, or that the run had done.

    Older manifests have only the number of epochs that was asked for.
    """
    if kept := re.fullmatch(r"epoch (\d{1,9})", manifest.get("weights", "")):
        return int(kept[1])
    run = manifest.get("run", {})
    done = run.get("epochs_done")
    return (run.get("options") or {}).get("epochs") if done is None else done


# --- the columns ------------------------------------------------------------------------


def _row(version: versions.Version) -> tuple[str, ...]:
    key, size = (version.name, str(version.number)), ""
    try:
        size = format_bytes(sum(p.stat().st_size for p in version.path.rglob("*") if p.is_file()))
        if not versions.is_version(version.path):
            raise WorkError(f"not published by tfgen: it has no {versions.MANIFEST}")
        manifest = versions.verify(version.path)
    except (TfgenError, OSError) as error:
        return (*key, "", "", size, "", "", "", str(error))
    evaluation = manifest["evaluation"]
    published = "shipped" if versions.is_shipped(version.path) else manifest["published"]
    # FID is larger with fewer samples.
    fid, n = _figure(evaluation, "samples", {"fid": "{:.2f}"}), evaluation.get("n", "")
    likelihood = _figure(evaluation, "likelihood", _LIKELIHOODS)
    epochs, settings = str(epochs_done(manifest) or ""), ", ".join(_settings(manifest))
    return (*key, epochs, published, size, fid, str(n), likelihood, settings)


def _settings(manifest: Mapping[str, Any]) -> list[str]:
    """The preset and the changed settings."""
    run = manifest.get("run", {})
    preset = (run.get("options") or {}).get("preset")
    changed = [_as_words(name, value) for name, value in changed_settings(run).items()]
    return changed if preset is None else [f"preset {preset}", *changed]


def _as_words(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if name == "start_from":
        # The page of a server shows it, too: no folders of the machine that trained.
        value = "/".join(Path(str(value)).parts[-2:])
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, float):
        return f"{words} {value:.4g}"
    return f"{words} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def _training(manifest: Mapping[str, Any]) -> str:
    """The preset, the changed settings and the epochs."""
    epochs = epochs_done(manifest)
    done = [] if epochs is None else [count_noun(epochs, "epoch")]
    return ", ".join(_settings(manifest) + done)


def _figure(evaluation: Mapping[str, Any], part: str, forms: Mapping[str, str]) -> str:
    """The first available figure, formatted by its entry in `forms`; empty if there is none."""
    values = evaluation.get(part) or {}
    known = (name for name in forms if values.get(name) is not None)
    return next((forms[name].format(values[name]) for name in known), "")
