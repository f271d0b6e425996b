"""Peaks are columns where there is crystal: what neighbours say together, and speckle of amorphous films."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from atomseg.infer import infer
from atomseg.localize import LocalizeConfig, find_peaks
from atomseg.localize.peaks import AROUND, crystal_around
from atomseg.networks import load_model
from atomseg.types import Calibration, CalibrationOrigin, Micrograph

PIXEL_NM, SIGMA_NM = 0.025, 0.05


def test_neighbours_overrule_one_that_is_unsure_and_one_that_is_too_sure():
    lattice = np.argwhere(np.ones((12, 12))).astype(float)
    sure = np.full(144, 0.99)
    sure[70] = 0.6
    # 24 of 25 log odds of 4.6 and one of 0.4 are 4.4 on average, a probability of 0.988.
    assert crystal_around(lattice, sure)[70] == pytest.approx(0.988, abs=1e-3)
    unsure = np.full(144, 0.85)
    unsure[70] = 0.999
    assert crystal_around(lattice, unsure)[70] < 0.9


def test_the_order_of_peaks_does_not_matter_and_neither_does_their_unit():
    rng = np.random.default_rng(0)
    yx, probability = rng.uniform(0, 9, (80, 2)), rng.uniform(0.1, 0.99, 80)
    order = rng.permutation(80)
    there = crystal_around(yx, probability)
    np.testing.assert_allclose(crystal_around(40.0 * yx[order], probability[order]), there[order])


@pytest.mark.parametrize("n", [0, 1, AROUND - 1])
def test_few_peaks_ask_as_many_as_there_are(n):
    yx = np.arange(2.0 * n).reshape(n, 2)
    np.testing.assert_allclose(crystal_around(yx, np.full(n, 0.7)), np.full(n, 0.7))


def test_certainty_is_not_infinite():
    assert np.isfinite(crystal_around(np.zeros((2, 2)), np.array([0.0, 1.0]))).all()


@pytest.fixture(scope="module")
def credulous():
    """A released network that takes the grains of such films for columns, one by one."""
    return load_model("unet24.v2")


def film(counts, level, seed):
    """14 nm of amorphous film: 500 atoms in a nm² at random places, each as wide as a column; columns have `counts`."""
    rng = np.random.default_rng(seed)
    side = 560
    peak = counts * PIXEL_NM**2 / (2 * np.pi * SIGMA_NM**2)
    atoms = gaussian_filter(rng.poisson(500 * PIXEL_NM**2, (side, side)).astype(float), SIGMA_NM / PIXEL_NM)
    image = rng.poisson(peak * (0.1 + level * atoms / atoms.mean())).astype(np.float32)
    return Micrograph(image, Calibration((PIXEL_NM, PIXEL_NM), CalibrationOrigin.USER))


@pytest.mark.parametrize(("counts", "level"), [(1e3, 0.3), (1e4, 0.05), (1e4, 0.3)])
def test_speckle_as_fine_as_columns_is_no_crystal(credulous, counts, level):
    """A heavy oxide at 0.3 of a column, carbon at 0.05."""
    prediction = infer(film(counts, level, seed=1), credulous)
    # Some hundred grains look like columns one by one, so that there is something to refuse...
    assert len(find_peaks(prediction, 0.08, 0.0)) > 50
    # ...of which at most five in a hundred nm² may be left: a crystal has 700 to 1500.
    assert len(find_peaks(prediction, 0.08, LocalizeConfig().min_crystal)) <= 0.05 * 14.0**2


@pytest.mark.parametrize(("counts", "level"), [(1e2, 0.3), (1e3, 0.3), (1e4, 0.05), (1e4, 0.3)])
def test_the_default_network_takes_no_speckle_for_columns(counts, level):
    prediction = infer(film(counts, level, seed=1), load_model())
    # At most one in a hundred nm² is asked.
    assert len(find_peaks(prediction, 0.08, LocalizeConfig().min_crystal)) <= 0.01 * 14.0**2
