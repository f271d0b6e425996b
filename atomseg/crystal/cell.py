"""Unit cells, read from the JSON files beside this module."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np

from atomseg.errors import ConfigError

# Lattice points of the conventional cell, fractional; R is the obverse setting (International Tables A, 1.5).
CENTRING = {
    "P": ((0.0, 0.0, 0.0),),
    "I": ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    "F": ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
    "R": ((0.0, 0.0, 0.0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)),
}
# Axes closer than this are equal by symmetry: files give them to 1e-4 nm or better.
EQUAL_NM = 1e-4


@dataclass(frozen=True)
class Site:
    """One atom site of the motif.

    Parameters
    ----------
    label : str
        What the site is: ``TM``, ``interlayer``, ``O`` in layered oxides, the element elsewhere.
    position : tuple of float
        Fractional coordinates in the conventional cell.
    occupants : dict
        Element symbol to site fraction.
    """

    label: str
    position: tuple[float, float, float]
    occupants: dict[str, float]


@dataclass(frozen=True)
class Crystal:
    """A crystal structure.

    Parameters
    ----------
    name, formula, space_group : str
        What it is called.
    centring : str
        P, I, F or R (obverse, hexagonal axes).
    cell_nm : tuple of float
        Conventional a, b, c in nm.
    angles_deg : tuple of float
        alpha, beta, gamma in degrees.
    sites : tuple of Site
        Motif of one lattice point.
    source : str
        Where the numbers come from.
    translations : tuple of tuple of float
        Lattice points of the cell, fractional, where the letter of the centring does not say them (structures from
        files, supercells); empty takes those of `centring`.
    zones : tuple of tuple of int
        The zone axes with a meaning, for single layers; empty for all.
    """

    name: str
    formula: str
    space_group: str
    centring: str
    cell_nm: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    sites: tuple[Site, ...]
    source: str
    translations: tuple[tuple[float, float, float], ...] = ()
    zones: tuple[tuple[int, int, int], ...] = ()

    @property
    def vectors_nm(self) -> np.ndarray:
        """(3, 3) float64 Cartesian cell vectors in nm, one a row; a along x, b in the xy plane."""
        a, b, c = self.cell_nm
        alpha, beta, gamma = np.deg2rad(self.angles_deg)
        cx = np.cos(beta)
        cy = (np.cos(alpha) - np.cos(beta) * np.cos(gamma)) / np.sin(gamma)
        cz = np.sqrt(1.0 - cx**2 - cy**2)
        return np.array([[a, 0, 0], [b * np.cos(gamma), b * np.sin(gamma), 0], [c * cx, c * cy, c * cz]])

    @property
    def lattice_points(self) -> np.ndarray:
        """(n, 3) float64 fractional lattice points of the conventional cell."""
        return np.array(self.translations or CENTRING[self.centring])

    @property
    def hexagonal(self) -> bool:
        """Whether the axes are hexagonal (a = b, gamma = 120 degrees)."""
        return self.angles_deg == (90.0, 90.0, 120.0) and abs(self.cell_nm[0] - self.cell_nm[1]) < EQUAL_NM

    @property
    def cubic(self) -> bool:
        """Whether the cell is a cube."""
        return self.angles_deg == (90.0, 90.0, 90.0) and max(self.cell_nm) - min(self.cell_nm) < EQUAL_NM


def list_crystals() -> tuple[str, ...]:
    """Names that `load_crystal` knows, sorted."""
    return tuple(sorted(f.name.removesuffix(".json") for f in _folder().iterdir() if f.name.endswith(".json")))


@cache
def load_crystal(name: str) -> Crystal:
    """Crystal of a given name.

    Parameters
    ----------
    name : str
        One of `list_crystals`.

    Raises
    ------
    ConfigError
        If there is no such crystal.
    """
    if name not in list_crystals():
        raise ConfigError(f"no crystal named {name!r}; known: {', '.join(list_crystals())}")
    data = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    sites = tuple(Site(s["label"], _triple(s["position"]), dict(s["occupants"])) for s in data["sites"])
    return Crystal(
        name=data["name"],
        formula=data["formula"],
        space_group=data["space_group"],
        centring=data["centring"],
        cell_nm=_triple(data["cell_nm"]),
        angles_deg=_triple(data["angles_deg"]),
        sites=sites,
        source=data["source"],
        zones=tuple((int(u), int(v), int(w)) for u, v, w in data.get("zones", ())),
    )


def _folder() -> Traversable:
    return files("atomseg.crystal") / "data"


def _triple(values: list[float]) -> tuple[float, float, float]:
    x, y, z = values
    return (float(x), float(y), float(z))
