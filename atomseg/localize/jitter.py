"""Line jitter: every scan row a little off its place, seen by all columns that it crosses, and taken out of them.

A scan row crosses dozens of columns. Where it was displaced, all of them leave the same residual, so the displacements
of the rows can be told from the positions of the columns, except for what is smooth over a column's height: that part
stays in the positions and is added to their errors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.model import AMPLITUDE, LEVEL, N_PARAMETERS, Fit, background, derivatives, gaussian
from atomseg.localize.solve import Normal, Problem
from atomseg.localize.windows import LINEAR, Grid, anchors, disc, shift_matrix
from atomseg.localize.workers import in_order

# Jitter as a first-order autoregressive process: standard deviations (nm) and correlations of successive rows to choose
# from. Micrographs have 0 to 40 pm; without a line synchronization rows are correlated up to 0.9.
SPREADS_NM = np.geomspace(0.0003, 0.06, 40)
CORRELATIONS = (0.0, 0.4, 0.7, 0.9)
# Gain in log likelihood from which jitter is believed. Two parameters reach 4.6 by chance once in a hundred images.
LEAST_GAIN = 6.0
# Smooth displacements are the columns' own: their eigenvalues are zero, and stay above rounding errors with this share.
RIDGE = 1e-6
# Rows are solved in blocks; what is further apart than the overlap shares no column and next to no correlation.
BLOCK_ROWS, OVERLAP_ROWS = 384, 64
# A column whose nearest neighbour is closer than this many window radii shares bright pixels with it. Counted twice
# they would look like evidence, so such columns are moved with their rows but not asked about them.
CLEAR_OF_NEIGHBOURS = 1.4
# Fewer columns say nothing about rows.
LEAST_COLUMNS = 20


@dataclass(frozen=True)
class Jitter:
    """What line jitter did to the columns.

    Parameters
    ----------
    move_nm : numpy.ndarray
        (N, 2) to add to the positions (y, x), nm.
    variance_nm2 : numpy.ndarray
        (N, 2) to add to their variances, nm².
    spread_nm : tuple of float
        Standard deviation of the rows' displacement along y and x, nm; 0 where none was seen.
    """

    move_nm: np.ndarray
    variance_nm2: np.ndarray
    spread_nm: tuple[float, float]


@dataclass(frozen=True)
class _Rows:
    """What each column says about the rows that it covers, for displacements along one axis; lengths in units.

    `first` (n,) row of the image at which a column's k rows begin, `information` (n, k) squares of the slopes, `score`
    (n, k) slopes times residual, `coupling` (n, 9, k) slopes times the derivatives of the column's own parameters.
    """

    first: np.ndarray
    information: np.ndarray
    score: np.ndarray
    coupling: np.ndarray


def line_jitter(problem: Problem, fit: Fit, left: torch.Tensor, normal: Normal, usable: torch.Tensor) -> Jitter:
    """Displacement of the scan rows and what it means for the columns.

    The image near a column is its model, plus derivatives times changes of its parameters, plus the model's slope times
    the displacement of the row. The columns' parameters are eliminated, the rows are solved for with an autoregressive
    prior whose spread and correlation have the largest marginal likelihood, and both are put back into the positions.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights.
    fit : Fit
        The end of the joint fit.
    left : torch.Tensor
        Flat image minus all Gaussians.
    normal : Normal
        Its normal equations, prior included.
    usable : torch.Tensor
        (N,) bool, columns whose fit may be believed.
    """
    n = len(fit)
    move, variance, spreads = np.zeros((n, 2)), np.zeros((n, 2)), [0.0, 0.0]
    chosen = usable.nonzero()[:, 0]
    if len(chosen) < LEAST_COLUMNS:
        return Jitter(move, variance, (0.0, 0.0))
    index = chosen.cpu().numpy()
    gradient = normal.gradient[chosen].double().cpu().numpy()
    inverse = torch.linalg.inv(normal.curvature[chosen].double()).cpu().numpy()
    nearest = cKDTree(fit.yx_nm.cpu().numpy()).query(fit.yx_nm[chosen].cpu().numpy(), k=2)[0][:, 1]
    witness = nearest > CLEAR_OF_NEIGHBOURS * problem.radius_nm[chosen].cpu().numpy()
    if witness.sum() < LEAST_COLUMNS:
        return Jitter(move, variance, (0.0, 0.0))
    for axis, rows in enumerate(_all_rows(problem, fit.take(chosen), left, problem.radius_nm[chosen])):
        # How each column's position along the axis answers to a displacement of each row, per unit.
        solved = inverse @ rows.coupling
        answer = -solved[:, axis]
        eliminated = rows.coupling.transpose(0, 2, 1) @ solved
        # The fit ends within a tolerance; what is left of its gradient is not the rows' doing.
        rest = (gradient[:, None] @ solved)[:, 0]
        told = _Rows(rows.first, rows.information, rows.score - rest, rows.coupling)
        system, score = _band(told, eliminated, problem.canvas.shape[0], witness)
        system[:, 0] += RIDGE * system[:, 0].max()
        prior = _prior(system, score, fit.unit_nm)
        if prior is None:
            continue
        shift, covariance = _solve_rows(system, score, prior, rows)
        k = np.arange(rows.information.shape[1])
        move[index, axis] = np.einsum("nk,nk->n", answer, shift[rows.first[:, None] + k]) * fit.unit_nm
        variance[index, axis] = (answer[:, None] @ covariance @ answer[:, :, None])[:, 0, 0] * fit.unit_nm**2
        spreads[axis] = prior[0] * fit.unit_nm
    return Jitter(move, variance, (spreads[0], spreads[1]))


def _all_rows(problem: Problem, fit: Fit, left: torch.Tensor, radius_nm: torch.Tensor) -> tuple[_Rows, _Rows]:
    """Sums over each row of each column's window, for displacements along y and x; rows of the padded canvas."""
    canvas = problem.canvas
    grid = disc(canvas, float(radius_nm.max()), fit.unit_nm)
    width = canvas.image.shape[1]
    # Flat offsets are row * width + column with columns on both sides of zero.
    height = torch.div(grid.flat + width // 2, width, rounding_mode="floor")
    reach = int(height.max())
    indicator = torch.nn.functional.one_hot((height + reach).long(), 2 * reach + 1).float()
    parts: tuple[list[list[np.ndarray]], list[list[np.ndarray]]] = ([], [])

    def sums(rows: slice) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        return _row_sums(problem, fit.take(rows), left, radius_nm=radius_nm[rows], grid=grid, indicator=indicator)

    chunks = [slice(start, start + grid.chunk) for start in range(0, len(fit), grid.chunk)]
    for both in in_order(sums, chunks, problem.workers):
        for part, axis in zip(parts, both, strict=True):
            part.append([t.double().cpu().numpy() for t in axis])
    first = torch.round(fit.yx_nm[:, 0] / canvas.step_nm[0]).long().cpu().numpy() - reach
    y, x = (_Rows(first, *(np.concatenate(c) for c in zip(*part, strict=True))) for part in parts)
    return y, x


def _row_sums(
    problem: Problem,
    fit: Fit,
    left: torch.Tensor,
    *,
    radius_nm: torch.Tensor,
    grid: Grid,
    indicator: torch.Tensor,
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Information, score and coupling of a chunk of columns, along y and along x."""
    base, shift = anchors(problem.canvas, fit.yx_nm, fit.unit_nm)
    about = shift_matrix(shift)
    index, shape = (base + grid.flat).reshape(-1), (len(fit), len(grid))
    weight = problem.weight.index_select(0, index).view(shape)
    weight *= grid.radius2 <= (radius_nm / fit.unit_nm).float()[:, None] ** 2
    residual = left.index_select(0, index).view(shape) - background(fit, about, grid)
    powers = grid.powers(2).T
    jacobian = torch.empty(len(fit), N_PARAMETERS, len(grid), device=weight.device)
    jacobian[:, :LEVEL] = (derivatives(fit, about) @ powers) * gaussian(fit, about, grid)[:, None]
    jacobian[:, LEVEL:] = about[:, :LINEAR, :LINEAR] @ powers[:LINEAR]
    sums = []
    for axis in range(AMPLITUDE):
        # A pixel moved forward sees what a column moved back would show.
        slope = -weight * jacobian[:, axis]
        sums.append(
            (
                (-slope * jacobian[:, axis]) @ indicator,
                (slope * residual) @ indicator,
                (slope[:, None] * jacobian) @ indicator,
            )
        )
    return sums


def _band(rows: _Rows, eliminated: np.ndarray, height: int, witness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(height, k) upper diagonals of the rows' normal matrix, columns eliminated, and (height,) right-hand side."""
    k = rows.information.shape[1]
    local = np.arange(k)
    system, score = np.zeros((height + 2 * k) * k), np.zeros(height + 2 * k)
    at = rows.first[witness, None] + k + local
    np.add.at(score, at, rows.score[witness])
    np.add.at(system, at * k, rows.information[witness])
    asked = eliminated[witness]
    for distance in range(k):
        pair = asked[:, local[: k - distance], local[distance:]]
        np.add.at(system, at[:, : k - distance] * k + distance, -pair)
    return system.reshape(-1, k)[k : k + height], score[k : k + height]


def _dense(system: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of the band as a symmetric matrix."""
    size = stop - start
    matrix = np.zeros((size, size))
    for distance in range(min(system.shape[1], size)):
        values = system[start : stop - distance, distance]
        matrix[np.arange(size - distance), np.arange(distance, size)] = values
        matrix[np.arange(distance, size), np.arange(size - distance)] = values
    return matrix


def _correlated(size: int, spread: float, correlation: float) -> np.ndarray:
    """Covariance of an autoregressive process."""
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    return np.asarray(spread**2 * correlation**distance)


def _prior(system: np.ndarray, score: np.ndarray, unit_nm: float) -> tuple[float, float] | None:
    """Spread (units) and correlation with the largest marginal likelihood; None when there is no jitter to be seen."""
    height = len(score)
    size = min(BLOCK_ROWS // 2, height)
    starts = np.linspace(0, height - size, min(4, max(1, height // size))).astype(int)
    variances = (SPREADS_NM[:, None] / unit_nm) ** 2
    best, gain = None, LEAST_GAIN
    for correlation in CORRELATIONS:
        # Evidence of a linear model whose noise has its own normal matrix A as covariance, for K = s² L L^T:
        # with L^T A L = V diag(e) V^T and z = V^T L^T score, ln p = sum over s² z² / (1 + s² e) - ln(1 + s² e), halved.
        root = np.linalg.cholesky(_correlated(size, 1.0, correlation))
        likelihood = np.zeros(len(SPREADS_NM))
        for start in starts:
            matrix = root.T @ _dense(system, start, start + size) @ root
            # Torch's, which keeps to the one thread that it is given here.
            value, vector = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(matrix)))
            scaled = variances * np.maximum(value, 0.0)
            power = variances * (vector.T @ (root.T @ score[start : start + size])) ** 2
            likelihood += 0.5 * (power / (1.0 + scaled) - np.log1p(scaled)).sum(1)
        if likelihood.max() > gain:
            best, gain = (float(SPREADS_NM[likelihood.argmax()] / unit_nm), correlation), float(likelihood.max())
    return best


def _solve_rows(
    system: np.ndarray, score: np.ndarray, prior: tuple[float, float], rows: _Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of every row (padded so that all columns' rows exist) and its (n, k, k) covariance by column."""
    height, k = len(score), rows.information.shape[1]
    # Rows outside the image, which windows at the border reach, are not displaced.
    shift = np.zeros(height + 2 * k)
    covariance = np.zeros((len(rows.first), k, k))
    centre = rows.first + k // 2
    step = BLOCK_ROWS - 2 * OVERLAP_ROWS
    for start in range(0, height, step):
        low, high = max(0, start - OVERLAP_ROWS), min(height, start + step + OVERLAP_ROWS)
        kernel = _correlated(high - low, *prior)
        inner = np.eye(high - low) + kernel @ _dense(system, low, high)
        posterior = torch.linalg.solve(torch.from_numpy(inner), torch.from_numpy(kernel)).numpy()
        stop = min(start + step, height)
        shift[start:stop] = (posterior @ score[low:high])[start - low : stop - low]
        mine = np.flatnonzero((centre >= start) & (centre < stop))
        at = rows.first[mine, None] + np.arange(k) - low
        known = (at >= 0) & (at < high - low)
        at = np.where(known, at, 0)
        both = known[:, :, None] & known[:, None, :]
        covariance[mine] = np.where(both, posterior[at[:, :, None], at[:, None, :]], 0.0)
    # Negative row numbers of windows at the upper border wrap to the padding at the end, which is zero.
    return shift, covariance
