"""Which atoms columns hold: interlayer metal, octahedral and tetrahedral, and vacancies of the metal rows."""

from dataclasses import replace

import numpy as np

from atomseg.crystal import haadf_weight, load_crystal
from atomseg.simulate.cathode import OXYGEN_LAYERED, Lattice, sense_at
from atomseg.simulate.defects import Defects, with_vacancies
from atomseg.simulate.specimen import ATOM, INTERLAYER, TM, Sites, join
from atomseg.types import Phase

# Tetrahedra stand a third of the row period beside the octahedral site, between it and an oxygen layer. The ideal
# height is half of that layer's; next to the widened interlayer 0.4 of it, 0.05 nm.
TETRAHEDRAL_HEIGHT = 0.4
# The transition zone: more metal than in the bulk by this much, and not yet rocksalt.
LEAST_EXCESS, ROCKSALT = 0.03, 0.8


def settle_occupancy(
    sites: Sites, thickness_nm: np.ndarray, lattice: Lattice, defects: Defects, rng: np.random.Generator
) -> Sites:
    """Draw the atoms of each column: an interlayer column has a binomial of its atoms around the local mean.

    The signal follows the drawn occupancy with a further scatter, because an impurity counts differently at different
    depths (10.1038/srep12419): about a tenth of the signal for half-filled columns. The part of the depth that is
    rocksalt (``defects.overlap``) is full, and scatters nothing. Tetrahedral columns are appended.
    """
    atoms = np.maximum(np.round(thickness_nm / lattice.a_nm), 1).astype(int)
    sites = with_vacancies(sites, defects, atoms, rng)
    sites = _with_lithium(sites, lattice, defects, atoms, rng)
    is_li = np.flatnonzero(sites.species == INTERLAYER)
    atoms = atoms[is_li]
    over = defects.overlap
    mean = np.clip((sites.mean_occupancy[is_li] - over) / max(1.0 - over, 1e-6), 0.0, 1.0)
    drawn = rng.binomial(atoms, mean) / atoms
    share = _tetrahedral_share(sites.take(is_li), lattice, defects)
    tetrahedral = rng.binomial(np.round(drawn * atoms).astype(int), share) / atoms if share.any() else share
    here = drawn - tetrahedral
    lithium = haadf_weight({"Li": 1.0}, lattice.exponent) / haadf_weight({"Ni": 1.0}, lattice.exponent)
    depth_scatter = 1.0 + 0.25 * np.sqrt(here * (1.0 - here)) * rng.standard_normal(len(here))
    signal = here**lattice.mixing_exponent * np.maximum(depth_scatter, 0.3) + (1.0 - here) * lithium
    occupancy, weight = sites.occupancy.copy(), sites.weight.copy()
    occupancy[is_li], weight[is_li] = over + (1.0 - over) * here, over + (1.0 - over) * signal
    settled = replace(sites, occupancy=occupancy, weight=weight)
    if not tetrahedral.any():
        return settled
    there = np.flatnonzero(tetrahedral > 0)
    beside = _tetrahedral(settled.take(is_li[there]), (1.0 - over) * tetrahedral[there], lattice, rng)
    return join([settled, beside])


def _with_lithium(
    sites: Sites, lattice: Lattice, defects: Defects, atoms: np.ndarray, rng: np.random.Generator
) -> Sites:
    """TM columns with the lithium that changed places with interlayer metal: less of it the nearer to rocksalt."""
    if lattice.exchanged <= 0.0:
        return sites
    metal = load_crystal("NMC811").sites[0].occupants
    signal = haadf_weight({"Li": 1.0}, lattice.exponent) / haadf_weight(metal, lattice.exponent)
    layered = np.clip((1.0 - sites.mean_occupancy) / max(1.0 - lattice.antisite, 1e-6), 0.0, 1.0)
    mean = np.where(sites.species == TM, lattice.exchanged * (1.0 - defects.overlap) * layered, 0.0)
    drawn = rng.binomial(atoms, mean) / atoms
    weight = sites.weight * (1.0 - drawn) + signal * drawn
    return replace(sites, weight=weight, occupancy=sites.occupancy * (1.0 - drawn))


def _tetrahedral_share(sites: Sites, lattice: Lattice, defects: Defects) -> np.ndarray:
    """(N,) fraction of the metal of each interlayer column that is tetrahedral: only in the transition zone."""
    mean = sites.mean_occupancy
    zone = (mean > lattice.antisite + LEAST_EXCESS) & (mean < ROCKSALT) & (sites.phase != Phase.O1)
    return np.where(zone, defects.tetrahedral, 0.0)


def _tetrahedral(sites: Sites, fraction: np.ndarray, lattice: Lattice, rng: np.random.Generator) -> Sites:
    """Tetrahedral columns beside interlayer columns, all on the same side: the defect spinel orders."""
    side = float(rng.choice([-1.0, 1.0]))
    third = lattice.period_nm / 3.0 * sense_at(lattice, sites.lattice_uv[:, 1])
    oxygen_nm = lattice.row_nm * (1.0 - OXYGEN_LAYERED)
    offset = np.stack([side * third, np.full(len(third), -side * TETRAHEDRAL_HEIGHT * oxygen_nm)], axis=1)
    return replace(
        sites,
        yx_nm=sites.yx_nm + offset @ lattice.rotation,
        weight=fraction**lattice.mixing_exponent,
        species=np.full(len(sites), ATOM, np.int8),
        occupancy=fraction,
    )
