"""Models that several test modules share: two that score images, and those of two short trainings,
which `tfgen-evaluate` judges."""

import functools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tests.conftest import SIDE, Trained, make_images

SHAPE = (SIDE, SIDE, 1)
CLASSES = 3
# Arguments that name images, and the images.
OwnImages = tuple[list[str], np.ndarray]


@dataclass(frozen=True)
class OwnModels:
    """The same models in three places.

    Attributes:
        live: models of Python by the name that they are published under: `flow`, and `vae`, which
            is conditional.
        folder: where they are published.
        double: a server of that folder.
    """

    live: dict[str, Any]
    folder: Path
    double: Any

    def flags(self, way: str) -> list[str]:
        """The flags that say where a sampler is: `disk`, `rest` or `grpc`."""
        places = {
            "disk": ["--saved-models", str(self.folder)],
            "rest": ["--url", self.double.url],
            "grpc": ["--grpc", self.double.grpc],
        }
        return places[way]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def own_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnModels]:
    from tests.publishing.serving_double import Double
    from tfgen import VAE, Flow
    from tfgen.publishing import export

    rng = np.random.default_rng(0)
    live = {
        "flow": Flow(image_shape=SHAPE, couplings=2, hidden=(8,)),
        "vae": VAE(image_shape=SHAPE, hidden=(4,), latent_dim=2, num_classes=CLASSES),
    }
    folder = tmp_path_factory.mktemp("own")
    for name, model in live.items():
        # Untrained, a flow is nearly the identity.
        for weight in model.trainable_weights:
            weight.assign_add(0.1 * rng.normal(size=weight.shape))
        export.publish(model, folder, name)
    with Double(folder).running() as double:
        yield OwnModels(live, folder, double)


@pytest.fixture(scope="session")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> OwnImages:
    """Arguments that name four images, a wide one among them, and a broken file; and the images."""
    folder, images = tmp_path_factory.mktemp("pictures"), make_images(4)
    (folder / "größer").mkdir()
    for index, name in enumerate(("a.png", "größer/b.png")):
        Image.fromarray(images[index, ..., 0]).save(folder / name)
    # Its middle is all that `crop` leaves of it, and has the size of the model's images.
    wide = np.pad(images[2], [(0, 0), (2, 2), (0, 0)])
    Image.fromarray(wide[..., 0]).save(folder / "größer" / "wide.png")
    (folder / "broken.png").write_bytes(b"no picture")
    arrays = tmp_path_factory.mktemp("arrays") / "more.npz"
    np.savez(arrays, images=images[3:] / np.float32(255), labels=np.array([2]))
    return [str(folder), str(arrays)], images


@pytest.fixture(scope="session")
def judged(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A copy of both short trainings, with version 2 of `classifier-tiny` beside their samplers."""
    folder = tmp_path_factory.mktemp("judged")
    results = Trained(trained.data, folder / "runs", folder / "saved_models")
    shutil.copytree(trained.runs, results.runs)
    shutil.copytree(trained.saved_models, results.saved_models)
    run = folder / "classifier"
    flags = ["--dataset", "tiny", "--data-dir", results.data, "--run-dir", run]
    flags += ["--saved-models", results.saved_models, "--channels", 2, "--units", 8]
    flags += ["--epochs", 2, "--batch-size", 32]
    assert commands.main("train", ["classifier", *flags]) == 0
    assert {"mistakes.png", "curves.png"} == {path.name for path in (run / "figures").iterdir()}
    return results


@pytest.fixture
def classifier(judged: Trained) -> Path:
    return judged.saved_models / "classifier-tiny" / "2"


def run_evaluate(judged: Trained, what: object, *flags: object) -> int:
    places = ["--data-dir", judged.data, "--saved-models", judged.saved_models]
    return commands.main("evaluate", [what, *places, *flags])


@pytest.fixture
def evaluate(judged: Trained, here: Path) -> Any:
    """The command, in an empty working directory."""
    return functools.partial(run_evaluate, judged)


@pytest.fixture
def evaluate_images(trained: Trained, here: Path) -> Any:
    """The command without a classifier of the data set, in an empty working directory."""
    return functools.partial(run_evaluate, trained)


@pytest.fixture(scope="module")
def cached_opening() -> Any:
    """`open_source`, which opens each model once."""
    from tfgen.evaluation import sources

    open_once = functools.cache(lambda *models: open_source(*models, {}))
    open_source = sources.open_source
    # A dictionary cannot be a key; the models of these tests have no options of sampling.
    return lambda *arguments: open_once(*arguments[:2])


@pytest.fixture
def opened_once(cached_opening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the command open each model once a module: opening traces its graph."""
    from tfgen.evaluation import sources

    monkeypatch.setattr(sources, "open_source", cached_opening)
