"""The best errors that a multislice case allows: Cramer-Rao bound with neighbours, and jitter in quadrature."""

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from atomseg.evaluate import match_columns
from atomseg.types import Columns, Micrograph

FWHM_PER_SIGMA = 2.3548200450309493
# Neighbours whose light and whose own errors count, nm, and about how many columns of a zone are asked.
NEIGHBOURS_NM, ASKED = 0.26, 300
# Correlation of successive rows' displacements (y, x). The truth tells their spread; this is where the marginal
# likelihood of the rows is largest in D01 and D11, which have the dose to say.
ROW_CORRELATION = (0.0, 0.6)
NEAR_NM = 1.0
# Width of the filter that takes the noise out of expected counts, of a column's standard deviation.
SMOOTH = 0.7


def zones(labels: np.ndarray, yx_px: np.ndarray, pixel_nm: float) -> np.ndarray:
    """(N,) of ``vacuum`` (within 1 nm of it), ``front`` (of another phase) or ``bulk``."""
    row, col = (np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in zip(yx_px.T, labels.shape, strict=True))
    front = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        one, other = np.moveaxis(labels, axis, 0)[1:], np.moveaxis(labels, axis, 0)[:-1]
        np.moveaxis(front, axis, 0)[1:] |= (one != other) & (one > 0) & (other > 0)
    zone = np.full(len(yx_px), "bulk", dtype=object)
    for name, where in (("front", front), ("vacuum", labels == 0)):
        # Labels of a crystal that is no cathode say nothing about where it ends.
        if where.any() and labels.any():
            zone[distance_transform_edt(~where)[row, col] * pixel_nm <= NEAR_NM] = name
    return zone


def counting_scale(image: np.ndarray, found: Columns, true: Columns, pairs: np.ndarray) -> tuple[float, float]:
    """Image units a count, and the image's value at no counts.

    From the fitted value on top of matched columns, and the pixels of true sites of less than a fifth of their light: a
    pixel need not lie on top of a bright column, but the ground is flat.
    """
    intensity = true.table["intensity"].to_numpy(float)
    table = found.table.iloc[pairs[:, 0]]
    dim = np.flatnonzero(intensity < 0.2 * np.median(intensity[pairs[:, 1]]))
    row, col = np.clip(np.rint(true.yx_px[dim]).astype(int), 0, np.asarray(image.shape) - 1).T
    value = np.concatenate([(table["amplitude"] + table["background"]).to_numpy(float), image[row, col]])
    gain, offset = np.polyfit(np.concatenate([intensity[pairs[:, 1]], intensity[dim]]), value, 1)
    return float(gain), float(offset)


def column_bound(
    about_nm: np.ndarray,
    peaks: np.ndarray,
    expected: np.ndarray,
    *,
    sigma_nm: float,
    pixel_nm: float,
    centre_nm: np.ndarray,
    jitter_nm: tuple[float, float],
) -> np.ndarray:
    """(2, 3) variances (y, x) of a column's position, pm²: counting noise, white rows, correlated rows.

    The Fisher information of positions and peaks of the column, the first of `about_nm` (n, 2), and of its neighbours,
    and of a constant level, in counts a pixel; `expected` (k, k) are the counts of the pixels around the nearest one,
    those of light that is in no column too; `centre_nm` is where the column stands on the pixel grid.
    """
    half = len(expected) // 2
    grid = np.arange(-half, half + 1) * pixel_nm
    y, x = (grid[:, None] - centre_nm[0]), (grid[None, :] - centre_nm[1])
    slopes = []
    for (dy, dx), peak in zip(about_nm, peaks, strict=True):
        u, v = y - dy, x - dx
        light = np.exp(-0.5 * (u * u + v * v) / sigma_nm**2)
        slopes += [peak * light * u / sigma_nm**2, peak * light * v / sigma_nm**2, light]
    slopes.append(np.ones_like(expected))
    design = np.stack(slopes).reshape(len(slopes), -1)
    covariance = np.linalg.inv((design / expected.ravel()) @ design.T)
    result = np.empty((2, 3))
    for axis in (0, 1):
        share = (slopes[axis] ** 2 / expected).sum(1)
        share = share / share.sum()
        distance = np.abs(np.arange(len(share))[:, None] - np.arange(len(share)))
        kernel = np.where(distance == 0, 1.0, ROW_CORRELATION[axis] ** np.maximum(distance, 1))
        result[axis] = (
            covariance[axis, axis],
            *(jitter_nm[axis] ** 2 * v for v in ((share**2).sum(), share @ kernel @ share)),
        )
    return result * 1e6


def _around(padded: np.ndarray, yx_px: np.ndarray, half: int) -> np.ndarray:
    """(2 half + 1, 2 half + 1) pixels about the one nearest to a position, of an image padded by `half`."""
    row, col = (int(np.clip(round(v), 0, n - 2 * half - 1)) for v, n in zip(yx_px, padded.shape, strict=True))
    return padded[row : row + 2 * half + 1, col : col + 2 * half + 1]


def over_bound(
    micrograph: Micrograph, found: Columns, true: Columns, labels: np.ndarray, jitter_nm: tuple[float, float]
) -> dict[str, Any]:
    """RMSE of matched required columns over their bound, for all and by zone.

    Parameters
    ----------
    micrograph : Micrograph
        The image.
    found, true : Columns
        Columns; the truth with `intensity` (counts) and `required`.
    labels : numpy.ndarray
        (H, W) true phases, 0 for vacuum.
    jitter_nm : tuple of float
        Standard deviation of the rows' displacement along y and x.
    """
    pixel = micrograph.calibration.mean_nm
    pairs = match_columns(found, true, 0.1)
    pairs = pairs[true.table["required"].to_numpy(bool)[pairs[:, 1]]]
    gain, offset = counting_scale(micrograph.image, found, true, pairs)
    table = found.table
    sigma = float(np.median(np.sqrt(table["fwhm_major_nm"] * table["fwhm_minor_nm"]))) / FWHM_PER_SIGMA
    peak = np.maximum(table["amplitude"].to_numpy(float) / gain, 1e-3)
    # What the pixels are expected to count: the image without most of its noise.
    smooth = gaussian_filter((np.asarray(micrograph.image, float) - offset) / gain, SMOOTH * sigma / pixel)
    half = int(np.ceil((NEIGHBOURS_NM + 2.0 * sigma) / pixel))
    counts = np.pad(np.maximum(smooth, 0.02 * np.median(peak)), half, mode="edge")
    error = (found.yx_nm[pairs[:, 0]] - true.yx_nm[pairs[:, 1]]) * 1e3
    error -= error.mean(0)
    zone = zones(labels, true.yx_px[pairs[:, 1]], pixel)
    # Every zone is asked for itself: fronts and edges hold few columns.
    asked = np.concatenate(
        [k[:: max(1, len(k) // ASKED)] for k in (np.flatnonzero(zone == z) for z in ("bulk", "front", "vacuum"))]
    )
    tree, variance = cKDTree(found.yx_nm), np.empty((len(asked), 2, 3))
    for n, k in enumerate(asked):
        own = pairs[k, 0]
        near = [own, *(j for j in tree.query_ball_point(found.yx_nm[own], NEIGHBOURS_NM) if j != own)]
        variance[n] = column_bound(
            found.yx_nm[near] - found.yx_nm[own],
            peak[near],
            _around(counts, found.yx_px[own], half),
            sigma_nm=sigma,
            pixel_nm=pixel,
            centre_nm=found.yx_nm[own] - np.rint(found.yx_px[own]) * pixel,
            jitter_nm=jitter_nm,
        )
    square, total = (error[asked] ** 2).sum(1), variance.sum(1)
    result: dict[str, Any] = {"counts_a_unit": 1.0 / gain, "sigma_pm": 1e3 * sigma}
    for name in ("all", "bulk", "front", "vacuum"):
        here = np.ones(len(asked), bool) if name == "all" else zone[asked] == name
        if here.sum() < 20:
            continue
        counting, white, correlated = total[here].mean(0)
        result[f"n_{name}"] = int(here.sum())
        result[f"bound_pm_{name}"] = float(np.sqrt(counting + white))
        result[f"over_bound_{name}"] = float(np.sqrt(square[here].mean() / (counting + white)))
        result[f"over_bound_correlated_{name}"] = float(np.sqrt(square[here].mean() / (counting + correlated)))
    return result
