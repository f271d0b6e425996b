"""The joint fit: every column against the image minus all other columns, until nothing moves."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.model import (
    AMPLITUDE,
    N_PARAMETERS,
    P_XX,
    P_YX,
    P_YY,
    SLOPE_X,
    SLOPE_Y,
    WIDEST,
    Fit,
    X,
    Y,
    redraw,
    residual,
)
from atomseg.localize.normal import Normal, Problem, add_prior, normal_equations

# Least standard deviation of a column relative to the typical one; below it and beyond `WIDEST`, it is not one column.
NARROWEST = 0.5
# Levenberg's share of the diagonal: enough to tame a dim column, too little to slow a bright one.
DAMPING = 0.01
# Longest step of a position, in typical standard deviations, and of a precision.
LONGEST_STEP = 0.35
# A step of this share of a column's own error is no step.
NEGLIGIBLE = 0.03
# How much a neighbour's light pushes, times the overlap: its flank counts for more than its share in a column's light.
INFLUENCE = 3.0
# Rounds in which only amplitude and background move: the start knows neither.
LINEAR_ROUNDS = 2
FREE_SLOPE = 20.0


@dataclass(frozen=True)
class Solved:
    """The end of the joint fit.

    Parameters
    ----------
    fit : Fit
        Columns.
    left : torch.Tensor
        Flat image minus all Gaussians.
    failed : torch.Tensor
        (N,) bool, left its neighbourhood or turned dark: back at its seed with the typical shape.
    unrest_nm : torch.Tensor
        (N,) length of the last step of columns that still moved after the last round, 0 for those at rest, nm.
    bounded : torch.Tensor
        (N,) bool, width at its bound.
    iterations : int
        Rounds used.
    """

    fit: Fit
    left: torch.Tensor
    failed: torch.Tensor
    unrest_nm: torch.Tensor
    bounded: torch.Tensor
    iterations: int


def newton_step(normal: Normal, free: torch.Tensor) -> torch.Tensor:
    """(n, 9) damped Gauss-Newton step; parameters that are not `free` (n, 9) stay."""
    both = free[:, :, None] & free[:, None, :]
    curvature = torch.where(both, normal.curvature, 0.0)
    diagonal = torch.diagonal(curvature, dim1=1, dim2=2)
    # Scaled to a unit diagonal: float32 then has digits enough. A parameter without any pixel keeps its value.
    scale = torch.where(free & (diagonal > 0), diagonal, 1.0).rsqrt()
    system = curvature * scale[:, :, None] * scale[:, None, :]
    used = (free & (diagonal > 0)).to(system.dtype)
    system = system + torch.diag_embed(DAMPING * used + (1.0 - used) + 1e-6)
    right = torch.where(free, normal.gradient, 0.0) * scale
    step = torch.linalg.solve(system, right[:, :, None])[:, :, 0] * scale * used
    for lengths in ((Y, X), (P_YY, P_XX, P_YX)):
        longest = step[:, lengths].abs().amax(1, keepdim=True)
        step[:, lengths] *= (LONGEST_STEP / longest.clamp_min(1e-12)).clamp_max(1.0)
    return step


def bound_widths(shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 7) shapes with their precisions brought between the bounds, and (n,) bool where that changed anything."""
    a, c, b = shape[:, P_YY - 2], shape[:, P_XX - 2], shape[:, P_YX - 2]
    mean, half = 0.5 * (a + c), 0.5 * (a - c)
    spread = torch.sqrt(half * half + b * b)
    low, high = WIDEST**-2, NARROWEST**-2
    major, minor = (mean - spread).clamp(low, high), (mean + spread).clamp(low, high)
    outside = ((mean - spread) < low * (1 + 1e-5)) | ((mean + spread) > high * (1 - 1e-5))
    ratio = torch.where(spread > 0, 0.5 * (minor - major) / spread.clamp_min(1e-12), 0.0)
    middle = 0.5 * (major + minor)
    bounded = shape.clone()
    bounded[:, P_YY - 2], bounded[:, P_XX - 2], bounded[:, P_YX - 2] = (
        middle + ratio * half,
        middle - ratio * half,
        ratio * b,
    )
    return torch.where(outside[:, None], bounded, shape), outside


def neighbour_pairs(yx_nm: torch.Tensor, radius_nm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Ordered pairs (i, j) of columns within the radius, and their distances (nm)."""
    points = yx_nm.cpu().numpy()
    half = cKDTree(points).query_pairs(radius_nm, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    pairs = np.concatenate([half, half[:, ::-1]])
    distance = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    return torch.from_numpy(pairs).to(yx_nm.device), torch.from_numpy(distance).to(yx_nm.device)


def relaxation(n: int, pairs: torch.Tensor, distance_nm: torch.Tensor, unit_nm: float) -> torch.Tensor:
    """(n, 1) share of the step that each column takes, so that neighbours that overlap do not overshoot together.

    Two equal Gaussians at distance d overlap by exp(-d² / 4 sigma²); moving all at once converges when the sum of a
    column's overlaps, S, is damped by 1 / (1 + S / 2).
    """
    overlap = torch.exp(-(distance_nm**2) / (4.0 * unit_nm**2))
    total = torch.zeros(n, dtype=torch.float64, device=distance_nm.device).index_add(0, pairs[:, 0], overlap)
    return (1.0 / (1.0 + 0.5 * total))[:, None].to(torch.float32)


def only(problem: Problem, solved: Solved, rows: np.ndarray) -> tuple[Problem, Solved]:
    """The problem and its state with the columns `rows`, (n,) int64, in that order, and no others."""
    if np.array_equal(rows, np.arange(len(problem.seeds_nm))):
        return problem, solved
    some = torch.from_numpy(rows).to(problem.seeds_nm.device)
    fit = solved.fit.take(some)
    kept = Solved(
        fit=fit,
        left=residual(problem.canvas, fit, problem.workers),
        failed=solved.failed[some],
        unrest_nm=solved.unrest_nm[some],
        bounded=solved.bounded[some],
        iterations=0,
    )
    seeds_nm, radius_nm, max_shift_nm = (
        values[some] for values in (problem.seeds_nm, problem.radius_nm, problem.max_shift_nm)
    )
    return replace(problem, seeds_nm=seeds_nm, radius_nm=radius_nm, max_shift_nm=max_shift_nm), kept


def fitted_sample(solved: Solved, most: int) -> torch.Tensor:
    """(n,) int64 columns that did not fail, about `most` of them or all, evenly taken."""
    rows = (~solved.failed).nonzero()[:, 0]
    return rows[:: max(1, len(rows) // most)]


@dataclass(frozen=True)
class _Motion:
    """What columns remember: the share of a step that each takes, its bound, the last step, what is no step (nm)."""

    share: torch.Tensor
    longest: torch.Tensor
    last: torch.Tensor
    tolerance_nm: torch.Tensor


def solve(problem: Problem, fit: Fit) -> Solved:
    """Joint fit of all columns.

    Every round each column that is not yet at rest takes one damped Gauss-Newton step on the image minus the present
    models of all others. What stands still under these steps is a minimum of every column's squares at once.

    Parameters
    ----------
    problem : Problem
        Image, seeds, windows, noise and prior.
    fit : Fit
        Start.
    """
    begun = begin(problem, fit)
    return resume(problem, begun, ~begun.failed)


def begin(problem: Problem, fit: Fit) -> Solved:
    """The first rounds of the joint fit, in which only amplitudes and backgrounds move.

    Parameters
    ----------
    problem : Problem
        Image, seeds, windows, noise and prior.
    fit : Fit
        Start.
    """
    failed = torch.zeros(len(fit), dtype=torch.bool, device=fit.yx_nm.device)
    left = residual(problem.canvas, fit, problem.workers)
    # The first rounds see slopes freely, so that a steep one is found before it is pulled.
    free_slope = replace(problem, prior=replace(problem.prior, slope_sd=FREE_SLOPE * problem.prior.slope_sd))
    dark = Solved(fit, left, failed, torch.zeros(len(fit), device=failed.device), failed, 0)
    return lighten(free_slope, dark, torch.arange(len(fit), device=fit.yx_nm.device))


def lighten(problem: Problem, state: Solved, rows: torch.Tensor) -> Solved:
    """Rounds in which only amplitudes and backgrounds of some columns move; `state.left` is used up.

    Parameters
    ----------
    problem : Problem
        Image, seeds, windows, noise and prior.
    state : Solved
        Where to begin.
    rows : torch.Tensor
        (n,) int64 columns.
    """
    fit, left = state.fit, state.left
    rounds = min(LINEAR_ROUNDS, problem.max_iterations)
    share = relaxation(len(fit), *neighbour_pairs(fit.yx_nm, reach_nm(problem, fit)), fit.unit_nm)[rows]
    for _ in range(rounds):
        before = fit
        step, _ = _steps(problem, fit, left, rows, _free(state.failed[rows], linear=True))
        fit = fit.moved(rows, step * share)
        redraw(left, problem.canvas, before.take(rows), fit.take(rows), problem.workers)
    return replace(state, fit=fit, iterations=rounds)


def resume(problem: Problem, start: Solved, restless: torch.Tensor) -> Solved:
    """The joint fit from where another one ended; `start.left` is used up.

    Parameters
    ----------
    problem : Problem
        Image, seeds, windows, noise and prior.
    start : Solved
        Where to begin; columns that failed there stay at their seeds.
    restless : torch.Tensor
        (N,) bool, columns to ask for a step in the first round.
    """
    fit, left, failed = start.fit, start.left, start.failed
    pairs, distance_nm = neighbour_pairs(fit.yx_nm, reach_nm(problem, fit))
    overlap = torch.exp(-(distance_nm**2) / (4.0 * fit.unit_nm**2)).float()
    motion = _at_rest(problem, relaxation(len(fit), pairs, distance_nm, fit.unit_nm))
    before, bounded, rounds = fit, start.bounded, start.iterations
    while rounds < problem.max_iterations and restless.any():
        rounds += 1
        rows = restless.nonzero()[:, 0]
        step, own = _steps(problem, fit, left, rows, _free(failed[rows], linear=False))
        step = _shared(problem, motion, rows, step, own * fit.unit_nm)
        before = fit
        fit = fit.moved(rows, step)
        shape, bounded = bound_widths(fit.shape)
        fit = replace(fit, shape=shape)
        # Told so that what is no number is lost, too.
        near = (fit.yx_nm - problem.seeds_nm).norm(dim=1) <= problem.max_shift_nm
        lost = ~(near & (fit.shape[:, 0] > 0)) & ~failed
        failed = failed | lost
        fit = _back_to_seed(fit, lost, problem)
        redraw(left, problem.canvas, before.take(rows), fit.take(rows), problem.workers)
        moving = _moving(before, fit, motion.tolerance_nm)
        disturbed = _disturbed(before, fit, pairs, overlap, motion.tolerance_nm)
        restless = moving.index_fill(0, disturbed, value=True)
    last_nm = (fit.yx_nm - before.yx_nm).norm(dim=1)
    unrest_nm = torch.where(_moving(before, fit, motion.tolerance_nm), last_nm, torch.zeros_like(last_nm))
    return Solved(fit, left, failed, unrest_nm, bounded, rounds)


def reach_nm(problem: Problem, fit: Fit) -> float:
    """Distance at which a column's light still reaches another one's window."""
    return float(problem.radius_nm.max()) + 3.0 * fit.unit_nm


def _at_rest(problem: Problem, longest: torch.Tensor) -> _Motion:
    """Columns that have not taken a step yet; `longest` (N, 1) is the share of a step that each may take."""
    n, device = len(longest), longest.device
    tolerance = torch.full((n,), problem.tolerance_nm, device=device)
    return _Motion(longest.clone(), longest, torch.zeros(n, AMPLITUDE, device=device), tolerance)


def _steps(
    problem: Problem, fit: Fit, left: torch.Tensor, rows: torch.Tensor, free: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 9) full steps of `rows`, and (n,) their own position errors, units."""
    normal = normal_equations(problem, fit, left, rows, judged=False)
    normal = add_prior(normal, fit.take(rows), problem.prior)
    own = torch.diagonal(normal.curvature, dim1=1, dim2=2)[:, [Y, X]].amin(1).clamp_min(1e-6).rsqrt()
    return newton_step(normal, free), own


def _shared(
    problem: Problem, motion: _Motion, rows: torch.Tensor, step: torch.Tensor, own_nm: torch.Tensor
) -> torch.Tensor:
    """(n, 9) steps of `rows` as they are taken; `motion` remembers them."""
    motion.tolerance_nm[rows] = (NEGLIGIBLE * own_nm).clamp_min(problem.tolerance_nm)
    share, longest = motion.share[rows], motion.longest[rows]
    step = step * share
    # A column that turns back overshot: half the step next time.
    turned = (step[:, :AMPLITUDE] * motion.last[rows]).sum(1) < 0
    motion.share[rows] = torch.where(turned[:, None], 0.5 * share, (1.2 * share).minimum(longest))
    motion.last[rows] = step[:, :AMPLITUDE]
    return step


def _free(failed: torch.Tensor, *, linear: bool) -> torch.Tensor:
    """(n, 9) bool, which parameters may move."""
    free = torch.ones(len(failed), N_PARAMETERS, dtype=torch.bool, device=failed.device)
    held = failed | linear
    for index in (Y, X, P_YY, P_XX, P_YX):
        free[:, index] = ~held
    return free


def _back_to_seed(fit: Fit, lost: torch.Tensor, problem: Problem) -> Fit:
    """Lost columns at their seeds with the typical shape and no light; the next rounds fit their amplitude."""
    shape = fit.shape.clone()
    shape[lost, AMPLITUDE - 2] = 0.0
    for index, value in zip((P_YY, P_XX, P_YX), problem.prior.shape, strict=True):
        shape[lost, index - 2] = value
    shape[lost, SLOPE_Y - 2] = shape[lost, SLOPE_X - 2] = 0.0
    return Fit(torch.where(lost[:, None], problem.seeds_nm, fit.yx_nm), shape, fit.unit_nm)


def _moving(before: Fit, after: Fit, tolerance_nm: torch.Tensor) -> torch.Tensor:
    """(N,) bool, position or amplitude still changes."""
    walked = (after.yx_nm - before.yx_nm).norm(dim=1) > tolerance_nm
    # An amplitude matters to the neighbours as much as a position: the same share of it as of the width.
    typical = after.shape[:, 0].abs().median().clamp_min(1e-6)
    changed = (after.shape[:, 0] - before.shape[:, 0]).abs() > typical * 2.0 * tolerance_nm / after.unit_nm
    return walked | changed


def _disturbed(
    before: Fit, after: Fit, pairs: torch.Tensor, overlap: torch.Tensor, tolerance_nm: torch.Tensor
) -> torch.Tensor:
    """Indices of columns whose position a neighbour's change of light moves by more than their tolerance.

    Light that changes by dI beside a column of amplitude A displaces it by about dI / A standard deviations times the
    overlap of the two.
    """
    walked = ((after.yx_nm - before.yx_nm).norm(dim=1) / after.unit_nm).float()
    peak = after.shape[:, 0]
    change = peak.abs() * walked + (peak - before.shape[:, 0]).abs()
    # A column without light of its own still has the noise of its neighbourhood to stand against.
    floor = 0.05 * peak.abs().median().clamp_min(1e-6)
    one, other = pairs[:, 0], pairs[:, 1]
    pushed_nm = INFLUENCE * overlap * change[other] / peak[one].clamp_min(floor) * after.unit_nm
    return one[pushed_nm > tolerance_nm[one]]
