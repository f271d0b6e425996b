"""The Kaplan-Meier estimator for weighted particles, against published numbers and lifelines."""

import warnings

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from atomseg.cohort.survival import ClusteredThickness, estimate_curve


def one(n: int) -> np.ndarray:
    return np.ones((1, n))


def test_published_curve_of_censored_data() -> None:
    # Freireich et al. 1963, 10.1182/blood.V21.6.699.699, remission under 6-MP in weeks: the textbooks' example.
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    lost = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    value = np.array([*ended, *lost], float)
    event = np.array([True] * len(ended) + [False] * len(lost))
    table = ClusteredThickness.from_points(value, event, np.zeros(len(value), int), 1)
    np.testing.assert_array_equal(table.depths_nm, [6, 7, 10, 13, 16, 22, 23])
    # Three digits as printed.
    np.testing.assert_allclose(
        table.survival(one(1))[0], [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=5.1e-4
    )
    assert table.median_nm(one(1))[0] == 23.0
    assert table.beyond(one(1), 12.9)[0] == pytest.approx(0.753, abs=5e-4)
    assert table.beyond(one(1), 5.9)[0] == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_weighted_particles_agree_with_lifelines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, particle = 300, rng.integers(0, 4, 300)
    # One digit, so that ends coincide with each other and with ends of views.
    true, view = rng.exponential(5, n).round(1), rng.uniform(0, 10, n).round(1)
    value, event = np.minimum(true, view), true <= view
    weights = rng.uniform(0.2, 2.0, 4)
    table = ClusteredThickness.from_points(value, event, particle, 4)
    curve = estimate_curve(value, event, (weights / np.bincount(particle))[particle])
    expected = curve.survival_function_at_times(table.depths_nm).to_numpy()
    np.testing.assert_allclose(table.survival(weights[None])[0], expected, atol=1e-12)
    assert table.median_nm(weights[None])[0] == curve.median_survival_time_
    assert table.restricted_mean_nm(weights[None], 6.03)[0] == pytest.approx(
        restricted_mean_survival_time(curve, 6.03), abs=1e-12
    )


def test_more_points_of_one_particle_change_nothing() -> None:
    rng = np.random.default_rng(0)
    value, event = rng.exponential(5, 40), rng.random(40) < 0.7
    particle = np.repeat([0, 1], 20)
    table = ClusteredThickness.from_points(value, event, particle, 2)
    again = np.concatenate([np.arange(40), np.tile(np.arange(20), 9)])  # the first particle ten times
    many = ClusteredThickness.from_points(value[again], event[again], particle[again], 2)
    np.testing.assert_allclose(many.survival(one(2)), table.survival(one(2)), atol=1e-12)


def test_a_weight_of_two_is_the_particle_twice() -> None:
    rng = np.random.default_rng(1)
    value, event = rng.exponential(5, 30), rng.random(30) < 0.7
    particle = np.repeat([0, 1, 2], 10)
    table = ClusteredThickness.from_points(value, event, particle, 3)
    twice = np.concatenate([np.arange(30), np.arange(10, 20)])
    drawn = np.concatenate([particle, np.full(10, 3)])
    four = ClusteredThickness.from_points(value[twice], event[twice], drawn, 4)
    np.testing.assert_allclose(table.survival(np.array([[1.0, 2.0, 1.0]])), four.survival(one(4)), atol=1e-12)


def test_without_any_end_in_view_nothing_is_reached() -> None:
    table = ClusteredThickness.from_points(np.array([4.0, 6.0]), np.zeros(2, bool), np.array([0, 1]), 2)
    assert np.isinf(table.median_nm(one(2))[0])
    assert table.restricted_mean_nm(one(2), 4.0)[0] == 4.0
    assert table.beyond(one(2), 3.0)[0] == 1.0


def test_kaplan_meier_is_turnbulls_estimate_above_the_detection_limit() -> None:
    """Layers below detection are left-censored; above the limit it does not matter where below it they are put."""
    rng = np.random.default_rng(2)
    true, view, limit = rng.exponential(2.0, 120), rng.uniform(0.6, 5.0, 120), 0.5
    value, event = np.minimum(true, view), true <= view
    table = ClusteredThickness.from_points(np.where(value < limit, 0.0, value), event, np.zeros(120, int), 1)
    low = np.where(value < limit, 0.0, value)
    high = np.where(value < limit, limit, np.where(event, value, np.inf))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turnbull = KaplanMeierFitter().fit_interval_censoring(low, high, tol=1e-9)
    bounds = turnbull.survival_function_
    depth = table.depths_nm[table.depths_nm > limit][:-1]
    # lifelines lists the share at each of its depths before the step that happens there.
    expected = [bounds[bounds.index > d].iloc[0].mean() for d in depth]
    # The EM algorithm stops at its tolerance: a thousandth is far below what 120 points resolve.
    np.testing.assert_allclose(table.survival(one(1))[0][table.depths_nm > limit][:-1], expected, atol=1e-3)
