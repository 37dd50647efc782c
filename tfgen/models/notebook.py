"""What a notebook shows of a sampler: a few samples under their name. No TensorFlow here."""

import base64
import html

import numpy as np

from tfgen import figures
from tfgen.sampling import ImageSampler

# Images in a row of an unconditional model, at most as many in a row of a conditional one, and
# rows.
_COLUMNS, _MOST_COLUMNS, _ROWS = 8, 10, 2


def samples_html(sampler: ImageSampler, name: str) -> str | None:
    """Samples of seed 0 as a picture with a caption, in HTML.

    Args:
        sampler: a model, or a published version.
        name: what the caption calls it.

    Returns:
        None if there are no samples, such as of a server that does not answer: a notebook then
        shows the object as text.
    """
    try:
        columns = min(sampler.num_classes or _COLUMNS, _MOST_COLUMNS)
        images = np.asarray(sampler.sample(_ROWS * columns, seed=0))
        picture = base64.b64encode(figures.png_bytes(figures.image_grid(images, columns))).decode()
    except Exception:  # whatever a server or the caller's own network raises
        return None
    caption = html.escape(f"{name}: samples of seed 0")
    return (
        f'<figure style="margin: 0"><img alt="{caption}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
