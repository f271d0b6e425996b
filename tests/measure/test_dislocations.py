"""Burgers circuits on lattices with dislocations put in by their displacement jump alone."""

import numpy as np
import pytest

from atomseg.measure import LatticeConfig, measure_lattice
from atomseg.types import PhaseMap

AT = (0.13, 0.22)  # core in (u, v), off any column


def angle_field(b, at=AT):
    """Displacement b theta / 2 pi: the topology of a dislocation, whatever the elasticity. The jump is to the left."""

    def move(u, v):
        theta = np.arctan2(v - at[1], u - at[0])
        return b[0] * theta / (2 * np.pi), b[1] * theta / (2 * np.pi)

    return move


def together(*moves):
    def move(u, v):
        parts = [m(u, v) for m in moves]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)

    return move


def found(made, **settings):
    columns, phases, calibration = made
    depth = np.full(phases.labels.shape, np.nan, np.float32)
    return measure_lattice(columns, phases, calibration, depth, LatticeConfig(**settings))


def expected(maker, b, rotation_deg=0.0, at=AT):
    """Burgers vector and core as the image shows them, (y, x): u along x and v up, then turned.

    The crystal made here is read in image axes, where the sense from +x towards +y is clockwise for the eye and
    (u, v) are counter-clockwise axes: a circuit in the first sense is one against the second, so b changes sign.
    """
    t = np.deg2rad(rotation_deg)

    def image(u, v):
        return np.array([u * np.sin(t) - v * np.cos(t), u * np.cos(t) + v * np.sin(t)])

    return -image(*b), image(*at) + 5.0


@pytest.mark.parametrize("rotation", [0.0, 40.0, 115.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_extra_layer(maker, rotation, sign):
    b = (sign * maker.period / 3, sign * maker.layer)
    maps = found(maker.build(maker.Crystal(move=angle_field(b), rotation_deg=rotation)))
    assert len(maps.dislocations) == 1
    one = maps.dislocations.iloc[0]
    vector, core = expected(maker, b, rotation)
    assert one["kind"] == "extra_layer"
    assert abs(one["b_layer"]) == 1.0
    # The local lattice that turns steps into nm is strained by a per cent or two by the dislocation itself.
    assert np.hypot(one["b_y_nm"] - vector[0], one["b_x_nm"] - vector[1]) < 0.03
    # One cell of the lattice.
    assert np.hypot(one["y_px"] * maker.pixel - core[0], one["x_px"] * maker.pixel - core[1]) < 0.4
    assert maps.dislocation_summary["n"] == 1
    assert np.isclose(maps.dislocation_summary["density_per_um2"], 1e6 / maps.dislocation_summary["searched_area_nm2"])


@pytest.mark.parametrize("thirds", [1, -1, 2, -2])
def test_partial_that_bounds_a_fault(maker, thirds):
    """The shift changes from 1/3 by `thirds` thirds across the row of the core: an O1 or a twin gap to its left."""
    b = (thirds * maker.period / 3, 0.0)
    at = (0.1, 0.5 * maker.layer)
    maps = found(maker.build(maker.Crystal(move=angle_field(b, at))))
    assert len(maps.dislocations) == 1
    one = maps.dislocations.iloc[0]
    vector, _ = expected(maker, b, at=at)
    assert one["kind"] == "partial"
    assert np.hypot(one["b_y_nm"] - vector[0], one["b_x_nm"] - vector[1]) < 0.01
    assert abs(abs(one["b_row"]) - abs(thirds) / 3) < 1e-9


def test_pair_of_opposite_sign_is_two(maker):
    b = np.array([maker.period / 3, maker.layer])
    move = together(angle_field(b, (-1.9, 0.22)), angle_field(-b, (1.9, 0.22)))
    table = found(maker.build(maker.Crystal(move=move))).dislocations
    assert len(table) == 2
    assert abs(table[["b_y_nm", "b_x_nm"]].sum()).max() < 0.05
    assert sorted(table["sign"]) == [-1, 1]


@pytest.mark.parametrize("shifts", [lambda n: 1, lambda n: 0, lambda n: (1, 0, -1, 1, 1)[n % 5]])
def test_stacking_makes_no_dislocation(maker, shifts):
    maps = found(maker.build(maker.Crystal(shifts=shifts), 0.006))
    assert len(maps.dislocations) == 0
    assert maps.dislocation_summary["searched_area_nm2"] > 60.0


@pytest.mark.parametrize("noise", [0.003, 0.012])
def test_missing_columns_and_noise_make_none(maker, noise):
    rng = np.random.default_rng(3)
    made = maker.build(maker.Crystal(size_nm=14.0), noise, keep=lambda yx: rng.random(len(yx)) > 0.03)
    assert len(found(made).dislocations) == 0


def test_bent_and_strained_lattice_has_none(maker):
    # 2 degrees in 10 nm and a strain wave of 2 %.
    def move(u, v):
        return -u * v * np.deg2rad(2) / 10 + 0.03 * np.sin(u), u * u * np.deg2rad(2) / 20

    assert len(found(maker.build(maker.Crystal(move=move), 0.005)).dislocations) == 0


def test_dislocation_through_noise_and_holes(maker):
    rng = np.random.default_rng(4)
    b = (maker.period / 3, maker.layer)
    made = maker.build(maker.Crystal(move=angle_field(b)), 0.006, keep=lambda yx: rng.random(len(yx)) > 0.02)
    table = found(made).dislocations
    assert list(table["kind"]) == ["extra_layer"]


def test_short_vectors_are_left_out_on_request(maker):
    b = (maker.period / 3, 0.0)
    made = maker.build(maker.Crystal(move=angle_field(b, (0.1, 0.5 * maker.layer))))
    assert len(found(made, smallest_burgers=0.5).dislocations) == 0


def test_noise_that_opens_circuits_is_told(maker):
    """At 15 pm steps are told wrongly here and there; wider circuits take back most of it, a warning tells the rest."""
    lists = [found(maker.build(maker.Crystal(size_nm=14.0), 0.015, seed)) for seed in range(6)]
    warned = [any("can be noise" in text for text in maps.warnings) for maps in lists]
    assert warned == [len(maps.dislocations) > 0 for maps in lists]
    assert any(warned)
    # 6 x 150 nm²; without the wider circuits 22 are left of the noise, with them 13.
    assert sum(len(maps.dislocations) for maps in lists) <= 16


def test_quiet_columns_give_no_warning(maker):
    b = (maker.period / 3, maker.layer)
    maps = found(maker.build(maker.Crystal(move=angle_field(b)), 0.005))
    assert len(maps.dislocations) == 1
    assert maps.warnings == ()


def test_where_none_was_looked_for_there_is_no_number(maker):
    columns, phases, calibration = maker.build(maker.Crystal())
    blind = PhaseMap(phases.labels, phases.confidence, phases.occupancy, phases.columns, phases.gaps, ())
    depth = np.full(phases.labels.shape, np.nan, np.float32)
    assert measure_lattice(columns, blind, calibration, depth, LatticeConfig()).dislocation_summary["n"] is None
    assert measure_lattice(columns, phases, calibration, depth, LatticeConfig()).dislocation_summary["n"] == 0
