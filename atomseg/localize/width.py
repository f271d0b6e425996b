"""What all columns say together about the one width that they share."""

from dataclasses import replace

import torch

from atomseg.localize.model import AMPLITUDE, LEVEL, N_PARAMETERS, P_XX, P_YX, P_YY, SLOPE_X, SLOPE_Y, Fit, X, Y
from atomseg.localize.normal import Problem, add_prior, normal_equations

# A scatter of shapes that pulls nothing.
UNPULLED_SD = 1e6
# What the width trades places with in a column's light.
OTHERS = (Y, X, AMPLITUDE, LEVEL, SLOPE_Y, SLOPE_X)


def shared_width(task: Problem, fit: Fit, left: torch.Tensor, rows: torch.Tensor) -> tuple[float, float]:
    """Newton's step of the logarithm of the common width, and how well the typical column knows its own.

    Scores and informations of the columns' windows are added up; each column's position, amplitude and background
    follow the width, neighbours stay as they are.

    Parameters
    ----------
    task : Problem
        Image, windows, noise.
    fit : Fit
        All columns, at rest.
    left : torch.Tensor
        Flat image minus all Gaussians.
    rows : torch.Tensor
        (n,) int64 columns to ask, n at least 1.

    Returns
    -------
    step : float
        To be added to the logarithm of the width.
    own_error : float
        Median standard error of the logarithm of a single column's width, from its light alone.
    """
    some = fit.take(rows)
    normal = add_prior(normal_equations(task, fit, left, rows), some, replace(task.prior, shape_sd=UNPULLED_SD))
    curvature, gradient = normal.curvature.double(), normal.gradient.double()
    others = list(OTHERS)
    # A precision goes with the inverse square of the width.
    along = torch.zeros(len(rows), N_PARAMETERS, 1, dtype=curvature.dtype, device=curvature.device)
    for index in (P_YY, P_XX, P_YX):
        along[:, index, 0] = -2.0 * some.get(index)
    push = (curvature @ along)[:, :, 0]
    follow = torch.linalg.solve(curvature[:, others][:, :, others], push[:, others])
    information = (along[:, :, 0] * push).sum(1) - (follow * push[:, others]).sum(1)
    score = (along[:, :, 0] * gradient).sum(1) - (follow * gradient[:, others]).sum(1)
    own_error = float(information.median().clamp_min(1e-12)) ** -0.5
    return float(score.sum() / information.sum().clamp_min(1e-12)), own_error
