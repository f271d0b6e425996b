"""Spacing, strain and rotation of lattices that were deformed by hand, against the deformation and against GPA."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from atomseg.errors import ConfigError
from atomseg.measure import LatticeConfig, measure_lattice
from atomseg.types import PhaseMap

# Double precision through a few fits; displacements here are of order 0.1 nm.
EXACT = 1e-9


def no_depth(phases):
    return np.full(phases.labels.shape, np.nan, np.float32)


def measured(made, **settings):
    columns, phases, calibration = made
    return measure_lattice(columns, phases, calibration, no_depth(phases), LatticeConfig(**settings))


def halves(maker, matrix, **settings):
    """Left half perfect and the reference, right half moved by a homogeneous deformation about its own middle."""

    def move(u, v):
        right = u > 0
        du = (matrix[0][0] - 1) * (u - 2.5) + matrix[0][1] * v
        dv = matrix[1][0] * (u - 2.5) + (matrix[1][1] - 1) * v
        return np.where(right, du, 0.0), np.where(right, dv, 0.0)

    made = maker.build(maker.Crystal(move=move, **settings))
    x = made[0].yx_nm[:, 1]
    table = measured(made, reference_px=(0, 0, 500, 190)).columns
    # Windows of 1 nm do not reach the seam at 5 nm, nor does the opening at its sides.
    return table[(x > 6.5) & (np.abs(made[0].yx_nm[:, 0] - 5) < 3)], table[x < 3.5]


def test_perfect_lattice_has_its_spacing_and_no_strain(maker):
    maps = measured(maker.build(maker.Crystal(rotation_deg=17.0)))
    known = maps.columns.dropna()
    assert len(known) > 0.97 * len(maps.columns)
    assert np.allclose(known["spacing_nm"], maker.layer, atol=EXACT)
    assert np.allclose(known["period_nm"], maker.period, atol=EXACT)
    for name in ("strain_cc", "strain_ip", "shear", "rotation_deg"):
        assert np.abs(known[name]).max() < 1e-7
    # The maps are the columns' numbers between columns, in float32.
    assert np.nanmax(np.abs(maps.spacing - maker.layer)) < 1e-6
    assert np.isfinite(maps.spacing[50:-50, 50:-50]).all()


@pytest.mark.parametrize("degrees", [-4.0, 2.5])
def test_rigid_rotation_is_no_strain(maker, degrees):
    t = np.deg2rad(degrees)
    # u is x and v points up, against y: a turn from +x towards +y is clockwise in (u, v).
    turned, _ = halves(maker, [[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    for name in ("strain_cc", "strain_ip", "shear"):
        assert np.abs(turned[name]).max() < EXACT
    assert np.allclose(turned["rotation_deg"], degrees, atol=1e-7)


def test_pure_scale_is_equal_strain_along_both_axes(maker):
    scaled, bulk = halves(maker, [[1.02, 0.0], [0.0, 1.02]])
    assert np.allclose(scaled["strain_cc"], 0.02, atol=EXACT)
    assert np.allclose(scaled["strain_ip"], 0.02, atol=EXACT)
    assert np.abs(scaled["shear"]).max() < EXACT
    assert np.abs(bulk["strain_cc"]).max() < EXACT


def test_each_component_is_told_from_the_others(maker):
    strained, _ = halves(maker, [[1.01, 0.0], [0.0, 0.98]])
    assert np.allclose(strained[["strain_ip", "strain_cc"]], [0.01, -0.02], atol=EXACT)
    sheared, _ = halves(maker, [[1.0, 0.015], [0.015, 1.0]])
    assert np.allclose(sheared["shear"], 0.015, atol=EXACT)
    assert np.abs(sheared["rotation_deg"]).max() < 1e-7


@pytest.mark.parametrize(
    "shifts", [lambda n: 0, lambda n: -1, lambda n: (1, 0, -1, 1)[n % 4], lambda n: int(n % 3 == 0)]
)
@pytest.mark.parametrize("interlayer", [False, True])
def test_stacking_is_no_strain(maker, shifts, interlayer):
    """O1, the twin, and mixed sequences have the lattice of O3: only which of its points are taken differs."""
    known = measured(maker.build(maker.Crystal(shifts=shifts, interlayer=interlayer))).columns.dropna()
    assert len(known) > 300
    assert np.abs(known["strain_cc"]).max() < EXACT
    assert np.abs(known["shear"]).max() < EXACT


@pytest.mark.parametrize("rotation", [0.0, 33.0, 90.0, 141.0, 270.0])
def test_rotating_the_image_changes_nothing(maker, rotation):
    def move(u, v):
        return 0.05 * np.sin(u / 2.0) + 0.02 * v * u / 10, 0.08 * np.cos(v / 2.5)

    def keep(yx):
        return np.hypot(*(yx - 5).T) < 4.5

    still = measured(maker.build(maker.Crystal(move=move), keep=keep))
    turned = measured(maker.build(maker.Crystal(move=move, rotation_deg=rotation), keep=keep))
    assert len(still.columns) == len(turned.columns)
    for name in ("strain_cc", "strain_ip", "shear", "rotation_deg", "spacing_nm"):
        # The same columns in the same order; a row can be followed in either sense, by which its rotation stays.
        assert np.allclose(still.columns[name], turned.columns[name], atol=1e-6, equal_nan=True), name


def test_errors_are_those_of_the_noise(maker):
    noise = np.array([0.004, 0.008])
    pulls = []
    for seed in range(6):
        table = measured(maker.build(maker.Crystal(), noise, seed)).columns.dropna()
        assert 0.001 < table["strain_cc_err"].median() < 0.01
        for name in ("strain_cc", "strain_ip", "shear", "spacing_nm"):
            true = maker.layer if name == "spacing_nm" else 0.0
            pulls.append(
                ((table[name] - true) / table[f"{name[:-3]}_err_nm" if name == "spacing_nm" else f"{name}_err"]).std()
            )
    # 750 columns, about 75 independent windows, six seeds, four numbers: the rms pull is known to 2 %; the weighting by
    # noise that is itself estimated from the image adds some per cent.
    assert 0.88 < np.sqrt(np.mean(np.square(pulls))) < 1.12


def test_scan_lines_that_jitter_are_in_the_error(maker):
    """Rows along the scan move as wholes: nothing averages that over a row, and the error has to know it."""
    rng = np.random.default_rng(5)
    columns, phases, calibration = maker.build(maker.Crystal(), 0.002)
    line = rng.normal(0, 0.008, 1000)
    table = columns.table.copy()
    table["x_nm"] += line[np.rint(table["y_nm"] / 0.1).astype(int)]
    table["x_px"] = table["x_nm"] / maker.pixel
    maps = measure_lattice(type(columns)(table), phases, calibration, no_depth(phases), LatticeConfig())
    pull = (maps.columns["shear"] / maps.columns["shear_err"]).std()
    # 21 rows make about 7 independent windows across them: the spread of the pulls is known to a quarter.
    assert 0.6 < pull < 1.5
    assert 5.0 < maps.summary["line_jitter_pm"][1] < 11.0
    assert maps.summary["line_jitter_pm"][0] < 1.5


def test_strain_agrees_with_geometric_phase_analysis(maker):
    """An independent method on the rendered image (Hytch et al. 1998, 10.1016/S0304-3991(98)00035-7)."""

    def move(u, v):
        return 0.03 * np.sin(2 * np.pi * u / 9.0), 0.04 * np.sin(2 * np.pi * v / 8.0) + 0.02 * np.sin(
            2 * np.pi * u / 9.0
        )

    made = maker.build(maker.Crystal(size_nm=12.0, move=move))
    maps = measured(made)
    side = maps.spacing.shape[0]
    image = np.zeros((side, side))
    place = np.rint(made[0].yx_px).astype(int).clip(0, side - 1)
    image[place[:, 0], place[:, 1]] = 1.0
    image = gaussian_filter(image, 2.5)
    y, x = np.mgrid[:side, :side] * maker.pixel

    def phase_gradient(gy, gx):
        # Filter as wide as the fit's window: a Gaussian of half its radius.
        wave = np.exp(-2j * np.pi * (gy * y + gx * x)) * image
        smooth = gaussian_filter(wave.real, 25.0) + 1j * gaussian_filter(wave.imag, 25.0)
        along = [np.angle(np.roll(smooth, -1, a) * np.conj(smooth)) / (2 * np.pi * maker.pixel) for a in (0, 1)]
        return np.stack(along, axis=-1)

    layer_g = np.array([1 / maker.layer, 0.0])
    row_g = np.array([1 / (3 * maker.layer), 1 / maker.period])  # y points down, the stacking steps +1/3 upwards
    local = np.stack([layer_g + phase_gradient(*layer_g), row_g + phase_gradient(*row_g)], axis=-2)
    # g'^T = g^T F^-1.
    gradient = np.linalg.inv(local) @ np.stack([layer_g, row_g])
    middle = np.s_[120:-120, 120:-120]
    for name, value in (("strain_cc", gradient[..., 0, 0] - 1), ("strain_ip", gradient[..., 1, 1] - 1)):
        own = getattr(maps, name)[middle]
        other = value[middle]
        # GPA smooths the image, the fit the columns: their kernels differ, which at wavelengths of 8 nm changes a
        # strain of 3 % by a tenth.
        assert np.std(own - other) < 0.12 * np.std(other) + 0.001, name
        assert np.corrcoef(own.ravel(), other.ravel())[0, 1] > 0.985


def test_reference_is_the_deepest_layered_crystal(maker):
    columns, phases, calibration = maker.build(maker.Crystal())
    depth = np.repeat(np.arange(500, dtype=np.float32)[:, None] * maker.pixel, 500, axis=1)
    maps = measure_lattice(columns, phases, calibration, depth, LatticeConfig())
    used = maps.columns["in_reference"].to_numpy() == 1
    assert maps.summary["reference"]["source"] == "deepest_layered"
    assert columns.yx_nm[used, 0].min() > 4.5
    # Half of the layered columns are the default.
    assert 0.45 < used.mean() < 0.55


def test_without_bulk_there_is_spacing_but_no_strain(maker):
    columns, phases, calibration = maker.build(maker.Crystal())
    rocksalt = phases.columns.assign(phase=2)
    changed = PhaseMap(phases.labels, phases.confidence, phases.occupancy, rocksalt, phases.gaps, phases.frames)
    maps = measure_lattice(columns, changed, calibration, no_depth(phases), LatticeConfig())
    assert maps.columns["spacing_nm"].notna().mean() > 0.9
    assert maps.columns["strain_cc"].isna().all()
    assert np.isnan(maps.strain_cc).all()
    assert np.isfinite(maps.spacing).any()
    assert maps.summary["reference"] is None
    assert "bulk" in maps.warnings[0]


def test_without_frames_nothing_is_said(maker):
    columns, phases, calibration = maker.build(maker.Crystal())
    blind = PhaseMap(phases.labels, phases.confidence, phases.occupancy, phases.columns, phases.gaps, ())
    maps = measure_lattice(columns, blind, calibration, no_depth(phases), LatticeConfig())
    assert maps.columns["spacing_nm"].isna().all()
    assert np.isnan(maps.spacing).all()
    assert len(maps.dislocations) == 0
    assert maps.warnings == ()


def test_no_columns(maker):
    columns, phases, calibration = maker.build(maker.Crystal(), keep=lambda yx: np.zeros(len(yx), bool))
    maps = measure_lattice(columns, phases, calibration, no_depth(phases), LatticeConfig())
    assert len(maps.columns) == 0
    assert np.isnan(maps.rotation).all()


def test_maps_end_where_the_crystal_does(maker):
    columns, phases, calibration = maker.build(maker.Crystal(), keep=lambda yx: yx[:, 0] > 4.0)
    maps = measure_lattice(columns, phases, calibration, no_depth(phases), LatticeConfig())
    # Farther than 0.36 nm from any column; the labels of this made-up map claim crystal everywhere.
    assert np.isnan(maps.spacing[:180]).all()
    assert np.isfinite(maps.spacing[215:480, 20:480]).all()


def test_profile_with_depth(maker):
    columns, phases, calibration = maker.build(maker.Crystal())
    y, x = np.meshgrid(np.arange(0.1, 10, 0.25), np.arange(0.1, 10, 0.25), indexing="ij")
    occupancy = np.clip(1.0 - 0.2 * y.ravel(), 0.0, 1.0)
    gaps = pd.DataFrame(
        {"y_nm": y.ravel(), "x_nm": x.ravel(), "phase": 1, "occupancy": occupancy, "occupancy_err": 0.08}
    )
    labels = phases.labels.copy()
    labels[:100] = 2
    changed = PhaseMap(labels, phases.confidence, phases.occupancy, phases.columns, gaps, phases.frames)
    depth = np.repeat(np.arange(500, dtype=np.float32)[:, None] * maker.pixel, 500, axis=1)
    maps = measure_lattice(columns, changed, calibration, depth, LatticeConfig(depth_bin_nm=0.5))
    profile = maps.depth_profile
    assert np.allclose(profile["depth_nm"], 0.25 + 0.5 * np.arange(20))
    # A bin holds two rows of sites, whose mean depth is up to an eighth of a nanometre off the bin's: 0.025.
    assert np.allclose(profile["occupancy"], np.clip(1 - 0.2 * profile["depth_nm"], 0, 1), atol=0.03)
    # The systematic part of every site's error, here all of it, stays in the mean's.
    assert (profile["occupancy_err"] >= 0.08).all()
    assert np.allclose(profile["rocksalt"][:4], 1.0)
    assert np.allclose(profile["layered"][4:], 1.0)
    assert np.allclose(profile["spacing_nm"], maker.layer, atol=1e-6)
    assert np.allclose(maps.occupancy_err, 0.08)


def test_profile_with_depth_of_each_surface(maker):
    """A crystal between two edges, mixed below the upper one only: its profiles are not those of a mean of both."""
    columns, phases, calibration = maker.build(maker.Crystal())
    y, x = np.meshgrid(np.arange(0.1, 10, 0.25), np.arange(0.1, 10, 0.25), indexing="ij")
    gaps = pd.DataFrame(
        {"y_nm": y.ravel(), "x_nm": x.ravel(), "phase": 1, "occupancy": (y.ravel() < 2) * 1.0, "occupancy_err": 0.08}
    )
    changed = PhaseMap(phases.labels, phases.confidence, phases.occupancy, phases.columns, gaps, phases.frames)
    down = np.arange(500) * maker.pixel
    depth = np.repeat(np.minimum(down, 10.0 - down)[:, None], 500, axis=1).astype(np.float32)
    place = np.tile(np.arange(0.0, 500.0, 10.0), 2)
    points = pd.DataFrame({"surface_id": np.repeat([3, 7], 50), "y_px": np.repeat([0.0, 499.0], 50), "x_px": place})
    maps = measure_lattice(columns, changed, calibration, depth, LatticeConfig(depth_bin_nm=0.5), points=points)
    upper, lower = (maps.depth_profile.query(f"surface_id == {key}") for key in (3, 7))
    assert len(upper) == len(lower) == 10
    assert np.allclose(upper["occupancy"], [1.0] * 4 + [0.0] * 6)
    assert np.allclose(lower["occupancy"], 0.0)
    # Together they hold all columns, as one surface would.
    whole = measure_lattice(columns, changed, calibration, depth, LatticeConfig(depth_bin_nm=0.5)).depth_profile
    assert set(whole["surface_id"]) == {0}
    assert np.array_equal(upper["n_columns"].to_numpy() + lower["n_columns"].to_numpy(), whole["n_columns"])


def test_odd_settings_are_refused():
    with pytest.raises(ConfigError, match=r"lattice\.window_nm = 9"):
        LatticeConfig(window_nm=9.0)
    with pytest.raises(ConfigError, match="no rectangle"):
        LatticeConfig(reference_px=(10, 0, 5, 20))
