"""Blocks of pixels: their means, and what averaging does to a Gaussian."""

import numpy as np
import pytest

from atomseg.imaging import block_means, block_variance_px


def test_mean_of_a_ramp_is_its_value_in_the_middle_of_each_block():
    y, x = np.indices((11, 14))
    means = block_means(2.0 * y - 3.0 * x, (2, 5))
    rows, cols = np.indices((5, 2))
    # Rows 0 and 1 have their middle at 0.5, columns 0 to 4 at 2; the eleventh row and four columns fill no block.
    np.testing.assert_allclose(means, 2.0 * (2 * rows + 0.5) - 3.0 * (5 * cols + 2.0), atol=1e-12)


def test_single_pixels_are_their_own_blocks():
    image = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    np.testing.assert_array_equal(block_means(image, (1, 1)), image)


@pytest.mark.parametrize("block", [2, 3, 6])
def test_a_gaussian_is_widened_by_the_variance_of_the_block(block):
    at = np.arange(60 * block) - 30.0 * block
    spot = np.exp(-0.5 * (at[:, None] ** 2 + at**2) / (1.5 * block) ** 2)
    means = block_means(spot, (block, block))
    place = np.arange(60)
    along = means.sum(axis=1)
    middle = np.average(place, weights=along)
    variance = np.average((place - middle) ** 2, weights=along) * block**2
    # Second moments of a spot and a block add up exactly; ten widths away the spot is below 1e-20 of its peak.
    assert variance == pytest.approx((1.5 * block) ** 2 + block_variance_px((block, block))[0], rel=1e-9)
