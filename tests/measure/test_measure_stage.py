"""The measurement on phase maps drawn by hand: layers of known depth in known geometry."""

import re

import numpy as np
import pandas as pd
import pytest

from atomseg.measure import MeasureConfig, measure, unlike
from atomseg.measure.statistics import class_probabilities, kaplan_meier, km_mean, km_quantile
from atomseg.types import Calibration, CalibrationOrigin, LatticeFrame, Phase, PhaseMap
from atomseg.types.reconstruction import by_thickness

CONFIG = MeasureConfig()
PIXEL = 0.03
GAP_FIELDS = ("y_nm", "x_nm", "row_lower", "row_upper", "shift", "shift_err", "occupancy", "occupancy_err", "phase")
# A drawn edge is known to a pixel, the zone to the measuring grid of 0.06 nm.
EXACT_NM = 0.1


def calibration(pixel=PIXEL):
    return Calibration((pixel, pixel), CalibrationOrigin.USER)


def phase_map(labels, gaps=None, confidence=None):
    labels = labels.astype(np.uint8)
    occupancy = np.where(labels == Phase.ROCKSALT, 1.0, 0.03).astype(np.float32)
    occupancy[labels == Phase.NONE] = np.nan
    return PhaseMap(
        labels=labels,
        confidence=np.ones(labels.shape, np.float32) if confidence is None else confidence.astype(np.float32),
        occupancy=occupancy,
        columns=pd.DataFrame(),
        gaps=pd.DataFrame({name: [] for name in GAP_FIELDS}) if gaps is None else gaps,
        frames=(LatticeFrame((0.0, 0.249), (0.2365, 0.0), 1000),),
    )


def coordinates(size_nm=15.0, pixel=PIXEL):
    n = round(size_nm / pixel)
    return np.meshgrid(np.arange(n) * pixel, np.arange(n) * pixel, indexing="ij")


def slab(depth, layer):
    """Vacuum where depth < 0, rocksalt down to `layer`, layered below."""
    return np.where(depth < 0, Phase.NONE, np.where(depth < layer, Phase.ROCKSALT, Phase.LAYERED))


@pytest.mark.parametrize("angle", [0, 25, 90, 135, 200, 300])
@pytest.mark.parametrize("layer", [1.0, 3.0])
def test_uniform_skin_at_any_orientation(angle, layer):
    y, x = coordinates()
    normal = np.deg2rad(angle)
    depth = (y - 7.5) * np.sin(normal) + (x - 7.5) * np.cos(normal) + 3.0
    profile = measure(phase_map(slab(depth, layer)), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - layer) < EXACT_NM
    assert not profile.summary.censored
    assert profile.summary.thickness_class == "thin"
    turn = (profile.points["normal_deg"] - angle + 180) % 360 - 180
    assert turn.abs().median() < 1.0
    assert profile.summary.lower_nm <= layer <= profile.summary.upper_nm


def test_t_50_equals_the_thickness_of_a_uniform_skin():
    y, _ = coordinates()
    profile = measure(phase_map(slab(y - 3, 4.0)), calibration(), CONFIG)
    assert abs(profile.points["t_50_nm"].median() - 4.0) < EXACT_NM
    # Full rocksalt ends before the half, the bulk is reached after it, by the smoothing of the occupancy (0.4 nm).
    assert profile.points["t_rocksalt_nm"].median() < 4.0 < profile.points["t_mix_nm"].median()


def test_surface_without_reconstruction_is_zero_with_the_detection_limit_above():
    y, _ = coordinates()
    profile = measure(phase_map(slab(y - 3, 0.0)), calibration(), CONFIG)
    assert profile.summary.mean_nm == 0.0
    assert profile.summary.upper_nm == CONFIG.detection_limit_nm
    assert (profile.points["event"] == 1).all()
    assert (profile.points["upper_nm"] == CONFIG.detection_limit_nm).all()


def test_cropping_half_the_layer_away_turns_it_censored():
    y, _ = coordinates()
    labels = slab(y - 3, 8.0)
    whole = measure(phase_map(labels), calibration(), CONFIG).summary
    half = measure(phase_map(labels[: round(7.0 / PIXEL)]), calibration(), CONFIG)
    assert not whole.censored
    assert abs(whole.mean_nm - 8.0) < EXACT_NM
    assert half.summary.censored
    assert half.summary.mean_nm is None
    assert abs(half.summary.lower_bound_nm - 4.0) < EXACT_NM
    assert set(half.points["reason"]) == {"field_of_view"}
    # A 4 nm lower bound excludes no class.
    assert half.summary.thickness_class is None


def test_ray_that_leaves_the_view_at_once_has_seen_nothing():
    """Where an oblique surface meets the border its normal leaves the image: that is no surface without a layer."""
    y, x = coordinates()
    depth = (y - 4.0) * np.cos(np.deg2rad(20)) - (x - 7.5) * np.sin(np.deg2rad(20))
    points = measure(phase_map(slab(depth, 3.0)), calibration(), CONFIG).points
    blind = points["available_nm"] < CONFIG.detection_limit_nm
    assert blind.any()
    assert (points.loc[blind, "event"] == 0).all()
    assert (points.loc[blind, "reason"] == "field_of_view").all()
    assert points.loc[points["event"] == 1, "thickness_nm"].min() > 2.9


def test_lower_bound_above_twenty_is_thick():
    y, _ = coordinates(25.0, 0.06)
    profile = measure(phase_map(slab(y - 2, 99.0)), calibration(0.06), CONFIG)
    assert profile.summary.censored
    assert profile.summary.thickness_class == "thick"


def test_crack_has_two_faces():
    _, x = coordinates()
    depth = np.abs(x - 7.0) - 1.0
    layer = np.where(x < 7.0, 2.0, 4.0)
    profile = measure(phase_map(slab(depth, layer)), calibration(), CONFIG)
    means = sorted(s.mean_nm for s in profile.surfaces.values())
    assert len(means) == 2
    assert abs(means[0] - 2.0) < EXACT_NM
    assert abs(means[1] - 4.0) < EXACT_NM
    assert not any("differ" in warning for warning in profile.warnings)


def test_faces_of_different_classes_are_told_apart():
    _, x = coordinates(20.0)
    labels = slab(np.abs(x - 5.0) - 1.0, np.where(x < 5.0, 2.0, 7.0))
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert {s.thickness_class for s in profile.surfaces.values()} == {"thin", "intermediate"}
    assert any("differ" in warning for warning in profile.warnings)


def test_ligament_reconstructed_throughout_is_censored_by_the_other_surface():
    _, x = coordinates()
    ligament = slab(3.0 - np.abs(x - 7.5), 99.0)
    profile = measure(phase_map(ligament), calibration(), CONFIG)
    assert profile.summary.censored
    assert set(profile.points["reason"]) == {"other_surface"}
    # Each face owns the half of the ligament that is nearer to it.
    assert abs(profile.summary.lower_bound_nm - 3.0) < 0.3  # the middle is looked for in steps of 0.3 nm


def test_layer_across_a_ligament_is_not_this_faces():
    _, x = coordinates()
    profile = measure(phase_map(slab(4.0 - np.abs(x - 7.5), 1.5)), calibration(), CONFIG)
    assert not profile.summary.censored
    assert abs(profile.summary.mean_nm - 1.5) < EXACT_NM


def test_layer_that_meets_unjudged_crystal_is_censored():
    y, _ = coordinates()
    labels = np.where(y < 3, Phase.NONE, np.where(y < 6, Phase.ROCKSALT, Phase.UNRESOLVED))
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert profile.summary.censored
    assert set(profile.points["reason"]) == {"unresolved_crystal"}
    assert abs(profile.summary.lower_bound_nm - 3.0) < EXACT_NM


def test_patchy_layer_is_measured_by_its_envelope():
    y, x = coordinates()
    depth = y - 3.0
    islands = (np.sin(2 * np.pi * x / 2.0) * np.sin(2 * np.pi * y / 2.0) > 0.3) & (depth > 0.5) & (depth < 5.5)
    labels = slab(depth, 6.0)
    labels[islands] = Phase.LAYERED
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - 6.0) < EXACT_NM


def test_reconstruction_below_an_intact_skin_is_not_skipped():
    y, _ = coordinates()
    depth = y - 3.0
    labels = slab(depth, 5.0)
    labels[(depth >= 0) & (depth < 0.7)] = Phase.LAYERED  # a skin of one and a half layers
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - 5.0) < EXACT_NM


def test_rocksalt_far_from_the_surface_is_not_surface_reconstruction():
    y, x = coordinates()
    labels = slab(y - 3, 2.0)
    labels[np.hypot(y - 11, x - 7.5) < 1.5] = Phase.ROCKSALT
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - 2.0) < EXACT_NM


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_thickness_scales_with_the_pixel_size(factor):
    y, _ = coordinates()
    labels = slab(y - 3, 4.0)
    one = measure(phase_map(labels), calibration(), CONFIG).summary.mean_nm
    other = measure(phase_map(labels), calibration(PIXEL * factor), CONFIG).summary.mean_nm
    assert abs(other - factor * one) < EXACT_NM * max(1, factor)


def test_unequal_pixels():
    labels = slab(coordinates()[0] - 3, 4.0)
    tall = Calibration((0.015, 0.03), CalibrationOrigin.USER)
    assert abs(measure(phase_map(labels), tall, CONFIG).summary.mean_nm - 2.0) < EXACT_NM


def test_no_surface_in_view():
    profile = measure(phase_map(np.full((300, 300), Phase.LAYERED)), calibration(), CONFIG)
    assert profile.summary is None
    assert len(profile.points) == 0
    assert np.isnan(profile.depth_nm).all()


def test_unjudged_crystal_is_not_measured():
    labels = np.where(coordinates()[0] < 3, Phase.NONE, Phase.UNRESOLVED)
    phases = phase_map(labels)
    phases = PhaseMap(labels=phases.labels, confidence=phases.confidence, occupancy=phases.occupancy,
                      columns=phases.columns, gaps=phases.gaps, frames=())  # fmt: skip
    assert measure(phases, calibration(), CONFIG).summary is None


def test_depth_is_the_distance_to_the_surface():
    y, _ = coordinates()
    depth = measure(phase_map(slab(y - 3, 2.0)), calibration(), CONFIG).depth_nm
    inside = y >= 3.2
    assert np.nanmax(np.abs(depth[inside] - (y[inside] - 3.0))) < EXACT_NM
    assert np.isnan(depth[y < 2.9]).all()


def test_facet_is_the_angle_between_normal_and_c():
    y, x = coordinates()
    across = measure(phase_map(slab(x - 3, 2.0)), calibration(), CONFIG).points["facet_deg"].median()
    along = measure(phase_map(slab(y - 3, 2.0)), calibration(), CONFIG).points["facet_deg"].median()
    assert abs(across - 90) < 1
    assert abs(along) < 1


@pytest.mark.parametrize("turn", [lambda m: m[::-1], lambda m: m[:, ::-1], np.rot90, np.transpose])
def test_mirrors_and_quarter_turns_change_no_thickness(turn):
    y, x = coordinates()
    labels = slab(y - 3 - 0.8 * np.sin(x), 4.0 + 0.5 * np.cos(2 * x)).astype(np.uint8)
    one = measure(phase_map(labels), calibration(), CONFIG).summary
    other = measure(phase_map(turn(labels)), calibration(), CONFIG).summary
    # The grid of 0.06 nm falls differently on the pixels of 0.03 nm.
    assert abs(one.mean_nm - other.mean_nm) < 0.03
    assert abs((one.upper_nm - one.lower_nm) - (other.upper_nm - other.lower_nm)) < 0.03


def test_any_turn_changes_no_thickness():
    y, x = coordinates(20.0)
    means = []
    for angle in (0, 17, 45, 71):
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        depth, along = (y - 10) * c + (x - 10) * s + 5.0, (x - 10) * c - (y - 10) * s
        profile = measure(phase_map(slab(depth, 4.0 + 0.5 * np.sin(along))), calibration(), CONFIG)
        middle = profile.points[profile.points["available_nm"] > 6.0]  # the part that every turn has in view
        means.append(middle["thickness_nm"].mean())
    assert np.ptp(means) < EXACT_NM  # a wave of 6.3 nm is cut at another phase by each turn: 0.05 nm of its 0.35 rms


def test_steps_of_the_front_do_not_deepen_the_layer():
    """The mean of a front in steps of a double cation row is its mean, not that of its tips."""
    y, x = coordinates()
    layer = 4.0 + 0.47 * (np.floor(x / 1.2) % 2)
    profile = measure(phase_map(slab(y - 3, layer)), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - layer.mean()) < EXACT_NM


def test_single_faults_that_leave_the_layer_do_not_deepen_it():
    y, x = coordinates()
    labels = slab(y - 3, 2.0)
    for at in (4.0, 5.5, 7.0, 11.0):  # as close as 1.5 nm: closing alone would fill the crystal between them
        labels[(np.abs(x - at) < 0.22) & (y > 3)] = Phase.O1
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert abs(profile.summary.mean_nm - 2.0) < EXACT_NM


@pytest.mark.parametrize("gaps", [2, 3, 5])
@pytest.mark.parametrize("layer_nm", [0.0, 2.0])
def test_lamella_that_runs_into_the_crystal_is_no_part_of_the_layer(gaps, layer_nm):
    y, x = coordinates(24.0)
    labels = slab(y - 3, layer_nm)
    # 45 degrees to the surface: every ray beside it would meet it further down.
    labels[(np.abs(x - y - 2.0) < gaps * 0.473 * 0.5 * 2**0.5) & (y > 3)] = Phase.O1
    profile = measure(phase_map(labels), calibration(), CONFIG)
    # Where it leaves the layer, a disk as wide as the lamella reaches into its mouth, less far than it is wide.
    width = gaps * 0.473
    assert abs(profile.summary.mean_nm - layer_nm) < EXACT_NM + width * (width * 2**0.5) / 24.0
    assert not profile.summary.censored
    assert any("O1 lamellae run up to" in warning for warning in profile.warnings)


def test_short_lamella_is_the_ragged_front_of_the_layer():
    y, x = coordinates()
    labels = slab(y - 3, 2.0)
    labels[(np.abs(x - 7.0) < 0.47) & (y > 3) & (y < 6.5)] = Phase.O1
    profile = measure(phase_map(labels), calibration(), CONFIG)
    there = np.abs(profile.points["x_px"] * PIXEL - 7.0) < 0.3
    assert (profile.points.loc[there, "thickness_nm"] - 3.5).abs().max() < EXACT_NM
    assert not any("lamellae" in warning for warning in profile.warnings)


def test_lamellae_close_to_each_other_are_a_layer():
    """Faults of two gaps with two gaps between them, all ending 6 nm below the surface: a faulted layer."""
    y, x = coordinates(18.0)
    labels = slab(y - 3, 0.0)
    labels[(((x - y) / 2.69) % 1 < 0.5) & (y > 3) & (y < 9)] = Phase.O1
    profile = measure(phase_map(labels), calibration(), CONFIG)
    # Between two lamellae the envelope sags: a disk of 1.5 nm reaches 0.3 nm into a mouth of 1.3 nm.
    assert abs(profile.summary.median_nm - 6.0) < EXACT_NM + 0.3
    assert not any("lamellae" in warning for warning in profile.warnings)


def test_layer_of_o1_along_the_surface_is_a_layer():
    y, _ = coordinates()
    labels = np.where((y > 3) & (y < 5), Phase.O1, slab(y - 3, 0.0))
    assert abs(measure(phase_map(labels), calibration(), CONFIG).summary.mean_nm - 2.0) < EXACT_NM


def test_rocksalt_that_only_a_lamella_reaches_lies_below_intact_crystal():
    y, x = coordinates(24.0)
    labels = slab(y - 3, 2.0)
    labels[(np.abs(x - 12.0) < 0.47) & (y > 3) & (y < 14)] = Phase.O1
    labels[np.hypot(y - 15, x - 12) < 1.5] = Phase.ROCKSALT
    summary = measure(phase_map(labels), calibration(), CONFIG).summary
    assert abs(summary.mean_nm - 2.0) < EXACT_NM
    assert abs(summary.hidden_from_nm - 10.5) < 0.3


def test_patches_deep_below_an_intact_surface_are_told_of():
    y, x = coordinates()
    labels = slab(y - 3, 0.0)
    labels[np.hypot(y - 7, x - 7.5) < 1.5] = Phase.ROCKSALT
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert profile.summary.mean_nm == 0.0
    assert abs(profile.summary.hidden_from_nm - 2.5) < EXACT_NM
    assert abs(profile.summary.hidden_fraction - 3.0 / 15.0) < 0.03  # a point every 0.3 nm
    assert any("below intact crystal" in warning for warning in profile.warnings)
    assert measure(phase_map(slab(y - 3, 2.0)), calibration(), CONFIG).summary.hidden_from_nm is None


@pytest.mark.parametrize(
    ("skin_nm", "gap_nm", "patch_nm", "thickness_nm"),
    [(5.0, 4.0, 6.0, 15.0), (5.0, 4.0, 3.5, 5.0), (2.5, 4.0, 6.0, 2.5), (5.0, 5.5, 6.0, 5.0)],
    ids=["both wider than the gap", "narrow patch", "thin skin", "gap wider than the layer"],
)
def test_wide_patches_belong_together_across_gaps_narrower_than_they_are(skin_nm, gap_nm, patch_nm, thickness_nm):
    y, _ = coordinates(30.0, 0.05)
    depth = y - 3.0
    labels = slab(depth, skin_nm)
    labels[(depth > skin_nm + gap_nm) & (depth < skin_nm + gap_nm + patch_nm)] = Phase.ROCKSALT
    profile = measure(phase_map(labels), calibration(0.05), CONFIG)
    together = thickness_nm > skin_nm
    assert abs(profile.summary.mean_nm - thickness_nm) < EXACT_NM
    assert (profile.summary.hidden_from_nm is None) == together
    gaps = [float(told[1]) for told in map(re.compile(r"crystal up to ([\d.]+) nm").search, profile.warnings) if told]
    # From centre to centre of the outermost samples, 0.06 nm apart, and rounded to 0.1 nm.
    assert gaps == (pytest.approx([gap_nm], abs=0.12) if together else [])


def test_behind_a_patchy_layer_a_short_layered_stretch_is_no_bulk():
    y, x = coordinates(24.0, 0.05)
    depth = y - 3.0
    labels = slab(depth, 99.0)
    labels[(np.sin(np.pi * x / 4) * np.sin(np.pi * depth / 4) > 0.1) & (depth > 0.3)] = Phase.LAYERED
    # Islands of 4 nm; the view ends inside a row of them: nearly half of the rays end in one, none in bulk.
    cut = measure(phase_map(labels[: round(17.0 / 0.05)]), calibration(0.05), CONFIG)
    assert cut.summary.censored
    assert cut.summary.censored_fraction > 0.95


def test_uncertain_front_widens_the_interval_on_its_side():
    y, _ = coordinates()
    depth = y - 3
    confidence = np.where((depth > 4.0) & (depth < 5.5), 0.8, 1.0)  # below the front: 20 % rocksalt for 1.5 nm
    sure = measure(phase_map(slab(depth, 4.0)), calibration(), CONFIG).points
    unsure = measure(phase_map(slab(depth, 4.0), confidence=confidence), calibration(), CONFIG).points
    assert abs(unsure["upper_nm"].median() - 5.5) < 0.15
    assert np.allclose(unsure["lower_nm"], sure["lower_nm"])
    assert np.allclose(unsure["thickness_nm"], sure["thickness_nm"])


def test_real_roughness_is_no_error_of_the_mean():
    y, x = coordinates()
    smooth = measure(phase_map(slab(y - 3, 4.0)), calibration(), CONFIG).summary
    rough = measure(phase_map(slab(y - 3, 4.0 + np.sin(x))), calibration(), CONFIG).summary
    assert abs((rough.upper_nm - rough.lower_nm) - (smooth.upper_nm - smooth.lower_nm)) < 0.05
    assert rough.p95_nm - rough.p05_nm > 1.5


def test_layer_below_the_detection_limit_is_left_censored():
    y, _ = coordinates()
    profile = measure(phase_map(slab(y - 3, 0.4)), calibration(), CONFIG)
    assert profile.summary.below_limit_fraction == 1.0
    assert (profile.points["lower_nm"] == 0.0).all()
    assert (profile.points["upper_nm"] >= CONFIG.detection_limit_nm).all()


def test_kinds_of_surfaces():
    y, x = coordinates()
    outer = measure(phase_map(slab(y - 3, 2.0)), calibration(), CONFIG)
    assert set(outer.points["surface_kind"]) == {"outer"}
    crack = measure(phase_map(slab(np.abs(x - 7.0) - 1.0, 2.0)), calibration(), CONFIG)
    assert [s.surface_kind for s in crack.surfaces.values()] == ["crack", "crack"]
    pore = measure(phase_map(slab(np.hypot(y - 7.5, x - 7.5) - 2.5, 2.0)), calibration(), CONFIG)
    assert [s.surface_kind for s in pore.surfaces.values()] == ["pore"]
    particle = measure(phase_map(slab(6.0 - np.hypot(y - 7.5, x - 7.5), 2.0)), calibration(), CONFIG)
    assert [s.surface_kind for s in particle.surfaces.values()] == ["outer"]
    assert abs(particle.summary.mean_nm - 2.0) < EXACT_NM


def test_surfaces_of_two_kinds_have_no_kind_together():
    y, x = coordinates(20.0)
    depth = np.minimum(y - 2.0, np.hypot(y - 12, x - 10) - 2.5)
    profile = measure(phase_map(slab(depth, 1.0)), calibration(), CONFIG)
    assert {s.surface_kind for s in profile.surfaces.values()} == {"outer", "pore"}
    assert profile.summary.surface_kind is None


def test_crack_that_ends_in_view_has_two_faces_all_the_same():
    y, x = coordinates(20.0)
    away = np.hypot(np.maximum(y - 12.0, 0.0), x - 10.0) - 1.2  # a slit with a round tip at 12 nm
    layer = np.where(x < 10, 2.0, 4.0)
    profile = measure(phase_map(slab(away, layer)), calibration(), CONFIG)
    assert len(profile.surfaces) == 2
    middle = profile.points[(profile.points["y_px"] * PIXEL > 2) & (profile.points["y_px"] * PIXEL < 10)]
    means = middle.groupby("surface_id")["thickness_nm"].mean().sort_values()
    assert np.allclose(means, [2.0, 4.0], atol=EXACT_NM)
    assert set(profile.points["surface_kind"]) == {"crack"}


def test_rough_surface_above_a_deep_layer_does_not_turn_its_normals():
    y, x = coordinates(25.0, 0.05)
    rough = np.sin(2 * np.pi * x / 8.0)
    profile = measure(phase_map(slab(y - 3 - rough, 15.0 - rough)), calibration(0.05), CONFIG)
    turn = (profile.points["normal_deg"] - 90.0).abs()
    # The surface is inclined by up to 38 degrees; smoothed over 2.5 nm alone the normals would still turn by 10.
    assert turn.quantile(0.9) < 6.0


def test_faults_are_listed_with_length_and_distance():
    y, _ = coordinates()
    x_nm = 4.0 + 0.249 * np.arange(12)
    gaps = pd.DataFrame({"y_nm": 8.0, "x_nm": x_nm, "row_lower": 3, "row_upper": 4, "shift": 0.0, "shift_err": 0.05,
                         "occupancy": 0.0, "occupancy_err": 0.05, "phase": int(Phase.O1)})  # fmt: skip
    second = gaps.assign(y_nm=8.0 + 0.473, row_lower=4, row_upper=5)
    labels = slab(y - 3, 0.0)
    faults = measure(phase_map(labels, pd.concat([gaps, second], ignore_index=True)), calibration(), CONFIG).faults
    assert len(faults) == 2
    assert np.allclose(faults["length_nm"], 12 * 0.249, atol=1e-6)
    assert np.allclose(sorted(faults["surface_distance_nm"]), [5.0, 5.473], atol=EXACT_NM)
    assert (faults["ends_in_view"] == 2).all()


def test_kaplan_meier_of_the_textbook():
    # Kaplan and Meier 1958, table of section 2: losses at 1.0+, 2.7+ 7.0+, 12.1+ among deaths at 0.8, 3.1, 5.4, 9.2.
    value = np.array([0.8, 1.0, 2.7, 3.1, 5.4, 7.0, 9.2, 12.1])
    event = np.array([1, 0, 0, 1, 1, 0, 1, 0])
    times, survival = kaplan_meier(value, event)
    assert np.allclose(times, [0.8, 3.1, 5.4, 9.2])
    assert np.allclose(survival, [7 / 8, 7 / 8 * 4 / 5, 7 / 8 * 4 / 5 * 3 / 4, 7 / 8 * 4 / 5 * 3 / 4 * 1 / 2])


def test_without_censoring_the_mean_is_the_mean():
    value = np.random.default_rng(0).gamma(4, 2, 200)
    event = np.ones(200, dtype=int)
    assert abs(km_mean(value, event) - value.mean()) < 1e-9
    assert abs(km_quantile(value, event, 0.5) - np.quantile(value, 0.5, method="inverted_cdf")) < 1e-9


def test_censored_mean_is_not_biased_low():
    # 10 nm layers, a third of them cut by a field of view that is uniform between 0 and 15 nm.
    rng = np.random.default_rng(1)
    true, view = rng.normal(10, 1, 4000), rng.uniform(0, 30, 4000)
    seen, event = np.minimum(true, view), (true <= view).astype(int)
    assert abs(km_mean(seen, event) - 10) < 0.1  # standard error of the mean is 0.02
    assert seen.mean() < 9.0


def test_class_probabilities():
    at_bound = class_probabilities(5.0, 0.3)
    assert abs(at_bound["thin"] - 0.5) < 1e-9
    assert abs(sum(at_bound.values()) - 1) < 1e-9
    assert class_probabilities(30.0, 1.0)["thick"] > 0.999


def test_censored_points_have_an_open_upper_bound():
    y, _ = coordinates()
    points = measure(phase_map(slab(y - 3, 99.0)), calibration(), CONFIG).points
    assert points["upper_nm"].isna().all()
    assert (points["lower_nm"] > 0).all()


def test_surfaces_of_different_classes_are_the_first_thing_said():
    """A crack with 1 nm of rocksalt on one face and 8 nm on the other: neither is what both have together."""
    y, _ = coordinates(24.0)
    labels = np.where((y > 10) & (y < 12), Phase.NONE, Phase.LAYERED)
    labels[(y >= 12) & (y < 20)] = Phase.ROCKSALT
    labels[(y <= 10) & (y > 9)] = Phase.ROCKSALT
    profile = measure(phase_map(labels), calibration(), CONFIG)
    assert {s.thickness_class for s in profile.surfaces.values()} == {"thin", "intermediate"}
    (told,) = unlike(profile.surfaces)
    assert profile.warnings[0] == told
    assert re.search(r"differ \(surface 0 \d\.\d nm, surface 1 \d\.\d nm\)", told)
    assert by_thickness(profile.surfaces)[0][1].thickness_class == "intermediate"
    assert unlike({0: profile.surfaces[0]}) == ()
