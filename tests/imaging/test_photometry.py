"""Forced photometry against images made in closed form."""

import numpy as np
import pandas as pd
import pytest

from atomseg.imaging.photometry import FWHM_PER_SIGMA, column_covariances, forced_amplitudes, render_columns
from atomseg.types import Columns

PIXEL_NM = (0.020, 0.022)


def _columns(yx_px, amplitude, *, fwhm=(0.12, 0.12), theta_deg=0.0):
    n = len(yx_px)
    yx = np.asarray(yx_px, dtype=float)
    return Columns(
        pd.DataFrame(
            {
                "id": np.arange(n),
                "y_px": yx[:, 0],
                "x_px": yx[:, 1],
                "y_nm": yx[:, 0] * PIXEL_NM[0],
                "x_nm": yx[:, 1] * PIXEL_NM[1],
                "sigma_y_pm": 1.0,
                "sigma_x_pm": 1.0,
                "amplitude": amplitude,
                "background": 0.0,
                "fwhm_major_nm": fwhm[0],
                "fwhm_minor_nm": fwhm[1],
                "theta_deg": theta_deg,
                "probability": 1.0,
                "flags": 0,
            }
        )
    )


def _paint(shape, yx_px, amplitude, fwhm_nm):
    """Sum of round Gaussians over the whole image: slow, independent of the windows under test."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for (cy, cx), height in zip(yx_px, np.broadcast_to(amplitude, len(yx_px)), strict=True):
        r2 = ((y - cy) * PIXEL_NM[0]) ** 2 + ((x - cx) * PIXEL_NM[1]) ** 2
        image += height * np.exp(-0.5 * r2 / (fwhm_nm / FWHM_PER_SIGMA) ** 2)
    return image


def _lattice():
    """Bright rows 0.47 nm apart with dim sites between them, as in the layered oxide, in pixels."""
    bright = [(y / PIXEL_NM[0], x / PIXEL_NM[1]) for y in np.arange(0.4, 2.3, 0.47) for x in np.arange(0.3, 2.3, 0.249)]
    dim = [(y / PIXEL_NM[0], x / PIXEL_NM[1]) for y in np.arange(0.635, 2.2, 0.47) for x in np.arange(0.3, 2.3, 0.249)]
    return np.array(bright), np.array(dim)


def test_render_matches_closed_form_with_ellipse_angle():
    # theta is the angle of the major axis from +x towards +y: at 90 degrees the ellipse is long along y.
    columns = _columns([(30.3, 25.6)], 7.0, fwhm=(0.30, 0.10), theta_deg=90.0)
    image = render_columns(columns, (60, 50), PIXEL_NM)
    y, x = np.mgrid[:60, :50]
    expected = 7.0 * np.exp(
        -4 * np.log(2) * (((y - 30.3) * PIXEL_NM[0] / 0.30) ** 2 + ((x - 25.6) * PIXEL_NM[1] / 0.10) ** 2)
    )
    # The Gaussian is cut at four standard deviations: exp(-8) of the peak is left out.
    assert np.abs(image - expected).max() < 7.0 * np.exp(-8) * 1.01


def test_covariance_of_a_tilted_ellipse_has_its_axes():
    columns = _columns([(0, 0)], 1.0, fwhm=(0.2, 0.1), theta_deg=30.0)
    value, vector = np.linalg.eigh(column_covariances(columns)[0])
    assert np.allclose(np.sqrt(value) * FWHM_PER_SIGMA, [0.1, 0.2])
    major = vector[:, 1]
    assert np.rad2deg(np.arctan2(major[0], major[1])) % 180 == pytest.approx(30.0)


def test_exact_on_a_noise_free_lattice_with_neighbours_subtracted():
    bright, dim = _lattice()
    fwhm = 0.13
    true = np.linspace(0.0, 40.0, len(dim))
    image = 12.0 + _paint((125, 115), bright, 100.0, fwhm) + _paint((125, 115), dim, true, fwhm)
    amplitude, error, background = forced_amplitudes(
        image, dim, fwhm, PIXEL_NM, neighbours=_columns(bright, 100.0, fwhm=(fwhm, fwhm))
    )
    inner = np.isfinite(amplitude)
    assert inner.mean() > 0.8
    # Left over: the render cut at 4 sigma (3e-4 of a bright column, several of them).
    assert np.abs(amplitude - true)[inner].max() < 0.15
    assert np.abs(background - 12.0)[inner].max() < 0.15
    # The light of the other dim sites counts as scatter.
    assert error[inner].max() < 0.3


@pytest.mark.parametrize("pixel_nm", [(0.009, 0.008), (0.005, 0.005)])
def test_fine_pixels_are_averaged_without_a_trace(pixel_nm):
    """Blocks of 2 x 2 to 4 x 4 pixels: columns are lower and wider there, and come back with their own height."""
    rng = np.random.default_rng(3)
    bright = np.stack(np.meshgrid(np.arange(5) * 0.4 + 0.11, np.arange(5) * 0.4 + 0.13, indexing="ij"), -1).reshape(
        -1, 2
    )
    dim = bright[:16] + 0.2 + rng.uniform(-0.01, 0.01, (16, 2))
    shape = tuple(np.ceil(2.2 / np.array(pixel_nm)).astype(int))
    y, x = np.meshgrid(*(np.arange(n) * p for n, p in zip(shape, pixel_nm, strict=True)), indexing="ij")
    true = np.linspace(0.0, 40.0, len(dim))
    image = np.full(shape, 12.0)
    for (cy, cx), height in zip([*bright, *dim], [100.0] * len(bright) + list(true), strict=True):
        image += height * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / 0.12**2)
    neighbours = _columns(bright / pixel_nm, 100.0, fwhm=(0.12, 0.12))
    amplitude, _, background = forced_amplitudes(image, dim / pixel_nm, 0.12, pixel_nm, neighbours=neighbours)
    # As for whole pixels, and the averaged Gaussian is a Gaussian to fourth order only: 1e-3 of the height.
    assert np.abs(amplitude - true).max() < 0.15
    assert np.abs(background - 12.0).max() < 0.15


def test_sites_do_not_leak_into_each_other():
    # Overlapping sites (0.16 nm apart, FWHM 0.16 nm) of very different height, none of them fitted before.
    yx = np.array([(30.0, 20.0 + 0.16 / PIXEL_NM[1] * i) for i in range(6)])
    true = np.array([100.0, 0.0, 50.0, 0.0, 100.0, 10.0])
    image = _paint((60, 90), yx, true, 0.16) + 3.0
    amplitude, _, background = forced_amplitudes(image, yx, 0.16, PIXEL_NM)
    assert np.abs(amplitude - true).max() < 0.2
    assert np.abs(background - 3.0).max() < 0.2


def test_own_column_is_measured_not_subtracted():
    yx = np.array([(30.0, 25.0)])
    image = _paint((60, 50), yx, 80.0, 0.12) + 5.0
    near = _columns(yx + np.array([0.4, -0.3]), 75.0)
    amplitude, _, background = forced_amplitudes(image, yx, 0.12, PIXEL_NM, neighbours=near)
    assert amplitude[0] == pytest.approx(80.0, rel=1e-3)
    assert background[0] == pytest.approx(5.0, abs=0.1)


def test_error_is_the_scatter_of_repeated_measurements(rng_seed=7):
    rng = np.random.default_rng(rng_seed)
    bright, dim = _lattice()
    clean = 20.0 + _paint((125, 115), bright, 100.0, 0.12) + _paint((125, 115), dim, 15.0, 0.12)
    neighbours = _columns(bright, 100.0)
    pulls = []
    for _ in range(40):
        image = clean + rng.normal(0.0, 6.0, clean.shape)
        amplitude, error, _ = forced_amplitudes(image, dim, 0.12, PIXEL_NM, neighbours=neighbours)
        pulls.append((amplitude - 15.0) / error)
    pulls = np.concatenate(pulls)
    pulls = pulls[np.isfinite(pulls)]
    # 40 images x 24 sites: the spread of the pulls is known to 1/sqrt(2 n) ~ 2.5 %; overlap is left out (5 %).
    assert abs(pulls.mean()) < 0.15
    assert 0.9 < pulls.std() < 1.12


def test_sites_outside_or_at_the_border_are_nan():
    image = np.full((60, 50), 4.0, dtype=np.float32)
    sites = np.array([(-20.0, 10.0), (0.0, 0.0), (30.0, 25.0), (np.nan, 3.0)])
    amplitude, error, background = forced_amplitudes(image, sites, 0.12, PIXEL_NM)
    assert np.isnan(amplitude[[0, 1, 3]]).all()
    assert np.isnan(error[[0, 1, 3]]).all()
    assert amplitude[2] == pytest.approx(0.0, abs=1e-9)
    assert background[2] == pytest.approx(4.0)


def test_no_sites_and_bad_numbers():
    image = np.zeros((10, 10))
    assert all(len(a) == 0 for a in forced_amplitudes(image, np.zeros((0, 2)), 0.12, PIXEL_NM))
    with pytest.raises(ValueError, match="fwhm_nm must be positive"):
        forced_amplitudes(image, np.zeros((1, 2)), 0.0, PIXEL_NM)
    with pytest.raises(ValueError, match="2D image"):
        forced_amplitudes(np.zeros(10), np.zeros((1, 2)), 0.1, PIXEL_NM)
