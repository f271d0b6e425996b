"""Errors of scan lines, read off the lattice: jitter and mains interference are the same for all columns at one height.

The columns of a few nanometres of a crystal's row stand on one line at equal distances, whatever the phase and the
stacking. Line errors move each by what the beam did at its height, and every row of the image that passes there says
the same: thousands of columns tell a displacement that depends on the height alone. What they can not tell (an affine
distortion; all of it, where the rows of the crystal run along the scan lines) stays.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_matrix, csr_matrix, diags, identity
from scipy.sparse.csgraph import connected_components

from atomseg.classify.frames import DIRECTION_WIDTH_DEG, Triples, angles_deg, candidate_directions, turn_deg

# Columns of a row that are taken to stand on one line: 3 nm, over which 1 % of strain or 0.2 degrees of bending per
# nanometre leave the line by a few picometres.
LINE_COLUMNS = 12
SHORTEST_LINE = 5
# Rows along the scan lines say nothing about them.
LEAST_SLOPE = 0.08
# Heights at which the displacement is a number of its own, linear in between: a column averages the lines of its own
# height (standard deviation 0.05 nm), so nothing finer is in its position.
NODE_NM = 0.05
# Standard deviations that are tried, nm, of displacements that differ from line to line (jitter) and of smooth ones
# (mains interference), and the length over which the latter change: 1.5 to 4 nm is a period.
JITTER_NM = (0.0003, 0.003, 0.006, 0.012, 0.024)
WAVE_NM = (0.0003, 0.008, 0.016, 0.032)
WAVE_LENGTH_NM = 0.6
# Logarithm of the likelihood that a displacement must win over none: three nats are 20 to 1.
LEAST_EVIDENCE = 3.0
# Fewer columns than this for each height tell too little.
COLUMNS_A_NODE = 2.0
# More than this tell no more: 20 columns of 6 pm of noise leave 1.3 pm in a height.
MOST_COLUMNS_A_NODE = 20.0
# Shorter waves of the displacement are the scan's: no strain of a crystal goes up and down over the whole width of an
# image within 2 nm.
SHORT_NM = 2.0
# A column further off than this many standard deviations is a defect, and counts less and less.
HUBER = 2.0
ROUNDS = 3


@dataclass(frozen=True)
class Lines:
    """Columns on straight pieces of the crystal's rows; a column may stand in several rows."""

    column: np.ndarray  # (K,) index of the column
    line: np.ndarray  # (K,) index of its line
    number: np.ndarray  # (K,) how manieth column of the line it is, about the middle


@dataclass(frozen=True)
class ScanCorrected:
    """Column positions without the displacements that scan lines have in common, (N, 2) each, nm.

    Parameters
    ----------
    all_waves : numpy.ndarray
        Without all that was found: for stackings, which are a third of a period or none.
    short_waves : numpy.ndarray
        Without what changes over heights below `SHORT_NM`: strain that goes with depth below a surface along the scan
        lines displaces all columns of a line alike too, but over more than that.
    """

    all_waves: np.ndarray
    short_waves: np.ndarray


def without_line_errors(yx_nm: np.ndarray, triples: Triples) -> ScanCorrected:
    """Column positions without the displacements that scan lines have in common.

    The displacement is the posterior mean under two normal priors, one for displacements that differ from height to
    height and one for smooth ones (a Matern field of order 3/2, Lindgren et al. 2011,
    10.1111/j.1467-9868.2011.00777.x), whose spreads have the largest marginal likelihood (empirical Bayes). A scan
    without line errors is left alone.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) column positions as imaged; scan lines run along x.
    triples : Triples
        Columns with two neighbours of their row.

    Returns
    -------
    ScanCorrected
        Copies of the input where there are too few columns to tell.
    """
    nodes = int(np.ceil(np.ptp(yx_nm[:, 0]) / NODE_NM)) + 1 if len(yx_nm) else 0
    lines = straight_lines(yx_nm, triples)
    if nodes < 4 or len(lines.column) < COLUMNS_A_NODE * nodes:
        return ScanCorrected(yx_nm.copy(), yx_nm.copy())
    lines = _every(lines, int(np.ceil(len(lines.column) / (MOST_COLUMNS_A_NODE * nodes))))
    at = _hat((yx_nm[:, 0] - yx_nm[:, 0].min()) / NODE_NM, nodes)
    # Heights on the line, not as measured: with those the error of a height would explain itself.
    height = yx_nm[lines.column, 0]
    height = height - _off_line(lines, np.ones(len(height))) @ height - yx_nm[:, 0].min()
    there = _hat(height / NODE_NM, nodes)
    found = np.stack([_displacement(lines, there, yx_nm[lines.column, axis]) for axis in (0, 1)], axis=1)
    # A Gaussian keeps half of a wave that is 5.3 of its standard deviations long.
    short = found - gaussian_filter1d(found, SHORT_NM / 5.3 / NODE_NM, axis=0, mode="nearest")
    return ScanCorrected(yx_nm - at @ found, yx_nm - at @ short)


def straight_lines(yx_nm: np.ndarray, triples: Triples) -> Lines:
    """Pieces of `LINE_COLUMNS` columns of every row that does not run along the scan lines."""
    column, line, number, lines = [], [], [], 0
    angle = angles_deg(triples.vector)
    for direction in candidate_directions(triples, SHORTEST_LINE * LINE_COLUMNS):
        along = np.array([np.sin(np.deg2rad(direction)), np.cos(np.deg2rad(direction))])
        own = turn_deg(angle, direction) < DIRECTION_WIDTH_DEG
        if abs(along[0]) < LEAST_SLOPE or not own.any():
            continue
        pairs = np.concatenate([np.stack([triples.column[own], triples.outer[own, k]], axis=1) for k in (0, 1)])
        graph = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(yx_nm), len(yx_nm)))
        member = np.unique(pairs)
        row = connected_components(graph, directed=False)[1][member]
        order = np.lexsort((yx_nm[member] @ along, row))
        member, row = member[order], row[order]
        first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        place = np.arange(len(row)) - np.repeat(first, np.diff(np.r_[first, len(row)]))
        piece = np.unique(np.stack([row, place // LINE_COLUMNS]), axis=1, return_inverse=True)[1].ravel()
        count = np.bincount(piece)
        long = count[piece] >= SHORTEST_LINE
        middle = np.bincount(piece, place) / count
        column.append(member[long])
        line.append(piece[long] + lines)
        number.append((place - middle[piece])[long])
        lines += len(count)
    if not column:
        return Lines(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    return Lines(np.concatenate(column), np.concatenate(line), np.concatenate(number))


def _every(lines: Lines, step: int) -> Lines:
    """Every so manieth line."""
    keep = lines.line % step == 0
    return Lines(lines.column[keep], lines.line[keep] // step, lines.number[keep])


def _off_line(lines: Lines, weight: np.ndarray) -> csr_matrix:
    """(K, K) matrix that takes values to what they are off the straight line (weighted least squares) of each line."""
    k = np.arange(len(lines.line))
    shape = (len(k), int(lines.line.max()) + 1)
    one = csr_matrix((np.ones(len(k)), (k, lines.line)), shape=shape)
    w0, w1, w2 = (one.T @ (weight * lines.number**p) for p in (0, 1, 2))
    centred = lines.number - (w1 / np.maximum(w0, 1e-12))[lines.line]
    spread = np.maximum((w2 - w1**2 / np.maximum(w0, 1e-12)), 1e-12)
    slope = csr_matrix((centred, (k, lines.line)), shape=shape)
    mean = one @ diags(1 / np.maximum(w0, 1e-12)) @ one.T
    tilt = slope @ diags(1 / spread) @ slope.T
    return csr_matrix(identity(len(k)) - (mean + tilt) @ diags(weight))


def _hat(position: np.ndarray, nodes: int) -> csr_matrix:
    """(N, nodes) weights of linear interpolation."""
    position = np.clip(position, 0.0, nodes - 1.0)
    low = np.minimum(position.astype(int), nodes - 2)
    share = position - low
    row = np.arange(len(position))
    values, columns = np.concatenate([1 - share, share]), np.concatenate([low, low + 1])
    return csr_matrix((values, (np.concatenate([row, row]), columns)), shape=(len(position), nodes))


def _displacement(lines: Lines, there: csr_matrix, position: np.ndarray) -> np.ndarray:
    """(nodes,) displacement at the heights: robust, its spreads learned; 0 where the image does not call for one."""
    nodes = there.shape[1]
    # A column in rows of several directions is one measurement, not several.
    share = 1.0 / np.bincount(lines.column)[lines.column]
    best, robust, spreads = np.zeros(nodes), np.ones(len(position)), None
    for _ in range(ROUNDS):
        off = _off_line(lines, robust)
        seen, bend = off @ position, csr_matrix(off @ there)
        rest = seen - bend @ best
        sigma = max(1.4826 * float(np.median(np.abs(rest))), 1e-5)
        robust = np.minimum(1.0, HUBER * sigma / np.maximum(np.abs(rest), 1e-9))
        weight = share * robust / sigma**2
        told = Told(_banded(csr_matrix(bend.T @ bend.multiply(weight[:, None]))), bend.T @ (weight * seen))
        spreads = _likeliest(told) if spreads is None else spreads
        if spreads == (JITTER_NM[0], WAVE_NM[0]):
            return np.zeros(nodes)
        best = _posterior(told, *spreads)[0]
    return best


@dataclass(frozen=True)
class Told:
    """What the columns tell of the displacement: normal matrix as lower bands, (bands, nodes), and right-hand side."""

    bands: np.ndarray
    force: np.ndarray


def _banded(matrix: csr_matrix) -> np.ndarray:
    """Lower bands of a symmetric matrix."""
    entries = matrix.tocoo()
    below = entries.row - entries.col
    keep = below >= 0
    out = np.zeros((int(below.max(initial=0)) + 1, matrix.shape[0]))
    out[below[keep], entries.col[keep]] = entries.data[keep]
    return out


def _likeliest(told: Told) -> tuple[float, float]:
    """Spreads of jitter and wave, nm, of the largest marginal likelihood; the smallest where nothing asks for more."""
    evidence: dict[tuple[float, float], float] = {}

    def tried(spreads: tuple[float, float]) -> float:
        if spreads not in evidence:
            evidence[spreads] = _posterior(told, *spreads)[1]
        return evidence[spreads]

    none = (JITTER_NM[0], WAVE_NM[0])
    best = none
    for _ in range(2):
        best = max(((best[0], wave) for wave in WAVE_NM), key=tried)
        best = max(((jitter, best[1]) for jitter in JITTER_NM), key=tried)
    return best if tried(best) - tried(none) > LEAST_EVIDENCE else none


def _posterior(told: Told, jitter_nm: float, wave_nm: float) -> tuple[np.ndarray, float]:
    """Posterior mean of the displacement, and the logarithm of the marginal likelihood up to a constant.

    Jitter and wave are unknowns side by side, taking turns in the order of the heights: the system stays banded.
    """
    nodes = len(told.force)
    kappa = np.sqrt(3.0) / WAVE_LENGTH_NM
    step = diags([-np.ones(nodes), np.ones(nodes - 1)], [0, 1], shape=(nodes - 1, nodes)) / NODE_NM
    operator = kappa**2 * identity(nodes) + step.T @ step
    wave = _banded(csr_matrix(operator @ operator * (NODE_NM / (4.0 * kappa**3 * wave_nm**2))))
    prior = np.zeros((max(2 * len(told.bands), 6), 2 * nodes))
    prior[0, 0::2] = jitter_nm**-2
    prior[0:6:2, 1::2] = wave
    system = prior.copy()
    for k, band in enumerate(told.bands):
        # Element (i, i - k) of the columns' matrix stands between either unknown of height i and either of i - k.
        system[2 * k, 0::2] += band
        system[2 * k, 1::2] += band
        system[2 * k + 1, 0::2] += band
        if k:
            system[2 * k - 1, 1::2] += band
    factor = cholesky_banded(system, lower=True)
    force = np.repeat(told.force, 2)
    mean = cho_solve_banded((factor, True), force)
    log_det = 2 * float(np.log(factor[0]).sum() - np.log(cholesky_banded(prior[:6], lower=True)[0]).sum())
    return mean[0::2] + mean[1::2], 0.5 * (float(force @ mean) - log_det)
