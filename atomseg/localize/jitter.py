"""Line jitter: every scan row a little off its place, seen by all columns that it crosses, and taken out of them.

A scan row crosses dozens of columns. Where it was displaced, all of them leave the same residual, so the displacements
of the rows can be told from the positions of the columns, except for what is smooth over a column's height: that part
stays in the positions and is added to their errors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.model import AMPLITUDE, Fit, Placed, derivatives, place
from atomseg.localize.solve import Normal, Problem
from atomseg.localize.windows import COUNTS, LINEAR, MONOMIALS, QUADRATIC, QUARTIC, Grid, disc, moment_matrix
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
    """What each column says about the k rows that it covers, for displacements along one axis; lengths in units.

    `first` (n,) row of the image at which a column's rows begin, `answer` (n, k) how its position answers to a
    displacement of each, `system` (height, k) upper diagonals of the rows' normal matrix with the columns' parameters
    eliminated, `score` (height,) its right-hand side.
    """

    first: np.ndarray
    answer: np.ndarray
    system: np.ndarray
    score: np.ndarray


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
    nearest = cKDTree(fit.yx_nm.cpu().numpy()).query(fit.yx_nm[chosen].cpu().numpy(), k=2)[0][:, 1]
    witness = nearest > CLEAR_OF_NEIGHBOURS * problem.radius_nm[chosen].cpu().numpy()
    if witness.sum() < LEAST_COLUMNS:
        return Jitter(move, variance, (0.0, 0.0))
    asked = torch.from_numpy(witness).to(chosen.device)
    for axis, rows in enumerate(_all_rows(problem, fit, left, normal, chosen, asked)):
        rows.system[:, 0] += RIDGE * rows.system[:, 0].max()
        prior = _prior(rows.system, rows.score, fit.unit_nm)
        if prior is None:
            continue
        shift, covariance = _solve_rows(rows, prior)
        k = np.arange(rows.answer.shape[1])
        answer = rows.answer
        move[index, axis] = np.einsum("nk,nk->n", answer, shift[rows.first[:, None] + k]) * fit.unit_nm
        variance[index, axis] = (answer[:, None] @ covariance @ answer[:, :, None])[:, 0, 0] * fit.unit_nm**2
        spreads[axis] = prior[0] * fit.unit_nm
    return Jitter(move, variance, (spreads[0], spreads[1]))


def _all_rows(
    problem: Problem, fit: Fit, left: torch.Tensor, normal: Normal, chosen: torch.Tensor, asked: torch.Tensor
) -> list[_Rows]:
    """What the `chosen` columns, and of them only the `asked` (bool), say about displacements along y and along x."""
    canvas, columns, radius_nm = problem.canvas, fit.take(chosen), problem.radius_nm[chosen]
    grid = disc(canvas, float(radius_nm.max()), fit.unit_nm, corners=True)
    placed, by_gaussian = place(canvas, columns), derivatives(columns, place(canvas, columns).about)
    radius2 = (radius_nm[:, None] / fit.unit_nm).float() ** 2
    inverse = torch.linalg.inv(normal.curvature[chosen].double())
    gradient = normal.gradient[chosen].double()
    reach = int(torch.div(grid.flat.max() + canvas.image.shape[1] // 2, canvas.image.shape[1], rounding_mode="floor"))
    k, height, device = 2 * reach + 1, canvas.shape[0], left.device
    first = torch.round(columns.yx_nm[:, 0] / canvas.step_nm[0]).long() - reach
    double = {"dtype": torch.float64, "device": device}
    answers = [torch.zeros(len(columns), k, **double) for _ in range(AMPLITUDE)]
    scores = [torch.zeros(height + 2 * k, **double) for _ in range(AMPLITUDE)]
    information = [torch.zeros(height + 2 * k, **double) for _ in range(AMPLITUDE)]
    # Columns that begin at the same row say it about the same rows: their matrices are added up before they are sorted in.
    taken = [torch.zeros(height + 2 * k, k * k, **double) for _ in range(AMPLITUDE)]

    def sums(some: slice) -> tuple[slice, list[tuple[torch.Tensor, torch.Tensor]]]:
        return some, _row_sums(problem.weight, left, placed.take(some), by_gaussian[some], radius2[some], grid, k)

    for some, both in in_order(sums, grid.chunks(len(columns)), problem.workers):
        at = (first[some, None] + k + torch.arange(k, device=device))[asked[some]].reshape(-1)
        for axis, (coupling, score) in enumerate(both):
            solved = inverse[some] @ coupling
            # How each column's position along the axis answers to a displacement of each row, per unit.
            answers[axis][some] = -solved[:, axis]
            eliminated = (coupling.transpose(1, 2) @ solved)[asked[some]]
            # The fit ends within a tolerance; what is left of its gradient is not the rows' doing.
            told = score - (gradient[some, None] @ solved)[:, 0]
            scores[axis].index_add_(0, at, told[asked[some]].reshape(-1))
            information[axis].index_add_(0, at, -coupling[asked[some], axis].reshape(-1))
            taken[axis].index_add_(0, first[some][asked[some]] + k, eliminated.reshape(-1, k * k))
    return [
        _Rows(
            first=first.cpu().numpy(),
            answer=answers[axis].cpu().numpy(),
            system=_band(information[axis].cpu().numpy(), taken[axis].view(-1, k, k).cpu().numpy())[k : k + height],
            score=scores[axis][k : k + height].cpu().numpy(),
        )
        for axis in range(AMPLITUDE)
    ]


def _row_sums(
    weights: torch.Tensor,
    left: torch.Tensor,
    placed: Placed,
    by_gaussian: torch.Tensor,
    radius2: torch.Tensor,
    grid: Grid,
    k: int,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Coupling (n, 9, k) of each row's displacement to the column's parameters, and score (n, k), along y and x.

    Sums along a row are products with powers of x; what they are multiplied with across rows is the same for all pixels
    of one.
    """
    shape, square = (len(radius2), len(grid)), (len(radius2), k, -1)
    index = placed.index(grid)
    weight = weights.index_select(0, index).view(shape)
    weight *= grid.radius2 <= radius2
    g = placed.gaussian(grid)
    difference = left.index_select(0, index).view(shape).sub_(placed.background(grid))
    light = weight * g
    along_x = grid.powers(4).view(k, -1, QUARTIC)[0][:, [MONOMIALS.index((0, p)) for p in range(5)]]
    along_y = grid.powers(4).view(k, -1, QUARTIC)[:, 0][:, [MONOMIALS.index((p, 0)) for p in range(5)]]

    def moments(values: torch.Tensor, degree: int) -> torch.Tensor:
        """(n, k, m) sums of monomials in every row."""
        in_row = values.view(square) @ along_x[:, : degree + 1]
        wanted = MONOMIALS[: COUNTS[degree]]
        return in_row[:, :, [q for _, q in wanted]] * along_y[:, [p for p, _ in wanted]]

    by_level = placed.about[:, :LINEAR, :LINEAR]
    quartic = moment_matrix(moments(light * g, 4), QUADRATIC, QUADRATIC)
    cubic = moment_matrix(moments(light, 3), QUADRATIC, LINEAR)
    seen = moments(light * difference, 2)
    sums = []
    for axis in range(AMPLITUDE):
        # A pixel moved forward sees what a column moved back would show: the minus.
        slope = -by_gaussian[:, axis]
        by_light = torch.einsum("nr,nkrc->nkc", slope, quartic) @ by_gaussian.transpose(1, 2)
        by_pixel = torch.einsum("nr,nkrc->nkc", slope, cubic) @ by_level.transpose(1, 2)
        coupling = torch.cat([by_light, by_pixel], dim=2).transpose(1, 2).double()
        sums.append((coupling, (seen @ slope[:, :, None])[:, :, 0].double()))
    return sums


def _band(information: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """(rows, k) upper diagonals of the rows' normal matrix: what they show, less what columns may take of it.

    `information` (rows,), and `taken` (rows, k, k) the matrices of the columns that begin at each row.
    """
    rows, k = taken.shape[:2]
    system = np.zeros((rows + k, k))
    system[:rows, 0] = information
    for row in range(k):
        for distance in range(k - row):
            system[row : row + rows, distance] -= taken[:, row, row + distance]
    return system[:rows]


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


def _solve_rows(rows: _Rows, prior: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of every row (padded so that all columns' rows exist) and its (n, k, k) covariance by column."""
    system, score = rows.system, rows.score
    height, k = len(score), rows.answer.shape[1]
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
