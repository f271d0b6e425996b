"""Scan rows with the beam off are told from vacuum, whose edge no probe sees as sharp as that."""

import numpy as np
import pytest

from atomseg.io import read_micrograph
from atomseg.io.blanked import find_blanked_rows

PIXEL_NM, DARK = 0.02, 20.0


def crystal(shape=(260, 240), *, edge_px=0.0, turned_deg=8.0, counts=200.0, seed=0):
    """(H, W) counts of columns 0.25 nm apart and 0.1 nm wide, below an edge along the scan; vacuum above it."""
    y, x = np.mgrid[: shape[0], : shape[1]] * PIXEL_NM
    turn = np.deg2rad(turned_deg)
    u, v = (np.cos(turn) * x + np.sin(turn) * y) / 0.25, (np.cos(turn) * y - np.sin(turn) * x) / 0.25
    light = np.exp(-(((u - np.rint(u)) * 0.25) ** 2 + ((v - np.rint(v)) * 0.25) ** 2) / (2 * 0.0425**2))
    # A column is in the crystal or not, as a whole.
    light *= (np.sin(turn) * np.rint(u) + np.cos(turn) * np.rint(v)) * 0.25 / PIXEL_NM >= edge_px
    return np.random.default_rng(seed).poisson(DARK + counts * light).astype(np.float32)


def blanked_rows(image):
    return find_blanked_rows(image, np.zeros(image.shape, dtype=bool))


@pytest.mark.parametrize("rows", [slice(150, None), slice(0, 90)])
@pytest.mark.parametrize("turned_deg", [8.0, 20.0, 30.0])
@pytest.mark.parametrize("counts", [60.0, 1000.0])
def test_rows_with_the_beam_off_are_found(rows, turned_deg, counts):
    image = crystal(turned_deg=turned_deg, counts=counts)
    image[rows] = np.random.default_rng(1).poisson(DARK, image[rows].shape)
    found = blanked_rows(image)
    assert found[rows].all()
    found[rows] = False
    assert not found.any()


@pytest.mark.parametrize("turned_deg", [0.0, 8.0, 30.0, 45.0, 90.0])
@pytest.mark.parametrize("counts", [5.0, 60.0, 1000.0])
@pytest.mark.parametrize("edge_px", [0.0, 60.0, 130.0])
def test_vacuum_is_not_taken_for_it(edge_px, counts, turned_deg):
    image = crystal(edge_px=edge_px, counts=counts, turned_deg=turned_deg)
    for seen in (image, image[::-1], image.T, image[::3, ::3]):
        assert not blanked_rows(np.ascontiguousarray(seen)).any()


def test_a_lost_row_and_a_jump_are_none():
    image = crystal(edge_px=130.0)
    image[60] = 5000.0  # in the vacuum
    assert not blanked_rows(image).any()
    jumped = np.concatenate([crystal()[:130], crystal(seed=1)[17:147]])
    assert not blanked_rows(jumped).any()


def test_it_is_marked_and_told():
    image = crystal()
    image[150:] = np.random.default_rng(1).poisson(DARK, image[150:].shape)
    got = read_micrograph(image, pixel_size_nm=PIXEL_NM)
    assert got.invalid is not None
    assert got.invalid[150:].all()
    assert not got.invalid[:150].any()
    assert any("beam off" in text for text in got.warnings)


@pytest.mark.parametrize("known", [True, False])
def test_boxes_and_bars_with_letters_are_no_such_edge(known):
    """A white box with black letters changes more than the crystal, whether it was found as a box or not."""
    image = crystal(counts=60.0)
    for rows, cols in ((slice(100, 160), slice(20, 120)), (slice(200, None), slice(None)), (slice(0, 50), slice(None))):
        marked = image.copy()
        marked[rows, cols] = 400.0
        marked[rows, cols][20:35, 10:-10:6] = 0.0
        hidden = np.zeros(image.shape, dtype=bool)
        hidden[rows, cols] = known
        found = find_blanked_rows(marked, hidden)
        found[rows, cols] = False  # nothing is lost in a bar
        assert not found.any()


def test_rows_that_are_hidden_by_halves_are_not_asked():
    """Of two that follow each other nothing is left."""
    image = crystal()
    hidden = np.zeros(image.shape, dtype=bool)
    hidden[100:120:2, :120] = hidden[101:121:2, 120:] = True
    image[hidden] = np.nan
    assert not find_blanked_rows(image, hidden).any()


def test_small_images_have_none():
    assert not blanked_rows(crystal()[:20]).any()
