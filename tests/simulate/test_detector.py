"""Noise, dose and the bounds that follow from them."""

from dataclasses import replace

import numpy as np
import pytest

from atomseg.simulate.detector import draw_detector, poisson, record
from atomseg.simulate.truth_columns import crlb_px, matched_filter_snr


@pytest.fixture
def detector(plain_config):
    return draw_detector(plain_config().detector, np.random.default_rng(0))


@pytest.mark.parametrize("mean", [0.3, 5.0, 29.0, 31.0, 400.0])
def test_poisson_draws_have_poisson_moments(mean):
    draws = poisson(np.full(200_000, mean), np.random.default_rng(4)).astype(float)
    # Four standard errors of mean, variance and third central moment of 2e5 draws.
    assert draws.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / 2e5))
    assert draws.var() == pytest.approx(mean, abs=4 * np.sqrt((2 * mean**2 + mean) / 2e5) + 0.1)
    skew = ((draws - draws.mean()) ** 3).mean() / draws.std() ** 3
    assert skew == pytest.approx(mean**-0.5, abs=4 * np.sqrt(6 / 2e5) + 0.02)
    assert draws.min() >= 0
    assert np.array_equal(draws, np.round(draws))


def test_excess_and_read_noise_add_their_variance(detector):
    noisy = replace(detector, excess_noise=1.5, read_noise=0.1, offset=0.3, gain=2.0)
    image, tone = record(np.full((300, 300), 50.0), 40.0, noisy, np.random.default_rng(5))
    # mean: gain (50 + 0.3 * 40); variance: gain^2 (1.5 * 50 + (0.1 * 40)^2); four standard errors.
    assert image.mean() == pytest.approx(2.0 * 62.0, abs=4 * 2 * np.sqrt(91 / 9e4))
    assert image.var() == pytest.approx(4 * 91.0, rel=4 * np.sqrt(2 / 9e4) + 0.01)
    assert tone(np.array([62.0]))[0] == pytest.approx(124.0)
    assert tone.slope(np.array([62.0]))[0] == pytest.approx(2.0)


@pytest.mark.parametrize(("name", "top"), [("uint8", 255), ("uint16", 65535)])
def test_integer_images_are_whole_numbers_in_their_range(detector, name, top):
    noisy = replace(detector, pixel_format=name, clipped=0.02)
    expected = np.linspace(5.0, 400.0, 10_000).reshape(100, 100)
    image, _ = record(expected, 100.0, noisy, np.random.default_rng(6))
    assert np.array_equal(image, np.round(image))
    assert image.min() == 0
    assert image.max() <= top
    # Half of the clipped pixels are at the bottom; quantiles of a quarter of the pixels, hence the wide margin.
    assert 0.003 < np.mean(image == 0) < 0.03


def test_afterglow_smears_along_the_fast_axis_only(detector):
    expected = np.zeros((40, 40))
    expected[:, 20] = 1e6
    image, _ = record(expected, 1.0, replace(detector, afterglow_px=1.5), np.random.default_rng(7))
    keep = np.exp(-1 / 1.5)
    assert image[:, 22].mean() / image[:, 21].mean() == pytest.approx(keep, rel=0.01)
    assert image[:, 19].mean() < 1.0
    assert image.sum() == pytest.approx(1e6 * 40, rel=0.01)


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
