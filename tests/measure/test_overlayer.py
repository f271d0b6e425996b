"""The overlayer on drawn images: columns on a lattice, amorphous strips of known thickness, Poisson noise."""

import numpy as np
import pandas as pd
import pytest

from atomseg.measure import MeasureConfig, measure
from atomseg.types import Calibration, CalibrationOrigin, LatticeFrame, Micrograph, Phase, PhaseMap

PIXEL = 0.03
SIZE_NM = 12.0
EDGE_NM = 7.0
CALIBRATION = Calibration((PIXEL, PIXEL), CalibrationOrigin.USER)


def scene(cover_nm, level, *, vacuum=0.1, noise=0.01, slope=0.0, gain=1.0, offset=0.0):
    """Crystal below 7 nm, a cover above it, vacuum above that; columns of peak 1 on a lattice of 0.24 nm."""
    n = round(SIZE_NM / PIXEL)
    y, x = np.meshgrid(np.arange(n) * PIXEL, np.arange(n) * PIXEL, indexing="ij")
    rng = np.random.default_rng(3)
    wave = 0.25 * (1 + np.cos(2 * np.pi * (y - EDGE_NM - 0.12) / 0.24)) * (1 + np.cos(2 * np.pi * x / 0.24))
    light = vacuum + slope * y / SIZE_NM + np.where(y > EDGE_NM, 0.15 + 0.85 * wave, 0.0)
    covered = (y < EDGE_NM) & (y > EDGE_NM - cover_nm)
    light += level * covered * (1 + 0.2 * rng.standard_normal((n, n)))
    image = gain * (light + noise * rng.standard_normal((n, n))) + offset
    labels = np.where(y < EDGE_NM, Phase.NONE, Phase.LAYERED).astype(np.uint8)
    phases = PhaseMap(
        labels=labels,
        confidence=np.ones((n, n), np.float32),
        occupancy=np.where(labels > 0, 0.03, np.nan).astype(np.float32),
        columns=pd.DataFrame(),
        gaps=pd.DataFrame(
            {name: pd.Series(dtype=float) for name in ("phase", "y_nm", "x_nm", "row_lower", "row_upper")}
        ),
        frames=(LatticeFrame((0.0, 0.249), (0.2365, 0.0), 1000),),
    )
    return measure(phases, CALIBRATION, MeasureConfig(), micrograph=Micrograph(image.astype(np.float32), CALIBRATION))


@pytest.mark.parametrize("level", [0.15, 0.5, 2.0])
@pytest.mark.parametrize("cover_nm", [1.5, 3.0, 4.5])
def test_cover_of_any_brightness_is_measured(cover_nm, level):
    profile = scene(cover_nm, level)
    # The light is smoothed by 0.25 nm, which does not move the middle of a rim.
    assert abs(profile.summary.overlayer_nm - cover_nm) < 0.2
    assert profile.summary.overlayer_lower_bound_nm is None
    assert profile.points["overlayer_event"].mean() > 0.95


def test_bare_surface_has_none():
    profile = scene(0.0, 0.0)
    assert profile.summary.overlayer_nm == 0.0
    assert (profile.points["overlayer_event"] == 1).all()


def test_background_that_slopes_is_no_cover():
    profile = scene(0.0, 0.0, slope=0.1)
    assert not (profile.points["overlayer_nm"] > 0).any()


def test_cover_that_fills_the_view_is_a_lower_bound():
    profile = scene(20.0, 0.6)
    assert profile.summary.overlayer_nm is None
    assert abs(profile.summary.overlayer_lower_bound_nm - EDGE_NM) < 0.15  # up to the border; sampled every 0.1 nm


def test_gain_and_offset_change_nothing():
    plain, other = scene(3.0, 0.4).points, scene(3.0, 0.4, gain=700.0, offset=-55.0).points
    assert np.allclose(plain["overlayer_nm"], other["overlayer_nm"], atol=0.01)
    assert np.array_equal(plain["thickness_nm"], other["thickness_nm"])


def test_bright_cover_moves_no_edge():
    bare, covered = scene(0.0, 0.0).points, scene(3.0, 2.0).points
    assert np.array_equal(bare["y_px"], covered["y_px"])


def test_without_the_image_it_is_unknown():
    n = round(SIZE_NM / PIXEL)
    labels = np.where(np.arange(n)[:, None] * PIXEL < EDGE_NM, Phase.NONE, Phase.LAYERED) * np.ones((1, n), int)
    phases = PhaseMap(
        labels=labels.astype(np.uint8),
        confidence=np.ones((n, n), np.float32),
        occupancy=np.full((n, n), 0.03, np.float32),
        columns=pd.DataFrame(),
        gaps=pd.DataFrame(
            {name: pd.Series(dtype=float) for name in ("phase", "y_nm", "x_nm", "row_lower", "row_upper")}
        ),
        frames=(LatticeFrame((0.0, 0.249), (0.2365, 0.0), 1000),),
    )
    profile = measure(phases, CALIBRATION, MeasureConfig())
    assert profile.points["overlayer_nm"].isna().all()
    assert profile.summary.overlayer_nm is None
