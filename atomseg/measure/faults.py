"""Stacking faults: runs of O1 gaps, grouped into lamellae, and the share of gaps that are faulted."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomseg.types import Phase
from atomseg.types.reconstruction import FAULT_FIELDS

# Neighbouring interlayer sites of one gap are 0.25 nm apart, those of the next gap 0.47 nm.
SAME_GAP_NM = 0.34
# A fault goes on across as many as three sites that were missed or could not be told, at the height of its gap: rows
# whose numbers break, a missing column, a site lost to noise. Two faults in one gap that end closer are one.
BRIDGED_NM = 1.05
SAME_HEIGHT_NM = 0.13
# Gaps of one lamella: heights of neighbouring sites differ by one layer, 0.436 (O1) to 0.482 nm (H2).
NEXT_GAP_NM = (0.38, 0.56)
# ...and the faults lie above each other over this part of the shorter one.
OVERLAP = 0.4
# Sites around one that the direction of its rows is read from.
DIRECTION_SITES = 16
# One site alone is a column that was misread more often than a fault.
FEWEST_SITES = 2
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
        `FAULT_FIELDS`; the gaps of a lamella share its ``lamella_id``.
    """
    o1 = gaps[gaps["phase"] == int(Phase.O1)]
    site = o1[["y_nm", "x_nm"]].to_numpy(dtype=float)
    if len(o1) >= FEWEST_SITES:
        direction = row_directions(gaps, site)
        part = same_fault(site, direction)
        lasting = np.bincount(part)[part] >= FEWEST_SITES
        o1, site, direction, part = o1[lasting], site[lasting], direction[lasting], part[lasting]
    if len(o1) < FEWEST_SITES:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in FAULT_FIELDS})
    part = np.unique(part, return_inverse=True)[1]
    lamella, height = lamellae(site, direction, part)
    extent = (np.asarray(depth_nm.shape) - 1) * np.asarray(pixel_size_nm)
    rows = [
        _fault(
            o1[part == k],
            site[part == k],
            extent=extent,
            depth_nm=depth_nm,
            pixel_size_nm=pixel_size_nm,
            period_nm=period_nm,
        )
        | {"fault_id": k, "lamella_id": int(lamella[k]), "lamella_gaps": int(height[k])}
        for k in range(part.max() + 1)
    ]
    return pd.DataFrame(rows, columns=list(FAULT_FIELDS))


def row_directions(gaps: pd.DataFrame, site: np.ndarray) -> np.ndarray:
    """(M, 2) unit vectors along the rows at sites, from neighbouring layered and O1 gaps, whose rows are plain."""
    chosen = gaps[np.isin(gaps["phase"], (Phase.LAYERED, Phase.O1))]
    plain, row = chosen[["y_nm", "x_nm"]].to_numpy(), chosen["row_lower"].to_numpy()
    pairs = cKDTree(plain).query_pairs(SAME_GAP_NM, output_type="ndarray")
    # Beside rocksalt a site of the next row can be as near.
    pairs = pairs[row[pairs[:, 0]] == row[pairs[:, 1]]]
    if len(pairs) == 0:
        return np.tile([0.0, 1.0], (len(site), 1))
    vector = plain[pairs[:, 1]] - plain[pairs[:, 0]]
    # Directions modulo 180 degrees are averaged as doubled angles.
    doubled = np.exp(2j * np.arctan2(vector[:, 0], vector[:, 1]))
    middle = plain[pairs].mean(axis=1)
    near = cKDTree(middle).query(site, k=min(DIRECTION_SITES, len(middle)))[1].reshape(len(site), -1)
    angle = 0.5 * np.angle(doubled[near].mean(axis=1))
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _pairs(site: np.ndarray, direction: np.ndarray, reach_nm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of sites within reach, their distance along the rows and across them, nm."""
    pairs = cKDTree(site).query_pairs(reach_nm, output_type="ndarray")
    delta = site[pairs[:, 1]] - site[pairs[:, 0]]
    axis = direction[pairs[:, 0]]
    return pairs, np.abs((delta * axis).sum(axis=1)), np.abs(delta[:, 0] * axis[:, 1] - delta[:, 1] * axis[:, 0])


def same_fault(site: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(M,) int fault of each O1 site: those at one height with no more than a few sites between them."""
    pairs, _, across = _pairs(site, direction, BRIDGED_NM)
    pairs = pairs[across < SAME_HEIGHT_NM]
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(site), len(site)))
    return np.asarray(connected_components(graph, directed=False)[1])


def lamellae(site: np.ndarray, direction: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lamella of each fault and its number of gaps: faults in successive gaps that lie above each other."""
    n = int(part.max()) + 1
    size = np.bincount(part)
    pairs, along, across = _pairs(site, direction, NEXT_GAP_NM[1] + 0.02)
    above = (across > NEXT_GAP_NM[0]) & (across < NEXT_GAP_NM[1]) & (along < 0.15)
    a, b = part[pairs[above]].T
    shared = coo_matrix((np.ones(len(a)), (np.minimum(a, b), np.maximum(a, b))), shape=(n, n)).tocsr().tocoo()
    enough = shared.data >= OVERLAP * np.minimum(size[shared.row], size[shared.col])
    graph = coo_matrix((np.ones(int(enough.sum())), (shared.row[enough], shared.col[enough])), shape=(n, n))
    lamella = connected_components(graph, directed=False)[1]
    gaps = np.ones(n, int)
    for k in np.unique(lamella):
        members = np.flatnonzero(lamella == k)
        if len(members) > 1:
            gaps[members] = _heights(site, direction, part, members)
    return np.asarray(lamella), gaps


def _heights(site: np.ndarray, direction: np.ndarray, part: np.ndarray, members: np.ndarray) -> int:
    """Number of gaps that faults of one lamella lie in: a gap can hold two of them, end to end."""
    mine = np.isin(part, members)
    axis = direction[mine].mean(axis=0)
    mean = [site[part == k].mean(axis=0) for k in members]
    across = np.sort([centre[0] * axis[1] - centre[1] * axis[0] for centre in mean])
    return 1 + int((np.diff(across) > 0.5 * NEXT_GAP_NM[0]).sum())


def _fault(
    members: pd.DataFrame,
    site: np.ndarray,
    *,
    extent: np.ndarray,
    depth_nm: np.ndarray,
    pixel_size_nm: tuple[float, float],
    period_nm: float,
) -> dict[str, float | int]:
    """Row of the fault table, its ids left out."""
    centre = site.mean(axis=0)
    axis = np.linalg.svd(site - centre, full_matrices=False)[2][0] if len(site) > 1 else np.array([0.0, 1.0])
    along = (site - centre) @ axis
    ends = site[[int(along.argmin()), int(along.argmax())]]
    pixel = np.clip(np.rint(site / pixel_size_nm).astype(int), 0, np.array(depth_nm.shape) - 1)
    depth = depth_nm[pixel[:, 0], pixel[:, 1]]
    return {
        "row_lower": int(members["row_lower"].mode().iloc[0]),
        "row_upper": int(members["row_upper"].mode().iloc[0]),
        "y_px": centre[0] / pixel_size_nm[0],
        "x_px": centre[1] / pixel_size_nm[1],
        "length_nm": float(np.ptp(along)) + period_nm,
        "ends_in_view": int(((ends > BORDER_NM) & (ends < extent - BORDER_NM)).all(axis=1).sum()),
        "surface_distance_nm": float(np.nanmin(depth)) if np.isfinite(depth).any() else np.nan,
    }


def fault_statistics(gaps: pd.DataFrame, spacing_nm: float) -> dict[str, object]:
    """Share of the classified gaps that are O1, and what it means along c.

    Parameters
    ----------
    gaps : pandas.DataFrame
        Gaps of a `PhaseMap`.
    spacing_nm : float
        TM layer spacing, nm; NaN where unknown.

    Returns
    -------
    dict
        ``classified_pairs``, ``fault_fraction`` (zero-shift pairs of TM columns over classified ones, with its 90 %
        interval of Wilson 1927, 10.1080/01621459.1927.10502953) and ``density_per_nm`` along c.
    """
    phase = gaps["phase"].to_numpy()
    faulted = int((phase == Phase.O1).sum())
    # Rocksalt is a stacking too, but its rows are no TM layers with a gap between them.
    total = faulted + int((phase == Phase.LAYERED).sum())
    if total == 0:
        return {"classified_pairs": 0, "fault_fraction": None, "fault_fraction_90": None, "density_per_nm": None}
    share, z = faulted / total, 1.645
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    return {
        "classified_pairs": total,
        "fault_fraction": share,
        "fault_fraction_90": [max(0.0, float(middle - half)), float(middle + half)],
        "density_per_nm": share / spacing_nm if np.isfinite(spacing_nm) else None,
    }
