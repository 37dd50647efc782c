"""Deep generative image models in TensorFlow and Keras 3: train, judge, compare and serve.

The public names are loaded when they are first used: `import tfgen` alone imports no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "GAN": "tfgen.models.gan",
    "VAE": "tfgen.models.vae",
    "Classifier": "tfgen.models.classifier",
    "ClassifierConfig": "tfgen.config",
    "Dequantized": "tfgen.models.preprocessing",
    "Flow": "tfgen.models.flow",
    "FlowConfig": "tfgen.config",
    "GenerativeModel": "tfgen.models.base",
    "Identity": "tfgen.models.preprocessing",
    "Pixels": "tfgen.models.preprocessing",
    "SymmetricPixels": "tfgen.models.preprocessing",
    "GANConfig": "tfgen.config",
    "VAEConfig": "tfgen.config",
    "image_seeds": "tfgen.seeds",
    "load": "tfgen.loading",
    "load_data": "tfgen.data",
    "Sampler": "tfgen.versions",
}
__all__ = sorted([*_HOMES, "__version__"])

if TYPE_CHECKING:
    from tfgen.config import ClassifierConfig as ClassifierConfig
    from tfgen.config import FlowConfig as FlowConfig
    from tfgen.config import GANConfig as GANConfig
    from tfgen.config import VAEConfig as VAEConfig
    from tfgen.loading import load as load
    from tfgen.models.base import GenerativeModel as GenerativeModel
    from tfgen.models.classifier import Classifier as Classifier
    from tfgen.models.flow import Flow as Flow
    from tfgen.models.gan import GAN as GAN
    from tfgen.models.preprocessing import Dequantized as Dequantized
    from tfgen.models.preprocessing import Identity as Identity
    from tfgen.models.preprocessing import Pixels as Pixels
    from tfgen.models.preprocessing import SymmetricPixels as SymmetricPixels
    from tfgen.models.vae import VAE as VAE
    from tfgen.seeds import image_seeds as image_seeds
    from tfgen.versions import Sampler as Sampler


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tfgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), "load" if name == "load_data" else name)


def __dir__() -> list[str]:
    return list(__all__)
