import numpy as np
import pytest

from atomseg.imaging import (
    FWHM_PER_SIGMA,
    column_counts,
    covariance_from_fwhm,
    fisher_limit_pm,
    gaussian_column,
    localization_limit_pm,
)


def background_per_nm2(beta, counts, sigma_nm):
    """Background that is `beta` times the column's peak."""
    return beta * counts / (2 * np.pi * sigma_nm**2)


# Independent numerical Fisher integrals over a window of 3 sigma: counts, beta, sigma (pm), limit (pm).
PUBLISHED = [
    (1e2, 0.0, 40, 4.1),
    (1e2, 0.5, 60, 11.3),
    (1e3, 0.0, 50, 1.63),
    (1e3, 0.5, 50, 2.98),
    (1e3, 1.0, 80, 6.01),
    (1e3, 2.0, 50, 4.93),
    (1e4, 0.5, 40, 0.75),
    (1e5, 1.0, 60, 0.45),
]


@pytest.mark.parametrize(("counts", "beta", "sigma_pm", "limit_pm"), PUBLISHED)
def test_limits_of_the_table(counts, beta, sigma_pm, limit_pm):
    background = background_per_nm2(beta, counts, sigma_pm * 1e-3)
    numerical = fisher_limit_pm(counts, sigma_pm * 1e-3, background)
    assert numerical == pytest.approx(limit_pm, rel=0.015)  # the table has two or three digits
    # The closed form is for an infinite window and an approximation: 3 %.
    assert localization_limit_pm(counts, sigma_pm * 1e-3, background) == pytest.approx(numerical, rel=0.035)


def test_without_background_it_is_sigma_over_root_n():
    assert localization_limit_pm(900, 0.06) == pytest.approx(60 / 30)
    assert fisher_limit_pm(900, 0.06, window_nm=0.6) == pytest.approx(60 / 30, rel=1e-4)


def test_the_limit_is_what_maximum_likelihood_reaches():
    """Monte Carlo on 20 pm pixels: weighted Gauss-Newton from the truth reaches the limit."""
    rng = np.random.default_rng(5)
    sigma, pixel, counts, beta, side = 0.05, 0.02, 2000.0, 0.5, 21
    density = background_per_nm2(beta, counts, sigma)
    grid = (np.arange(side) - side // 2) * pixel
    dy, dx = np.meshgrid(grid, grid, indexing="ij")
    core = counts / (2 * np.pi * sigma**2) * np.exp(-0.5 * (dy**2 + dx**2) / sigma**2) * pixel**2
    mean = core + density * pixel**2
    slope = core * dx / sigma**2  # d mean / d x of the column
    errors = [(slope * (rng.poisson(mean) - mean) / mean).sum() / (slope**2 / mean).sum() for _ in range(1500)]
    expected = fisher_limit_pm(counts, sigma, density, window_nm=side / 2 * pixel)
    assert 1e3 * np.std(errors) == pytest.approx(expected, rel=0.06)  # 1500 trials: 1.8 % standard error, 3 sigma


def test_counts_are_the_volume_under_the_peak():
    covariance = np.diag([0.05**2, 0.05**2])
    grid = np.arange(-40, 41) * 0.01
    dyx = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    assert gaussian_column(dyx, 7.0, covariance).sum() == pytest.approx(column_counts(7.0, 0.05, 0.01), rel=1e-6)


@pytest.mark.parametrize("theta", [0.0, 30.0, 90.0, -45.0])
def test_half_maximum_lies_at_half_the_full_width(theta):
    covariance = covariance_from_fwhm(0.14, 0.10, theta)
    along = np.array([np.sin(np.deg2rad(theta)), np.cos(np.deg2rad(theta))])  # (y, x), from +x towards +y
    across = np.array([along[1], -along[0]])
    values = gaussian_column(np.stack([0.07 * along, 0.05 * across]), 2.0, covariance)
    assert values == pytest.approx([1.0, 1.0])
    assert pytest.approx(2.354820045) == FWHM_PER_SIGMA
