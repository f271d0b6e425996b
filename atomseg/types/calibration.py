"""Pixel size and where it came from."""

from dataclasses import dataclass
from enum import StrEnum

from atomseg.errors import CalibrationError

# Atomic-resolution micrographs of cathodes lie between 6 and 45 pm; the bounds below leave room for survey frames and
# binned exports, and still catch a wrong unit, which is off by a factor of ten or a thousand.
SMALLEST_PIXEL_NM = 0.001
LARGEST_PIXEL_NM = 0.2


class CalibrationOrigin(StrEnum):
    """Who said how large a pixel is."""

    METADATA = "metadata"
    USER = "user"
    LATTICE = "lattice"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Calibration:
    """Pixel size of an image.

    Parameters
    ----------
    pixel_size_nm : tuple of float
        (y, x) size of a pixel in nm.
    origin : CalibrationOrigin
        Where the number comes from.

    Raises
    ------
    CalibrationError
        If a size is not finite or outside 0.001 to 0.2 nm.
    """

    pixel_size_nm: tuple[float, float]
    origin: CalibrationOrigin

    def __post_init__(self) -> None:
        for size in self.pixel_size_nm:
            if not SMALLEST_PIXEL_NM <= size <= LARGEST_PIXEL_NM:
                raise CalibrationError(
                    f"pixel size {size:g} nm (from {self.origin}) is not one of an atomic-resolution image; allowed "
                    f"{SMALLEST_PIXEL_NM:g} to {LARGEST_PIXEL_NM:g} nm; give the right one with --pixel-size-nm "
                    "(pixel_size_nm= in Python)"
                )

    @property
    def mean_nm(self) -> float:
        """Geometric mean of the two pixel sizes, nm."""
        return float((self.pixel_size_nm[0] * self.pixel_size_nm[1]) ** 0.5)
