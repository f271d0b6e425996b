"""Strain that looks like drift is told; strain that drift can not make is not."""

import numpy as np
import pytest

from atomseg.measure import LatticeConfig, measure_lattice

# Errors of columns as micrographs have them, nm.
NOISE_NM = 0.008


def told(maker, crystal):
    columns, phases, calibration = maker.build(crystal, NOISE_NM)
    no_depth = np.full(phases.labels.shape, np.nan, np.float32)
    return measure_lattice(columns, phases, calibration, no_depth, LatticeConfig())


def drift(angle_deg):
    """Displacement that depends on the scan row alone, in the axes of a crystal at an angle; 2 % of strain at most."""
    t = np.deg2rad(angle_deg)

    def move(u, v):
        y = u * np.sin(t) - v * np.cos(t)
        dy, dx = 0.002 * y**2, 0.1 * np.sin(y / 2)
        return dx * np.cos(t) + dy * np.sin(t), dx * np.sin(t) - dy * np.cos(t)

    return move


@pytest.mark.parametrize("angle", [0, 30, 60, 90, 140])
def test_drift_is_told_at_any_angle_of_the_crystal(maker, angle):
    maps = told(maker, maker.Crystal(rotation_deg=angle, move=drift(angle)))
    # Drift along y stretches what stands on the rows, drift along x shears it.
    assert ("strain_ip" if angle == 90 else "strain_cc") in maps.summary["along_slow_scan"]
    assert any("slow scan direction" in text for text in maps.warnings)
    assert max(maps.summary["slow_scan_share"].values()) > 0.8


def bend(u, v):
    """2 degrees in 10 nm: rows of scan are bent too, or stretched, which no drift does."""
    return -u * v * np.deg2rad(2) / 10, u * u * np.deg2rad(2) / 20


def wave(u, v):
    """Strain of 1 % that varies along the rows of the crystal."""
    return 0.01 * np.sin(u), 0.0 * v


def core(u, v):
    """An edge dislocation, whose extra layer ends in the middle."""
    return 0.0 * u, 0.473 * np.arctan2(v - 0.2, u - 0.1) / (2 * np.pi)


@pytest.mark.parametrize("move", [None, bend, wave, core])
@pytest.mark.parametrize("angle", [0, 30])
def test_real_strain_that_drift_can_not_make_is_not_told(maker, angle, move):
    maps = told(maker, maker.Crystal(rotation_deg=angle, move=move))
    assert maps.summary["along_slow_scan"] == []
    assert not any("slow scan" in text for text in maps.warnings)


def test_an_oblique_gradient_of_strain_is_not_told(maker):
    maps = told(maker, maker.Crystal(rotation_deg=45, move=lambda u, v: (0 * u, 0.001 * v**2)))
    assert maps.summary["along_slow_scan"] == []


def test_too_few_columns_say_nothing(maker):
    maps = told(maker, maker.Crystal(size_nm=3.0, move=drift(0)))
    assert maps.summary["slow_scan_share"]["strain_cc"] is None
    assert maps.summary["along_slow_scan"] == []
