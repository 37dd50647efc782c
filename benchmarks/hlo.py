"""Trains by XLA's module of a training step, on a machine that need not have TensorFlow.

    python benchmarks/hlo.py write vae/mlp FOLDER    # needs tfgen: writes the module and the losses
    python benchmarks/hlo.py run FOLDER              # needs only JAX and NumPy: compares the losses

`write` lowers the step of a preset to HLO. The folder gets the module, its arguments before the
first step, and the values that TensorFlow logs in each step. `run` compiles the module by the XLA
of JAX, on a GPU if JAX finds one, and repeats the steps. The parameters of the module are a batch
of images, then what the step captures, in that order. The results are the logged values by name,
then the new values of variables; the module says which parameter each of these results replaces.
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("write", "run"))
    parser.add_argument("preset", metavar="FAMILY/PRESET", nargs="?", help="of write")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch-size", type=int, default=128, help="of write: images per step")
    parser.add_argument("--steps", type=int, default=8, help="of write (default: 8)")
    arguments = parser.parse_args()
    write(arguments) if arguments.command == "write" else run(arguments.folder)


def write(arguments: argparse.Namespace) -> None:
    """Writes module, arguments and logged values of a preset's first steps."""
    import measuring

    from tfgen.data import load
    from tfgen.system.quiet import import_quietly

    tf, plan = import_quietly("tfgen.training.plan")
    config = measuring.preset_config(arguments.preset, batch_size=arguments.batch_size)
    model = plan.compiled_model(config, None, arguments.steps)
    model.jit_compile = True
    images = tf.constant(load().train.images[: arguments.batch_size])
    model.before_fit(images, None)
    step = tf.function(model.train_step, jit_compile=True, autograph=False)

    def value(tensor: tf.Tensor) -> np.ndarray:
        """The value of a tensor, or of the variable whose handle it is."""
        if tensor.dtype == tf.resource:
            dtype = tensor._handle_data.shape_and_type[0].dtype
            tensor = tf.raw_ops.ReadVariableOp(resource=tensor, dtype=dtype)
        return tensor.numpy()

    captured = step.get_concrete_function(images).captured_inputs
    arguments.folder.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.folder / "arguments.npz", *map(value, [images, *captured]))
    module = step.experimental_get_compiler_ir(images)(stage="hlo_serialized")
    (arguments.folder / "step.hlo").write_bytes(module)
    logs = [tf.nest.map_structure(float, step(images)) for _ in range(arguments.steps)]
    (arguments.folder / "logs.json").write_text(json.dumps(logs, indent=2, sort_keys=True))


def run(folder: Path) -> None:
    """Repeats the steps by JAX's XLA; prints both sides' values and the time of a step."""
    import jax
    from jax._src.lib import xla_client

    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    computation = xla_client.XlaComputation((folder / "step.hlo").read_bytes())
    header = computation.as_hlo_text().partition("\n")[0]
    replaced = {int(i): int(p) for i, p in re.findall(r"\{(\d+)\}: \((\d+), \{\}", header)}
    start = time.perf_counter()
    module = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    devices, options = xla_client.DeviceList((device,)), xla_client.CompileOptions()
    program = device.client.compile_and_load(module, devices, options)
    print(f"{device.device_kind}: compiled in {time.perf_counter() - start:.1f} s")
    with np.load(folder / "arguments.npz") as arrays:
        values = [jax.device_put(arrays[f"arr_{i}"], device) for i in range(len(arrays))]
    logs, seconds = json.loads((folder / "logs.json").read_text()), []
    for expected in logs:
        start = time.perf_counter()
        results = jax.block_until_ready(program.execute(values))
        seconds.append(time.perf_counter() - start)
        for index, parameter in replaced.items():
            values[parameter] = results[index]
        pairs = zip(expected.items(), map(float, results), strict=False)
        print("; ".join(f"{name} {value:.6f} {own:.6f}" for (name, value), own in pairs))
    print(f"{1000 * statistics.median(seconds):.2f} ms a step; TensorFlow's values are first")


if __name__ == "__main__":
    main()
