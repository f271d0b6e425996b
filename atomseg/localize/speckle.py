"""Noise that pixels share: films and contamination have grains as fine as columns, which move them together.

The variance of single pixels holds such grains, but pixels that are bright together say less than they seem to. A
random light of the columns' own fineness is asked for in every window: with noise of its own in every pixel the squares
of the answers, in units of their variance, are one on average, and with grains they are more. What moves a column most
its fit has taken away, so that some of the excess is not seen: half to all of it by the size of the grains, in
simulated films.
"""

import math

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from atomseg.localize.model import AMPLITUDE
from atomseg.localize.normal import Problem, told_of
from atomseg.localize.solve import Solved, fitted_sample

# Columns that are asked, evenly taken from all, and the fewest that say anything.
SAMPLE, LEAST_COLUMNS = 1500, 60
# Side of the random pattern, pixels; it is repeated over the image.
PATTERN_PX = 384
# Its height, of a typical column's: a light as weak as noise, so that squares keep their digits.
HEIGHT = 0.05
# Median of chi^2 with one degree of freedom.
CHI2_MEDIAN = 0.4549
# A square counts as at most so many typical ones: a window with something else in it is no measure of noise.
MOST_SQUARE = 10.0
# Standard error of a mean of squares, times the root of their number.
SCATTER = 2.0**0.5
# What columns that are not quite Gaussians leave, by multislice images; it is no noise and moves nothing.
OF_SHAPE = 1.1


def shared_noise(problem: Problem, solved: Solved) -> float:
    """Factor, at least 1, by which the variance of positions is larger than single pixels tell.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights, prior.
    solved : Solved
        The end of its joint fit.
    """
    rows = fitted_sample(solved, SAMPLE)
    if len(rows) < LEAST_COLUMNS:
        return 1.0
    information, score = told_of(problem, solved.fit, solved.left, _pattern(problem, solved), rows)
    square = (score**2 / information.clamp_min(1e-12)).cpu().numpy()
    typical = float(np.median(square)) / CHI2_MEDIAN
    factor = float(np.minimum(square, MOST_SQUARE * typical).mean())
    return max(1.0, factor * (1.0 - SCATTER / math.sqrt(len(rows))) / OF_SHAPE)


def _pattern(problem: Problem, solved: Solved) -> torch.Tensor:
    """Flat random light as fine as columns are, the same in every run."""
    canvas, fit = problem.canvas, solved.fit
    noise = np.random.default_rng(0).normal(size=(PATTERN_PX, PATTERN_PX))
    smooth = gaussian_filter(noise, [fit.unit_nm / step for step in canvas.step_nm], mode="wrap")
    height = HEIGHT * float(fit.get(AMPLITUDE).median().clamp_min(1e-6))
    tile = torch.from_numpy((height / smooth.std() * smooth).astype(np.float32)).to(canvas.image.device)
    rows, cols = canvas.image.shape
    again = tile.repeat(-(-rows // PATTERN_PX), -(-cols // PATTERN_PX))
    return again[:rows, :cols].reshape(-1)
