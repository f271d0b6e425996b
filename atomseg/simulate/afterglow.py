"""What afterglow along the fast axis does to a column: it comes late, wider and lower.

A detector that keeps glowing adds to each pixel what it kept of those before it on the line (arXiv 2009.02265). A
Gaussian column becomes a skewed peak whose mean, maximum and fitted position differ. "As imaged" is the position of the
Gaussian that fits the noise-free peak best in least squares: that is what fits report; the mean, which they do not see,
lies further along.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

# Steps of the integral in a standard deviation, and where the filter's tail is cut: both beyond 1e-4 pixels.
_STEPS = 6
_LEAST_KEPT = 1e-6


@dataclass(frozen=True)
class Afterglow:
    """The Gaussian that fits a column best after the filter, along the fast axis.

    Parameters
    ----------
    shift_px : float
        How far along +x it lies from the column, pixels.
    sigma_px : float
        Its standard deviation along a line, pixels.
    height : float
        Its height relative to the column's.
    """

    shift_px: float
    sigma_px: float
    height: float


def kept(decay_px: float) -> float:
    """Part of the signal that is left one pixel later: exp(-1 / decay), the decay length in pixels."""
    return float(np.exp(-1.0 / decay_px))


def afterglow(sigma_px: float, decay_px: float) -> Afterglow:
    """The fit to a Gaussian with afterglow.

    Parameters
    ----------
    sigma_px : float
        Standard deviation of the Gaussian along a line, pixels.
    decay_px : float
        Decay length of the afterglow, pixels; 0 for none.
    """
    if decay_px <= 0.0:
        return Afterglow(0.0, sigma_px, 1.0)
    keep = kept(decay_px)
    steps = np.arange(int(np.log(_LEAST_KEPT) / np.log(keep)) + 2)
    # The places of columns between pixels are all alike: the sum over pixels is an integral on average.
    x = np.arange(-6.0 * sigma_px, 6.0 * sigma_px + steps[-1], sigma_px / _STEPS)
    peak = _gaussian(x[:, None] - steps, sigma_px) @ ((1.0 - keep) * keep**steps)

    def misfit(p: np.ndarray) -> np.ndarray:
        return np.asarray(p[2] * _gaussian(x - p[0], p[1]) - peak)

    shift, width, height = least_squares(misfit, [keep, sigma_px, peak.max()], xtol=1e-10).x
    return Afterglow(float(shift), float(width), float(height))


def _gaussian(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * (x / sigma) ** 2))
