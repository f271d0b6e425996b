"""Errors of the fitted columns from the Fisher information, with neighbours and nuisance parameters."""

import numpy as np
import torch

from atomseg.localize.model import LEVEL, N_PARAMETERS, Fit, derivatives, put
from atomseg.localize.normal import Normal, Problem, between
from atomseg.localize.solve import neighbour_pairs
from atomseg.localize.windows import LINEAR, Grid, anchors, disc
from atomseg.localize.workers import in_order

# Beyond this many typical standard deviations two Gaussians share less than exp(-d²/4) = 0.6 % of their information.
OVERLAP_UNITS = 4.5


def covariances(problem: Problem, fit: Fit, normal: Normal) -> torch.Tensor:
    """Covariance of each column's parameters, what overlapping neighbours add included.

    The joint fit ends where every column's gradient is zero: H_i d_i + sum_j F_ij d_j = n_i, with H_i a column's
    curvature (data and prior), F_ij the products of its derivatives with those of Gaussian j over its window, n_i its
    noise. For a pair the errors d = K^-1 n have the covariance K^-1 S K^-T, S the covariance of n: H on the diagonal,
    and beside it the products over the pixels that both windows have. Pairs are added up, which is the first order in
    the overlap.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights.
    fit : Fit
        The end of the joint fit.
    normal : Normal
        Its normal equations, prior included.

    Returns
    -------
    torch.Tensor
        (N, 9, 9) float64, in canvas intensity and typical standard deviations.
    """
    own, scale = _scaled(normal)
    alone = torch.linalg.inv(own)
    added = _from_pairs(problem, fit, own, alone, scale)
    least, extra = torch.diagonal(alone, dim1=1, dim2=2), torch.diagonal(added, dim1=1, dim2=2)
    # A neighbour adds errors, it takes none away.
    added = added + torch.diag_embed((-extra).clamp_min(0.0).minimum(least))
    return (alone + added) * scale[:, :, None] * scale[:, None, :]


def lone_errors(normal: Normal) -> np.ndarray:
    """(n, 9) float64 standard errors of the parameters with the neighbours held, in units as in `covariances`."""
    own, scale = _scaled(normal)
    return np.asarray((torch.diagonal(torch.linalg.inv(own), dim1=1, dim2=2).sqrt() * scale).cpu())


def _scaled(normal: Normal) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 9, 9) float64 curvature with a unit diagonal, and what it was scaled by on each side, (n, 9)."""
    own = normal.curvature.double()
    scale = torch.diagonal(own, dim1=1, dim2=2).clamp_min(1e-12).rsqrt()
    own = own * scale[:, :, None] * scale[:, None, :]
    return own + 1e-9 * torch.eye(N_PARAMETERS, dtype=own.dtype, device=own.device), scale


def _from_pairs(
    problem: Problem, fit: Fit, own: torch.Tensor, alone: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """(N, 9, 9) what each column's neighbours add to its covariance, in parameters scaled by `scale`."""
    added = torch.zeros_like(alone)
    both, _ = neighbour_pairs(fit.yx_nm, OVERLAP_UNITS * fit.unit_nm)
    pairs = both[both[:, 0] < both[:, 1]]
    if not len(pairs):
        return added
    grid = disc(problem.canvas, float(problem.radius_nm[pairs].max()), fit.unit_nm)
    first, second = slice(0, N_PARAMETERS), slice(N_PARAMETERS, 2 * N_PARAMETERS)

    def both_ways(some: torch.Tensor) -> tuple[torch.Tensor, ...]:
        forward, shared = _cross_information(problem, fit, some[:, 0], some[:, 1], grid)
        return some, forward, shared, _cross_information(problem, fit, some[:, 1], some[:, 0], grid)[0]

    chunks = [pairs[some] for some in grid.chunks(len(pairs))]
    for some, forward, shared, backward in in_order(both_ways, chunks, problem.workers):
        i, j = some[:, 0], some[:, 1]
        units = scale[i][:, :, None] * scale[j][:, None, :]
        noise = torch.zeros(len(some), 2 * N_PARAMETERS, 2 * N_PARAMETERS, dtype=own.dtype, device=own.device)
        noise[:, first, first], noise[:, second, second] = own[i], own[j]
        system = noise.clone()
        noise[:, first, second] = shared.double() * units
        noise[:, second, first] = noise[:, first, second].transpose(1, 2)
        # Only the Gaussians of a neighbour are taken out of a window, its background is not: columns 0 to LEVEL.
        system[:, first, second] = forward.double() * units
        system[:, second, first] = backward.double() * units.transpose(1, 2)
        inverse = torch.linalg.inv(system)
        joint = inverse @ noise @ inverse.transpose(1, 2)
        added.index_add_(0, i, joint[:, first, first] - alone[i])
        added.index_add_(0, j, joint[:, second, second] - alone[j])
    return added


def _cross_information(
    problem: Problem, fit: Fit, i: torch.Tensor, j: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted products of the derivatives of columns `i` and `j`, (n, 9, 9) each.

    The first is summed over the windows of `i`, with zeros for the backgrounds of `j`; the second over the pixels that
    the windows of both have.
    """
    one, other = fit.take(i), fit.take(j)
    base, shift = anchors(problem.canvas, one.yx_nm, fit.unit_nm)
    here = put(one, base, shift)
    there = put(other, base, shift + ((one.yx_nm - other.yx_nm) / fit.unit_nm).float())
    weight = problem.weight.index_select(0, here.index(grid)).view(len(one), len(grid))
    weight = weight * (grid.radius2 <= (problem.radius_nm[i, None] / fit.unit_nm).float() ** 2)
    distance2 = (there.about[:, 3] + there.about[:, 5]) @ grid.powers(2).T
    common = weight * (distance2 <= (problem.radius_nm[j, None] / fit.unit_nm).float() ** 2)
    g, h = here.gaussian(grid), there.gaussian(grid)
    by_one, by_other = derivatives(one, here.about), derivatives(other, there.about)
    flat_one, flat_other = here.about[:, :LINEAR, :LINEAR], there.about[:, :LINEAR, :LINEAR]
    result = torch.zeros(2, len(one), N_PARAMETERS, N_PARAMETERS, device=weight.device)
    for matrix, w in zip(result, (weight, common), strict=True):
        matrix[:, :LEVEL, :LEVEL] = between(by_one, (w * g * h) @ grid.powers(4), by_other)
        matrix[:, LEVEL:, :LEVEL] = between(flat_one, (w * h) @ grid.powers(3), by_other)
    result[1][:, :LEVEL, LEVEL:] = between(by_one, (common * g) @ grid.powers(3), flat_other)
    result[1][:, LEVEL:, LEVEL:] = between(flat_one, common @ grid.powers(2), flat_other)
    return result[0], result[1]
