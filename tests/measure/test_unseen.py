"""What was not seen is neither crystal nor vacuum: no surface along it, and rays that meet it have left the view."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_dilation

from atomseg.classify.stage import GAP_FIELDS
from atomseg.measure import MeasureConfig, measure
from atomseg.types import (
    Calibration,
    CalibrationOrigin,
    LatticeFrame,
    Micrograph,
    Phase,
    PhaseMap,
    ReconstructionProfile,
)

PIXEL_NM = 0.03
CALIBRATION = Calibration((PIXEL_NM, PIXEL_NM), CalibrationOrigin.USER)
Y, X = np.mgrid[:400, :500] * PIXEL_NM


def measured(labels: np.ndarray, unseen: np.ndarray, invalid: np.ndarray | None = None) -> ReconstructionProfile:
    """Labels as they are found: the crystal's outline ends somewhat before what was not seen."""
    invalid = unseen if invalid is None else invalid
    near = binary_dilation(unseen, iterations=6) if unseen.any() else unseen
    labels = np.where(near, Phase.NONE, labels).astype(np.uint8)
    occupancy = np.where(labels == Phase.ROCKSALT, 1.0, 0.03).astype(np.float32)
    occupancy[labels == Phase.NONE] = np.nan
    phases = PhaseMap(
        labels=labels,
        confidence=np.ones(labels.shape, np.float32),
        occupancy=occupancy,
        columns=pd.DataFrame(),
        gaps=pd.DataFrame({name: [] for name in GAP_FIELDS}),
        frames=(LatticeFrame((0.0, 0.249), (0.2365, 0.0), 1000),),
    )
    image = np.where(labels == Phase.NONE, 0.0, 100.0).astype(np.float32)
    return measure(phases, CALIBRATION, MeasureConfig(), micrograph=Micrograph(image, CALIBRATION, invalid=invalid))


def slab(depth: np.ndarray, layer_nm: float) -> np.ndarray:
    return np.where(depth < 0, Phase.NONE, np.where(depth < layer_nm, Phase.ROCKSALT, Phase.LAYERED))


def borders() -> np.ndarray:
    unseen = np.zeros(Y.shape, dtype=bool)
    unseen[:60], unseen[:, -45:], unseen[-30:] = True, True, True
    return unseen


def test_crystal_to_every_border_of_what_is_seen_has_no_surface() -> None:
    profile = measured(np.full(Y.shape, Phase.LAYERED), borders())
    assert profile.summary is None
    assert len(profile.points) == 0


def test_a_layer_is_measured_as_if_the_image_ended_there() -> None:
    profile = measured(slab(X - 3.0, 2.5), borders())
    # A drawn edge is known to a pixel, the zone to the measuring grid of 0.06 nm.
    assert profile.summary is not None
    assert profile.summary.mean_nm == pytest.approx(2.5, abs=0.1)
    assert set(profile.points["surface_id"]) == {0}
    assert profile.points["y_px"].between(60, 370).all()
    assert not profile.summary.censored


def test_a_layer_that_goes_on_where_nothing_is_seen_is_a_lower_bound() -> None:
    unseen = np.zeros(Y.shape, dtype=bool)
    unseen[:, 240:] = True
    profile = measured(slab(X - 3.0, 6.0), unseen)
    assert profile.summary is not None
    assert profile.summary.censored
    assert set(profile.points["reason"]) == {"field_of_view"}
    # From 3.0 nm to 7.2 nm, less the 0.4 nm beside the unseen area in which the outline is not trusted.
    assert profile.summary.lower_bound_nm == pytest.approx(3.8, abs=0.1)


def test_a_surface_behind_an_unseen_band_is_two_pieces() -> None:
    unseen = (Y > 5.0) & (Y < 6.5)
    profile = measured(slab(X - 3.0, 2.5), unseen)
    assert sorted(set(profile.points["surface_id"])) == [0, 1]
    y_nm = profile.points["y_px"] * PIXEL_NM
    assert not y_nm.between(5.0, 6.5).any()
    assert profile.points["thickness_nm"].to_numpy() == pytest.approx(2.5, abs=0.15)
    # The depth below the surface goes on beside the band, and is not known in it.
    assert np.isnan(profile.depth_nm[unseen]).all()
    beside = (Y > 4.0) & (Y < 4.6) & (X > 6.0) & (X < 9.0)
    assert np.abs(profile.depth_nm - (X - 3.0))[beside].max() < 0.15


def test_a_particle_cut_by_an_unseen_corner_is_open() -> None:
    radius = np.hypot(Y - 6.0, X - 7.5)
    unseen = (Y < 4.0) & (X < 6.0)
    profile = measured(slab(4.5 - radius, 1.5), unseen)
    assert profile.summary is not None
    assert profile.summary.mean_nm == pytest.approx(1.5, abs=0.1)
    assert not ((profile.points["y_px"] * PIXEL_NM < 4.0) & (profile.points["x_px"] * PIXEL_NM < 6.0)).any()


def test_single_dead_pixels_and_rows_are_nothing() -> None:
    dead, nothing = np.zeros(Y.shape, dtype=bool), np.zeros(Y.shape, dtype=bool)
    dead[200], dead[100, 200] = True, True
    one, other = (measured(slab(X - 3.0, 2.5), nothing, invalid=where) for where in (nothing, dead))
    pd.testing.assert_frame_equal(one.points.drop(columns="overlayer_nm"), other.points.drop(columns="overlayer_nm"))
