"""From a micrograph's own pixels to the grid that the network works on."""

from dataclasses import dataclass

import numpy as np

from atomseg.imaging.normalize import NormalizeConfig, Normalized, normalize
from atomseg.imaging.resample import resample

# Column cores are 35 to 95 pm wide (standard deviation): 25 pm samples the narrowest above its Nyquist limit.
CANONICAL_PIXEL_NM = 0.025


@dataclass(frozen=True)
class Canonical:
    """An image on the canonical grid.

    Parameters
    ----------
    normalized : Normalized
        The normalized image, and the local mean and scale in the unit of the input.
    scale : tuple of float
        (y, x) input pixels per canonical pixel: ``input = (canonical + 0.5) * scale - 0.5``.
    """

    normalized: Normalized
    scale: tuple[float, float]

    def from_input_px(self, yx_px: np.ndarray) -> np.ndarray:
        """Positions in input pixels, (N, 2), as positions on the canonical grid."""
        return (np.asarray(yx_px, dtype=np.float64) + 0.5) / np.asarray(self.scale) - 0.5


def to_canonical(
    image: np.ndarray,
    pixel_size_nm: tuple[float, float],
    canonical_nm: float = CANONICAL_PIXEL_NM,
    config: NormalizeConfig | None = None,
) -> Canonical:
    """Resample an image to square pixels of the canonical size and normalize it.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) finite image.
    pixel_size_nm : tuple of float
        (y, x) size of its pixels.
    canonical_nm : float
        Pixel size to resample to.
    config : NormalizeConfig, optional
        Settings of the normalization.
    """
    scale = (canonical_nm / pixel_size_nm[0], canonical_nm / pixel_size_nm[1])
    return Canonical(normalized=normalize(resample(image, scale), canonical_nm, config), scale=scale)
