"""Size, conversion time and error of the shipped decoders as LiteRT and ONNX files.

    python benchmarks/formats.py

The error is the largest difference between an image of the file and one of the SavedModel, over the
latents of the seeds 0 to 99. The time is CPU time, without the imports.
"""

import time

import numpy as np
import onnxruntime
import tensorflow as tf

from tfgen.publishing import formats, versions
from tfgen.publishing.sampler import Sampler

SEEDS = np.arange(100, dtype=np.int32)


def run(content: bytes, file_format: str, latents: np.ndarray) -> np.ndarray:
    """The images of a converted decoder."""
    if file_format == "onnx":
        return onnxruntime.InferenceSession(content).run(None, {"latents": latents})[0]
    interpreter = tf.lite.Interpreter(model_content=content)
    return interpreter.get_signature_runner("decode")(latents=latents)["images"]


def main() -> None:
    """Prints a table."""
    print("| model | format | size [MB] | CPU time [s] | largest difference | pixels that differ |")
    print("|---|---|---:|---:|---:|---:|")
    for name in ("vae", "gan", "flow"):
        sampler = Sampler(versions.shipped_folder() / name / "1")
        latents = sampler.latents(SEEDS)
        expected = sampler.decode(latents)
        for file_format in ("litert", "onnx"):
            start = time.process_time()
            content = formats.convert(sampler, file_format).content
            seconds = time.process_time() - start
            images = run(content, file_format, latents)
            difference = np.abs(images - expected).max()
            pixels = np.mean(np.rint(255 * images) != np.rint(255 * expected))
            print(
                f"| `{name}` | {file_format} | {len(content) / 1e6:.1f} | {seconds:.0f} "
                f"| {difference:.1e} | {pixels:.3%} |"
            )


if __name__ == "__main__":
    main()
