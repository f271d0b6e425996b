"""Stacking faults: connected runs of O1 gaps."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomseg.types import Phase
from atomseg.types.reconstruction import FAULT_FIELDS

# Neighbouring interlayer sites of one gap are 0.25 nm apart, those of the next gap 0.47 nm.
SAME_GAP_NM = 0.34
# An end this close to the image border may go on outside.
BORDER_NM = 0.6


def find_faults(
    gaps: pd.DataFrame, depth_nm: np.ndarray, pixel_size_nm: tuple[float, float], period_nm: float
) -> pd.DataFrame:
    """List every O1 fault, one gap high.

    Parameters
    ----------
    gaps : pandas.DataFrame
        Gaps of a `PhaseMap`.
    depth_nm : numpy.ndarray
        (H, W) depth below the surface, NaN where there is none.
    pixel_size_nm : tuple of float
        (y, x), nm.
    period_nm : float
        In-plane period: the length that one column stands for.

    Returns
    -------
    pandas.DataFrame
        `FAULT_FIELDS`; lamellae of n gaps are n neighbouring rows of the table.
    """
    o1 = gaps[gaps["phase"] == int(Phase.O1)]
    if len(o1) == 0:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in FAULT_FIELDS})
    site = o1[["y_nm", "x_nm"]].to_numpy()
    pairs = cKDTree(site).query_pairs(SAME_GAP_NM, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(site), len(site)))
    n, part = connected_components(graph, directed=False)
    extent = (np.asarray(depth_nm.shape) - 1) * np.asarray(pixel_size_nm)
    rows = [
        _fault(
            k,
            o1[part == k],
            site[part == k],
            extent=extent,
            depth_nm=depth_nm,
            pixel_size_nm=pixel_size_nm,
            period_nm=period_nm,
        )
        for k in range(n)
    ]
    return pd.DataFrame(rows, columns=list(FAULT_FIELDS))


def _fault(
    fault_id: int,
    members: pd.DataFrame,
    site: np.ndarray,
    *,
    extent: np.ndarray,
    depth_nm: np.ndarray,
    pixel_size_nm: tuple[float, float],
    period_nm: float,
) -> dict[str, float | int]:
    """One row of the fault table."""
    centre = site.mean(axis=0)
    axis = np.linalg.svd(site - centre, full_matrices=False)[2][0] if len(site) > 1 else np.array([0.0, 1.0])
    along = (site - centre) @ axis
    ends = site[[int(along.argmin()), int(along.argmax())]]
    pixel = np.clip(np.rint(site / pixel_size_nm).astype(int), 0, np.array(depth_nm.shape) - 1)
    depth = depth_nm[pixel[:, 0], pixel[:, 1]]
    return {
        "fault_id": fault_id,
        "row_lower": int(members["row_lower"].mode().iloc[0]),
        "row_upper": int(members["row_upper"].mode().iloc[0]),
        "y_px": centre[0] / pixel_size_nm[0],
        "x_px": centre[1] / pixel_size_nm[1],
        "length_nm": float(np.ptp(along)) + period_nm,
        "ends_in_view": int(((ends > BORDER_NM) & (ends < extent - BORDER_NM)).all(axis=1).sum()),
        "surface_distance_nm": float(np.nanmin(depth)) if np.isfinite(depth).any() else np.nan,
    }
