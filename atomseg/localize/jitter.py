"""Line jitter: every scan row a little off its place, seen by all columns that it crosses, and taken out of them.

A scan row crosses dozens of columns. Where it was displaced, all of them leave the same residual, so the displacements
of the rows can be told from the positions of the columns, except for what is smooth over a column's height: that part
stays in the positions and is added to their errors.
"""

from dataclasses import dataclass

import numpy as np
import torch

from atomseg.localize.model import AMPLITUDE, Fit, Placed, derivatives, place, whole_windows
from atomseg.localize.normal import Normal, Problem
from atomseg.localize.windows import COUNTS, LINEAR, MONOMIALS, QUARTIC, Grid, disc, polynomial_products
from atomseg.localize.workers import in_order

# Jitter as a first-order autoregressive process: standard deviations (nm) and correlations of successive rows to choose
# from. Micrographs have 0 to 40 pm; without a line synchronization rows are correlated up to 0.9.
SPREADS_NM = np.geomspace(0.0003, 0.06, 40)
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.9)
# Gain in log likelihood from which jitter is believed. Two parameters reach 4.6 by chance once in a hundred images.
LEAST_GAIN = 6.0
# Directions of the common misfit with less than this share of the largest curvature are the columns' own.
COMMON_SHARE = 1e-4
# Displacements of rows of which columns show less than the first share of what they show of the clearest do not tell
# how much jitter there is, and those below the second are not looked for: what the residuals hold of them is the
# model's misfit as much as the scan's, and with a slow prior it would take columns along by 15 pm.
TRUSTED_SHARE, SEEN_SHARE = 0.05, 0.01
# Rows are solved in blocks; what is further apart than the overlap shares no column and next to no correlation.
BLOCK_ROWS, OVERLAP_ROWS = 256, 64
# Rows of the blocks that are asked how much jitter there is, and how many blocks at most.
PRIOR_ROWS, PRIOR_BLOCKS = 128, 6
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
    # Windows cut off by the border show half of a column's misfit, which nothing on the other side cancels.
    witness = whole_windows(problem.canvas, fit.yx_nm[chosen], problem.radius_nm[chosen])
    if witness.sum() < LEAST_COLUMNS:
        return Jitter(move, variance, (0.0, 0.0))
    for axis, rows in enumerate(_all_rows(problem, fit, left, normal=normal, chosen=chosen, asked=witness)):
        prior = _prior(rows.system, rows.score, fit.unit_nm, problem.workers)
        if prior is None:
            continue
        shift, spread = _solve_rows(rows, prior, problem.workers)
        k = np.arange(rows.answer.shape[1])
        move[index, axis] = np.einsum("nk,nk->n", rows.answer, shift[rows.first[:, None] + k]) * fit.unit_nm
        variance[index, axis] = spread * fit.unit_nm**2
        spreads[axis] = prior[0] * fit.unit_nm
    return Jitter(move, variance, (spreads[0], spreads[1]))


@dataclass(frozen=True)
class _Sight:
    """The columns that are moved with their rows.

    `first` (n,) row at which their k rows begin, `placed`, `radius2` (n, 1) squared radius of their windows, `gradient`
    (n, 9) and `root` (n, 9, 9) with root root^T the inverse of the curvature; along y and along x, as polynomials,
    `slope` (n, 6) of the light by a displacement of the row, and its products `by_light` (n, 6, 15) and `by_pixel`
    (n, 3, 10) with the derivatives of the light and of the background.
    """

    first: torch.Tensor
    placed: Placed
    radius2: torch.Tensor
    gradient: torch.Tensor
    root: torch.Tensor
    slope: list[torch.Tensor]
    by_light: list[torch.Tensor]
    by_pixel: list[torch.Tensor]


def _sight(problem: Problem, fit: Fit, normal: Normal, chosen: torch.Tensor, reach: int) -> _Sight:
    """What `_row_sums` needs of the `chosen` columns, whose windows reach over so many rows."""
    columns = fit.take(chosen)
    placed = place(problem.canvas, columns)
    curvature = normal.curvature[chosen].double()
    scale = torch.diagonal(curvature, dim1=1, dim2=2).clamp_min(1e-30).rsqrt()
    upper = torch.linalg.cholesky(curvature * scale[:, :, None] * scale[:, None, :]).transpose(1, 2)
    identity = torch.eye(upper.shape[1], dtype=upper.dtype, device=upper.device).expand_as(upper)
    by_gaussian, by_level = derivatives(columns, placed.about), placed.about[:, :LINEAR, :LINEAR]
    # A pixel moved forward sees what a column moved back would show: the minus.
    slopes = [-by_gaussian[:, axis] for axis in range(AMPLITUDE)]
    return _Sight(
        first=torch.round(columns.yx_nm[:, 0] / problem.canvas.step_nm[0]).long() - reach,
        placed=placed,
        radius2=(problem.radius_nm[chosen, None] / fit.unit_nm).float() ** 2,
        gradient=normal.gradient[chosen].double(),
        root=scale[:, :, None] * torch.linalg.solve_triangular(upper, identity, upper=True),
        slope=slopes,
        by_light=[polynomial_products(slope, by_gaussian) for slope in slopes],
        by_pixel=[polynomial_products(slope, by_level) for slope in slopes],
    )


def _all_rows(
    problem: Problem, fit: Fit, left: torch.Tensor, *, normal: Normal, chosen: torch.Tensor, asked: np.ndarray
) -> list[_Rows]:
    """What the `chosen` columns, and of them only the `asked` (bool), say about displacements along y and along x."""
    grid = disc(problem.canvas, float(problem.radius_nm[chosen].max()), fit.unit_nm, corners=True)
    k, height = grid.rows, problem.canvas.shape[0]
    sight = _sight(problem, fit, normal, chosen, k // 2)

    def sums(some: slice) -> list[np.ndarray]:
        parts = []
        for axis, (coupling, score) in enumerate(_row_sums(problem.weight, left, sight, some, grid)):
            root = sight.root[some]
            shown = root.transpose(1, 2) @ coupling
            # How each column's position along the axis answers to a displacement of each row, per unit.
            answer = -(root[:, axis, None] @ shown)[:, 0]
            # The fit ends within a tolerance; what is left of its gradient is not the rows' doing.
            rest = ((sight.gradient[some, None] @ root) @ shown)[:, 0]
            parts += [answer, score - rest, -coupling[:, axis], shown]
        return [part.cpu().numpy() for part in parts]

    chunks = in_order(sums, grid.chunks(len(chosen)), problem.workers)
    parts = [np.concatenate(values) for values in zip(*chunks, strict=True)]
    first, rows = sight.first.cpu().numpy(), []
    for answer, score, information, shown in (parts[:4], parts[4:]):
        at = (first[asked, None] + k + np.arange(k)).ravel()
        seen = np.bincount(at, information[asked].ravel(), minlength=height + 2 * k)
        system = _band(seen, shown[asked], first[asked] + k)[k : k + height]
        own = _without_common(information[asked], score[asked], shown[asked])
        told = np.bincount(at, own.ravel(), minlength=height + 2 * k)[k : k + height]
        rows.append(_Rows(first=first, answer=answer, system=system, score=told))
    return rows


def _row_sums(
    weights: torch.Tensor, left: torch.Tensor, sight: _Sight, some: slice, grid: Grid
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Coupling (n, 9, k) of each row's displacement to the column's parameters, and score (n, k), along y and x.

    Sums along a row are products with powers of x; what they are multiplied with across rows is the same for all pixels
    of one.
    """
    placed, radius2 = sight.placed.take(some), sight.radius2[some]
    k = grid.rows
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

    quartic, cubic, seen = moments(light * g, 4), moments(light, 3), moments(light * difference, 2)
    sums = []
    for slope, by_light, by_pixel in zip(sight.slope, sight.by_light, sight.by_pixel, strict=True):
        coupling = torch.cat([by_light[some] @ quartic.transpose(1, 2), by_pixel[some] @ cubic.transpose(1, 2)], dim=1)
        sums.append((coupling.double(), (seen @ slope[some, :, None])[:, :, 0].double()))
    return sums


def _without_common(information: np.ndarray, score: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """(n, k) scores without what all columns show at the same height about their centres.

    That is the misfit of their common shape. Inside the image it cancels, since every row meets columns at all heights,
    but at the ends of the crystal it would push rows that nothing holds: smooth displacements cost next to nothing.
    """
    k = score.shape[1]
    flat = shown.reshape(-1, k)
    curvature = np.diag(information.sum(0)) - flat.T @ flat
    value, vector = np.linalg.eigh(curvature)
    # Displacements that the columns' own parameters take leave no curvature.
    held = value > COMMON_SHARE * value.max()
    common = vector[:, held] @ ((vector[:, held].T @ score.sum(0)) / value[held])
    taken = np.einsum("npk,np->nk", shown, shown @ common)
    return np.asarray(score - information * common + taken)


def _band(information: np.ndarray, shown: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(rows, k) upper diagonals of the rows' normal matrix: what they show, less what columns may take of it.

    `information` (rows,), `shown` (n, 9, k) displacements as each column's parameters take them, scaled to unit errors,
    `first` (n,) row at which a column's rows begin. Columns that begin at the same row are one matrix product.
    """
    rows, k = len(information), shown.shape[2]
    taken = np.zeros((rows, k, k))
    order = np.argsort(first, kind="stable")
    begin = np.flatnonzero(np.diff(first[order], prepend=-1))
    for start, stop in zip(begin, [*begin[1:], len(order)], strict=True):
        together = shown[order[start:stop]].reshape(-1, k)
        taken[first[order[start]]] = together.T @ together
    system = np.zeros((rows + k, k))
    system[:rows, 0] = information
    for row in range(k):
        for distance in range(k - row):
            system[row : row + rows, distance] -= taken[:, row, row + distance]
    return system[:rows]


@dataclass(frozen=True)
class _Trusted:
    """Displacements of n rows that columns tell: `value` (r,) curvature, `vector` (n, r) rows, `score` (r,)."""

    value: np.ndarray
    vector: np.ndarray
    score: np.ndarray


def _dense(system: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of the band as a symmetric matrix."""
    size = stop - start
    matrix = np.zeros((size, size))
    for distance in range(min(system.shape[1], size)):
        values = system[start : stop - distance, distance]
        matrix[np.arange(size - distance), np.arange(distance, size)] = values
        matrix[np.arange(distance, size), np.arange(size - distance)] = values
    return matrix


def _trusted(matrix: np.ndarray, score: np.ndarray, share: float) -> _Trusted:
    """What rows show, without the displacements that columns can hardly be told apart from.

    Smooth ones are next to free, since the columns' own positions follow them. They stay what the prior says, nothing
    on average, and in the columns' errors.

    Parameters
    ----------
    matrix, score : numpy.ndarray
        (n, n) and (n,) normal equations of the rows.
    share : float
        Smallest eigenvalue that is kept, of the largest.
    """
    # Torch's, which keeps to the one thread that it is given here.
    value, vector = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(matrix)))
    kept = value > share * value.max()
    held = vector[:, kept]
    return _Trusted(value[kept], held, held.T @ score)


def _correlated(size: int, spread: float, correlation: float) -> np.ndarray:
    """Covariance of an autoregressive process."""
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    return np.asarray(spread**2 * correlation**distance)


def _prior(system: np.ndarray, score: np.ndarray, unit_nm: float, workers: int) -> tuple[float, float] | None:
    """Spread (units) and correlation with the largest marginal likelihood; None when there is no jitter to be seen."""
    height = len(score)
    size = min(PRIOR_ROWS, height)
    starts = np.linspace(0, height - size, min(PRIOR_BLOCKS, max(1, height // size))).astype(int).tolist()
    variances = (SPREADS_NM / unit_nm) ** 2
    kernels = [_correlated(size, 1.0, correlation) for correlation in CORRELATIONS]

    def likelihoods(start: int) -> np.ndarray:
        told = _trusted(_dense(system, start, start + size), score[start : start + size], TRUSTED_SHARE)
        return np.stack([_evidence(told, kernel, variances) for kernel in kernels])

    gain = np.sum(list(in_order(likelihoods, starts, workers)), axis=0)
    correlation, spread = np.unravel_index(gain.argmax(), gain.shape)
    if gain[correlation, spread] <= LEAST_GAIN:
        return None
    return float(SPREADS_NM[spread] / unit_nm), CORRELATIONS[correlation]


def _evidence(told: _Trusted, kernel: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Log likelihood of displacements with each variance times a kernel (n, n), over that of none.

    Evidence of a linear model whose noise has its own normal matrix A = V e V^T as covariance, for displacements of
    covariance s² K: with sqrt(e) V^T K V sqrt(e) = U diag(m) U^T and w = V^T score / sqrt(e), and z² = m (U^T w)²,
    ln p = sum over s² z² / (1 + s² m) - ln(1 + s² m), halved.
    """
    root = np.sqrt(told.value)
    matrix = root[:, None] * (told.vector.T @ kernel @ told.vector) * root
    value, vector = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(matrix)))
    value = np.maximum(value, 0.0)
    scaled = variances[:, None] * value
    power = scaled * (vector.T @ (told.score / root)) ** 2
    return np.asarray(0.5 * (power / (1.0 + scaled) - np.log1p(scaled)).sum(1))


def _solve_rows(rows: _Rows, prior: tuple[float, float], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of every row (padded so that all columns' rows exist) and (n,) the variance that it leaves a column.

    Rows outside the image, which windows at the border reach, are not displaced; negative row numbers wrap to the
    padding at the end.
    """
    height, k = len(rows.score), rows.answer.shape[1]
    shift, variance = np.zeros(height + 2 * k), np.zeros(len(rows.first))
    centre = rows.first + k // 2
    step = BLOCK_ROWS - 2 * OVERLAP_ROWS

    def solve_block(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, stop = max(0, start - OVERLAP_ROWS), min(height, start + step)
        moved, posterior = _posterior(rows, slice(low, min(height, stop + OVERLAP_ROWS)), prior)
        mine = np.flatnonzero((centre >= start) & (centre < stop))
        return moved[start - low : stop - low], mine, _quadratic(posterior, rows.first[mine] - low, rows.answer[mine])

    starts = range(0, height, step)
    for start, (moved, mine, left) in zip(starts, in_order(solve_block, starts, workers), strict=True):
        shift[start : start + len(moved)] = moved
        variance[mine] = left
    return shift, variance


def _posterior(rows: _Rows, some: slice, prior: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) most probable displacements of some rows and their (n, n) covariance."""
    told = _trusted(_dense(rows.system, some.start, some.stop), rows.score[some], SEEN_SHARE)
    kernel = _correlated(some.stop - some.start, *prior)
    across = kernel @ told.vector
    # (K^-1 + V e V^T)^-1 without the rows that nothing tells: K - K V (1 / e + V^T K V)^-1 V^T K.
    inner = np.diag(1.0 / told.value) + told.vector.T @ across
    gain = torch.linalg.solve(torch.from_numpy(inner), torch.from_numpy(across.T)).numpy()
    covariance = kernel - across @ gain
    return covariance @ (told.vector @ told.score), covariance


def _quadratic(matrix: np.ndarray, first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n,) v^T M v with the block of a symmetric matrix that begins at `first`; zeros are outside the matrix."""
    k = vectors.shape[1]
    around = np.pad(matrix, k)
    total = np.zeros(len(first))
    for distance in range(k):
        diagonal = np.diagonal(around, distance)
        at = first[:, None] + k + np.arange(k - distance)
        products = vectors[:, : k - distance] * vectors[:, distance:]
        total += (1.0 if distance == 0 else 2.0) * np.einsum("nk,nk->n", products, diagonal[at])
    return total
