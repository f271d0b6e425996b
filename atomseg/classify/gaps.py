"""Gaps between successive TM rows: stacking shift across each, and how full its interlayer site is."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.frames import Frames, alike, stack_pairs
from atomseg.imaging.photometry import forced_amplitudes
from atomseg.types import Columns, Micrograph

# A fitted column this close to the expected interlayer site is that site's column (relaxation and jitter are < 40 pm).
SITE_RADIUS_NM = 0.075
# "Interlayer" clearly brighter than the rows around it: the pair was centred on a TM row, it is no gap.
INVERTED_RATIO = 1.15
# Columns of one row are alike up to this factor.
LIKE_COLUMNS = 3.3
# Shift nearest to zero rather than to a third.
O1_HALF_WIDTH = 1.0 / 6.0


def link_rows(yx_nm: np.ndarray, amplitude: np.ndarray, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Chain columns along their rows.

    Returns
    -------
    row_id : numpy.ndarray
        (N,) int, -1 outside domains.
    right : numpy.ndarray
        (N,) index of the next column along the row, -1 where there is none.
    """
    n = len(yx_nm)
    right = np.full(n, -1)
    known = np.flatnonzero(frames.domain >= 0)
    if len(known) == 0:
        return np.full(n, -1), right
    tree = cKDTree(yx_nm)
    distance, target = tree.query(yx_nm[known] + frames.row[known])
    period = np.linalg.norm(frames.row[known], axis=1)
    like = alike(amplitude[known], amplitude[target], LIKE_COLUMNS)
    ok = (distance < 0.3 * period) & (target != known) & (frames.domain[target] == frames.domain[known]) & like
    right[known[ok]] = target[ok]
    graph = coo_matrix((np.ones(int(ok.sum())), (known[ok], target[ok])), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    return np.where(frames.domain >= 0, label, -1), right


def measure_gaps(
    micrograph: Micrograph,
    columns: Columns,
    frames: Frames,
    *,
    straight_nm: np.ndarray,
    row_id: np.ndarray,
    right: np.ndarray,
    config: ClassifyConfig,
) -> pd.DataFrame:
    """Stacking shift and interlayer ratio of every gap.

    Parameters
    ----------
    micrograph : Micrograph
        For the photometry of interlayer sites where no column was found.
    columns : Columns
        Localized columns.
    frames : Frames
        Their local frames.
    straight_nm : numpy.ndarray
        (N, 2) positions without line errors, which shifts are read from; light is where the columns were imaged.
    row_id, right : numpy.ndarray
        (N,) row of each column and the next column along it, from `link_rows`.
    config : ClassifyConfig
        Settings.

    Returns
    -------
    pandas.DataFrame
        ``lower, upper`` (column indices), ``y_nm, x_nm`` (interlayer site), ``row_lower, row_upper``, ``shift,
        shift_err`` (periods), ``ratio, ratio_err`` (interlayer over TM amplitude), ``site_column`` (index or -1),
        ``domain``.
    """
    yx, sigma = columns.yx_nm, columns.sigma_nm
    amplitude = columns.table["amplitude"].to_numpy(dtype=float)
    pairs, along, _ = stack_pairs(straight_nm, amplitude, frames.row, frames.domain, config.ratio_range)
    domain = frames.domain[pairs[:, 0]] if len(pairs) else np.zeros(0, dtype=int)
    shift = along.copy()
    for k, offset in enumerate(frames.shift_offset):
        own = domain == k
        shift[own] -= offset.at(0.5 * (yx[pairs[own, 0]] + yx[pairs[own, 1]]))
    order = np.argsort(np.abs(shift), kind="stable")  # each column's laterally nearest partner wins
    first = ~pd.Series(pairs[order, 0]).duplicated().to_numpy()
    pairs, shift, domain = pairs[order][first], shift[order][first], domain[order][first]
    row = 0.5 * (frames.row[pairs[:, 0]] + frames.row[pairs[:, 1]])
    middle = 0.5 * (yx[pairs[:, 0]] + yx[pairs[:, 1]])
    straight = np.abs(shift) < O1_HALF_WIDTH
    site = np.where(straight[:, None], middle, middle + 0.5 * row)
    period = np.linalg.norm(row, axis=1)
    along_row = row / period[:, None]
    variance = ((sigma[pairs] * along_row[:, None, :]) ** 2).sum(axis=(1, 2))
    ratio, ratio_err, site_column = _interlayer_ratio(micrograph, columns, pairs, right, site)
    table = pd.DataFrame(
        {
            "lower": pairs[:, 0],
            "upper": pairs[:, 1],
            "y_nm": site[:, 0],
            "x_nm": site[:, 1],
            "row_lower": row_id[pairs[:, 0]],
            "row_upper": row_id[pairs[:, 1]],
            "shift": shift,
            "shift_err": np.sqrt(variance) / period,
            "ratio": ratio,
            "ratio_err": ratio_err,
            "site_column": site_column,
            "domain": domain,
        }
    )
    inverted = (ratio > INVERTED_RATIO) & (ratio - 1.0 > ratio_err)
    return table[np.isfinite(ratio) & ~inverted].reset_index(drop=True)


def _interlayer_ratio(
    micrograph: Micrograph, columns: Columns, pairs: np.ndarray, right: np.ndarray, site_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interlayer amplitude over the mean of the TM columns around it, its error, and the column found there."""
    table = columns.table
    amplitude = table["amplitude"].to_numpy(dtype=float)
    if len(pairs) == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=int)
    beside = np.where(right[pairs] >= 0, right[pairs], pairs)
    reference = 0.25 * (amplitude[pairs].sum(axis=1) + amplitude[beside].sum(axis=1))
    distance, nearest = cKDTree(columns.yx_nm).query(site_nm)
    found = (distance < SITE_RADIUS_NM) & (nearest != pairs[:, 0]) & (nearest != pairs[:, 1])
    pixel = np.asarray(micrograph.calibration.pixel_size_nm)
    bright = amplitude >= np.median(amplitude)
    width = np.sqrt((table["fwhm_major_nm"] * table["fwhm_minor_nm"]).to_numpy(dtype=float))
    forced, forced_err, _ = forced_amplitudes(
        micrograph.image,
        site_nm / pixel,
        float(np.median(width[bright])),
        micrograph.calibration.pixel_size_nm,
        neighbours=columns,
    )
    value = np.where(found, amplitude[nearest], forced)
    # Photometric error of a forced site stands for a found one too: the same pixels, the same noise.
    error = np.where(np.isfinite(forced_err), forced_err, 0.2 * reference)
    return value / reference, error / reference, np.where(found, nearest, -1)
