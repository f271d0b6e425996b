"""Local frames: which way the rows run where rocksalt, which has two such directions, meets layered crystal."""

import numpy as np
import pytest

from atomseg.classify import shear
from atomseg.classify.config import ClassifyConfig
from atomseg.classify.frames import Frames, angles_deg, beside_rows, find_frames, row_periods_nm
from atomseg.classify.gaps import link_rows

# Cation rows down the close-packed direction: period, distance, shift of a third from row to row, nm.
PERIOD, SPACING, SHIFT = 0.249, 0.237, 0.083
LAYERED_FROM = 44


def rocksalt_on_layered(rng, jitter_nm):
    """Rows along y, rocksalt up to row 44 and every second row beyond; scan lines displaced along x."""
    row, column = np.meshgrid(np.arange(64), np.arange(-30, 70), indexing="ij")
    yx = np.stack([column * PERIOD + row * SHIFT, row * SPACING], axis=-1)
    metal = (row <= LAYERED_FROM) | (row % 2 == 0)
    inside = metal & (yx[..., 0] > 0) & (yx[..., 0] < 14.0)
    yx = yx[inside]
    # A column is a tenth of a nm high: it takes the mean displacement of a few lines, and neighbours share some.
    window = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    lines = np.convolve(rng.normal(0.0, jitter_nm, 720), window / np.sqrt((window**2).sum()), "same")
    yx[:, 1] += lines[(yx[:, 0] / 0.02).astype(int)]
    return yx + rng.normal(0.0, 0.006, yx.shape), rng.normal(1.0, 0.1, len(yx)), row[inside]


@pytest.mark.parametrize("seed", range(6))
def test_rocksalt_has_the_rows_of_the_layered_crystal_below_it(seed):
    # 20 pm of line jitter leaves neighbours straight in one of rocksalt's two directions only, the wrong one as often.
    yx, amplitude, _ = rocksalt_on_layered(np.random.default_rng(seed), 0.02)
    frames = find_frames(yx, amplitude, ClassifyConfig())
    assert len(frames.shift_offset) == 1
    # Here and there the scan breaks all rows around a column, which then follows none.
    assert (frames.domain == 0).mean() > 0.95
    assert abs(angles_deg(frames.typical_row(0)[None])[0] - 90.0) < 2.0


def test_columns_beside_a_row_are_those_of_rocksalt():
    yx, amplitude, row = rocksalt_on_layered(np.random.default_rng(0), 0.0)
    beside = beside_rows(yx, amplitude, row_periods_nm(ClassifyConfig()), [90.0])[:, 0]
    ends = (yx[:, 0] < 0.3) | (yx[:, 0] > 13.7)
    # Of rocksalt even the outermost row has the next one beside it; columns at the ends of the rows may have none.
    assert beside[(row < LAYERED_FROM) & ~ends].all()
    assert not beside[row > LAYERED_FROM + 1].any()


def test_columns_without_light_belong_to_no_row():
    """The fit leaves columns that it gave up at no light; nothing warns, and rows go no further there."""
    n = 8
    yx = np.stack([np.zeros(n), 0.25 * np.arange(n)], axis=1)
    frames = Frames(np.tile([0.0, 0.25], (n, 1)), np.full(n, 0.473), np.zeros(n, dtype=int), ())
    light = np.array([1.0, 1.1, 0.9, 0.0, 1.0, 1.2, -0.1, 1.0])
    row, right = link_rows(yx, light, frames)
    assert right.tolist() == [1, 2, -1, -1, 5, -1, -1, -1]
    assert row[0] == row[2] != row[4] == row[5]


def test_a_slope_that_leads_out_of_what_shear_does_is_noise(monkeypatch):
    """Seen in a view of 400 columns at 80 counts, a quarter of it O1: the best of all slopes made noise agree."""
    rng = np.random.default_rng(11)
    yx = rng.uniform(0.0, 9.0, (390, 2))
    shift = 1 / 3 + 0.02 + rng.normal(0.0, 0.07, len(yx))
    monkeypatch.setattr(shear, "_best_slope", lambda *a: (np.array([-0.15, 0.0]), 0.457, -0.166))
    offset = shear.stacking_offset(shift, yx)
    assert offset is not None
    assert np.abs(offset.at(yx) - 0.02).mean() < 0.03


@pytest.mark.parametrize("seed", range(20))
def test_random_and_half_way_shifts_are_no_layered_oxides(seed):
    rng = np.random.default_rng([seed, 12])
    yx = rng.uniform(0.0, 9.0, (390, 2))
    assert shear.stacking_offset(rng.uniform(-0.5, 0.5, len(yx)), yx) is None
    half = 0.5 + rng.normal(0.0, 0.05, len(yx))
    assert shear.stacking_offset((half + 0.5) % 1.0 - 0.5, yx) is None
