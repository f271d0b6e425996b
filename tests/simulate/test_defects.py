"""Defects of the specimen: what moves columns, what takes atoms away, and what the truth says there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

from atomseg.simulate import simulate
from atomseg.simulate.cathode import Reconstruction, build_cathode, draw_lattice
from atomseg.simulate.defects import Bend, Defects, draw_defects
from atomseg.simulate.dislocations import Dislocation, apart, partial_dislocation
from atomseg.simulate.faults import slip_displacement
from atomseg.simulate.other import PlanarLattice, build_planar
from atomseg.simulate.specimen import ATOM, INTERLAYER, OXYGEN, TM, View
from atomseg.simulate.structure import draw_structure
from atomseg.types import Phase

VIEW = View((9.0, 9.0))


def fixed(value):
    return (value, value)


@pytest.fixture
def lattice(plain_config):
    config = plain_config(lattice={"rotation_deg": fixed(0.0)}).lattice
    return draw_lattice(config, VIEW, np.random.default_rng(3), twin=False)


def metal_uv(lattice, sites):
    return lattice.frame.to_uv(sites.yx_nm[sites.species == TM])


def closure(points, core, along, across, reach=8):
    """Failure of a Burgers circuit of lattice steps around `core`, in lattice steps: (along, across)."""
    # Right, up, left, down: as many steps each way as in the perfect crystal. What is missing to close is b.
    tree = cKDTree(points)
    at = start = points[tree.query(core - reach / 2 * (along + across) + 1e-3)[1]]
    for step in (along, across, -along, -across):
        for _ in range(reach):
            distance, index = tree.query(at + step)
            assert distance < 0.4 * np.linalg.norm(step)
            at = points[index]
    return at - start


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_burgers_circuit_around_an_extra_layer_fails_by_one_row_step(lattice, sign):
    step = np.array([lattice.period_nm / 3.0, 2 * lattice.row_nm])
    core = (0.05, 0.1)
    dislocation = Dislocation(core, tuple(sign * step), 0.3)
    change = Reconstruction(defects=Defects(dislocations=(dislocation,)))
    points = metal_uv(lattice, build_cathode(lattice, VIEW, change, np.random.default_rng(0)))
    along = np.array([lattice.period_nm, 0.0])
    gap = closure(points, np.array(core), along, step)
    # 0.473 nm across the layers (c / 3). The strain at the start of the circuit, 2.7 nm from the core, is b / (2 pi r),
    # 3 %: closing the gap on a column of the strained crystal leaves a few per cent of a step.
    assert abs(gap[1]) == pytest.approx(1.4205 / 3, rel=0.05)
    assert gap == pytest.approx(np.sign(gap[1]) * step, abs=0.05)
    perfect = metal_uv(lattice, build_cathode(lattice, VIEW, Reconstruction(), np.random.default_rng(0)))
    assert closure(perfect, np.array(core), along, step) == pytest.approx([0.0, 0.0], abs=1e-9)


@pytest.mark.parametrize(("slip", "burgers_nm"), [(2, 0.1658), (-1, 0.0829)])
def test_a_partial_has_its_projected_burgers_vector(lattice, slip, burgers_nm):
    # a / sqrt(3) = 0.1658 nm for a = 0.2872 nm, seen edge-on or at 60 degrees.
    step = lattice.sense * lattice.period_nm / 3.0
    dislocation, fault = partial_dislocation((0.0, 1), slip, VIEW, lattice.frame, step, rng=np.random.default_rng(0))
    right = fault.u_nm[0] == 0.0
    change = Reconstruction(faults=(fault,), defects=Defects(dislocations=(dislocation,)))
    moved = build_cathode(lattice, VIEW, change, np.random.default_rng(0))
    uv = lattice.frame.to_uv(moved.yx_nm)
    on_fault = (moved.species == TM) & ((uv[:, 0] > 0) == right) & (np.abs(uv[:, 0]) > 2.0) & (np.abs(uv[:, 0]) < 4.0)
    jump = []
    for u in np.unique(np.round(uv[on_fault & (moved.lattice_uv[:, 1] == 0), 0], 4)):
        above = uv[on_fault & (moved.lattice_uv[:, 1] == 2), 0]
        jump.append((above - u)[np.argmin(np.abs(above - u))])
    # No shift across the O1 gap, where the perfect crystal has a third of a period. What is left is the strain of the
    # core between two rows d = 0.4735 nm apart: b d / (2 pi r) (1 + 1 / (2 (1 - nu))) at r = 2 nm, 6.5 % of b.
    assert np.abs(jump).max() < 0.065 * burgers_nm
    assert np.hypot(*dislocation.burgers_nm) == pytest.approx(burgers_nm, abs=2e-4)
    # Fault and core together are the textbook dislocation: they differ by constants above and below the fault.
    whole = replace(dislocation, slips=True)
    rng = np.random.default_rng(2)
    for side in (1.0, -1.0):
        row = side * rng.uniform(2.0, 8.0, 40) + fault.row
        u = rng.uniform(-3.0, 3.0, 40)
        points = np.stack([u, row * lattice.row_nm], axis=1)
        slipped, _ = slip_displacement((fault,), u, row, lattice.row_nm, step)
        sum_of_both = dislocation.displacement(points, 5.0) + np.stack([slipped, 0.0 * slipped], axis=1)
        # 1e-3 nm: the other end of the fault is 370 nm away and still turns the field by 6 nm / 370 nm / 2 pi of b.
        assert np.ptp(sum_of_both - whole.displacement(points, 5.0), axis=0).max() < 1e-3
    gaps = moved.species == INTERLAYER
    faulted = gaps & (moved.phase == Phase.O1)
    assert np.all(moved.lattice_uv[faulted, 1] == 1)
    assert np.all((uv[faulted, 0] > -0.3) if right else (uv[faulted, 0] < 0.3))


def test_an_edge_dislocation_strains_as_elasticity_says():
    # Hydrostatic strain of an edge dislocation: -b (1 - 2 nu) sin(theta) / (2 pi (1 - nu) r) (Hirth and Lothe:
    # compression on the side of the extra half plane). Divergence by central differences, independent of the formula.
    nu, b = 0.3, 0.25
    dislocation = Dislocation((0.0, 0.0), (b, 0.0), nu)
    rng = np.random.default_rng(1)
    points = rng.uniform(0.7, 3.0, (50, 2)) * rng.choice([-1.0, 1.0], (50, 2))
    h = 1e-4
    divergence = sum(
        (dislocation.displacement(points + h * e, 5.0) - dislocation.displacement(points - h * e, 5.0))[:, k] / (2 * h)
        for k, e in enumerate(np.eye(2))
    )
    expected = -b * (1 - 2 * nu) / (2 * np.pi * (1 - nu)) * points[:, 1] / (points**2).sum(axis=1)
    # Second-order differences over 2e-4 nm: relative error far below 1e-5.
    assert divergence == pytest.approx(expected, rel=1e-5)


def test_the_displacement_jumps_by_the_burgers_vector():
    burgers = np.array([0.083, -0.473])
    dislocation = Dislocation((0.3, 0.2), tuple(burgers), 0.28)
    along = burgers / np.linalg.norm(burgers)
    # The cut runs from the core against the Burgers vector; 1e-6 nm to its two sides.
    sides = np.array([0.3, 0.2]) - along + 1e-6 * np.outer([1.0, -1.0], [-along[1], along[0]])
    above, below = dislocation.displacement(sides, 5.0)
    assert above - below == pytest.approx(burgers, abs=1e-5)


def test_of_two_columns_in_a_core_that_meet_one_stays():
    points = np.array([[0.0, 0.0], [0.0, 0.05], [0.0, 0.3], [0.0, 0.02]])
    assert apart(points, np.array([True, True, True, False])).tolist() == [True, False, True, True]


def test_the_glide_cut_cannot_be_seen(lattice):
    step = (lattice.period_nm / 3.0, 2 * lattice.row_nm)
    change = Reconstruction(defects=Defects(dislocations=(Dislocation((0.0, 0.0), step, 0.3),)))
    sites = build_cathode(lattice, VIEW, change, np.random.default_rng(0))
    uv = metal_uv(lattice, sites)
    inner = np.all(np.abs(sites.yx_nm[sites.species == TM]) < 3.5, axis=1) & (np.hypot(*uv.T) > 1.2)
    nearest = cKDTree(uv).query(uv[inner], k=2)[0][:, 1]
    # Beyond 1.2 nm the strain is below b / (2 pi r (1 - nu)) = 9 %; a cut that did not close would show gaps or
    # overlaps of up to a whole step. The core at the origin of the lattice puts columns on the cut itself.
    assert np.abs(nearest / lattice.period_nm - 1.0).max() < 0.09


def test_core_columns_are_not_required_and_none_overlap(plain_config):
    config = plain_config(
        defects={"p_dislocations": 1.0, "dislocation_kinds": ("plane",), "dislocation_number": (1, 1)}
    )
    for seed in range(6):
        rng = np.random.default_rng(seed)
        structure = draw_structure(config, VIEW, rng)
        (dislocation,) = structure.defects.dislocations
        uv = structure.lattices[0].frame.to_uv(structure.sites.yx_nm)
        metal = structure.sites.species == TM
        distance = np.hypot(*(uv - np.array(dislocation.at_nm)).T)
        assert not structure.sites.judged[metal & (distance < 0.299)].any()
        assert structure.sites.judged[metal & (distance > 0.301)].all()
        assert cKDTree(uv[metal]).query(uv[metal], k=2)[0][:, 1].min() > 0.11
        scene = simulate(config, np.random.default_rng(seed))
        assert "dislocations" in scene.parameters["defects"]


def test_cores_are_left_out_of_the_required_columns(plain_config):
    config = plain_config(
        defects={
            "p_dislocations": 1.0,
            "dislocation_kinds": ("plane",),
            "dislocation_number": (1, 1),
            "core_radius_nm": 1.0,
        }
    )
    table = simulate(config, np.random.default_rng(2)).columns.table
    bright = table[(table["species"] == "TM") & table["y_px"].between(20, 235) & table["x_px"].between(20, 235)]
    # A disc of 1 nm holds pi / (0.2487 * 0.4735) = 27 metal columns; the border of 0.4 nm is left out above.
    assert 18 <= (bright["required"] == 0).sum() <= 33


@pytest.mark.parametrize("direction", [0.0, 40.0, 90.0])
def test_bent_rows_are_circles_of_the_right_radius(direction):
    degrees = 2.0
    curvature = np.deg2rad(degrees) / 10.0
    bend = Bend(curvature, direction)
    angle = np.deg2rad(direction)
    s = np.linspace(-4, 4, 81)
    line = s[:, None] * np.array([np.sin(angle), np.cos(angle)])
    points = line + bend.displacement(line)
    fit = least_squares(
        lambda p: np.hypot(*(points - p[:2]).T) - p[2], [*(50 * np.array([np.cos(angle), -np.sin(angle)])), 50.0]
    )
    assert abs(fit.x[2]) == pytest.approx(1 / curvature, rel=1e-4)
    # Two degrees in ten nanometres: the ends of 8 nm of row differ by 1.6 degrees in direction.
    turn = np.diff(np.unwrap(np.arctan2(*np.diff(points, axis=0)[[0, -1]].T)))[0]
    assert abs(np.rad2deg(turn)) == pytest.approx(degrees * (8.0 - 0.1) / 10.0, rel=1e-6)
    assert np.hypot(*np.diff(points, axis=0).T).sum() == pytest.approx(8.0, rel=1e-4)  # the middle row keeps its length


def test_bending_never_strains_beyond_its_limit(plain_config):
    config = plain_config(defects={"p_bending": 1.0, "bending_deg_per_10nm": fixed(2.0)})
    for size in (8.0, 40.0):
        view = View((size, size))
        structure = draw_structure(config, view, np.random.default_rng(0))
        bend = structure.defects.bend
        assert abs(bend.curvature_per_nm) * view.radius_nm < 0.02 + 1e-9
    small = draw_structure(config, View((3.0, 3.0)), np.random.default_rng(0)).defects.bend
    assert abs(np.rad2deg(small.curvature_per_nm)) * 10 == pytest.approx(2.0)


def test_vacancies_are_counted(plain_config):
    config = plain_config(
        defects={"p_vacancies": 1.0, "vacancies": fixed(0.08)},
        foil={"thickness_nm": fixed(11.488), "edge_thickness_nm": fixed(11.488)},
    )
    sites = draw_structure(config, View((20.0, 20.0)), np.random.default_rng(0)).sites
    metal = sites.species == TM
    atoms = 40  # 11.488 nm / 0.2872 nm
    vacant = (1.0 - sites.occupancy[metal]) * atoms
    assert np.allclose(vacant, np.round(vacant), atol=1e-9)
    # Binomial: the mean of n columns of 40 sites has standard error sqrt(0.08 * 0.92 / 40 n); five of them.
    error = 5 * np.sqrt(0.08 * 0.92 / atoms / metal.sum())
    assert vacant.mean() / atoms == pytest.approx(0.08, abs=error)
    assert vacant.var() / atoms == pytest.approx(0.08 * 0.92, rel=0.1)  # 10 %: 5 / sqrt(n / 2) for n = 3400
    assert sites.weight[metal] == pytest.approx(sites.occupancy[metal])


def test_missing_columns_are_missing(plain_config):
    full = draw_structure(plain_config(), View((20.0, 20.0)), np.random.default_rng(0)).sites
    config = plain_config(defects={"p_missing": 1.0, "missing": fixed(0.04)})
    sites = draw_structure(config, View((20.0, 20.0)), np.random.default_rng(0)).sites
    before, after = (full.species == TM).sum(), (sites.species == TM).sum()
    # Five standard deviations of a binomial of 3500 columns.
    assert 1 - after / before == pytest.approx(0.04, abs=5 * np.sqrt(0.04 * 0.96 / before))


def test_tetrahedral_metal_stands_a_third_of_a_period_beside_its_site(plain_config):
    config = plain_config(
        defects={"p_tetrahedral": 1.0, "tetrahedral": fixed(0.3)},
        surface={"p_none": 0.0, "p_edge": 1.0},
        layer={
            "p_layer": 1.0,
            "thickness_nm": fixed(1.5),
            "p_mixed": 1.0,
            "mixed_occupancy": fixed(0.4),
            "mixed_decay_nm": fixed(3.0),
        },
    )
    structure = draw_structure(config, VIEW, np.random.default_rng(0))
    sites, lattice = structure.sites, structure.lattices[0]
    beside, octahedral = sites.take(sites.species == ATOM), sites.take(sites.species == INTERLAYER)
    assert len(beside) > 50
    distance, parent = cKDTree(octahedral.lattice_uv * [1.0, 100.0]).query(beside.lattice_uv * [1.0, 100.0])
    assert distance.max() < 1e-9
    offset = lattice.frame.to_uv(beside.yx_nm) - lattice.frame.to_uv(octahedral.yx_nm[parent])
    assert np.abs(offset[:, 0]) == pytest.approx(0.2487 / 3, abs=1e-3)
    assert np.abs(offset[:, 1]) == pytest.approx(0.05, abs=0.005)  # Ahmed et al. 2020: about 0.05 nm
    # Between two oxygen columns of its tetrahedron and away from all metal: no metal column nearer than 0.16 nm.
    metal = sites.yx_nm[sites.species == TM]
    assert cKDTree(metal).query(beside.yx_nm)[0].min() > 0.16
    # In the middle of its tetrahedron: the next oxygen columns are those of its base, 0.11 nm away; on the wrong side
    # of the layer it would be 0.08 nm from its apex.
    assert cKDTree(sites.yx_nm[sites.species == OXYGEN]).query(beside.yx_nm)[0].min() > 0.1
    share = beside.occupancy.sum() / (beside.occupancy.sum() + octahedral.occupancy[parent].sum())
    assert share == pytest.approx(0.3, abs=0.05)  # columns without a tetrahedral atom are not in this sum
    assert np.all(beside.mean_occupancy < 0.8)


@pytest.mark.parametrize(("fraction", "phase"), [(0.3, Phase.LAYERED), (0.8, Phase.ROCKSALT)])
def test_rocksalt_over_layered_crystal_mixes_linearly(plain_config, fraction, phase):
    config = plain_config(defects={"p_overlap": 1.0, "overlap": fixed(fraction)}, lattice={"antisite": fixed(0.05)})
    structure = draw_structure(config, VIEW, np.random.default_rng(0))
    gap = structure.sites.take(structure.sites.species == INTERLAYER)
    # Thicknesses add up along the beam: f + (1 - f) (x + (1 - x) Li / Ni), with Li / Ni = (3 / 28) ** 1.7.
    x, lithium = 0.05, (3 / 28) ** 1.7
    expected = fraction + (1 - fraction) * (x + (1 - x) * lithium)
    assert gap.weight.mean() == pytest.approx(expected, rel=0.01)  # 500 columns of 42 atoms
    assert gap.mean_occupancy == pytest.approx(fraction + (1 - fraction) * x)
    assert np.all(gap.phase == phase)


def test_h13_bands_alternate(plain_config):
    config = plain_config(faults={"p_hybrid": 1.0, "hybrid_gaps": (4, 4), "occupancy": fixed(0.1)})
    structure = draw_structure(config, VIEW, np.random.default_rng(1))
    rows = sorted(fault.row for fault in structure.faults)
    assert np.all(np.diff(rows) == 4)
    sites, lattice = structure.sites, structure.lattices[0]
    u = lattice.frame.to_uv(sites.yx_nm)[:, 0]
    offset = {}
    for row in range(rows[0] - 3, rows[-1] + 4, 2):
        members = (sites.species == TM) & (sites.lattice_uv[:, 1] == row)
        if members.any():
            offset[row] = float(np.angle(np.exp(2j * np.pi * u[members] / lattice.period_nm).mean()) / (2 * np.pi))
    shifts = {row: (offset[row + 2] - offset[row] + 0.5) % 1.0 - 0.5 for row in offset if row + 2 in offset}
    for row, shift in shifts.items():
        # 2e-3: the dislocations that end the band are 50 view radii away.
        assert shift == pytest.approx(0.0 if row + 1 in rows else lattice.sense / 3, abs=2e-3)


def test_another_crystal_has_dislocations_of_its_lattice():
    square = PlanarLattice(np.array([[0.0, 0.3905], [0.3905, 0.0]]), np.zeros((1, 2)), np.ones(1), "square")
    dislocation = Dislocation((0.1, -0.2), (0.0, 0.3905), 0.3)
    sites = build_planar(square, VIEW, Defects(dislocations=(dislocation,)), np.random.default_rng(0))
    gap = closure(sites.yx_nm, np.array([0.1, -0.2]), *np.array([[0.0, 0.3905], [0.3905, 0.0]]))
    assert np.abs(gap) == pytest.approx([0.0, 0.3905], abs=0.03)
    assert 0 < (~sites.judged).sum() < 6


def test_without_defects_no_random_number_is_taken(plain_config):
    rng = np.random.default_rng(5)
    before = rng.bit_generator.state
    assert draw_defects(plain_config().defects, VIEW, rng, layered=True) == Defects()
    assert rng.bit_generator.state == before


def test_faults_stay_beside_dislocations_and_are_still_straight(plain_config):
    """Both at once, as at a rebuilt crack: whatever the dislocations do to the lattice, an O1 site has metal columns on
    a straight line above and below it, and a layered one has not."""
    config = plain_config(
        faults={"p_bulk": 1.0, "density_per_nm": fixed(0.3), "p_through": 1.0, "occupancy": fixed(0.3)},
        defects={"p_dislocations": 1.0, "dislocation_kinds": ("plane",), "dislocation_number": (1, 1)},
    )
    seen = 0
    for seed in range(6):
        scene = simulate(config, np.random.default_rng(seed))
        table = scene.columns.table
        between = table[table["species"].isin(["mixed", "Li"]) & (table["required"] == 1)]
        metal = table.loc[table["species"] == "TM", ["y_nm", "x_nm"]].to_numpy()
        site = between[["y_nm", "x_nm"]].to_numpy()
        # Of the metal columns around a site in an O1 gap the two nearest are its own: 0.24 nm above and below.
        distance, index = cKDTree(metal).query(site, k=2)
        near = distance[:, 1] < 0.28
        off = np.hypot(*(metal[index].mean(axis=1) - site)[near].T)
        faulted = (between["phase"] == "O1").to_numpy()[near]
        seen += faulted.sum()
        # 60 pm: half of what a shift of a third moves the middle of the two; the ends of faults are blended.
        assert (off[faulted] < 0.06).mean() > 0.9
    assert seen > 100


@pytest.mark.parametrize("antisite", [0.2, 0.45])
def test_below_a_surface_overlap_and_mixing_leave_the_crystal_layered(plain_config, antisite):
    config = plain_config(
        defects={"p_overlap": 1.0, "overlap": fixed(0.95)},
        lattice={"antisite": fixed(antisite)},
        surface={"p_none": 0.0, "p_edge": 1.0},
    )
    scene = simulate(config, np.random.default_rng(2))
    # Thickness says that there is no layer, so the phase map must not be all rocksalt.
    assert scene.reconstruction.summary.mean_nm == pytest.approx(0.0, abs=1e-6)
    assert (scene.phases.labels == Phase.ROCKSALT).sum() == 0
