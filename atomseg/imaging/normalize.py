"""Local normalization: what the network sees does not depend on gain, offset, slow background or thickness."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

# Three box filters in a row have the width of the Gaussian and nearly its shape, at a cost that does not grow with the
# width (Kovesi 2010, doi:10.1109/DICTA.2010.24).
_N_BOXES = 3


@dataclass(frozen=True, kw_only=True)
class NormalizeConfig(StageConfig):
    """Settings of `normalize`.

    Parameters
    ----------
    mean_sigma_nm : float
        Gaussian width of the local mean that is subtracted: wider than a lattice period, narrower than a wedge.
    variance_sigma_nm : float
        Gaussian width of the local variance that is divided by.
    floor_fraction : float
        Part of the bright variance that is added everywhere, so that vacuum noise is not blown up to crystal contrast.
    floor_percentile : float
        Percentile of the local variance that stands for "bright".
    """

    mean_sigma_nm: float = 0.6
    variance_sigma_nm: float = 1.2
    floor_fraction: float = 0.05
    floor_percentile: float = 95.0

    def __post_init__(self) -> None:
        for name in ("mean_sigma_nm", "variance_sigma_nm"):
            value = getattr(self, name)
            if not 0.05 <= value <= 20:
                raise ConfigError(f"normalize.{name} is {value:g} nm; allowed 0.05 to 20")
        if not 0 < self.floor_fraction <= 1:
            raise ConfigError(f"normalize.floor_fraction is {self.floor_fraction:g}; allowed above 0 up to 1")
        if not 0 < self.floor_percentile <= 100:
            raise ConfigError(f"normalize.floor_percentile is {self.floor_percentile:g}; allowed above 0 up to 100")


@dataclass(frozen=True)
class Normalized:
    """A normalized image and what undoes it: ``image * scale + mean`` is the original.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32, zero mean and about unit variance where there is contrast.
    mean, scale : numpy.ndarray
        (H, W) float32 in the unit of the original; `scale` is positive.
    """

    image: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def normalize(image: np.ndarray, pixel_size_nm: float, config: NormalizeConfig | None = None) -> Normalized:
    """Subtract the local mean and divide by the local contrast of a whole image.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) finite image, any intensity unit.
    pixel_size_nm : float
        Size of its square pixels.
    config : NormalizeConfig, optional
        Widths and floor; the defaults are those of the released models.

    Returns
    -------
    Normalized
        Unchanged by ``image -> gain * image + offset`` with positive gain, up to rounding. An image without any
        contrast gives zeros.
    """
    config = config or NormalizeConfig()
    centre = float(np.mean(image, dtype=np.float64))
    centred = (image - centre).astype(np.float32)
    mean = smooth(centred, config.mean_sigma_nm / pixel_size_nm)
    residual = centred - mean
    # Residuals below the rounding of the input are no contrast: a constant image must not become rounding noise.
    rounding = 4 * np.finfo(np.float32).eps * float(np.max(np.abs(image)))
    if float(np.max(np.abs(residual))) <= rounding:
        zeros = np.zeros_like(centred)
        return Normalized(image=zeros, mean=(centred + centre).astype(np.float32), scale=np.ones_like(centred))
    variance = np.maximum(smooth(residual * residual, config.variance_sigma_nm / pixel_size_nm), 0.0)
    floor = config.floor_fraction * float(np.percentile(variance, config.floor_percentile))
    scale = np.sqrt(variance + np.float32(floor)).astype(np.float32)
    return Normalized(image=residual / scale, mean=(mean + centre).astype(np.float32), scale=scale)


def smooth(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur by three box filters, mirrored at the border; (H, W) float32.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) image.
    sigma_px : float
        Width of the Gaussian; matched by box widths that are whole odd numbers of pixels.
    """
    out = image.astype(np.float32, copy=True)
    for size in _box_sizes(sigma_px):
        uniform_filter(out, size=size, mode="reflect", output=out)
    return out


def _box_sizes(sigma_px: float) -> list[int]:
    """Three odd box widths whose summed variance is closest to ``sigma_px ** 2``."""
    ideal = np.sqrt(12 * sigma_px**2 / _N_BOXES + 1)
    small = max(1, int((ideal - 1) // 2) * 2 + 1)
    n_small = round((12 * sigma_px**2 - _N_BOXES * (small + 2) ** 2 + _N_BOXES) / (small**2 - (small + 2) ** 2))
    n_small = min(max(n_small, 0), _N_BOXES)
    return [small] * n_small + [small + 2] * (_N_BOXES - n_small)
