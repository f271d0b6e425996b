"""What the columns of this image have in common: width, noise, and how much they scatter, from a sample of them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from atomseg.localize.model import AMPLITUDE, P_XX, P_YX, P_YY, SLOPE_X, SLOPE_Y, Fit, place, whole_windows
from atomseg.localize.noise import Noise, high_pass_noise, inverse_variance, noise_from_residuals, smooth_level
from atomseg.localize.normal import Prior, Problem, add_prior, normal_equations
from atomseg.localize.solve import Solved, solve
from atomseg.localize.unlisted import Kind, find_kinds
from atomseg.localize.width import shared_width
from atomseg.localize.windows import FWHM_PER_SIGMA, NARROWEST_NM, WIDEST_NM, Canvas, anchors, disc

# First guess of a column's standard deviation, nm: the middle of what probes in use give (0.035 to 0.1).
FIRST_UNIT_NM = 0.05
# Smoothing of the level by which a pixel's noise goes, in standard deviations of a column.
SMOOTH_UNITS = 0.5
# The same for what the fitted Gaussians leave: wide enough to average over the noise, narrower than a step of the
# background matters.
SMOOTH_REST_UNITS = 1.5
# How far a column of the sample may walk from its seed, nm.
SAMPLE_WALK_NM = 0.07
# A fit may walk this many errors of its starting position, if that is further than its width allows, and this many
# full widths where it begins so near to the border: light that is cut off begins inside and can belong outside.
SEED_ERRORS, BORDER_FWHM = 2.5, 0.6
# The sample: patches of neighbouring columns, of which the inner ones, whose neighbours are all in the patch, are used.
N_PATCHES, PATCH_COLUMNS, PATCH_INNER = 12, 64, 24
# Scatter of the shape (relative precision) and of background slopes (typical amplitudes per standard deviation) below
# which a pull would be tighter than real columns are alike: 1 % in width, and 2 % of the amplitude per nm of
# background, which displaces a column by 0.2 pm.
LEAST_SHAPE_SD, LEAST_SLOPE = 0.02, 0.001
# How much of the scatter that shapes show when every column is asked for its own is taken for theirs. Most of it is
# light of neighbours and from between columns, which a free shape takes on and then carries the position along: on
# micrographs the equivalent lattice vectors scatter by up to a fifth less with three tenths of it.
SHAPE_SHARE = 0.3
BROAD_SHAPE_SD, BROAD_SLOPE = 0.5, 0.05
# Where a column's own light leaves more than this error in its width (relative; half of that of a precision), the
# broad pull takes a fifth of the way or more, and noise the rest: a typical width would be what the search began with,
# and all columns are asked together for one that they share.
UNTOLD_WIDTH = 0.25 * BROAD_SHAPE_SD
# They are asked from the wide side, the widest probe in use: narrow Gaussians that may move settle on single peaks of
# the noise, which are narrow, and the search would end there.
WIDE_START_NM = 0.1
# Looks at most, and the longest and the last step between them, of the logarithm of the width.
MOST_LOOKS, LONGEST_LOOK, LAST_LOOK = 6, 0.3, 0.03
# Shapes are held by a pull this tight, and rounds of a look: positions need not settle to a share of their errors.
HELD_SD, HELD_ROUNDS = 1e-3, 7


def window_radius_nm(canvas: Canvas, seeds_nm: torch.Tensor, unit_nm: float, window_fwhm: float) -> torch.Tensor:
    """(N,) radius of each column's window, nm.

    1.3 FWHM holds 99 % of the light. A window that reaches into a neighbour's core inherits the neighbour's misfit, so
    it ends at 0.62 of the way there, but never below 0.95 FWHM (background and amplitude would trade places) or 2.3
    pixels.
    """
    fwhm, points = FWHM_PER_SIGMA * unit_nm, seeds_nm.cpu().numpy()
    nearest = np.full(len(points), np.inf)
    if len(points) > 1:
        nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    radius = np.clip(0.62 * nearest, 0.95 * fwhm, max(window_fwhm, 0.95) * fwhm)
    return torch.from_numpy(np.maximum(radius, 2.3 * max(canvas.step_nm))).to(seeds_nm.device)


def longest_walk_nm(
    canvas: Canvas, seeds_nm: torch.Tensor, sigma_nm: np.ndarray, unit_nm: float, max_shift_fwhm: float
) -> torch.Tensor:
    """(N,) how far columns may be from their seeds, nm.

    What draws a fit further than a third of a column's width is other light: a grain of a film, a neighbour's tail. The
    network, which sees the whole neighbourhood, is hardly ever that far off, and if it may be, it says so.
    """
    fwhm = FWHM_PER_SIGMA * unit_nm
    inner = whole_windows(canvas, seeds_nm, torch.full((len(seeds_nm),), BORDER_FWHM * fwhm, dtype=torch.float64))
    width = np.where(inner, max_shift_fwhm, max(BORDER_FWHM, max_shift_fwhm))
    walk_nm = np.maximum(SEED_ERRORS * sigma_nm.mean(axis=1), width * fwhm)
    return torch.from_numpy(walk_nm).to(seeds_nm.device)


def start(seeds_nm: torch.Tensor, unit_nm: float, prior: Prior) -> Fit:
    """Columns at their seeds with the typical shape and no light yet."""
    shape = torch.zeros(len(seeds_nm), 7, dtype=torch.float32, device=seeds_nm.device)
    for index, value in zip((P_YY, P_XX, P_YX), prior.shape, strict=True):
        shape[:, index - 2] = value
    return Fit(seeds_nm.clone(), shape, unit_nm)


@dataclass(frozen=True)
class Learned:
    """What the columns of an image have in common.

    Parameters
    ----------
    unit_nm : float
        Typical standard deviation of a column.
    noise : Noise
        Of the pixels.
    prior : Prior
        Typical shape, and how far shapes and background slopes scatter.
    kinds : list of Kind
        Pairs of columns with light between them.
    """

    unit_nm: float
    noise: Noise
    prior: Prior
    kinds: list[Kind]


def learn(canvas: Canvas, seeds_nm: torch.Tensor, window_fwhm: float, workers: int) -> Learned:
    """Typical standard deviation of a column, noise, prior, and light between columns.

    Parameters
    ----------
    canvas : Canvas
        Image.
    seeds_nm : torch.Tensor
        (N, 2) float64 starting positions, nm.
    window_fwhm : float
        Radius of the windows in widths.
    workers : int
        Threads.
    """
    chosen, inner = _sample(seeds_nm.cpu().numpy())
    sample = seeds_nm[torch.from_numpy(chosen).to(seeds_nm.device)]
    usable = torch.from_numpy(inner).to(sample.device)
    inside = slice(canvas.margin, -canvas.margin)
    noise = high_pass_noise(canvas.image[inside, inside].cpu().numpy())
    unit = max(FIRST_UNIT_NM, 0.6 * max(canvas.step_nm))
    contrast = _contrast(canvas, sample)
    level = smooth_level(canvas, SMOOTH_UNITS * unit)
    task = Problem(
        canvas=canvas,
        seeds_nm=sample,
        radius_nm=window_radius_nm(canvas, sample, unit, window_fwhm),
        weight=inverse_variance(canvas, noise, level),
        noise=noise,
        prior=Prior((1.0, 1.0, 0.0), BROAD_SHAPE_SD, BROAD_SLOPE * contrast),
        max_shift_nm=torch.full((len(sample),), SAMPLE_WALK_NM, device=sample.device),
        tolerance_nm=1e-3,
        max_iterations=14,
        workers=workers,
    )
    for look in range(3):
        solved = solve(task, start(sample, unit, task.prior))
        bright = _bright(solved.fit, usable & ~solved.failed)
        after = _quieter(task, solved, bright, level)
        if len(bright) < 3:
            break
        if look == 0 and shared_width(task, solved.fit, solved.left, bright)[1] > UNTOLD_WIDTH:
            return _together(after, usable, window_fwhm)
        typical = _typical_shape(solved.fit, bright)
        size = max(typical[0] * typical[1] - typical[2] ** 2, 1e-3) ** -0.25
        found = _possible(canvas, unit * size)
        if abs(found / unit - 1.0) < 0.1 or look == 2:
            break
        unit = found
        task = replace(after, radius_nm=window_radius_nm(canvas, sample, unit, window_fwhm))
    prior = _scatter(replace(task, weight=after.weight), solved, bright)
    # Columns that are held to a shape that was learned with light between them do not give it back.
    free = replace(after, prior=replace(prior, shape_sd=BROAD_SHAPE_SD), max_iterations=HELD_ROUNDS)
    kinds, fit = find_kinds(free, solved, seeds_nm.cpu().numpy(), chosen)
    if kinds:
        prior = replace(prior, shape=_typical_shape(fit, bright))
    return Learned(unit, after.noise, prior, kinds)


def _contrast(canvas: Canvas, seeds_nm: torch.Tensor) -> float:
    """A first idea of how bright columns are: the brighter ones' pixels, above the darkest places of the image."""
    index, _ = anchors(canvas, seeds_nm, 1.0)
    bright = float(torch.quantile(canvas.image.reshape(-1)[index.long()], 0.9))
    return bright if bright > 0.0 else 1.0


def _together(task: Problem, usable: torch.Tensor, window_fwhm: float) -> Learned:
    """What `learn` gives, where no column tells its width and all are asked for one width that they share."""
    canvas, sample = task.canvas, task.seeds_nm
    unit = _possible(canvas, WIDE_START_NM)
    for _ in range(MOST_LOOKS):
        held = replace(
            task,
            radius_nm=window_radius_nm(canvas, sample, unit, window_fwhm),
            prior=replace(task.prior, shape_sd=HELD_SD),
            max_iterations=HELD_ROUNDS,
        )
        solved = solve(held, start(sample, unit, held.prior))
        bright = _bright(solved.fit, usable & ~solved.failed)
        task = _quieter(task, solved, bright, smooth_level(canvas, SMOOTH_UNITS * unit))
        if len(bright) < 3:
            break
        step = shared_width(held, solved.fit, solved.left, bright)[0]
        if abs(step) < LAST_LOOK:
            break
        unit = _possible(canvas, unit * math.exp(min(max(step, -LONGEST_LOOK), LONGEST_LOOK)))
    return Learned(unit, task.noise, _scatter(task, solved, bright), [])


def _quieter(task: Problem, solved: Solved, bright: torch.Tensor, level: torch.Tensor) -> Problem:
    """The task with the noise and the slopes that its fit shows."""
    noise = seen_noise(task, solved.fit, solved.left, bright, task.noise)
    prior = replace(task.prior, slope_sd=BROAD_SLOPE * _typical_amplitude(solved.fit, bright))
    return replace(task, noise=noise, weight=inverse_variance(task.canvas, noise, level), prior=prior)


def _possible(canvas: Canvas, unit_nm: float) -> float:
    """A standard deviation that probe and pixel allow, nm."""
    return float(np.clip(unit_nm, max(NARROWEST_NM, 0.4 * max(canvas.step_nm)), WIDEST_NM))


def _sample(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of patches of columns, and which of them lie inside a patch (bool)."""
    n = len(points)
    if n <= N_PATCHES * PATCH_COLUMNS:
        return np.arange(n), np.ones(n, dtype=bool)
    centres = points[np.linspace(0, n - 1, N_PATCHES).astype(int)]
    near = cKDTree(points).query(centres, k=PATCH_COLUMNS)[1]
    chosen = np.unique(near)
    return chosen, np.isin(chosen, near[:, :PATCH_INNER])


def _bright(fit: Fit, usable: torch.Tensor) -> torch.Tensor:
    """Indices of the brighter half of the usable columns: the dim ones say little about shape."""
    rows = usable.nonzero()[:, 0]
    amplitude = fit.shape[rows, AMPLITUDE - 2]
    return rows[amplitude >= amplitude.median()] if len(rows) else rows


def _typical_shape(fit: Fit, rows: torch.Tensor) -> tuple[float, float, float]:
    """Median precisions (yy, xx, yx) of `rows`."""
    a, c, b = fit.shape[rows, P_YY - AMPLITUDE : P_YX - AMPLITUDE + 1].median(dim=0).values.tolist()
    return a, c, b


def _typical_amplitude(fit: Fit, rows: torch.Tensor) -> float:
    """Median amplitude of `rows`, canvas units; 1 when there are none."""
    return float(fit.shape[rows, AMPLITUDE - 2].median().clamp_min(1e-3)) if len(rows) else 1.0


def seen_noise(task: Problem, fit: Fit, left: torch.Tensor, rows: torch.Tensor, previous: Noise) -> Noise:
    """Noise from what the fit of `rows` leaves over; the previous one when there are none.

    Parameters
    ----------
    task : Problem
        Image and windows.
    fit : Fit
        All columns.
    left : torch.Tensor
        Flat image minus all Gaussians.
    rows : torch.Tensor
        (n,) int64 columns to ask.
    previous : Noise
        What was thought before.
    """
    if not len(rows):
        return previous
    canvas = task.canvas
    grid = disc(canvas, float(task.radius_nm[rows].max()), fit.unit_nm)
    some = fit.take(rows)
    placed = place(canvas, some)
    index = placed.base.long() + grid.flat
    over = left[index] - placed.background(grid)
    level = canvas.image.reshape(-1)[index] - over
    used = (grid.radius2 <= (task.radius_nm[rows, None] / fit.unit_nm) ** 2) & (canvas.valid.reshape(-1)[index] > 0)
    pixels = max(float(used.sum()) / len(rows), 9.5)
    # Nine parameters a column, of which the pulls leave about seven.
    return noise_from_residuals(level[used].cpu().numpy(), over[used].cpu().numpy(), pixels / (pixels - 7.0))


def bright_sample(fit: Fit, usable: torch.Tensor) -> torch.Tensor:
    """Indices of at most some hundred of the brighter usable columns, spread evenly over all."""
    rows = _bright(fit, usable)
    return rows[:: max(1, len(rows) // (N_PATCHES * PATCH_INNER))]


def _scatter(task: Problem, solved: Solved, rows: torch.Tensor) -> Prior:
    """Typical shape, and the scatter of shape and slope beyond what noise makes."""
    fit = solved.fit
    amplitude = _typical_amplitude(fit, rows)
    if len(rows) < 8:
        return Prior((1.0, 1.0, 0.0), LEAST_SHAPE_SD * 3.0, LEAST_SLOPE * 3.0 * amplitude)
    normal = add_prior(normal_equations(task, fit, solved.left, rows), fit.take(rows), task.prior)
    variance = torch.diagonal(torch.linalg.inv(normal.curvature.double()), dim1=1, dim2=2)
    values = torch.cat([torch.zeros(len(rows), 2, device=fit.shape.device), fit.shape[rows]], dim=1).double()
    middle = values.median(dim=0).values
    seen = (1.4826 * (values - middle).abs().median(dim=0).values) ** 2
    # A scatter from n columns is known to 1.17 sqrt(2 / n); within twice that it is noise and nothing else.
    chance = 1.0 + 2.0 * 1.17 * (2.0 / len(rows)) ** 0.5
    beyond = (seen - chance * variance.median(dim=0).values).clamp_min(0.0)
    shape_sd = max(SHAPE_SHARE * float(beyond[[P_YY, P_XX, P_YX]].mean()) ** 0.5, LEAST_SHAPE_SD)
    slope_sd = max(float(beyond[[SLOPE_Y, SLOPE_X]].mean()) ** 0.5, LEAST_SLOPE * amplitude)
    shape = (float(middle[P_YY]), float(middle[P_XX]), float(middle[P_YX]))
    return Prior(shape, shape_sd, slope_sd)
