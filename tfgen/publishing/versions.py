"""Published samplers: version folders, manifests, and how one is opened.

`<folder>/<name>/<integer>/` holds a SavedModel and `manifest.json`. A version is published by one
rename, so a reader sees all of it or nothing. Opening one needs TensorFlow alone; before it is
loaded, its files are held against the manifest and its operations against a list, so nothing that
is loaded can run other code or touch files. The manifest finds damage, not malice.
"""

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfgen.errors import UsageError, WorkError
from tfgen.settings.fields import hint
from tfgen.system.atomic import file_sha256, fresh_folder, seal, write_bytes

MANIFEST = "manifest.json"
# The version of a name that is shipped, and the first that is trained here.
SHIPPED, FIRST_TRAINED = 1, 2
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

# What TensorFlow itself puts into every SavedModel: variables, their restoring, calls of functions.
_SAVED_MODEL_OPS = """
    AssignVariableOp Const DisableCopyOnRead Identity IdentityN MergeV2Checkpoints NoOp Pack
    PartitionedCall Placeholder ReadVariableOp RestoreV2 SaveV2 Select ShardedFilename
    StatefulPartitionedCall StaticRegexFullMatch StringJoin VarHandleOp
"""
# Pure functions of tensors.
_PURE_OPS = """
    Abs Add AddN AddV2 All Any ArgMax AvgPool BatchMatMulV2 BiasAdd Bitcast BitwiseAnd BitwiseOr
    BitwiseXor BroadcastArgs BroadcastTo Cast Ceil ClipByValue ConcatV2 Conv2D Conv2DBackpropInput Cos
    Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal Erf Exp ExpandDims Expm1 Fill
    Floor FloorDiv FloorMod FusedBatchNormV3 GatherNd GatherV2 Greater GreaterEqual IsFinite LeakyRelu
    LeftShift Less LessEqual Lgamma Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul
    MatrixBandPart MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MatrixTriangularSolve Max MaxPool Maximum
    Mean Min Minimum Mul MulNoNan Neg NotEqual OneHot OnesLike Pad PadV2 Pow Prod Range Rank RealDiv
    Reciprocal Relu Relu6 Reshape ResizeNearestNeighbor ReverseV2 RightShift Round Rsqrt ScatterNd
    SelectV2 Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus SpaceToDepth Split SplitV Sqrt Square
    SquaredDifference Squeeze StatelessIf StatelessWhile StopGradient StridedSlice Sub Sum Tanh
    TensorScatterUpdate Tile Transpose Unpack Where While Xdivy Xlogy ZerosLike
"""
ALLOWED_OPS = frozenset((_SAVED_MODEL_OPS + _PURE_OPS).split())


@dataclass(frozen=True)
class Version:
    """A published version that was found.

    Attributes:
        name: what it was published as.
        number: its version.
        path: its folder.
    """

    name: str
    number: int
    path: Path


def shipped_folder() -> Path:
    """The folder of the samplers that come with the package: wheel, editable install or
    checkout."""
    spec = importlib.util.find_spec("tfgen.saved_models")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).resolve().parent.parent / "saved_models"


def version_numbers(folder: Path) -> list[int]:
    """The integers among a name's subfolders, ascending; a server reads no others either."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a folder, or of a model in a server's addresses.

    Raises:
        UsageError: it has other characters than letters, digits, '-', '_' and '.', or begins with
            '.'.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a published model; names have letters, digits, '-', '_' and '.'"
        )


def check_folder(saved_models: Path) -> None:
    """Refuses a file as the folder of published samplers.

    Raises:
        UsageError: it is a file.
    """
    if saved_models.exists() and not saved_models.is_dir():
        raise UsageError(f"{saved_models} is a file; published samplers are kept in a folder")


def find(name: str, saved_models: Path, number: int | None = None) -> Version:
    """The version of that number, or the newest; where nothing was published, the shipped one.

    Raises:
        UsageError: there is no such name or version, or `saved_models` is a file.
    """
    check_folder(saved_models)
    check_name(name)
    for base in (saved_models, shipped_folder()):
        numbers = version_numbers(base / name)
        if numbers and (number is None or number in numbers):
            chosen = numbers[-1] if number is None else number
            return Version(name, chosen, base / name / str(chosen))
    known = sorted({*names(saved_models), *names(shipped_folder())})
    if name not in known:
        raise UsageError(f"unknown model {name!r} in {saved_models} or shipped{hint(name, known)}")
    numbers = sorted(
        {*version_numbers(saved_models / name), *version_numbers(shipped_folder() / name)}
    )
    raise UsageError(f"{name} has no version {number}; it has {', '.join(map(str, numbers))}")


def names(saved_models: Path) -> list[str]:
    """The names in a folder that have a version, sorted."""
    if not saved_models.is_dir():
        return []
    return sorted(
        p.name for p in saved_models.iterdir() if _NAME.fullmatch(p.name) and version_numbers(p)
    )


def next_number(saved_models: Path, name: str) -> int:
    """The number that the next version of a name gets; from 2, since 1 is the shipped one."""
    return max([FIRST_TRAINED - 1, *version_numbers(saved_models / name)]) + 1


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a version's folder.

    Raises:
        WorkError: it is missing or damaged.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if not isinstance(manifest["files"], dict) or not isinstance(manifest["signatures"], dict):
            raise ValueError("files and signatures are not tables")
        return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkError(
            f"{path} is no published version: its {MANIFEST} cannot be read ({error})"
        ) from error


def write_evaluation(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Writes what a version was found to be worth into its manifest, which is in no hash.

    Raises:
        WorkError: the manifest is damaged.
        OSError: the disk is full or the folder cannot be written.
    """
    manifest = read_manifest(path) | {"evaluation": dict(evaluation)}
    # Beside the version: a file that a kill leaves inside would make it a broken one.
    temporary = path.parent / f".{path.name}-{MANIFEST}"
    try:
        write_bytes(temporary, (json.dumps(manifest, indent=1) + "\n").encode())
        temporary.replace(path / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)


def verify(path: Path) -> dict[str, Any]:
    """Holds a version's files against its manifest and its operations against the list; returns the
    manifest.

    Raises:
        WorkError: a file is missing, added or damaged, or the graph holds an operation that is not
            allowed.
    """
    manifest = read_manifest(path)
    found = hash_files(path)
    for name, expected in manifest["files"].items():
        if found.get(name) != expected:
            state = "damaged" if name in found else "missing"
            raise WorkError(
                f"{path} is broken: {name} is {state}; publish it again or take another --version"
            )
    extra = found.keys() - manifest["files"].keys()
    if extra:
        raise WorkError(f"{path} is broken: {min(extra)} is not in its manifest")
    unknown = operations(path) - ALLOWED_OPS
    if unknown:
        raise WorkError(
            f"{path} is not loaded: its graph holds operations that are not allowed: "
            f"{', '.join(sorted(unknown))}"
        )
    return manifest


def hash_files(path: Path) -> dict[str, str]:
    """SHA-256 of each file below a version's folder by its relative name, the manifest left out."""
    files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name != MANIFEST)
    return {p.relative_to(path).as_posix(): file_sha256(p) for p in files}


def operations(path: Path) -> set[str]:
    """Names of all operations in a SavedModel's graph and functions.

    Raises:
        WorkError: the file is no SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise WorkError(f"{path} holds no SavedModel: {error}") from error
    names = set()
    for meta in model.meta_graphs:
        names |= {node.op for node in meta.graph_def.node}
        names |= {
            node.op for function in meta.graph_def.library.function for node in function.node_def
        }
    # A function of the library is called by its own name; its body was just looked at.
    return names - {
        f.signature.name for meta in model.meta_graphs for f in meta.graph_def.library.function
    }


class Sampler:
    """An opened version: its signatures as functions of arrays.

    Args:
        version: what `find` found.

    Raises:
        WorkError: the version is broken.
    """

    def __init__(self, version: Version):
        import tensorflow as tf

        self.version = version
        self.manifest = verify(version.path)
        try:
            self._model = tf.saved_model.load(str(version.path))
        except Exception as error:  # TensorFlow raises of many kinds here, some over many lines
            reason = next(iter(str(error).splitlines()), "")[:200]
            raise WorkError(
                f"{version.path} is broken: TensorFlow cannot load it ({type(error).__name__}: {reason}); "
                "publish it again or take another --version"
            ) from error

    @property
    def name(self) -> str:
        """What it was published as."""
        return self.version.name

    @property
    def number(self) -> int:
        """Its version."""
        return self.version.number

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return int(self._signature("latents").structured_outputs["latents"].shape[-1])

    @property
    def num_classes(self) -> int:
        """Classes of a conditional model, 0 of another."""
        return int(self.manifest.get("num_classes", 0))

    def call(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a signature on arrays whose first dimension is the batch.

        Raises:
            UsageError: there is no such signature.
        """
        import tensorflow as tf

        outputs = self._signature(signature)(**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def _signature(self, name: str) -> Any:
        signatures = self._model.signatures
        if name not in signatures:
            raise UsageError(
                f"{self.version.path} has no signature {name!r}{hint(name, signatures)}"
            )
        return signatures[name]


def publish(saved_models: Path, name: str, write: Callable[[Path], Mapping[str, Any]]) -> Path:
    """Publishes the next version of a name.

    Args:
        saved_models: the folder of all names.
        name: what to publish as.
        write: writes the SavedModel into the folder it is given and returns the manifest's other
            entries.

    Returns:
        The new version's folder; numbers start at 2, since 1 is the shipped one.

    Raises:
        OSError: the disk is full or the folder cannot be written; no version is seen then.
    """
    base = saved_models / name
    # The hidden folder is no integer, so a server skips it.
    with fresh_folder(base, "writing") as temporary:
        manifest = {"format": 1, "name": name, **write(temporary), "files": hash_files(temporary)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        seal(temporary)
        while True:
            target = base / str(next_number(saved_models, name))
            try:
                temporary.rename(target)
                return target
            except OSError:
                # Another writer took the number; anything else is a real failure.
                if not target.exists():
                    raise
