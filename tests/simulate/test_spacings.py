"""Spacings of O1 gaps and of rocksalt, and cations that changed places."""

from dataclasses import replace

import numpy as np
import pytest

from atomseg.simulate import simulate
from atomseg.simulate.cathode import Reconstruction, build_cathode, draw_lattice
from atomseg.simulate.faults import Fault, draw_faults
from atomseg.simulate.layer import Layer
from atomseg.simulate.specimen import OXYGEN, TM, View
from atomseg.simulate.surface import Face, Outline
from atomseg.types import Phase

VIEW = View((6.0, 6.0))
FAR = (-500.0, 500.0)
ROW_NM = 1.4205 / 6


def fixed(value):
    return (value, value)


@pytest.fixture
def lattice(plain_config):
    return draw_lattice(
        plain_config(lattice={"rotation_deg": fixed(20.0)}).lattice, VIEW, np.random.default_rng(3), twin=False
    )


def heights(lattice, sites):
    """Height of each cation row, nm, by row index."""
    v = (sites.yx_nm @ lattice.rotation.T)[:, 1]
    row = sites.lattice_uv[:, 1].astype(int)
    cation = sites.species != OXYGEN
    assert max(np.ptp(v[cation & (row == k)]) for k in np.unique(row[cation])) < 2e-3
    return {int(k): float(v[cation & (row == k)].mean()) for k in np.unique(row[cation])}


@pytest.mark.parametrize("spacing_nm", [0.430, 0.436, 0.485])
def test_o1_gaps_have_their_own_spacing_and_the_rest_keeps_its(lattice, spacing_nm):
    extra = spacing_nm - 2 * ROW_NM
    faults = tuple(Fault(row=k, u_nm=FAR, slip=-1, occupancy=0.0, extra_nm=extra) for k in (-3, 3, 5))
    at = heights(lattice, build_cathode(lattice, VIEW, Reconstruction(faults=faults), np.random.default_rng(0)))
    # 1e-3 nm: the gaps end 500 nm away; each still turns the others by 3 nm / 500 nm / pi of 0.04 nm.
    for k in range(-8, 8, 2):
        assert at[k + 2] - at[k] == pytest.approx(spacing_nm if k in (-4, 2, 4) else 2 * ROW_NM, abs=1e-3)
        assert at[k + 1] - at[k] == pytest.approx(0.5 * (at[k + 2] - at[k]), abs=1e-3)  # interlayer in the middle


def test_no_part_of_the_view_is_left_empty(lattice):
    extra = 0.400 - 2 * ROW_NM
    narrow = [Fault(row=k, u_nm=FAR, slip=-1, occupancy=0.0, extra_nm=extra) for k in range(-15, 17, 2)]
    thick = reconstructed(lattice, 0.420, thickness_nm=100.0)  # moved by 2 nm
    corners = np.array([[y, x] for y in (-3.2, 3.2) for x in (-3.2, 3.2)])
    for change in (Reconstruction(), Reconstruction(faults=tuple(narrow)), thick):
        sites = build_cathode(lattice, VIEW, change, np.random.default_rng(0))
        distance = np.linalg.norm(sites.yx_nm[:, None] - corners, axis=2).min(axis=0)
        assert distance.max() < 0.3


def test_a_lamella_of_its_own_spacing_ends_without_a_far_field(lattice):
    short = Fault(row=1, u_nm=(-0.3, 0.3), slip=-1, occupancy=0.0, extra_nm=-0.04)
    sites = build_cathode(lattice, VIEW, Reconstruction(faults=(short,)), np.random.default_rng(0))
    v = (sites.yx_nm @ lattice.rotation.T)[:, 1]
    moved = v - sites.lattice_uv[:, 1] * ROW_NM - lattice.origin_nm[1]
    far = (sites.species != OXYGEN) & (np.hypot(*sites.yx_nm.T) > 2.5)
    # 0.04 nm over a length of 0.6 nm, seen from 2.5 nm: 0.04 * 0.6 / 2.5 / (2 pi).
    assert np.abs(moved[far]).max() < 2e-3
    assert np.abs(moved[sites.species != OXYGEN]).max() > 0.01


def test_spacings_are_drawn_from_their_range_once_a_scene(plain_config, lattice):
    config = plain_config(faults={"p_bulk": 1.0, "density_per_nm": fixed(0.5), "p_spacing": 1.0}).faults
    options = {"outline": Outline(), "layers": ()}
    spacings = []
    for seed in range(30):
        faults = draw_faults(config, VIEW, lattice.frame, rng=np.random.default_rng(seed), **options)
        assert len({fault.extra_nm for fault in faults}) <= 1
        spacings += [fault.extra_nm + 2 * ROW_NM for fault in faults[:1]]
        # The same faults without it: nothing else is drawn differently.
        plain = draw_faults(
            replace(config, p_spacing=0.0), VIEW, lattice.frame, rng=np.random.default_rng(seed), **options
        )
        assert [replace(fault, extra_nm=0.0) for fault in faults] == list(plain)
    assert min(spacings) > 0.430
    assert max(spacings) < 0.485
    assert np.ptp(spacings) > 0.03


def reconstructed(lattice, a_nm, facet_deg=0.0, thickness_nm=3.0):
    """A face 2.5 nm from the centre and a layer below it, on a normal at an angle to the direction across the rows."""
    turn = np.deg2rad(facet_deg)
    normal = np.array([np.sin(turn), np.cos(turn)]) @ lattice.rotation
    face = Face((float(normal[0]), float(normal[1])), -2.5, np.zeros(401), facet_deg)
    layer = Layer(np.full(401, thickness_nm), 1.0, 0.02, 0.0, 1.0, a_nm)
    return Reconstruction(Outline((face,)), (layer,))


@pytest.mark.parametrize("a_nm", [0.410, 0.4177, 0.420])
def test_rocksalt_on_a_basal_face_has_its_own_rows(lattice, a_nm):
    change = reconstructed(lattice, a_nm)
    sites = build_cathode(lattice, VIEW, change, np.random.default_rng(0))
    at = heights(lattice, sites)
    rows = np.array(sorted(at))
    spacing = np.diff([at[k] for k in rows])
    middle = 0.5 * np.array([at[k] + at[k + 1] for k in rows[:-1]])
    # The front is 3 nm below the face, which lies 2.5 nm below the centre: at 0.5 nm along the normal.
    assert spacing[middle < 0.3] == pytest.approx(a_nm / np.sqrt(3), abs=1e-4)  # d111; twice it is 0.482 nm for NiO
    assert spacing[middle > 0.7] == pytest.approx(ROW_NM, abs=1e-4)
    assert min(at.values()) < -3.0  # crystal beyond the face too, to be cut there
    period = np.diff(np.sort((sites.yx_nm @ lattice.rotation.T)[(sites.lattice_uv[:, 1] == -6), 0]))
    assert period[period > 0.2] == pytest.approx(lattice.period_nm, abs=1e-6)  # coherent


def test_rocksalt_on_an_upright_face_has_its_own_period(lattice):
    sites = build_cathode(lattice, VIEW, reconstructed(lattice, 0.4177, facet_deg=90.0), np.random.default_rng(0))
    u = np.sort((sites.yx_nm @ lattice.rotation.T)[(sites.lattice_uv[:, 1] == 0) & (sites.species == TM), 0])
    inside, layer = (np.diff(u[(u > low) & (u < high)]) for low, high in ((0.7, 3.0), (-2.5, 0.3)))
    assert inside == pytest.approx(lattice.period_nm, abs=1e-6)
    assert layer == pytest.approx(0.2558, abs=1e-4)


def test_a_layer_with_its_own_lattice_has_the_thickness_of_its_geometry(plain_config):
    parts = {
        "surface": {"p_none": 0.0, "p_edge": 1.0, "facet_deg": fixed(0.0)},
        "layer": {"p_layer": 1.0, "thickness_nm": fixed(3.0), "front_width_nm": fixed(0.05), "occupancy": fixed(1.0)},
    }
    own = {**parts["layer"], "p_rocksalt_lattice": 1.0, "rocksalt_a_nm": fixed(0.4177)}
    scenes = [
        simulate(plain_config(**parts | {"layer": layer}), np.random.default_rng(5)) for layer in (parts["layer"], own)
    ]
    assert scenes[1].reconstruction.summary.mean_nm == pytest.approx(3.0, abs=0.02)
    full = [s.columns.table.query("species == 'mixed'") for s in scenes]
    # Rows 2 % further apart in 3 nm of layer: what stood in the outermost quarter row may have been cut.
    assert 0.9 < len(full[1]) / len(full[0]) <= 1.0


def test_exchange_and_excess_have_the_ratios_of_their_atoms(plain_config):
    # x I_Ni + (1 - x) I_Li over (1 - x) I_TM + x I_Li with I_Li / I_TM = 0.0225 (Z^1.7): 0.36 at 0.25, 1 at 0.5, where
    # both have half the signal of a full column.
    for x, ratio, metal in ((0.1, 0.134, 0.902), (0.25, 0.354, 0.756), (0.5, 1.0, 0.511)):
        lattice = {"antisite": fixed(x), "p_exchange": 1.0, "exchange": fixed(1.0)}
        tables = []
        for part in (lattice, {"antisite": fixed(x)}):
            table = simulate(plain_config(lattice=part), np.random.default_rng(16), truth="columns").columns.table
            gap = table.species.isin(["Li", "mixed"])
            tables.append((table.amplitude[gap].mean(), table.amplitude[table.species == "TM"].mean(), table))
        # 3 %: binomial atoms and their depth scatter, in 250 columns of 42 atoms.
        assert tables[0][0] / tables[0][1] == pytest.approx(ratio, rel=0.04)
        assert tables[0][1] / tables[1][1] == pytest.approx(metal, rel=0.02)
        truth = tables[0][2].occupancy[tables[0][2].species == "TM"]
        assert truth.mean() == pytest.approx(1.0 - x, abs=0.02)
        atoms = round(12.0 / 0.2872)
        assert np.allclose(truth * atoms, np.round(truth * atoms))
        assert truth.std() == pytest.approx(np.sqrt(x * (1 - x) / atoms), rel=0.2)


def test_rocksalt_holds_no_lithium_on_its_metal_sites(plain_config):
    config = plain_config(
        lattice={"antisite": fixed(0.2), "p_exchange": 1.0, "exchange": fixed(1.0)},
        surface={"p_none": 0.0, "p_edge": 1.0, "facet_deg": fixed(0.0)},
        layer={"p_layer": 1.0, "thickness_nm": fixed(2.0), "front_width_nm": fixed(0.05), "occupancy": fixed(1.0)},
    )
    table = simulate(config, np.random.default_rng(5), truth="columns").columns.table
    metal = table[table.species == "TM"]
    assert metal.occupancy[metal.phase == Phase.ROCKSALT.label].median() == 1.0
    assert metal.occupancy[metal.phase == Phase.LAYERED.label].mean() == pytest.approx(0.8, abs=0.02)


def test_ranges_that_are_off_change_nothing(plain_config):
    base = plain_config(
        surface={"p_none": 0.0, "p_edge": 1.0},
        layer={"p_layer": 1.0, "p_patchy": 1.0},
        faults={"p_bulk": 1.0},
        lattice={"antisite": fixed(0.1)},
    )
    moved = replace(
        base,
        lattice=replace(base.lattice, exchange=fixed(0.5)),
        layer=replace(base.layer, rocksalt_a_nm=fixed(0.411)),
        faults=replace(base.faults, spacing_nm=fixed(0.44)),
    )
    images = [simulate(c, np.random.default_rng(8), truth="columns").micrograph.image for c in (base, moved)]
    assert np.array_equal(*images)


def test_interlayer_of_a_narrow_gap_lies_in_its_middle_in_the_gap_table(plain_config):
    faults = {"p_bulk": 1.0, "p_through": 1.0, "density_per_nm": fixed(0.3), "p_lamella": 0.0}
    config = plain_config(faults=faults | {"p_spacing": 1.0, "spacing_nm": fixed(0.436)}, shape=(400, 400))
    scene = simulate(config, np.random.default_rng(6))
    table, faults = scene.reconstruction.faults, scene.parameters["faults"]
    assert len(table) > 0
    assert faults[0]["extra_nm"] == pytest.approx(0.436 - 2 * ROW_NM)
    gaps = scene.phases.gaps
    o1 = gaps[gaps.phase == int(Phase.O1)]
    # The table of faults has the middle of each: on its row of interlayer sites.
    for fault in table.itertuples():
        rows = o1[o1.row_lower == fault.row_lower]
        at = np.stack([rows.y_nm, rows.x_nm], axis=1) / 0.02
        away = at - np.array([fault.y_px, fault.x_px])
        direction = at[-1] - at[0]
        across = np.abs(away @ np.array([-direction[1], direction[0]])) / np.linalg.norm(direction)
        assert across.max() * 20.0 < 1.0  # pm
