"""Two small published models, and a server of them in this process."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import PATIENCE
from tests.serving.processes import running
from tfgen.data import load
from tfgen.data._tfds import import_tfds
from tfgen.serving import listing
from tfgen.serving.app import Settings, create_app
from tfgen.serving.models import Models

SHAPE, CLASSES, LATENTS = (6, 6, 1), 3, 2
MAX_BATCH = 50


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """Keeps the garbage collector from TensorFlow's objects, as the command does."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 of `vae-tiny`, a VAE of bytes, and of `gan-classes`, which is conditional."""
    from tfgen import GAN, VAE
    from tfgen.publishing import export

    folder = tmp_path_factory.mktemp("serving")
    fields = {"latent_dim": LATENTS, "likelihood": "logistic_mixture", "binarization": "none"}
    vae = VAE(image_shape=SHAPE, hidden=(4,), **fields)
    fields = {"generator_hidden": (4,), "discriminator_hidden": (4,), "num_classes": CLASSES}
    gan = GAN(image_shape=SHAPE, latent_dim=LATENTS, **fields)
    export.publish(vae, folder, "vae-tiny")
    export.publish(gan, folder, "gan-classes")
    return folder


@pytest.fixture(scope="session", autouse=True)
def without_statistics_and_closing() -> Iterator[None]:
    """Servers compute no statistics of test images and close no version: both take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "CALM", float("inf"))
        patch.setattr("tfgen.serving.models.MAX_OPEN", 99)
        yield


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    return load("mnist").test.images[:100]


def serving(folder: Path, **settings: Any) -> AbstractContextManager[str]:
    """A context with a server of a folder in this process; it gives the server's URL."""
    import_tfds()  # here, since it replaces `__import__` for all threads meanwhile
    settings = {"timeout": PATIENCE, **settings}
    models = Models(folder, MAX_BATCH)
    return running(create_app(models, Settings(**settings)))


Step = Callable[[bytes], bytes | None]


class StubModels(Models):
    """Models whose steps to an answer are calls of a function; all but the last return None."""

    def __init__(self, predict: Step):
        super().__init__(Path("nowhere"), MAX_BATCH)
        self.answer = predict

    def status(self, name: str, number: int | None) -> bytes:
        return b"{}"

    def open(self, name: str, number: int | None = None) -> Any:
        """Opens a shipped model; there is no other."""
        return super().open(name, number) if name == "vae" else None

    def most_bytes(self, name: str, number: int | None) -> int:
        return 10**9

    def predict(self, name: str, number: int | None, body: bytes, timeout: float) -> Iterator[Any]:
        while True:
            yield self.answer(body)


def stub_serving(predict: Step, **settings: Any) -> AbstractContextManager[str]:
    """As `serving`, with a function in place of the models."""
    settings = {"timeout": PATIENCE, **settings}
    return running(create_app(StubModels(predict), Settings(**settings)))


@pytest.fixture(scope="session")
def url(folder: Path) -> Iterator[str]:
    """The address of a server of `folder` and the shipped models."""
    with serving(folder) as url:
        yield url


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds; fails after a while."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def assert_same(answer: Any, array: np.ndarray) -> None:
    """Asserts that numbers of an answer are those of an array, bit by bit."""
    numbers = np.asarray(answer, array.dtype)
    np.testing.assert_array_equal(numbers, array)
    assert numbers.shape == array.shape
