"""`tfgen-sample` of a server; its answers are those of the folder by publishing/test_served.py."""

from pathlib import Path

import pytest

from tests import commands
from tests.cli.conftest import OwnModels


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_version_is_told_and_large_requests_are_split(
    own_models: OwnModels, here: Path, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    own_models.double.reset()
    flags = ["--n", "25", "--batch-size", "10", *own_models.flags(way)]
    assert commands.main("sample", ["flow", *flags]) == 0
    assert capfd.readouterr().out == "25 images of flow version 2 in flow-samples.png\n"
    # The metadata, then the latents and the images in three parts each.
    assert len(own_models.double.requests) == 7


@pytest.mark.slow
def test_over_rest_no_tensorflow_is_imported(own_models: OwnModels, here: Path) -> None:
    flags = ["flow", "--n", "2", *own_models.flags("rest")]
    commands.without_tensorflow("sample", flags, here)
