"""Resampling of particles: intervals and permutation tests, whatever the statistic."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Rearrangements looked at in one go: bounds the memory, changes no number.
_BATCH = 500
# Far below anything that is measured, in nm, shares or 1/nm.
_DECIMALS = 12

# (B, P) weights of the particles -> (B,) values.
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PermutationResult:
    """Result of a permutation test."""

    p_value: float
    exact: bool
    rearrangements: int


def bootstrap_weights(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(B, n) how often each of `n` particles is in each resample.

    Particles are drawn whole, with all of their images and points: points of one particle are no independent
    measurements, and resampling them would make intervals as narrow as if they were.
    """
    return rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(float)


def interval(
    estimate: np.ndarray | float | None,
    low: np.ndarray,
    high: np.ndarray,
    *,
    n: int,
    level: float,
    log: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a statistic from its bootstrap replicates, wide enough for few clusters.

    The hull of two: the expanded percentile interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789), whose
    quantiles make up for the (n - 1) / n of a bootstrap's variance and for Student's t; and Student's t interval with
    the bootstrap's standard error, because the first ends at the outermost particle and so covers a median of three
    particles at most 75 % of the time.

    Parameters
    ----------
    estimate : numpy.ndarray or float or None
        (K,) or one value; None where it is not reached, and then only the first interval is used.
    low, high : numpy.ndarray
        (B, K) or (B,) replicates; they differ where a replicate is known only to lie between them.
    n : int
        Number of clusters, of the smaller group for a difference. Of a median only those count that can be seen as
        deep: with much censoring few of them decide where it is.
    level : float
        Level of the interval.
    log : bool
        The t interval is taken of the logarithm.

    Returns
    -------
    lower, upper : numpy.ndarray
        (K,) or 0-d; infinite where open.
    """
    from scipy.stats import norm, t

    scale = math.sqrt(n / (n - 1.0)) * float(t.ppf(0.5 + level / 2.0, n - 1))
    tail = float(norm.cdf(-scale))
    lower = np.quantile(low, tail, axis=0, method="inverted_cdf")
    upper = np.quantile(high, 1.0 - tail, axis=0, method="inverted_cdf")
    if estimate is None:
        return lower, upper
    centre, values = np.asarray(estimate, dtype=float), np.where(np.isfinite(high), high, np.nan)
    if log:
        centre, values = np.log(np.maximum(centre, 1e-9)), np.log(np.maximum(values, 1e-9))
    known = np.isfinite(values).sum(axis=0)
    spread = np.where(known > 1, np.nanstd(np.where(known > 1, values, 0.0), axis=0), 0.0)
    ends = centre - scale * spread, centre + scale * spread
    if log:
        ends = np.exp(ends[0]), np.exp(ends[1])
    return np.minimum(lower, ends[0]), np.maximum(upper, ends[1])


def permutation_test(
    statistic: Statistic,
    first: np.ndarray,
    second: np.ndarray,
    *,
    n_units: int,
    paired: bool,
    most: int,
    rng: np.random.Generator,
) -> PermutationResult:
    """Two-sided test of whether it matters which group a particle is in.

    Parameters
    ----------
    statistic : callable
        Value of a group from (B, `n_units`) weights; the difference of the two groups is tested.
    first, second : numpy.ndarray
        (n1,), (n2,) units of the two groups.
    n_units : int
        Units known to the statistic.
    paired : bool
        ``first[i]`` and ``second[i]`` are one particle: values are exchanged within particles only.
    most : int
        Rearrangements to look at; all of them when there are no more.
    rng : numpy.random.Generator
        Randomness when there are more.
    """
    from scipy.stats import permutation_test as scipy_test

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        values = [statistic(_weights(np.moveaxis(v, axis, -1), n_units)) for v in (x, y)]
        shape = np.moveaxis(x, axis, -1).shape[:-1]
        # Rearrangements that are equal must not differ by rounding, or none of them would count as a tie.
        return np.asarray(np.round(values[0] - values[1], _DECIMALS).reshape(shape))

    possible = 2 ** len(first) if paired else math.comb(len(first) + len(second), len(first))
    result = scipy_test(
        (first, second),
        difference,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=most,
        batch=_BATCH,
        alternative="two-sided",
        rng=rng,
    )
    return PermutationResult(float(result.pvalue), possible <= most, min(possible, most))


def _weights(units: np.ndarray, n_units: int) -> np.ndarray:
    """(B, n_units) how often each unit is in each rearrangement of (..., n) units."""
    flat = units.reshape(-1, units.shape[-1]).astype(np.int64)
    weights = np.zeros((len(flat), n_units))
    np.add.at(weights, (np.arange(len(flat))[:, None], flat), 1.0)
    return weights


def holm(p_values: list[float]) -> list[float]:
    """P-values after Holm's correction (1979, Scandinavian Journal of Statistics 6, 65)."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
