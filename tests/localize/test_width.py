"""The common width of all columns: Newton's step towards it, and what a single column knows of its own."""

import numpy as np
import pytest
import torch

from atomseg.localize.learn import start
from atomseg.localize.model import residual
from atomseg.localize.noise import Noise
from atomseg.localize.normal import Prior, Problem
from atomseg.localize.solve import solve
from atomseg.localize.width import shared_width
from atomseg.localize.windows import Canvas

STEP, MARGIN, SIGMA, PEAK, NOISE = 0.02, 60, 0.07, 5.0, 0.5


def held(unit_nm, seed=None, spacing_nm=0.8):
    """Problem and fit at a common width of `unit_nm` of columns that are `SIGMA` wide, in white noise or in none."""
    yx = np.array([(y, x) for y in np.arange(0.5, 5.0, spacing_nm) for x in np.arange(0.5, 5.0, spacing_nm)])
    y, x = np.mgrid[:275, :275] * STEP
    image = sum(PEAK * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / SIGMA**2) for cy, cx in yx)
    if seed is not None:
        image = image + np.random.default_rng(seed).normal(0.0, NOISE, image.shape)
    flat = torch.from_numpy(np.pad(image, MARGIN).astype(np.float32))
    valid = torch.from_numpy(np.pad(np.ones(image.shape, np.float32), MARGIN))
    canvas, seeds = Canvas(flat, valid, (STEP, STEP), MARGIN), torch.from_numpy(yx)
    prior = Prior((1.0, 1.0, 0.0), 1e-3, 1e3)
    problem = Problem(
        canvas=canvas,
        seeds_nm=seeds,
        radius_nm=torch.full((len(yx),), 0.25, dtype=torch.float64),
        weight=valid.reshape(-1) / NOISE**2,
        noise=Noise(NOISE**2, 0.0, NOISE**2),
        prior=prior,
        max_shift_nm=torch.full((len(yx),), 0.07),
        tolerance_nm=1e-5,
        max_iterations=40,
    )
    return problem, solve(problem, start(seeds, unit_nm, prior)).fit


@pytest.mark.parametrize("off", [-0.04, 0.0, 0.04])
def test_step_leads_to_the_true_width(off):
    problem, fit = held(SIGMA * np.exp(off))
    step, _ = shared_width(problem, fit, residual(problem.canvas, fit, 1), torch.arange(len(fit)))
    # Newton's step is off by the square of what it covers, times some.
    assert step == pytest.approx(-off, abs=3 * 0.04**2)


def test_own_error_is_the_scatter_of_single_columns():
    single, told = [], []
    for seed in range(6):
        problem, fit = held(SIGMA, seed)
        left = residual(problem.canvas, fit, 1)
        for row in range(len(fit)):
            step, error = shared_width(problem, fit, left, torch.tensor([row]))
            single.append(step)
            told.append(error)
    # 216 columns: their scatter is known to 5 %.
    assert np.std(single) == pytest.approx(np.median(told), rel=0.15)
    assert abs(np.mean(single)) < 4 * np.std(single) / np.sqrt(len(single))
