import functools
import os
import signal
import struct

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tfgen.data import load

pytestmark = pytest.mark.quick

main = functools.partial(commands.main, "data")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "idx files"
    folder.mkdir()
    images = np.arange(12 * 4 * 4, dtype=np.uint8).reshape(12, 4, 4)
    (folder / "train-images-idx3-ubyte").write_bytes(
        struct.pack(">HBBIII", 0, 8, 3, 12, 4, 4) + images.tobytes()
    )
    (folder / "train-labels-idx1-ubyte").write_bytes(
        struct.pack(">HBBI", 0, 8, 1, 12) + bytes(range(12))
    )
    return folder


def test_idx_files_become_a_data_set_and_the_next_command_is_refused(source, tmp_path, capsys):
    root = tmp_path / "my root"
    about = ["--description", "Ramps.", "--license", "CC0", "--homepage", "https://example.org"]
    assert main(["idx", str(source), "--name", "ramps", "--to", str(root), *about]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    wrote, use = out.splitlines()
    assert wrote == f"wrote {root / 'ramps' / '1.0.0'}: 12 train images of 4 × 4 × 1, 12 classes"
    assert use == f"train on it with: tfgen-train vae --dataset ramps --data-dir '{root}'"
    assert load("ramps", root).num_classes == 12
    assert "Ramps. Licence: CC0" in (root / "ramps" / "1.0.0" / "dataset_info.json").read_text()
    assert [path.name for path in root.iterdir()] == ["ramps"]


def test_images_become_a_data_set(tmp_path, capsys):
    for name in "ab":
        (tmp_path / "in" / name).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (5, 4), (n, n, n)).save(tmp_path / "in" / name / f"{n}.png")
    assert main(["images", str(tmp_path / "in"), "--name", "grey", "--to", str(tmp_path)]) == 0
    assert "6 train images of 4 × 5 × 3, 2 classes" in capsys.readouterr().out
    assert load("grey", tmp_path).image_shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "SOURCE"),
        (["idx", "SRC", "--name", "x"], "--to"),
        (["video", "SRC", "--name", "x", "--to", "OUT"], "video"),
        (["idx", "SRC", "--nam", "x", "--to", "OUT"], "--name"),
        (["idx", "SRC", "--name", "My Set", "--to", "OUT"], "for example 'my_set'"),
        (["idx", "none", "--name", "x", "--to", "OUT"], "none does not exist; pass a folder"),
        (["images", "SRC", "--name", "x", "--to", "OUT"], "no PNG or JPEG"),
        (["images", "SRC", "--name", "x", "--to", "OUT", "--prefix", "p"], "--prefix"),
    ],
)
def test_wrong_commands_are_one_line_and_status_2(source, tmp_path, capsys, arguments, message):
    places = {"SRC": str(source), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tfgen-data: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_second_writing_is_refused(source, tmp_path, capsys):
    arguments = ["idx", str(source), "--name", "ramps", "--to", str(tmp_path)]
    assert [main(arguments), main(arguments)] == [0, 2]
    assert "exists already" in capsys.readouterr().err


def test_termination_leaves_nothing(source, tmp_path, monkeypatch, capsys):
    def terminated(*args):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("tfgen.data.writing.publish", terminated)
    assert main(["idx", str(source), "--name", "ramps", "--to", str(tmp_path / "out")]) == 143
    assert capsys.readouterr().err == "tfgen-data: terminated; nothing was written\n"
    assert not (tmp_path / "out").exists()
