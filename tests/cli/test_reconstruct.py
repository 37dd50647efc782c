"""`tfgen-reconstruct`: the model's decode(encode) of images, from disk and from a server."""

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import commands
from tests.arrays import shows_grid
from tests.cli.conftest import OwnImages, OwnModels
from tests.conftest import SIDE, make_images
from tfgen.figures import image_grid
from tfgen.sampling import complete

pytestmark = pytest.mark.usefixtures("here")


arrays = functools.partial(commands.npz, "reconstruct")


@pytest.mark.parametrize("way", ["disk", "rest"])
def test_a_vae_decodes_the_mean_of_its_posterior(
    way: str, own_models: OwnModels, own_images: OwnImages
) -> None:
    paths, images = own_images
    stored = arrays("vae", *paths, *own_models.flags(way), "--label", 2)
    live = own_models.live["vae"]
    mean, stddev = live.posterior_moments(images, labels=[2] * 4)
    np.testing.assert_array_equal(stored["images"], images)
    np.testing.assert_allclose(stored["latents"], mean, atol=1e-5)
    np.testing.assert_allclose(stored["stddev"], stddev, atol=1e-5)
    np.testing.assert_allclose(stored["reconstructions"], live.decode(mean, 2), atol=1e-5)
    np.testing.assert_array_equal(stored["labels"], [2] * 4)
    assert "seeds" not in stored


@pytest.mark.parametrize("way", ["disk", "grpc"])
def test_a_flow_gives_the_images_back(
    way: str, own_models: OwnModels, own_images: OwnImages, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, images = own_images
    stored = arrays("flow", *paths, *own_models.flags(way), "--seed", -3)
    expected = own_models.live["flow"].encode(images, seeds=[-3, -2, -1, 0])
    # Codes are up to 60, of couplings in float32.
    np.testing.assert_allclose(stored["latents"], expected, rtol=1e-5, atol=1e-4)
    # Where the noise within a byte is nearly 0 or 1, rounding can lead to the byte beside it. Such
    # pixels are so rare that the root mean square of all is below 0.1.
    difference = np.abs(np.round(255 * stored["reconstructions"]) - images).max()
    assert difference <= 1
    assert f"at most {difference:.0f}, RMS 0.0" in capfd.readouterr().out


def test_the_picture_has_reconstructions_below_images(
    own_models: OwnModels, capfd: pytest.CaptureFixture[str]
) -> None:
    np.savez("images.npz", images=make_images(10), labels=np.arange(10) % 3)
    argv = ["images.npz", *own_models.flags("disk")]
    assert commands.main("reconstruct", ["vae", *argv]) == 0
    out = capfd.readouterr().out
    assert out.endswith("10 images, reconstructed by vae version 2, in vae-reconstructions.png\n")
    vae, labels = own_models.live["vae"], np.arange(10) % 3
    reconstructions = vae.decode(vae.encode(make_images(10), labels=labels), labels).numpy()
    images = make_images(10) / 255
    gap = np.full((6, *images.shape[1:]), 0.5)
    rows = [images[:8], reconstructions[:8], images[8:], gap, reconstructions[8:], gap]
    grid = image_grid(np.concatenate(rows).astype(np.float32), 8)
    assert shows_grid(Path("vae-reconstructions.png"), grid)


@pytest.mark.slow
def test_the_white_part_of_a_mask_is_sampled(
    own_models: OwnModels, own_images: OwnImages, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, images = own_images
    # Twice as large as the images.
    left = np.repeat([[255, 0]], SIDE, axis=1).repeat(2 * SIDE, axis=0).astype(np.uint8)
    Image.fromarray(left).save("mask.png")
    flags = [*paths, *own_models.flags("rest"), "--mask", "mask.png", "--n", 3]
    stored = arrays("flow", *flags, "--rounds", 2, "--seed", 4)
    np.testing.assert_array_equal(stored["mask"], left[::2, ::2] > 0)
    expected = complete(own_models.live["flow"], images, stored["mask"], 3, rounds=2, seed=4)
    assert np.abs(stored["completions"] - expected.astype(int)).max() <= 1
    assert commands.main("reconstruct", ["flow", *flags]) == 0
    assert "4 images, completed by flow version 2, in flow-comp" in capfd.readouterr().out
    assert Path("flow-completions.png").stat().st_size

    assert commands.main("reconstruct", ["flow", *paths, "--n", 3]) == 2
