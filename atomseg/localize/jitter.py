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
from atomseg.localize.scan_rows import ScanRows, likeliest_prior, solve_rows
from atomseg.localize.windows import COUNTS, LINEAR, MONOMIALS, QUARTIC, Grid, disc, polynomial_products
from atomseg.localize.workers import in_order

# Directions of the common misfit with less than this share of the largest curvature are the columns' own.
COMMON_SHARE = 1e-4
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
        prior = likeliest_prior(rows, fit.unit_nm, problem.workers)
        if prior is None:
            continue
        shift, spread = solve_rows(rows, prior, problem.workers)
        k = np.arange(rows.answer.shape[1])
        move[index, axis] = np.einsum("nk,nk->n", rows.answer, shift[rows.first[:, None] + k]) * fit.unit_nm
        variance[index, axis] = spread * fit.unit_nm**2
        spreads[axis] = prior.spread * fit.unit_nm
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
) -> list[ScanRows]:
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
        rows.append(ScanRows(first=first, answer=answer, system=system, score=told))
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
