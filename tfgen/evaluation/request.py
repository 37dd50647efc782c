"""What an evaluation is asked to measure.

No TensorFlow here, so that `--help` answers at once.
"""

from dataclasses import dataclass
from typing import Literal

# Samples by default: as many as MNIST has test images.
DEFAULT_N = 10_000


@dataclass(frozen=True)
class EvaluationRequest:
    """How a model is evaluated.

    Attributes:
        split: the held-out images that samples and likelihood are measured by.
        n: number of samples, and of held-out images; None: the size of the split, at most
            `DEFAULT_N`.
        seed: of samples, binarization, dequantization and importance samples.
        importance_samples: per image, of a model with latent variables.
        dequantizations: draws per image, of a model with an exact density.
    """

    split: Literal["test", "validation"] = "test"
    n: int | None = None
    seed: int = 0
    importance_samples: int = 500
    dequantizations: int = 8
