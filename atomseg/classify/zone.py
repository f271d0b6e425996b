"""Which family of zone axes the columns' lattice belongs to, read off the vectors between them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max

# Vectors between columns up to this length are counted, in bins of this size, blurred by this much.
REACH_NM, BIN_NM, BLUR_NM = 0.62, 0.01, 0.015
# Share of columns that must have a neighbour at a vector for it to be one of the lattice (0.6 of them in a view of few
# columns have theirs inside; jitter and grains take more).
VECTOR_SHARE = 0.35
# Columns asked: plenty for a histogram.
MOST_COLUMNS = 6000
# Relative error of the scale, and of a ratio of lengths, that a family is still recognised at; and of an angle.
SCALE_TOLERANCE, RATIO_TOLERANCE, ANGLE_DEG = 0.08, 0.05, 4.0
# Shortest two vectors of each family, nm, and their angle: refined cells of LiNiO2, NMC-811, delithiated O1 and NiO.
FAMILIES = {
    "perp_112": ((0.1439, 0.4730, 90.0), (0.1439, 0.2365, 90.0), (0.1477, 0.2412, 90.0), (0.1410, 0.436, 90.0)),
    "c_axis": ((0.1662, 0.1662, 60.0), (0.1706, 0.1706, 60.0), (0.2815, 0.2815, 60.0)),
    "close_packed": ((0.2492, 0.4802, 80.0), (0.2558, 0.2558, 70.53), (0.2438, 0.4360, 90.0), (0.2487, 0.4735, 90.0)),
}


class ZoneFamily(StrEnum):
    """Family of zone axes; zone names of papers are ambiguous, what they show is not."""

    CLOSE_PACKED = "close_packed"
    PERP_112 = "perp_112"
    C_AXIS = "c_axis"
    OTHER = "other"


@dataclass(frozen=True)
class PlaneLattice:
    """Reduced two-dimensional lattice.

    Parameters
    ----------
    short_nm, long_nm : float
        Lengths of the two shortest vectors that are not parallel.
    angle_deg : float
        Angle between them, 0 to 90.
    """

    short_nm: float
    long_nm: float
    angle_deg: float


def plane_lattice(yx_nm: np.ndarray) -> PlaneLattice | None:
    """The lattice that most columns share, whatever its orientation; None where vectors between them do not repeat.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) column positions, nm.
    """
    step = max(1, len(yx_nm) // MOST_COLUMNS)
    asked = yx_nm[::step]
    if len(asked) < 3:
        return None
    near = cKDTree(yx_nm).query_ball_point(asked, REACH_NM)
    delta = np.concatenate([yx_nm[np.asarray(n)] - at for n, at in zip(near, asked, strict=True)])
    edges = np.arange(-REACH_NM - BIN_NM / 2, REACH_NM + BIN_NM, BIN_NM)
    counts, _, _ = np.histogram2d(delta[:, 0], delta[:, 1], bins=(edges, edges))
    density = gaussian_filter(counts, BLUR_NM / BIN_NM)
    middle = 0.5 * (edges[:-1] + edges[1:])
    peaks = peak_local_max(density, min_distance=4, exclude_border=False)
    vectors = np.stack([middle[peaks[:, 0]], middle[peaks[:, 1]]], axis=1)
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[(lengths > 0.08) & (lengths < REACH_NM - 0.03)]
    found = []
    for vector in vectors:
        here = np.linalg.norm(delta - vector, axis=1) < 0.04
        if here.sum() >= VECTOR_SHARE * len(asked):
            found.append(np.median(delta[here], axis=0))
    return _reduced(np.array(found).reshape(-1, 2))


def _reduced(vectors: np.ndarray) -> PlaneLattice | None:
    """Shortest vector, and the shortest that is not parallel to it."""
    if len(vectors) == 0:
        return None
    ordered = vectors[np.argsort(np.linalg.norm(vectors, axis=1))]
    lengths = np.linalg.norm(ordered, axis=1)
    sine = np.abs(ordered[0, 0] * ordered[:, 1] - ordered[0, 1] * ordered[:, 0]) / (lengths[0] * lengths)
    aside = np.flatnonzero(sine > 0.5)
    if len(aside) == 0:
        return None
    second = int(aside[0])
    angle = float(np.rad2deg(np.arcsin(min(1.0, sine[second]))))
    return PlaneLattice(float(lengths[0]), float(lengths[second]), angle)


def zone_family(lattice: PlaneLattice | None) -> ZoneFamily:
    """Family whose lattice this is within the tolerances of a scan's calibration, `ZoneFamily.OTHER` for none."""
    if lattice is None:
        return ZoneFamily.OTHER
    best, family = np.inf, ZoneFamily.OTHER
    for name, shapes in FAMILIES.items():
        for short, long, angle in shapes:
            scale = np.sqrt(lattice.short_nm * lattice.long_nm / (short * long)) - 1
            ratio = (lattice.long_nm / lattice.short_nm) / (long / short) - 1
            turn = lattice.angle_deg - angle
            off = max(abs(scale) / SCALE_TOLERANCE, abs(ratio) / RATIO_TOLERANCE, abs(turn) / ANGLE_DEG)
            if off < min(best, 1.0):
                best, family = off, ZoneFamily(name)
    return family
