"""Dislocations by Burgers circuits around every triangle of columns.

Each edge of the Delaunay triangulation is a step on the fine lattice of `atomseg.measure.lattice` (thirds of the row
period, halves of the layer spacing), told with the local frame. Around good crystal the steps of a triangle add up to
nothing, whatever the stacking, around a missing or an extra column too; where they do not, there is a core. A step told
wrongly, by noise, belongs to two triangles and opens both by opposite amounts: such pairs cancel and are left out.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, QhullError, cKDTree

from atomseg.measure.lattice import LocalLattice
from atomseg.types.lattice import DISLOCATION_FIELDS

# Longer edges span more than one missing column, and their steps can not be told.
LONGEST_EDGE_NM = 1.05
# Circuits that open this close to each other are one core: cores are that wide, and what noise opens lies closer.
ONE_CORE_NM = 1.0
# The strain around an extra layer is so large that steps along the rows are uncertain farther out: what opens along the
# rows alone within this distance is part of its core.
LAYER_CORE_NM = 1.6
# Circuits around a core, nm; it counts where most of them open as its own triangles do.
CIRCUITS_NM = (0.8, 1.1, 1.4)
# Columns around a core whose lattice turns its steps into nm.
FRAME_COLUMNS = 20
# Closer to the edge of the triangulated crystal the other half of a pair of openings can lie outside.
BORDER_NM = 0.75
# Columns whose fitted lattice misses its neighbours by more, rms, keep their own place.
TRUSTED_MISFIT_NM = 0.022
FEWEST = 12


@dataclass(frozen=True)
class Circuits:
    """Triangles of columns, and what their circuits do not close by.

    Parameters
    ----------
    corner : numpy.ndarray
        (T, 3) columns.
    centre_nm : numpy.ndarray
        (T, 2) centroids.
    opening : numpy.ndarray
        (T, 2) int steps (thirds of the row, halves of the layer) from finish to start, right-handed around the beam.
    border : numpy.ndarray
        (T,) bool, lies at the edge of the triangulated crystal, beyond which a circuit can not go.
    area_nm2 : numpy.ndarray
        (T,) area.
    """

    corner: np.ndarray
    centre_nm: np.ndarray
    opening: np.ndarray
    border: np.ndarray
    area_nm2: np.ndarray


def find_dislocations(
    yx_nm: np.ndarray,
    lattice: LocalLattice,
    pixel_nm: tuple[float, float],
    depth_nm: np.ndarray,
    smallest_burgers: float,
) -> tuple[pd.DataFrame, float]:
    """Dislocations with their projected Burgers vectors, and the area that was searched, nm squared.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) columns.
    lattice : LocalLattice
        Local lattices of the same columns.
    pixel_nm : tuple of float
        (y, x) pixel size.
    depth_nm : numpy.ndarray
        (H, W) depth below the surface, NaN where there is none.
    smallest_burgers : float
        Shortest Burgers vector to report, in row periods.

    Returns
    -------
    table : pandas.DataFrame
        `DISLOCATION_FIELDS`.
    area_nm2 : float
        Searched area.
    """
    nothing = pd.DataFrame({name: pd.Series(dtype=float) for name in DISLOCATION_FIELDS})
    circuits = burgers_circuits(yx_nm, lattice)
    if circuits is None:
        return nothing, 0.0
    area = float(circuits.area_nm2[~circuits.border].sum())
    known = np.flatnonzero(lattice.known)
    tree = cKDTree(yx_nm[known])
    rows: list[dict[str, object]] = []
    for core in _cores(circuits):
        steps = circuits.opening[core].sum(axis=0)
        if not steps.any() or circuits.border[core].any():
            continue
        centre, error = _position(circuits, core, steps)
        if not _confirmed(circuits, centre, steps):
            continue
        near = known[tree.query(centre, k=min(FRAME_COLUMNS, len(known)))[1]]
        row, layer = np.median(lattice.row[near], axis=0), np.median(lattice.layer[near], axis=0)
        burgers = steps[0] / 3.0 * row + steps[1] / 2.0 * layer
        if np.hypot(*burgers) < smallest_burgers * np.hypot(*row):
            continue
        at = np.clip(np.rint(centre / pixel_nm).astype(int), 0, np.array(depth_nm.shape) - 1)
        rows.append(
            {
                "dislocation_id": len(rows),
                "y_px": centre[0] / pixel_nm[0],
                "x_px": centre[1] / pixel_nm[1],
                "y_err_nm": error[0],
                "x_err_nm": error[1],
                "b_row": steps[0] / 3.0,
                "b_layer": steps[1] / 2.0,
                "b_nm": float(np.hypot(*burgers)),
                "b_y_nm": burgers[0],
                "b_x_nm": burgers[1],
                "b_angle_deg": float(np.rad2deg(np.arctan2(burgers[0], burgers[1]))),
                "sign": int(np.sign(steps[1] or steps[0])),
                "kind": kind_of(int(steps[0]), int(steps[1])),
                "surface_distance_nm": float(depth_nm[at[0], at[1]]),
            }
        )
    return (pd.DataFrame(rows, columns=list(DISLOCATION_FIELDS)) if rows else nothing), area


def _position(circuits: Circuits, core: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of a core's open triangles and its standard error, (y, x) in nm."""
    # Where a layer ends is told by its own steps.
    members = core[circuits.opening[core, 1] != 0] if steps[1] else core
    where = circuits.centre_nm[members]
    weight = np.abs(circuits.opening[members]).sum(axis=1).astype(float)
    centre = (weight[:, None] * where).sum(axis=0) / weight.sum()
    # Half a triangle, and how far the open ones spread.
    return centre, np.hypot(0.5 * np.sqrt(circuits.area_nm2[members].mean()), where.std(axis=0))


def kind_of(thirds: int, halves: int) -> str:
    """Name of a projected Burgers vector."""
    if halves == 0:
        return "in_plane" if thirds % 3 == 0 else "partial"
    return "extra_layer" if halves % 2 == 0 else "half_layer"


def burgers_circuits(yx_nm: np.ndarray, lattice: LocalLattice) -> Circuits | None:
    """Triangles of the columns of one lattice; None where there is nothing to triangulate."""
    use = np.flatnonzero(lattice.domain >= 0)
    if len(use) < FEWEST or lattice.known.sum() < FEWEST:
        return None
    row, layer = _frames_everywhere(yx_nm, lattice, use)
    trusted = lattice.known[use] & (lattice.misfit_nm[use] < TRUSTED_MISFIT_NM)
    place = np.where(trusted[:, None], lattice.place[use], yx_nm[use])
    try:
        corner = Delaunay(yx_nm[use]).simplices
    except QhullError:
        return None  # all columns on one line
    edge = np.stack([corner, np.roll(corner, -1, axis=1)], axis=2)
    length = np.hypot(*np.moveaxis(yx_nm[use][edge[..., 1]] - yx_nm[use][edge[..., 0]], -1, 0))
    domain = lattice.domain[use]
    kept = (length.max(axis=1) < LONGEST_EDGE_NM) & (domain[corner] == domain[corner[:, :1]]).all(axis=1)
    kept &= np.isfinite(row[corner]).all(axis=(1, 2))
    corner, edge = corner[kept], edge[kept]
    if len(corner) == 0:
        return None
    points = yx_nm[use][corner]
    double_area = _cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    steps = _steps(edge, place, row, layer)
    # (y, x): the sense from +x towards +y, a right-handed circuit around the beam, has a negative cross product here.
    turn = -np.sign(double_area).astype(int)
    return Circuits(
        corner=use[corner],
        centre_nm=points.mean(axis=1),
        opening=-steps.sum(axis=1) * turn[:, None],
        border=_border(edge, yx_nm[use], points.mean(axis=1)),
        area_nm2=0.5 * np.abs(double_area),
    )


def _frames_everywhere(yx_nm: np.ndarray, lattice: LocalLattice, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) row and layer vector of the columns `use`, those without a fit from the nearest fits of their domain."""
    row, layer = lattice.row[use].copy(), lattice.layer[use].copy()
    for d in np.unique(lattice.domain[use]):
        mine = lattice.domain[use] == d
        have, lack = np.flatnonzero(mine & lattice.known[use]), np.flatnonzero(mine & ~lattice.known[use])
        if len(have) and len(lack):
            near = cKDTree(yx_nm[use[have]]).query(yx_nm[use[lack]], k=min(6, len(have)))[1].reshape(len(lack), -1)
            row[lack], layer[lack] = (np.mean(v[have][near], axis=1) for v in (row, layer))
    return row, layer


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _steps(edge: np.ndarray, place: np.ndarray, row: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """(T, 3, 2) int steps of edges (T, 3, 2), the same backwards with the sign turned."""
    vector = place[edge[..., 1]] - place[edge[..., 0]]
    along_row = row[edge].mean(axis=2)
    along_layer = layer[edge].mean(axis=2)
    area = _cross(along_row, along_layer)
    thirds = 3.0 * _cross(vector, along_layer) / area
    halves = np.round(2.0 * _cross(along_row, vector) / area)
    # Columns of one row are whole periods apart.
    thirds = np.where(halves == 0, 3.0 * np.round(thirds / 3.0), np.round(thirds))
    return np.stack([thirds, halves], axis=-1).astype(int)


def _border(edge: np.ndarray, yx_nm: np.ndarray, centre_nm: np.ndarray) -> np.ndarray:
    """(T,) bool, near a column on an edge that belongs to one triangle only."""
    flat = np.sort(edge.reshape(-1, 2), axis=1)
    key = flat[:, 0].astype(np.int64) * (int(flat.max()) + 1) + flat[:, 1]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    outer = np.unique(flat[count[inverse] == 1])
    return np.asarray(cKDTree(yx_nm[outer]).query(centre_nm)[0] < BORDER_NM)


def _cores(circuits: Circuits) -> list[np.ndarray]:
    """Open triangles grouped into cores: those that touch, and those that lie within a core's width."""
    open_ones = np.flatnonzero(circuits.opening.any(axis=1))
    if len(open_ones) == 0:
        return []
    n = len(open_ones)
    owner = coo_matrix((np.ones(3 * n), (np.repeat(np.arange(n), 3), circuits.corner[open_ones].ravel())))
    _, part = connected_components(owner @ owner.T, directed=False)
    # Those that cancel already are steps told wrongly; what remains may be halves of such a pair, or a wide core.
    left = open_ones[(_sums(part, circuits.opening[open_ones])[part] != 0).any(axis=1)]
    if len(left) == 0:
        return []
    part = np.unique(part[np.isin(open_ones, left)], return_inverse=True)[1]
    tree = cKDTree(circuits.centre_nm[left])
    part = _joined(part, tree.query_pairs(ONE_CORE_NM, output_type="ndarray"))
    ends = _sums(part, circuits.opening[left])[:, 1]
    near = tree.query_pairs(LAYER_CORE_NM, output_type="ndarray")
    near = near[(ends[part[near]] != 0).sum(axis=1) == 1]
    part = _joined(part, near)
    return [left[part == g] for g in range(part.max() + 1)]


def _confirmed(circuits: Circuits, centre_nm: np.ndarray, steps: np.ndarray) -> bool:
    """Whether most of the wider circuits open likewise: what noise opens is closed by its other half not far off."""
    distance = np.hypot(*(circuits.centre_nm - centre_nm).T)
    net = [circuits.opening[distance <= radius].sum(axis=0) for radius in CIRCUITS_NM]
    same = sum(bool(n[1] == steps[1] and (steps[1] != 0 or n[0] == steps[0])) for n in net)
    return 2 * same > len(CIRCUITS_NM)


def _sums(part: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """(G, 2) int net opening of each group."""
    total = np.zeros((int(part.max()) + 1, 2), int)
    np.add.at(total, part, opening)
    return total


def _joined(part: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Group numbers with the groups of paired members made one."""
    graph = coo_matrix((np.ones(len(pairs)), (part[pairs[:, 0]], part[pairs[:, 1]])), shape=(part.max() + 1,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1][part])
