"""Offering a pixel size to an image that has none."""

import numpy as np
import pytest

from atomseg.classify import suggest_pixel_size
from atomseg.classify.scale import agreed_size
from atomseg.io import read_micrograph


@pytest.mark.parametrize("pixel_nm", [0.012, 0.02, 0.03])
def test_layered_lattice_tells_its_pixel_size(maker, pixel_nm):
    micrograph, _ = maker.build(maker.Lattice(size_nm=9.0, pixel_nm=pixel_nm, rotation_deg=17))
    suggested = suggest_pixel_size(micrograph.image)
    # The ruler is the mean in-plane period of the layered oxides; theirs differ by 1 %, peaks are placed to a few pm.
    assert suggested == pytest.approx(pixel_nm, rel=0.02)


def test_lattice_without_stripes_tells_nothing(maker):
    everything_bright = maker.Lattice(size_nm=9.0, occupancy=lambda y, x: np.ones_like(y))
    assert suggest_pixel_size(maker.build(everything_bright)[0].image) is None


def test_noise_tells_nothing():
    assert suggest_pixel_size(np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)) is None


@pytest.mark.parametrize("turn", [0, 60])
def test_bulk_beside_vacuum_and_a_layer_in_the_middle_tells_its_pixel_size(maker, turn):
    # Vacuum down to 5 nm, rocksalt to 9 nm: the middle 12 nm are more of these than of bulk.
    surface = maker.Lattice(
        size_nm=15.0,
        pixel_nm=0.03,
        rotation_deg=turn,
        crystal=lambda y, _x: y > 5,
        occupancy=lambda y, _x: np.where(y < 9, 1.0, 0.03),
    )
    assert suggest_pixel_size(maker.build(surface)[0].image) == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize(
    ("readings", "size"),
    [
        ([], None),
        ([(1.0, 0.02)], None),  # one window at one trial: chance
        ([(0.6, 0.02), (0.6, 0.0201)], None),  # two that are hardly followed: random lattices do that
        ([(0.9, 0.02), (0.9, 0.03)], None),  # two that contradict each other
        ([(0.9, 0.02), (0.6, 0.0204)], 0.0202),
        ([(0.9, 0.02), (0.9, 0.0202), (0.9, 0.0206), (1.0, 0.03), (1.0, 0.0303)], 0.0202),
    ],
)
def test_a_size_is_offered_where_readings_agree(readings, size):
    assert agreed_size(np.array(readings).reshape(-1, 2)) == (None if size is None else pytest.approx(size))


@pytest.mark.parametrize(
    ("case", "pixel_nm"),
    [
        ("D02_bulk_low_dose_coarse", 0.033),
        ("D06_inclined_8nm_amorphous", 0.024),
        ("D07_crack_7nm", 0.026),
        ("D08_thick_21nm_O1_faults", 0.027),
        ("D09_censored", None),  # rocksalt all over: at some scale every fcc-like crystal looks like it
        ("D10_bulk_O1_lamellae", 0.022),
        ("D11_SrTiO3_001", None),
        ("D12_Si110_dumbbells", None),
    ],
)
def test_independent_images_are_offered_the_right_size_or_none(shared_data, case, pixel_nm):
    image = read_micrograph(shared_data / "multislice" / "cases" / case / "image.tif").image
    suggested = suggest_pixel_size(image)
    assert (suggested is None) if pixel_nm is None else (suggested == pytest.approx(pixel_nm, rel=0.02))


@pytest.mark.parametrize(
    ("sample", "pixel_nm"),
    [
        ("bulk_o1_faults", 0.02),
        ("qsc811_crack_thick", 0.029),
        ("qsc811_outer_surface", 0.026),
        ("sc811_surface_thin", 0.022),
        ("srtio3_001", None),
    ],
)
def test_samples_are_offered_the_right_size_or_none(repository, sample, pixel_nm):
    suggested = suggest_pixel_size(read_micrograph(repository / "samples" / f"{sample}.tif").image)
    assert (suggested is None) if pixel_nm is None else (suggested == pytest.approx(pixel_nm, rel=0.02))
