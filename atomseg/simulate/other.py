"""Lattices that are not a layered oxide down a close-packed row: named crystals and random two-dimensional lattices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from atomseg.crystal import ProjectedLattice, haadf_weight, load_crystal, project, read_crystal
from atomseg.errors import ConfigError
from atomseg.simulate.defects import Defects
from atomseg.simulate.dislocations import apart, core_distance, moved_by
from atomseg.simulate.other_config import OtherConfig
from atomseg.simulate.sampling import chance, happens, log_uniform, uniform
from atomseg.simulate.specimen import ATOM, Sites, View, plain_sites
from atomseg.simulate.specimen_config import LatticeConfig

# Two equal columns merge below two standard deviations of their core (Sparrow); the narrowest core is 35 pm.
FINEST_NM = 0.07
# Smallest cell that is filled: a square of the finest distance.
SMALLEST_CELL_NM2 = 1e-3

_T = TypeVar("_T")


@dataclass(frozen=True)
class PlanarLattice:
    """A two-dimensional lattice of columns.

    Parameters
    ----------
    basis_yx_nm : numpy.ndarray
        (2, 2) lattice vectors, (y, x) in nm, a row each.
    positions_yx_nm : numpy.ndarray
        (n, 2) columns of the cell.
    weights : numpy.ndarray
        (n,) signals, the brightest 1.
    name : str
        Crystal and zone axis, or ``random``.
    """

    basis_yx_nm: np.ndarray
    positions_yx_nm: np.ndarray
    weights: np.ndarray
    name: str


def draw_planar(config: OtherConfig, lattice: LatticeConfig, rng: np.random.Generator) -> PlanarLattice:
    """A layered oxide along another zone, a structure file, a named crystal, or a random lattice.

    Raises
    ------
    ConfigError
        If a structure file can not be read, or is too fine to resolve along its zone axis.
    """
    exponent = uniform(rng, lattice.exponent)
    if config.cif and happens(rng, config.p_cif):
        path, zone = _one(config.cif, rng), _one(config.cif_zones or config.zones, rng)
        check_file(path, zone)
        return _planar(_file_view(path, zone), f"{Path(path).stem} {zone_name(zone)}", exponent)
    if happens(rng, config.p_layered):
        return _layered(lattice, _one(config.layered_zones, rng), exponent, rng)
    if chance(rng, config.p_named) and config.crystals:
        for _ in range(20):
            name = _one(config.crystals, rng)
            zone = _one(load_crystal(name).zones or config.zones, rng)
            if load_crystal(name).space_group == "R-3m" and zone in ((1, 0, 0), (1, 1, 0)):
                continue  # that is what the cathode part makes
            planar = _planar(_named_view(name, zone), f"{name} {zone_name(zone)}", exponent)
            if closest_nm(planar) >= config.min_distance_nm * 0.9:
                return planar
    return _random(config, rng)


def check_file(path: str, zone: tuple[int, int, int]) -> None:
    """Raise ConfigError where a structure file can not be read, or is too fine to resolve along a zone axis."""
    # Any exponent does: it only decides which columns are too dim to count.
    _check_resolvable(_planar(_file_view(path, zone), f"{Path(path).name} {zone_name(zone)}", 1.7))


def zone_name(zone: tuple[int, int, int]) -> str:
    """A zone axis as people write it, e.g. ``[1 -1 0]``."""
    return f"[{zone[0]} {zone[1]} {zone[2]}]"


def _one(choices: Sequence[_T], rng: np.random.Generator) -> _T:
    return choices[int(rng.integers(len(choices)))]


# Projections cost about as much as everything else of a scene; there are few and they never change.
@lru_cache(maxsize=1024)
def _named_view(name: str, zone: tuple[int, int, int]) -> ProjectedLattice:
    return project(load_crystal(name), zone)


@lru_cache(maxsize=1024)
def _file_view(path: str, zone: tuple[int, int, int]) -> ProjectedLattice:
    return project(read_crystal(path), zone)


def _layered(
    config: LatticeConfig, zone: tuple[int, int, int], exponent: float, rng: np.random.Generator
) -> PlanarLattice:
    """The layered oxide of the cathode part along another zone, with its lattice constants and mixing."""
    crystal = load_crystal("NMC811")
    a, c, mixed = uniform(rng, config.a_nm), uniform(rng, config.c_nm), uniform(rng, config.antisite)
    sites = tuple(
        replace(s, occupants={"Li": 1.0 - mixed, "Ni": mixed}) if s.label == "interlayer" else s for s in crystal.sites
    )
    view = project(replace(crystal, cell_nm=(a, a, c), sites=sites), zone)
    return _planar(view, f"{crystal.name} {zone_name(zone)}", exponent)


def _planar(view: ProjectedLattice, name: str, exponent: float) -> PlanarLattice:
    positions = np.array([[c.y_nm, c.x_nm] for c in view.columns])
    weights = np.array([c.atoms_per_nm * haadf_weight(c.occupants, exponent) for c in view.columns])
    return PlanarLattice(view.basis_yx_nm, positions, weights / weights.max(), name)


def _check_resolvable(lattice: PlanarLattice) -> None:
    gap = widest_nm(lattice)
    if gap < FINEST_NM:
        raise ConfigError(
            f"{lattice.name}: its columns are {gap:.3f} nm apart, too fine to resolve (at least {FINEST_NM} nm); "
            "give a zone axis with lower indices"
        )


def _random(config: OtherConfig, rng: np.random.Generator) -> PlanarLattice:
    lengths = (uniform(rng, config.spacing_nm), uniform(rng, config.spacing_nm))
    angle = np.deg2rad(uniform(rng, config.angle_deg))
    basis = np.array([[0.0, lengths[0]], [lengths[1] * np.sin(angle), lengths[1] * np.cos(angle)]])
    positions, weights = [np.zeros(2)], [1.0]
    wanted = int(rng.integers(1, config.max_species + 1))
    if chance(rng, config.p_dumbbell):
        gap = max(uniform(rng, config.dumbbell_nm), config.min_distance_nm)
        direction = rng.uniform(0, 2 * np.pi)
        positions.append(gap * np.array([np.sin(direction), np.cos(direction)]))
        weights.append(float(rng.uniform(0.4, 1.0)))
    for _ in range(wanted - 1):
        positions.append(rng.random(2) @ basis)
        weights.append(log_uniform(rng, config.brightness))
    kept = _separated(np.array(positions), basis, config.min_distance_nm)
    return PlanarLattice(basis, np.array(positions)[kept], np.array(weights)[kept], "random")


def _separated(positions: np.ndarray, basis: np.ndarray, distance_nm: float) -> list[int]:
    """Indices of positions that keep their distance from those before them, lattice translations included."""
    kept: list[int] = []
    for i, position in enumerate(positions):
        if all(_nearest_image(position - positions[j], basis) >= distance_nm for j in kept):
            kept.append(i)
    return kept


def _nearest_image(delta: np.ndarray, basis: np.ndarray) -> float:
    cells = np.array([(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)], float)
    return float(np.linalg.norm(delta + cells @ basis, axis=1).min())


def _nearest_nm(lattice: PlanarLattice) -> np.ndarray:
    """Distance of each visible column (a tenth of the brightest signal at least) to the nearest other one, nm."""
    seen = lattice.positions_yx_nm[lattice.weights > 0.1]
    cells = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], float) @ lattice.basis_yx_nm
    delta = np.linalg.norm(seen[:, None, None] + cells[None, None] - seen[None, :, None], axis=-1)
    return np.asarray(np.where(delta > 1e-6, delta, np.inf).min(axis=(1, 2)))


def closest_nm(lattice: PlanarLattice) -> float:
    """Smallest distance of two columns of which the dimmer has at least a tenth of the brightest signal, nm."""
    return float(_nearest_nm(lattice).min())


def widest_nm(lattice: PlanarLattice) -> float:
    """Distance to the nearest other column, nm, of the column that stands freest."""
    return float(_nearest_nm(lattice).max())


def turned(lattice: PlanarLattice, rotation_deg: float) -> PlanarLattice:
    """The same lattice turned from +x towards +y."""
    angle = np.deg2rad(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return replace(lattice, basis_yx_nm=lattice.basis_yx_nm @ turn, positions_yx_nm=lattice.positions_yx_nm @ turn)


def build_planar(lattice: PlanarLattice, view: View, defects: Defects, rng: np.random.Generator) -> Sites:
    """All columns of a planar lattice in the view, moved by dislocations and bending, faces not cut yet.

    Raises
    ------
    ConfigError
        If the lattice is so fine that the view would hold millions of columns.
    """
    basis = lattice.basis_yx_nm
    area = abs(np.linalg.det(basis))
    if area < SMALLEST_CELL_NM2:
        raise ConfigError(f"lattice {lattice.name} has a cell of {area:g} nm2; give vectors of at least {FINEST_NM} nm")
    reach = view.radius_nm + np.abs(basis).sum()
    n = int(np.ceil(reach * np.linalg.norm(basis, axis=1).max() / area)) + 1
    index = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), -1).reshape(-1, 2)
    points = index @ basis + rng.random(2) @ basis
    points = points[view.inside(points, 1.0 + float(np.abs(basis).sum()))]
    yx = (points[:, None, :] + lattice.positions_yx_nm[None]).reshape(-1, 2)
    weight = np.tile(lattice.weights, len(points))
    judged, kept = np.ones(len(yx), bool), np.ones(len(yx), bool)
    if defects.dislocations:
        yx = yx + moved_by(defects.dislocations, yx, view.radius_nm)
        distance = core_distance(defects.dislocations, yx)
        judged = distance >= defects.core_radius_nm
        kept = apart(yx, distance < 2 * defects.core_radius_nm)
    if defects.bend is not None:
        yx = yx + defects.bend.displacement(yx)
    kept &= view.inside(yx, 0.5)
    return replace(plain_sites(yx[kept], weight[kept], ATOM), judged=judged[kept])
