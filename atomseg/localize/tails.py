"""Light that columns throw beyond their Gaussians: a share of all their light, spread wider, told from the image.

A probe has tails, and thermal scattering and channelling add to them: between bright columns the floor is neither flat
nor a plane. A dim column there sits on a ridge that a plane can not follow, and a column at the crystal's edge on a
slope that its neighbours make. Both are pulled, the dim one by half its width.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from atomseg.localize.noise import smooth_level
from atomseg.localize.normal import Problem, told_of
from atomseg.localize.solve import Solved, fitted_sample, resume
from atomseg.localize.windows import Canvas, anchors

# Standard deviation of the spread, nm. Multislice images leave the least at 0.08 to 0.1; what is wider than that, the
# background of each column follows by itself.
TAIL_NM = 0.09
# Largest share of its light that a column can throw so far.
MOST_LIGHT = 0.7
# The columns have taken a part of that light as their own: what is seen when they gave it back is taken out too.
TURNS = 2
# Where so much of what was seen first is seen again, columns are as wide as tails: it is not told which is which.
SLOWEST = 0.75
# Rounds to give it back in.
ROUNDS = 4
# Columns that are asked, evenly taken from all.
SAMPLE = 1200
# Fewer columns say little about light that is common to all.
LEAST_COLUMNS = 20


def without_tails(problem: Problem, solved: Solved) -> tuple[Problem, Solved, Canvas]:
    """A joint fit gone on without the tails of its columns, and their light on its canvas.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights, prior.
    solved : Solved
        Its joint fit.
    """
    canvas, tail = problem.canvas, torch.zeros_like(problem.canvas.image)
    dark, state, before = problem, solved, math.inf
    for turn in range(1, TURNS + 1):
        model = (dark.canvas.image.reshape(-1) - state.left).view(canvas.image.shape)
        spread = smooth_level(replace(canvas, image=model), TAIL_NM)
        share = _share(dark, state, spread)
        if share > SLOWEST * before:
            return problem, solved, replace(canvas, image=torch.zeros_like(tail))
        if share <= 0:
            break
        more, before = (share * spread).view(canvas.image.shape), share
        tail += more
        dark = replace(dark, canvas=replace(canvas, image=canvas.image - tail))
        state = replace(state, left=state.left - more.view(-1), iterations=0)
        # The little that is seen last, the rounds that follow give back.
        if turn < TURNS:
            state = resume(replace(dark, max_iterations=ROUNDS), state, torch.ones_like(solved.failed))
    return dark, state, replace(canvas, image=tail)


def under(tail: Canvas, yx_nm: Tensor) -> np.ndarray:
    """(N,) tails' light in the pixel of each column: it stands on that as on its background.

    Parameters
    ----------
    tail : Canvas
        Light of all tails.
    yx_nm : torch.Tensor
        (N, 2) columns, nm, at most half a margin outside the image.
    """
    base, _ = anchors(tail, yx_nm, 1.0)
    return np.asarray(tail.image.view(-1)[base[:, 0].long()].double().cpu().numpy())


def _share(problem: Problem, solved: Solved, spread: Tensor) -> float:
    """How much of a light that is common to all columns is left."""
    rows = fitted_sample(solved, SAMPLE)
    if len(rows) < LEAST_COLUMNS:
        return 0.0
    information, score = told_of(problem, solved.fit, solved.left, spread, rows)
    told = float(information.sum())
    return float(np.clip(float(score.sum()) / told, 0.0, MOST_LIGHT)) if told > 0 else 0.0
