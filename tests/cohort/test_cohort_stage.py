"""What the statistics say, and what they refuse to say."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from atomseg.cohort import (
    Assignment,
    CohortConfig,
    CohortStatistics,
    GroupStatistics,
    Observations,
    OutcomeEstimate,
    cohort_files,
    cohort_statistics,
    cohort_text,
)
from atomseg.cohort.gather import IMAGE_FIELDS, POINT_FIELDS
from atomseg.cohort.tables import COHORT_FIELDS, DIFFERENCE_FIELDS
from atomseg.errors import ConfigError, OutputError

Draw = Callable[..., Observations]
Make = Callable[..., object]
QUICK = CohortConfig(resamples=300)


def group(told: CohortStatistics, name: str, kind: str = "outer") -> GroupStatistics:
    return next(g for g in told.groups if (g.group, g.surface_kind) == (name, kind))


def outcome(told: CohortStatistics, name: str, what: str, kind: str = "outer") -> OutcomeEstimate:
    entry = group(told, name, kind).outcome(what)
    assert entry is not None
    return entry


def handmade(rows: list[tuple[str, str, str, float, bool]], view_nm: float = 20.0) -> Observations:
    """Points (group, particle, kind, thickness, seen) of one image a particle."""
    points = [
        (g, g, p, f"{g}{p}", f"{g}{p}{k}", k, t, seen, view_nm, 0.5, 80.0, "" if seen else "field_of_view")
        for g, p, k, t, seen in rows
    ]
    return Observations(
        pd.DataFrame(points, columns=list(POINT_FIELDS)),
        pd.DataFrame(columns=list(IMAGE_FIELDS)),
        Assignment({}, ("sample",)),
    )


@pytest.fixture(scope="module")
def told(draw: Draw, population: Make) -> CohortStatistics:
    rng = np.random.default_rng(0)
    return cohort_statistics(
        draw(
            rng,
            population(4.0, group="SC", particles=5, view_nm=(8, 12)),
            population(6.0, group="QSC", particles=4, view_nm=(8, 12)),
            population(22.0, group="QSC", particles=4, kind="crack", view_nm=(8, 16)),
            population(12.0, group="PC", particles=2, view_nm=(8, 25)),
        ),
        QUICK,
    )


def test_kinds_of_surface_are_never_pooled(told: CohortStatistics) -> None:
    assert [(g.group, g.surface_kind) for g in told.groups] == [
        ("PC", "outer"), ("QSC", "crack"), ("QSC", "outer"), ("SC", "outer")
    ]  # fmt: skip
    pairs = {(d.first, d.second) for d in told.differences}
    # Groups are compared at one kind of surface; of different kinds only those of one group.
    assert pairs == {
        (("PC", "outer"), ("QSC", "outer")),
        (("PC", "outer"), ("SC", "outer")),
        (("QSC", "outer"), ("SC", "outer")),
        (("QSC", "crack"), ("QSC", "outer")),
    }


def test_two_particles_are_described_only(told: CohortStatistics) -> None:
    pc = group(told, "PC")
    assert pc.descriptive_only
    assert pc.curve is not None
    assert pc.curve.lower is None
    median = outcome(told, "PC", "median")
    assert median.estimate is not None
    assert (median.lower, median.upper) == (None, None)
    assert {(d.p_value, d.p_holm, d.test) for d in told.differences if ("PC", "outer") in (d.first, d.second)} == {
        (None, None, "descriptive only")
    }
    assert any("descriptive only" in note and "PC, outer" in note for note in told.notes)


def test_a_layer_beyond_the_view_is_a_bound(told: CohortStatistics) -> None:
    median = outcome(told, "QSC", "median", "crack")
    assert (median.estimate, median.upper, median.bound) == (None, None, "beyond_view")
    # No view is deeper than 16 nm, and all are deeper than 8 nm.
    assert median.lower is not None
    assert 8.0 <= median.lower <= 16.0
    gap = next(d for d in told.differences if d.first == ("QSC", "crack") and d.outcome == "median")
    assert gap.estimate is None
    assert gap.upper is None
    # At least the shallowest view minus the deepest that the other can be.
    assert gap.lower is not None
    assert gap.lower < 16.0 - 3.0


def test_particles_that_show_both_kinds_are_compared_with_themselves(told: CohortStatistics) -> None:
    tests = {d.test for d in told.differences if d.first == ("QSC", "crack")}
    assert tests == {"exact sign flips"}
    assert {d.rearrangements for d in told.differences if d.first == ("QSC", "crack")} == {16}


def test_one_particle_on_both_sides_is_neither_paired_nor_independent() -> None:
    rows = [("A", f"p{k}", "outer", 3.0 + k, True) for k in range(4)]
    rows += [("A", f"p{k}", "crack", 8.0 + k, True) for k in range(3, 7)]
    told = cohort_statistics(handmade(rows), QUICK)
    assert {d.test for d in told.differences} == {"descriptive only"}


def test_numbers_of_a_cohort_done_by_hand() -> None:
    rows = [("A", "p0", "outer", 2.0, True), ("A", "p0", "outer", 4.0, True)]
    rows += [("A", "p1", "outer", t, True) for t in (6.0, 6.0, 6.0, 8.0)]
    rows += [("A", "p2", "outer", 10.0, False)]
    told = cohort_statistics(handmade(rows, view_nm=10.0), QUICK)
    assert told.tau_nm == 10.0
    # Every particle weighs 1/3: shares beyond 2, 4, 6, 8 are 5/6, 2/3, 5/12 and 1/3.
    for name, expected in (("p25", 4.0), ("median", 6.0)):
        assert outcome(told, "A", name).estimate == expected
    assert outcome(told, "A", "p75").estimate is None
    assert outcome(told, "A", "beyond_5nm").estimate == pytest.approx(2 / 3)
    # Means of the particles, 3, 26 / 4 and (cut off) 10, a third of each.
    assert outcome(told, "A", "restricted_mean").estimate == pytest.approx(1 + 26 / 12 + 10 / 3)
    counts = outcome(told, "A", "median").counts
    assert (counts.particles, counts.images, counts.surfaces, counts.points) == (3, 3, 3, 7)
    assert (counts.right_censored, counts.left_censored) == (pytest.approx(1 / 7), 0.0)
    assert [p.values["median"] for p in group(told, "A").particles] == [2.0, 6.0, None]
    assert outcome(told, "A", "median_if_doubled").estimate == 6.0


def test_no_layer_is_below_detection_not_zero() -> None:
    rows = [("A", f"p{k}", "outer", 0.0, True) for k in range(4) for _ in range(9)]
    told = cohort_statistics(handmade([*rows, ("A", "p0", "outer", 3.0, True)]), QUICK)
    median = outcome(told, "A", "median")
    assert (median.bound, median.lower, median.upper) == ("below_detection", 0.0, 0.5)
    assert median.counts.left_censored == pytest.approx(36 / 37)
    mean = outcome(told, "A", "restricted_mean")
    # All that could be there below the limit, 0.5 nm nearly everywhere, is inside the interval.
    assert mean.estimate is not None
    assert mean.upper is not None
    assert mean.estimate < 0.1
    assert mean.upper > 0.5


def test_a_view_above_the_detection_limit_says_nothing() -> None:
    rows = [("A", f"p{k}", "outer", 3.0 + k, True) for k in range(3)]
    seen = handmade(rows)
    blind = handmade([("A", "p0", "outer", 0.2, False)] * 50, view_nm=0.2)
    both = Observations(pd.concat([seen.points, blind.points]), seen.images, seen.assignment)
    told, without = cohort_statistics(both, QUICK), cohort_statistics(seen, QUICK)
    assert told.groups == without.groups
    assert any(note.startswith("50 surface points") for note in told.notes)


def test_phases_weigh_micrographs_by_their_crystal_and_particles_equally() -> None:
    def image(particle: str, name: str, rocksalt: float, area: float, fault: float) -> dict[str, object]:
        values = ("A", "A", particle, name, "outer", 1 - rocksalt, rocksalt, 0.0, 0.0, fault, area)
        return dict(zip(IMAGE_FIELDS, values, strict=True))

    rows = [image("p0", "a", 0.1, 100.0, 0.0), image("p0", "b", 0.5, 300.0, 20.0), image("p1", "c", 0.2, 50.0, 5.0)]
    seen = Observations(pd.DataFrame(columns=list(POINT_FIELDS)), pd.DataFrame(rows), Assignment({}, ("sample",)))
    told = cohort_statistics(seen, QUICK)
    assert told.tau_nm is None
    # (0.1 * 100 + 0.5 * 300) / 400 = 0.4 and 0.2; 20 / 400 = 0.05 and 5 / 50 = 0.1 per nm.
    assert outcome(told, "A", "rocksalt").estimate == pytest.approx(0.3)
    assert outcome(told, "A", "fault_density").estimate == pytest.approx(0.075)


def test_the_common_depth_is_what_half_of_every_group_can_be_seen_to() -> None:
    a = handmade([("A", f"p{k}", "outer", 3.0, True) for k in range(3)], 12.0).points
    b = handmade([("B", f"p{k}", "outer", 3.0, True) for k in range(3)], 9.0).points
    b["available_nm"] = [5.0, 9.0, 14.0]
    few = handmade([("C", "p0", "outer", 1.0, True)], 2.0).points  # too few to shorten it for the others
    seen = Observations(pd.concat([a, b, few]), pd.DataFrame(columns=list(IMAGE_FIELDS)), Assignment({}, ("sample",)))
    assert cohort_statistics(seen, QUICK).tau_nm == 9.0
    assert cohort_statistics(seen, CohortConfig(resamples=100, tau_nm=4.0)).tau_nm == 4.0


def test_the_same_seed_gives_the_same_and_a_further_group_moves_nothing(draw: Draw, population: Make) -> None:
    two = [population(4.0, group="A", view_nm=(9, 9)), population(5.0, group="B", view_nm=(9, 9))]
    seen = draw(np.random.default_rng(1), *two)
    more = draw(np.random.default_rng(1), *two, population(7.0, group="C", view_nm=(9, 9)))
    first, again, third = (cohort_statistics(o, QUICK) for o in (seen, seen, more))
    assert cohort_files(first) == cohort_files(again)
    assert third.groups[:2] == first.groups
    assert [d for d in third.differences if "C" not in (d.first[0], d.second[0])] == list(first.differences)
    other = cohort_statistics(seen, CohortConfig(resamples=300, seed=1))
    assert outcome(other, "A", "restricted_mean").lower != outcome(first, "A", "restricted_mean").lower
    assert other.settings["seed"] == 1


def test_the_order_of_the_files_does_not_matter(draw: Draw, population: Make) -> None:
    seen = draw(np.random.default_rng(2), population(4.0, group="A"), population(5.0, group="B"))
    order = np.random.default_rng(0).permutation(len(seen.points))
    turned = Observations(seen.points.iloc[order], seen.images.iloc[::-1], seen.assignment)
    first, second = cohort_statistics(seen, QUICK), cohort_statistics(turned, QUICK)
    for a, b in zip(first.groups, second.groups, strict=True):
        for x, y in zip(a.outcomes, b.outcomes, strict=True):
            # Sums in another order: rounding alone.
            ends = [[e.estimate, e.lower, e.upper] for e in (x, y)]
            np.testing.assert_allclose(*np.array(ends, float), rtol=1e-9, atol=1e-12)


def test_holm_counts_the_tested_outcomes_alone(draw: Draw, population: Make) -> None:
    seen = draw(np.random.default_rng(3), population(4.0, group="A"), population(8.0, group="B"))
    one = cohort_statistics(seen, CohortConfig(resamples=100, tested=("restricted_mean",))).differences
    tested = {d.outcome: (d.p_value, d.p_holm) for d in one if d.p_value is not None}
    assert list(tested) == ["restricted_mean"]
    assert tested["restricted_mean"][0] == tested["restricted_mean"][1]
    assert {d.test for d in one if d.outcome == "median"} == {"not tested"}
    five = cohort_statistics(seen, CohortConfig(resamples=100)).differences
    assert max(d.p_holm or 0 for d in five) >= max(d.p_value or 0 for d in five)


def test_files_and_text_tell_everything(told: CohortStatistics) -> None:
    files = cohort_files(told)
    assert CohortStatistics.from_dict(json.loads(files["cohort.json"])) == told
    lines = files["cohort.csv"].decode().splitlines()
    assert lines[0] == ",".join(COHORT_FIELDS)
    assert len(lines) == 1 + sum(len(g.outcomes) for g in told.groups)
    assert files["cohort_differences.csv"].decode().splitlines()[0] == ",".join(DIFFERENCE_FIELDS)
    text = cohort_text(told)
    for words in ("QSC    crack    4", "> ", "exact permutation", "90 % intervals over particles", "note: "):
        assert words in text


def test_a_damaged_file_is_told(told: CohortStatistics) -> None:
    content = told.as_dict()
    with pytest.raises(OutputError, match="schema is 'other'"):
        CohortStatistics.from_dict({**content, "schema": "other"})
    with pytest.raises(OutputError, match=r"damaged at level"):
        CohortStatistics.from_dict({**content, "level": "high"})


@pytest.mark.parametrize(
    "settings", [{"level": 1.0}, {"resamples": 1}, {"least_particles": 2}, {"tau_nm": 0.0}, {"tested": ("beauty",)}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"cohort.{next(iter(settings))}"):
        CohortConfig(**settings)  # type: ignore[arg-type]


def test_many_small_groups_do_not_drown_the_rest() -> None:
    rows = [(f"S{k:02}", "p0", "outer", 3.0, True) for k in range(20)]
    rows += [(g, f"p{k}", "outer", 3.0 + k, True) for g in ("A", "B") for k in range(3)]
    told = cohort_statistics(handmade(rows), QUICK)
    assert {(d.first[0], d.second[0]) for d in told.differences} == {("A", "B")}
    assert any("differences of 230 pairs" in note for note in told.notes)
