"""What a notebook shows of a model and of a version: samples."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.models.families import gan, vae
from tfgen.figures import image_grid
from tfgen.publishing import export
from tfgen.publishing.sampler import Sampler


def picture_of(sampler: Any) -> np.ndarray:
    """The pixels of what a notebook shows, without the enlargement."""
    content = re.search(r'src="data:image/png;base64,([^"]+)"', sampler._repr_html_())
    assert content is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content[1]))))
    factor = pixels.shape[0] // (2 * 7 + 1)
    return pixels[::factor, ::factor, None]


@pytest.mark.parametrize(("model", "columns"), [(vae(), 8), (gan(num_classes=2), 2)])
def test_a_notebook_shows_samples_of_a_model(model: Any, columns: int) -> None:
    expected = image_grid(model.sample(2 * columns, seed=0).numpy(), columns)
    np.testing.assert_array_equal(picture_of(model), expected)
    assert f"{model.name}, untrained: samples of seed 0</figcaption>" in model._repr_html_()


@pytest.mark.slow
def test_a_notebook_shows_samples_of_a_version(tmp_path: Any) -> None:
    version = Sampler(export.publish(vae(), tmp_path, "faces"))
    np.testing.assert_array_equal(picture_of(version), image_grid(version.sample(16, seed=0), 8))
    assert "faces, version " in version._repr_html_()
