"""Columns that ran into the same maximum: one of them stays."""

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.normal import Problem
from atomseg.localize.peaks import strongest
from atomseg.localize.solve import Solved, only, reach_nm, resume

# Columns that end closer than this have run into the same maximum, nm; distinct ones are 0.13 nm apart.
SAME_COLUMN_NM = 0.05


def apart(problem: Problem, solved: Solved, chance: np.ndarray) -> tuple[Problem, Solved, np.ndarray]:
    """The joint fit with the most probable of the columns that ended in one place, and who stays.

    Parameters
    ----------
    problem : Problem
        Image and settings.
    solved : Solved
        The end of the joint fit.
    chance : numpy.ndarray
        (N,) float64, how probable each column is.

    Returns
    -------
    problem, solved : Problem, Solved
        Without the others; those that were next to one of them have moved on.
    stays : numpy.ndarray
        (n,) int64, ascending, indices of those that stay.
    """
    yx_nm = solved.fit.yx_nm.cpu().numpy()
    stays = strongest(yx_nm, chance, SAME_COLUMN_NM)
    if len(stays) < len(yx_nm):
        gone = np.setdiff1d(np.arange(len(yx_nm)), stays)
        near = cKDTree(yx_nm[gone]).query(yx_nm[stays])[0] < reach_nm(problem, solved.fit)
        problem, solved = only(problem, solved, stays)
        solved = resume(problem, solved, torch.from_numpy(near).to(problem.seeds_nm.device))
    return problem, solved, stays
