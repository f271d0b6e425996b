"""Two groups, or two kinds of surface of one group: differences with intervals and permutation tests over particles."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from atomseg.cohort.config import TESTABLE, CohortConfig
from atomseg.cohort.outcomes import UNITS, Outcome, ParticleMeans, Thickness
from atomseg.cohort.resample import bootstrap_weights, holm, interval, permutation_test
from atomseg.cohort.result import Difference

DESCRIPTIVE = "descriptive only"
NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Side:
    """One group and kind of surface with its outcomes by name."""

    group: str
    kind: str
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class _Pair:
    """The same outcome on both sides; paired: the same particles in the same order."""

    first: Outcome
    second: Outcome
    paired: bool
    told_apart: bool

    @property
    def n(self) -> tuple[int, int]:
        return len(self.first.particles), len(self.second.particles)


def compare(a: Side, b: Side, config: CohortConfig, rng: np.random.Generator) -> list[Difference]:
    """Differences of all outcomes that both have, Holm's correction over those that are tested.

    Parameters
    ----------
    a, b : Side
        Two groups of one kind of surface: particles are exchanged between them. Or two kinds of surface of one group:
        where at least the least number of particles show both, these alone are compared, each with itself.
    config : CohortConfig
        Settings.
    rng : numpy.random.Generator
        Randomness.
    """
    differences = []
    for name in TESTABLE:
        if name not in (*config.tested, "median", "restricted_mean"):
            continue
        first, second = a.outcomes.get(name), b.outcomes.get(name)
        if first is None or second is None:
            continue
        pair = _pair(first, second, same_group=a.group == b.group, least=config.least_particles)
        between = _untested(name, pair, a, b)
        differences.append(_resampled(between, pair, config, rng) if pair.told_apart else between)
    tested = [d for d in differences if d.p_value is not None]
    corrected = dict(zip((d.outcome for d in tested), holm([float(d.p_value or 0.0) for d in tested]), strict=True))
    return [replace(d, p_holm=corrected.get(d.outcome)) for d in differences]


def _pair(first: Outcome, second: Outcome, *, same_group: bool, least: int) -> _Pair:
    both = tuple(name for name in first.particles if name in set(second.particles)) if same_group else ()
    if len(both) >= least:
        return _Pair(first.chosen(both), second.chosen(both), paired=True, told_apart=True)
    # A few particles on both sides are neither pairs enough nor independent.
    enough = min(len(first.particles), len(second.particles)) >= least
    return _Pair(first, second, paired=False, told_apart=enough and not both)


def _untested(name: str, pair: _Pair, a: Side, b: Side) -> Difference:
    """The difference alone, as it stays where there are too few particles."""
    values = pair.first.estimate, pair.second.estimate
    return Difference(
        outcome=name,
        unit=UNITS[name],
        first=(a.group, a.kind),
        second=(b.group, b.kind),
        # Rounded far below what is measured: shares that are equal shall differ by 0.
        estimate=None if values[0] is None or values[1] is None else round(values[0] - values[1], 12),
        lower=None,
        upper=None,
        p_value=None,
        p_holm=None,
        test=DESCRIPTIVE,
        rearrangements=0,
        particles=pair.n,
    )


def _resampled(between: Difference, pair: _Pair, config: CohortConfig, rng: np.random.Generator) -> Difference:
    """The difference with its interval and its test."""
    lower, upper = _interval(pair, between.estimate, config, rng)
    result = replace(between, lower=lower, upper=upper, test=NOT_TESTED)
    return _tested(result, pair, config, rng) if between.outcome in config.tested else result


def _interval(
    pair: _Pair, estimate: float | None, config: CohortConfig, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    weights = bootstrap_weights(pair.n[0], config.resamples, rng)
    others = weights if pair.paired else bootstrap_weights(pair.n[1], config.resamples, rng)
    (low_a, high_a), (low_b, high_b) = pair.first.replicates(weights), pair.second.replicates(others)
    low, high = low_a - high_b, high_a - low_b
    ends = interval(estimate, low, high, n=min(pair.first.informed, pair.second.informed), level=config.level)
    lower, upper = float(ends[0]), float(ends[1])
    return (lower if np.isfinite(lower) else None), (upper if np.isfinite(upper) else None)


def _tested(result: Difference, pair: _Pair, config: CohortConfig, rng: np.random.Generator) -> Difference:
    n_a, n_b = pair.n
    joined = _joined(pair)
    told = permutation_test(
        joined.tested,
        np.arange(n_a),
        np.arange(n_a, n_a + n_b),
        n_units=n_a + n_b,
        paired=pair.paired,
        most=config.permutations,
        rng=rng,
    )
    kind = "sign flips" if pair.paired else "permutation"
    test = f"{'exact' if told.exact else 'Monte Carlo'} {kind}"
    return replace(result, p_value=told.p_value, test=test, rearrangements=told.rearrangements)


def _joined(pair: _Pair) -> Outcome:
    if isinstance(pair.first, Thickness) and isinstance(pair.second, Thickness):
        return pair.first.joined(pair.second)
    if isinstance(pair.first, ParticleMeans) and isinstance(pair.second, ParticleMeans):
        return pair.first.joined(pair.second)
    raise TypeError(f"{type(pair.first).__name__} and {type(pair.second).__name__} are no outcomes of one kind")
