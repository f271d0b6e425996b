"""Image formation against direct evaluation and analytic integrals."""

import numpy as np
import pytest
import torch

from atomseg.simulate.render import depth_spread_nm, draw_profile
from atomseg.simulate.resolve import visibility
from atomseg.simulate.splat import Spots, splat


def direct(shape, yx, peak, covariance, lines):
    """Sum of Gaussians, one pixel at a time."""
    inverse = np.linalg.inv(covariance)
    r, c = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    image = np.zeros(shape)
    for (y, x), p in zip(yx, peak, strict=True):
        d = np.stack([r + lines[:, :1] - y, c + lines[:, 1:] - x], -1)
        image += p * np.exp(-0.5 * np.einsum("...i,ij,...j", d, inverse, d))
    return image


def spots(yx, peak, covariance, lines):
    """One scene for `splat`; `lines` are displacements of the sampling points."""
    samples = lines + np.stack([np.arange(len(lines)), np.zeros(len(lines))], axis=1)
    double = [torch.as_tensor(a, dtype=torch.float64)[None] for a in (yx, covariance, samples)]
    return Spots(double[0], torch.as_tensor(peak, dtype=torch.float32)[None], double[1], double[2])


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0, 12.0])
def test_sums_of_elliptical_gaussians_sampled_where_each_line_was(sigma, tiled):
    rng = np.random.default_rng(1)
    shape = (150, 300)  # several tiles both ways
    yx = rng.uniform(-30, 330, (60, 2))
    peak = rng.uniform(0.1, 1.0, 60)
    covariance = sigma**2 * np.array([[1.0, 0.3], [0.3, 0.7]])
    lines = rng.normal(0, 0.4, (150, 2))
    lines[70:] += (3.0, -8.0)  # a jump
    image = splat(spots(yx, peak, covariance, lines), 300, tiled=tiled)[0].numpy()
    # Columns are left out beyond 4.2 standard deviations, 1.5e-4 of a peak; a few rims can add up.
    assert np.abs(image - direct(shape, yx, peak, covariance, lines)).max() < 1e-3


def test_a_scene_does_not_depend_on_those_beside_it():
    rng = np.random.default_rng(3)
    scenes = [
        spots(rng.uniform(0, 90, (n, 2)), rng.uniform(0.1, 1, n), s**2 * np.eye(2), np.zeros((90, 2)))
        for n, s in ((5, 1.0), (80, 4.0), (1, 20.0))
    ]
    longest = max(s.peak.shape[1] for s in scenes)

    def padded(t):
        return torch.cat([t, torch.zeros(1, longest - t.shape[1], *t.shape[2:], dtype=t.dtype)], dim=1)

    batch = Spots(
        torch.cat([padded(s.yx_px) for s in scenes]),
        torch.cat([padded(s.peak) for s in scenes]),
        torch.cat([s.covariance for s in scenes]),
        torch.cat([s.samples_px for s in scenes]),
    )
    for tiled, bound in ((True, 0.0), (False, 2e-6)):  # one by one: the same; at once: float32 sums in another order
        together = splat(batch, 100, tiled=tiled)
        alone = torch.cat([splat(s, 100, tiled=tiled) for s in scenes])
        assert (together - alone).abs().max() <= bound


def test_the_integral_and_the_width_are_those_of_a_gaussian():
    covariance = np.diag([64.0, 100.0])
    image = splat(spots([[97.3, 118.6]], [2.0], covariance, np.zeros((200, 2))), 240, tiled=True)[0].double().numpy()
    r, c = np.arange(200)[:, None], np.arange(240)[None, :]
    assert image.sum() == pytest.approx(2.0 * 2 * np.pi * 80.0, rel=1e-3)
    assert (image * r).sum() / image.sum() == pytest.approx(97.3, abs=0.01)
    assert (image * c).sum() / image.sum() == pytest.approx(118.6, abs=0.01)
    assert np.sqrt((image * (c - 118.6) ** 2).sum() / image.sum()) == pytest.approx(10.0, rel=2e-3)


def test_no_columns_no_signal():
    assert not splat(spots(np.zeros((0, 2)), np.zeros(0), np.eye(2), np.zeros((20, 2))), 20, tiled=True).any()
    assert not splat(spots(np.zeros((0, 2)), np.zeros(0), np.eye(2), np.zeros((20, 2))), 20, tiled=False).any()


def test_mistilt_spreads_a_column_by_the_depths_it_is_seen_from():
    # All depths count alike: a box of width t has standard deviation t / sqrt(12). Thick foils: sech² alone.
    assert depth_spread_nm(30.0, 1e6) == pytest.approx(30.0 / np.sqrt(12.0), rel=1e-5)  # a sum over 400 slices
    assert depth_spread_nm(30.0, 1000.0) == pytest.approx(30.0 / np.sqrt(12.0), rel=1e-4)
    thick = 10.0 * np.sqrt(np.pi**2 / 12.0 - np.log(2.0) ** 2)
    assert depth_spread_nm(300.0, 10.0) == pytest.approx(thick, rel=1e-3)
    z = np.linspace(0, 12.0, 100_001)
    weight = np.gradient(np.tanh(z / 10.0), z)  # what each depth adds to `Profile.peak`
    spread = np.sqrt(np.cov(z, aweights=weight))
    assert depth_spread_nm(12.0, 10.0) == pytest.approx(spread, rel=1e-4)


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
