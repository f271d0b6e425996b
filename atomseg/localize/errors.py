"""Errors of the fitted columns from the Fisher information, with neighbours and nuisance parameters."""

import torch

from atomseg.localize.model import LEVEL, Fit, derivatives, gaussian
from atomseg.localize.solve import Normal, Problem, between, neighbour_pairs
from atomseg.localize.windows import CUBIC, LINEAR, Grid, anchors, disc, shift_matrix

# Beyond this many typical standard deviations two Gaussians share less than exp(-d²/4) = 0.6 % of their information.
OVERLAP_UNITS = 4.5
# Neighbours are marginalized one at a time; together they can not take more than this share of a column's information.
LARGEST_SHARE = 0.9


def covariances(problem: Problem, fit: Fit, normal: Normal) -> torch.Tensor:
    """Covariance of each column's parameters, neighbours marginalized.

    The information that column i keeps when its neighbours j are free too is H_i - sum_j F_ij C_j F_ij^T: H_i its own
    curvature (data and prior), F_ij = sum over its window of J_i^T W J_j, C_j the covariance of j on its own. That is the
    Schur complement of the joint Fisher matrix to first order in the overlap.

    Parameters
    ----------
    problem : Problem
        Image, windows, noise.
    fit : Fit
        The end of the joint fit.
    normal : Normal
        Its normal equations, prior included.

    Returns
    -------
    torch.Tensor
        (N, 9, 9) float64, in canvas intensity and typical standard deviations.
    """
    own = normal.curvature.double()
    scale = torch.diagonal(own, dim1=1, dim2=2).clamp_min(1e-12).rsqrt()
    own = own * scale[:, :, None] * scale[:, None, :]
    own = own + 1e-9 * torch.eye(own.shape[1], dtype=own.dtype, device=own.device)
    alone = torch.linalg.inv(own)
    lost = _shared_information(problem, fit, alone, scale)
    factor = torch.linalg.cholesky(own)
    relative = torch.linalg.solve_triangular(factor, lost, upper=False)
    relative = torch.linalg.solve_triangular(factor, relative.transpose(1, 2), upper=False)
    share = torch.linalg.eigvalsh(0.5 * (relative + relative.transpose(1, 2)))[:, -1]
    lost = lost * (LARGEST_SHARE / share.clamp_min(1e-12)).clamp_max(1.0)[:, None, None]
    return torch.linalg.inv(own - lost) * scale[:, :, None] * scale[:, None, :]


def _shared_information(problem: Problem, fit: Fit, alone: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(N, 9, 9) information that overlapping neighbours take, in parameters scaled by `scale`."""
    lost = torch.zeros_like(alone)
    pairs, _ = neighbour_pairs(fit.yx_nm, OVERLAP_UNITS * fit.unit_nm)
    if not len(pairs):
        return lost
    grid = disc(problem.canvas, float(problem.radius_nm[pairs[:, 0]].max()), fit.unit_nm)
    for some in pairs.split(grid.chunk):
        i, j = some[:, 0], some[:, 1]
        cross = _cross_information(problem, fit, i, j, grid)
        scaled = cross.double() * scale[i][:, :, None] * scale[j][:, None, :LEVEL]
        lost.index_add_(0, i, scaled @ alone[j][:, :LEVEL, :LEVEL] @ scaled.transpose(1, 2))
    return lost


def _cross_information(problem: Problem, fit: Fit, i: torch.Tensor, j: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(n, 9, 6) sum over the windows of `i` of the derivatives of `i` times those of the Gaussians `j`."""
    first, second = fit.take(i), fit.take(j)
    base, shift = anchors(problem.canvas, first.yx_nm, fit.unit_nm)
    about = shift_matrix(shift)
    about_second = shift_matrix(shift + ((first.yx_nm - second.yx_nm) / fit.unit_nm).float())
    weight = problem.weight[base + grid.flat]
    weight = weight * (grid.radius2 <= (problem.radius_nm[i, None] / fit.unit_nm).float() ** 2)
    other = weight * gaussian(second, about_second, grid)
    by_second = derivatives(second, about_second)
    light = between(derivatives(first, about), (other * gaussian(first, about, grid)) @ grid.monomials, by_second)
    level = between(about[:, :LINEAR, :LINEAR], other @ grid.monomials[:, :CUBIC], by_second)
    return torch.cat([light, level], dim=1)
