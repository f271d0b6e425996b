"""Where a view ends must not depend on where the layer does."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from atomseg.cohort import assign_by_folder, gather
from atomseg.cohort.gather import usable_view_nm
from atomseg.cohort.outcomes import thickness_outcome
from atomseg.io import MeasuredResult
from atomseg.measure import MeasureConfig
from atomseg.measure.rays import ISLAND_SHARE, LASTING_NM


def beyond_nm(thickness_nm: np.ndarray) -> np.ndarray:
    """Layered crystal that must follow an end for it to count, as `measure` has it."""
    return LASTING_NM / 2 + np.minimum(ISLAND_SHARE * thickness_nm, MeasureConfig().closing_nm)


def measured(true_nm: np.ndarray, view_nm: np.ndarray) -> MeasuredResult:
    """What `measure` writes of these layers: an end too near to that of the view is a bound, at its own depth."""
    seen = np.minimum(true_nm, view_nm)
    event = view_nm - seen >= beyond_nm(seen)
    points = pd.DataFrame(
        {"surface_id": 0.0, "thickness_nm": seen, "upper_nm": np.where(event, seen, np.nan), "available_nm": view_nm,
         "event": event.astype(float), "reason": np.where(event, "", "field_of_view")}
    )  # fmt: skip
    return MeasuredResult(
        folder="A/p/a", path="a", sha256="a", judged=True, phase_fractions={}, points=points, fault_length_nm=0.0,
        crystal_nm2=None, detection_nm=0.5,
    )  # fmt: skip


def test_every_end_in_the_usable_view_counts() -> None:
    view = np.linspace(0.6, 60.0, 500)
    usable = usable_view_nm(view)
    assert np.all(view - usable >= beyond_nm(usable))
    assert np.all(np.diff(usable) >= 0)
    # No more is given away than a tenth and half a nanometre.
    assert np.all(usable >= (view - 0.5) / 1.1 - 1e-9)


def test_ends_near_that_of_the_view_do_not_make_layers_thick() -> None:
    rng = np.random.default_rng(0)
    true = np.exp(np.log(10.0) + 0.2 * rng.normal(size=20000))
    result = measured(true, rng.uniform(7.0, 15.0, 20000))
    found = gather([result], assign_by_folder([result])).points
    median = thickness_outcome("median", found, 5.0).estimate
    # Standard error of the median: 10 nm * 1.25 * 0.2 / sqrt(20000), twice that for the half that is censored: 0.03 nm.
    assert median == pytest.approx(10.0, abs=0.1)
    raw = found.assign(thickness_nm=result.points["thickness_nm"], event=result.points["event"] > 0, available_nm=20.0)
    as_written = thickness_outcome("median", raw, 5.0).estimate
    assert as_written is not None
    assert as_written > 10.3


def test_a_bound_beyond_the_usable_view_is_put_there_with_its_reason() -> None:
    result = measured(np.array([2.0, 9.5, 30.0]), np.full(3, 10.0))
    found = gather([result], assign_by_folder([result])).points
    usable = usable_view_nm(np.array([10.0]))[0]
    np.testing.assert_allclose(found["thickness_nm"], [2.0, usable, usable])
    assert list(found["event"]) == [True, False, False]
    assert list(found["reason"]) == ["", "field_of_view", "field_of_view"]
    # 8.9 nm was a good end, but in the same view a layer of 9.1 nm would not have been one.
    close = measured(np.array([8.75]), np.array([10.0]))
    assert close.points["event"].iloc[0] == 1
    assert list(gather([close], assign_by_folder([close])).points["reason"]) == ["end_of_view"]


def test_without_a_column_for_the_view_no_layer_is_left_out() -> None:
    result = measured(np.array([0.0, 7.0]), np.array([5.0, 7.0]))
    bare = dataclasses.replace(result, points=result.points.drop(columns="available_nm"))
    found = gather([bare], assign_by_folder([bare])).points
    assert list(found["available_nm"]) == [0.5, 7.0]
