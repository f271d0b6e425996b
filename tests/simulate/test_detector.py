"""Noise, dose and the bounds that follow from them."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from atomseg.simulate.detector import draw_detector, record
from atomseg.simulate.noise import poisson
from atomseg.simulate.truth_columns import crlb_px, matched_filter_snr


@pytest.fixture
def detector(plain_config):
    return draw_detector(plain_config().detector, np.random.default_rng(0))


def recorded(expected, peak_counts, detector, seed, **options):
    """Recorded image as an array, and its tone curve."""
    generator = torch.Generator().manual_seed(seed)
    image, tone = record(torch.as_tensor(expected, dtype=torch.float32), peak_counts, detector, generator, **options)
    return image.numpy(), tone


@pytest.mark.parametrize("mean", [0.05, 0.7, 3.9, 4.1, 8.0, 31.0, 400.0])
def test_poisson_draws_follow_the_poisson_distribution(mean):
    n = 400_000
    normal = torch.randn(n, generator=torch.Generator().manual_seed(4))
    draws = poisson(torch.full((n,), mean), normal).numpy().astype(int)
    assert draws.min() >= 0
    # Four standard errors of mean and variance. The expansion is off by less than 1e-3 in total variation (measured
    # against scipy on 2e6 evenly spread deviates), far less than one standard error of either moment here.
    assert draws.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / n))
    assert draws.var() == pytest.approx(mean, abs=4 * np.sqrt((2 * mean**2 + mean) / n))
    # Chi-squared over counts expected 50 times or more; the quantile is one false alarm in 1e4, the extra term what a
    # systematic error of 1e-3 of the draws, spread over the bins, would add.
    pmf = scipy.stats.poisson.pmf(np.arange(draws.max() + 1), mean)
    kept = n * pmf >= 50
    seen = np.bincount(draws)[kept]
    chi2 = ((seen - n * pmf[kept]) ** 2 / (n * pmf[kept])).sum()
    assert chi2 < scipy.stats.chi2.ppf(1 - 1e-4, kept.sum()) + n * 1e-3**2 / pmf[kept].max()


def test_poisson_draws_do_not_depend_on_what_is_drawn_with_them():
    mean = torch.tensor([0.1, 900.0, 3.0, 5.0] * 10_000)  # bright and dim mixed, several pieces
    normal = torch.randn(len(mean), generator=torch.Generator().manual_seed(5))
    together = poisson(mean, normal)
    for k in range(4):
        assert torch.equal(poisson(mean[k::4].contiguous(), normal[k::4].contiguous()), together[k::4])


def test_excess_and_read_noise_add_their_variance(detector):
    noisy = replace(detector, excess_noise=1.5, read_noise=0.1, offset=0.3, gain=2.0)
    image, tone = recorded(np.full((300, 300), 50.0), 40.0, noisy, 5)
    # mean: gain (50 + 0.3 * 40); variance: gain^2 (1.5 * 50 + (0.1 * 40)^2); four standard errors.
    assert image.mean() == pytest.approx(2.0 * 62.0, abs=4 * 2 * np.sqrt(91 / 9e4))
    assert image.var() == pytest.approx(4 * 91.0, rel=4 * np.sqrt(2 / 9e4) + 0.01)
    assert tone(np.array([62.0]))[0] == pytest.approx(124.0)
    assert tone.slope(np.array([62.0]))[0] == pytest.approx(2.0)


@pytest.mark.parametrize(("name", "top"), [("uint8", 255), ("uint16", 65535)])
def test_integer_images_are_whole_numbers_in_their_range(detector, name, top):
    noisy = replace(detector, pixel_format=name, clipped=0.02)
    expected = np.linspace(5.0, 400.0, 10_000).reshape(100, 100)
    image, _ = recorded(expected, 100.0, noisy, 6)
    assert np.array_equal(image, np.round(image))
    assert image.min() == 0
    assert image.max() <= top
    # Half of the clipped pixels are at the bottom; quantiles of a quarter of the pixels, hence the wide margin.
    assert 0.003 < np.mean(image == 0) < 0.03


def test_afterglow_smears_along_the_fast_axis_only(detector):
    expected = np.zeros((40, 40))
    expected[:, 20] = 1e6
    image, _ = recorded(expected, 1.0, replace(detector, afterglow_px=1.5), 7)
    keep = np.exp(-1 / 1.5)
    assert image[:, 22].mean() / image[:, 21].mean() == pytest.approx(keep, rel=0.01)
    assert image[:, 19].mean() < 1.0
    assert image.sum() == pytest.approx(1e6 * 40, rel=0.01)


def test_afterglow_is_a_recursive_filter_that_starts_at_rest(detector):
    row = np.random.default_rng(1).uniform(1e6, 2e6, 30)
    image, _ = recorded(np.tile(row, (400, 1)), 1.0, replace(detector, afterglow_px=1.5), 7)
    keep, expected = np.exp(-1 / 1.5), [row[0]]
    for value in row[1:]:
        expected.append(keep * expected[-1] + (1 - keep) * value)
    assert image.mean(axis=0) == pytest.approx(expected, rel=3e-4)  # 4 sqrt(1 / (400 * 1e6)) and float32 sums


def test_a_low_pass_filter_correlates_the_noise_and_keeps_the_level(detector):
    image, _ = recorded(np.full((400, 400), 100.0), 1.0, detector, 8, filter_px=(2.0, 1.0))
    inner = image[20:-20, 20:-20]
    assert inner.mean() == pytest.approx(100.0, rel=1e-3)
    # White noise behind a Gaussian filter: variance over 4 pi sigma_y sigma_x; 130 000 pixels, 30 correlated.
    assert inner.var() == pytest.approx(100.0 / (4 * np.pi * 2.0), rel=0.06)


@pytest.mark.parametrize(("peak", "background"), [(50.0, 0.0), (50.0, 25.0), (5.0, 10.0)])
def test_position_bound_is_that_of_the_fisher_information(detector, peak, background):
    covariance = np.diag([2.5**2, 2.5**2])
    r, c = np.meshgrid(np.arange(-12, 13), np.arange(-12, 13), indexing="ij")
    model = peak * np.exp(-0.5 * (r**2 + c**2) / 2.5**2)
    slope = model * c / 2.5**2
    fisher = np.sum(slope**2 / np.maximum(model + background, 1e-12))
    bound = crlb_px(np.array([peak]), np.array([background]), covariance, peak, detector)[0]
    # The closed form agrees with the integral to about 3 %.
    assert bound[1] == pytest.approx(fisher**-0.5, rel=0.04)
    assert bound[0] == pytest.approx(bound[1])


def test_snr_is_that_of_a_matched_filter(detector):
    rng = np.random.default_rng(8)
    r, c = np.meshgrid(np.arange(-10, 11), np.arange(-10, 11), indexing="ij")
    kernel = np.exp(-0.5 * (r**2 + c**2) / 2.0**2)
    peak, background = 2.0, 20.0
    drawn = rng.poisson(background + peak * kernel, (4000, 21, 21))
    response = ((drawn - background) * kernel).sum(axis=(1, 2))
    expected = matched_filter_snr(np.array([peak]), np.array([background]), 4.0 * np.eye(2), peak, detector)[0]
    assert response.mean() / response.std() == pytest.approx(expected, rel=0.06)  # 1/sqrt(2 * 4000) is 1 %; model 3 %
