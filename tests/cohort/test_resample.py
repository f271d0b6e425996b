"""Intervals cover, tests are exact, and points of one particle are not independent."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atomseg.cohort import CohortConfig, Observations, OutcomeEstimate, cohort_statistics
from atomseg.cohort.group import Stratum, estimate_outcome
from atomseg.cohort.outcomes import thickness_outcome
from atomseg.cohort.resample import bootstrap_weights, holm, interval, permutation_test

Draw = Callable[..., Observations]
Make = Callable[..., object]  # a population of tests/cohort/conftest.py
QUICK = CohortConfig(resamples=400)


def median_of(observations: Observations, config: CohortConfig = QUICK) -> OutcomeEstimate:
    """Median thickness of the only group."""
    group = Stratum("A", "outer", observations.points, observations.images)
    outcome = group.outcome("median", 6.0)
    assert outcome is not None
    return estimate_outcome("median", outcome, group, config, np.random.default_rng(0))


def covers(entry: OutcomeEstimate, truth: float) -> bool:
    low, high = entry.lower or 0.0, np.inf if entry.upper is None else entry.upper
    return bool(low <= truth <= high)


@pytest.mark.parametrize(
    ("particles", "between", "within", "view"),
    [
        (3, 0.3, 0.3, (5.0, 20.0)),
        (5, 0.5, 0.1, (5.0, 20.0)),
        (6, 0.3, 0.3, (4.0, 9.0)),  # half of the points are lower bounds
        (8, 0.1, 0.4, (5.0, 20.0)),
    ],
)
def test_intervals_of_medians_cover_the_truth(
    draw: Draw, population: Make, particles: int, between: float, within: float, view: tuple[float, float]
) -> None:
    rng, n = np.random.default_rng([particles, 7]), 200
    drawn = population(6.0, between, within, particles, view_nm=view)
    hits = sum(covers(median_of(draw(rng, drawn)), 6.0) for _ in range(n))
    # Nominal 90 %. Counts of 200 cohorts scatter by 2.1 %: 85 % is 2.4 of these below, so an interval that covers as
    # it says fails once in 120; a plain percentile interval covers 59 to 87 % here.
    assert hits / n >= 0.85


def test_censored_groups_are_not_biased_low(draw: Draw, population: Make) -> None:
    rng, truth = np.random.default_rng(3), 10.0
    drawn = population(truth, 0.2, 0.3, 6, view_nm=(7.0, 14.0))
    medians, naive, left_out = [], [], []
    for _ in range(60):
        observations = draw(rng, drawn)
        points = observations.points
        medians.append(median_of(observations, CohortConfig(resamples=100)).estimate or np.inf)
        naive.append(points["thickness_nm"].mean())
        left_out.append(points.loc[points["event"], "thickness_nm"].mean())
    # The median of 60 estimates that scatter by about 1.2 nm each is good to 0.2 nm; three of these.
    assert abs(np.median(medians) - truth) < 0.6
    # The two ways of ignoring it: bounds as values, and bounds left out. The true mean is 10.7 nm.
    assert np.mean(naive) < 9.0
    assert np.mean(left_out) < 8.5


def test_many_points_of_one_particle_do_not_make_intervals_narrow(draw: Draw, population: Make) -> None:
    def width(points: int) -> float:
        rng = np.random.default_rng(5)
        cohorts = [draw(rng, population(6.0, 0.3, 0.3, 6, points=points)) for _ in range(30)]
        found = [median_of(cohort) for cohort in cohorts]
        return float(np.mean([np.log(f.upper / f.lower) for f in found if f.upper and f.lower]))

    # As many independent points would make it 5 times narrower. What is left is the spread of the particles alone.
    assert width(1500) > 0.75 * width(60)


def test_an_interval_of_three_goes_beyond_the_outermost_particle() -> None:
    values = np.array([4.0, 6.0, 9.0])
    weights = bootstrap_weights(3, 2000, np.random.default_rng(0))
    replicates = weights @ values / 3
    lower, upper = interval(values.mean(), replicates, replicates, n=3, level=0.9)
    # Student's t interval of the mean of three, the textbook's: 19/3 -+ 2.920 * 2.517 / sqrt(3). The bootstrap's
    # standard error scatters by 1/sqrt(4000), 2 %; three of these.
    half = 2.920 * np.std(values, ddof=1) / np.sqrt(3)
    assert (upper - lower) / 2 == pytest.approx(half, rel=0.06)


def test_an_open_end_is_infinite() -> None:
    replicates = np.array([3.0, 4.0, 5.0, np.inf] * 100)
    lower, upper = interval(4.5, replicates, replicates, n=5, level=0.9, log=True)
    assert np.isinf(upper)
    assert 0 < lower <= 3.0


def values_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize(("n_a", "n_b"), [(3, 3), (3, 5), (4, 6)])
def test_an_exact_test_is_the_enumeration(n_a: int, n_b: int) -> None:
    rng = np.random.default_rng(n_a * 10 + n_b)
    values = np.concatenate([rng.normal(0.8, 1, n_a), rng.normal(0, 1, n_b)])
    everything = set(range(n_a + n_b))
    sums = [
        values[list(chosen)].mean() - values[list(everything - set(chosen))].mean()
        for chosen in itertools.combinations(range(n_a + n_b), n_a)
    ]
    seen = values[:n_a].mean() - values[n_a:].mean()
    sides = [np.mean(np.array(sums) <= seen + 1e-12), np.mean(np.array(sums) >= seen - 1e-12)]
    told = permutation_test(
        values_of(values),
        np.arange(n_a),
        np.arange(n_a, n_a + n_b),
        n_units=n_a + n_b,
        paired=False,
        most=20000,
        rng=rng,
    )
    assert told.exact
    assert told.rearrangements == len(sums)
    assert told.p_value == pytest.approx(min(1.0, 2 * min(sides)), abs=1e-12)


def test_an_exact_paired_test_is_all_sign_flips() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(1, 1, 6), rng.normal(0, 1, 6)
    gaps = [np.mean(np.array(signs) * (first - second)) for signs in itertools.product((1, -1), repeat=6)]
    seen = np.mean(first - second)
    sides = [np.mean(np.array(gaps) <= seen + 1e-12), np.mean(np.array(gaps) >= seen - 1e-12)]
    told = permutation_test(
        values_of(np.concatenate([first, second])), np.arange(6), np.arange(6, 12), n_units=12, paired=True, most=20000,
        rng=rng,
    )  # fmt: skip
    assert (told.exact, told.rearrangements) == (True, 64)
    assert told.p_value == pytest.approx(min(1.0, 2 * min(sides)), abs=1e-12)


def test_equal_values_are_ties_whatever_their_rounding() -> None:
    # Means of 5 and of 6 times 0.05 differ in the last digit, which must not look like a difference.
    told = permutation_test(
        values_of(np.full(11, 0.05)), np.arange(5), np.arange(5, 11), n_units=11, paired=False, most=20000,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert told.p_value == 1.0


def test_of_a_median_only_particles_that_are_seen_as_deep_count() -> None:
    def seen(particle: str, view: float, thickness: list[float]) -> pd.DataFrame:
        true = np.array(thickness)
        columns = {"particle": particle, "thickness_nm": np.minimum(true, view), "event": true <= view}
        return pd.DataFrame({**columns, "available_nm": view, "detection_nm": 0.0})

    shallow = [seen(f"s{k}", 5.0, [4.0, 11.0, 12.0]) for k in range(4)]
    deep = [seen(f"d{k}", 20.0, [9.0 + k, 10.0, 14.0]) for k in range(2)]
    outcome = thickness_outcome("median", pd.concat([*shallow, *deep]), 5.0)
    assert outcome.estimate == 10.0
    assert outcome.informed == 2
    assert replace(outcome, outcome="restricted_mean").informed == 6


def test_p_values_are_uniform_where_there_is_no_difference(draw: Draw, population: Make) -> None:
    rng, n = np.random.default_rng(11), 300
    found = []
    for _ in range(n):
        seen = draw(rng, population(6.0, particles=5, points=24, view_nm=(4.0, 15.0)),
                    population(6.0, particles=5, points=24, view_nm=(4.0, 15.0), group="B")).points  # fmt: skip
        a, b = (thickness_outcome("restricted_mean", seen[seen["group"] == group], 6.0) for group in "AB")
        units = np.arange(10)
        told = permutation_test(a.joined(b).tested, units[:5], units[5:], n_units=10, paired=False, most=20000, rng=rng)
        found.append(told.p_value)
    shares = [(level, np.mean(np.array(found) <= level + 1e-9)) for level in (0.1, 0.25, 0.5, 0.75)]
    for level, share in shares:
        # The test has 252 rearrangements: its p-values are multiples of 2/252, so a level is met to 0.8 %. Three
        # standard errors of a share of 300 on top.
        assert abs(share - level) < 0.008 + 3 * np.sqrt(level * (1 - level) / n)


def test_a_different_view_alone_is_no_difference(draw: Draw, population: Make) -> None:
    """One group seen less deep than the other: bounds as values would make it thinner, the statistics do not."""
    rng = np.random.default_rng(13)
    seen = draw(rng, population(9.0, 0.1, 0.3, 8, view_nm=(6.0, 12.0)),
                population(9.0, 0.1, 0.3, 8, view_nm=(20.0, 30.0), group="B"))  # fmt: skip
    means = seen.points.groupby("group")["thickness_nm"].mean()
    assert means["B"] - means["A"] > 1.0
    told = cohort_statistics(seen, QUICK)
    gap = next(d for d in told.differences if d.outcome == "median")
    assert gap.estimate is not None
    assert gap.lower is not None
    # Open upwards where resamples of the group that is seen less deep do not reach their median.
    assert gap.lower < 0 < (np.inf if gap.upper is None else gap.upper)


def test_holm() -> None:
    # Smallest times 3, next times 2, last times 1, never falling: 0.03, 0.06, max(0.06, 0.04).
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
