"""What the thickness benchmark holds measurements against."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable():
    folders = [str(FOLDER), str(FOLDER / "accuracy")]
    sys.path[:0] = folders
    yield
    for folder in folders:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def plain(_importable):
    """A flat face with a flat layer of 3 nm, 4 nm of vacuum, no scan distortion."""
    from thickness_scenes import Drawn, scene_config

    from atomseg.simulate import LayerConfig, ScanConfig, SurfaceConfig
    from atomseg.simulate.expose import expose
    from atomseg.simulate.scene import draw_exposure, finish

    config = scene_config(3.0, kind="edge", field_nm=12.0, pixel_nm=0.03, counts=1e3, patchy=False)
    zero = (0.0, 0.0)
    config = replace(
        config,
        surface=SurfaceConfig(
            p_none=0.0, p_crack=0.0, facet_deg=(25.0, 25.0), offset=(-0.4, -0.4), roughness_nm=zero, p_stepped=0.0
        ),
        layer=LayerConfig(
            p_layer=1.0,
            thickness_nm=(3.0, 3.0),
            occupancy=(1.0, 1.0),
            front_width_nm=(0.05, 0.05),
            roughness_nm=zero,
            p_stepped=0.0,
            p_patchy=0.0,
            p_mixed=0.0,
        ),
        scan=ScanConfig(
            pixel_size_nm=(0.03, 0.03), anisotropy=zero, shear=zero, bend_nm=zero, p_wobble=0.0, p_flyback=0.0
        ),
    )
    structure, exposure = draw_exposure(config, np.random.default_rng(4))
    return Drawn(finish(structure, exposure, expose([exposure])[0]), structure, exposure.imaging.scan, {})


@pytest.mark.parametrize("turn_deg", [0.0, 20.0, -35.0])
def test_true_depth_along_an_oblique_line_is_that_of_the_triangle(plain, turn_deg):
    from thickness_scenes import true_depths

    turn = np.deg2rad(turn_deg)
    normal = np.asarray(plain.structure.outline.faces[0].normal_yx)
    line = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ normal
    face = plain.face(0)
    middle = face[len(face) // 2] - 0.2 * normal  # 0.2 nm outside
    thickness, outside, _ = true_depths(plain, 0, middle[None] / 0.03, line[None])
    assert abs(thickness[0] - 3.0 / np.cos(turn)) < 0.06  # lines are sampled every 0.05 nm, the front is 0.05 nm wide
    assert abs(outside[0] - 0.2 / np.cos(turn)) < 0.03  # sampled every 0.02 nm


def test_border_is_that_of_the_image(plain):
    from thickness_scenes import true_depths

    at = np.array([[10.0, 50.0]])
    down, left = np.array([[1.0, 0.0]]), np.array([[0.0, -1.0]])
    height = plain.scene.micrograph.shape[0]
    assert abs(true_depths(plain, 0, at, down)[2][0] - (height - 1 - 10) * 0.03) < 1e-9
    assert abs(true_depths(plain, 0, at, left)[2][0] - 50 * 0.03) < 1e-9


def test_perfect_measurement_scores_perfectly_and_a_shift_is_its_bias():
    from thickness import score

    true = np.array([0.5, 4.0, 8.0, 30.0])
    faces = pd.DataFrame(
        {
            "false_surface": False,
            "found": True,
            "true_nm": true,
            "true_censored": [False, False, False, True],
            "censored": [False, False, False, True],
            "mean_nm": [0.5, 4.0, 8.0, None],
            "lower_nm": true - 0.2,
            "upper_nm": true + 0.2,
            "class": ["thin", "thin", "intermediate", "thick"],
            "edge_nm": 0.0,
            "kind_right": True,
            "surface": "edge",
            "overlayer_nm": [0.0, 0.0, 2.2, None],
            "cover_nm": [0.0, 0.0, 2.0, 9.0],
            "cover_level": 0.5,
            **dict.fromkeys(("n_both", "n_inside", "n_clear", "n_clear_found", "n_called", "n_called_right"), 10),
            **dict.fromkeys(("error_sum", "error_sq"), 0.0),
        }
    )
    perfect = score(faces)
    assert perfect["bias_nm"] == 0.0
    assert [
        perfect[k] for k in ("covered", "class_right", "censored_recall", "censored_precision", "point_recall")
    ] == [1.0] * 5
    off = score(
        faces.assign(mean_nm=faces["mean_nm"] + 1.5, lower_nm=faces["lower_nm"] + 1.5, upper_nm=faces["upper_nm"] + 1.5)
    )
    assert abs(off["bias_nm"] - 1.5) < 1e-12
    assert off["covered"] == 0.0
    assert perfect["bare_told_bare"] == 1.0
    assert abs(perfect["cover_median_abs_nm"] - 0.2) < 1e-12
    missed = score(faces.assign(censored=False))
    assert missed["censored_recall"] == 0.0
