"""One group and kind of surface: outcomes with intervals, the thickness curve, and every particle."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atomseg.cohort.config import CohortConfig
from atomseg.cohort.outcomes import (
    BEYOND_NM,
    IMAGE_OUTCOMES,
    QUANTILES,
    THICKNESS_OUTCOMES,
    UNITS,
    Outcome,
    Thickness,
    image_outcome,
    thickness_outcome,
)
from atomseg.cohort.resample import bootstrap_weights, interval
from atomseg.cohort.result import Bound, Counts, GroupStatistics, OutcomeEstimate, ParticleValues, ThicknessCurve

# Depths of a curve: finer than a line of print, coarse enough for a page.
_CURVE_STEPS = 200


@dataclass(frozen=True)
class Stratum:
    """Observations of one group and one kind of surface.

    Parameters
    ----------
    group, kind : str
        Names.
    points, images : pandas.DataFrame
        As in `Observations`; either may be empty.
    """

    group: str
    kind: str
    points: pd.DataFrame
    images: pd.DataFrame

    @property
    def n_particles(self) -> int:
        """Particles with surface points; without any points, with micrographs."""
        table = self.points if len(self.points) else self.images
        return int(table["particle"].nunique())

    @property
    def follow_up_nm(self) -> float:
        """Depth to which at least half of the particles can be seen."""
        views = np.sort(self.points.groupby("particle")["available_nm"].max().to_numpy(float))
        return float(views[(len(views) - 1) // 2])

    def outcomes(self, tau_nm: float | None) -> dict[str, Outcome]:
        """All outcomes that can be had, by name."""
        found = {name: self.outcome(name, tau_nm) for name in (*THICKNESS_OUTCOMES, *IMAGE_OUTCOMES)}
        return {name: outcome for name, outcome in found.items() if outcome is not None}

    def outcome(self, name: str, tau_nm: float | None) -> Outcome | None:
        """An outcome by name; None where it can not be had."""
        if name in IMAGE_OUTCOMES:
            return image_outcome(name, self.images) if len(self.images) else None
        if not len(self.points) or tau_nm is None:
            return None
        if name in BEYOND_NM and self.points["available_nm"].max() < BEYOND_NM[name]:
            return None
        return thickness_outcome(name, self.points, tau_nm)


def group_statistics(
    stratum: Stratum,
    outcomes: Mapping[str, Outcome],
    tau_nm: float | None,
    config: CohortConfig,
    rng: np.random.Generator,
) -> GroupStatistics:
    """Everything about one group and kind of surface.

    Parameters
    ----------
    stratum : Stratum
        Its observations.
    outcomes : mapping
        From `Stratum.outcomes`.
    tau_nm : float or None
        Depth of restricted means; None where nobody has surface points.
    config : CohortConfig
        Settings.
    rng : numpy.random.Generator
        Randomness of the resampling.
    """
    estimates = [estimate_outcome(name, outcome, stratum, config, rng) for name, outcome in outcomes.items()]
    estimates += _sensitivity(stratum, tau_nm)
    censored = stratum.points.loc[~stratum.points["event"].astype(bool), "reason"]
    return GroupStatistics(
        group=stratum.group,
        surface_kind=stratum.kind,
        descriptive_only=stratum.n_particles < config.least_particles,
        outcomes=tuple(estimates),
        curve=_curve(stratum, outcomes.get("median"), config, rng),
        particles=_particles(stratum, outcomes),
        facet_deg=_facet_quartiles(stratum.points),
        reasons={str(reason): int(n) for reason, n in censored.value_counts().items()},
    )


def counts_of(table: pd.DataFrame, detection_nm: float | None = None) -> Counts:
    """What stands behind a number: of surface points (with their detection limit), or of micrographs."""
    points = table if detection_nm is not None else table.iloc[:0]
    event = points["event"].astype(bool) if len(points) else pd.Series(dtype=bool)
    return Counts(
        samples=int(table["sample"].nunique()),
        particles=int(table["particle"].nunique()),
        images=int(table["image"].nunique()),
        surfaces=int(points["surface"].nunique()) if len(points) else 0,
        points=len(points),
        right_censored=float((~event).mean()) if len(points) else None,
        left_censored=float((event & (points["thickness_nm"] <= detection_nm)).mean()) if len(points) else None,
    )


def _counts(name: str, stratum: Stratum) -> Counts:
    if name not in IMAGE_OUTCOMES:
        return counts_of(stratum.points, float(stratum.points["detection_nm"].max()))
    images = stratum.images
    return counts_of(images[images["crystal_nm2"].astype(float) > 0] if name == "fault_density" else images)


def estimate_outcome(
    name: str, outcome: Outcome, stratum: Stratum, config: CohortConfig, rng: np.random.Generator
) -> OutcomeEstimate:
    """One outcome with its interval.

    Parameters
    ----------
    name : str
        Name of the outcome.
    outcome : ParticleMeans or Thickness
        From `Stratum.outcome`.
    stratum : Stratum
        What it was made of.
    config : CohortConfig
        Settings.
    rng : numpy.random.Generator
        Randomness of the resampling.
    """
    estimate, n = outcome.estimate, len(outcome.particles)
    depth = name in QUANTILES
    low, high = outcome.replicates(np.ones((1, n)))
    lower: float | None = float(low[0]) if depth and estimate is None else None
    upper: float | None = None
    bound: Bound = "beyond_view" if estimate is None else ""
    if depth and estimate is not None and low[0] < high[0]:
        bound, upper = "below_detection", float(high[0])
    if n >= config.least_particles:
        replicates = outcome.replicates(bootstrap_weights(n, config.resamples, rng))
        below = bound == "below_detection"
        ends = interval(None if below else estimate, *replicates, n=outcome.informed, level=config.level, log=depth)
        most = {"share": 1.0, "nm": np.inf, "1/nm": np.inf}[UNITS[name]]
        if name == "restricted_mean" and isinstance(outcome, Thickness):
            most = outcome.tau_nm
        lower, upper = _known(max(float(ends[0]), 0.0)), _known(min(float(ends[1]), most))
    return OutcomeEstimate(name, UNITS[name], estimate, lower, upper, bound, _counts(name, stratum))


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sensitivity(stratum: Stratum, tau_nm: float | None) -> list[OutcomeEstimate]:
    """The median if censored layers ended where they left the view, and at twice that depth."""
    if not len(stratum.points) or tau_nm is None:
        return []
    told = []
    for name, factor in (("median_if_ended", 1.0), ("median_if_doubled", 2.0)):
        event = stratum.points["event"].astype(bool)
        thickness = stratum.points["thickness_nm"].where(event, factor * stratum.points["thickness_nm"])
        supposed = thickness_outcome("median", stratum.points.assign(thickness_nm=thickness, event=True), tau_nm)
        told.append(OutcomeEstimate(name, UNITS[name], supposed.estimate, None, None, "", _counts(name, stratum)))
    return told


def _curve(
    stratum: Stratum, outcome: Outcome | None, config: CohortConfig, rng: np.random.Generator
) -> ThicknessCurve | None:
    if not isinstance(outcome, Thickness):
        return None
    n, views = len(outcome.particles), stratum.points.groupby("particle")["available_nm"].max().to_numpy(float)
    end = float(np.ceil(max(views.max(), outcome.detection_nm, 0.1) * 10.0) / 10.0)
    depth = np.linspace(0.0, end, _CURVE_STEPS + 1)
    depth = depth[depth <= outcome.deepest_nm.max() + depth[1]]
    beyond = _at(outcome, np.ones((1, n)), depth)[0]
    lower = upper = None
    if n >= config.least_particles:
        band = _at(outcome, bootstrap_weights(n, config.resamples, rng), depth)
        ends = interval(beyond, band, band, n=n, level=config.level)
        lower, upper = (_tuple(np.clip(side, 0.0, 1.0)) for side in ends)
    return ThicknessCurve(
        depth_nm=_tuple(depth),
        beyond=_tuple(beyond),
        lower=lower,
        upper=upper,
        particles_in_view=tuple(int((views >= d - 1e-9).sum()) for d in depth),
        detection_nm=outcome.detection_nm,
        follow_up_nm=stratum.follow_up_nm,
    )


def _at(outcome: Thickness, weights: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(B, D) share beyond each of the depths."""
    index = np.searchsorted(outcome.table.depths_nm, depth, side="right")
    survival = outcome.table.survival(weights)
    return np.concatenate([np.ones((len(weights), 1)), survival], axis=1)[:, index]


def _tuple(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


def _particles(stratum: Stratum, outcomes: Mapping[str, Outcome]) -> tuple[ParticleValues, ...]:
    names = sorted({*stratum.points["particle"], *stratum.images["particle"]})
    values: dict[str, dict[str, float | None]] = {name: dict.fromkeys(outcomes) for name in names}
    for key, outcome in outcomes.items():
        for name, value in zip(outcome.particles, outcome.of_each(), strict=True):
            values[name][key] = value
    return tuple(_particle(name, stratum, values[name]) for name in names)


def _particle(name: str, stratum: Stratum, values: dict[str, float | None]) -> ParticleValues:
    points = stratum.points[stratum.points["particle"] == name]
    table = points if len(points) else stratum.images[stratum.images["particle"] == name]
    return ParticleValues(
        particle=name,
        sample=str(table["sample"].iloc[0]),
        images=int(table["image"].nunique()),
        points=len(points),
        right_censored=float((~points["event"].astype(bool)).mean()) if len(points) else None,
        view_nm=float(points["available_nm"].max()) if len(points) else None,
        values=values,
    )


def _facet_quartiles(points: pd.DataFrame) -> tuple[float, float, float] | None:
    angles = points["facet_deg"].to_numpy(float)
    angles = angles[np.isfinite(angles)]
    if not len(angles):
        return None
    low, middle, high = (float(q) for q in np.quantile(angles, (0.25, 0.5, 0.75)))
    return low, middle, high
