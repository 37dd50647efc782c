"""What a version may hold: neither loading it nor calling it can touch a file."""

from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.framework import op_def_registry

import tfgen
from tests.publishing import crafted
from tfgen.errors import WorkError
from tfgen.publishing import inspection, operations, versions

ATTACKS = crafted.ATTACKS


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder with a checkpoint of somebody else."""
    victim = tmp_path / "victim"
    victim.mkdir()
    crafted.write_file(victim, "part")
    return victim


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_crafted_version_is_refused_and_touches_no_file(
    attack: str, tmp_path: Path, victim: Path
) -> None:
    version = tmp_path / "crafted" / "2"
    ATTACKS[attack](version, victim)
    before = files(tmp_path)
    with pytest.raises(WorkError, match="is not loaded: ") as caught:
        tfgen.load(version)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == before


def test_what_tensorflow_writes_by_itself_is_allowed(tmp_path: Path) -> None:
    crafted.plain(tmp_path / "plain" / "2")
    assert inspection.find_fault(tmp_path / "plain" / "2") is None
    (images,) = (
        tfgen.load(tmp_path / "plain" / "2").call("sample", seed=np.array([3], np.int32)).values()
    )
    np.testing.assert_array_equal(images, [3])


@pytest.mark.parametrize("name", versions.shipped_names())
def test_the_shipped_versions_are_allowed(name: str) -> None:
    assert inspection.find_fault(versions.shipped_folder() / name / "1") is None


def test_pure_operations_have_no_state() -> None:
    for name in operations.PURE:
        definition = op_def_registry.get(name)
        assert definition is not None, f"TensorFlow has no {name}"
        assert not definition.is_stateful, name
        resources = [argument for argument in definition.input_arg if argument.type == 20]
        assert not resources, f"{name} takes a resource"


# What a version needs beside pure functions: reads of variables, calls of functions.
STATEFUL = {"Case", "If", "ReadVariableOp", "StatefulPartitionedCall", "VarHandleOp", "While"}


def test_no_random_no_python_and_no_file_operation_is_allowed() -> None:
    stateful = {name for name in operations.ALLOWED if op_def_registry.get(name).is_stateful}
    assert stateful <= STATEFUL
    forbidden = ["RandomStandardNormal", "RandomUniform", "StatelessRandomUniformV2", "ReadFile"]
    forbidden += ["WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PrintV2", "RemoteCall"]
    forbidden += ["SaveV2", "RestoreV2", "MergeV2Checkpoints", "AssignVariableOp", "XlaCallModule"]
    for name in forbidden:
        assert op_def_registry.get(name) is not None and name not in operations.ALLOWED
    assert not [name for name in operations.ALLOWED if "Random" in name or "Py" in name]
