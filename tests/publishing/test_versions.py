"""Published versions: numbered, whole, checked before they are loaded."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfgen import VAE
from tfgen.errors import UsageError, WorkError
from tfgen.publishing import export, versions


def small(**kwargs: object) -> VAE:
    return VAE((6, 6, 1), 2, (16,), **kwargs)


def write_file(folder: Path) -> dict:
    (folder / "saved_model.pb").write_bytes(b"")
    return {"signatures": {}}


def reseal(path: Path) -> None:
    """Makes the manifest agree with the files, as one who means harm would."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"] = versions.hash_files(path)
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    return export.publish(small(), folder, "small", run={"family": "vae"}, weights="last")


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(published, tmp_path / "small" / "2"))


def test_trained_versions_start_at_two(tmp_path: Path) -> None:
    numbers = [versions.publish(tmp_path, "x", write_file).name for _ in range(3)]
    assert numbers == ["2", "3", "4"]
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == numbers


def test_concurrent_writers_lose_no_version(tmp_path: Path) -> None:
    def write() -> None:
        for _ in range(10):
            versions.publish(tmp_path, "x", write_file)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert versions.version_numbers(tmp_path / "x") == list(range(2, 32))


def test_a_failed_write_publishes_nothing(tmp_path: Path) -> None:
    def full(folder: Path) -> dict:
        (folder / "saved_model.pb").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        versions.publish(tmp_path, "x", full)
    assert not (tmp_path / "x").exists()


def test_newest_version_and_the_one_asked_for(tmp_path: Path) -> None:
    for number in ("2", "10", "9", ".writing-x", "latest"):
        (tmp_path / "x" / number).mkdir(parents=True)
    assert versions.find("x", tmp_path).number == 10
    assert versions.find("x", tmp_path, 9).path == tmp_path / "x" / "9"
    with pytest.raises(UsageError, match="x has no version 3; it has 2, 9, 10"):
        versions.find("x", tmp_path, 3)
    with pytest.raises(UsageError, match="unknown model"):
        versions.find("y", tmp_path)


def test_damage_is_found(copy: Path) -> None:
    for name in json.loads((copy / "manifest.json").read_text())["files"]:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(WorkError, match="damaged"):
            versions.verify(copy)
        (copy / name).write_bytes(content)
    (copy / "extra").touch()
    with pytest.raises(WorkError, match="extra is not in its manifest"):
        versions.verify(copy)


def test_only_known_operations_are_loaded(copy: Path) -> None:
    assert versions.operations(copy) <= versions.ALLOWED_OPS
    module = tf.Module()
    module.read = tf.function(
        lambda name: tf.io.read_file(name), input_signature=[tf.TensorSpec([], tf.string)]
    )
    tf.saved_model.save(module, str(copy), signatures={"sample": module.read})
    reseal(copy)
    with pytest.raises(WorkError, match="operations that are not allowed: ReadFile"):
        versions.verify(copy)


# What a SavedModel needs beside pure functions: variables, their restoring, calls, loops with them.
STATEFUL = {
    *(
        "AssignVariableOp",
        "DisableCopyOnRead",
        "MergeV2Checkpoints",
        "Placeholder",
        "ReadVariableOp",
    ),
    *("RestoreV2", "SaveV2", "StatefulPartitionedCall", "VarHandleOp", "While"),
}


def test_no_random_no_python_and_no_file_operation_is_allowed() -> None:
    from tensorflow.python.framework import op_def_registry

    found = {name for name in versions.ALLOWED_OPS if op_def_registry.get(name).is_stateful}
    assert found <= STATEFUL
    for name in (
        "RandomStandardNormal",
        "RandomUniform",
        "ReadFile",
        "WriteFile",
        "PyFunc",
        "EagerPyFunc",
    ):
        assert op_def_registry.get(name) is not None and name not in versions.ALLOWED_OPS
    assert not [name for name in versions.ALLOWED_OPS if "Random" in name or "Py" in name]


def test_a_truncated_graph_is_told(copy: Path) -> None:
    graph = copy / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    reseal(copy)
    with pytest.raises(WorkError, match="SavedModel"):
        versions.verify(copy)


def test_a_changed_signature_is_refused(published: Path) -> None:
    folder = published.parent.parent
    export.check_publishable(small(seed=3), folder, "small")
    for other in (VAE((6, 6, 1), 3, (16,)), VAE((8, 8, 1), 2, (16,))):
        with pytest.raises(UsageError, match="another signature"):
            export.publish(other, folder, "small", run={}, weights="last")
    assert versions.version_numbers(folder / "small") == [2]


def test_export_holds_no_path_of_its_maker(published: Path) -> None:
    here = str(Path(__file__).parent.parent).encode()
    for path in published.rglob("*"):
        if path.is_file():
            assert here not in path.read_bytes()


def test_sampler_reads_the_export(published: Path) -> None:
    sampler = versions.Sampler(versions.Version("small", 2, published))
    seeds = np.array([5, -7, 2**31 - 1], np.int32)
    assert sampler.latent_dim == 2
    np.testing.assert_array_equal(
        sampler.call("latents", seed=seeds)["latents"], small().latents(seeds)
    )
    assert sampler.call("sample", seed=seeds[:0])["images"].shape == (0, 6, 6, 1)
