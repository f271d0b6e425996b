"""Coarse to fine: means of pixels, the way back, and that the end is the fit on the original pixels."""

import numpy as np
import pytest
import torch

from atomseg.localize import LocalizeConfig, fit_columns, levels
from atomseg.localize.levels import binned, bins, noise_of_pixels, origin_nm, sharpen
from atomseg.localize.model import Fit
from atomseg.localize.noise import Noise
from atomseg.localize.windows import Canvas

SIGMA_NM = 0.05


def canvas_of(image, step_nm, valid=None):
    valid = np.ones_like(image) if valid is None else valid
    return Canvas(
        image=torch.from_numpy(np.pad(image * valid, 60).astype(np.float32)),
        valid=torch.from_numpy(np.pad(valid, 60).astype(np.float32)),
        step_nm=step_nm,
        margin=60,
    )


def inside(canvas, tensor):
    return tensor[canvas.margin : -canvas.margin, canvas.margin : -canvas.margin].numpy()


def scene(rng, *, pixel_nm, shape, peak=40.0, background=8.0):
    """Poisson image of a lattice, its positions (nm) and starting positions (pixels)."""
    step = np.asarray(pixel_nm)
    size = np.asarray(shape) * step
    y, x = np.meshgrid(np.arange(0.2, size[0] - 0.2, 0.27), np.arange(0.2, size[1] - 0.2, 0.3), indexing="ij")
    yx = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(-0.02, 0.02, (y.size, 2))
    rows, cols = np.arange(shape[0]) * step[0], np.arange(shape[1]) * step[1]
    tall = np.exp(-0.5 * ((rows[:, None] - yx[:, 0]) / SIGMA_NM) ** 2)
    wide = np.exp(-0.5 * ((cols[:, None] - yx[:, 1]) / SIGMA_NM) ** 2)
    image = rng.poisson(background + peak * (tall @ wide.T)).astype(np.float32)
    return image, yx, (yx + rng.normal(0.0, 0.01, yx.shape)) / step


def test_pixels_are_joined_up_to_a_share_of_a_column():
    assert bins((0.024, 0.024)) == (1, 1)
    assert bins((0.0096, 0.0065)) == (2, 3)
    assert bins((0.0101, 0.02)) == (1, 1)


def test_means_leave_out_what_was_not_measured_and_keep_the_rest_at_the_border():
    image = np.arange(35, dtype=np.float64).reshape(5, 7)
    valid = np.ones((5, 7))
    valid[0, 1] = 0.0
    coarse = binned(canvas_of(image, (0.008, 0.006), valid), (2, 3))
    assert coarse.shape == (3, 3)
    assert coarse.step_nm == pytest.approx((0.016, 0.018))
    # First block: 0, 2, 7, 8, 9 of six pixels; last one: pixel 34 alone.
    assert inside(coarse, coarse.image)[0, 0] == pytest.approx(26.0 / 5.0)
    assert inside(coarse, coarse.valid)[0, 0] == pytest.approx(5.0 / 6.0)
    assert inside(coarse, coarse.image)[2, 2] == pytest.approx(34.0)
    assert inside(coarse, coarse.valid)[2, 2] == pytest.approx(1.0 / 6.0)
    assert origin_nm((0.008, 0.006), (2, 3)) == pytest.approx((0.004, 0.006))
    # The mean of n independent pixels has 1 / n of their variance.
    assert noise_of_pixels(Noise(1.0, 2.0, 0.5), (2, 3)) == Noise(6.0, 12.0, 3.0)


def test_a_column_seen_through_means_is_sharpened_to_what_pixels_see():
    # Independent oracle: second moments of the sampled column and of its means.
    step, size, sigma = 0.01, 4, 0.05
    x = (np.arange(400) - 199.5) * step
    sampled = np.exp(-0.5 * (x / sigma) ** 2)
    mean_x, mean = x.reshape(-1, size).mean(1), sampled.reshape(-1, size).mean(1)
    seen = np.sqrt((mean * mean_x**2).sum() / mean.sum())
    shape = torch.tensor([[float(mean.sum() * size * step / seen), (sigma / seen) ** 2, 1.0, 0.0, 0.0, 0.0, 0.0]])
    fit = sharpen(Fit(torch.zeros(1, 2, dtype=torch.float64), shape, sigma), (step, step), (size, 1))
    assert float(fit.shape[0, 1]) == pytest.approx(1.0, rel=1e-4)
    assert float(fit.shape[0, 0]) == pytest.approx(float(sampled.sum() * step / sigma), rel=1e-4)


@pytest.mark.parametrize("pixel_nm", [(0.008, 0.008), (0.0065, 0.011)])
def test_the_end_is_the_fit_on_the_original_pixels(pixel_nm, monkeypatch):
    rng = np.random.default_rng(8)
    image, yx, seeds = scene(rng, pixel_nm=pixel_nm, shape=(291, 323))
    coarse = fit_columns(image, seeds, pixel_nm, LocalizeConfig()).table
    monkeypatch.setattr(levels, "COARSE_NM", 1e-6)
    fine = fit_columns(image, seeds, pixel_nm, LocalizeConfig()).table
    assert len(coarse) == len(fine) == len(yx)
    sigma = fine[["sigma_y_pm", "sigma_x_pm"]].to_numpy()
    apart = (coarse[["y_nm", "x_nm"]].to_numpy() - fine[["y_nm", "x_nm"]].to_numpy()) * 1e3 / sigma
    # Both end where a step is 3 % of an error; two ends differ by a few of those. Means alone differ by a tenth.
    assert np.sqrt((apart**2).mean()) < 0.04
    assert np.abs(apart).max() < 0.3
    assert np.allclose(coarse["sigma_x_pm"], fine["sigma_x_pm"], rtol=0.1)


@pytest.mark.parametrize("pixel_nm", [(0.008, 0.008), (0.0065, 0.011)])
def test_errors_that_begin_on_means_hold(pixel_nm):
    inside = []
    for seed in range(5):
        image, yx, seeds = scene(np.random.default_rng([8, seed]), pixel_nm=pixel_nm, shape=(291, 323))
        table = fit_columns(image, seeds, pixel_nm, LocalizeConfig()).table
        error = (table[["y_nm", "x_nm"]].to_numpy() - yx) * 1e3
        inside.append(((error / table[["sigma_y_pm", "sigma_x_pm"]].to_numpy()) ** 2).sum(1) < 4.605)
    # 90 % ellipses of some 300 columns: +-1.7 % by chance.
    assert 0.85 < np.concatenate(inside).mean() < 0.95
