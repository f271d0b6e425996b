"""Which columns can be told from their neighbours at the resolution of the image."""

import numpy as np
from scipy.spatial import cKDTree

# Neighbours further than this many standard deviations of the core do not matter: exp(-4^2 / 2) is 3e-4.
REACH_SIGMA = 4.0
# Limits of a column that still has a maximum of its own. Two equal Gaussians at Sparrow's limit (two standard
# deviations apart) give a curvature of 0.59 and a shift of 0.46; a closed lattice loses curvature without shifting.
LEAST_CURVATURE = 0.2
LARGEST_SHIFT = 0.5


def visibility(yx_px: np.ndarray, peak: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """How much of a column's curvature is left in the sum with its neighbours.

    Parameters
    ----------
    yx_px : numpy.ndarray
        (N, 2) positions, pixels.
    peak : numpy.ndarray
        (N,) own peak heights.
    covariance : numpy.ndarray
        (2, 2) covariance (y, x) of the core, pixels squared.

    Returns
    -------
    numpy.ndarray
        (N,) float64: 1 for an isolated column; 0 where the sum of all cores has no maximum of its own near the column.
    """
    n = len(peak)
    if n < 2:
        return np.ones(n)
    whitened = yx_px @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    pairs = cKDTree(whitened).query_pairs(REACH_SIGMA, output_type="ndarray")
    if len(pairs) == 0:
        return np.ones(n)
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    z = whitened[j] - whitened[i]
    height = np.exp(-0.5 * np.sum(z * z, axis=1)) * peak[j] / np.maximum(peak[i], 1e-12)
    hessian = [np.bincount(i, height * (a - z[:, k] * z[:, m]), n) for a, k, m in ((1, 0, 0), (1, 1, 1), (0, 0, 1))]
    yy, xx, yx = 1.0 + hessian[0], 1.0 + hessian[1], hessian[2]
    curvature = 0.5 * (yy + xx) - np.sqrt(0.25 * (yy - xx) ** 2 + yx**2)
    pull = np.hypot(np.bincount(i, height * z[:, 0], n), np.bincount(i, height * z[:, 1], n))
    own = (curvature > LEAST_CURVATURE) & (pull < LARGEST_SHIFT * np.maximum(curvature, 1e-12))
    return np.where(own, np.clip(curvature, 0.0, 1.0), 0.0)
