"""Doubted columns: what the network is not sure of has to be seen clearly in the image itself."""

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.apart import apart
from atomseg.localize.errors import lone_errors
from atomseg.localize.evidence import STRAY_LIGHT, bright_neighbour
from atomseg.localize.learn import start, window_radius_nm
from atomseg.localize.model import AMPLITUDE
from atomseg.localize.normal import Problem, add_prior, normal_equations
from atomseg.localize.solve import Solved, lighten, only, reach_nm, resume
from atomseg.localize.windows import FWHM_PER_SIGMA

# A doubted column is one where its light is this many errors, stray light included, and where it is placed to this,
# both directions together, nm. Little, because the network and the lattice vouch for the place: in mosaics of
# multislice cells 6 of 900 columns between these bounds and 2.5 errors and 25 pm were none.
CLEAR_ERRORS, CLEAR_NM = 2.0, 0.03
# It has to stay where the network saw it, on a site of its kind, in full widths: what a fit is drawn to from further
# away is other light.
STAYS_FWHM = 0.25


def clear(
    yx_nm: np.ndarray, amplitude: np.ndarray, error: np.ndarray, sigma_nm: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """(n,) bool, whether light and place of some columns are beyond doubt.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64, positions of all columns, nm.
    amplitude : numpy.ndarray
        (N,) float64, fitted peak heights.
    error : numpy.ndarray
        (n,) float64, standard errors of the amplitudes of those that are asked for.
    sigma_nm : numpy.ndarray
        (n, 2) float64, standard errors of their positions, nm.
    rows : numpy.ndarray
        (n,) int64, which they are.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    stray = STRAY_LIGHT * bright_neighbour(yx_nm, amplitude, rows)
    seen = amplitude[rows] >= CLEAR_ERRORS * np.hypot(error, stray)
    return np.asarray(seen & (np.hypot(*sigma_nm.T) <= CLEAR_NM))


def with_clear(
    problem: Problem,
    solved: Solved,
    stays: np.ndarray,
    *,
    seeds_nm: torch.Tensor,
    chance: np.ndarray,
    doubted: np.ndarray,
    window_fwhm: float,
) -> tuple[Problem, Solved, np.ndarray]:
    """A joint fit gone on with those doubted columns whose light is clear, and which columns these are now.

    They are asked when the others have settled: before, what a doubted column would have is in its neighbours' light or
    lacks in it. And they are asked before they move, so that what is no column pulls at none. Errors are those without
    neighbours, smaller than the final ones, by which they are judged once more.

    Parameters
    ----------
    problem : Problem
        Image and settings.
    solved : Solved
        The end of the joint fit of the columns that are sure.
    stays : numpy.ndarray
        (n,) int64, ascending, which of the starting positions these are.
    seeds_nm : torch.Tensor
        (N, 2) float64, all starting positions, nm.
    chance : numpy.ndarray
        (N,) float64, how probable they are.
    doubted : numpy.ndarray
        (m,) int64, the doubted ones.
    window_fwhm : float
        Radius of the windows in widths.
    """
    if not len(doubted):
        return problem, solved, stays
    sure = np.arange(len(stays))
    task, begun = _joined(problem, solved, seeds_nm[torch.from_numpy(doubted).to(seeds_nm.device)], window_fwhm)
    begun = lighten(task, begun, _beside(task, begun, len(sure)).nonzero()[:, 0])
    rows = torch.arange(len(sure), len(begun.fit), device=seeds_nm.device)
    normal = normal_equations(task, begun.fit, begun.left, rows)
    error = lone_errors(add_prior(normal, begun.fit.take(rows), task.prior))
    yx_nm, light = begun.fit.yx_nm.cpu().numpy(), begun.fit.get(AMPLITUDE).double().cpu().numpy()
    sigma_nm = error[:, :AMPLITUDE] * begun.fit.unit_nm
    seen = np.flatnonzero(clear(yx_nm, light, error[:, AMPLITUDE], sigma_nm, rows.cpu().numpy()))
    if not len(seen):
        return problem, solved, stays
    task, begun = only(task, begun, np.concatenate([sure, len(sure) + seen]))
    task = replace(task, radius_nm=window_radius_nm(task.canvas, task.seeds_nm, begun.fit.unit_nm, window_fwhm))
    done = resume(task, begun, _beside(task, begun, len(sure)) & ~begun.failed)
    lost = done.failed.cpu().numpy()
    lost[sure] = False
    stays = np.concatenate([stays, doubted[seen]])
    order = np.argsort(stays)
    order = order[~lost[order]]
    task, done, kept = apart(*only(task, done, order), chance[stays[order]])
    return task, done, stays[order][kept]


def _joined(problem: Problem, solved: Solved, more_nm: torch.Tensor, window_fwhm: float) -> tuple[Problem, Solved]:
    """The fit with more columns, which have no light yet."""
    more, fit = start(more_nm, solved.fit.unit_nm, problem.prior), solved.fit
    fit = replace(fit, yx_nm=torch.cat([fit.yx_nm, more.yx_nm]), shape=torch.cat([fit.shape, more.shape]))
    seeds_nm = torch.cat([problem.seeds_nm, more_nm])
    radius = window_radius_nm(problem.canvas, seeds_nm, fit.unit_nm, window_fwhm)
    reach = torch.full((len(more),), STAYS_FWHM * FWHM_PER_SIGMA * fit.unit_nm, device=more_nm.device)
    reach_nm = torch.cat([problem.max_shift_nm, reach.to(problem.max_shift_nm)])
    task = replace(problem, seeds_nm=seeds_nm, radius_nm=radius, max_shift_nm=reach_nm)
    no = torch.zeros(len(more), dtype=torch.bool, device=more_nm.device)
    failed, bounded = torch.cat([solved.failed, no]), torch.cat([solved.bounded, no])
    unrest_nm = torch.cat([solved.unrest_nm, no.to(solved.unrest_nm)])
    return task, Solved(fit, solved.left.clone(), failed, unrest_nm, bounded, 0)


def _beside(problem: Problem, solved: Solved, first: int) -> torch.Tensor:
    """(N,) bool, the columns from number `first` on and those whose windows their light reaches."""
    yx_nm = solved.fit.yx_nm.cpu().numpy()
    near = cKDTree(yx_nm[first:]).query(yx_nm)[0] < reach_nm(problem, solved.fit)
    return torch.from_numpy(near).to(solved.fit.yx_nm.device)
