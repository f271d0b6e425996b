"""What is minimized: the weighted squares of every column's window, and the pull of what columns have in common."""

from dataclasses import dataclass, replace

import torch

from atomseg.localize.model import (
    LEVEL,
    N_PARAMETERS,
    P_XX,
    P_YX,
    P_YY,
    SLOPE_X,
    SLOPE_Y,
    Fit,
    Placed,
    derivatives,
    place,
)
from atomseg.localize.noise import Noise
from atomseg.localize.windows import LINEAR, Canvas, Grid, disc, moment_matrix
from atomseg.localize.workers import in_order

# Degrees of freedom of the scatter of background slopes and of shapes.
STUDENT, SHAPE_STUDENT = 3.0, 30.0


@dataclass(frozen=True)
class Prior:
    """What columns of one image have in common, as a soft pull.

    Parameters
    ----------
    shape : tuple of float
        Typical precisions (yy, xx, yx) in inverse squared units.
    shape_sd : float
        How far a column's precisions scatter about them.
    slope_sd : float
        How far background slopes scatter about zero, intensity per unit length.
    """

    shape: tuple[float, float, float]
    shape_sd: float
    slope_sd: float


@dataclass(frozen=True)
class Problem:
    """Everything that stays fixed while the columns move.

    `weight` is the flat inverse variance of the pixels, `max_shift_nm` (N,) how far from their seeds columns may go.
    """

    canvas: Canvas
    seeds_nm: torch.Tensor
    radius_nm: torch.Tensor
    weight: torch.Tensor
    noise: Noise
    prior: Prior
    max_shift_nm: torch.Tensor
    tolerance_nm: float
    max_iterations: int
    workers: int = 1


@dataclass(frozen=True)
class Normal:
    """Normal equations of n columns, each alone: curvature (n, 9, 9), gradient (n, 9), chi² (n,), pixels (n,).

    The last two are zero where they were not asked for.
    """

    curvature: torch.Tensor
    gradient: torch.Tensor
    chi2: torch.Tensor
    pixels: torch.Tensor


def normal_equations(
    problem: Problem, fit: Fit, left: torch.Tensor, rows: torch.Tensor, *, judged: bool = True
) -> Normal:
    """Curvature and gradient of the weighted squares of `rows`, without the prior.

    Parameters
    ----------
    problem : Problem
        Image and settings.
    fit : Fit
        All columns.
    left : torch.Tensor
        Flat image minus all Gaussians.
    rows : torch.Tensor
        (n,) int64 columns.
    judged : bool
        Whether chi² and the number of pixels are wanted: a step does without.
    """
    columns = fit.take(rows)
    placed = place(problem.canvas, columns)
    grid = disc(problem.canvas, float(problem.radius_nm[rows].max()), fit.unit_nm)
    radius2 = (problem.radius_nm[rows, None] / fit.unit_nm).float() ** 2

    def sums(some: slice) -> tuple[torch.Tensor, ...]:
        return _sums(problem.weight, left, placed.take(some), radius2[some], grid=grid, judged=judged)

    parts = zip(*in_order(sums, grid.chunks(len(rows)), problem.workers), strict=True)
    quartic, cubic, quadratic, by_light, by_pixel, chi2, pixels = (torch.cat(values) for values in parts)
    by_gaussian, by_level = derivatives(columns, placed.about), placed.about[:, :LINEAR, :LINEAR]
    curvature = torch.empty(len(rows), N_PARAMETERS, N_PARAMETERS, device=chi2.device)
    gauss, level = slice(0, LEVEL), slice(LEVEL, N_PARAMETERS)
    curvature[:, gauss, gauss] = between(by_gaussian, quartic, by_gaussian)
    curvature[:, gauss, level] = between(by_gaussian, cubic, by_level)
    curvature[:, level, gauss] = curvature[:, gauss, level].transpose(1, 2)
    curvature[:, level, level] = between(by_level, quadratic, by_level)
    gradient = torch.cat([by_gaussian @ by_light[:, :, None], by_level @ by_pixel[:, :, None]], dim=1)[:, :, 0]
    return Normal(curvature, gradient, chi2, pixels)


def _sums(
    weights: torch.Tensor, left: torch.Tensor, placed: Placed, radius2: torch.Tensor, *, grid: Grid, judged: bool
) -> tuple[torch.Tensor, ...]:
    """Sums over the windows of a chunk of columns, as products with monomials.

    Weight times Gaussian squared (degree 4), times Gaussian (3), alone (2); the same times residual (2, 1, without the
    square); chi²; pixels.
    """
    index, shape = placed.index(grid), (len(radius2), len(grid))
    weight = weights.index_select(0, index).view(shape)
    weight *= grid.radius2 <= radius2
    g = placed.gaussian(grid)
    difference = left.index_select(0, index).view(shape).sub_(placed.background(grid))
    weighted, light = weight * difference, weight * g
    chi2 = pixels = torch.zeros(len(radius2), device=weight.device)
    if judged:
        chi2, pixels = (weighted * difference).sum(1), weight.count_nonzero(1)
    return (
        (light * g) @ grid.powers(4),
        light @ grid.powers(3),
        weight @ grid.powers(2),
        g.mul_(weighted) @ grid.powers(2),
        weighted @ grid.powers(1),
        chi2,
        pixels,
    )


def told_of(
    problem: Problem, fit: Fit, left: torch.Tensor, light: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the windows of `rows` tell about how much of some light there is, where a column takes of it what it can.

    Parameters
    ----------
    problem : Problem
        Image and settings.
    fit : Fit
        All columns.
    left : torch.Tensor
        Flat image minus all Gaussians.
    light : torch.Tensor
        Flat image of the light; not so bright that its squares dwarf the noise's.
    rows : torch.Tensor
        (n,) int64 columns.

    Returns
    -------
    information, score : torch.Tensor
        (n,) float64 curvature and gradient of the weighted squares by the amount of light, each column's own parameters
        eliminated. Score over information is the amount, and under the noise that the weights tell the score's variance
        is the information.
    """
    # What the normal equations hold of both together comes from their sum, their difference, and what is left alone.
    alone, plus, minus = (normal_equations(problem, fit, image, rows) for image in (left, left + light, left - light))
    own = add_prior(alone, fit.take(rows), problem.prior)
    coupling = 0.5 * (plus.gradient - minus.gradient).double()
    score = 0.25 * (plus.chi2 - minus.chi2).double()
    information = 0.5 * (plus.chi2 + minus.chi2).double() - alone.chi2.double()
    # A window without a pixel that was measured holds nothing of either.
    curvature = own.curvature.double() + 1e-9 * torch.eye(N_PARAMETERS, dtype=coupling.dtype, device=coupling.device)
    taken = torch.linalg.solve(curvature, coupling[:, :, None])[:, :, 0]
    return information - (taken * coupling).sum(1), score - (taken * own.gradient.double()).sum(1)


def between(left: torch.Tensor, sums: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Products of derivatives summed over pixels: left (n, p, r), right (n, q, c), sums of monomials (n, m)."""
    return left @ moment_matrix(sums, left.shape[2], right.shape[2]) @ right.transpose(1, 2)


def add_prior(normal: Normal, fit: Fit, prior: Prior) -> Normal:
    """Normal equations with the pull towards typical shape and flat background.

    Slopes are pulled as if drawn from Student's t with three degrees of freedom: most columns stand on flat ground and
    gain from knowing it, those at the edge of a film or of the crystal do not and keep the slope that they see. Shapes
    likewise, with thirty: those of one probe are alike, and where they overlap so much that a free one runs away with
    its neighbours' light the pull holds, but two columns that are seen as one are what they are.
    """
    curvature, gradient = normal.curvature.clone(), normal.gradient.clone()
    flat = ((SLOPE_Y, SLOPE_X), (0.0, 0.0), prior.slope_sd, STUDENT)
    alike = ((P_YY, P_XX, P_YX), prior.shape, prior.shape_sd, SHAPE_STUDENT)
    for parameters, typical, sd, freedom in (alike, flat):
        away = [mean - fit.get(index) for index, mean in zip(parameters, typical, strict=True)]
        odd2 = torch.stack([distance**2 for distance in away]).sum(0) / sd**2
        pull = sd**-2 * (freedom + len(parameters)) / (freedom + odd2)
        for index, distance in zip(parameters, away, strict=True):
            curvature[:, index, index] += pull
            gradient[:, index] += distance * pull
    return replace(normal, curvature=curvature, gradient=gradient)
