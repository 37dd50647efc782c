"""Compares every signature of every shipped version with the live model, without tfgen installed.

python .ci/alone.py expect FILE
    Where tfgen is installed: writes inputs, and the outputs of the live models.
python .ci/alone.py check FILE VERSIONS
    Where TensorFlow alone is installed: loads each version, and one by `saved_model_cli`.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

ROWS = 5
ABSENT = ("tfgen", "tensorflow_probability", "tf_keras")


def expect(path: Path) -> None:
    """Writes `name|signature|in or out|tensor` → array, without graphs: tracing takes longer."""
    from tfgen.publishing import opening, versions

    arrays, folder = {}, versions.shipped_folder()
    models = {name: opening.exported_model(folder / name / "1") for name in versions.names(folder)}
    tf.config.run_functions_eagerly(True)
    for name, model in models.items():
        examples = model.example_inputs(ROWS)
        signatures = model.signatures()
        signatures = {"serving_default": next(iter(signatures.values())), **signatures}
        for signature, (function, specs) in signatures.items():
            inputs = {spec.name: examples[spec.name] for spec in specs}
            outputs = function(**{key: tf.constant(value) for key, value in inputs.items()})
            arrays |= {f"{name}|{signature}|in|{key}": value for key, value in inputs.items()}
            arrays |= {
                f"{name}|{signature}|out|{key}": value.numpy() for key, value in outputs.items()
            }
    np.savez(path, **arrays)


class Blocked:
    """An import finder that refuses these packages, so that nothing loaded can use them."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Part of the import system."""
        if name.partition(".")[0] in ("keras", *ABSENT):
            raise ImportError(f"{name} is blocked")


def check(path: Path, versions: Path) -> None:
    """Fails if an output is not the live model's."""
    present = [name for name in ABSENT if importlib.util.find_spec(name)]
    assert not present, f"{present} are installed here"
    # Modules of Keras that TensorFlow itself has imported by now stay.
    sys.meta_path.insert(0, Blocked())
    arrays = dict(np.load(path))
    signatures = sorted({tuple(key.split("|")[:2]) for key in arrays})
    assert {name for name, _ in signatures} == {p.parent.name for p in versions.glob("*/1")}
    loaded = {name: tf.saved_model.load(str(versions / name / "1")) for name, _ in signatures}
    for name, signature in signatures:
        inputs, expected = (part_of(arrays, name, signature, part) for part in ("in", "out"))
        outputs = loaded[name].signatures[signature](
            **{key: tf.constant(value) for key, value in inputs.items()}
        )
        values = {key: value.numpy() for key, value in outputs.items()}
        compare(f"{name} {signature}", values, expected)
    # The command takes one process per signature, so only one is run.
    run_cli(versions, arrays, "vae", "serving_default")
    print(
        f"{len(signatures)} signatures of {len(loaded)} versions equal the live models, "
        "that of the VAE by saved_model_cli too"
    )


def part_of(
    arrays: dict[str, np.ndarray], name: str, signature: str, part: str
) -> dict[str, np.ndarray]:
    """The inputs or outputs of a signature by name."""
    prefix = f"{name}|{signature}|{part}|"
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def run_cli(versions: Path, arrays: dict[str, np.ndarray], name: str, signature: str) -> None:
    """Fails if TensorFlow's own command computes other outputs than the live model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inputs = part_of(arrays, name, signature, "in")
        for key, value in inputs.items():
            np.save(folder / f"{key}.npy", value)
        command = [str(Path(sys.executable).parent / "saved_model_cli"), "run"]
        command += ["--dir", str(versions / name / "1"), "--tag_set", "serve"]
        command += ["--signature_def", signature, "--outdir", temporary, "--overwrite"]
        command += ["--inputs", ";".join(f"{key}={folder / key}.npy" for key in inputs)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        expected = part_of(arrays, name, signature, "out")
        outputs = {key: np.load(folder / f"{key}.npy") for key in expected}
        compare(f"{name} {signature}", outputs, expected)


def compare(title: str, outputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Fails if outputs differ by more than 1e-5 of the largest entry; latents must be bit-equal.

    Of a flow's images, one byte in a thousand may be the neighbouring one.
    """
    assert outputs.keys() == expected.keys(), title
    for key, value in expected.items():
        assert outputs[key].shape == value.shape, title
        if title.endswith("latents"):
            np.testing.assert_array_equal(outputs[key], value, title)
            continue
        difference = np.abs(outputs[key] - value)
        far = difference > 1e-5 * max(1, np.abs(value).max())
        of_flow = title.startswith("flow") and key == "images"
        bytes_apart = of_flow and difference.max() < 1.001 / 255
        assert not far.any() or (bytes_apart and far.mean() < 1e-3), (
            f"{title}: {key} is off by {difference.max()}"
        )


if __name__ == "__main__":
    {"expect": expect, "check": check}[sys.argv[1]](*map(Path, sys.argv[2:]))
