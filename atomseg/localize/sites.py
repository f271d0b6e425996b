"""Sites: places of one kind, where columns stand at others of the kind, so that dim ones are looked for there too."""

import numpy as np
from scipy.ndimage import center_of_mass, convolve, label
from scipy.spatial import cKDTree

# Pairs of columns up to this far apart tell a kind of site by the vector between them.
PAIR_NM = 0.6
# Two vectors, and a column and the place where one is expected, are the same within this distance.
SAME_NM = 0.045
# A kind of site has columns when at least this many, and this share, of its places hold one that is sure.
MIN_COLUMNS, MIN_SHARE = 10, 0.1
# A vector by which at least this share of the sure columns stand from another one is one of the lattice's, both ways; a
# peak from which this share of them leads to sure columns is on the lattice.
LATTICE_SHARE = 0.7
# ...and to this many at least.
LEAST_LED = 3
# Bins in which vectors are counted, a third of what tells two apart.
BIN_NM = 0.015
# Bins on each side of zero.
BINS = int(np.ceil((PAIR_NM + SAME_NM) / BIN_NM))


def on_known_sites(yx_nm: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """(N,) bool, unsure peaks that stand where others of the same kind of site hold columns.

    Two ways to be of a kind. A lattice repeats: from a column of a full site the lattice's vectors lead to others. And
    sites that are empty, dim or full by turns (cations between the layers) are centres of inversion of the columns
    around: a kind of them is told by the vector of two sure columns on opposite sides, wherever in the image, and the
    middle of such a pair holds a sure column often enough, or it is no site of columns. Oxygen sits between columns
    too, but at its places no column is ever sure.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64, peaks, nm.
    sure : numpy.ndarray
        (N,) bool, peaks that are columns by themselves.
    """
    if sure.all() or sure.sum() < MIN_COLUMNS:
        return np.zeros(len(yx_nm), dtype=bool)
    columns = yx_nm[sure]
    pairs = cKDTree(columns).query_pairs(PAIR_NM, output_type="ndarray")
    return ~sure & (_on_lattice(yx_nm, columns, pairs) | _in_middles(yx_nm, sure, columns, pairs))


def _on_lattice(yx_nm: np.ndarray, columns_nm: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(N,) bool, peaks from which the lattice's vectors lead to columns."""
    vector = columns_nm[pairs[:, 1]] - columns_nm[pairs[:, 0]]
    count = _about(_histogram(np.concatenate([vector, -vector])))
    cluster, n = label(count >= LATTICE_SHARE * len(columns_nm))
    if not n:
        return np.zeros(len(yx_nm), dtype=bool)
    steps = (np.array(center_of_mass(count, cluster, range(1, n + 1))) - BINS) * BIN_NM
    to = yx_nm[:, None] + steps
    led = np.isfinite(cKDTree(columns_nm).query(to, distance_upper_bound=SAME_NM)[0]).sum(axis=1)
    # Beyond the outermost columns nothing is seen.
    low, high = columns_nm.min(axis=0) - SAME_NM, columns_nm.max(axis=0) + SAME_NM
    asked = ((to > low) & (to < high)).all(axis=2).sum(axis=1)
    return np.asarray(led >= np.maximum(LATTICE_SHARE * asked, LEAST_LED))


def _in_middles(yx_nm: np.ndarray, sure: np.ndarray, columns_nm: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(N,) bool, peaks in the middle of pairs of a kind that often has a sure column there."""
    middle = columns_nm[pairs].mean(axis=1)
    there, peak = cKDTree(yx_nm).query(middle, distance_upper_bound=SAME_NM)
    held = np.isfinite(there)
    full = held.copy()
    full[held] = sure[peak[held]]
    share = _share(columns_nm[pairs[:, 1]] - columns_nm[pairs[:, 0]], full)
    unsure = held & ~full
    total = np.bincount(peak[unsure], share[unsure], minlength=len(yx_nm))
    count = np.bincount(peak[unsure], minlength=len(yx_nm))
    return np.asarray((count > 0) & (total >= MIN_SHARE * count))


def _share(vector: np.ndarray, full: np.ndarray) -> np.ndarray:
    """(P,) share of the pairs with about the same vector that hold a sure column in their middle; 0 for too few."""
    pairs, columns = (_about(_histogram(v) + _histogram(-v)) for v in (vector, vector[full]))
    share = np.where(columns >= MIN_COLUMNS, columns / np.maximum(pairs, 1), 0.0)
    bin_yx = _bins(vector)
    return np.asarray(share[bin_yx[:, 0], bin_yx[:, 1]])


def _bins(vector: np.ndarray) -> np.ndarray:
    """(P, 2) int64 bins of vectors no longer than `PAIR_NM`."""
    return np.asarray(np.rint(vector / BIN_NM).astype(np.int64) + BINS)


def _histogram(vector: np.ndarray) -> np.ndarray:
    """How many of the vectors are in each bin."""
    side = 2 * BINS + 1
    flat = _bins(vector) @ np.array([side, 1])
    return np.bincount(flat, minlength=side * side).reshape(side, side)


def _about(count: np.ndarray) -> np.ndarray:
    """How many are in each bin and within `SAME_NM` of it."""
    reach = int(SAME_NM / BIN_NM)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(convolve(count, (y**2 + x**2 <= reach**2).astype(np.int64), mode="constant"))
