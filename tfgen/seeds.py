"""The seeds of a request's images; no TensorFlow, so that a client of a server needs none."""

import numpy as np


def image_seeds(seed: int, n: int) -> np.ndarray:
    """The seeds of the n images of one request, `int32[n]`.

    They are consecutive from a start that is hashed from `seed`: distinct within a request, the first
    ones the same for every n, and other ones for another `seed`.
    """
    start = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return ((start + np.arange(n, dtype=np.int64)) % 2**32).astype(np.uint32).view(np.int32)
