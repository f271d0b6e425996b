"""How often intervals of cohort medians hold the truth, and how often tests find a difference where there is none.

    python benchmarks/accuracy/cohort_coverage.py [--cohorts 400] [--seed 0] [--quick]

Cohorts are drawn at the level of tables: particles scatter about the group's median, points about the particle's, in
stretches of equal thickness, and each image sees to a depth of its own. Beside the interval that is reported stands the
plain percentile bootstrap over particles, and that over points, as if points were independent. Writes
benchmarks/results/cohort_coverage.csv and .json.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json

from atomseg.cohort.outcomes import Thickness, thickness_outcome
from atomseg.cohort.resample import bootstrap_weights, interval, permutation_test

LEVEL = 0.90
RESAMPLES = 1000
POINTS, STRETCH, IMAGES = 60, 6, 2
PARTICLES = (3, 4, 5, 6, 8, 12)


@dataclass(frozen=True)
class Setting:
    """A group: true median, spread of the logarithm between and within particles, depth of the views."""

    name: str
    median_nm: float
    between: float
    within: float
    view_nm: tuple[float, float]

    @property
    def tau_nm(self) -> float:
        """Depth of the restricted means: what half of the particles can be seen to."""
        return sum(self.view_nm) / 2


SETTINGS = (
    Setting("usual", 6.0, 0.3, 0.3, (5.0, 20.0)),
    Setting("unlike particles", 6.0, 0.5, 0.1, (5.0, 20.0)),
    Setting("alike particles", 6.0, 0.1, 0.4, (5.0, 20.0)),
    Setting("two thirds censored", 21.0, 0.15, 0.1, (14.0, 24.0)),
)


def draw(setting: Setting, particles: int, rng: np.random.Generator) -> Thickness:
    """Median thickness of one cohort's group."""
    tables = []
    for k in range(particles):
        centre = np.log(setting.median_nm) + setting.between * rng.normal()
        for _ in range(IMAGES):
            true = np.exp(centre + setting.within * np.repeat(rng.normal(size=POINTS // STRETCH), STRETCH))
            view = rng.uniform(*setting.view_nm)
            columns = {"particle": f"p{k:02}", "thickness_nm": np.minimum(true, view), "event": true <= view}
            tables.append(pd.DataFrame({**columns, "available_nm": view, "detection_nm": 0.0}))
    return thickness_outcome("median", pd.concat(tables, ignore_index=True), setting.tau_nm)


def finite(value: float) -> float | None:
    """None for an interval that is mostly open."""
    return float(value) if np.isfinite(value) else None


def over_points(outcome: Thickness, rng: np.random.Generator) -> tuple[float, float]:
    """The interval of someone who takes every point for an independent measurement."""
    n = len(outcome.thickness_nm)
    alone = np.arange(n)
    table = type(outcome.table).from_points(outcome.thickness_nm, outcome.event, alone, n)
    medians = table.median_nm(bootstrap_weights(n, 200, rng))
    low, high = np.quantile(medians, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
    return float(low), float(high)


def cover(setting: Setting, particles: int, cohorts: int, seed: int) -> dict[str, object]:
    """Coverage of one setting."""
    rng = np.random.default_rng([seed, particles, 1 + SETTINGS.index(setting)])
    held = {"reported": 0, "percentile": 0, "over_points": 0}
    medians, plain, widths, censored = [], [], [], []
    for _ in range(cohorts):
        outcome = draw(setting, particles, rng)
        low, high = outcome.replicates(bootstrap_weights(particles, RESAMPLES, rng))
        ends = interval(outcome.estimate, low, high, n=outcome.informed, level=LEVEL, log=True)
        tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        told = {
            "reported": (float(ends[0]), float(ends[1])),
            "percentile": (
                np.quantile(low, tails[0], method="inverted_cdf"),
                np.quantile(high, tails[1], method="inverted_cdf"),
            ),
            "over_points": over_points(outcome, rng),
        }
        for name, (lower, upper) in told.items():
            held[name] += bool(lower <= setting.median_nm <= upper)
        medians.append(np.inf if outcome.estimate is None else outcome.estimate)
        plain.append(outcome.thickness_nm.mean())
        widths.append(ends[1] / ends[0])
        censored.append(1 - outcome.event.mean())
    return {
        "setting": setting.name,
        "particles": particles,
        "cohorts": cohorts,
        **{f"coverage_{name}": n / cohorts for name, n in held.items()},
        "ratio_of_ends": finite(np.quantile(widths, 0.5, method="inverted_cdf")),
        "true_median_nm": setting.median_nm,
        "median_of_medians_nm": finite(np.quantile(medians, 0.5, method="inverted_cdf")),
        "plain_mean_nm": float(np.mean(plain)),
        "true_mean_nm": setting.median_nm * float(np.exp((setting.between**2 + setting.within**2) / 2)),
        "right_censored": float(np.mean(censored)),
    }


def false_alarms(setting: Setting, particles: int, cohorts: int, seed: int) -> dict[str, object]:
    """Share of p-values of restricted means up to 0.05 and 0.1 between two groups of one population."""
    rng = np.random.default_rng([seed, particles, 1 + SETTINGS.index(setting), 2])
    found = []
    for _ in range(cohorts):
        a, b = (replace(draw(setting, particles, rng), outcome="restricted_mean") for _ in "ab")
        units = np.arange(2 * particles)
        told = permutation_test(
            a.joined(b).tested,
            units[:particles],
            units[particles:],
            n_units=2 * particles,
            paired=False,
            most=2000,
            rng=rng,
        )
        found.append(told.p_value)
    return {
        "setting": setting.name,
        "particles": particles,
        "cohorts": cohorts,
        **{f"p_up_to_{level}": float(np.mean(np.array(found) <= level + 1e-9)) for level in (0.05, 0.1)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="30 cohorts; nothing is written")
    arguments = parser.parse_args()
    cohorts = 30 if arguments.quick else arguments.cohorts
    rows = [cover(setting, n, cohorts, arguments.seed) for setting in SETTINGS for n in PARTICLES]
    alarms = [false_alarms(setting, n, cohorts, arguments.seed) for setting in SETTINGS for n in (4, 6)]
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    print(pd.DataFrame(alarms).round(3).to_string(index=False))
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        pd.DataFrame(rows).round(4).to_csv(RESULTS / "cohort_coverage.csv", index=False)
        write_json("cohort_coverage", {"level": LEVEL, "coverage": rows, "no_difference": alarms})
    return 0


if __name__ == "__main__":
    sys.exit(main())
