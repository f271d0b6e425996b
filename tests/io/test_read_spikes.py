"""Pixels hit by particles are found and filled, bright columns are not, and odd units are scaled."""

import numpy as np
import pytest

from atomseg.io import read_micrograph
from atomseg.io.grey import find_lost_rows, find_spikes

PIXEL_NM = 0.02


def columns(shape: tuple[int, int], pixel_nm: float, fwhm_nm: float = 0.1) -> np.ndarray:
    """(H, W) expected light of a square crystal of 0.25 nm that ends inside the image; peaks are 1."""
    sigma = fwhm_nm / 2.3548
    sides = [np.arange(n) * pixel_nm for n in shape]
    rows = [
        sum(np.exp(-((side - at) ** 2) / (2 * sigma**2)) for at in np.arange(0.15, side[-1] - 0.15, 0.25))
        for side in sides
    ]
    return np.outer(*rows)


def test_spikes_are_filled_from_their_neighbours_and_marked() -> None:
    rng = np.random.default_rng(0)
    image = rng.poisson(200 + 800 * columns((160, 180), PIXEL_NM)).astype(np.float32)
    hit = image.copy()
    # Contrast about 1000: one on a column's flank, a pair, one in the corner, one dead pixel.
    places = [(50, 60), (90, 100), (90, 101), (0, 0), (120, 30)]
    for place, value in zip(places, (65535, 6000, 9000, 1e12, -1500), strict=True):
        hit[place] = value
    got = read_micrograph(hit, pixel_size_nm=PIXEL_NM)
    assert got.invalid is not None
    assert sorted(map(tuple, np.argwhere(got.invalid).tolist())) == sorted(places)
    # A median over 5 x 5 pixels of 20 pm, on the flank of a column 100 pm wide: within the column's light.
    assert max(abs(got.image[place] - image[place]) for place in places) < 800
    assert np.array_equal(got.image[~got.invalid], image[~got.invalid])
    assert any("5 pixels are spikes" in text for text in got.warnings)


def test_the_brightest_columns_are_no_spikes() -> None:
    # The sharpest columns on the coarsest pixels, ten times as bright as everything else, in a four-hundredth of the
    # image: the contrast is that of the rest.
    pixel_nm = 0.045
    image = np.random.default_rng(0).normal(100.0, 5.0, (400, 400))
    image[200:220, 200:220] += 1000.0 * columns((20, 20), pixel_nm, fwhm_nm=0.08)
    assert not find_spikes(image.astype(np.float32)).any()
    # One atom alone, wherever its centre lies on its pixel.
    y, x = np.mgrid[:400, :400]
    for shift in np.linspace(0.0, 0.5, 6):
        atom = 1000.0 * np.exp(-((y - 100 - shift) ** 2 + (x - 100) ** 2) * 4 * np.log(2) * (pixel_nm / 0.08) ** 2)
        assert not find_spikes((image + atom).astype(np.float32)).any()


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("value", [0.0, 150.0, 4000.0])
def test_lost_rows_are_found(number: int, value: float) -> None:
    image = np.random.default_rng(0).poisson(200 + 800 * columns((160, 180), PIXEL_NM)).astype(np.float32)
    image[70 : 70 + number] = value
    image[121] += 1500
    found = find_lost_rows(image)
    assert np.array_equal(np.flatnonzero(found.all(axis=1)), [*range(70, 70 + number), 121])
    assert found.any(axis=1).sum() == number + 1


@pytest.mark.parametrize("counts", [0.01, 0.3, 30.0])
def test_rows_of_a_lattice_along_the_scan_and_of_vacuum_are_not_lost(counts: float) -> None:
    light = counts * columns((200, 300), PIXEL_NM)
    light[:80] = 0.0
    for image in (np.random.default_rng(2).poisson(light), light):
        assert not find_lost_rows(image.astype(np.float32)).any()


@pytest.mark.parametrize("counts", [0.003, 0.02, 0.1, 1.0])
def test_single_counts_are_no_spikes(counts: float) -> None:
    image = np.random.default_rng(1).poisson(4 * counts * columns((512, 512), PIXEL_NM)).astype(np.float32)
    # Where the contrast is one count, five in a pixel would be a spike: with 0.08 expected at the brightest places they
    # are one in thirty million. Where it is zero nothing is.
    assert not find_spikes(image).any()


@pytest.mark.parametrize("factor", [1e-30, 1e-14, 1e20])
def test_units_with_extreme_numbers_are_scaled_and_said(counts: np.ndarray, factor: float) -> None:
    got = read_micrograph(counts * factor, pixel_size_nm=PIXEL_NM)
    # One power of ten brings the contrast, of nearly 4000 here, to between 1 and 10.
    assert 1.0 <= np.ptp(got.image) < 10.0
    ratio = got.image[counts > 0] / counts[counts > 0]
    assert ratio == pytest.approx(10.0 ** round(np.log10(ratio[0])), rel=1e-6)
    assert any("intensities are multiplied by 1e" in text for text in got.warnings)


@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e6])
def test_ordinary_units_stay(counts: np.ndarray, factor: float) -> None:
    got = read_micrograph(counts * factor, pixel_size_nm=PIXEL_NM)
    assert np.array_equal(got.image, (counts * factor).astype(np.float32))
    assert not got.warnings
