"""Cation rows, stacking faults and twins of the simulated cathode."""

import numpy as np
import pytest

from atomseg.crystal import load_crystal, project
from atomseg.simulate.cathode import Reconstruction, build_cathode, draw_lattice
from atomseg.simulate.faults import Fault, subtended
from atomseg.simulate.specimen import INTERLAYER, OXYGEN, TM, View
from atomseg.types import Phase

VIEW = View((6.0, 6.0))
FAR = (-500.0, 500.0)


@pytest.fixture
def lattice(plain_config):
    def make(sense=1, twin=False, rotation=0.0):
        config = plain_config(lattice={"senses": (sense,), "rotation_deg": (rotation, rotation)}).lattice
        return draw_lattice(config, VIEW, np.random.default_rng(3), twin=twin)

    return make


def rows_of(lattice, sites):
    """Lateral offset of each cation row, in periods modulo 1, by row index."""
    u = (sites.yx_nm @ lattice.rotation.T)[:, 0]
    row = sites.lattice_uv[:, 1].astype(int)
    offsets = {}
    for k in np.unique(row[sites.species != OXYGEN]):
        members = (row == k) & (sites.species != OXYGEN)
        angle = 2 * np.pi * u[members] / lattice.period_nm
        offsets[k] = float(np.angle(np.exp(1j * angle).mean()) / (2 * np.pi)) % 1.0
    return offsets


def steps(offsets, first, stride):
    """Steps between rows k and k + stride, in -1/2..1/2 periods, by the lower row."""
    found = {}
    for k in offsets:
        if (k - first) % stride == 0 and k + stride in offsets:
            found[k] = (offsets[k + stride] - offsets[k] + 0.5) % 1.0 - 0.5
    return found


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("rotation", [0.0, 37.0, 200.0])
def test_metal_rows_step_a_third_and_cation_rows_a_third_back(lattice, sense, rotation):
    perfect = lattice(sense, rotation=rotation)
    offsets = rows_of(perfect, build_cathode(perfect, VIEW, Reconstruction(), np.random.default_rng(0)))
    assert np.allclose(list(steps(offsets, 0, 2).values()), sense / 3, atol=1e-9)
    assert np.allclose(list(steps(offsets, 0, 1).values()), -sense / 3, atol=1e-9)


def test_the_perfect_crystal_is_the_projection_of_its_cell(lattice):
    perfect = lattice(1)
    sites = build_cathode(perfect, VIEW, Reconstruction(), np.random.default_rng(0))
    view = project(load_crystal("NMC811"), (1, 0, 0))
    assert np.sign(view.basis_yx_nm[1, 1]) == 1  # the same sense, so that the lattices can coincide
    for species, label in ((TM, "TM"), (INTERLAYER, "interlayer"), (OXYGEN, "O")):
        uv = perfect.frame.to_uv(sites.yx_nm[sites.species == species])
        cells = uv[:, ::-1] @ np.linalg.inv(view.basis_yx_nm)
        expected = [np.array([c.y_nm, c.x_nm]) @ np.linalg.inv(view.basis_yx_nm) for c in view.labelled(label)]
        distance = np.min([np.abs((cells - e + 0.5) % 1.0 - 0.5).max(axis=1) for e in expected], axis=0)
        # Cell constants agree to 1e-3 nm; over 3 nm of view that is far below 5 % of a cell.
        assert distance.max() < 0.05


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("slip", [-1, 2])
def test_an_o1_gap_has_no_shift_and_the_sequence_goes_on(lattice, sense, slip):
    crystal = lattice(sense)
    fault = Fault(row=3, u_nm=FAR, slip=slip, occupancy=0.2)
    sites = build_cathode(crystal, VIEW, Reconstruction(faults=(fault,)), np.random.default_rng(0))
    offsets = rows_of(crystal, sites)
    metal = steps(offsets, 0, 2)
    # 1e-3: the dislocations end 500 nm away and still turn the field by 6 nm / 500 nm / 2 pi of a third.
    assert metal.pop(2) == pytest.approx(0.0, abs=1e-3)
    assert np.allclose(list(metal.values()), sense / 3, atol=1e-3)
    assert (offsets[3] - offsets[2] + 0.5) % 1.0 - 0.5 == pytest.approx(0.0, abs=1e-3)  # interlayer straight above
    gap = (sites.species == INTERLAYER) & (sites.lattice_uv[:, 1] == 3)
    assert np.all(sites.phase[gap] == Phase.O1)
    assert np.all(sites.phase[(sites.species == INTERLAYER) & ~gap] == Phase.LAYERED)
    beside = (sites.species == TM) & np.isin(sites.lattice_uv[:, 1], [2, 4])
    assert np.all(sites.phase[beside] == Phase.LAYERED)
    assert np.all(sites.phase_alt[beside] == Phase.O1)


def test_a_lamella_turns_the_metal_rows_between_its_gaps_to_o1(lattice):
    crystal = lattice()
    faults = tuple(Fault(row=1 + 2 * i, u_nm=FAR, slip=2 if i % 3 == 1 else -1, occupancy=0.0) for i in range(3))
    sites = build_cathode(crystal, VIEW, Reconstruction(faults=faults), np.random.default_rng(0))
    metal = (sites.species == TM) & np.isin(sites.lattice_uv[:, 1], [2, 4])
    assert np.all(sites.phase[metal] == Phase.O1)
    assert np.all(sites.phase_alt[metal] == Phase.NONE)
    # Three partial dislocations of the kinds -1, 2, -1 cancel: the crystal above is where it would be without them.
    perfect = rows_of(crystal, build_cathode(crystal, VIEW, Reconstruction(), np.random.default_rng(0)))
    faulted = rows_of(crystal, sites)
    assert abs((faulted[8] - perfect[8] + 0.5) % 1.0 - 0.5) < 1e-3


def test_a_fault_that_ends_is_a_pair_of_dislocations(lattice):
    crystal = lattice()
    short = Fault(row=1, u_nm=(-1.0, 1.0), slip=-1, occupancy=0.0)
    rng = np.random.default_rng(0)
    sites = build_cathode(crystal, VIEW, Reconstruction(faults=(short,)), rng)
    row, u = sites.lattice_uv[:, 1], sites.yx_nm @ crystal.rotation.T
    gap = (sites.species == INTERLAYER) & (row == 1)
    inside = np.abs(u[gap, 0] - crystal.origin_nm[0]) < 0.8
    outside = np.abs(u[gap, 0] - crystal.origin_nm[0]) > 1.3
    assert np.all(sites.phase[gap][inside] == Phase.O1)
    assert np.all(sites.phase[gap][outside] == Phase.LAYERED)
    # Directly above and below the middle the jump is the slip times the angle share: 2 atan(L / 2h) / pi, h = c / 6.
    share = 2 * np.arctan(1.0 / crystal.row_nm) / np.pi
    up = subtended(np.zeros(1), np.array([crystal.row_nm]), short.u_nm)
    down = subtended(np.zeros(1), np.array([-crystal.row_nm]), short.u_nm)
    assert ((up - down) / (2 * np.pi))[0] == pytest.approx(share)
    assert abs(subtended(np.zeros(1), np.array([200.0]), short.u_nm)[0]) < 0.011  # 2 nm seen from 200 nm


def test_a_twin_reverses_the_sense_at_its_row(lattice):
    twinned = lattice(1, twin=True)
    assert twinned.twin_row is not None
    offsets = rows_of(twinned, build_cathode(twinned, VIEW, Reconstruction(), np.random.default_rng(0)))
    for k, step in steps(offsets, 0, 2).items():
        assert step == pytest.approx(1 / 3 if k < twinned.twin_row else -1 / 3, abs=1e-9)
