"""Array mathematics without opinions: resampling, normalization, tiles, the Gaussian column model and its limits."""

from atomseg.imaging.canonical import CANONICAL_PIXEL_NM, Canonical, to_canonical
from atomseg.imaging.normalize import Normalized, NormalizeConfig, normalize, smooth
from atomseg.imaging.resample import canonical_shape, resample
from atomseg.imaging.tiles import Tile, tiles

__all__ = [
    "CANONICAL_PIXEL_NM",
    "Canonical",
    "NormalizeConfig",
    "Normalized",
    "Tile",
    "canonical_shape",
    "normalize",
    "resample",
    "smooth",
    "tiles",
    "to_canonical",
]
