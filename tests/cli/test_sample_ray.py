"""`--ray` of `tfgen-sample`: the shards of one process; and a clear error without Ray."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.cli.conftest import OwnModels
from tests.cli.worlds import flip

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_two_workers_complete_a_folder_to_the_bytes_of_one_process(
    own_models: OwnModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # A relative path, which the workers do not share.
    Path("models").symlink_to(own_models.folder)
    flags = ["vae", "--saved-models", "models", "--n", "60", "--label", "1"]
    flags += ["--shard-size", "10", "--batch-size", "4", "--out"]
    for folder in ("alone", "workers"):
        assert commands.main("sample", [*flags, folder]) == 0
    flip(tmp_path / "workers" / "vae-00001-of-00006.tfrecord")
    (tmp_path / "workers" / "vae-00004-of-00006.tfrecord").unlink()
    # In a process of its own, as users run it: in that of the tests, some clusters do not start.
    done = commands.process("sample", [*flags, "workers", "--ray", "2"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^[\[(]", done.stderr, re.M), done.stderr  # how lines of Ray begin
    assert "60 images of vae version 2 in 6 shards in workers" in done.stdout
    sampled = r"^20 images sampled in .* images/s; 40 were there already$"
    assert re.search(sampled, done.stdout, re.M)
    folders = (Path(folder).iterdir() for folder in ("alone", "workers"))
    contents = [{path.name: path.read_bytes() for path in paths} for paths in folders]
    assert contents[0] == contents[1]
    # No cluster is started for a folder that is complete.
    monkeypatch.setattr("tfgen.system.ray_cluster.connected", None)
    capfd.readouterr()
    assert commands.main("sample", [*flags, "workers", "--ray"]) == 0
    assert "no image was sampled" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("verb", "flags"), [("sample", ["--shard-size", "10", "--out", "shards"]), ("train", [])]
)
def test_without_ray_the_error_says_what_to_install(
    verb: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    find_spec = importlib.util.find_spec

    def without_ray(name: str, *arguments: Any) -> Any:
        return None if name == "ray" else find_spec(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", without_ray)
    message = "error: --ray needs Ray; install it in the checkout: pip install '.[ray]'\n"
    commands.refused(verb, ["vae", *flags, "--ray"], message)
    assert not list(tmp_path.iterdir())
