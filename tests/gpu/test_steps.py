"""A GPU, or XLA on a CPU, computes what plain TensorFlow computes on a CPU."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfgen
from tests.commands import python
from tfgen import registry
from tfgen.models.base import ImageModel
from tfgen.nn import cores, gpu
from tfgen.nn.layers import Dropout
from tfgen.random import BatchNoise, SeedNoise
from tfgen.registry import Preset
from tfgen.training.checkpoint import read_newest

BATCH = 8
# One of each family that compiles fast. On a GPU, all presets are tested.
ON_CPU = {"vae/mlp", "gan/packed", "flow/mlp", "flow-matching/unet", "classifier/conv"}
tf.config.experimental.enable_tensor_float_32_execution(False)
on_a_gpu = pytest.mark.skipif(not gpu.visible(), reason="no GPU; set CUDA_VISIBLE_DEVICES=0")


def presets() -> Iterator[tuple[str, Preset]]:
    """Each preset that ships, and its name, `family/preset`."""
    for family in registry.families():
        yield from ((f"{family.name}/{name}", preset) for name, preset in family.presets.items())


def first_values(name: str, preset: Preset, jit_compile: bool) -> dict[str, float]:
    """What the first training step and a validation log, of images of noise."""
    family = registry.family(name.partition("/")[0])
    fields = {} if family.generative else {"num_classes": 3}
    model: ImageModel = registry.load_class(family.name)(preset.model, **fields)
    model.compile(**model.default_optimizers(preset.learning_rate), jit_compile=jit_compile)
    rng, shape = np.random.default_rng(0), (BATCH, *model.config.image_shape)
    images = rng.integers(0, 256, shape, np.uint8)
    batches = tf.data.Dataset.from_tensors((images, np.arange(BATCH) % 3))
    history = model.fit(batches, validation_data=batches, verbose=0).history.items()
    return {name: values[-1] for name, values in history}


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that does not depend on the device: XLA has generators of its own. No dropout."""

    def drawn_by(method: str) -> Callable[..., tf.Tensor]:
        return lambda self, batch, *rest: getattr(SeedNoise(tf.range(batch)), method)(batch, *rest)

    for method in ("uniform", "normal"):
        monkeypatch.setattr(BatchNoise, method, drawn_by(method))
    monkeypatch.setattr(Dropout, "call", lambda self, inputs, training=False: inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), presets())
def test_the_first_values_are_those_of_a_step_without_xla(
    name: str, preset: Preset, same_noise: None
) -> None:
    if not gpu.visible() and name not in ON_CPU:
        pytest.skip("its compilation takes long on a CPU")
    with tf.device("/CPU:0"), cores.speedups(False):
        plain = first_values(name, preset, jit_compile=False)
    compiled = first_values(name, preset, jit_compile=True)
    assert compiled == pytest.approx(plain, rel=1e-4, abs=1e-4)


@on_a_gpu
def test_a_flow_gives_the_bytes_back() -> None:
    flow = tfgen.Flow.preset("multiscale")
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), np.uint8)
    returned = np.round(255 * flow.decode(flow.encode(images)).numpy())
    assert np.abs(returned - images).max() <= 1


@on_a_gpu
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_deterministic_runs_are_bit_equal(precision: str, tiny_data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "first", tmp_path / "second"
    command = f"-m tfgen train vae --dataset tiny --data-dir {tiny_data} --epochs 2 --no-publish"
    command += f" --deterministic --precision {precision} --run-dir"
    for run in runs:
        assert python([*command.split(), str(run)], tmp_path).returncode == 0
    np.testing.assert_equal(*(read_newest(run / "checkpoints")[0].arrays for run in runs))
