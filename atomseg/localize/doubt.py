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
