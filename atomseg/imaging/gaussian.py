"""The Gaussian column and the best precision with which it can be placed.

A column is a peak of height ``A`` (image units above background) and standard deviation ``sigma``; it holds
``N = 2 pi sigma_y sigma_x A / a**2`` counts when the image is in counts per pixel of side ``a``. Scanned images sample
points, so pixels do not widen the column.
"""

import numpy as np

FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))


def covariance_from_fwhm(fwhm_major_nm: float, fwhm_minor_nm: float, theta_deg: float) -> np.ndarray:
    """Covariance of an elliptical Gaussian column.

    Parameters
    ----------
    fwhm_major_nm, fwhm_minor_nm : float
        Full widths at half maximum.
    theta_deg : float
        Angle of the major axis from +x towards +y, degrees.

    Returns
    -------
    numpy.ndarray
        (2, 2) in nm², order (y, x).
    """
    angle = np.deg2rad(theta_deg)
    major = np.array([np.sin(angle), np.cos(angle)])
    minor = np.array([np.cos(angle), -np.sin(angle)])
    a, b = fwhm_major_nm / FWHM_PER_SIGMA, fwhm_minor_nm / FWHM_PER_SIGMA
    return a**2 * np.outer(major, major) + b**2 * np.outer(minor, minor)


def gaussian_column(dyx_nm: np.ndarray, amplitude: float, covariance_nm2: np.ndarray) -> np.ndarray:
    """Value of an elliptical Gaussian column at displacements from its centre.

    Parameters
    ----------
    dyx_nm : numpy.ndarray
        (..., 2) displacements (dy, dx), nm.
    amplitude : float
        Peak height.
    covariance_nm2 : numpy.ndarray
        (2, 2) covariance, nm², order (y, x).

    Returns
    -------
    numpy.ndarray
        (...) values in the unit of `amplitude`.
    """
    precision = np.linalg.inv(covariance_nm2)
    return amplitude * np.exp(-0.5 * np.einsum("...i,ij,...j->...", dyx_nm, precision, dyx_nm))


def column_counts(amplitude: float, sigma_nm: float, pixel_size_nm: float) -> float:
    """Counts of a round column from its peak height in counts per pixel."""
    return float(2 * np.pi * amplitude * (sigma_nm / pixel_size_nm) ** 2)


def localization_limit_pm(
    counts: float | np.ndarray, sigma_nm: float | np.ndarray, background_per_nm2: float | np.ndarray = 0.0
) -> np.ndarray:
    """Smallest standard error of one coordinate of an isolated round column under Poisson noise, closed form.

    Parameters
    ----------
    counts : float or numpy.ndarray
        Counts of the column.
    sigma_nm : float or numpy.ndarray
        Its standard deviation.
    background_per_nm2 : float or numpy.ndarray
        Background counts per nm².

    Returns
    -------
    numpy.ndarray
        Standard error, pm.

    References
    ----------
    Rieger & Stallinga 2014, ChemPhysChem 15, 664, doi:10.1002/cphc.201300711, equation 5 with
    ``tau = 2 pi sigma**2 b / N``. Within 3 % of the numerical Fisher information for ``tau`` up to 2.
    """
    counts, sigma_nm = np.asarray(counts, dtype=np.float64), np.asarray(sigma_nm, dtype=np.float64)
    tau = 2 * np.pi * sigma_nm**2 * np.asarray(background_per_nm2, dtype=np.float64) / counts
    variance_nm2 = sigma_nm**2 / counts * (1 + 4 * tau + np.sqrt(2 * tau / (1 + 4 * tau)))
    return np.asarray(1e3 * np.sqrt(variance_nm2))


def fisher_limit_pm(
    counts: float,
    sigma_nm: float,
    background_per_nm2: float = 0.0,
    *,
    window_nm: float | None = None,
    n_steps: int = 400,
) -> float:
    """The same limit by integrating the Fisher information over a round window.

    The other parameters (counts, width, background) are even about the centre and do not correlate with the position,
    so one diagonal element is enough: ``I = integral (d mu / d x)**2 / mu``.

    Parameters
    ----------
    counts, sigma_nm, background_per_nm2 : float
        As for `localization_limit_pm`.
    window_nm : float, optional
        Radius of the window; three standard deviations by default.
    n_steps : int
        Radial steps of the midpoint rule.
    """
    radius = 3 * sigma_nm if window_nm is None else window_nm
    r = (np.arange(n_steps) + 0.5) * radius / n_steps
    core = counts / (2 * np.pi * sigma_nm**2) * np.exp(-0.5 * (r / sigma_nm) ** 2)
    # The angular average of x**2 is r**2 / 2, the ring holds 2 pi r dr.
    slope2 = (core / sigma_nm**2) ** 2 * r**2 / 2
    information = np.sum(slope2 / (core + background_per_nm2) * 2 * np.pi * r) * radius / n_steps
    return float(1e3 / np.sqrt(information))
