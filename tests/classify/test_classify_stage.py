"""The classifier on ideal lattices of known phases: what holds whatever the rotation, stacking sense or distortion."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from atomseg.classify import ClassifyConfig, classify, contrast_check
from atomseg.classify.regions import edge_in_view
from atomseg.types import Phase, PhaseMap, Verdict

CONFIG = ClassifyConfig()


def share(phases: PhaseMap, phase: Phase) -> float:
    return phases.fractions().get(phase.key, 0.0)


def verdict(phases: PhaseMap, name: str) -> Verdict:
    return {check.name: check.verdict for check in phases.checks}[name]


@pytest.mark.parametrize("rotation", [0.0, 13.0, 45.0, 71.5, 90.0, 121.0, 180.0, 250.0])
@pytest.mark.parametrize("sense", [1, -1])
def test_bulk_is_layered_at_any_rotation_and_in_either_stacking_sense(maker, rotation, sense):
    phases = classify(*maker.build(maker.Lattice(rotation_deg=rotation, sense=sense)), CONFIG)
    # Every pixel of a perfect bulk crystal is layered; 1 % is left to the corners of the image.
    assert share(phases, Phase.LAYERED) > 0.99
    assert (phases.labels == Phase.NONE).mean() < 0.01


@pytest.mark.parametrize("sense", [1, -1])
def test_shift_sign_follows_the_stacking_sense(maker, sense):
    phases = classify(*maker.build(maker.Lattice(sense=sense)), CONFIG)
    shift = phases.gaps["shift"].median()
    # A third within the 4 pm jitter averaged over hundreds of gaps; the image's y axis points down, so the sign is
    # opposite between the senses, which is all that an image can tell.
    assert abs(abs(shift) - 1 / 3) < 0.01
    other = classify(*maker.build(maker.Lattice(sense=-sense)), CONFIG).gaps["shift"].median()
    assert np.sign(shift) == -np.sign(other)


def test_mirror_flips_the_sign_of_the_stacking_and_nothing_else(maker):
    micrograph, columns = maker.build(maker.Lattice(rotation_deg=20, o1_gaps=frozenset({1, 2})))
    straight = classify(micrograph, columns, CONFIG)
    width = micrograph.shape[1]
    table = columns.table.assign(x_px=width - 1 - columns.table["x_px"])
    table["x_nm"] = table["x_px"] * micrograph.calibration.pixel_size_nm[1]
    mirrored = classify(
        type(micrograph)(np.ascontiguousarray(micrograph.image[:, ::-1]), micrograph.calibration),
        type(columns)(table),
        CONFIG,
    )
    # Pixels on a phase boundary may fall to either side when it is rasterised from the other end.
    assert (straight.labels == mirrored.labels[:, ::-1]).mean() > 0.99
    assert np.sign(straight.gaps["shift"].median()) == -np.sign(mirrored.gaps["shift"].median())


def test_transposed_image_has_the_same_phases(maker):
    micrograph, columns = maker.build(maker.Lattice(rotation_deg=33, o1_gaps=frozenset({0})))
    straight = classify(micrograph, columns, CONFIG)
    table = columns.table.rename(columns={"y_px": "x_px", "x_px": "y_px", "y_nm": "x_nm", "x_nm": "y_nm"})
    turned = classify(
        type(micrograph)(np.ascontiguousarray(micrograph.image.T), micrograph.calibration), type(columns)(table), CONFIG
    )
    assert (straight.labels == turned.labels.T).mean() > 0.99


@pytest.mark.parametrize("shear", [-0.02, 0.02])
def test_two_percent_shear_changes_no_label(maker, shear):
    phases = classify(*maker.build(maker.Lattice(shear=shear, o1_gaps=frozenset({0, 1}))), CONFIG)
    reference = classify(*maker.build(maker.Lattice(o1_gaps=frozenset({0, 1}))), CONFIG)
    # The sheared lattice moves columns by up to 0.08 nm at the rim of the field, hence pixels at the strip's edge.
    assert (phases.labels == reference.labels).mean() > 0.97
    assert abs(share(phases, Phase.O1) - share(reference, Phase.O1)) < 0.01


@pytest.mark.parametrize("rotation", [0, 25, 80])
def test_drift_that_speeds_up_changes_no_label(maker, rotation):
    """Quadratic drift shears the last lines of a scan by 8 %: that alone moves a shift by 0.15 of the period."""
    micrograph, columns = maker.build(maker.Lattice(rotation_deg=rotation, occupancy=lambda y, x: np.full_like(y, 0.3)))
    y_nm = columns.table["y_nm"]
    moved = columns.table["x_nm"] + 0.08 / 2 * (y_nm - 4.0) ** 2 / 4.0
    table = columns.table.assign(x_nm=moved, x_px=moved / micrograph.calibration.pixel_size_nm[1])
    image = map_coordinates(
        micrograph.image,
        np.stack(_undrifted(micrograph.shape, micrograph.calibration.pixel_size_nm[0])),
        order=1,
        mode="nearest",
    )
    drifted = type(micrograph)(image.astype(np.float32), micrograph.calibration)
    phases = classify(drifted, type(columns)(table), CONFIG)
    # A shift of 1/3 is 9 of its errors (4 pm a column) from 1/6: gaps at the rim of the field lack half their columns.
    assert share(phases, Phase.LAYERED) > 0.99


def _undrifted(shape, pixel_nm):
    """Where each pixel of the drifted image lies in the undrifted one."""
    row, col = np.mgrid[: shape[0], : shape[1]].astype(float)
    return row, col - 0.08 / 2 * (row * pixel_nm - 4.0) ** 2 / 4.0 / pixel_nm


def test_jitter_of_ordinary_scans_does_not_stop_the_judgement(maker):
    micrograph, columns = maker.build(maker.Lattice(rotation_deg=25, jitter_nm=0.012))
    table = columns.table.assign(sigma_y_pm=12.0, sigma_x_pm=12.0)
    phases = classify(micrograph, type(columns)(table), CONFIG)
    # A shift of 1/3 is 4.9 of its errors (12 pm a column) from an O1 gap: next to none is taken for one.
    assert share(phases, Phase.LAYERED) > 0.99


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_gain_and_offset_change_nothing(maker, factor):
    micrograph, columns = maker.build(maker.Lattice(occupancy=lambda y, x: np.where(x < 3, 1.0, 0.03)))
    table = columns.table.assign(amplitude=columns.table["amplitude"] * factor)
    scaled = type(micrograph)((micrograph.image * factor + 40).astype(np.float32), micrograph.calibration)
    a, b = classify(micrograph, columns, CONFIG), classify(scaled, type(columns)(table), CONFIG)
    assert (a.labels == b.labels).mean() > 0.999


def test_rocksalt_boundary_is_where_the_occupancy_crosses_one_half(maker):
    # Interlayer columns full left of x = 3 nm, empty right of it.
    phases = classify(*maker.build(maker.Lattice(occupancy=lambda y, x: np.where(x < 3.0, 1.0, 0.03))), CONFIG)
    pixel = 0.02
    boundary = (phases.labels == Phase.ROCKSALT).sum(axis=1) * pixel
    # Sites are 0.25 nm apart along a row: the true boundary is known to half of that.
    assert abs(np.median(boundary) - 3.0) < 0.13
    assert share(phases, Phase.O1) == 0.0


@pytest.mark.parametrize("rotation", [0.0, 37.0])
def test_all_bright_crystal_without_layers_in_view_is_unresolved(maker, rotation):
    # Rocksalt, or layered oxide down [-4 -2 1]: 2.4 % in size and nothing else tells them apart.
    for period, layer in ((0.2558, 0.4823), (0.2497, 0.4712)):
        lattice = maker.Lattice(
            rotation_deg=rotation, period_nm=period, layer_nm=layer, occupancy=lambda y, x: np.ones_like(y)
        )
        phases = classify(*maker.build(lattice), CONFIG)
        assert share(phases, Phase.UNRESOLVED) == 1.0
        assert verdict(phases, "layered_reference") is Verdict.STOP


@pytest.mark.parametrize(("full", "judged"), [(0.92, True), (1.0, False)])
def test_rocksalt_below_a_surface_is_judged_where_its_rows_alternate(maker, full, judged):
    """A layer deeper than the image is all bright down to the border: its lower bound must not be lost, and a crystal
    down [-4 -2 1], whose rows are all alike, must not be taken for it."""
    rng = np.random.default_rng(0)
    lattice = maker.Lattice(
        period_nm=0.2558,
        layer_nm=0.4823,
        occupancy=lambda y, x: full + 0.03 * rng.normal(size=y.shape),
        crystal=lambda y, x: x > 2.0,
    )
    phases = classify(*maker.build(lattice), CONFIG)
    assert (share(phases, Phase.ROCKSALT) > 0.97) == judged
    assert verdict(phases, "layered_reference") is (Verdict.WARN if judged else Verdict.STOP)


def test_a_corner_of_layered_crystal_entitles_to_rocksalt(maker):
    # A strip of 2 nm of 8: a quarter of the gaps, where 2 % are asked for.
    lattice = maker.Lattice(occupancy=lambda y, x: np.where(x < 2.0, 0.03, 1.0))
    phases = classify(*maker.build(lattice), CONFIG)
    assert share(phases, Phase.ROCKSALT) > 0.65
    assert verdict(phases, "layered_reference") is Verdict.OK


@pytest.mark.parametrize("gaps", [{0}, {0, 1, 2}])
def test_o1_strip_has_the_height_of_its_gaps(maker, gaps):
    lattice = maker.Lattice(rotation_deg=0, o1_gaps=frozenset(gaps))
    phases = classify(*maker.build(lattice), CONFIG)
    height = (phases.labels == Phase.O1).sum(axis=0) * lattice.pixel_nm
    # The strip spans whole gaps; columns jitter by 4 pm and a pixel is 20 pm.
    assert abs(np.median(height) - len(gaps) * lattice.layer_nm) < 0.04


def test_o1_crystal_alone(maker):
    everything = frozenset(range(-60, 60))
    phases = classify(*maker.build(maker.Lattice(period_nm=0.2438, layer_nm=0.436, o1_gaps=everything)), CONFIG)
    # A gap of which only one TM row is in view can not be called O1: up to one gap of the 8 nm, 5.5 %.
    assert share(phases, Phase.O1) > 0.94


@pytest.mark.parametrize(("period", "layer"), [(0.245, 0.482), (0.244, 0.448), (0.2487, 0.4735)])
def test_states_of_charge_are_all_layered(maker, period, layer):
    # Charged (c maximum), deeply charged (H3) and discharged NMC-811.
    phases = classify(*maker.build(maker.Lattice(period_nm=period, layer_nm=layer)), CONFIG)
    assert share(phases, Phase.LAYERED) > 0.99


def test_moderate_mixing_stays_layered(maker):
    phases = classify(*maker.build(maker.Lattice(occupancy=lambda y, x: np.full_like(y, 0.25))), CONFIG)
    assert share(phases, Phase.LAYERED) > 0.99
    # Occupancy equals the brightness ratio that was drawn, to the photometric error.
    assert abs(np.nanmedian(phases.occupancy) - 0.25) < 0.03


def test_two_grains_have_two_frames(maker):
    rng = np.random.default_rng(3)
    left, right = (maker.Lattice(rotation_deg=r, size_nm=12.0) for r in (10.0, 55.0))
    parts = []
    for lattice, keep in ((left, lambda x: x < 5.9), (right, lambda x: x > 6.1)):
        yx, is_tm = maker.cation_sites(lattice)
        mask = keep(yx[:, 1])
        parts.append((yx[mask], np.where(is_tm[mask] == 1, 1.0, 0.03)))
    yx, amplitude = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    phases = classify(*maker.finish(yx, amplitude, left, rng), CONFIG)
    assert len(phases.frames) == 2
    turn = [np.rad2deg(np.arctan2(f.row_yx_nm[0], f.row_yx_nm[1])) % 180 for f in phases.frames]
    assert abs(abs(turn[0] - turn[1]) - 45.0) < 1.0
    # The boundary itself, a strip of about one layer spacing, may stay unresolved.
    assert share(phases, Phase.LAYERED) > 0.9


def test_layers_in_two_stripe_directions_of_one_zone(maker):
    # The two <111> variants that share the close-packed zone: layers 70.53 degrees apart.
    rng = np.random.default_rng(5)
    variants = [maker.Lattice(rotation_deg=r, size_nm=12.0) for r in (0.0, 70.53)]
    parts = []
    for lattice, side in zip(variants, (-1, 1), strict=True):
        yx, is_tm = maker.cation_sites(lattice)
        mask = side * (yx[:, 1] - 6.0) > 0.1
        parts.append((yx[mask], np.where(is_tm[mask] == 1, 1.0, 0.03)))
    yx, amplitude = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    phases = classify(*maker.finish(yx, amplitude, variants[0], rng), CONFIG)
    assert len(phases.frames) == 2
    assert share(phases, Phase.LAYERED) > 0.9


def lattice_of(basis_nm, motif, size_nm, turn_deg=17.0):
    """Columns of a 2D lattice: basis vectors (2, 2) in (y, x), motif of (fraction, fraction, brightness)."""
    n = int(4 * size_nm / np.min(np.linalg.norm(basis_nm, axis=1)))
    i, j = np.meshgrid(np.arange(-n, n), np.arange(-n, n))
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    yx, amplitude = [], []
    for u, v, bright in motif:
        cell = np.stack([i.ravel() + u, j.ravel() + v], axis=1) @ np.asarray(basis_nm)
        yx.append(cell @ matrix.T + size_nm / 2)
        amplitude.append(np.full(len(cell), bright))
    return np.concatenate(yx), np.concatenate(amplitude)


FOREIGN = {
    "SrTiO3 [001]": ([[0.3905, 0], [0, 0.3905]], [(0, 0, 1.0), (0.5, 0.5, 0.45)]),
    "SrTiO3 [001], both bright": ([[0.3905, 0], [0, 0.3905]], [(0, 0, 1.0), (0.5, 0.5, 0.9)]),
    "BaTiO3 read 5 % off": ([[0.400, 0], [0, 0.380]], [(0, 0, 1.0), (0.5, 0.5, 0.4)]),
    "Si [110]": ([[0.543, 0], [0, 0.384]], [(0, 0, 1), (0.25, 0, 1), (0.5, 0.5, 1), (0.75, 0.5, 1)]),
    "CdTe [110]": ([[0.648, 0], [0, 0.458]], [(0, 0, 1), (0.25, 0, 0.95), (0.5, 0.5, 1), (0.75, 0.5, 0.95)]),
    "layered <112> zone": ([[0.473, 0], [0, 0.1439]], [(0, 0, 1.0), (0.5, 0, 0.03)]),
    "layered c axis": ([[0.2879, 0], [0, 0.1662]], [(0, 0, 1.0), (0.5, 0.5, 1.0)]),
    "SrTiO3 [110]": ([[0.3905, 0], [0, 0.2761]], [(0, 0, 1.0), (0.5, 0.5, 0.45)]),
    "graphene": ([[0.426, 0], [0, 0.246]], [(0, 0, 1), (1 / 3, 0, 1), (0.5, 0.5, 1), (5 / 6, 0.5, 1)]),
    "square 0.25": ([[0.25, 0], [0, 0.25]], [(0, 0, 1.0)]),
    "hexagonal 0.25": ([[0.433, 0], [0, 0.25]], [(0, 0, 1.0), (0.5, 0.5, 1.0)]),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_lattices_are_not_judged(maker, name):
    basis, motif = FOREIGN[name]
    lattice = maker.Lattice(size_nm=8.0)
    yx, amplitude = lattice_of(np.array(basis), motif, 8.0)
    phases = classify(*maker.finish(yx, amplitude, lattice, np.random.default_rng(1)), CONFIG)
    judged = share(phases, Phase.LAYERED) + share(phases, Phase.ROCKSALT) + share(phases, Phase.O1)
    assert judged < 0.01
    assert verdict(phases, "lattice") is Verdict.STOP
    assert (phases.columns["phase"] == Phase.UNRESOLVED).mean() > 0.9


def test_random_columns_are_not_judged(maker):
    rng = np.random.default_rng(2)
    yx = rng.uniform(0, 8, (900, 2))
    phases = classify(*maker.finish(yx, np.ones(900), maker.Lattice(), rng), CONFIG)
    assert verdict(phases, "lattice") is Verdict.STOP


@pytest.mark.parametrize("occupancy", [0.03, 1.0])
def test_dark_atoms_are_recognised(maker, occupancy):
    micrograph, _ = maker.build(maker.Lattice(occupancy=lambda y, x: np.full_like(y, occupancy)))
    dark = type(micrograph)((2.0 - micrograph.image).astype(np.float32), micrograph.calibration)
    assert contrast_check(micrograph).verdict is Verdict.OK
    assert contrast_check(dark).verdict is Verdict.STOP


@pytest.mark.parametrize("shape", [(32, 32), (64, 72), (256, 256)])
def test_noise_alone_has_no_contrast_to_judge(maker, shape):
    micrograph, _ = maker.build(maker.Lattice())
    for seed in range(200):  # four standard deviations: once in 30 000 images
        noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        assert contrast_check(type(micrograph)(noise, micrograph.calibration)).verdict is Verdict.OK


def test_no_columns_at_all(maker):
    micrograph, columns = maker.build(maker.Lattice())
    phases = classify(micrograph, type(columns)(columns.table.iloc[:0]), CONFIG)
    assert (phases.labels == Phase.NONE).all()
    assert verdict(phases, "columns") is Verdict.STOP
    assert len(phases.columns) == 0


def test_calibration_four_percent_off_is_judged_and_reported(maker):
    # 4 % is what uncorrected scans show; the pixel size given is 4 % too large.
    phases = classify(*maker.build(maker.Lattice(period_nm=0.2492 * 1.04, layer_nm=0.473 * 1.04)), CONFIG)
    assert share(phases, Phase.LAYERED) > 0.99
    assert verdict(phases, "scale") is Verdict.WARN


@pytest.mark.parametrize(("rotation", "expected"), [(2.0, Verdict.WARN), (178.0, Verdict.WARN), (30.0, Verdict.OK)])
def test_layers_along_the_scan_are_reported(maker, rotation, expected):
    phases = classify(*maker.build(maker.Lattice(rotation_deg=rotation)), CONFIG)
    assert verdict(phases, "scan_angle") is expected


def test_crystal_ends_at_its_outermost_columns(maker):
    # Crystal right of x = 4 nm.
    phases = classify(*maker.build(maker.Lattice(crystal=lambda y, x: x > 4.0)), CONFIG)
    edge = 8.0 - (phases.labels != Phase.NONE).sum(axis=1) * 0.02
    # Rows end between 4 nm and one period inside; half a row of outline is added: 4.0 nm to a tenth on average.
    assert abs(edge.mean() - 4.0) < 0.1


def test_inputs_are_left_alone(maker):
    micrograph, columns = maker.build(maker.Lattice())
    before = columns.table.copy(), micrograph.image.copy()
    classify(micrograph, columns, CONFIG)
    assert columns.table.equals(before[0])
    assert np.array_equal(micrograph.image, before[1])


@pytest.mark.parametrize("told", [True, False])
def test_where_nothing_was_seen_the_crystal_does_not_end(maker, told):
    micrograph, columns = maker.build(maker.Lattice(crystal=lambda y, x: x > 2.0))
    invalid = np.zeros(micrograph.shape, dtype=bool)
    invalid[:, :100] = told
    seen = type(micrograph)(micrograph.image, micrograph.calibration, invalid=invalid)
    assert edge_in_view(seen, columns.yx_nm, CONFIG) != told
