"""Light that columns throw beyond their Gaussians: a share of all their light, spread wider, told from the image.

A probe has tails, and thermal scattering and channelling add to them: between bright columns the floor is neither flat
nor a plane. A dim column there sits on a ridge that a plane can not follow, and a column at the crystal's edge on a
slope that its neighbours make. Both are pulled, the dim one by half its width.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from atomseg.localize.noise import smooth_level
from atomseg.localize.normal import Problem, add_prior, normal_equations
from atomseg.localize.solve import Solved, resume
from atomseg.localize.windows import Canvas, anchors

# Standard deviation of the spread, nm. Multislice images leave the least at 0.08 to 0.1; what is wider than that, the
# background of each column follows by itself.
TAIL_NM = 0.09
# Largest share of its light that a column can throw so far.
MOST_LIGHT = 0.7
# The columns have taken a part of that light as their own: what is seen when they gave it back is taken out too.
TURNS = 2
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
    canvas = problem.canvas
    tail = torch.zeros_like(canvas.image)
    for _ in range(TURNS):
        model = (problem.canvas.image.reshape(-1) - solved.left).view(canvas.image.shape)
        spread = smooth_level(replace(canvas, image=model), TAIL_NM)
        share = _share(problem, solved, spread)
        if share <= 0:
            break
        more = (share * spread).view(canvas.image.shape)
        tail += more
        problem = replace(problem, canvas=replace(canvas, image=canvas.image - tail))
        begun = replace(solved, left=solved.left - more.view(-1), iterations=0)
        solved = resume(replace(problem, max_iterations=ROUNDS), begun, torch.ones_like(solved.failed))
    return problem, solved, replace(canvas, image=tail)


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
    """How much of a light that is common to all columns is left, where each may take of it what its model can.

    Of the weighted squares of every window the column's own parameters are eliminated. What the normal equations hold
    of left and spread together comes from three images: their sum, their difference, and what is left alone.
    """
    usable = (~solved.failed).nonzero()[:, 0]
    if len(usable) < LEAST_COLUMNS:
        return 0.0
    rows = usable[:: max(1, len(usable) // SAMPLE)]
    fit, left = solved.fit, solved.left
    alone, plus, minus = (normal_equations(problem, fit, image, rows) for image in (left, left + spread, left - spread))
    own = add_prior(alone, fit.take(rows), problem.prior)
    coupling = 0.5 * (plus.gradient - minus.gradient).double()
    score = 0.25 * (plus.chi2 - minus.chi2).double()
    information = 0.5 * (plus.chi2 + minus.chi2).double() - alone.chi2.double()
    taken = torch.linalg.solve(own.curvature.double(), coupling[:, :, None])[:, :, 0]
    told = float((information - (taken * coupling).sum(1)).sum())
    seen = float((score - (taken * own.gradient.double()).sum(1)).sum())
    return float(np.clip(seen / told, 0.0, MOST_LIGHT)) if told > 0 else 0.0
