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


def flag_columns(problem: Problem, solved: Solved, failed: np.ndarray, dim: np.ndarray, measured: Canvas) -> np.ndarray:
    """(N,) int64 `ColumnFlag` bits.

    Parameters
    ----------
    problem : Problem
        Image and windows.
    solved : Solved
        The end of the joint fit.
    failed, dim : numpy.ndarray
        (N,) bool, columns that were not found by the fit, and those of too little light.
    measured : Canvas
        The image as measured: in the fit's, other light is taken out, and clipped pixels are no longer alike.
    """
    fit = solved.fit
    radius = problem.radius_nm.cpu().numpy()
    border = ~whole_windows(problem.canvas, fit.yx_nm, problem.radius_nm)
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
        (ColumnFlag.SATURATED, _spoiled(measured, fit, radius)),
    ):
        flags[where] |= int(flag)
    return flags


def _spoiled(measured: Canvas, fit: Fit, radius_nm: np.ndarray) -> np.ndarray:
    """(N,) bool, pixels of the window are invalid or clipped."""
    inside = slice(measured.margin, -measured.margin)
    image, bad = (values[inside, inside].cpu().numpy() for values in (measured.image, measured.valid == 0))
    bad = bad | _clipped(image, bad)
    if not bad.any():
        return np.zeros(len(fit), dtype=bool)
    points = np.argwhere(bad) * np.asarray(measured.step_nm)
    nearest = cKDTree(points).query(fit.yx_nm.cpu().numpy())[0]
    return nearest <= radius_nm


def _clipped(image: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """(H, W) bool, valid pixels at the very maximum, where clipping put them: more than have the next lower value.

    The brightest pixels by chance are the fewer the brighter, of counts as well.
    """
    nowhere = np.zeros(image.shape, dtype=bool)
    if bad.all():
        return nowhere
    top = (image == image[~bad].max()) & ~bad
    below = image[~top & ~bad]
    if top.sum() < CLIPPED_PIXELS or (below.size and (below == below.max()).sum() >= top.sum()):
        return nowhere
    return top
