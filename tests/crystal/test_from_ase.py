"""Crystals from structure files and ASE: round trips, published spacings, partial occupancy, errors."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from ase.io import write

from atomseg.crystal import Crystal, crystal_from_ase, list_crystals, load_crystal, project, read_crystal
from atomseg.errors import ConfigError

CIF = """data_nmc
_cell_length_a 2.872
_cell_length_b 2.872
_cell_length_c 14.205
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'R -3 m'
_symmetry_Int_Tables_number 166
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ni1 Ni 0 0 0 0.8
Mn1 Mn 0 0 0 0.1
Co1 Co 0 0 0 0.1
Li1 Li 0 0 0.5 0.95
Ni2 Ni 0 0 0.5 0.02
O1 O 0 0 0.2585 1
"""


def as_atoms(crystal: Crystal) -> Atoms:
    """All atoms of the conventional cell, each site as its main element."""
    symbols = [max(s.occupants, key=lambda e: s.occupants[e]) for s in crystal.sites for _ in crystal.lattice_points]
    positions = np.concatenate([np.asarray(s.position) + crystal.lattice_points for s in crystal.sites])
    return Atoms(symbols, scaled_positions=positions % 1.0, cell=10 * crystal.vectors_nm, pbc=True)


def same_projection(one, other):
    """Whether two projections are the same lattice of the same columns, names of sites apart."""
    assert one.basis_yx_nm == pytest.approx(other.basis_yx_nm, abs=1e-6)
    assert one.repeat_nm == pytest.approx(other.repeat_nm, abs=1e-6)
    assert one.family == other.family
    assert len(one.columns) == len(other.columns)
    for a in one.columns:
        (b,) = [b for b in other.columns if np.hypot(a.y_nm - b.y_nm, a.x_nm - b.x_nm) < 1e-5]
        assert a.atoms_per_nm == pytest.approx(b.atoms_per_nm)
        assert a.occupants == pytest.approx(b.occupants)


@pytest.mark.parametrize("zone", [(1, 0, 0), (1, 1, 0), (1, -1, 0), (0, 0, 1), (-4, -2, 1)])
def test_a_cell_written_to_cif_and_read_back_projects_as_before(tmp_path: Path, zone):
    crystal = load_crystal("LiNiO2")
    write(tmp_path / "LiNiO2.cif", as_atoms(crystal))
    back = read_crystal(tmp_path / "LiNiO2.cif")
    assert back.centring == "R"
    same_projection(project(crystal, zone), project(back, zone))


@pytest.mark.parametrize("name", [n for n in list_crystals() if n not in {"NMC811"}])
def test_every_shipped_cell_survives_ase(name):
    crystal = load_crystal(name)
    back = crystal_from_ase(as_atoms(crystal))
    assert len(back.sites) * len(back.lattice_points) == len(crystal.sites) * len(crystal.lattice_points)
    same_projection(project(crystal, (0, 0, 1)), project(back, (0, 0, 1)))


def test_a_supercell_is_reduced_to_its_motif():
    large = crystal_from_ase(bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 3))
    assert len(large.sites) == 2
    view = project(large, (1, 1, 0))
    # The [110] zone of the supercell 2 x 2 x 3 is [110] of the cell too: dumbbells of a / 4 = 0.1358 nm.
    (one, two) = view.columns
    cells = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ view.basis_yx_nm
    distance = np.linalg.norm(cells + np.array([one.y_nm - two.y_nm, one.x_nm - two.x_nm]), axis=1).min()
    assert distance == pytest.approx(0.1358, abs=1e-4)


def test_published_spacings():
    # Gold: d111 = 0.2355 nm, d200 = 0.2039 nm (ICDD 4-784). Down [110] the columns stand d111 apart across (111).
    gold = project(crystal_from_ase(bulk("Au", a=4.0786, cubic=True)), (1, -1, 0))
    area = abs(np.linalg.det(gold.basis_yx_nm))
    assert area / np.linalg.norm(gold.basis_yx_nm[0]) == pytest.approx(0.2355, abs=1e-4)
    square = project(crystal_from_ase(bulk("Au", a=4.0786, cubic=True)), (0, 0, 1))
    assert np.linalg.norm(square.basis_yx_nm, axis=1) == pytest.approx([0.2039, 0.2039], abs=1e-4)
    # One layer of MoS2 (a = 0.316 nm): Mo to the S pair, a / sqrt(3) = 0.1824 nm.
    layer = mx2("MoS2", a=3.16, vacuum=5.0)
    layer.pbc = True
    view = project(crystal_from_ase(layer), (0, 0, 1))
    metal, sulphur = sorted(view.columns, key=lambda c: c.atoms_per_nm)
    assert (metal.occupants, sulphur.occupants) == ({"Mo": 1.0}, {"S": 1.0})
    assert sulphur.atoms_per_nm == pytest.approx(2 * metal.atoms_per_nm)
    cells = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ view.basis_yx_nm
    gap = np.linalg.norm(cells + np.array([metal.y_nm - sulphur.y_nm, metal.x_nm - sulphur.x_nm]), axis=1).min()
    assert gap == pytest.approx(0.1824, abs=1e-4)


def test_partial_occupancies_of_a_cif_count(tmp_path: Path):
    (tmp_path / "nmc.cif").write_text(CIF, encoding="utf-8")
    view = project(read_crystal(tmp_path / "nmc.cif"), (1, 0, 0))
    metal, lithium = (next(c for c in view.columns if e in c.occupants) for e in ("Mn", "Li"))
    assert metal.occupants == pytest.approx({"Ni": 0.8, "Mn": 0.1, "Co": 0.1})
    assert lithium.occupants == pytest.approx({"Li": 0.95, "Ni": 0.02})
    same = project(load_crystal("NMC811"), (1, 0, 0))
    assert view.basis_yx_nm == pytest.approx(same.basis_yx_nm, abs=2e-3)


def test_low_symmetry_projects_with_every_atom():
    rng = np.random.default_rng(0)
    for zone in ((1, 0, 0), (1, 1, 0), (0, 1, -1), (2, 1, 3)):
        cell = 4 * np.eye(3) + rng.uniform(-1, 1, (3, 3))
        atoms = Atoms("PbTiO", scaled_positions=rng.random((3, 3)), cell=cell, pbc=True)
        view = project(crystal_from_ase(atoms), zone)
        density = 3 / (atoms.cell.volume * 1e-3)
        area = abs(np.linalg.det(view.basis_yx_nm))
        assert sum(c.atoms_per_nm for c in view.columns) == pytest.approx(density * area)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: crystal_from_ase(Atoms(cell=[4, 4, 4], pbc=True), name="empty"), "no atoms"),
        (lambda: crystal_from_ase(Atoms("Ni")), "no unit cell"),
        (lambda: crystal_from_ase(Atoms("X", cell=[4, 4, 4], pbc=True)), "elements from H to Cf"),
        (lambda: read_crystal("nowhere.cif"), "no structure file nowhere.cif"),
        (lambda: project(crystal_from_ase(bulk("Au")), (0, 0, 0)), "three integers"),
    ],
)
def test_what_is_no_crystal_is_an_error(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


@pytest.mark.parametrize("text", ["", "hello", "data_x\n_cell_length_a 4\n"])
def test_a_file_without_structure_is_an_error_that_names_it(tmp_path: Path, text):
    (tmp_path / "bad.cif").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.cif holds no structure|has no atoms|no unit cell"):
        read_crystal(tmp_path / "bad.cif")


def test_a_changed_file_is_read_again(tmp_path: Path):
    for symbol in ("Au", "Ni"):
        write(tmp_path / "x.cif", bulk(symbol, cubic=True))
        assert read_crystal(tmp_path / "x.cif").sites[0].occupants == {symbol: 1.0}
