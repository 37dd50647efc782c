"""Chooses the extractor of features that samples are judged by."""

from pathlib import Path

from tfgen.errors import UsageError
from tfgen.evaluation.classifier import FeatureClassifier, find_classifier, open_classifier
from tfgen.evaluation.features import Extractor
from tfgen.evaluation.own_network import Range, open_extractor
from tfgen.evaluation.random_network import RandomNetwork
from tfgen.publishing import versions


def choose_extractor(
    dataset: str,
    n: int,
    saved_models: Path,
    features: str | None = None,
    classifier: str | None = None,
    value_range: Range | None = None,
) -> Extractor:
    """The extractor that was asked for; by default the best one that there is.

    Args:
        dataset: name of the data set.
        n: number of images.
        saved_models: folder of published models.
        features: `classifier`, `random`, or the path of a network; None: the classifier of the
            data set if there is one, else the random network.
        classifier: name of a published classifier, or a version's folder.
        value_range: pixels that the user's own network takes.

    Raises:
        UsageError: there is no such network, it is none that extracts features, or its pixels have
            another range.
        WorkError: it is damaged, or holds what is not allowed.
    """
    if classifier is not None or features == "classifier":
        return open_classifier(dataset, classifier, saved_models)
    if features == "random":
        return RandomNetwork(n)
    if features is None:
        version = find_classifier(dataset, saved_models)
        return RandomNetwork(n) if version is None else FeatureClassifier(version)
    path = Path(features)
    if versions.is_version(path):
        extractor: Extractor = FeatureClassifier(versions.Version.at(path))
    else:
        extractor = open_extractor(path, value_range)
    if isinstance(extractor, FeatureClassifier) and value_range not in (None, "0,255"):
        raise UsageError(
            f"{path} is a classifier of tfgen and takes bytes; leave out --features-range "
            f"{value_range}"
        )
    return extractor
