"""Which found column is which true one."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomseg.types import Columns


def match_columns(found: Columns, true: Columns, radius_nm: float) -> np.ndarray:
    """One-to-one pairs of found and true columns within a radius.

    As many pairs as possible; among these as many required true columns as possible (column `required` of the truth,
    all where it has none); among these the least sum of squared distances. Columns that compete for each other are
    assigned together, exactly.

    Parameters
    ----------
    found, true : Columns
        Columns of one image.
    radius_nm : float
        Largest distance of a pair, nm.

    Returns
    -------
    numpy.ndarray
        (M, 2) int64 indices (found, true), sorted by found.

    Raises
    ------
    ValueError
        If the radius is not positive.
    """
    return match_points(found.yx_nm, true.yx_nm, radius_nm, required_mask(true))


def required_mask(true: Columns) -> np.ndarray:
    """(N,) bool, True where a detector must find the column."""
    if "required" not in true.table.columns:
        return np.ones(len(true), dtype=bool)
    return true.table["required"].to_numpy(dtype=bool)


def match_points(found_nm: np.ndarray, true_nm: np.ndarray, radius_nm: float, required: np.ndarray) -> np.ndarray:
    """`match_columns` for bare positions.

    Parameters
    ----------
    found_nm, true_nm : numpy.ndarray
        (N, 2) and (M, 2) positions, nm; rows that are not finite match nothing.
    radius_nm : float
        Largest distance of a pair, nm.
    required : numpy.ndarray
        (M,) bool.

    Raises
    ------
    ValueError
        If the radius is not positive.
    """
    if not radius_nm > 0:
        raise ValueError(f"matching radius is {radius_nm:g} nm; it must be positive")
    from_row, to_row = (np.flatnonzero(np.isfinite(p).all(1)) for p in (found_nm, true_nm))
    if not len(from_row) or not len(to_row):
        return np.zeros((0, 2), dtype=np.int64)
    near = cKDTree(found_nm[from_row]).query_ball_tree(cKDTree(true_nm[to_row]), radius_nm)
    i = np.repeat(np.arange(len(near)), [len(n) for n in near])
    j = np.array([k for n in near for k in n], dtype=np.int64)
    if not len(i):
        return np.zeros((0, 2), dtype=np.int64)
    distance2 = ((found_nm[from_row[i]] - true_nm[to_row[j]]) ** 2).sum(1) / radius_nm**2
    pairs: list[tuple[int, int]] = []
    for edges in _components(i, j, len(from_row), len(to_row)):
        pairs += _assign(i[edges], j[edges], distance2[edges], required[to_row[j[edges]]])
    result = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return np.stack([from_row[result[:, 0]], to_row[result[:, 1]]], axis=1)


def _components(i: np.ndarray, j: np.ndarray, n_found: int, n_true: int) -> list[np.ndarray]:
    """Edges of each connected component."""
    n = n_found + n_true
    graph = coo_array((np.ones(len(i)), (i, j + n_found)), shape=(n, n))
    label = connected_components(graph, directed=False)[1][i]
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)


def _assign(i: np.ndarray, j: np.ndarray, distance2: np.ndarray, required: np.ndarray) -> list[tuple[int, int]]:
    """Best pairs of one component; squared distances are in units of the radius, so none exceeds one."""
    if len(i) == 1:
        return [(int(i[0]), int(j[0]))]
    found, row = np.unique(i, return_inverse=True)
    true, col = np.unique(j, return_inverse=True)
    # Each price outweighs all that could be gained in the ranks below it.
    n = min(len(found), len(true)) + 1.0
    cost = np.full((len(found), len(true)), n * (n + 1.0))
    cost[row, col] = distance2 + np.where(required, 0.0, n)
    rows, cols = linear_sum_assignment(cost)
    real = cost[rows, cols] < n * (n + 1.0)
    return [(int(found[r]), int(true[c])) for r, c in zip(rows[real], cols[real], strict=True)]
