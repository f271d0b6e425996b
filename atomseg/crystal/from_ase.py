"""Crystals from structure files (CIF, POSCAR, ...) and from `ase.Atoms`; ASE is imported only when one is read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atomseg.crystal.cell import CENTRING, Crystal, Site
from atomseg.crystal.elements import ATOMIC_NUMBERS
from atomseg.errors import ConfigError

if TYPE_CHECKING:
    from ase import Atoms

NM_PER_ANGSTROM = 0.1
# Coordinates in files are rounded to 1e-4 of a cell edge or better; atoms this close are the same by a translation.
SAME_ATOM_NM = 0.002
# Translations of larger cells are not looked for one by one: the cell counts as primitive, which only costs time.
LARGEST_CELL = 4000


def read_crystal(path: str | Path) -> Crystal:
    """Crystal from a structure file.

    Parameters
    ----------
    path : str or pathlib.Path
        A CIF, or any other format that ASE reads (the first structure of the file). Partial occupancies of a CIF count.

    Raises
    ------
    ConfigError
        If there is no such file, it can not be read as a structure, or holds no periodic crystal.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no structure file {path}; give a CIF or another file that ASE reads")
    stat = file.stat()
    return _read(str(file), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read(path: str, modified_ns: int, size: int) -> Crystal:  # noqa: ARG001  # a changed file is read again
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError
    from ase.spacegroup.spacegroup import SpacegroupError

    kind = "cif" if path.lower().endswith(".cif") else None
    problems = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, AssertionError)
    try:
        atoms = read(path, index=0, format=kind)
    except (*problems, StopIteration, UnknownFileTypeError, SpacegroupError) as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise ConfigError(f"{path} holds no structure that ASE can read ({reason}); check it, or export a CIF") from exc
    return crystal_from_ase(atoms, name=Path(path).stem, source=path)


def crystal_from_ase(atoms: Atoms, *, name: str = "", source: str = "ase.Atoms") -> Crystal:
    """Crystal from an ASE structure, reduced to the motif of its primitive lattice.

    The zone axes of the result are those of the cell of `atoms`, conventional or not.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic structure, lengths in Angstrom. ``atoms.info["occupancy"]`` with the array ``spacegroup_kinds``, as
        `ase.io.read` makes them from a CIF, gives partial occupancies.
    name : str
        What to call it; the chemical formula if empty.
    source : str
        Where it comes from.

    Raises
    ------
    ConfigError
        If there are no atoms, the cell has no volume, or an element has no atomic number.
    """
    name = name or atoms.get_chemical_formula()
    if len(atoms) == 0:
        raise ConfigError(f"structure {name} has no atoms; give one with at least one atom in its cell")
    lengths = np.asarray(atoms.cell.lengths()) * NM_PER_ANGSTROM
    if abs(atoms.cell.volume) < 1e-3:
        raise ConfigError(f"structure {name} has no unit cell (lengths {lengths} nm); give three cell vectors")
    occupants = _occupants(atoms)
    unknown = sorted({s for each in occupants for s in each} - set(ATOMIC_NUMBERS))
    if unknown:
        raise ConfigError(f"structure {name} has sites of {', '.join(unknown)}; allowed: elements from H to Cf")
    positions = np.asarray(atoms.get_scaled_positions(wrap=True), float)
    points = _translations(positions, occupants, float(lengths.max()))
    kept = _motif(positions, occupants, points, float(lengths.max()))
    # ASE computes angles from vectors: 120 degrees come back as 120.00000000000001.
    angles = np.round(atoms.cell.angles(), 6)
    return Crystal(
        name=name,
        formula=atoms.get_chemical_formula(empirical=True),
        space_group="",
        centring=_letter(points),
        cell_nm=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        angles_deg=(float(angles[0]), float(angles[1]), float(angles[2])),
        sites=tuple(Site("/".join(occupants[i]), _triple(positions[i]), dict(occupants[i])) for i in kept),
        source=source,
        translations=tuple(_triple(p) for p in points),
    )


def _occupants(atoms: Atoms) -> list[dict[str, float]]:
    """Element fractions of each site."""
    table: Mapping[str, Mapping[str, float]] = atoms.info.get("occupancy") or {}
    kinds = atoms.arrays.get("spacegroup_kinds")
    symbols = atoms.get_chemical_symbols()
    if not table or kinds is None:
        return [{symbol: 1.0} for symbol in symbols]
    by_kind = {str(kind): {s: float(x) for s, x in sorted(site.items()) if x > 0} for kind, site in table.items()}
    return [by_kind.get(str(kind), {symbol: 1.0}) for kind, symbol in zip(kinds, symbols, strict=True)]


def _translations(positions: np.ndarray, occupants: list[dict[str, float]], longest_nm: float) -> np.ndarray:
    """(n, 3) pure translations of the structure within its cell, the zero first, fractional."""
    from scipy.spatial import cKDTree

    kinds = _kinds(occupants)
    counts = np.bincount(kinds)
    rarest = np.flatnonzero(kinds == int(np.argmin(counts)))
    if len(positions) > LARGEST_CELL or len(rarest) == 1:
        return np.zeros((1, 3))
    wrapped = positions % 1.0
    members = [np.flatnonzero(kinds == k) for k in range(len(counts))]
    trees = [cKDTree(wrapped[m], boxsize=1.0) for m in members]
    tolerance = SAME_ATOM_NM / longest_nm
    found = []
    for candidate in positions[rarest] - positions[rarest[0]]:
        moved = (positions + candidate) % 1.0
        if all(tree.query(moved[m])[0].max() < tolerance for tree, m in zip(trees, members, strict=True)):
            found.append(candidate)
    # A group of n translations has components that are multiples of 1/n: that undoes the rounding of the file.
    points = np.round(np.array(found) * len(found)) / len(found) % 1.0
    return np.asarray(points[np.lexsort(points.T[::-1])])


def _motif(
    positions: np.ndarray, occupants: list[dict[str, float]], points: np.ndarray, longest_nm: float
) -> list[int]:
    """Indices of sites of which the others are translations."""
    kinds = _kinds(occupants)
    left, kept = np.ones(len(positions), bool), []
    for i in range(len(positions)):
        if not left[i]:
            continue
        kept.append(i)
        delta = positions[:, None, :] - positions[i] - points[None]
        close = np.abs(delta - np.round(delta)).max(axis=2).min(axis=1) < SAME_ATOM_NM / longest_nm
        left &= ~(close & (kinds == kinds[i]))
    return kept


def _kinds(occupants: list[dict[str, float]]) -> np.ndarray:
    """(N,) number of the composition of each site."""
    names = [tuple(sorted((s, round(x, 4)) for s, x in site.items())) for site in occupants]
    order = {kind: number for number, kind in enumerate(dict.fromkeys(names))}
    return np.array([order[kind] for kind in names])


def _letter(points: np.ndarray) -> str:
    """The centring that a set of lattice points is; P for any that has no letter."""
    for letter, known in CENTRING.items():
        if len(known) == len(points):
            delta = points[:, None] - np.array(known)[None]
            if np.abs(delta - np.round(delta)).max(axis=2).min(axis=1).max() < 1e-6:
                return letter
    return "P"


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))
