"""Bijectors whose value and log-determinant come from one evaluation.

`forward` maps latents x to data y, `inverse` maps data to latents.
"""

from tfgen.bijectors.base import Bijector
from tfgen.bijectors.chain import Chain, Invert
from tfgen.bijectors.coupling import AffineCoupling, Conditioner, Coupling
from tfgen.bijectors.elementwise import InverseLogit
from tfgen.bijectors.linear import ActivationNormalization, InvertibleConvolution
from tfgen.bijectors.masks import Checkerboard, Half, Mask
from tfgen.bijectors.mixture import MixtureCoupling
from tfgen.bijectors.shapes import FactorOut, Squeeze, Unflatten

__all__ = [
    "ActivationNormalization",
    "AffineCoupling",
    "Bijector",
    "Chain",
    "Checkerboard",
    "Conditioner",
    "Coupling",
    "FactorOut",
    "Half",
    "InverseLogit",
    "Invert",
    "InvertibleConvolution",
    "Mask",
    "MixtureCoupling",
    "Squeeze",
    "Unflatten",
]
