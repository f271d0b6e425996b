"""Fault lists from gaps drawn by hand, and from simulated lamellae through the classifier."""

import numpy as np
import pandas as pd
import pytest

from atomseg.classify import ClassifyConfig, classify
from atomseg.measure.faults import fault_statistics, find_faults
from atomseg.simulate import DefectConfig, DomainConfig, FaultConfig, ScanConfig, SceneConfig, SurfaceConfig, simulate
from atomseg.types import Columns, Phase

PERIOD, LAYER, PIXEL = 0.249, 0.473, (0.02, 0.02)
# Half a period: where a fault ends is between two columns.
END_NM = 0.125


def gaps(o1, rotation_deg=0.0, size=(20, 40), row_ids=None):
    """A grid of gap sites; those for which `o1(layer, number)` is true are O1."""
    rows = []
    t = np.deg2rad(rotation_deg)
    for layer in range(size[0]):
        for number in range(size[1]):
            u, v = number * PERIOD + 0.08 * (layer % 3), layer * LAYER
            rows.append(
                {
                    "y_nm": 2.0 + v * np.cos(t) + u * np.sin(t),
                    "x_nm": 2.0 + u * np.cos(t) - v * np.sin(t) + 4 * np.sin(t),
                    "row_lower": layer if row_ids is None else row_ids(layer, number),
                    "row_upper": layer + 1,
                    "phase": int(Phase.O1 if o1(layer, number) else Phase.LAYERED),
                }
            )
    return pd.DataFrame(rows)


def faults(table, depth=None):
    depth = np.full((800, 900), np.nan) if depth is None else depth
    return find_faults(table, depth, PIXEL, PERIOD)


@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_a_fault_is_one_though_its_rows_change_number(rotation):
    table = gaps(lambda n, k: n == 5 and 6 <= k < 30, rotation, row_ids=lambda n, k: 100 * n + k // 9)
    found = faults(table)
    assert len(found) == 1
    assert abs(found["length_nm"][0] - 24 * PERIOD) < 1e-6
    assert found["ends_in_view"][0] == 2


def test_a_fault_goes_on_across_sites_that_were_missed():
    table = gaps(lambda n, k: n == 5 and 6 <= k < 30)
    lost = (table["row_lower"] == 5) & table.index.isin([5 * 40 + 14, 5 * 40 + 15, 5 * 40 + 22])
    assert len(faults(table[~lost])) == 1
    misread = table.copy()
    misread.loc[lost, "phase"] = int(Phase.UNRESOLVED)
    assert len(faults(misread)) == 1


def test_faults_far_apart_in_one_gap_are_two():
    found = faults(gaps(lambda n, k: n == 5 and (4 <= k < 14 or 24 <= k < 34)))
    assert len(found) == 2
    assert len(set(found["lamella_id"])) == 2


def test_lamella_is_counted_with_its_gaps():
    found = faults(gaps(lambda n, k: (n in (5, 6, 7) and 6 <= k < 30) or (n == 12 and 4 <= k < 20)))
    assert len(found) == 4
    assert sorted(found["lamella_gaps"]) == [1, 3, 3, 3]
    assert len(set(found.loc[found["lamella_gaps"] == 3, "lamella_id"])) == 1


def test_every_other_gap_is_no_lamella():
    """H1-3 stacking: O1 gaps with a layered one between them are faults of their own."""
    found = faults(gaps(lambda n, k: n % 2 == 1))
    assert (found["lamella_gaps"] == 1).all()


def test_faults_side_by_side_are_no_lamella():
    found = faults(gaps(lambda n, k: (n == 5 and k < 12) or (n == 6 and k > 20)))
    assert (found["lamella_gaps"] == 1).all()


def test_one_site_is_no_fault():
    assert len(faults(gaps(lambda n, k: n == 5 and k == 12))) == 0


def test_fault_that_leaves_the_view_has_an_open_end():
    table = gaps(lambda n, k: n == 5)
    table["x_nm"] -= 2.0
    found = faults(table)
    assert found["ends_in_view"][0] == 1


def test_distance_is_that_of_the_nearest_site():
    depth = np.repeat(np.arange(800)[:, None] * 0.02, 900, axis=1) - 1.0
    found = faults(gaps(lambda n, k: n in (5, 9) and 6 <= k < 30), depth)
    # Sites of a pixel are read at its centre.
    assert np.allclose(sorted(found["surface_distance_nm"]), [1 + 5 * LAYER, 1 + 9 * LAYER], atol=0.011)


def test_share_of_faulted_gaps():
    numbers = fault_statistics(gaps(lambda n, k: n < 5), LAYER)
    assert numbers["classified_pairs"] == 800
    assert numbers["fault_fraction"] == 0.25
    low, high = numbers["fault_fraction_90"]
    # Normal limit of a binomial share, which Wilson's interval approaches.
    half = 1.645 * np.sqrt(0.25 * 0.75 / 800)
    assert abs((high - low) / 2 - half) < 0.001
    # A quarter of the gaps, one every 0.473 nm along c.
    assert abs(numbers["density_per_nm"] - 0.25 / LAYER) < 1e-12
    empty = fault_statistics(gaps(lambda n, k: False).iloc[:0], LAYER)
    assert empty["fault_fraction"] is None


def test_lamellae_of_simulated_scenes_are_found():
    """Two gaps or more, 2 nm or longer, columns known to 6 pm: nine of ten found, nine of ten right."""
    config = SceneConfig(
        shape=(512, 512),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        surface=SurfaceConfig(p_none=1.0, p_edge=0.0, p_crack=0.0),
        faults=FaultConfig(p_bulk=1.0, p_hybrid=0.0, p_lamella=1.0, lamella_gaps=(2, 5), density_per_nm=(0.1, 0.2)),
        domains=DomainConfig(p_twin=0.0, p_variant=0.0, p_grain=0.0),
        defects=DefectConfig(p_missing=0.0, p_dislocations=0.0, p_overlap=0.0),
        scan=ScanConfig(pixel_size_nm=(0.02, 0.02), p_jump=0.0, bend_nm=(0.0, 0.1)),
    )
    hit = true = right = found_number = 0
    for seed in range(4):
        rng = np.random.default_rng(900 + seed)
        scene = simulate(config, rng)
        table = scene.columns.table
        table = table[table["required"] == 1].reset_index(drop=True).copy()
        pixel = np.asarray(scene.micrograph.calibration.pixel_size_nm)
        moved = table[["y_nm", "x_nm"]].to_numpy() + rng.normal(0, 0.006, (len(table), 2))
        table[["y_nm", "x_nm"]], table[["y_px", "x_px"]] = moved, moved / pixel
        table["sigma_y_pm"] = table["sigma_x_pm"] = 6.0
        phases = classify(scene.micrograph, Columns(table), ClassifyConfig())
        found = find_faults(phases.gaps, np.full(scene.micrograph.shape, np.nan), tuple(pixel), PERIOD)
        wanted = scene.reconstruction.faults
        wanted = wanted[wanted["length_nm"] >= 2.0]
        found = found[(found["lamella_gaps"] >= 2) & (found["length_nm"] >= 2.0)]
        at, seen = wanted[["y_px", "x_px"]].to_numpy() * pixel, found[["y_px", "x_px"]].to_numpy() * pixel
        distance = np.hypot(*(at[:, None] - seen[None]).transpose(2, 0, 1))
        # Same gap (half a layer across), ends within what noise and the row's step leave.
        near = distance < 0.6
        length = np.abs(wanted["length_nm"].to_numpy()[:, None] - found["length_nm"].to_numpy()[None]) < 1.0
        pair = near & length
        hit, true = hit + int(pair.any(axis=1).sum()), true + len(wanted)
        right, found_number = right + int(pair.any(axis=0).sum()), found_number + len(found)
    assert true >= 15
    assert hit / true >= 0.9
    assert right / found_number >= 0.9


def test_faults_that_barely_overlap_are_no_lamella():
    """Two sites of ten above each other: the ends of two faults, not one lamella."""
    found = faults(gaps(lambda n, k: (n == 5 and 4 <= k < 14) or (n == 6 and 12 <= k < 22)))
    assert len(found) == 2
    assert (found["lamella_gaps"] == 1).all()
