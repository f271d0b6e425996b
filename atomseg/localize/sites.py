"""Sites: places of one kind, where columns stand at others of the kind, so that dim ones are looked for there too."""

import numpy as np
from scipy.ndimage import convolve
from scipy.spatial import cKDTree

# Pairs of columns up to this far apart tell a kind of site by the vector between them: the site is their middle.
PAIR_NM = 0.6
# Two vectors, and a column and the middle of a pair, are the same within this distance.
SAME_NM = 0.045
# A kind of site has columns when at least this many, and this share, of its places hold one that is sure.
MIN_COLUMNS, MIN_SHARE = 10, 0.1
# Bins in which vectors are counted, a third of what tells two apart.
BIN_NM = 0.015


def on_known_sites(yx_nm: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """(N,) bool, unsure peaks that stand where others of the same kind of site hold columns.

    The sites of a crystal that are empty, dim or full by turns (cations between the layers) are centres of inversion of
    the columns around. So a kind of site is told by the vector of two sure columns on opposite sides of it, wherever in
    the image: the middle of such a pair holds a sure column often enough, or it is no site of columns. Oxygen sits
    between columns too, but at its places no column is ever sure.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64, peaks, nm.
    sure : numpy.ndarray
        (N,) bool, peaks that are columns by themselves.
    """
    known = np.zeros(len(yx_nm), dtype=bool)
    if sure.all() or sure.sum() < MIN_COLUMNS:
        return known
    columns = yx_nm[sure]
    pairs = cKDTree(columns).query_pairs(PAIR_NM, output_type="ndarray")
    middle = columns[pairs].mean(axis=1)
    vector = columns[pairs[:, 1]] - columns[pairs[:, 0]]
    vector[(vector[:, 0] < 0) | ((vector[:, 0] == 0) & (vector[:, 1] < 0))] *= -1.0
    there, peak = cKDTree(yx_nm).query(middle, distance_upper_bound=SAME_NM)
    held = np.isfinite(there)
    full = held.copy()
    full[held] = sure[peak[held]]
    share = _share(vector, full)
    unsure = held & ~full
    total = np.bincount(peak[unsure], share[unsure], minlength=len(yx_nm))
    count = np.bincount(peak[unsure], minlength=len(yx_nm))
    known[count > 0] = total[count > 0] / count[count > 0] >= MIN_SHARE
    return known


def _share(vector: np.ndarray, full: np.ndarray) -> np.ndarray:
    """(P,) share of the pairs with about the same vector that hold a sure column in their middle; 0 for too few."""
    n = int(np.ceil((PAIR_NM + SAME_NM) / BIN_NM))
    bin_yx = np.rint(vector / BIN_NM).astype(np.int64) + n
    flat = bin_yx[:, 0] * (2 * n + 1) + bin_yx[:, 1]
    size = (2 * n + 1) ** 2
    both = np.stack([np.bincount(flat, minlength=size), np.bincount(flat[full], minlength=size)])
    # A vector and its opposite are one: those that lie across y = 0 are counted on both sides.
    both = both.reshape(2, 2 * n + 1, 2 * n + 1)
    both = both + both[:, ::-1, ::-1]
    reach = int(SAME_NM / BIN_NM)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (y**2 + x**2 <= reach**2).astype(np.int64)
    pairs, columns = (convolve(each, disc, mode="constant") for each in both)
    share = np.where(columns >= MIN_COLUMNS, columns / np.maximum(pairs, 1), 0.0)
    return np.asarray(share[bin_yx[:, 0], bin_yx[:, 1]])
