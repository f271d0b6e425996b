"""Localization: from a micrograph and what the network saw in it to columns with errors."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from atomseg.imaging import at_nearest_pixels, unseen_area
from atomseg.localize.apart import apart
from atomseg.localize.config import LocalizeConfig
from atomseg.localize.doubt import CLEAR_NM, clear, with_clear
from atomseg.localize.evidence import unseen
from atomseg.localize.learn import (
    SMOOTH_REST_UNITS,
    SMOOTH_UNITS,
    bright_sample,
    learn,
    longest_walk_nm,
    seen_noise,
    start,
    window_radius_nm,
)
from atomseg.localize.levels import (
    binned,
    bins,
    level_of_pixels,
    noise_of_pixels,
    origin_nm,
    pixels_of_means,
    sharpen,
    sharpen_prior,
)
from atomseg.localize.model import Fit, draw, residual
from atomseg.localize.noise import inverse_variance, smooth_level
from atomseg.localize.normal import Problem
from atomseg.localize.peaks import find_peaks, in_view, where_seen
from atomseg.localize.solve import Solved, begin, resume
from atomseg.localize.table import Seen, describe
from atomseg.localize.tails import without_tails
from atomseg.localize.unlisted import Kind, unlisted, without
from atomseg.localize.windows import MARGIN_NM, Canvas
from atomseg.localize.workers import fit_workers
from atomseg.types import ColumnFlag, Columns, Micrograph, Prediction
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.units import PM_PER_NM

# Without a network to say so, a starting position is good to about this, nm.
SEED_SIGMA_NM = 0.03
# Starting positions may be this far outside the image: a column's light reaches in.
OUTSIDE_NM = 0.6
# Rounds on the original pixels, after the fit has settled on their means: what is left to walk is a tenth of an error.
LAST_ROUNDS = 8
# Pixels that are asked for the image's offset and contrast.
SAMPLE_PIXELS = 1_000_000


def localize(micrograph: Micrograph, prediction: Prediction, config: LocalizeConfig, *, device: str = "cpu") -> Columns:
    """Columns of a micrograph: peaks of the heat map, refined by a joint fit on the original pixels.

    Parameters
    ----------
    micrograph : Micrograph
        The image as measured.
    prediction : Prediction
        What the network saw in it.
    config : LocalizeConfig
        Settings.
    device : str
        Where to compute, as torch names it.

    Returns
    -------
    Columns
        Sorted by row, then column. Columns that the fit could not improve are flagged and stay at the network's place;
        columns whose centre lies outside the image are left out.
    """
    peaks, step = find_peaks(prediction, config.merge_nm, config.min_crystal), micrograph.calibration.pixel_size_nm
    if micrograph.invalid is not None:
        peaks = where_seen(peaks, micrograph.invalid, step, prediction.heatmap_threshold)
    found = fit_columns(
        micrograph.image,
        peaks.yx_px,
        step,
        config,
        probability=peaks.probability,
        seed_sigma_nm=peaks.sigma_px * np.asarray(step),
        invalid=micrograph.invalid,
        doubted=peaks.probability <= prediction.heatmap_threshold,
        device=device,
    )
    table = found.table
    light, error, chance = (table[name].to_numpy(float) for name in ("amplitude", "amplitude_err", "probability"))
    dim = unseen(found.yx_nm, light, error, chance, config.min_significance)
    seen = ~(dim & (chance < config.sure_probability))
    doubted = np.flatnonzero(chance <= prediction.heatmap_threshold)
    seen[doubted] &= clear(found.yx_nm, light, error[doubted], found.sigma_nm[doubted], doubted)
    seen[doubted] &= (table["flags"].to_numpy()[doubted] & int(ColumnFlag.FIT_FAILED)) == 0
    # A fit can end outside the image: light of a column in the next field of view, which helped its neighbours' fit.
    # Doubted ones have to be inside by as much as their place may be wrong.
    yx_px, shape = table[["y_px", "x_px"]].to_numpy(float), micrograph.image.shape
    inside = in_view(yx_px, shape)
    wrong_px = CLEAR_NM / np.asarray(step)
    inside[doubted] &= in_view(yx_px[doubted] - wrong_px, shape) & in_view(yx_px[doubted] + wrong_px, shape)
    if micrograph.invalid is not None:
        inside &= ~at_nearest_pixels(unseen_area(micrograph.invalid, step), yx_px)
    kept = table[seen & inside].reset_index(drop=True)
    return Columns(kept.assign(id=np.arange(len(kept))))


def fit_columns(
    image: np.ndarray,
    yx_px: np.ndarray,
    pixel_size_nm: tuple[float, float],
    config: LocalizeConfig,
    *,
    probability: np.ndarray | None = None,
    seed_sigma_nm: np.ndarray | float = SEED_SIGMA_NM,
    invalid: np.ndarray | None = None,
    doubted: np.ndarray | None = None,
    device: str = "cpu",
) -> Columns:
    """Joint sub-pixel fit of columns that were found before.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float, as measured.
    yx_px : numpy.ndarray
        (N, 2) starting positions, pixels.
    pixel_size_nm : tuple of float
        (y, x) pixel size, nm.
    config : LocalizeConfig
        Settings.
    probability : numpy.ndarray or None
        (N,) detection probability; 1 when None.
    seed_sigma_nm : numpy.ndarray or float
        Error of the starting positions, (N, 2) or one, nm: what a failed column is given.
    invalid : numpy.ndarray or None
        (H, W) bool, True for pixels to leave out.
    doubted : numpy.ndarray or None
        (N,) bool, starting positions that are left out unless their light is clearly seen; not all of them.
    device : str
        Where to compute, as torch names it.

    Returns
    -------
    Columns
        With `amplitude_err` beside the localization fields, in the order of the starting positions; of several that end
        on the same spot only the most probable is kept.

    Raises
    ------
    ValueError
        If all starting positions are doubted, or one is no number or further outside the image than 0.6 nm.
    """
    seeds, step = np.asarray(yx_px, dtype=np.float64).reshape(-1, 2), (float(pixel_size_nm[0]), float(pixel_size_nm[1]))
    _check_seeds(seeds, step, image.shape)
    with fit_workers(device) as workers:
        return _fit_columns(
            image,
            seeds,
            step,
            config,
            probability=probability,
            seed_sigma_nm=seed_sigma_nm,
            invalid=invalid,
            doubted=doubted,
            device=device,
            workers=workers,
        )


def _check_seeds(seeds: np.ndarray, step: tuple[float, float], shape: tuple[int, ...]) -> None:
    """Raise where a starting position has no pixels around it."""
    outside = np.maximum(-0.5 - seeds, seeds - (np.asarray(shape) - 0.5)) * np.asarray(step)
    wrong = ~(outside <= OUTSIDE_NM).all(axis=1)
    if wrong.any():
        y, x = seeds[wrong][0]
        raise ValueError(
            f"{wrong.sum()} of {len(seeds)} starting positions are not in the image of {shape[0]} x {shape[1]} pixels, "
            f"the first at (y, x) = ({y:g}, {x:g}); leave out those more than {OUTSIDE_NM:g} nm outside it"
        )


def _fit_columns(
    image: np.ndarray,
    seeds: np.ndarray,
    step: tuple[float, float],
    config: LocalizeConfig,
    *,
    probability: np.ndarray | None,
    seed_sigma_nm: np.ndarray | float,
    invalid: np.ndarray | None,
    doubted: np.ndarray | None,
    device: str,
    workers: int,
) -> Columns:
    """`fit_columns` with its arguments in order."""
    chance = np.ones(len(seeds)) if probability is None else np.asarray(probability, dtype=np.float64)
    sigma = np.broadcast_to(np.asarray(seed_sigma_nm, dtype=np.float64), seeds.shape)
    if not len(seeds):
        empty = pd.DataFrame({name: np.zeros(0) for name in (*LOCALIZATION_FIELDS, "amplitude_err")})
        return Columns(empty.astype({"id": np.int64, "flags": np.int64}))
    canvas, offset, scale = _canvas(image, invalid, step, device)
    seeds_nm = torch.from_numpy(seeds * np.asarray(step)).to(device)
    size = bins(step)
    coarse = binned(canvas, size)
    doubt = np.zeros(len(seeds), dtype=bool) if doubted is None else np.asarray(doubted, dtype=bool)
    if doubt.all():
        raise ValueError(f"all {len(seeds)} starting positions are doubted; one at least has to be sure")
    start_nm, sure = seeds_nm - _origin(canvas, size), torch.from_numpy(~doubt).to(device)
    problem, solved, kinds, stays = _settle(
        coarse, start_nm[sure], sigma[~doubt], chance[~doubt], config=config, workers=workers
    )
    problem, solved, tail = without_tails(problem, solved)
    problem, solved, stays = with_clear(
        problem,
        solved,
        np.flatnonzero(~doubt)[stays],
        seeds_nm=start_nm,
        chance=chance,
        doubted=np.flatnonzero(doubt),
        window_fwhm=config.window_fwhm,
    )
    # Between columns where they are now: seeds lag behind displacements, and light in a wrong place would pull with it.
    light = unlisted(solved.fit, kinds, problem.prior.shape, coarse)
    problem, solved = _finish(canvas, size, (problem, solved), light, tail)
    return describe(
        problem, solved, Seen(canvas, offset, scale, tail), probability=chance[stays], seed_sigma_nm=sigma[stays]
    )


def _origin(canvas: Canvas, size: tuple[int, int]) -> torch.Tensor:
    """(2,) position of the first pixel of means of `size` pixels, nm."""
    return torch.tensor(origin_nm(canvas.step_nm, size), dtype=torch.float64, device=canvas.image.device)


def _settle(
    canvas: Canvas,
    seeds_nm: torch.Tensor,
    sigma_nm: np.ndarray,
    chance: np.ndarray,
    *,
    config: LocalizeConfig,
    workers: int,
) -> tuple[Problem, Solved, list[Kind], np.ndarray]:
    """The joint fit from the seeds, the kinds of pairs whose light was taken out before, and who stays (`apart`)."""
    learned = learn(canvas, seeds_nm, config.window_fwhm, workers)
    unit, noise, prior = learned.unit_nm, learned.noise, learned.prior
    problem = Problem(
        canvas=canvas,
        seeds_nm=seeds_nm,
        radius_nm=window_radius_nm(canvas, seeds_nm, unit, config.window_fwhm),
        weight=inverse_variance(canvas, noise, smooth_level(canvas, SMOOTH_UNITS * unit)),
        noise=noise,
        prior=prior,
        max_shift_nm=longest_walk_nm(canvas, seeds_nm, sigma_nm, unit, config.max_shift_fwhm),
        tolerance_nm=config.tolerance_pm / PM_PER_NM,
        max_iterations=config.max_iterations,
        workers=workers,
    )
    begun = begin(problem, start(seeds_nm, unit, prior))
    light = unlisted(begun.fit, learned.kinds, prior.shape, canvas)
    problem = without(problem, light)
    draw(begun.left, canvas, light, -1.0, workers)
    problem, solved, stays = apart(problem, resume(problem, begun, ~begun.failed), chance)
    return problem, solved, learned.kinds, stays


def _finish(
    canvas: Canvas, size: tuple[int, int], settled: tuple[Problem, Solved], light: Fit, tail: Canvas
) -> tuple[Problem, Solved]:
    """The last rounds, on the original pixels, without `light` and `tail`, with the weights of maximum likelihood."""
    problem, solved = settled
    fit = solved.fit
    if size != (1, 1):
        fit, light = (
            replace(sharp, yx_nm=sharp.yx_nm + _origin(canvas, size))
            for sharp in (sharpen(f, canvas.step_nm, size) for f in (fit, light))
        )
    dark = replace(canvas, image=canvas.image - pixels_of_means(tail, canvas, size))
    problem = without(replace(problem, canvas=dark), light)
    left = residual(problem.canvas, fit, problem.workers)
    problem = replace(
        problem,
        seeds_nm=problem.seeds_nm + _origin(canvas, size),
        prior=sharpen_prior(problem.prior, fit.unit_nm, canvas.step_nm, size),
        max_iterations=min(problem.max_iterations, LAST_ROUNDS),
    )
    noise = noise_of_pixels(problem.noise, size)
    # Noise goes by all the light that a pixel saw.
    noise = seen_noise(replace(problem, canvas=canvas), fit, left, bright_sample(fit, ~solved.failed), noise)
    weight = inverse_variance(canvas, noise, _model_level(canvas, left, fit.unit_nm, size))
    again = replace(solved, fit=fit, left=left, iterations=0)
    problem = replace(problem, noise=noise, weight=weight)
    return problem, resume(problem, again, torch.ones_like(solved.failed))


def _model_level(canvas: Canvas, left: torch.Tensor, unit_nm: float, size: tuple[int, int]) -> torch.Tensor:
    """Flat level of the fitted model: its Gaussians, and what is `left` without them, smoothed, as the background.

    Weights from the model's own level make the least squares of a Poisson image its maximum likelihood: where they
    agree, both have the same derivative. The smooth part is taken from means of `size` pixels, which costs less.
    """
    rest = binned(replace(canvas, image=left.view(canvas.image.shape)), size)
    smooth = smooth_level(rest, SMOOTH_REST_UNITS * unit_nm)
    return level_of_pixels(smooth, rest, canvas, size).add_(canvas.image.reshape(-1) - left)


def _canvas(
    image: np.ndarray, invalid: np.ndarray | None, step: tuple[float, float], device: str
) -> tuple[Canvas, float, float]:
    """The image with offset and scale taken out, so that float32 and fixed tolerances serve any detector."""
    valid = np.isfinite(image) if invalid is None else np.isfinite(image) & ~invalid
    some = (slice(None, None, max(1, round(math.sqrt(image.size / SAMPLE_PIXELS)))),) * 2
    measured = image[some][valid[some]].astype(np.float64)
    low, high = (float(v) for v in np.percentile(measured, [1.0, 99.5])) if measured.size else (0.0, 1.0)
    scale = max(high - low, 1e-6 * abs(low)) or 1.0
    margin = math.ceil(MARGIN_NM / min(step)) + 2
    inside = (slice(margin, -margin),) * 2
    # Written in place: large arrays cost more to come by than to fill.
    plain, measured_there = np.zeros((2, *(n + 2 * margin for n in image.shape)), dtype=np.float32)
    np.multiply(image - low, 1.0 / scale, out=plain[inside], casting="same_kind")
    if not valid.all():
        plain[inside][~valid] = 0.0
    measured_there[inside] = valid
    canvas = Canvas(
        image=torch.from_numpy(plain).to(device),
        valid=torch.from_numpy(measured_there).to(device),
        step_nm=step,
        margin=margin,
    )
    return canvas, float(low), scale
