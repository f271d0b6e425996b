"""Offering a pixel size to an image that has none."""

import numpy as np
import pytest

from atomseg.classify import suggest_pixel_size


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
