"""`tfgen-sample` of a server: what the local command does, over REST and gRPC."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.conftest import Trained
from tests.publishing.serving_double import Double
from tfgen import GAN
from tfgen.publishing import export

NAME = "vae-2d-tiny"


@pytest.fixture(scope="module")
def running(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    folder = tmp_path_factory.mktemp("served")
    for name in (NAME, "vae-tiny"):
        (folder / name).symlink_to(trained.saved_models / name)
    gan = GAN(
        image_shape=(6, 6, 1),
        latent_dim=2,
        generator_hidden=(4,),
        discriminator_hidden=(4,),
        num_classes=3,
    )
    export.publish(gan, folder, "gan-conditional-tiny")
    with Double(folder).running() as double:
        yield double


@pytest.fixture(autouse=True)
def double(running: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    monkeypatch.chdir(tmp_path)
    running.reset()
    return running


def arrays(*argv: object) -> dict[str, np.ndarray]:
    assert commands.main("sample", [*map(str, argv), "--out", "out.npz"]) == 0
    with np.load("out.npz", allow_pickle=False) as stored:
        return dict(stored)


def there(double: Double, way: str) -> list[str]:
    return ["--url", double.url] if way == "rest" else ["--grpc", double.grpc]


KINDS = {
    "plain": [NAME, "--n", 4, "--seed", 3],
    "temperature": [NAME, "--n", 4, "--temperature", 0.5],
    "spherical": ["vae-tiny", "--n", 2, "--interpolate", 4, "--path", "spherical"],
    "manifold": [NAME, "--manifold", 4],
    "label": ["gan-conditional-tiny", "--n", 4, "--label", 2],
    "seeds-of-all-labels": ["gan-conditional-tiny", "--seeds", 5, 6, 7, 8],
}


@functools.cache
def expected_arrays(kind: str, folder: Path) -> dict[str, np.ndarray]:
    """What the command computes of the versions in a folder."""
    return arrays(*KINDS[kind], "--saved-models", folder)


@pytest.mark.parametrize("way", ["rest", "grpc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_gives_what_the_folder_gives(double: Double, kind: str, way: str) -> None:
    expected = expected_arrays(kind, double.models.folder)
    served = arrays(*KINDS[kind], *there(double, way))
    assert served.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(served[key], value)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_version_is_told_and_large_requests_are_split(
    double: Double, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--n", "25", "--batch-size", "10", *there(double, way)]
    assert commands.main("sample", [NAME, *flags]) == 0
    assert capfd.readouterr().out == f"25 images of {NAME} version 2 in {NAME}-samples.png\n"
    # The metadata, then the latents and the images in three parts each.
    assert len(double.requests) == 7


def test_over_rest_no_tensorflow_is_imported(double: Double, tmp_path: Path) -> None:
    script = (
        f"import sys; from {commands.PACKAGE} import sample; "
        f"status = sample.main(['{NAME}', '--n', '2', '--url', '{double.url}']); "
        "assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    done = commands.python(["-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
