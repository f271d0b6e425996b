"""Doubted columns: what the network is not sure of has to be seen clearly in the image itself."""

import numpy as np
import torch

from atomseg.localize.errors import lone_errors
from atomseg.localize.evidence import STRAY_LIGHT, bright_neighbour
from atomseg.localize.model import AMPLITUDE
from atomseg.localize.normal import Problem, add_prior, normal_equations
from atomseg.localize.solve import Solved

# A doubted column is one where its light is this many errors, stray light included, and where it is placed to this,
# both directions together, nm: less than half the distance within which it would be found again.
CLEAR_ERRORS, CLEAR_NM = 3.0, 0.02


def clear(
    yx_nm: np.ndarray, amplitude: np.ndarray, error: np.ndarray, sigma_nm: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """(n,) bool, columns whose light and place are beyond doubt.

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
    rows : numpy.ndarray, optional
        (n,) int64, which they are; all when None.
    """
    if not len(amplitude):
        return np.zeros(0, dtype=bool)
    mine = np.arange(len(amplitude)) if rows is None else rows
    stray = STRAY_LIGHT * bright_neighbour(yx_nm, amplitude)[mine]
    seen = amplitude[mine] >= CLEAR_ERRORS * np.hypot(error, stray)
    return np.asarray(seen & (np.hypot(*sigma_nm.T) <= CLEAR_NM))


def too_faint(problem: Problem, begun: Solved, doubted: np.ndarray) -> np.ndarray:
    """(N,) bool, doubted columns whose light is not clear when the fit has begun.

    They are taken out before columns move, so that what is no column pulls at none. Errors are those without
    neighbours, smaller than the final ones, by which they are judged once more.

    Parameters
    ----------
    problem : Problem
        Image and settings.
    begun : Solved
        Columns at their seeds, with their light.
    doubted : numpy.ndarray
        (N,) bool.
    """
    faint = np.zeros(len(doubted), dtype=bool)
    if not doubted.any():
        return faint
    fit, rows = begun.fit, np.flatnonzero(doubted)
    some = torch.from_numpy(rows).to(fit.yx_nm.device)
    error = lone_errors(add_prior(normal_equations(problem, fit, begun.left, some), fit.take(some), problem.prior))
    light = fit.get(AMPLITUDE).double().cpu().numpy()
    faint[rows] = ~clear(fit.yx_nm.cpu().numpy(), light, error[:, AMPLITUDE], error[:, :AMPLITUDE] * fit.unit_nm, rows)
    return faint
