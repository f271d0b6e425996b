"""Noise that pixels share: grains of films and contamination, and filters, move neighbouring pixels together.

The variance of single pixels holds such noise, but pixels that are bright together say less than they seem to.

Grains as fine as columns: a random light of the columns' own fineness is asked for in every window. With noise of its
own in every pixel the squares of the answers, in units of their variance, are one on average, and with grains they are
more. What moves a column most its fit has taken away, so that some of the excess is not seen: half to all of it by the
size of the grains, in simulated films.

Filters (smoothing, interpolation, registered averages) act between next pixels, where fits take nothing away: from the
differences of pixels one, two and three apart follows how wide the filter is, and from that what it does to positions.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from atomseg.localize.model import AMPLITUDE, place
from atomseg.localize.normal import Problem, told_of
from atomseg.localize.solve import Solved, fitted_sample
from atomseg.localize.windows import disc

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
# Differences of pixels one apart are at most this share of those two apart, as squares, behind a filter that matters.
FILTERED = 0.9
# Standard deviations of the filter to choose from, nm.
FILTERS_NM = np.geomspace(0.002, 0.2, 200)


@dataclass(frozen=True)
class SharedNoise:
    """Factors, at least 1, by which variances are larger than single pixels tell.

    Parameters
    ----------
    position, amplitude : float
        Of a column's position along an axis, and of its amplitude.
    """

    position: float = 1.0
    amplitude: float = 1.0


def shared_noise(problem: Problem, solved: Solved) -> SharedNoise:
    """What noise that pixels share does to a column's position and to its amplitude.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights, prior.
    solved : Solved
        The end of its joint fit.
    """
    rows = fitted_sample(solved, SAMPLE)
    if len(rows) < LEAST_COLUMNS:
        return SharedNoise()
    grains, filtered = _by_grains(problem, solved, rows), _by_filter(problem, solved, rows)
    return SharedNoise(max(grains, filtered.position), max(grains, filtered.amplitude))


def _by_grains(problem: Problem, solved: Solved, rows: torch.Tensor) -> float:
    """Factor by grains as fine as columns."""
    information, score = told_of(problem, solved.fit, solved.left, _pattern(problem, solved), rows)
    square = (score**2 / information.clamp_min(1e-12)).cpu().numpy()
    typical = float(np.median(square)) / CHI2_MEDIAN
    factor = float(np.minimum(square, MOST_SQUARE * typical).mean())
    return max(1.0, factor * (1.0 - SCATTER / math.sqrt(len(rows))) / OF_SHAPE)


def _by_filter(problem: Problem, solved: Solved, rows: torch.Tensor) -> SharedNoise:
    """Factors by a Gaussian filter, 1 when none is seen.

    Behind a filter of standard deviation s pixels at distance d are correlated by exp(-d² / 4 s²). An amplitude's
    variance is larger by the sum over d of that times the autocorrelation of a Gaussian, exp(-d² / 4 sigma²), a
    position's by the same with that of its slope, exp(-d² / 4 sigma²) (1 - d_y² / 2 sigma²).

    The differences tell the variance of the noise, too. Where filters left little of it, what seemed noise is mostly
    the misfit of the columns' shape. Where there is more, fits took the rest; in simulated images they made between all
    and next to nothing of that into errors, and half of it, in logarithms, is taken for errors.
    """
    step, sigma = np.asarray(problem.canvas.step_nm), solved.fit.unit_nm
    one, two = (_difference(problem, solved, rows, apart) for apart in (1, 2))
    if not 0.0 < one < FILTERED * two:
        return SharedNoise()
    # 1 - rho along y times that along x: what differences hold of the variance.
    left_one, left_two = (
        np.prod([-np.expm1(-((apart * h / FILTERS_NM) ** 2) / 4.0) for h in step], axis=0) for apart in (1, 2)
    )
    likeliest = int(np.abs(left_one / left_two - one / two).argmin())
    of_noise = float(two / left_two[likeliest])
    share = of_noise if of_noise < 1.0 else math.sqrt(of_noise)
    reach = [np.arange(-n, n + 1) * h for n, h in zip(np.ceil(6.0 * sigma / step), step, strict=True)]
    y2, x2 = np.meshgrid(*(r**2 for r in reach), indexing="ij")
    narrow = np.exp(-0.25 * (y2 + x2) * (FILTERS_NM[likeliest] ** -2 + sigma**-2))
    position = share * float((narrow * (1.0 - 0.25 * (y2 + x2) / sigma**2)).sum())
    return SharedNoise(position, share * float(narrow.sum()))


def _difference(problem: Problem, solved: Solved, rows: torch.Tensor, apart: int) -> float:
    """Variance of second differences, in y and in x, of pixels so far apart in the windows of `rows`.

    In units of what they have when every pixel has noise of its own, by way of the mean of the absolute values, which
    single bright pixels change less.
    """
    canvas, fit = problem.canvas, solved.fit
    grid = disc(canvas, float(problem.radius_nm[rows].max()), fit.unit_nm)
    index = place(canvas, fit.take(rows)).index(grid).long()
    down = apart * canvas.image.shape[1]
    corners = (index, index + apart, index + down, index + down + apart)
    value = solved.left[corners[0]] - solved.left[corners[1]] - solved.left[corners[2]] + solved.left[corners[3]]
    weight = torch.stack([problem.weight[corner] for corner in corners]).amin(0)
    mean = (value * weight.sqrt())[weight > 0].abs().mean().nan_to_num()
    return 0.25 * math.pi / 2.0 * float(mean) ** 2


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
