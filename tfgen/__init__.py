"""Deep generative image models in TensorFlow and Keras 3: train, judge, compare and serve.

Public names and submodules are loaded when they are first used: `import tfgen` alone imports no
TensorFlow.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgen.system.quiet import after_import

__version__ = "0.1.0"

_HOMES = {
    "VAE": "tfgen.models.vae.model",
    "VAEConfig": "tfgen.models.vae.config",
    "GAN": "tfgen.models.gan.model",
    "GANConfig": "tfgen.models.gan.config",
    "Flow": "tfgen.models.flow.model",
    "FlowConfig": "tfgen.models.flow.config",
    "FlowMatching": "tfgen.models.flow_matching.model",
    "FlowMatchingConfig": "tfgen.models.flow_matching.config",
    "Classifier": "tfgen.models.classifier.model",
    "ClassifierConfig": "tfgen.models.classifier.config",
    "ImageModel": "tfgen.models.base",
    "GenerativeModel": "tfgen.models.generative",
    "Dequantized": "tfgen.models.preprocessing",
    "DequantizedPixels": "tfgen.models.preprocessing",
    "Identity": "tfgen.models.preprocessing",
    "Pixels": "tfgen.models.preprocessing",
    "SymmetricPixels": "tfgen.models.preprocessing",
    "Sampler": "tfgen.publishing.sampler",
    "image_seeds": "tfgen.random",
    "load": "tfgen.publishing.opening",
    "load_data": "tfgen.data.load",
}
__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from tfgen.data.load import load as load_data  # noqa: F401
    from tfgen.models.base import ImageModel as ImageModel
    from tfgen.models.classifier.config import ClassifierConfig as ClassifierConfig
    from tfgen.models.classifier.model import Classifier as Classifier
    from tfgen.models.flow.config import FlowConfig as FlowConfig
    from tfgen.models.flow.model import Flow as Flow
    from tfgen.models.flow_matching.config import FlowMatchingConfig as FlowMatchingConfig
    from tfgen.models.flow_matching.model import FlowMatching as FlowMatching
    from tfgen.models.gan.config import GANConfig as GANConfig
    from tfgen.models.gan.model import GAN as GAN
    from tfgen.models.generative import GenerativeModel as GenerativeModel
    from tfgen.models.preprocessing import Dequantized as Dequantized
    from tfgen.models.preprocessing import DequantizedPixels as DequantizedPixels
    from tfgen.models.preprocessing import Identity as Identity
    from tfgen.models.preprocessing import Pixels as Pixels
    from tfgen.models.preprocessing import SymmetricPixels as SymmetricPixels
    from tfgen.models.vae.config import VAEConfig as VAEConfig
    from tfgen.models.vae.model import VAE as VAE
    from tfgen.publishing.opening import load as load
    from tfgen.publishing.sampler import Sampler as Sampler
    from tfgen.random import image_seeds as image_seeds


def _refuse_shared_folder() -> None:
    """Raises an `ImportError` if the package `tfgen` was installed into this folder, too.

    On PyPI, that is another project. Its files and those of `tfgen-images` overwrite each other.
    """
    folder = Path(__file__).parent
    # `importlib.metadata` knows this too, but importing it takes longer than importing tfgen.
    for record in folder.parent.glob("tfgen-*.dist-info/RECORD"):
        # An editable installation of an old checkout has the name too, but no file of this folder.
        if any(line.startswith("tfgen/") for line in record.read_text().splitlines()):
            raise ImportError(
                f"the packages tfgen and tfgen-images are both installed in {folder}: run "
                "`pip uninstall tfgen tfgen-images`, then install tfgen-images again"
            )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        home = importlib.import_module(_HOMES[name])
        return getattr(home, "load" if name == "load_data" else name)
    try:
        return importlib.import_module(f"tfgen.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"tfgen.{name}":
            raise
        raise AttributeError(f"module 'tfgen' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    import pkgutil

    return [*__all__, *(module.name for module in pkgutil.iter_modules(__path__))]


_refuse_shared_folder()
# So that Keras alone opens `.keras` files of tfgen.
after_import("keras", lambda: __getattr__("registry").register_with_keras())
