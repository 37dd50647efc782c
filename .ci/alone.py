"""Every signature of every shipped version, where TensorFlow alone is installed, against the live
model.

python .ci/alone.py expect FILE            # where tfgen is installed: inputs and the live models'
outputs python .ci/alone.py check FILE VERSIONS    # where it is not: `tf.saved_model.load` and
`saved_model_cli run`
"""

import importlib.util
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

ROWS = 5
ABSENT = ("tfgen", "tensorflow_probability", "tf_keras")


def expect(path: Path) -> None:
    """Writes `name|signature|in or out|tensor` → array."""
    from tfgen.publishing import opening as loading
    from tfgen.publishing import versions

    arrays = {}
    for name in versions.names(versions.shipped_folder()):
        model = loading.exported_model(versions.shipped_folder() / name / "1")
        inputs = model.example_inputs(ROWS)
        signatures = model.signatures()
        for signature, (function, specs) in {
            "serving_default": next(iter(signatures.values())),
            **signatures,
        }.items():
            given = {spec.name: inputs[spec.name] for spec in specs}
            outputs = function(**{key: tf.constant(value) for key, value in given.items()})
            arrays |= {f"{name}|{signature}|in|{key}": value for key, value in given.items()}
            arrays |= {
                f"{name}|{signature}|out|{key}": value.numpy() for key, value in outputs.items()
            }
    np.savez(path, **arrays)


class Blocked:
    """Finds no package of these names: none may be imported by what is loaded."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Part of the import system."""
        if name.partition(".")[0] in ("keras", *ABSENT):
            raise ImportError(f"{name} is blocked")


def check(path: Path, versions: Path) -> None:
    """Fails where an output is not the live model's."""
    found = [name for name in ABSENT if importlib.util.find_spec(name)]
    assert not found, f"{found} are installed here"
    # What TensorFlow itself has imported of Keras by now stays.
    sys.meta_path.insert(0, Blocked())
    arrays = dict(np.load(path))
    signatures = sorted({tuple(key.split("|")[:2]) for key in arrays})
    assert {name for name, _ in signatures} == {p.parent.name for p in versions.glob("*/1")}
    loaded = {name: tf.saved_model.load(str(versions / name / "1")) for name, _ in signatures}
    for name, signature in signatures:
        inputs, expected = (part_of(arrays, name, signature, part) for part in ("in", "out"))
        outputs = loaded[name].signatures[signature](
            **{k: tf.constant(v) for k, v in inputs.items()}
        )
        compare(
            f"{name} {signature}", {key: value.numpy() for key, value in outputs.items()}, expected
        )
    # A process for each, so that the default signature speaks for the others.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: run_cli(versions, arrays, name, "serving_default"), loaded))
    print(
        f"{len(signatures)} signatures of {len(loaded)} versions equal the live models, by the command too"
    )


def part_of(
    arrays: dict[str, np.ndarray], name: str, signature: str, part: str
) -> dict[str, np.ndarray]:
    """The inputs or outputs of a signature by their names."""
    prefix = f"{name}|{signature}|{part}|"
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def run_cli(versions: Path, arrays: dict[str, np.ndarray], name: str, signature: str) -> None:
    """The same by TensorFlow's own command."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        inputs = part_of(arrays, name, signature, "in")
        for key, value in inputs.items():
            np.save(folder / f"{key}.npy", value)
        command = [
            *(
                str(Path(sys.executable).parent / "saved_model_cli"),
                "run",
                "--dir",
                str(versions / name / "1"),
            ),
            *("--tag_set", "serve", "--signature_def", signature, "--outdir", made, "--overwrite"),
            *("--inputs", ";".join(f"{key}={folder / key}.npy" for key in inputs)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        expected = part_of(arrays, name, signature, "out")
        compare(
            f"{name} {signature}",
            {key: np.load(folder / f"{key}.npy") for key in expected},
            expected,
        )


def compare(what: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """To 1e-5 of the largest entry; of a flow's images a byte in a thousand may be its
    neighbour."""
    assert found.keys() == expected.keys(), what
    for key, value in expected.items():
        assert found[key].shape == value.shape, what
        if what.endswith("latents"):
            np.testing.assert_array_equal(found[key], value, what)
            continue
        difference = np.abs(found[key] - value)
        far = difference > 1e-5 * max(1, np.abs(value).max())
        bytes_apart = what.startswith("flow") and key == "images" and difference.max() < 1.001 / 255
        assert not far.any() or (bytes_apart and far.mean() < 1e-3), (
            f"{what}: {key} is off by {difference.max()}"
        )


if __name__ == "__main__":
    {"expect": expect, "check": check}[sys.argv[1]](*map(Path, sys.argv[2:]))
