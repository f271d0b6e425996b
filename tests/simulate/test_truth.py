"""True phases and thickness against geometry."""

import numpy as np
import pytest

from atomseg.simulate import simulate
from atomseg.types import Phase

SURFACE = {"p_none": 0.0, "p_edge": 1.0, "p_crack": 0.0, "crack_width_nm": (1.5, 1.5), "crack_offset": (0.0, 0.0)}


def layer(thickness_nm, **more):
    found = {
        "p_layer": 1.0,
        "thickness_nm": (thickness_nm, thickness_nm),
        "occupancy": (1.0, 1.0),
        "front_width_nm": (0.05, 0.05),
        "second_face": (1.0, 1.0),
    }
    return found | more


def scene_of(plain_config, seed=21, **parts):
    parts = {"surface": SURFACE, "shape": (512, 512), "scan": {"pixel_size_nm": (0.03, 0.03)}} | parts
    return simulate(plain_config(**parts), np.random.default_rng(seed))


@pytest.mark.parametrize("facet", [0.0, 40.0, 90.0])
@pytest.mark.parametrize("seed", [21, 22])
def test_a_smooth_layer_has_its_thickness(plain_config, facet, seed):
    surface = SURFACE | {"facet_deg": (facet, facet)}
    scene = scene_of(plain_config, seed=seed, surface=surface, layer=layer(3.0))
    summary, points = scene.reconstruction.summary, scene.reconstruction.points
    assert summary.mean_nm == pytest.approx(3.0, abs=0.02)
    assert summary.thickness_class == "thin"
    assert not summary.censored
    assert points.t_50_nm[points.event == 1].std() < 0.02
    # The phase map says the same: rocksalt area over length of the surface, away from the ends that the frame cuts
    # obliquely. Gaps are 0.47 nm thick, so front and edge of a flat face may each lie half of that off.
    normal = np.deg2rad(points.normal_deg.iloc[0])
    y, x = (np.argwhere(scene.phases.labels == Phase.ROCKSALT) - 255.5).T * 0.03
    along = -np.cos(normal) * y + np.sin(normal) * x
    low, high = points.s_nm.min() + 3.5, points.s_nm.max() - 3.5
    area = ((along > low) & (along < high)).sum() * 0.03**2
    assert area / (high - low) == pytest.approx(3.0, abs=0.48)


def test_a_layer_deeper_than_the_view_is_censored(plain_config):
    scene = scene_of(plain_config, shape=(256, 256), layer=layer(30.0))
    summary, points = scene.reconstruction.summary, scene.reconstruction.points
    assert summary.censored
    assert summary.mean_nm is None
    assert (points.event == 0).all()
    assert np.isinf(points.upper_nm).all()
    assert np.array_equal(points.thickness_nm, points.available_nm)
    assert (scene.phases.labels == Phase.LAYERED).sum() == 0


def test_no_layer_is_thickness_zero(plain_config):
    summary = scene_of(plain_config).reconstruction.summary
    assert summary.mean_nm == 0.0
    assert summary.thickness_class == "thin"


def test_both_faces_of_a_crack_have_their_own_layer(plain_config):
    surface = SURFACE | {"p_edge": 0.0, "p_crack": 1.0}
    scene = scene_of(plain_config, surface=surface, layer=layer(2.0, second_face=(1.5, 1.5)))
    surfaces = scene.reconstruction.surfaces
    assert [surfaces[i].mean_nm for i in (0, 1)] == pytest.approx([2.0, 3.0], abs=0.03)
    labels = scene.phases.labels
    assert (
        labels == Phase.LAYERED
    ).any()  # the layers end inside the view: one face does not reach into the other side
    width = (labels == Phase.NONE).sum() * 0.03**2 / (len(scene.reconstruction.points) * 0.25 / 2)
    assert width == pytest.approx(1.5, abs=0.3)  # half a column spacing on each side


def test_the_front_is_where_mean_occupancy_crosses_one_half(plain_config):
    scene = scene_of(plain_config, layer=layer(3.0, front_width_nm=(0.8, 0.8), occupancy=(0.8, 0.8)))
    points = scene.reconstruction.points[scene.reconstruction.points.event == 1]
    # 0.8 Phi((3 - d) / 0.8) = 0.5 at d = 3 - 0.8 * 0.3186.
    assert points.t_50_nm.mean() == pytest.approx(3.0 - 0.8 * 0.3186, abs=0.03)
    assert (points.t_mix_nm > points.t_50_nm).all()
    gaps, depth = scene.phases.gaps, scene.reconstruction.depth_nm
    at = gaps[["y_nm", "x_nm"]].to_numpy() / 0.03
    inside = np.all((at > 0) & (at < 511), axis=1)
    d = depth[tuple(np.round(at[inside]).astype(int).T)]
    found = gaps.phase[inside].to_numpy()
    clear = np.isfinite(d) & (np.abs(d - points.t_50_nm.mean()) > 0.05)
    assert np.array_equal(found[clear] == Phase.ROCKSALT, d[clear] < points.t_50_nm.mean())


def test_patches_leave_the_envelope(plain_config):
    parts = {"p_patchy": 1.0, "patch_fraction": (0.4, 0.4), "patch_nm": (2.0, 2.0)}
    scene = scene_of(plain_config, layer=layer(6.0, **parts))
    assert scene.reconstruction.summary.mean_nm == pytest.approx(6.0, abs=0.03)
    inside = scene.reconstruction.depth_nm < 5.0
    share = (scene.phases.labels[inside] == Phase.LAYERED).mean()
    assert 0.15 < share < 0.65  # 0.4 on average; few patches fit into the view


def test_o1_pixels_are_bands_between_two_metal_rows(plain_config):
    faults = {"p_bulk": 1.0, "p_through": 1.0, "p_lamella": 0.0, "density_per_nm": (0.1, 0.1)}
    scene = scene_of(plain_config, faults=faults, surface={"p_none": 1.0, "p_edge": 0.0}, seed=5)
    table, labels = scene.reconstruction.faults, scene.phases.labels
    assert len(table) > 0
    band = (labels == Phase.O1).sum() * 0.03**2 / table.length_nm.sum()
    assert band == pytest.approx(1.4205 / 3, rel=0.05)  # one TM row spacing; short pieces in corners make it uncertain
    assert (table.ends_in_view == 0).all()
    gaps = scene.phases.gaps
    assert np.allclose(gaps["shift"][gaps.phase == Phase.O1], 0.0)
    assert np.allclose(np.abs(gaps["shift"][gaps.phase != Phase.O1]), 1 / 3)


def test_faults_of_the_layer_end_in_it(plain_config):
    faults = {"p_layer": 1.0, "density_per_nm": (0.6, 0.6), "length_nm": (8.0, 12.0)}
    scene = scene_of(plain_config, layer=layer(5.0), faults=faults)
    labels, depth = scene.phases.labels, scene.reconstruction.depth_nm
    assert (labels == Phase.O1).any()
    # The label follows columns: half a row period and a partial dislocation's core beyond the front at most.
    assert depth[labels == Phase.O1].max() < 5.0 + 0.45


@pytest.mark.parametrize("second", ["p_variant", "p_grain", "p_twin"])
def test_second_domains(plain_config, second):
    scene = scene_of(plain_config, domains={second: 1.0}, surface={"p_none": 1.0, "p_edge": 0.0})
    labels = scene.phases.labels
    if second == "p_grain":
        assert (labels == Phase.UNRESOLVED).mean() > 0.1
        assert len(scene.phases.frames) == 1
    else:
        assert set(np.unique(labels)) <= {Phase.NONE, Phase.LAYERED}
        assert (labels == Phase.NONE).mean() < 0.01
    if second == "p_variant":
        rows = [np.asarray(frame.row_yx_nm) for frame in scene.phases.frames]
        cosine = abs(rows[0] @ rows[1]) / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
        assert np.rad2deg(np.arccos(cosine)) == pytest.approx(70.53, abs=0.01)
    if second == "p_twin":
        assert set(np.round(scene.phases.gaps["shift"] * 3)) == {-1, 1}


def test_crystal_ends_half_a_column_beyond_its_columns(plain_config):
    scene = scene_of(plain_config, scan={"pixel_size_nm": (0.02, 0.02)})
    table = scene.columns.table[scene.columns.table.species == "TM"]
    normal = np.deg2rad(scene.reconstruction.points.normal_deg.iloc[0])
    inward = table.y_nm * np.sin(normal) + table.x_nm * np.cos(normal)
    rows, columns = np.nonzero(scene.crystal)
    edge = (rows * np.sin(normal) + columns * np.cos(normal)).min() * 0.02
    assert inward.min() - edge == pytest.approx(0.12, abs=0.03)  # a pixel and a half
