"""Array mathematics without opinions: resampling, normalization, tiles, the Gaussian column model and its limits."""

from atomseg.imaging.blocks import block_means, block_variance_px
from atomseg.imaging.canonical import CANONICAL_PIXEL_NM, Canonical, to_canonical
from atomseg.imaging.gaussian import (
    FWHM_PER_SIGMA,
    column_counts,
    covariance_from_fwhm,
    fisher_limit_pm,
    gaussian_column,
    localization_limit_pm,
)
from atomseg.imaging.grid import at_nearest_pixels, grid_to_pixels
from atomseg.imaging.noise import rough_power
from atomseg.imaging.normalize import NormalizeConfig, Normalized, normalize, smooth
from atomseg.imaging.outputs import (
    HEAD_OF_OUTPUT,
    MASK_RADIUS_NM,
    OUTPUTS,
    OutputImage,
    on_input_grid,
    output_image,
)
from atomseg.imaging.parts import large_parts
from atomseg.imaging.resample import canonical_shape, gaussian_at, resample
from atomseg.imaging.tiles import Tile, tiles
from atomseg.imaging.unseen import unseen_area, unseen_on_grid

__all__ = [
    "CANONICAL_PIXEL_NM",
    "FWHM_PER_SIGMA",
    "HEAD_OF_OUTPUT",
    "MASK_RADIUS_NM",
    "OUTPUTS",
    "Canonical",
    "NormalizeConfig",
    "Normalized",
    "OutputImage",
    "Tile",
    "at_nearest_pixels",
    "block_means",
    "block_variance_px",
    "canonical_shape",
    "column_counts",
    "covariance_from_fwhm",
    "fisher_limit_pm",
    "gaussian_at",
    "gaussian_column",
    "grid_to_pixels",
    "large_parts",
    "localization_limit_pm",
    "normalize",
    "on_input_grid",
    "output_image",
    "resample",
    "rough_power",
    "smooth",
    "tiles",
    "to_canonical",
    "unseen_area",
    "unseen_on_grid",
]
