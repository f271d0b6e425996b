"""Line errors come off the columns; the lattice, its faults and its strain stay."""

import numpy as np
import pytest

from atomseg.classify import ClassifyConfig, classify
from atomseg.classify.frames import find_triples, row_periods_nm
from atomseg.classify.scan import without_line_errors
from atomseg.types import Columns, Phase

# Real micrographs of 12 nm hold a few thousand columns.
SIZE_NM = 12.0


def straightened(columns: Columns, *, waves: str = "all_waves") -> np.ndarray:
    amplitude = columns.table["amplitude"].to_numpy(dtype=float)
    triples = find_triples(columns.yx_nm, amplitude, row_periods_nm(ClassifyConfig()))
    return getattr(without_line_errors(columns.yx_nm, triples), waves)


def moved(columns: Columns, along_x: np.ndarray, along_y: np.ndarray) -> Columns:
    """The same columns as another scan shows them."""
    pixel = columns.table["x_nm"].to_numpy()[-1] / columns.table["x_px"].to_numpy()[-1]
    table = columns.table.assign(
        x_nm=columns.table["x_nm"] + along_x,
        y_nm=columns.table["y_nm"] + along_y,
        x_px=columns.table["x_px"] + along_x / pixel,
        y_px=columns.table["y_px"] + along_y / pixel,
    )
    return Columns(table)


def wobble(y_nm: np.ndarray) -> np.ndarray:
    """Mains interference of 40 pm, 1.4 nm long."""
    return 0.04 * np.sin(2 * np.pi * y_nm / 1.4 + 0.6)


@pytest.mark.parametrize("rotation", [20.0, 37.0, 66.0, 110.0])
def test_mains_interference_is_taken_out(maker, rotation):
    _, columns = maker.build(maker.Lattice(size_nm=SIZE_NM, rotation_deg=rotation))
    y = columns.yx_nm[:, 0]
    scanned = moved(columns, wobble(y), 0.3 * wobble(y))
    # What a column moves against one a metal layer above it: this is what a stacking shift is made of.
    before, after = (across_layer(points - columns.yx_nm, y) for points in (scanned.yx_nm, straightened(scanned)))
    assert before[1] > 40.0
    # A tenth of it is what 4 pm of the columns' own noise, 10 columns a height, leave in a difference.
    assert (after < 0.15 * before[1]).all()


def across_layer(left_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """(2,) rms of the change of a displacement over half a nanometre of height, pm."""
    height, count = np.unique(np.rint(y_nm / 0.1).astype(int), return_inverse=True)
    mean = [np.bincount(count, left) / np.bincount(count) for left in left_nm.T]
    profile = np.stack([np.interp(np.arange(height[0], height[-1] + 1), height, m) for m in mean])
    return 1e3 * np.sqrt(((profile[:, 5:] - profile[:, :-5]) ** 2).mean(axis=1))


@pytest.mark.parametrize("rotation", [0.0, 15.0, 45.0, 90.0])
def test_a_scan_without_line_errors_is_left_alone(maker, rotation):
    _, columns = maker.build(maker.Lattice(size_nm=SIZE_NM, rotation_deg=rotation, o1_gaps=frozenset({0, 3})))
    change = straightened(columns) - columns.yx_nm
    # Columns have 4 pm of noise of their own: no more than a quarter of that.
    assert 1e3 * np.sqrt((change**2).mean()) < 1.0


def test_rows_along_the_scan_lines_keep_their_shifts(maker):
    """Displacing whole rows is what a stacking fault does: there the image can not tell it from a line error."""
    _, columns = maker.build(maker.Lattice(size_nm=SIZE_NM))
    y = columns.yx_nm[:, 0]
    shifted = moved(columns, 0.05 * (np.floor(y / 0.473 + 0.25) % 2), np.zeros(len(y)))
    change = straightened(shifted) - shifted.yx_nm
    assert 1e3 * np.abs(change).max() < 5.0


def test_phases_are_read_through_interference_that_would_hide_them(maker):
    lattice = maker.Lattice(size_nm=SIZE_NM, rotation_deg=35.0, o1_gaps=frozenset({0, 1, 2}))
    micrograph, columns = maker.build(lattice)
    quiet = classify(micrograph, columns, ClassifyConfig())
    y = columns.yx_nm[:, 0]
    # 60 pm over 1.4 nm shear the crystal by up to 0.27: a stacking shift moves by half a period.
    loud = classify(micrograph, moved(columns, 1.5 * wobble(y), np.zeros(len(y))), ClassifyConfig())
    # Columns stand up to 60 pm beside where they are drawn: labels may differ by that much along borders.
    assert (quiet.labels == loud.labels).mean() > 0.97
    assert loud.fractions()[Phase.O1.key] == pytest.approx(quiet.fractions()[Phase.O1.key], abs=0.02)


def test_strain_with_depth_is_not_taken_for_the_scan(maker):
    """Rows across the scan lines whose period grows by 2.6 % over the lower half, as rocksalt's does: positions for
    strain keep it, though every column of a line is displaced alike."""
    lattice = maker.Lattice(size_nm=SIZE_NM, rotation_deg=90.0)
    _, columns = maker.build(lattice)
    y = columns.yx_nm[:, 0]
    grown = 0.026 * np.maximum(y - SIZE_NM / 2, 0.0)
    change = straightened(moved(columns, np.zeros(len(y)), grown), waves="short_waves") - columns.yx_nm
    left = np.polyfit(y[y > SIZE_NM / 2 + 1], change[y > SIZE_NM / 2 + 1, 0], 1)[0]
    assert left == pytest.approx(0.026, rel=0.1)
