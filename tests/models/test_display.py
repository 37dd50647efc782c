"""What people see of a model: its summary, its networks, samples in a notebook."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfgen import GAN, VAE, Classifier, Flow, ImageModel
from tfgen.figures import image_grid
from tfgen.publishing import export
from tfgen.publishing.sampler import Sampler

pytestmark = pytest.mark.quick

SHAPE = (6, 6, 1)


def models() -> dict[str, ImageModel]:
    return {
        "vae": VAE(image_shape=SHAPE, latent_dim=3, hidden=(7,)),
        "gan": GAN(image_shape=SHAPE, latent_dim=3, num_classes=2),
        "flow": Flow(
            image_shape=SHAPE,
            architecture="multiscale",
            scale_steps=(1,),
            scale_channels=(2,),
            dequantization="variational",
        ),
        "classifier": Classifier(image_shape=SHAPE, channels=2, units=5),
    }


MODELS = models()


def picture_of(sampler: Any) -> np.ndarray:
    """The pixels of what a notebook shows, without the enlargement."""
    content = re.search(r'src="data:image/png;base64,([^"]+)"', sampler._repr_html_())
    assert content is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]))))
    factor = pixels.shape[0] // (2 * 7 + 1)
    return pixels[::factor, ::factor, None]


@pytest.mark.parametrize("family", ["vae", "gan", "flow"])
def test_a_notebook_shows_samples_of_a_model(family: str) -> None:
    model = MODELS[family]
    columns = 2 if model.num_classes else 8
    expected = image_grid(model.sample(2 * columns, seed=0).numpy(), columns)
    np.testing.assert_array_equal(picture_of(model), expected)
    name = f"{type(model).__name__} {model.name}"
    assert f"<figcaption>{name}, untrained: samples of seed 0</figcaption>" in model._repr_html_()


def test_a_notebook_shows_samples_of_a_version_and_of_a_server(tmp_path: Any) -> None:
    path = export.publish(MODELS["vae"], tmp_path, "faces")
    version = Sampler(path)
    expected = image_grid(version.sample(16, seed=0), 8)
    np.testing.assert_array_equal(picture_of(version), expected)
    assert "faces, version " in version._repr_html_()
