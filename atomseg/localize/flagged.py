"""Flags: what a user has to know of a fitted column."""

import numpy as np
from scipy.spatial import cKDTree

from atomseg.localize.model import Fit, whole_windows
from atomseg.localize.normal import Problem
from atomseg.localize.solve import Solved, neighbour_pairs
from atomseg.localize.windows import FWHM_PER_SIGMA, Canvas
from atomseg.types import ColumnFlag

# Columns closer than this share light, in full widths.
OVERLAP_FWHM = 1.5
# A clipped image has many pixels at its very maximum; a chance maximum has a few.
CLIPPED_PIXELS = 20


def flag_columns(problem: Problem, solved: Solved, failed: np.ndarray, dim: np.ndarray) -> np.ndarray:
    """(N,) int64 `ColumnFlag` bits.

    Parameters
    ----------
    problem : Problem
        Image and windows.
    solved : Solved
        The end of the joint fit.
    failed, dim : numpy.ndarray
        (N,) bool, columns that were not found by the fit, and those of too little light.
    """
    fit, canvas = solved.fit, problem.canvas
    radius = problem.radius_nm.cpu().numpy()
    border = ~whole_windows(canvas, fit.yx_nm, problem.radius_nm)
    pairs, _ = neighbour_pairs(fit.yx_nm, OVERLAP_FWHM * FWHM_PER_SIGMA * fit.unit_nm)
    overlap = np.zeros(len(fit), dtype=bool)
    overlap[pairs[:, 0].cpu().numpy()] = True
    flags = np.zeros(len(fit), dtype=np.int64)
    for flag, where in (
        (ColumnFlag.BORDER, border),
        (ColumnFlag.FIT_FAILED, failed),
        (ColumnFlag.WIDTH_BOUND, solved.bounded.cpu().numpy()),
        (ColumnFlag.OVERLAP, overlap),
        (ColumnFlag.LOW_SNR, dim),
        (ColumnFlag.SATURATED, _spoiled(canvas, fit, radius)),
    ):
        flags[where] |= int(flag)
    return flags


def _spoiled(canvas: Canvas, fit: Fit, radius_nm: np.ndarray) -> np.ndarray:
    """(N,) bool, pixels of the window are invalid or clipped."""
    inside = slice(canvas.margin, -canvas.margin)
    image, bad = canvas.image[inside, inside].cpu().numpy(), canvas.valid[inside, inside].cpu().numpy() == 0
    top = image == image[~bad].max() if (~bad).any() else bad
    if top.sum() >= CLIPPED_PIXELS:
        bad = bad | top
    if not bad.any():
        return np.zeros(len(fit), dtype=bool)
    points = np.argwhere(bad) * np.asarray(canvas.step_nm)
    nearest = cKDTree(points).query(fit.yx_nm.cpu().numpy())[0]
    return nearest <= radius_nm
