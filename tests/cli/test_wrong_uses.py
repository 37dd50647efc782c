"""A wrong use ends in one line that names its cause, and leaves the disk as it was."""

import importlib
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tests import commands
from tests.cli.worlds import NAME, cut, flip
from tests.conftest import Trained

TRAIN = "vae --preset mlp --dataset tiny --data-dir {data} --hidden 4 --saved-models {models}"
# The command, its arguments, the exit status, and what the line names.
ROWS = [
    ("train", "", 2, "MODEL"),
    ("train", "vea", 2, "'vae'"),
    ("train", "vae --preset mlp-3d", 2, "'mlp-2d'"),
    ("train", "vae --epoch 3", 2, "--epochs"),
    ("train", "vae --epochs 1.5", 2, "--epochs"),
    ("train", "gan --hidden 4", 2, "--hidden"),
    ("train", f"{TRAIN} --minutes 1 --epochs 2", 2, "--minutes"),
    ("train", f"{TRAIN} --dataset tinny", 2, "'tinny'"),
    ("train", f"{TRAIN} --epochs 1 --no-publish --run-dir {{runs}}/flat", 2, "--resume"),
    ("train", "vae --resume --run-dir {runs}/flat --hidden 4 5", 2, "--hidden [4]"),
    ("train", "vae --resume --run-dir {runs}/broken --epochs 3", 1, "no checkpoint"),
    ("train", f"{TRAIN} --dataset tinny --name ../x", 2, "'../x'"),
    ("sample", f"{NAME} --saved-models {{models}} --n 0", 2, "n = 0"),
    ("sample", "nothing --saved-models {models}", 2, "'nothing'"),
    ("sample", "broken --saved-models {models}", 1, "manifest.json"),
    ("score", f"{NAME} {{runs}}/none.png --saved-models {{models}}", 2, "none.png"),
    ("reconstruct", "gan {data}", 2, "encoder"),
    ("export", "{runs}/none --to {models}", 2, "none"),
    ("export", "{runs}/none --to {models} --name ../x", 2, "'../x'"),
    ("evaluate", "{runs}/none", 2, "none"),
    ("compare", "{runs}/\x1b[2J", 2, r"\x1b[2J"),
    ("data", "images {runs}/none --name x --to {runs}/x", 2, "none"),
    ("data", "images {runs} --name x --to {runs}/x --size 0", 2, "--size '0'"),
]


@pytest.fixture
def places(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Copies of what was trained, with a broken run and a broken version; an empty folder here."""
    copies = {"data": trained.data, "runs": trained.runs, "models": trained.saved_models}
    places = {name: Path(shutil.copytree(p, tmp_path / name)) for name, p in copies.items()}
    shutil.copytree(places["runs"] / "flat", places["runs"] / "broken")
    for arrays in places["runs"].glob("broken/checkpoints/step-*/arrays.npz"):
        flip(arrays)
    shutil.copytree(places["models"] / NAME, places["models"] / "broken")
    cut(places["models"] / "broken" / "2" / "manifest.json", 99)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return places


@pytest.mark.parametrize(("verb", "arguments", "status", "named"), ROWS)
def test_a_wrong_use_is_one_line_and_changes_nothing(
    verb: str,
    arguments: str,
    status: int,
    named: str,
    places: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    argv = [word.format(**places) for word in arguments.split()]
    assert commands.main(verb, argv) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"tfgen-{verb}: error: ") and err.count("\n") == 1
    assert named in err and "TFGEN_TRACEBACK" not in err
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert [p for p in after if p.name != ".lock" and after[p] != before.get(p)] == []


@pytest.mark.slow
def test_a_wrong_use_as_a_process_says_nothing_else(places: dict[str, Path]) -> None:
    arguments = "broken --saved-models {models}".format(**places).split()
    done = commands.process("sample", arguments, places["runs"].parent / "here")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tfgen-sample: error: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_told_from_a_full_memory(capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"{commands.PACKAGE}._command")
    works = {"/dev/full": lambda: tf.io.write_file("/dev/full", "x" * 10**5)}
    works["out of memory"] = lambda: tf.zeros([10**6, 10**6, 10**3])
    for part, work in works.items():
        assert command.run_command("x", lambda argv: None, lambda options, w=work: w(), []) == 1
        err = capsys.readouterr().err
        assert [name for name in works if name in err] == [part]
        assert err.count("\n") == 1
