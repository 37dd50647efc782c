"""A wrong use ends in one line that names its cause, and leaves the disk as it was."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import commands
from tests.cli.worlds import NAME, cut, flip
from tests.conftest import Trained, make_images
from tfgen.publishing.versions import read_manifest, shipped_folder

TRAIN = "vae --preset mlp --dataset tiny --data-dir {data} --hidden 4 --saved-models {models}"
JUDGE = "--data-dir {data} --saved-models {models} --dataset tiny"
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
    ("sample", "classifier", 2, "makes no images; it offers features"),
    ("sample", "broken --saved-models {models}", 1, "manifest.json"),
    ("score", f"{NAME} {{runs}}/none.png --saved-models {{models}}", 2, "none.png"),
    ("reconstruct", "gan {data}", 2, "encoder"),
    ("export", "{runs}/none --to {models}", 2, "is neither"),
    ("export", "{runs}/none --to {models} --name ../x", 2, "'../x'"),
    ("export", "{files}/damaged.keras", 1, "damaged.keras cannot be loaded"),
    ("export", "nowhere --format litert", 2, "unknown model 'nowhere'"),
    ("export", "vae --format onnx --out vae.tflite", 2, "file that ends in .onnx"),
    ("export", "{runs}/flat --format archive", 2, "first run: tfgen-export "),
    ("export", "classifier --format litert", 2, "makes no images; it offers features"),
    ("export", "vae gan --format hub", 2, "--format hub takes one RUN"),
    ("export", "vae --format page --out {models}", 2, "is not an exported page"),
    ("export", "vae --format hub --out {models}", 2, "is not an exported vae"),
    ("export", "vae --format page --license mit", 2, "leave out --license"),
    ("evaluate", "{runs}/none", 2, "none"),
    ("evaluate", f"{{runs}}/flat {JUDGE} --n 5", 2, "too few images, 5; pass at least 6 images"),
    ("evaluate", f"{{runs}}/flat {JUDGE} --classifier vae-tiny", 2, "is not a classifier; train"),
    ("evaluate", f"{{runs}}/flat {JUDGE} --out config.json", 2, "have a file of that name"),
    ("evaluate", f"{{runs}}/flat {JUDGE} --out {{models}}/vae-tiny/2/e.json", 2, "may not hold"),
    ("evaluate", "{files}/a.npz", 2, "a.npz holds images; name the data set"),
    ("evaluate", f"{{files}} {JUDGE} --n 41", 2, "n = 41 is too large; the test split has 40"),
    ("evaluate", "{files}/a.npz --features-range=-1,1", 2, "of your own; pass --features PATH"),
    ("evaluate", f"{{files}} {JUDGE}", 2, "holds no pictures"),
    ("compare", "{runs}/\x1b[2J", 2, r"\x1b[2J"),
    ("compare", "vae vae", 2, "2 evaluations are named vae, but"),
    ("compare", "{files}/old.json", 1, "its format is 0, not 1"),
    ("compare", "vae --out {files}/a.npz/x", 2, "a.npz is a file; choose another folder"),
    ("compare", "{files}/new.json --out {files}/new.json", 2, "would replace what was evaluated"),
    ("compare", "vae --out {models}/vae-tiny/2/x.md", 2, "may not hold further files"),
    ("serve", "--port 70000", 2, "port = 70000 is too large"),
    ("serve", "--port 0 --host my..host", 2, "cannot listen on my..host"),
    ("serve", "--port 0 --host 192.0.2.1", 2, "cannot listen on 192.0.2.1"),
    ("serve", "--port 0 --host=", 2, "--host is empty"),
    ("serve", "--models gna", 2, "unknown model 'gna'"),
    ("serve", "--allow-host lab:8501", 2, "without scheme and port"),
    ("serve", "--allow-origin localhost:3000", 2, "is not like http://localhost:3000"),
    ("serve", "--data-dir nowhere", 2, "--data-dir nowhere is not a folder"),
    ("serve", "--opne", 2, "unknown flag --opne; did you mean --open?"),
    ("data", "images {runs}/none --name x --to {runs}/x", 2, "none"),
    ("data", "images {runs} --name x --to {runs}/x --size 0", 2, "--size '0'"),
]


@pytest.fixture(scope="module")
def places(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of what was trained, a broken run and a broken version, files, an empty folder."""
    copies = {"data": trained.data, "runs": trained.runs, "models": trained.saved_models}
    root = tmp_path_factory.mktemp("places")
    places = {name: Path(shutil.copytree(path, root / name)) for name, path in copies.items()}
    shutil.copytree(places["runs"] / "flat", places["runs"] / "broken")
    for arrays in places["runs"].glob("broken/checkpoints/step-*/arrays.npz"):
        flip(arrays)
    shutil.copytree(places["models"] / NAME, places["models"] / "broken")
    cut(places["models"] / "broken" / "2" / "manifest.json", 99)
    for name in ("files", "here"):
        places[name] = root / name
        places[name].mkdir()
    files = places["files"]
    np.savez(files / "a.npz", images=make_images(20))
    (files / "damaged.keras").write_bytes(b"PK")
    evaluation = read_manifest(shipped_folder() / "gan" / "1")["evaluation"]
    for name, number in (("new", 1), ("old", 0)):
        (files / f"{name}.json").write_text(json.dumps(evaluation | {"format": number}))
    return places


@pytest.mark.parametrize(("verb", "arguments", "status", "named"), ROWS)
def test_a_wrong_use_is_one_line_and_changes_nothing(
    verb: str,
    arguments: str,
    status: int,
    named: str,
    places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(places["here"])
    root = places["here"].parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    argv = [word.format(**places) for word in arguments.split()]
    assert commands.main(verb, argv) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"tfgen-{verb}: error: ") and err.count("\n") == 1
    assert named in err and "TFGEN_TRACEBACK" not in err
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert [p for p in after if p.name != ".lock" and after[p] != before.get(p)] == []


@pytest.mark.slow
def test_a_wrong_use_as_a_process_says_nothing_else(places: dict[str, Path]) -> None:
    arguments = "broken --saved-models {models}".format(**places).split()
    done = commands.process("sample", arguments, places["here"])
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
