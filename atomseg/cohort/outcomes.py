"""One outcome of one group of particles: its estimate, its replicates, and the form of it that is tested."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from atomseg.cohort.gather import PHASES
from atomseg.cohort.survival import ROUNDING, ClusteredThickness, estimate_curve

# Share of the surface that goes beyond the depth.
QUANTILES = {"p25": 0.75, "median": 0.5, "p75": 0.25}
BEYOND_NM = {"beyond_5nm": 5.0, "beyond_20nm": 20.0}
UNITS = {
    **dict.fromkeys((*QUANTILES, "restricted_mean", "median_if_ended", "median_if_doubled"), "nm"),
    **dict.fromkeys((*BEYOND_NM, *PHASES), "share"),
    "fault_density": "1/nm",
}
THICKNESS_OUTCOMES = ("median", "p25", "p75", "restricted_mean", *BEYOND_NM)
IMAGE_OUTCOMES = (*PHASES, "fault_density")


@dataclass(frozen=True)
class ParticleMeans:
    """An outcome that every particle has one number of, such as a phase fraction.

    Parameters
    ----------
    particles : tuple of str
        Names.
    values : numpy.ndarray
        (P,) numbers.
    """

    particles: tuple[str, ...]
    values: np.ndarray

    @property
    def estimate(self) -> float | None:
        """Mean over particles."""
        return float(self.values.mean())

    @property
    def informed(self) -> int:
        """Particles that say something about the estimate: all."""
        return len(self.particles)

    def replicates(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) lowest and highest value for each weighting of the particles; here they are the same."""
        mean = self.tested(weights)
        return mean, mean

    def tested(self, weights: np.ndarray) -> np.ndarray:
        """(B,) value for each weighting, always finite."""
        return np.asarray(weights @ self.values / weights.sum(axis=1))

    def of_each(self) -> list[float | None]:
        """Value of each particle alone."""
        return [float(value) for value in self.values]

    def chosen(self, names: tuple[str, ...]) -> "ParticleMeans":
        """The same for some of the particles, in this order."""
        return ParticleMeans(names, self.values[[self.particles.index(name) for name in names]])

    def joined(self, other: "ParticleMeans") -> "ParticleMeans":
        """Particles of both, which are different units even where they have one name."""
        return ParticleMeans((*self.particles, *other.particles), np.concatenate([self.values, other.values]))


@dataclass(frozen=True)
class Thickness:
    """An outcome of the thickness of a group's surface points.

    In every particle all points count the same, which is by length of surface, and all particles count the same.

    Parameters
    ----------
    outcome : str
        One of `THICKNESS_OUTCOMES`.
    particles : tuple of str
        Names.
    unit : numpy.ndarray
        (N,) int, index of the particle of each point.
    thickness_nm : numpy.ndarray
        (N,) thickness, or its lower bound where censored, nm.
    event : numpy.ndarray
        (N,) bool, True where the end of the layer was seen.
    view_nm : numpy.ndarray
        (P,) depth to which each particle can be seen at all, nm.
    detection_nm : float
        Thinnest layer that can be told from none.
    tau_nm : float
        Depth of the restricted mean, at which tested medians are cut off too.
    """

    outcome: str
    particles: tuple[str, ...]
    unit: np.ndarray
    thickness_nm: np.ndarray
    event: np.ndarray
    view_nm: np.ndarray
    detection_nm: float
    tau_nm: float

    @cached_property
    def table(self) -> ClusteredThickness:
        """The points sorted for resampling."""
        return ClusteredThickness.from_points(self.thickness_nm, self.event, self.unit, len(self.particles))

    @cached_property
    def deepest_nm(self) -> np.ndarray:
        """(P,) depth to which each particle was followed, nm."""
        deepest = np.zeros(len(self.particles))
        np.maximum.at(deepest, self.unit, self.thickness_nm)
        return deepest

    @cached_property
    def undetected_nm(self) -> np.ndarray:
        """(P,) by how much the mean thickness of each particle rises if what is below detection is as thick as that."""
        gap = np.where(self.event, np.maximum(self.detection_nm - self.thickness_nm, 0.0), 0.0)
        n = len(self.particles)
        return np.asarray(np.bincount(self.unit, gap, minlength=n) / np.bincount(self.unit, minlength=n))

    @cached_property
    def estimate(self) -> float | None:
        """The outcome of the whole group; None where the view ends first."""
        from lifelines.utils import qth_survival_time, restricted_mean_survival_time

        weights = 1.0 / np.bincount(self.unit)[self.unit]
        curve = estimate_curve(self.thickness_nm, self.event, weights)
        if self.outcome == "restricted_mean":
            return float(restricted_mean_survival_time(curve, t=self.tau_nm))
        if self.outcome in BEYOND_NM:
            return float(curve.predict(BEYOND_NM[self.outcome]))
        # One minus a share of points may miss the quantile by rounding alone.
        depth = float(qth_survival_time(QUANTILES[self.outcome] + ROUNDING, curve.survival_function_.iloc[:, 0]))
        return depth if np.isfinite(depth) else None

    def replicates(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) lowest and highest value that each weighting of the particles allows.

        They differ where a median is not reached (it lies beyond the view) and where layers are below detection.
        """
        if self.outcome == "restricted_mean":
            mean = self.table.restricted_mean_nm(weights, self.tau_nm)
            return mean, np.minimum(mean + weights @ self.undetected_nm / weights.sum(axis=1), self.tau_nm)
        if self.outcome in BEYOND_NM:
            share = self.table.beyond(weights, BEYOND_NM[self.outcome])
            return share, share
        depth = self.table.median_nm(weights, QUANTILES[self.outcome])
        view = np.where(weights > 0, self.deepest_nm, 0.0).max(axis=1)
        below = depth <= self.detection_nm
        low = np.where(below, 0.0, np.where(np.isfinite(depth), depth, view))
        return low, np.where(below, self.detection_nm, depth)

    @property
    def informed(self) -> int:
        """Particles that say something at the depth of the estimate, at least 2: those that can be seen as deep."""
        if self.outcome not in QUANTILES or self.estimate is None:
            return len(self.particles)
        return max(2, int((self.view_nm >= self.estimate - ROUNDING).sum()))

    def tested(self, weights: np.ndarray) -> np.ndarray:
        """(B,) value for each weighting, always finite: medians are cut off where restricted means are."""
        if self.outcome in QUANTILES:
            return np.minimum(self.table.median_nm(weights, QUANTILES[self.outcome]), self.tau_nm)
        return self.replicates(weights)[0]

    def of_each(self) -> list[float | None]:
        """Value of each particle alone; None where its view ends first."""
        return [float(v) if np.isfinite(v) else None for v in self._of_each()]

    def _of_each(self) -> np.ndarray:
        alone = np.eye(len(self.particles))
        if self.outcome in QUANTILES:
            return self.table.median_nm(alone, QUANTILES[self.outcome])
        value = self.replicates(alone)[0]
        # Beyond its own view a particle says nothing, unless all of its layers end before.
        depth = BEYOND_NM.get(self.outcome, self.tau_nm)
        unknown = (self.deepest_nm < depth) & (self.table.beyond(alone, depth) > 0)
        return np.where(unknown, np.nan, value)

    def chosen(self, names: tuple[str, ...]) -> "Thickness":
        """The same for some of the particles, in this order."""
        old = [self.particles.index(name) for name in names]
        number = np.full(len(self.particles), -1)
        number[old] = np.arange(len(old))
        unit = number[self.unit]
        keep = unit >= 0
        return replace(
            self,
            particles=names,
            unit=unit[keep],
            thickness_nm=self.thickness_nm[keep],
            event=self.event[keep],
            view_nm=self.view_nm[old],
        )

    def joined(self, other: "Thickness") -> "Thickness":
        """Particles of both, which are different units even where they have one name."""
        return replace(
            self,
            particles=(*self.particles, *other.particles),
            unit=np.concatenate([self.unit, other.unit + len(self.particles)]),
            thickness_nm=np.concatenate([self.thickness_nm, other.thickness_nm]),
            event=np.concatenate([self.event, other.event]),
            view_nm=np.concatenate([self.view_nm, other.view_nm]),
            detection_nm=max(self.detection_nm, other.detection_nm),
        )


Outcome = ParticleMeans | Thickness


def thickness_outcome(name: str, points: pd.DataFrame, tau_nm: float) -> Thickness:
    """An outcome of surface points.

    Parameters
    ----------
    name : str
        One of `THICKNESS_OUTCOMES`.
    points : pandas.DataFrame
        Points of one group and kind of surface, at least one.
    tau_nm : float
        Depth of restricted means.
    """
    particles = tuple(sorted(set(points["particle"])))
    return Thickness(
        outcome=name,
        particles=particles,
        unit=points["particle"].map({particle: k for k, particle in enumerate(particles)}).to_numpy(int),
        thickness_nm=points["thickness_nm"].to_numpy(float),
        event=points["event"].to_numpy(bool),
        view_nm=points.groupby("particle")["available_nm"].max().loc[list(particles)].to_numpy(float),
        detection_nm=float(points["detection_nm"].max()),
        tau_nm=tau_nm,
    )


def image_outcome(name: str, images: pd.DataFrame) -> ParticleMeans | None:
    """An outcome of micrographs: the share of all crystal seen of a particle, or its faults per area of crystal.

    Parameters
    ----------
    name : str
        One of `IMAGE_OUTCOMES`.
    images : pandas.DataFrame
        Micrographs of one group and kind of surface.

    Returns
    -------
    ParticleMeans or None
        None where nothing is known, e.g. no area.
    """
    area = images["crystal_nm2"].astype(float)
    if name == "fault_density":
        images, area = images[area > 0], area[area > 0]
        amount = images["fault_length_nm"].astype(float)
    else:
        area = area if (area > 0).all() else pd.Series(1.0, index=images.index)
        amount = images[name].astype(float) * area
    if not len(images):
        return None
    sums = pd.DataFrame({"particle": images["particle"], "amount": amount, "area": area}).groupby("particle").sum()
    return ParticleMeans(tuple(sums.index), (sums["amount"] / sums["area"]).to_numpy(float))
