"""Bijectors whose value and log-determinant come from one evaluation.

`forward` maps latents x to data y, `inverse` maps data to latents.
"""

from tfgen.bijectors.base import Bijector as Bijector
from tfgen.bijectors.base import Chain as Chain
from tfgen.bijectors.base import Invert as Invert
from tfgen.bijectors.coupling import AffineCoupling as AffineCoupling
from tfgen.bijectors.coupling import Checkerboard as Checkerboard
from tfgen.bijectors.coupling import Conditioner as Conditioner
from tfgen.bijectors.coupling import Coupling as Coupling
from tfgen.bijectors.coupling import Half as Half
from tfgen.bijectors.coupling import Mask as Mask
from tfgen.bijectors.elementwise import InverseLogit as InverseLogit
from tfgen.bijectors.linear import ActivationNormalization as ActivationNormalization
from tfgen.bijectors.linear import InvertibleConvolution as InvertibleConvolution
from tfgen.bijectors.mixture import MixtureCoupling as MixtureCoupling
from tfgen.bijectors.shapes import FactorOut as FactorOut
from tfgen.bijectors.shapes import Squeeze as Squeeze
from tfgen.bijectors.shapes import Unflatten as Unflatten
