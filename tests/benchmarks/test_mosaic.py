"""The mosaics of multislice cells: their truth is where their light is."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max

FOLDERS = [str(Path(__file__).resolve().parents[2] / "benchmarks" / name) for name in ("accuracy", "")]


@pytest.fixture(scope="module", autouse=True)
def mosaics():
    sys.path[:0] = FOLDERS
    try:
        import mosaic_plans
        import mosaic_scenes

        yield mosaic_plans, mosaic_scenes
    finally:
        for folder in FOLDERS:
            sys.path.remove(folder)


def plain(plan):
    """The plan without anything that hides or moves light, with next to no noise."""
    return replace(plan, counts=1e9, film=0.0, background=0.0, jitter=(0.0, 0.0), bend=(0.03, 1.0), blur=0.03, bulk=0.0)


def first(plans, **wanted):
    """The first small plan with these properties."""
    for number in range(200):
        plan = plans.draw_plan(number, 5)
        told = {"kind": plan.kind, "o1": any(s.o1.any() for s in plan.stacks), "stacks": len(plan.stacks)}
        if plan.side < 700 and all(told[name] == value for name, value in wanted.items()):
            return plan
    raise AssertionError(wanted)


@pytest.mark.parametrize("o1", [False, True])
@pytest.mark.parametrize("sense", [-1, 1])
def test_metal_columns_are_where_truth_has_them(mosaics, sense, o1):
    plans, scenes = mosaics
    plan = replace(plain(first(plans, kind="bulk", o1=o1, stacks=1)), sense=sense)
    scene = scenes.make(plan)
    table = scene.columns.table[scene.columns.table["species"] == "TM"]
    yx = table[["y_px", "x_px"]].to_numpy()
    yx = yx[((yx > 12) & (yx < plan.side - 13)).all(1)]
    image = gaussian_filter(scene.micrograph.image.astype(float), 0.03 / plan.pixel)
    # Parabola through the values at the truth and a pixel beside it.
    offset = []
    for axis in range(2):
        step = np.eye(2)[axis]
        low, middle, high = (map_coordinates(image, (yx + k * step).T, order=3) for k in (-1, 0, 1))
        offset.append(0.5 * (low - high) / (low - 2 * middle + high) * plan.pixel)
    # Cells are read off every 5 pm, and oxygen on one side pulls the maximum of a row beside an O1 gap.
    assert np.abs(np.array(offset)).max() < 0.008


def test_rocksalt_interlayers_are_bright_and_layered_ones_dark(mosaics):
    plans, scenes = mosaics
    plan = plain(next(p for p in (plans.draw_plan(k, 5) for k in range(4, 80)) if p.layer_nm > 2 and p.side < 900))
    scene = scenes.make(replace(plan, patches=None))
    table = scene.columns.table
    image = scene.micrograph.image
    at = np.clip(np.round(table[["y_px", "x_px"]].to_numpy()).astype(int), 0, plan.side - 1)
    label = scene.phases.labels[at[:, 0], at[:, 1]]
    light = image[at[:, 0], at[:, 1]].astype(float)
    metal = table["species"].to_numpy() == "TM"
    deep = plan.inside(table[["y_nm", "x_nm"]].to_numpy()) > 0.5
    layered, rocksalt = ((label == code) & deep for code in (1, 2))
    assert np.median(light[rocksalt & ~metal]) > 0.8 * np.median(light[rocksalt & metal])
    assert np.median(light[layered & ~metal]) < 0.4 * np.median(light[layered & metal])


def test_columns_of_both_stackings_are_true_where_they_fade_into_each_other(mosaics):
    plans, scenes = mosaics
    plan = plain(first(plans, kind="bulk", o1=True, stacks=2))
    scene = scenes.make(plan)
    table = scene.columns.table
    image = gaussian_filter(scene.micrograph.image.astype(float), 0.03 / plan.pixel)
    peaks = (
        peak_local_max(image, min_distance=max(1, int(0.05 / plan.pixel)), threshold_abs=0.5 * image.max()) * plan.pixel
    )
    inside = ((peaks > 0.3) & (peaks < plan.field_nm - 0.3)).all(1)
    along = plan.lattice(peaks - np.stack([np.zeros(len(peaks)), scenes._bent(plan, peaks[:, 0])], axis=1))[0]
    fading = inside & (np.abs(along - plan.ends[0]) * plan.column < plans.STACK_BLEND_NM)
    true = cKDTree(table[["y_nm", "x_nm"]].to_numpy())
    # Half the light of a column is seen as one; light of two that overlap has its peak between them.
    assert fading.sum() > 10
    assert (true.query(peaks[fading])[0] < 0.05).all()
    near = (
        np.abs(plan.lattice(table[["y_nm", "x_nm"]].to_numpy())[0] - plan.ends[0]) * plan.column < plans.STACK_BLEND_NM
    )
    assert not table["required"][near].any()


def test_true_thickness_is_the_area_of_the_layer_over_its_length(mosaics):
    plans, _ = mosaics
    plan = next(p for p in (plans.draw_plan(k, 5) for k in range(4, 80)) if p.kind == "edge" and p.layer_nm > 1)
    plan = replace(plan, patches=None, front=0.02, surface=1.0, bulk=0.0)
    n = plan.side
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1) * plan.pixel
    layer = (plan.occupancy(grid) >= 0.5) & (plan.inside(grid) > 0)
    # Along the surface, where both the edge and the front are in view.
    along = plan.along_face(grid)
    middle = np.abs(along) < 2.0
    depth = layer[middle].sum() * plan.pixel**2 / 4.0
    at = np.abs((np.arange(len(plan.depth[0])) - len(plan.depth[0]) // 2) * plans.FACE_STEP_NM) < 2.0
    assert abs(depth - plan.depth[0][at].mean()) < 0.1
