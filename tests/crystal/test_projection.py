"""Projections along zone axes: the two-dimensional lattices of layered oxides."""

import numpy as np
import pytest

from atomseg.crystal import ZoneFamily, list_crystals, load_crystal, project
from atomseg.errors import ConfigError


def angle_deg(basis):
    lengths = np.linalg.norm(basis, axis=1)
    return np.rad2deg(np.arccos(basis[0] @ basis[1] / lengths.prod()))


def shift_of(column, basis):
    """Lateral position of a column in periods, modulo 1."""
    return (column.x_nm / basis[0, 1]) % 1.0


@pytest.mark.parametrize("zone", [(1, 0, 0), (0, 1, 0), (1, 1, 0)])
def test_layered_crystal_along_close_packed_rows(zone):
    view = project(load_crystal("LiNiO2"), zone)
    basis = view.basis_yx_nm
    assert view.family is ZoneFamily.CLOSE_PACKED
    assert basis[0] == pytest.approx([0.0, 0.2878 * np.sqrt(3) / 2], abs=1e-6)
    assert basis[0, 1] == pytest.approx(0.24924, abs=1e-5)
    assert basis[1, 0] == pytest.approx(1.4190 / 3, abs=1e-6)
    step = basis[1, 1] / basis[0, 1]
    assert abs(step) == pytest.approx(1 / 3, abs=1e-6)
    assert min(angle_deg(basis), 180 - angle_deg(basis)) == pytest.approx(80.04, abs=0.01)
    assert view.repeat_nm == pytest.approx(0.2878)
    (tm,), (li,) = view.labelled("TM"), view.labelled("interlayer")
    assert li.y_nm == pytest.approx(1.4190 / 6, abs=1e-6)
    # Successive cation rows step against the TM rows: -1/3 where TM rows step +1/3.
    assert (shift_of(li, basis) - shift_of(tm, basis)) % 1.0 == pytest.approx((-step) % 1.0, abs=1e-6)
    # Every column holds one atom a period.
    assert all(c.atoms_per_nm == pytest.approx(1 / 0.2878) for c in view.columns)


def test_oxygen_stands_0135_nm_from_its_metal_column():
    view = project(load_crystal("LiNiO2"), (1, 0, 0))
    cells = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], float) @ view.basis_yx_nm
    oxygen = np.concatenate([np.array([c.y_nm, c.x_nm]) + cells for c in view.labelled("O")])
    assert np.linalg.norm(oxygen, axis=1).min() == pytest.approx(0.135, abs=5e-4)


@pytest.mark.parametrize("zone", [(1, -1, 0), (1, 2, 0), (2, 1, 0)])
def test_layered_crystal_across_the_rows_is_a_rectangle(zone):
    view = project(load_crystal("LiNiO2"), zone)
    assert view.family is ZoneFamily.PERP_112
    assert view.basis_yx_nm == pytest.approx(np.array([[0.0, 0.1439], [0.4730, 0.0]]), abs=1e-4)
    assert view.repeat_nm == pytest.approx(0.4985, abs=1e-4)


def test_layered_crystal_along_c_has_one_kind_of_column():
    view = project(load_crystal("LiNiO2"), (0, 0, 1))
    assert view.family is ZoneFamily.C_AXIS
    assert np.linalg.norm(view.basis_yx_nm, axis=1) == pytest.approx([0.1662, 0.1662], abs=1e-4)
    (column,) = view.columns
    assert column.occupants == pytest.approx({"Ni": 0.25, "Li": 0.25, "O": 0.5})


def test_layered_crystal_that_looks_like_rocksalt():
    view = project(load_crystal("LiNiO2"), (-4, -2, 1))
    assert view.family is ZoneFamily.OTHER
    assert np.linalg.norm(view.basis_yx_nm, axis=1) == pytest.approx([0.2497, 0.2497], abs=2e-4)
    assert min(angle_deg(view.basis_yx_nm), 180 - angle_deg(view.basis_yx_nm)) == pytest.approx(70.4, abs=0.05)
    (mixed,) = [c for c in view.columns if "TM" in c.label]
    assert mixed.occupants == pytest.approx({"Ni": 0.5, "Li": 0.5})


def test_o1_has_no_shift():
    o1 = load_crystal("NiO2_O1")
    along_row = project(o1, (1, 0, 0))
    assert along_row.basis_yx_nm == pytest.approx(np.array([[0.0, 0.2438], [0.436, 0.0]]), abs=1e-4)
    assert angle_deg(along_row.basis_yx_nm) == pytest.approx(90.0)
    from_above = project(o1, (0, 0, 1))
    assert np.linalg.norm(from_above.basis_yx_nm, axis=1) == pytest.approx([0.2815, 0.2815], abs=1e-4)
    assert [c.label for c in from_above.columns].count("TM") == 1


def test_rocksalt_steps_against_the_metal_rows_of_its_parent():
    rocksalt = project(load_crystal("NiO"), (1, -1, 0)).basis_yx_nm
    assert np.linalg.norm(rocksalt, axis=1) == pytest.approx([0.2558, 0.2558], abs=1e-4)
    assert min(angle_deg(rocksalt), 180 - angle_deg(rocksalt)) == pytest.approx(70.53, abs=0.01)
    assert rocksalt[1, 0] == pytest.approx(0.2412, abs=1e-4)
    assert abs(rocksalt[1, 1]) / rocksalt[0, 1] == pytest.approx(1 / 3, abs=1e-6)


def test_spinel_doubles_the_period_and_has_full_half_and_tetrahedral_columns():
    view = project(load_crystal("LiNi2O4_spinel"), (1, -1, 0))
    assert view.basis_yx_nm[0, 1] == pytest.approx(2 * 0.2490, abs=2e-4)
    metal = sorted(c.atoms_per_nm for c in view.labelled("TM"))
    assert metal[2] == pytest.approx(2 * metal[0], rel=1e-6)
    assert metal[1] == pytest.approx(metal[0], rel=1e-6)
    assert len(view.labelled("interlayer")) == 2
    assert all(c.atoms_per_nm == pytest.approx(metal[0], rel=1e-6) for c in view.labelled("interlayer"))


@pytest.mark.parametrize("name", list_crystals())
@pytest.mark.parametrize("zone", [(1, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2)])
def test_projection_keeps_every_atom(name, zone):
    crystal = load_crystal(name)
    view = project(crystal, zone)
    volume = abs(np.linalg.det(crystal.vectors_nm))
    density = len(crystal.sites) * len(crystal.lattice_points) / volume
    area = abs(np.linalg.det(view.basis_yx_nm))
    assert sum(c.atoms_per_nm for c in view.columns) == pytest.approx(density * area, rel=1e-9)
    # The cell of the projection times the period holds a whole number of lattice points: 1 if both are primitive.
    points = area * view.repeat_nm * len(crystal.lattice_points) / volume
    assert points == pytest.approx(round(points), abs=1e-6)
    assert view.basis_yx_nm[0, 0] == pytest.approx(0.0, abs=1e-9)
    assert view.basis_yx_nm[1, 0] > 0


def test_no_direction_is_an_error():
    with pytest.raises(ConfigError, match="three integers"):
        project(load_crystal("Si"), (0, 0, 0))
