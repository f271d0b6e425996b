"""Lattices that are not a layered oxide down a close-packed row: named crystals and random two-dimensional lattices."""

from dataclasses import dataclass

import numpy as np

from atomseg.crystal import haadf_weight, load_crystal, project
from atomseg.errors import ConfigError
from atomseg.simulate.sampling import chance, log_uniform, uniform
from atomseg.simulate.specimen import ATOM, Sites, View, plain_sites
from atomseg.simulate.specimen_config import OtherConfig

# Projected lattices finer than this do not resolve into columns in any micrograph of the supported pixel sizes.
FINEST_NM = 0.11


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


def draw_planar(config: OtherConfig, exponent: float, rng: np.random.Generator) -> PlanarLattice:
    """A named crystal along a zone axis with resolvable columns, or a random lattice."""
    if chance(rng, config.p_named) and config.crystals:
        for _ in range(20):
            name = str(rng.choice(np.array(config.crystals)))
            zone = config.zones[int(rng.integers(len(config.zones)))]
            if load_crystal(name).space_group == "R-3m" and zone in ((1, 0, 0), (1, 1, 0)):
                continue  # that is what the cathode part makes
            lattice = _named(name, zone, exponent)
            if closest_nm(lattice) >= config.min_distance_nm * 0.9:
                return lattice
    return _random(config, rng)


def _named(name: str, zone: tuple[int, int, int], exponent: float) -> PlanarLattice:
    view = project(load_crystal(name), zone)
    positions = np.array([[c.y_nm, c.x_nm] for c in view.columns])
    weights = np.array([c.atoms_per_nm * haadf_weight(c.occupants, exponent) for c in view.columns])
    weights = weights / weights.max()
    return PlanarLattice(view.basis_yx_nm, positions, weights, f"{name} [{zone[0]} {zone[1]} {zone[2]}]")


def _random(config: OtherConfig, rng: np.random.Generator) -> PlanarLattice:
    lengths = (uniform(rng, config.spacing_nm), uniform(rng, config.spacing_nm))
    angle = np.deg2rad(uniform(rng, config.angle_deg))
    basis = np.array([[0.0, lengths[0]], [lengths[1] * np.sin(angle), lengths[1] * np.cos(angle)]])
    positions, weights = [np.zeros(2)], [1.0]
    wanted = int(rng.integers(1, config.max_species + 1))
    if chance(rng, config.p_dumbbell):
        gap = rng.uniform(config.min_distance_nm, 0.17)
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


def closest_nm(lattice: PlanarLattice) -> float:
    """Smallest distance of two columns of which the dimmer has at least a tenth of the brightest signal, nm."""
    seen = lattice.positions_yx_nm[lattice.weights > 0.1]
    cells = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], float) @ lattice.basis_yx_nm
    delta = np.linalg.norm(seen[:, None, None] + cells[None, None] - seen[None, :, None], axis=-1)
    return float(delta[delta > 1e-6].min())


def build_planar(
    lattice: PlanarLattice, rotation_deg: float, displacement_nm: float, view: View, rng: np.random.Generator
) -> Sites:
    """All columns of a planar lattice in the view, faces not cut yet.

    Raises
    ------
    ConfigError
        If the lattice is so fine that the view would hold millions of columns.
    """
    angle = np.deg2rad(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    basis, positions = lattice.basis_yx_nm @ turn, lattice.positions_yx_nm @ turn
    area = abs(np.linalg.det(basis))
    if area < 1e-3:
        raise ConfigError(f"lattice {lattice.name} has a cell of {area:g} nm2; give vectors of at least {FINEST_NM} nm")
    reach = view.radius_nm + np.abs(basis).sum()
    n = int(np.ceil(reach * np.linalg.norm(basis, axis=1).max() / area)) + 1
    index = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), -1).reshape(-1, 2)
    points = index @ basis + rng.random(2) @ basis
    points = points[view.inside(points, 0.5 + float(np.abs(basis).sum()))]
    yx = (points[:, None, :] + positions[None]).reshape(-1, 2)
    weight = np.tile(lattice.weights, len(points))
    keep = view.inside(yx, 0.5)
    yx = yx[keep] + displacement_nm * rng.standard_normal((int(keep.sum()), 2))
    return plain_sites(yx, weight[keep], ATOM)
