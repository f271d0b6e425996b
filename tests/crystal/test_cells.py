"""Cells: bond lengths and slab heights against published values."""

import numpy as np
import pytest

from atomseg.crystal import haadf_weight, list_crystals, load_crystal
from atomseg.errors import ConfigError


def atoms(name, cells=2):
    """Cartesian positions and labels of the atoms in a block of cells, the block's centre in the middle."""
    crystal = load_crystal(name)
    grid = np.stack(np.meshgrid(*[np.arange(-cells, cells + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shifts = (grid[:, None] + crystal.lattice_points[None]).reshape(-1, 3)
    positions = np.concatenate([(shifts + site.position) @ crystal.vectors_nm for site in crystal.sites])
    labels = np.repeat([site.label for site in crystal.sites], len(shifts))
    return positions, labels


def shortest_bond(name, one, other):
    positions, labels = atoms(name)
    start = positions[labels == one][np.argmin(np.linalg.norm(positions[labels == one], axis=1))]
    distance = np.linalg.norm(positions[labels == other] - start, axis=1)
    return distance[distance > 1e-6].min()


@pytest.mark.parametrize(
    ("name", "one", "other", "bond_nm"),
    [
        ("LiNiO2", "TM", "O", 0.197),  # the origin trap of z(O): swapped sites give 0.211
        ("LiNiO2", "interlayer", "O", 0.211),
        ("NiO", "TM", "O", 0.4177 / 2),
        ("NiO2_O1", "TM", "O", 0.188),
        ("Si", "Si", "Si", 0.2352),
        ("CdTe", "Cd", "Te", 0.2807),
        ("GaAs", "Ga", "As", 0.2448),
        ("GaN", "Ga", "N", 0.195),
        ("MoS2", "Mo", "S", 0.241),
        ("SrTiO3", "Ti", "O", 0.19525),
        ("Au", "Au", "Au", 0.2884),
        ("Fe", "Fe", "Fe", 0.2482),
        ("LiNi2O4_spinel", "TM", "O", 0.193),
    ],
)
def test_bond_lengths_are_the_published_ones(name, one, other, bond_nm):
    # 1 pm: published bond lengths are quoted to three digits.
    assert shortest_bond(name, one, other) == pytest.approx(bond_nm, abs=1e-3)


def test_slabs_of_the_layered_crystal():
    crystal = load_crystal("LiNiO2")
    c = crystal.cell_nm[2]
    # Oxygen heights modulo c/3 around the TM plane at 0: half the TM slab above it, half below.
    heights = np.array([s.position[2] for s in crystal.sites if s.label == "O"]) * c % (c / 3)
    half = min(heights.min(), c / 3 - heights.max())
    assert 2 * half == pytest.approx(0.212, abs=1e-3)
    assert c / 3 - 2 * half == pytest.approx(0.261, abs=1e-3)


def test_rocksalt_fits_the_layered_frame_with_the_known_misfit():
    rocksalt, layered = load_crystal("NiO").cell_nm[0], load_crystal("LiNiO2").cell_nm
    assert 2 * rocksalt / np.sqrt(3) == pytest.approx(0.4823, abs=1e-4)
    assert rocksalt / np.sqrt(2) / layered[0] - 1 == pytest.approx(0.026, abs=1e-3)
    assert rocksalt / np.sqrt(3) / (layered[2] / 6) - 1 == pytest.approx(0.020, abs=1e-3)


@pytest.mark.parametrize("name", list_crystals())
def test_every_crystal_names_its_source_and_is_charge_of_atoms_like_its_formula(name):
    crystal = load_crystal(name)
    assert len(crystal.source) > 20
    assert all(sum(site.occupants.values()) == pytest.approx(1.0) for site in crystal.sites)
    positions, _ = atoms(name, cells=1)
    middle = positions[np.argmin(np.linalg.norm(positions, axis=1))]
    distance = np.sort(np.linalg.norm(positions - middle, axis=1))
    # No bond is shorter than that of graphene, 0.142 nm: a duplicated or misplaced site would be.
    assert distance[1] > 0.14


def test_unknown_names_are_errors_that_list_the_known_ones():
    with pytest.raises(ConfigError, match="LiNiO2"):
        load_crystal("LiNiO3")
    with pytest.raises(ConfigError, match="unknown element Xx"):
        haadf_weight({"Xx": 1.0}, 1.7)


@pytest.mark.parametrize(
    ("exponent", "oxygen", "lithium", "manganese"),
    [(1.5, 0.153, 0.035, 0.844), (1.7, 0.119, 0.0225, 0.825), (2.0, 0.0816, 0.0115, 0.797)],
)
def test_weights_follow_the_atomic_number(exponent, oxygen, lithium, manganese):
    nickel = haadf_weight({"Ni": 1.0}, exponent)
    # Computed by hand as (Z / 28) ** n, three digits.
    assert haadf_weight({"O": 1.0}, exponent) / nickel == pytest.approx(oxygen, rel=5e-3)
    assert haadf_weight({"Li": 1.0}, exponent) / nickel == pytest.approx(lithium, rel=5e-3)
    assert haadf_weight({"Mn": 1.0}, exponent) / nickel == pytest.approx(manganese, rel=5e-3)
