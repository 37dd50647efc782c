"""What was saved on one processor opens on another, with the same latents and images."""

from pathlib import Path

import numpy as np
import pytest

import tfgen
from tests import commands
from tests.conftest import Trained
from tfgen import GAN, VAE, FlowMatching
from tfgen.publishing import export
from tfgen.system import machine

SHAPE = (12, 12, 3)
SEEDS = np.arange(5)
SCRIPT = """
import sys
import numpy as np
import tfgen

arrays = {}
for place in sys.argv[2:]:
    model = tfgen.load(place)
    arrays[f"{place}|latents"] = model.latents(np.arange(5))
    arrays[f"{place}|images"] = model.sample(seeds=np.arange(5))
np.savez(sys.argv[1], **arrays)
"""


@pytest.mark.slow
def test_files_checkpoints_and_versions_open_on_another_processor(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {
        "vae": VAE(image_shape=SHAPE, architecture="convolutional", channels=4, latent_dim=3),
        "gan": GAN(image_shape=SHAPE, architecture="residual", channels=8, latent_dim=3),
        "flow-matching": FlowMatching(image_shape=SHAPE, channels=(8, 8), blocks=(1,), steps=2),
    }
    run = trained.runs / "flat"  # it has a checkpoint
    places = {str(run): tfgen.load(run)}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
        places[str(tmp_path / f"{name}.keras")] = model
        places[str(export.publish(model, tmp_path / "models", name))] = model
    expected = {
        place: (model.latents(SEEDS), model.sample(seeds=SEEDS).numpy())
        for place, model in places.items()
    }
    # The other process computes without the instructions that this one has.
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2" if machine.has_avx512() else "SSE41")
    done = commands.python(["-c", SCRIPT, str(tmp_path / "out.npz"), *places], tmp_path)
    assert done.returncode == 0, done.stderr
    arrays = np.load(tmp_path / "out.npz")
    for place, (latents, images) in expected.items():
        assert images.std() > 1e-3, f"{place}: images that are all alike show nothing"
        np.testing.assert_array_equal(arrays[f"{place}|latents"], latents, place)
        np.testing.assert_allclose(arrays[f"{place}|images"], images, atol=1e-5, err_msg=place)
