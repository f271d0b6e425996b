"""Projection of a crystal along a zone axis: the two-dimensional lattice of columns that a micrograph shows."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import gcd

import numpy as np

from atomseg.crystal.cell import Crystal
from atomseg.errors import ConfigError

# Atoms whose projections are closer than this are one column: less than any bond, more than rounding in the data files.
SAME_COLUMN_NM = 0.002
_SEARCH = 3  # lattice vectors with indices up to this, or to the largest of the zone, are tried for the projected basis


class ZoneFamily(StrEnum):
    """Families of zone axes of close-packed oxides (names of directions differ between papers, families do not)."""

    CLOSE_PACKED = "close_packed"  # <100> hexagonal (a), <110> cubic: along the close-packed rows
    PERP_112 = "perp_112"  # <120> hexagonal, <112> cubic: in the layers, across the rows
    C_AXIS = "c_axis"  # [001] hexagonal, <111> cubic
    OTHER = "other"


@dataclass(frozen=True)
class ProjectedColumn:
    """One column of the projected cell.

    Parameters
    ----------
    label : str
        Labels of its sites, joined by ``+``.
    y_nm, x_nm : float
        Position in the projected cell, nm.
    atoms_per_nm : float
        Atoms per nm along the beam, all elements.
    occupants : dict
        Element symbol to fraction of these atoms.
    """

    label: str
    y_nm: float
    x_nm: float
    atoms_per_nm: float
    occupants: dict[str, float]


@dataclass(frozen=True)
class ProjectedLattice:
    """A crystal seen along a zone axis.

    Parameters
    ----------
    basis_yx_nm : numpy.ndarray
        (2, 2) float64, a primitive projected lattice vector a row, (y, x) in nm; the first lies along +x, the second
        has positive y. Layered and close-packed cubic oxides seen along a close-packed row have the rows along x and
        c (or [111]) along y.
    columns : tuple of ProjectedColumn
        Columns of one projected cell.
    repeat_nm : float
        Period along the beam, nm.
    family : ZoneFamily
        Family of the zone axis.
    """

    basis_yx_nm: np.ndarray
    columns: tuple[ProjectedColumn, ...]
    repeat_nm: float
    family: ZoneFamily

    def labelled(self, label: str) -> tuple[ProjectedColumn, ...]:
        """Columns whose label is `label`."""
        return tuple(c for c in self.columns if c.label == label)


def project(crystal: Crystal, zone: tuple[int, int, int]) -> ProjectedLattice:
    """Columns of a crystal seen along a zone axis.

    Parameters
    ----------
    crystal : Crystal
        The structure.
    zone : tuple of int
        Direct-lattice direction [u v w] of the conventional cell (three indices, also for hexagonal axes).

    Raises
    ------
    ConfigError
        If `zone` is [0 0 0].
    """
    if not any(zone):
        raise ConfigError("zone axis [0 0 0] is no direction; give three integers, at least one of them not zero")
    cell = crystal.vectors_nm
    beam = np.asarray(zone, float) @ cell
    axes = _screen_axes(crystal, zone, beam / np.linalg.norm(beam))
    lattice = _lattice_vectors(crystal, zone) @ cell
    basis = _projected_basis(lattice @ axes.T, x_first=not _has_stacking_view(crystal, zone))
    repeat = _repeat_nm(lattice, beam)
    columns = _columns(crystal, basis, axes, repeat)
    return ProjectedLattice(basis, columns, repeat, zone_family(crystal, zone))


def zone_family(crystal: Crystal, zone: tuple[int, int, int]) -> ZoneFamily:
    """Family of a zone axis of a close-packed oxide (hexagonal axes or cubic)."""
    u, v, w = zone
    if crystal.hexagonal:
        if w == 0:
            # Squared length in units of a^2 after reduction: 1 along a close-packed row, 3 across it.
            norm = (u * u + v * v - u * v) // gcd(u, v) ** 2
            return {1: ZoneFamily.CLOSE_PACKED, 3: ZoneFamily.PERP_112}.get(norm, ZoneFamily.OTHER)
        return ZoneFamily.C_AXIS if u == v == 0 else ZoneFamily.OTHER
    if not crystal.cubic:
        return ZoneFamily.OTHER
    divisor = gcd(gcd(u, v), w)
    reduced = tuple(sorted(abs(i) // divisor for i in zone))
    cubic = {(0, 1, 1): ZoneFamily.CLOSE_PACKED, (1, 1, 2): ZoneFamily.PERP_112, (1, 1, 1): ZoneFamily.C_AXIS}
    return cubic.get((reduced[0], reduced[1], reduced[2]), ZoneFamily.OTHER)


def _stacking_direction(crystal: Crystal, zone: tuple[int, int, int]) -> np.ndarray | None:
    """Close-packed plane normal in the image, or None: c of hexagonal axes, the first <111> of cubic ones."""
    cell = crystal.vectors_nm
    if crystal.hexagonal:
        return cell[2] if zone[2] == 0 else None
    if not crystal.cubic:
        return None
    for signs in product((1, -1), repeat=3):
        if sum(s * z for s, z in zip(signs, zone, strict=True)) == 0:
            return np.asarray(signs, float) @ cell
    return None


def _has_stacking_view(crystal: Crystal, zone: tuple[int, int, int]) -> bool:
    return _stacking_direction(crystal, zone) is not None


def _screen_axes(crystal: Crystal, zone: tuple[int, int, int], beam: np.ndarray) -> np.ndarray:
    """(2, 3) unit vectors of the image's y and x in the crystal's Cartesian frame."""
    up = _stacking_direction(crystal, zone)
    if up is None:
        candidates = _lattice_vectors(crystal, zone) @ crystal.vectors_nm
        flat = candidates - np.outer(candidates @ beam, beam)
        length = np.linalg.norm(flat, axis=1)
        length[length < SAME_COLUMN_NM] = np.inf
        x = flat[int(np.argmin(np.round(length, 6)))]
        x = x / np.linalg.norm(x)
        return np.array([np.cross(beam, x), x])
    y = up - (up @ beam) * beam
    y = y / np.linalg.norm(y)
    return np.array([y, np.cross(y, beam)])


def _lattice_vectors(crystal: Crystal, zone: tuple[int, int, int]) -> np.ndarray:
    """(n, 3) fractional lattice vectors with small indices, zero left out."""
    reach = max(_SEARCH, *(abs(i) for i in zone))
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    vectors = (grid[:, None, :] + crystal.lattice_points[None]).reshape(-1, 3)
    return vectors[np.abs(vectors).sum(1) > 1e-9]


def _projected_basis(flat: np.ndarray, *, x_first: bool) -> np.ndarray:
    """(2, 2) primitive basis (y, x): the shortest (along the rows, if any), then one that completes the cell."""
    length = np.linalg.norm(flat, axis=1)
    flat, length = flat[length > SAME_COLUMN_NM], length[length > SAME_COLUMN_NM]
    order = np.argsort(np.round(length, 6) - 1e-7 * flat[:, 1], kind="stable")
    flat = flat[order]
    along = flat if x_first else flat[np.abs(flat[:, 0]) < SAME_COLUMN_NM]
    first = along[0] if along[0, 1] > 0 or x_first else -along[0]
    cross = flat[:, 0] * first[1] - flat[:, 1] * first[0]
    positive = cross > SAME_COLUMN_NM * np.linalg.norm(first)
    area = cross[positive].min()
    # The cell must be primitive: among vectors that span the smallest area take the shortest, to the right at a tie.
    second = flat[positive][np.isclose(cross[positive], area, rtol=1e-3)][0]
    return np.array([first, second])


def _repeat_nm(vectors: np.ndarray, beam: np.ndarray) -> float:
    """Shortest lattice period along the beam, nm."""
    direction = beam / np.linalg.norm(beam)
    along = vectors @ direction
    off = np.linalg.norm(vectors - np.outer(along, direction), axis=1)
    parallel = along[(off < SAME_COLUMN_NM) & (along > SAME_COLUMN_NM)]
    return float(parallel.min()) if len(parallel) else float(np.linalg.norm(beam))


def _columns(crystal: Crystal, basis: np.ndarray, axes: np.ndarray, repeat: float) -> tuple[ProjectedColumn, ...]:
    """Motif atoms folded into the projected cell and merged into columns."""
    inverse = np.linalg.inv(basis)
    tolerance = SAME_COLUMN_NM / np.linalg.norm(basis, axis=1)
    groups: list[tuple[np.ndarray, list[int]]] = []
    for i, site in enumerate(crystal.sites):
        fraction = (np.asarray(site.position) @ crystal.vectors_nm @ axes.T) @ inverse
        for centre, members in groups:
            delta = fraction - centre
            if np.all(np.abs(delta - np.round(delta)) < tolerance):
                members.append(i)
                break
        else:
            groups.append((fraction, [i]))
    # One motif per projected cell and repeat length would need cell volume = area * repeat: that is how many atoms a
    # column has per length, whatever the centring.
    volume = abs(np.linalg.det(crystal.vectors_nm)) / len(crystal.lattice_points)
    density = abs(np.linalg.det(basis)) / volume
    columns = [
        _column(crystal, members, (centre - np.floor(centre + 1e-6)) @ basis, density) for centre, members in groups
    ]
    if not np.isclose(density * repeat, round(density * repeat), atol=1e-3):
        raise ConfigError(f"the projection of {crystal.name} is not periodic with {repeat:g} nm; use lower indices")
    return tuple(columns)


def _column(crystal: Crystal, members: list[int], yx_nm: np.ndarray, density: float) -> ProjectedColumn:
    occupants: dict[str, float] = {}
    for i in members:
        for symbol, fraction in crystal.sites[i].occupants.items():
            occupants[symbol] = occupants.get(symbol, 0.0) + fraction / len(members)
    label = "+".join(dict.fromkeys(crystal.sites[i].label for i in members))
    return ProjectedColumn(label, float(yx_nm[0]), float(yx_nm[1]), density * len(members), occupants)
