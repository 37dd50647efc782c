"""`tfgen-sample` of a server; its answers are those of the folder by publishing/test_served.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.conftest import Trained
from tests.publishing.serving_double import Double

NAME = "vae-2d-tiny"


@pytest.fixture(scope="module")
def running(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    folder = tmp_path_factory.mktemp("served")
    (folder / NAME).symlink_to(trained.saved_models / NAME)
    with Double(folder).running() as double:
        yield double


@pytest.fixture(autouse=True)
def double(running: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    monkeypatch.chdir(tmp_path)
    running.reset()
    return running


def there(double: Double, way: str) -> list[str]:
    return ["--url", double.url] if way == "rest" else ["--grpc", double.grpc]


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_version_is_told_and_large_requests_are_split(
    double: Double, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--n", "25", "--batch-size", "10", *there(double, way)]
    assert commands.main("sample", [NAME, *flags]) == 0
    assert capfd.readouterr().out == f"25 images of {NAME} version 2 in {NAME}-samples.png\n"
    # The metadata, then the latents and the images in three parts each.
    assert len(double.requests) == 7


@pytest.mark.slow
def test_over_rest_no_tensorflow_is_imported(double: Double, tmp_path: Path) -> None:
    script = (
        f"import sys; from {commands.PACKAGE} import sample; "
        f"status = sample.main(['{NAME}', '--n', '2', '--url', '{double.url}']); "
        "assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    done = commands.python(["-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
