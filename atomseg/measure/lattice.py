"""The local lattice around every column: two vectors by a weighted fit, whatever the stacking.

Down the close-packed zone every cation of every phase in scope stands on one fine lattice: a third of the row period
along the rows, half a TM layer across them (O3, its twin, O1 and rocksalt differ in which of its points are taken). So
the columns around one are numbered on that lattice, and position = origin + (k / 3) row + (h / 2) layer is a linear fit
that a stacking fault does not disturb.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from atomseg.types import LatticeFrame

# A row's neighbour is between these shares of its period away, and along it to this angle: no other column is.
LINK_RANGE = (0.75, 1.3)
LINK_DEG = 18.0
# Columns around one that its first frame is read from, as in the classifier.
FIRST_NEIGHBOURS = 24
# Least columns of a fit: 6 unknowns, and one missing neighbour must not decide.
FEWEST = 8
# Columns in a window of 1 nm: 51 in rocksalt, the densest of the phases.
PER_SQUARE_NM = 17.0
# Refinements: the numbering reaches further out each time, so that a bent lattice is followed.
REACHES = (0.62, 0.85)
# A misfit of this many standard deviations is no column of the lattice (Huber's 1.345 is for efficiency; this cuts).
OUTLIER = 3.5
# A fit whose columns miss their places by more than this, rms, is not one lattice: cores, boundaries. Columns at random
# would miss the nearest place by 72 pm (83 pm / sqrt(12) along the rows, 237 pm / sqrt(12) across them).
LARGEST_MISFIT_NM = 0.03
# Columns of one scan line move together; a line is as high as a column, one FWHM.
LINE_NM = 0.1


@dataclass(frozen=True)
class LocalLattice:
    """Lattice vectors at every column, (y, x) in nm; NaN where there is no fit.

    Parameters
    ----------
    row : numpy.ndarray
        (N, 2) period along the row.
    layer : numpy.ndarray
        (N, 2) from one TM layer to the next, the sideways step of the stacking taken out.
    covariance : numpy.ndarray
        (N, 4, 4) of (row y, row x, layer y, layer x), nm squared.
    place : numpy.ndarray
        (N, 2) where the lattice around has this column, (y, x) in nm: its own error is averaged out.
    misfit_nm : numpy.ndarray
        (N,) rms distance of the columns around from the fitted places.
    domain : numpy.ndarray
        (N,) int index of the frame that is followed, -1 for none.
    jitter_nm : tuple of float
        (y, x) position error a column beyond the fit's own, independent from column to column.
    line_nm : tuple of float
        (y, x) position error that columns of one scan line share.
    """

    row: np.ndarray
    layer: np.ndarray
    covariance: np.ndarray
    place: np.ndarray
    misfit_nm: np.ndarray
    domain: np.ndarray
    jitter_nm: tuple[float, float]
    line_nm: tuple[float, float]

    @property
    def known(self) -> np.ndarray:
        """(N,) bool."""
        return np.isfinite(self.row[:, 0])


@dataclass(frozen=True)
class Neighbourhood:
    """Columns around each, the nearest first: (N, K) indices, whether they are there, (N, K, 2) offsets in nm."""

    index: np.ndarray
    there: np.ndarray
    offset: np.ndarray
    distance: np.ndarray

    def within(self, reach_nm: float) -> "Neighbourhood":
        """The nearer ones."""
        width = max(FEWEST, int((self.distance <= reach_nm).sum(axis=1).max()))
        return Neighbourhood(
            self.index[:, :width], self.there[:, :width], self.offset[:, :width], self.distance[:, :width]
        )


def fit_lattice(
    yx_nm: np.ndarray,
    sigma_nm: np.ndarray,
    row_id: np.ndarray,
    frames: tuple[LatticeFrame, ...],
    window_nm: float,
) -> LocalLattice:
    """Fit the lattice around every column that belongs to a row.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) column positions, nm.
    sigma_nm : numpy.ndarray
        (N, 2) their standard errors, nm.
    row_id : numpy.ndarray
        (N,) int rows of the lattice, negative outside it.
    frames : tuple of LatticeFrame
        Mean frames to start from.
    window_nm : float
        Radius of the fitted neighbourhood.

    Returns
    -------
    LocalLattice
    """
    row, layer, domain = first_frames(yx_nm, row_id, frames)
    use = np.flatnonzero(domain >= 0)
    full = _nothing(len(yx_nm), domain)
    if len(use) < FEWEST:
        return full
    around = _neighbourhood(yx_nm[use], domain[use], window_nm)
    row, layer, origin = row[use], layer[use], np.zeros((len(use), 2))
    for share in REACHES:
        nearer = around.within(share * window_nm)
        k, h, weight = _numbered(nearer, row, layer, origin, share * window_nm)
        row, layer, origin, _ = _solve(nearer, k, h, weight)
    error = _position_errors(yx_nm[use], sigma_nm[use], origin)
    k, h, weight = _numbered(around, row, layer, origin, window_nm)
    miss = _miss(around, (k, h), row, layer, origin)
    limit = OUTLIER * np.hypot(*error.total)
    weight = np.where(np.hypot(*miss) < max(limit, 0.02), weight, 0.0)
    row, layer, origin, inverse = _solve(around, k, h, weight)
    miss = _miss(around, (k, h), row, layer, origin)
    total = np.maximum(weight.sum(axis=1), 1e-12)
    rms = np.sqrt((weight * (miss**2).sum(axis=0)).sum(axis=1) / total)
    design = _design(inverse, k, h, weight)
    covariance = _covariance(design, around, sigma_nm[use], error)
    good = (rms < LARGEST_MISFIT_NM) & ((weight > 0).sum(axis=1) >= FEWEST) & np.isfinite(row[:, 0])
    good &= np.isfinite(covariance).all(axis=(1, 2))
    place = use[good]
    full.row[place], full.layer[place] = row[good], layer[good]
    full.covariance[place], full.misfit_nm[use] = covariance[good], rms
    full.place[place] = yx_nm[place] + origin[good]
    return replace(full, jitter_nm=tuple(error.jitter), line_nm=tuple(error.line))


def _nothing(n: int, domain: np.ndarray) -> LocalLattice:
    nan = np.nan
    return LocalLattice(
        np.full((n, 2), nan),
        np.full((n, 2), nan),
        np.full((n, 4, 4), nan),
        np.full((n, 2), nan),
        np.full(n, nan),
        domain,
        (nan, nan),
        (nan, nan),
    )


def row_links(
    yx_nm: np.ndarray, row_id: np.ndarray, frames: tuple[LatticeFrame, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of neighbours in a row (L, 2), their vectors (L, 2) along the frame, and the frame of each (L,)."""
    members = np.flatnonzero(row_id >= 0)
    if len(members) < 2 or not frames:
        return np.zeros((0, 2), int), np.zeros((0, 2)), np.zeros(0, int)
    mean = np.array([frame.row_yx_nm for frame in frames])
    period = np.hypot(*mean.T)
    pairs = members[cKDTree(yx_nm[members]).query_pairs(LINK_RANGE[1] * period.max(), output_type="ndarray")]
    pairs = pairs[row_id[pairs[:, 0]] == row_id[pairs[:, 1]]]
    vector = yx_nm[pairs[:, 1]] - yx_nm[pairs[:, 0]]
    length = np.hypot(*vector.T)
    cosine = vector @ (mean / period[:, None]).T / np.maximum(length, 1e-12)[:, None]
    which = np.abs(cosine).argmax(axis=1) if len(pairs) else np.zeros(0, int)
    best = cosine[np.arange(len(pairs)), which]
    ok = (np.abs(best) > np.cos(np.deg2rad(LINK_DEG))) & (length > LINK_RANGE[0] * period[which])
    ok &= length < LINK_RANGE[1] * period[which]
    vector = vector * np.sign(best)[:, None]
    return pairs[ok], vector[ok], which[ok]


def first_frames(
    yx_nm: np.ndarray, row_id: np.ndarray, frames: tuple[LatticeFrame, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and layer vector to start from at every column, and the frame it follows (-1 for none)."""
    n = len(yx_nm)
    row, layer, domain = np.full((n, 2), np.nan), np.full((n, 2), np.nan), np.full(n, -1)
    pairs, vector, which = row_links(yx_nm, row_id, frames)
    if len(pairs) == 0:
        return row, layer, domain
    votes = np.zeros((n, len(frames)))
    for side in (0, 1):
        np.add.at(votes, (pairs[:, side], which), 1.0)
    seen = votes.sum(axis=1) > 0
    domain[seen] = votes[seen].argmax(axis=1)
    middle = yx_nm[pairs].mean(axis=1)
    for d, frame in enumerate(frames):
        mine, own = np.flatnonzero(domain == d), which == d
        if len(mine) == 0 or own.sum() < 3:
            domain[mine] = -1
            continue
        count = min(FIRST_NEIGHBOURS, int(own.sum()))
        near = cKDTree(middle[own]).query(yx_nm[mine], k=count)[1].reshape(len(mine), -1)
        row[mine] = np.median(vector[own][near], axis=1)
        layer[mine] = _first_layers(yx_nm[mine], row[mine], frame)
    domain[~np.isfinite(row[:, 0]) | ~np.isfinite(layer[:, 0])] = -1
    return row, layer, domain


def _first_layers(yx_nm: np.ndarray, row: np.ndarray, frame: LatticeFrame) -> np.ndarray:
    """(N, 2) layer vectors: the median spacing around, leaning as far as the scan shears the stacking.

    The sideways step is known modulo a third of the period, so its mean is that of a phasor.
    """
    period = np.hypot(*row.T)
    height = 2.0 * float(np.hypot(*frame.stack_yx_nm))
    normal = across(row, frame)
    pairs = cKDTree(yx_nm).query_pairs(1.25 * np.hypot(height, 0.6 * period.max()), output_type="ndarray")
    delta = yx_nm[pairs[:, 1]] - yx_nm[pairs[:, 0]]
    up = (delta * normal[pairs[:, 0]]).sum(axis=1)
    along = (delta * row[pairs[:, 0]]).sum(axis=1) / period[pairs[:, 0]] ** 2
    ok = (np.abs(np.abs(up) / height - 1.0) < 0.17) & (np.abs(along) < 0.6)
    if ok.sum() < 3:
        return np.full_like(yx_nm, np.nan)
    middle = yx_nm[pairs[ok]].mean(axis=1)
    lean = np.sign(up[ok]) * along[ok]
    phasor = np.exp(6j * np.pi * lean)
    overall = float(np.angle(phasor.mean())) / (6 * np.pi)
    near = cKDTree(middle).query(yx_nm, k=min(FIRST_NEIGHBOURS, len(middle)))[1].reshape(len(yx_nm), -1)
    local = np.angle((phasor * np.exp(-6j * np.pi * overall))[near].mean(axis=1)) / (6 * np.pi)
    spacing = np.median(np.abs(up[ok])[near], axis=1)
    return np.asarray(spacing[:, None] * normal + (overall + local)[:, None] * row)


def across(row: np.ndarray, frame: LatticeFrame) -> np.ndarray:
    """(N, 2) unit normals of rows on the side of the frame's stacking."""
    unit = row / np.hypot(*row.T)[:, None]
    normal = np.stack([unit[:, 1], -unit[:, 0]], axis=1)
    return np.asarray(normal * np.sign(normal @ np.asarray(frame.stack_yx_nm))[:, None])


def _neighbourhood(yx_nm: np.ndarray, domain: np.ndarray, window_nm: float) -> Neighbourhood:
    count = min(len(yx_nm), int(np.ceil(np.pi * window_nm**2 * PER_SQUARE_NM)) + 1)
    distance, index = cKDTree(yx_nm).query(yx_nm, k=count, distance_upper_bound=window_nm)
    there = np.isfinite(distance)
    # Sparse lattices fill only a part of the places that rocksalt would.
    width = max(FEWEST, int(there.sum(axis=1).max()))
    index, there, distance = index[:, :width], there[:, :width], distance[:, :width]
    index = np.where(there, index, np.arange(len(yx_nm))[:, None])
    there &= domain[index] == domain[:, None]
    # Coordinates apart in memory: every sum below runs over one of them.
    offset = np.stack([axis[index] - axis[:, None] for axis in yx_nm.T])
    return Neighbourhood(index, there, np.moveaxis(offset, 0, -1), distance)


def _numbered(
    around: Neighbourhood, row: np.ndarray, layer: np.ndarray, origin: np.ndarray, reach_nm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, K) place on the fine lattice, in thirds of the row and halves of the layer, and weight of each neighbour.

    Counted from where the lattice has the middle column, not from where noise put it.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        area = row[:, 0] * layer[:, 1] - row[:, 1] * layer[:, 0]
        y, x = around.offset[..., 0] - origin[:, :1], around.offset[..., 1] - origin[:, 1:]
        along = (y * layer[:, 1:] - x * layer[:, :1]) / area[:, None]
        up = (x * row[:, :1] - y * row[:, 1:]) / area[:, None]
        h = np.round(2.0 * up)
        thirds = 3.0 * along
        # Columns of one row are whole periods apart: that is three times safer to tell than thirds.
        k = np.where(h == 0, 3.0 * np.round(along), np.round(thirds))
    inside = around.there & (around.distance <= reach_nm)
    weight = np.where(inside, np.exp(-2.0 * np.minimum(around.distance / reach_nm, 2.0) ** 2), 0.0)
    return k, h, weight


def _solve(
    around: Neighbourhood, k: np.ndarray, h: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weighted least squares: row, layer and origin (N, 2), and (N, 3, 3) of the normal equations, inverted."""
    # Sums written out: thousands of products of matrices three wide cost more than the sums themselves.
    a = (np.ones_like(k), k / 3.0, h / 2.0)
    weighted = [weight * column for column in a]
    normal = np.empty((len(k), 3, 3))
    right = np.empty((len(k), 3, 2))
    y, x = around.offset[..., 0], around.offset[..., 1]
    for i in range(3):
        for j in range(i, 3):
            normal[:, i, j] = normal[:, j, i] = np.einsum("nk,nk->n", weighted[i], a[j])
        right[:, i, 0] = np.einsum("nk,nk->n", weighted[i], y)
        right[:, i, 1] = np.einsum("nk,nk->n", weighted[i], x)
    # A window with one row only, or no column, has no solution: its determinant is zero.
    bad = ~np.isfinite(normal).all(axis=(1, 2))
    normal[bad] = 0.0
    bad |= np.linalg.det(normal) < 1e-6
    normal[bad] = np.eye(3)
    inverse = np.linalg.inv(normal)
    inverse[bad] = np.nan
    solved = inverse @ right
    return solved[:, 1], solved[:, 2], solved[:, 0], inverse


def _miss(
    around: Neighbourhood,
    number: tuple[np.ndarray, np.ndarray],
    row: np.ndarray,
    layer: np.ndarray,
    origin: np.ndarray,
) -> np.ndarray:
    """(2, N, K) distance (y, x) of neighbours from their fitted places."""
    k, h = number
    return np.stack(
        [
            around.offset[..., i] - origin[:, i, None] - (k / 3.0) * row[:, i, None] - (h / 2.0) * layer[:, i, None]
            for i in (0, 1)
        ]
    )


@dataclass(frozen=True)
class PositionErrors:
    """(2,) arrays (y, x), nm: beyond the fit's own errors a column's own, and what a scan line shares; all together."""

    jitter: np.ndarray
    line: np.ndarray
    total: np.ndarray


def _position_errors(yx_nm: np.ndarray, sigma_nm: np.ndarray, origin: np.ndarray) -> PositionErrors:
    """What columns really scatter by, from how far each lies off the lattice around it.

    Scan jitter moves all columns of a line; neighbours at the same height that scatter together tell its share.
    """
    off = -origin
    good = np.isfinite(off[:, 0])
    if good.sum() < FEWEST:
        nothing = np.zeros(2)
        return PositionErrors(nothing, nothing, np.median(sigma_nm, axis=0))
    centred = off[good] - np.median(off[good], axis=0)
    # The fit follows the column itself by about a tenth of what it is off: its weight among the neighbours'.
    total = 1.4826 * np.median(np.abs(centred), axis=0) * 1.1
    clipped = np.clip(centred, -3 * total, 3 * total)
    pairs = cKDTree(yx_nm[good]).query_pairs(0.8, output_type="ndarray")
    level = np.abs(yx_nm[good][pairs[:, 0], 0] - yx_nm[good][pairs[:, 1], 0]) < 0.03
    shared = np.zeros(2)
    if level.sum() >= 50:
        i, j = pairs[level].T
        shared = np.clip((clipped[i] * clipped[j]).mean(axis=0) / np.maximum((clipped**2).mean(axis=0), 1e-12), 0, 1)
    own = np.median(sigma_nm[good], axis=0)
    line = np.sqrt(shared) * total
    jitter = np.sqrt(np.maximum(total**2 - line**2 - own**2, 0.0))
    return PositionErrors(jitter, line, np.maximum(total, own))


def _design(inverse: np.ndarray, k: np.ndarray, h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N, 2, K) linear map from the neighbours' positions to the row and the layer vector."""
    part = inverse[:, 1:, :, None]
    return np.asarray(
        weight[:, None] * (part[:, :, 0] + part[:, :, 1] * (k / 3.0)[:, None] + part[:, :, 2] * (h / 2.0)[:, None])
    )


def _covariance(design: np.ndarray, around: Neighbourhood, sigma_nm: np.ndarray, error: PositionErrors) -> np.ndarray:
    """(N, 4, 4) covariance of (row y, row x, layer y, layer x) for independent and for line errors of the columns."""
    n = len(design)
    out = np.zeros((n, 4, 4))
    variance = sigma_nm[around.index] ** 2 + error.jitter**2
    height = np.round(around.offset[..., 0] / LINE_NM).astype(int)
    low = height.min()
    lines = int(height.max() - low) + 1
    bins = (np.arange(n)[:, None] * lines + height - low).ravel()
    sums = [np.bincount(bins, np.nan_to_num(design[:, v]).ravel(), n * lines).reshape(n, lines) for v in (0, 1)]
    for axis in (0, 1):
        for u in (0, 1):
            for v in (0, 1):
                value = (design[:, u] * design[:, v] * variance[..., axis]).sum(axis=1)
                value = value + error.line[axis] ** 2 * (sums[u] * sums[v]).sum(axis=1)
                out[:, 2 * u + axis, 2 * v + axis] = value
    return out
