"""The renderer's thickness terms against frozen-phonon multislice images, whose tables are in benchmarks/results."""

import numpy as np
import pandas as pd
import pytest

from atomseg.simulate import OpticsConfig, simulate
from atomseg.simulate.render import Profile


def profile(tail_per_nm, saturation_nm, max_tail=None):
    limit = OpticsConfig().max_tail if max_tail is None else max_tail
    return Profile(0.05, 0.05, 0.0, 0.2, tail_per_nm, limit, saturation_nm, 1.0)


def middle(values):
    return 0.5 * (values[0] + values[1])


@pytest.fixture(scope="module")
def terms(repository):
    return pd.read_csv(repository / "benchmarks" / "results" / "multislice_terms.csv")


@pytest.fixture(scope="module")
def floor(repository):
    return pd.read_csv(repository / "benchmarks" / "results" / "multislice_floor.csv")


def test_a_tail_takes_nothing_from_nothing_and_saturates():
    weight = profile(0.045, 10.0).tail_weight(np.array([0.0, 1e6]))
    limit = OpticsConfig().max_tail
    assert weight == pytest.approx([0.0, limit / (1.0 - limit)])
    assert profile(0.0, 10.0).tail_weight(np.array([20.0])) == pytest.approx([0.0])
    assert profile(0.045, 10.0, max_tail=0.0).tail_weight(np.array([20.0])) == pytest.approx([0.0])


def test_the_peak_is_proportional_to_a_thin_foil_and_one_for_a_thick_one():
    peak = profile(0.045, 10.0).peak(np.array([0.1, 0.2, 1e4]))
    assert peak[1] / peak[0] == pytest.approx(2.0, rel=1e-3)  # the next term is (t / L)^2 / 3
    assert peak[2] == pytest.approx(1.0)


# 0.06: the largest misfit of the form itself to layered crystals. In rocksalt, whose light spreads at once from column
# to column, the share rises faster at first than the form can, which was made for the floor of layered crystals.
@pytest.mark.parametrize(
    ("case", "slack"),
    [
        ("O3_x0_200kV", 0.06),
        ("O3_x25_200kV", 0.06),
        ("O1_x0_200kV", 0.06),
        ("O3_x0_300kV", 0.06),
        ("rocksalt_200kV", 0.11),
    ],
)
def test_the_default_range_holds_every_crystal(terms, case, slack):
    optics = OpticsConfig()
    seen = terms[(terms.case == case) & (terms.tail_nm == 0.20)]
    t = seen.thickness_nm.to_numpy()
    low, high = (profile(k, 10.0).tail_weight(t) for k in optics.tail_per_nm)
    share = seen.tail_share.to_numpy()
    thick = t > 3.5  # a thinner mixed column is few atoms
    assert np.all(share[thick] > (low / (1 + low))[thick] - slack)
    assert np.all(share[thick] < (high / (1 + high))[thick] + slack)
    light = seen.core_light_nm2.to_numpy()
    fast, slow = (profile(0.045, s).peak(t) for s in optics.saturation_nm)
    # From 4 to 24 nm the light grows by a factor between those of the ends of the range.
    grown = light[-1] / light[1]
    assert fast[-1] / fast[1] * 0.95 < grown < slow[-1] / slow[1] * 1.05


@pytest.mark.parametrize("thickness_nm", [4, 8, 12, 16, 20, 24])
@pytest.mark.parametrize("blur_nm", [0.034, 0.045, 0.060])
def test_floor_between_columns_is_that_of_multislice(plain_config, floor, terms, thickness_nm, blur_nm):
    # Rendered with the constants fitted to these images: the rendered interlayer floor must follow thickness and blur.
    seen = floor[(floor.case == "O3_x0_200kV") & (floor.blur_nm == blur_nm)]
    expected = {
        name: np.interp(thickness_nm, seen.thickness_nm, seen[name])
        for name in ("interlayer_over_metal", "minimum_over_metal")
    }
    core, tail = (1e3 * np.hypot(0.0375, blur_nm), np.hypot(0.20, blur_nm))
    config = plain_config(
        foil={"thickness_nm": (thickness_nm, thickness_nm), "edge_thickness_nm": (thickness_nm, thickness_nm)},
        background={"level": (1e-6, 1e-6)},
        optics={
            "core_sigma_pm": (core, core),
            "tail_sigma_nm": (tail, tail),
            "tail_per_nm": (0.0383, 0.0383),
            "oxygen_scale": (0.8, 0.8),
        },
    )
    scene = simulate(config, np.random.default_rng(14), truth="columns")
    table, image = scene.columns.table, scene.micrograph.image
    height = table.amplitude + table.background
    inside = table.y_px.between(25, 230) & table.x_px.between(25, 230)
    metal = height[inside & (table.species == "TM")].mean()
    lithium = height[inside & (table.species == "Li")].mean()
    # Columns of 51 to 71 pm. Two Gaussians are no multislice column: the floor on the interlayer site comes out within
    # a fifth or 0.02 of the metal peak, the image's minimum (which the fit weighs less) within a half or 0.015.
    assert lithium / metal == pytest.approx(expected["interlayer_over_metal"], rel=0.2, abs=0.02)
    lowest = np.quantile(image[25:230, 25:230], 0.002) / metal
    assert lowest == pytest.approx(expected["minimum_over_metal"], rel=0.5, abs=0.015)
