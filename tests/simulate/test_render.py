"""Image formation against direct evaluation and analytic integrals."""

import numpy as np
import pytest

from atomseg.simulate.render import draw_profile, splat_cores, splat_tails
from atomseg.simulate.resolve import visibility


def direct(shape, yx, peak, covariance, lines):
    """Sum of Gaussians, one pixel at a time."""
    inverse = np.linalg.inv(covariance)
    r, c = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    image = np.zeros(shape)
    for (y, x), p in zip(yx, peak, strict=True):
        d = np.stack([r + lines[:, :1] - y, c + lines[:, 1:] - x], -1)
        image += p * np.exp(-0.5 * np.einsum("...i,ij,...j", d, inverse, d))
    return image


@pytest.mark.parametrize("sigma", [1.1, 2.7, 6.0])
def test_cores_are_elliptical_gaussians_sampled_where_each_line_was(sigma):
    rng = np.random.default_rng(1)
    yx = rng.uniform(-5, 65, (40, 2))
    peak = rng.uniform(0.1, 1.0, 40)
    covariance = sigma**2 * np.array([[1.0, 0.3], [0.3, 0.7]])
    lines = rng.normal(0, 0.4, (60, 2))
    image = splat_cores((60, 60), yx, peak, covariance, lines)
    expected = direct((60, 60), yx, peak, covariance, lines)
    # Patches are cut at 3.5 standard deviations, 2.2e-3 of a peak; a few cut rims can add up.
    assert np.abs(image - expected).max() < 6e-3


def test_tails_keep_their_integral_and_width():
    image = splat_tails((200, 240), np.array([[97.3, 118.6]]), np.array([50.0]), (8.0, 10.0))
    r, c = np.arange(200)[:, None], np.arange(240)[None, :]
    assert image.sum() == pytest.approx(50.0, rel=2e-3)  # three standard deviations of margin hold 99.7 %
    assert (image * r).sum() / image.sum() == pytest.approx(97.3, abs=0.05)
    assert (image * c).sum() / image.sum() == pytest.approx(118.6, abs=0.05)
    assert np.sqrt((image * (c - 118.6) ** 2).sum() / image.sum()) == pytest.approx(10.0, rel=0.03)


def test_no_columns_no_signal():
    none = np.zeros((0, 2))
    assert not splat_cores((20, 20), none, np.zeros(0), np.eye(2), np.zeros((20, 2))).any()
    assert not splat_tails((20, 20), none, np.zeros(0), (5.0, 5.0)).any()


def test_profile_covariance_follows_its_axes(plain_config):
    optics = plain_config(optics={"ellipticity": (1.4, 1.4)}).optics
    profile = draw_profile(optics, 0.0, np.random.default_rng(2))
    covariance = profile.covariance((0.02, 0.02)) * 0.02**2
    values, vectors = np.linalg.eigh(covariance)
    assert np.sqrt(values) == pytest.approx([profile.minor_nm, profile.major_nm])
    assert profile.major_nm / profile.minor_nm == pytest.approx(1.4)
    angle = np.rad2deg(np.arctan2(vectors[0, 1], vectors[1, 1]))
    assert (angle - profile.theta_deg + 90.0) % 180.0 - 90.0 == pytest.approx(0.0, abs=1e-6)


def test_visibility_of_isolated_paired_and_packed_columns():
    alone = visibility(np.array([[10.0, 10.0], [30.0, 30.0]]), np.ones(2), 4.0 * np.eye(2))
    assert alone == pytest.approx([1.0, 1.0])
    # Two equal Gaussians have two maxima above two standard deviations (Sparrow), one below.
    for distance, seen in ((1.8, False), (2.5, True)):
        pair = visibility(np.array([[10.0, 10.0], [10.0, 10.0 + 2.0 * distance]]), np.ones(2), 4.0 * np.eye(2))
        assert np.all((pair > 0) == seen)
    # A dim column in the flank of a bright one is lost first.
    flank = visibility(np.array([[10.0, 10.0], [10.0, 16.0]]), np.array([1.0, 0.05]), 4.0 * np.eye(2))
    assert flank[0] > 0.9
    assert flank[1] == 0.0
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 2.0
    packed = visibility(grid, np.ones(400), 4.0 * np.eye(2))  # a lattice one standard deviation apart: flat
    assert packed.reshape(20, 20)[8:12, 8:12].max() == 0.0
