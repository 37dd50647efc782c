"""What differs where TensorFlow computes on a GPU; no Keras here."""

import contextlib
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfgen.system import machine


def visible() -> list[Any]:
    """The GPUs on which TensorFlow computes: those that the process does not hide from it."""
    return list(tf.config.get_visible_devices("GPU"))


def hardware_record() -> dict[str, Any]:
    """`tfgen.system.machine.hardware_record`, with GPUs, their driver and whether TF32 is on."""
    record = machine.hardware_record()
    if devices := visible():
        details = map(tf.config.experimental.get_device_details, devices)
        record["gpus"] = [gpu.get("device_name", "unknown") for gpu in details]
        record["tf32"] = tf.config.experimental.tensor_float_32_execution_enabled()
        with contextlib.suppress(OSError):
            record["driver"] = Path("/sys/module/nvidia/version").read_text().strip()
    return record


def peak_mib() -> int:
    """Peak memory so far, of the GPU that has used most, or of the process without one [MiB]."""
    names = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    if not names:
        return machine.peak_mib()
    peaks = [tf.config.experimental.get_memory_info(name)["peak"] for name in names]
    return round(max(peaks) / 2**20)


def exact_dtype(dtype: Any) -> Any:
    """The dtype in which products have at least the precision of `dtype`.

    A GPU may compute products of float32 in TF32, which has 10 bits after the point, not 23.
    """
    is_rounded = visible() and tf.config.experimental.tensor_float_32_execution_enabled()
    return tf.float64 if is_rounded and dtype == tf.float32 else dtype
