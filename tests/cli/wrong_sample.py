"""Wrong uses of `tfgen-sample`."""

import functools
from collections.abc import Callable
from pathlib import Path

from tests.cli.cases import Case, at, bare_sample, case, sample, sample_copy, sample_flags
from tests.cli.worlds import (
    NAME,
    World,
    cut,
    flip,
    hold_lock,
    put_foreign_signature,
    put_reader_of_files,
    seal,
)
from tfgen.publishing.versions import MANIFEST


def broken_version(id: str, message: str, damage: Callable[[Path], object]) -> Case:
    return sample_copy(id, message, prepare=lambda w: damage(w.version()), status=1)


def find_weights(version: Path) -> Path:
    return next(version.glob("variables/*.data*"))


SAMPLE = [
    bare_sample("no-name", "required: NAME"),
    case(
        "sample",
        functools.partial(sample_flags, name="vae-2d-tin"),
        "unknown-name",
        f"'vae-2d-tin'.*did you mean '{NAME}'",
    ),
    bare_sample("name-a-path", "../vae does not exist", "../vae"),
    bare_sample("name-a-folder", "models/vae/1 does not exist", "models/vae/1"),
    sample("unknown-version", f"{NAME} has no version 7; it has 2", "--version", 7),
    sample("n-0", "n = 0 is too small; the least is 1", "--n", 0),
    sample("n-too-large", "n = 1000.* is too large", "--n", 10**20),
    sample("n-over-memory", "2147483647 images of 6 × 6 × 1 need .* for fewer", "--n", 2**31 - 1),
    sample("n-negative", "n = -4 is too small", "--n", -4),
    sample("n-word", "--n: 'four' is not an integer", "--n", "four"),
    sample("sample-seed-negative", "seed = -1 is too small", "--seed", -1),
    sample("extension-unknown", "extension '.gif' is unknown; use .png", "--out", "out.gif"),
    sample("out-a-device", "/dev/full: it has no extension; use .png or", "--out", "/dev/full"),
    sample("out-in-no-folder", "folder none does not exist; create it", "--out", "none/out.png"),
    sample(
        "out-a-full-folder",
        "cannot write .*/out.png: the folder is not empty; choose a new folder, or the name of a",
        prepare=lambda w: w.file("out.png/000000.png"),
    ),
    sample("out-empty", "--out: the path is empty", "--out", ""),
    sample("out-not-writable", "[a-z]: /proc/out.png", "--out", "/proc/out.png", status=1),
    case(
        "sample",
        functools.partial(sample_flags, name="vae-tiny"),
        "manifold-of-20",
        "needs 2 latents; vae-tiny has 20",
        *("--manifold", 3),
    ),
    sample(
        "manifold-and-interpolate",
        "--manifold and --interpolate exclude each other",
        *("--manifold", 3, "--interpolate", 3),
    ),
    sample("manifold-1", "manifold = 1 is too small", "--manifold", 1),
    sample("manifold-warm", "leave out --temperature", "--manifold", 3, "--temperature", 2),
    sample_copy(
        "sample-models-a-file",
        "/models is a file; pass the folder",
        prepare=lambda w: w.file("models"),
    ),
    sample("label-of-unconditional", "not conditional: it takes no labels", "--label", 3),
    sample("label-name-of-unconditional", "not conditional: it takes no labels", "--label", "bee"),
    sample("seeds-too-large", "has the entry 2147483648, which is too large", "--seeds", 2**31),
    sample("way-of-one-seed", "needs two --seeds or", "--seeds", 1, "--interpolate", 3),
    sample("unknown-path", "path = 'round'; known: linear, spherical", "--path", "round"),
    sample(
        "shards-and-manifold",
        "--shard-size and --manifold exclude each other",
        *("--shard-size", 5, "--manifold", 3),
    ),
    sample(
        "shards-and-interpolate",
        "--shard-size and --interpolate exclude each other",
        *("--shard-size", 5, "--interpolate", 3),
    ),
    sample(
        "shards-and-seeds",
        "--shard-size and --seeds exclude each other",
        *("--shard-size", 5, "--seeds", 1, 2),
    ),
    sample("shards-in-a-png", "out.png names a file; pass a folder, or", "--shard-size", 5),
    sample(
        "shards-in-an-npz",
        "--shard-size writes a folder, and --out out.npz names a file",
        *("--shard-size", 5, "--out", "out.npz"),
    ),
    sample("shard-size-0", "shard_size = 0 is too small", "--shard-size", 0),
    sample("pixels-without-shards", "raw is for shards; pass --shard-size", "--pixels", "raw"),
    sample("ray-without-shards", "--ray is for shards; pass --shard-size too", "--ray"),
    sample("ray-workers", "ray = -1 is too small", "--ray", -1),
    sample(
        "ray-address-alone", "--ray-address is for --ray; pass --ray too", "--ray-address", "a:6379"
    ),
    sample("unknown-pixels", "unknown pixels = 'jpeg'; known: png, raw", "--pixels", "jpeg"),
    sample(
        "shards-in-a-full-folder",
        "cannot write .*/folder: the folder is not empty; choose a new folder",
        *("--shard-size", 5, "--out", at("folder")),
        prepare=lambda w: w.file("folder/000000.png"),
    ),
    sample(
        "shards-beside-another-manifest",
        "cannot write .*/models/vae-2d-tiny/2: the folder is not empty",
        *("--shard-size", 5, "--out", at("models/vae-2d-tiny/2")),
        prepare=World.version,
    ),
    sample(
        "shards-in-a-file",
        "/file is a file; choose another folder",
        *("--shard-size", 5, "--out", at("file")),
        prepare=lambda w: w.file("file"),
    ),
    sample(
        "shards-in-a-folder-in-use",
        "folder .*/folder is in use by another process; wait for its end, or choose another --out",
        *("--shard-size", 5, "--out", at("folder")),
        prepare=lambda w: hold_lock(w.folder("folder")),
    ),
    sample(
        "shards-of-no-class",
        "not conditional: it takes no labels",
        *("--shard-size", 5, "--out", at("folder"), "--label", 1),
    ),
    sample(
        "shards-in-no-utf-8",
        r"caf\\xe9/: TensorFlow cannot write to a folder whose name is not UTF-8",
        *("--shard-size", 5, "--out", "caf\udce9/"),
    ),
    broken_version("weights-flipped", "data.* is damaged", lambda v: flip(find_weights(v))),
    broken_version(
        "graph-flipped", "saved_model.pb is damaged; publish", lambda v: flip(v / "saved_model.pb")
    ),
    broken_version(
        "file-missing", "index is missing", lambda v: (v / "variables/variables.index").unlink()
    ),
    broken_version(
        "file-added",
        "more.py is not in its manifest.json; remove the file",
        lambda v: (v / "more.py").write_text(""),
    ),
    broken_version(
        "graph-truncated",
        "/2 holds no SavedModel",
        lambda v: (cut(v / "saved_model.pb", 5000), seal(v)),
    ),
    broken_version(
        "graph-empty",
        "/2 (is broken|holds no SavedModel)",
        lambda v: (cut(v / "saved_model.pb", 0), seal(v)),
    ),
    broken_version(
        "weights-truncated",
        "/2 is broken: TensorFlow cannot load it",
        lambda v: (cut(find_weights(v), 100), seal(v)),
    ),
    broken_version(
        "manifest-missing", "its manifest.json cannot be read", lambda v: (v / MANIFEST).unlink()
    ),
    broken_version(
        "manifest-broken", "its manifest.json cannot be read", lambda v: cut(v / MANIFEST, 99)
    ),
    broken_version(
        "manifest-odd", "manifest.json cannot be read", lambda v: (v / MANIFEST).write_text("[]")
    ),
    sample_copy(
        "signature-missing",
        "/2 has no signature 'decode'; known: serving_default",
        prepare=lambda w: put_foreign_signature(w.version()),
    ),
    broken_version(
        "graph-reads-files",
        "operations that are not allowed: .*ReadFile",
        put_reader_of_files,
    ),
]
