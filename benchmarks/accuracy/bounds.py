"""Smallest position errors that the laws of counting allow, computed on their own: nothing here is shared with the fit.

Positions of all columns of an image, their heights and a local background are unknown together; what overlapping
neighbours cost is therefore in the bound, which the closed form in a simulator's truth table leaves out.
"""

import numpy as np
from scipy.spatial import cKDTree

FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))
# Information further out than this many standard deviations: exp(-4.5^2 / 2) is 4e-5 of a column's peak.
REACH_SIGMA = 4.5


def gaussian_inverse(major_nm: float, minor_nm: float, theta_deg: float) -> np.ndarray:
    """(2, 2) inverse covariance (y, x), 1 / nm², of a core with these standard deviations."""
    angle = np.deg2rad(theta_deg)
    major, minor = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
    return np.asarray(np.outer(major, major) / major_nm**2 + np.outer(minor, minor) / minor_nm**2)


def joint_bound_nm(
    yx_nm: np.ndarray,
    peak: np.ndarray,
    level: np.ndarray,
    *,
    inverse: np.ndarray,
    pixel_nm: tuple[float, float],
    chosen: np.ndarray,
    unknown: np.ndarray,
) -> np.ndarray:
    """(len(chosen), 2) Cramer-Rao bound of the positions (y, x) of columns among their neighbours, nm.

    To be found: position and height of the column and of its neighbours in `unknown`, and a plane of background. The
    other neighbours (oxygen, what the image does not resolve) are taken as known, which no method has: the bound stays
    a bound. Noise is Poisson. The information is an integral, so a grid of two fifths of the width serves every
    pixel size that is finer (counts a pixel are scaled to it); coarser pixels are summed as they are.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) positions of all columns, nm.
    peak : numpy.ndarray
        (N,) heights above their ground, counts a pixel.
    level : numpy.ndarray
        (N,) ground under each column, neighbours' cores included, counts a pixel.
    inverse : numpy.ndarray
        (2, 2) inverse covariance of the core, 1 / nm².
    pixel_nm : tuple of float
        Pixel size (y, x), nm.
    chosen : numpy.ndarray
        Indices of the columns to judge.
    unknown : numpy.ndarray
        (N,) bool, columns that have to be found with it.
    """
    widths = np.sqrt(np.diag(np.linalg.inv(inverse)))
    step = np.maximum(np.asarray(pixel_nm), 0.4 * np.sqrt(1.0 / np.linalg.eigvalsh(inverse).max()))
    gain = float(np.prod(step) / np.prod(pixel_nm))
    radius = REACH_SIGMA * float(widths.max())
    axes = [np.arange(-np.ceil(radius / s), np.ceil(radius / s) + 1) * s for s in step]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[np.einsum("pi,ij,pj->p", grid, inverse, grid) <= REACH_SIGMA**2]
    near = cKDTree(yx_nm).query_ball_point(yx_nm[chosen], 1.6 * radius)
    result = np.full((len(chosen), 2), np.nan)
    for row, (k, others) in enumerate(zip(chosen, near, strict=True)):
        index = [k, *(j for j in others if j != k and peak[j] > 0.0)]
        offset = grid[None] - (yx_nm[index] - yx_nm[k])[:, None]
        pull = offset @ inverse
        unit = np.exp(-0.5 * (offset * pull).sum(-1))
        core = peak[index, None] * unit
        # The ground under the column as told, without the neighbours' cores at its centre, is taken as flat.
        at_centre = core[1:, np.argmin((grid**2).sum(1))].sum()
        expected = np.maximum(level[k] - at_centre, 0.02 * peak[k]) + core.sum(0)
        plane = np.stack([np.ones(len(grid)), grid[:, 0] / radius, grid[:, 1] / radius])
        slopes = np.concatenate([core[:, :, None] * pull, unit[:, :, None]], axis=2).transpose(0, 2, 1)
        free = np.r_[True, unknown[index[1:]]]
        jacobian = np.concatenate([slopes[free].reshape(-1, len(grid)), plane])
        information = gain * (jacobian / expected) @ jacobian.T
        scale = 1.0 / np.sqrt(np.maximum(np.diag(information), 1e-30))
        covariance = np.linalg.pinv(information * np.outer(scale, scale), rcond=1e-9, hermitian=True)
        result[row] = np.sqrt(np.diag(covariance)[:2]) * scale[:2]
    return result


def jitter_pm(jitter_x_pm: float, correlation: float, *, inverse: np.ndarray, pixel_y_nm: float) -> np.ndarray:
    """(2,) what line jitter does to the fitted position of one column (y, x), pm, rms.

    A column is seen by several lines and averages their displacements; lines count by their information about the
    position (background-limited: the square of the profile's slope summed along the line). Along y the displacement is
    a third of that along x, as in `atomseg.simulate`.

    Parameters
    ----------
    jitter_x_pm : float
        Displacement of a line along x, pm rms.
    correlation : float
        Its AR(1) coefficient from line to line.
    inverse : numpy.ndarray
        (2, 2) inverse covariance of the core, 1 / nm².
    pixel_y_nm : float
        Distance of lines, nm.
    """
    sigma = np.sqrt(np.diag(np.linalg.inv(inverse)))
    rows = np.arange(-np.ceil(5 * sigma[0] / pixel_y_nm), np.ceil(5 * sigma[0] / pixel_y_nm) + 1)
    y = rows * pixel_y_nm
    profile = np.exp(-((y / sigma[0]) ** 2))
    covariance = correlation ** np.abs(rows[:, None] - rows)
    result = []
    for weight, size in ((profile * y**2, jitter_x_pm / 3.0), (profile, jitter_x_pm)):
        share = weight / weight.sum()
        result.append(size * float(np.sqrt(share @ covariance @ share)))
    return np.array(result)
