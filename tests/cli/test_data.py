import functools
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from tests import commands
from tests.data.importers.test_idx import idx
from tests.data.pictures import saved
from tests.errors import refuses
from tfgen.data import load

main = functools.partial(commands.main, "data")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "idx files"
    folder.mkdir()
    images = np.arange(12 * 4 * 4).reshape(12, 4, 4)
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(12))):
        (folder / f"train-{name}-ubyte").write_bytes(idx(array))
    return folder


def test_idx_files_become_a_data_set_and_the_next_command_is_refused(source, tmp_path, capsys):
    root = tmp_path / "my root"
    about = ["--description", "Ramps.", "--license", "CC0"]
    assert main(["idx", str(source), "--name", "ramps", "--to", str(root), *about]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    wrote, few, *_, use = out.splitlines()
    size = "4 × 4 pixels (width × height), grey"
    assert wrote == f"wrote {root / 'ramps' / '1.0.0'}: 12 train images of {size}, 12 classes"
    assert few.startswith("12 training images are few")
    assert use.endswith(f" --dataset ramps --data-dir '{root}'")
    assert "--minutes" in use and "--diff-augment" in use
    data = load("ramps", root)
    assert (data.num_classes, data.to_json()["description"]) == (12, "Ramps. Licence: CC0")
    assert [path.name for path in root.iterdir()] == ["ramps"]


def test_termination_leaves_nothing(source, tmp_path, monkeypatch, capsys):
    def terminated(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)

    # TFDS adds words to the message of an error that passes through it.
    monkeypatch.setattr("tensorflow_datasets.features.Image.encode_example", terminated)
    assert main(["idx", str(source), "--name", "ramps", "--to", str(tmp_path / "out")]) == 143
    assert capsys.readouterr().err == "tfgen-data: terminated\n"
    assert not (tmp_path / "out").exists()


def kinds_of_pictures(folder) -> dict[str, Image.Image]:
    """Writes pictures of all kinds; returns by relative path what Pillow reads of each."""
    rng, expected = np.random.default_rng(0), {}

    def save(name, image, **options):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        expected[name] = Image.open(path)

    def noise(width, height, channels=3):
        return Image.fromarray(rng.integers(0, 256, (height, width, channels), np.uint8))

    turned = Image.Exif()
    turned[0x0112] = 6
    for n in range(80):
        width, height = 5 + n % 7, 6 + n % 5
        save(f"Flags/{n}.png", noise(width, height))
        save(f"Flags/deep/er/{n}.jpg", noise(width, height), exif=turned)
        save(f"Fruit/{n}.webp", noise(width, height, 4), lossless=True)
        save(f"Fruit/{n}.gif", noise(width, height))
        save(f"日本 café/{n}.bmp", noise(width, height).convert("L"))
        grey = Image.fromarray(rng.integers(0, 65536, (height, width)).astype(np.uint16))
        save(f"日本 café/{n}.tif", grey)
    save("Flags/cmyk.jpg", noise(9, 9).convert("CMYK"))
    save("Flags/palette.png", noise(9, 9).convert("P"), transparency=3)
    save("Fruit/bit.png", noise(9, 9).convert("1"))
    return expected


def expected_pixels(image: Image.Image, size: tuple[int, int], colour: str) -> np.ndarray:
    """A picture as tfgen-data should store it, from calls of Pillow alone."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    layer = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", layer.size, colour), layer).convert("RGB")
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


def test_any_folder_of_pictures_becomes_a_data_set_in_one_command(tmp_path, capsys):
    folder, root = tmp_path / "in", tmp_path / "root"
    expected = kinds_of_pictures(folder)
    # Links to what is there already, and to the folder itself.
    (folder / "Flags" / "again").symlink_to(folder / "Fruit")
    (folder / "Links").symlink_to(folder / "Flags")
    (folder / "Flags" / "loop").symlink_to(folder)
    (folder / ".hidden.png").write_text("hidden")
    whole = (folder / "Flags" / "0.png").read_bytes()
    for n in range(20):
        content = [whole[:-40], b"", b"text", whole[:20]][n % 4]
        (folder / "Fruit" / f"broken {n:02}.png").write_bytes(content)
    (folder / "notes.txt").write_text("about the pictures")

    command = ["images", str(folder), "--name", "things", "--to", str(root), "--size", "6x4"]
    command += ["--background", "#204060"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, *skipped, more, alpha, wrote = out.splitlines()[:-6]
    assert (first, len(skipped)) == ("21 files skipped:", 20)
    # The 80 WebP files, and the palette with a transparent colour.
    assert alpha.startswith("81 pictures with an alpha channel, laid over #204060; ")
    assert skipped[1] == "  Fruit/broken 01.png is empty"
    version = root / "things" / "1.0.0"
    assert more == f"  … and 1 more; {version / 'metadata.json'} lists all"
    summary = f"{len(expected)} train images of 6 × 4 pixels (width × height), RGB, 3 classes"
    assert wrote == f"wrote {version}: {summary}"

    data = load("things", root)
    images = np.concatenate([data.train.images, data.test.images, data.validation.images])
    labels = np.concatenate([data.train.labels, data.test.labels, data.validation.labels])
    pairs = zip(labels, images, strict=True)
    stored = sorted((int(label), image.tobytes()) for label, image in pairs)
    names = ["Flags", "Fruit", "日本 café"]
    assert stored == sorted(
        (names.index(name.split("/")[0]), expected_pixels(image, (6, 4), "#204060").tobytes())
        for name, image in expected.items()
    )

    builder = tfds.builder_from_directory(str(version))
    assert builder.info.features["label"].names == names
    assert list(builder.info.metadata["skipped_files"])[-1] == "notes.txt"
    assert len(builder.info.metadata["skipped_files"]) == 21
    example = next(iter(builder.as_dataset(split="train")))
    np.testing.assert_array_equal(example["image"].numpy(), images[0])


def test_duplicates_are_named_and_trained_on_and_overwrite_replaces(tmp_path, capsys):
    folder, root = tmp_path / "in", tmp_path / "root"
    for n in range(24):
        saved(folder / "ab"[n > 21], Image.new("L", (4, 4), n % 20), f"{n:02}.png")
    command = ["images", str(folder), "--name", "some", "--to", str(root)]
    assert main(command) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("4 exact duplicates, such as a/00.png = a/20.png; ")
    assert first.endswith("; 2 pictures in two classes, such as a/02.png = b/22.png")
    data = load("some", root)
    pixels = [split.images[:, 0, 0, 0] for split in (data.train, data.validation, data.test)]
    assert sorted(np.concatenate(pixels)) == sorted(n % 20 for n in range(24))
    assert {0, 1, 2, 3}.isdisjoint(np.concatenate(pixels[1:]))

    (folder / "b" / "23.png").unlink()
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert len(load("some", root).training_split("all")) + len(data.test) == 24
    assert main([*command, "--overwrite"]) == 0
    data = load("some", root)
    assert len(data.training_split("all")) + len(data.test) == 23
    assert [path.name for path in root.rglob("some*/*")][:1] == ["1.0.0"]
    # Too few for a training, so nothing is replaced.
    for path in list(folder.glob("*/*"))[2:]:
        path.unlink()
    assert main([*command, "--overwrite"]) == 2
    assert len(load("some", root).training_split("all")) + len(data.test) == 23


def test_variants_of_one_thing_stay_in_one_split(tmp_path, capsys):
    folder, root = tmp_path / "in", tmp_path / "root"
    for n in range(120):
        image = Image.new("RGB", (4, 4), (n // 10, n % 10, 0))
        path = saved(folder / "ab"[n % 2], image, f"thing{n // 10}-{n % 10}.png")
    path.write_bytes(path.read_bytes()[:-20])
    shutil.copy(folder / "a" / "thing3-2.png", folder / "b" / "thing4-5.png")
    command = ["images", str(folder), "--name", "things", "--to", str(root), "--overwrite"]
    command += ["--group-by", r"(thing\d+)-"]
    assert main(command) == 0
    assert "\n12 groups, none in two splits\n1 exact duplicate" in capsys.readouterr().out
    data = load("things", root)
    splits = [split.images[:, 0, 0, 0] for split in (data.train, data.validation, data.test)]
    # Thing 11 lacks its broken variant, and thing 4 the one that is a copy of thing 3.
    assert np.bincount(np.concatenate(splits)).tolist() == [10, 10, 10, 11, 9, *[10] * 6, 9]
    things = [set(values) for values in splits]
    assert {3, 4} <= things[0] and list(map(len, things)) == [8, 2, 2]
    assert set.union(*things) == set(range(12))
    for pattern, reason in (("thing(", "regular expression"), ("^[ab]", "groups are too few")):
        assert main([*command, "--group-by", pattern]) == 2
        assert reason in capsys.readouterr().err
    for held_out in ({"validation": 100, "test": 19}, {"validation": 20, "test": -1}, [20, 20]):
        (root / "things/1.0.0/metadata.json").write_text(json.dumps({"held_out": held_out}))
        refuses(lambda: load("things", root), str(root))
    # With folders of the splits, only validation images are taken from the training images.
    (folder / "a").rename(folder / "train")
    (folder / "b").rename(folder / "test")
    assert main(command) == 2
    assert "is in train and in test" in capsys.readouterr().err
    for path in [*folder.glob("train/*[13579]-*"), *folder.glob("test/*[02468]-*")]:
        path.unlink()
    assert main(command) == 0
    data = load("things", root)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [25, 5, 29]
    assert (set(data.test.images[:, 0, 0, 0]), data.num_classes) == ({1, 3, 5, 7, 9, 11}, None)


def test_strict_lists_all_and_writes_nothing(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(30):
        Image.new("L", (4, 4), n).save(folder / f"{n:02}.png")
        if n < 25:
            path = folder / f"{n:02}.png"
            path.write_bytes(path.read_bytes()[:-20])
    command = ["images", str(folder), "--name", "few", "--to", str(tmp_path / "root")]
    assert main([*command, "--strict"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("25 files skipped:\n  00.png ")
    assert out.endswith("  … and 5 more; without --strict, metadata.json lists all\n")
    assert err.startswith("tfgen-data: error: 25 files of ")
    assert not (tmp_path / "root").exists()
    assert main(command) == 0
