"""Crystal structures as data files with their source, and their projections along a zone axis."""

from atomseg.crystal.cell import Crystal, Site, list_crystals, load_crystal
from atomseg.crystal.elements import ATOMIC_NUMBERS, haadf_weight
from atomseg.crystal.from_ase import crystal_from_ase, read_crystal
from atomseg.crystal.projection import ProjectedColumn, ProjectedLattice, ZoneFamily, project

__all__ = [
    "ATOMIC_NUMBERS",
    "Crystal",
    "ProjectedColumn",
    "ProjectedLattice",
    "Site",
    "ZoneFamily",
    "crystal_from_ase",
    "haadf_weight",
    "list_crystals",
    "load_crystal",
    "project",
    "read_crystal",
]
