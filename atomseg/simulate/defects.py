"""Defects of a crystal: bending, vacancies, missing columns, and what else there is."""

from dataclasses import dataclass, replace

import numpy as np

from atomseg.simulate.defect_config import DefectConfig
from atomseg.simulate.dislocations import Dislocation
from atomseg.simulate.sampling import happens, uniform
from atomseg.simulate.specimen import ATOM, LINE, OXYGEN, TM, Sites, View

# A bent lattice stays within this strain: 2 % is what Ni-rich layers bear in the images (3 % is the outer limit).
LARGEST_BEND_STRAIN = 0.02


@dataclass(frozen=True)
class Bend:
    """A lattice bent in the image plane around an axis along the beam.

    Parameters
    ----------
    curvature_per_nm : float
        Of the planes along `direction_deg`, 1/nm.
    direction_deg : float
        Direction of the planes that bend, degrees from +x towards +y.
    """

    curvature_per_nm: float
    direction_deg: float

    def displacement(self, yx_nm: np.ndarray) -> np.ndarray:
        """(N, 2) displacement (y, x), nm: planes become circles around one centre, the middle of the image stays."""
        if abs(self.curvature_per_nm) < 1e-9:
            return np.zeros_like(yx_nm)
        angle = np.deg2rad(self.direction_deg)
        axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
        along, across = (yx_nm @ axes.T).T
        radius = 1.0 / self.curvature_per_nm
        turn = along * self.curvature_per_nm
        moved = np.stack([(radius - across) * np.sin(turn), radius - (radius - across) * np.cos(turn)], axis=1)
        return np.asarray(moved @ axes - yx_nm)


@dataclass(frozen=True)
class Defects:
    """Defects of one crystal.

    Parameters
    ----------
    vacancies, missing : float
        Fraction of vacant metal sites; of columns that are not there.
    bend : Bend or None
        Bending.
    dislocations : tuple of Dislocation
        In the axes of the lattice.
    tetrahedral : float
        Fraction of the interlayer's metal in the transition zone that is tetrahedral.
    overlap : float
        Fraction of the foil that is rocksalt everywhere.
    core_radius_nm : float
        Columns this close to a core are not judged, nm.
    """

    vacancies: float = 0.0
    missing: float = 0.0
    bend: Bend | None = None
    dislocations: tuple[Dislocation, ...] = ()
    tetrahedral: float = 0.0
    overlap: float = 0.0
    core_radius_nm: float = 0.3


def draw_defects(config: DefectConfig, view: View, rng: np.random.Generator, *, layered: bool) -> Defects:
    """Random defects but dislocations, which need a lattice; `layered` ones have misplaced and overlapping cations."""
    vacancies = uniform(rng, config.vacancies) if happens(rng, config.p_vacancies) else 0.0
    missing = uniform(rng, config.missing) if happens(rng, config.p_missing) else 0.0
    bend = _draw_bend(config, view, rng) if happens(rng, config.p_bending) else None
    tetrahedral = uniform(rng, config.tetrahedral) if layered and happens(rng, config.p_tetrahedral) else 0.0
    overlap = uniform(rng, config.overlap) if layered and happens(rng, config.p_overlap) else 0.0
    return Defects(vacancies, missing, bend, (), tetrahedral, overlap, config.core_radius_nm)


def _draw_bend(config: DefectConfig, view: View, rng: np.random.Generator) -> Bend:
    curvature = np.deg2rad(uniform(rng, config.bending_deg_per_10nm)) / 10.0
    curvature = min(curvature, LARGEST_BEND_STRAIN / view.radius_nm)
    return Bend(float(curvature * rng.choice([-1.0, 1.0])), float(rng.uniform(0.0, 360.0)))


def with_vacancies(sites: Sites, defects: Defects, atoms: np.ndarray, rng: np.random.Generator) -> Sites:
    """Metal columns (and those of other crystals) with vacancies; `atoms` is the (N,) int number of full ones."""
    if defects.vacancies <= 0.0:
        return sites
    metal = (sites.species == TM) | (sites.species == ATOM)
    left = np.where(metal, 1.0 - rng.binomial(atoms, defects.vacancies) / atoms, 1.0)
    return replace(sites, weight=sites.weight * left, occupancy=sites.occupancy * left)


def without_missing(sites: Sites, defects: Defects, rng: np.random.Generator) -> Sites:
    """The columns that are there."""
    if defects.missing <= 0.0:
        return sites
    there = (rng.random(len(sites)) >= defects.missing) | (sites.species == OXYGEN) | (sites.species == LINE)
    return sites.take(np.flatnonzero(there))
