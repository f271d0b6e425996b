"""Lattices beside the layered oxide down its rows: other zones, named crystals, structure files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from scipy.spatial import cKDTree

from atomseg.config import load_simulation_config, load_train_config
from atomseg.errors import ConfigError
from atomseg.simulate import LatticeConfig, OtherConfig, simulate
from atomseg.simulate.other import closest_nm, draw_planar
from atomseg.simulate.specimen import View
from atomseg.simulate.structure import draw_structure
from atomseg.types import Phase


def fixed(value):
    return (value, value)


@pytest.fixture
def other_config(plain_config):
    def make(**other):
        return plain_config(p_cathode=0.0, p_other=1.0, other={"p_layered": 0.0, "p_cif": 0.0, **other})

    return make


@pytest.mark.parametrize(
    ("zone", "nearest_nm", "area_nm2"),
    [
        # a = 0.283, c = 1.445 nm: rows of a / 2 in a rectangle a / 2 x c / 3, and a hexagon of a / sqrt(3).
        ((1, -1, 0), 0.283 / 2, 0.283 / 2 * 1.445 / 3),
        ((0, 0, 1), 0.283 / np.sqrt(3), np.sqrt(3) / 2 * 0.283**2 / 3),
    ],
)
def test_the_layered_oxide_down_its_other_zones(other_config, zone, nearest_nm, area_nm2):
    config = other_config(p_layered=1.0, layered_zones=(zone,))
    config = replace(config, lattice=replace(config.lattice, a_nm=fixed(0.283), c_nm=fixed(1.445)))
    structure = draw_structure(config, View((6.0, 6.0)), np.random.default_rng(0))
    assert structure.kind == "other"
    bright = structure.sites.weight > 0.5
    points = structure.sites.yx_nm[bright]
    inner = np.all(np.abs(points) < 2.0, axis=1)
    # Static displacements and strain are off: four digits are exact.
    assert cKDTree(points).query(points[inner], k=2)[0][:, 1] == pytest.approx(nearest_nm, abs=1e-4)
    # Columns in a square of 4 nm; the border of 16 nm holds a fraction of its columns.
    assert inner.sum() * area_nm2 == pytest.approx(16.0, rel=0.08)


def test_the_zone_that_looks_like_rocksalt(other_config):
    config = other_config(p_layered=1.0, layered_zones=((-4, -2, 1),))
    sites = draw_structure(config, View((6.0, 6.0)), np.random.default_rng(0)).sites
    points = sites.yx_nm[sites.weight > 0.5]
    near = cKDTree(points).query(points[np.argmin(np.hypot(*points.T))], k=5)[0][1:]
    # Every cation column holds Li and metal; a rhomb of 0.2497 nm and 70.4 degrees for LiNiO2, 0.3 % smaller here.
    assert near == pytest.approx(0.2497, rel=5e-3)


def test_other_zones_have_columns_but_no_phase(other_config):
    scene = simulate(other_config(p_layered=1.0), np.random.default_rng(1))
    assert (scene.columns.table["required"] == 1).any()
    assert set(np.unique(scene.phases.labels)) <= {int(Phase.NONE), int(Phase.UNRESOLVED)}
    assert set(scene.phases.columns["phase"]) == {int(Phase.UNRESOLVED)}
    assert len(scene.phases.gaps) == 0


def test_single_layers_are_seen_from_above_only():
    config = OtherConfig(p_layered=0.0, p_named=1.0, crystals=("MoS2_layer", "graphene"))
    names = {draw_planar(config, LatticeConfig(), np.random.default_rng(i)).name for i in range(20)}
    assert names == {"MoS2_layer [0 0 1]", "graphene [0 0 1]"}


def test_random_lattices_cover_the_finest_separations():
    # Si and GaAs down [110] have 0.136 and 0.141 nm. A third of the lattices are dumbbells, and three fifths of their
    # range of 0.12 to 0.17 nm lie in this window: 21 %, less four standard deviations of 400 draws.
    config = OtherConfig(p_layered=0.0, p_named=0.0)
    closest = [closest_nm(draw_planar(config, LatticeConfig(), np.random.default_rng([1, i]))) for i in range(400)]
    assert np.mean((np.array(closest) > 0.125) & (np.array(closest) < 0.155)) > 0.13


def test_a_structure_file_becomes_a_scene(tmp_path: Path, plain_config):
    write(tmp_path / "gold.cif", bulk("Au", a=4.0786, cubic=True))
    config = plain_config().of_crystal(tmp_path / "gold.cif", (1, 1, 0))
    scene = simulate(config, np.random.default_rng(0))
    assert scene.parameters["name"] == "gold [1 1 0]"
    table = scene.columns.table
    points = table[["y_nm", "x_nm"]].to_numpy()
    # Down [110] of fcc the shortest distances are a sqrt(3/8) = 0.2498 nm (between rows) and a / sqrt(2) = 0.2884 nm.
    inner = points[np.all((points > 1.0) & (points < 4.0), axis=1)]
    distance = cKDTree(points).query(inner, k=5)[0][:, 1:]
    assert distance == pytest.approx(4.0786e-1 * np.sqrt(3 / 8), abs=1e-4)


def test_structure_files_are_seen_from_the_configuration(tmp_path: Path):
    (tmp_path / "cells").mkdir()
    write(tmp_path / "cells" / "gold.cif", bulk("Au", cubic=True))
    other = "other: {cif: [cells/gold.cif], cif_zones: [[1, 1, 0]], p_cif: 1.0}"
    (tmp_path / "gold.yaml").write_text(f"p_cathode: 0.0\np_nothing: 0.0\n{other}\n", encoding="utf-8")
    config = load_simulation_config(tmp_path / "gold.yaml")
    assert config.other.cif == (str(tmp_path / "cells" / "gold.cif"),)
    assert draw_planar(config.other, config.lattice, np.random.default_rng(0)).name == "gold [1 1 0]"
    (tmp_path / "train.yaml").write_text("simulation: gold.yaml\n", encoding="utf-8")
    assert load_train_config(tmp_path / "train.yaml")[1] == config
    (tmp_path / "inline.yaml").write_text(f"simulation:\n  {other}\n", encoding="utf-8")
    assert load_train_config(tmp_path / "inline.yaml")[1].other == config.other
    (tmp_path / "gold.yaml").write_text("other: {cif: [gone.cif]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"other\.cif.*gone\.cif"):
        load_simulation_config(tmp_path / "gold.yaml")


@pytest.mark.parametrize(
    ("zone", "text"), [((0, 0, 0), "three integers|no direction"), ((15, 11, 7), "too fine to resolve")]
)
def test_zones_that_show_no_columns_are_errors(tmp_path: Path, plain_config, zone, text):
    write(tmp_path / "gold.cif", bulk("Au", cubic=True))
    with pytest.raises(ConfigError, match=text):
        plain_config().of_crystal(tmp_path / "gold.cif", zone)
