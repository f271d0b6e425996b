import numpy as np
from scipy.interpolate import RegularGridInterpolator

from atomseg.imaging import at_nearest_pixels, grid_to_pixels


def test_grid_is_brought_to_pixels_as_scipy_does():
    values = np.random.default_rng(0).uniform(0.0, 30.0, (17, 23))
    interpolator = RegularGridInterpolator((np.linspace(0, 1, 17), np.linspace(0, 1, 23)), values)
    y, x = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 64), indexing="ij")
    # float32 keeps 24 bits: 30 is off by at most 2e-6, a sum of four products by several of them.
    np.testing.assert_allclose(grid_to_pixels(values, (101, 64)), interpolator((y, x)), atol=2e-5)


def test_unknown_node_leaves_its_neighbours_known():
    values = np.zeros((3, 3))
    values[1, 1] = np.nan
    unknown = np.isnan(grid_to_pixels(values, (9, 9)))
    expected = np.zeros((9, 9), dtype=bool)
    expected[1:8, 1:8] = True  # between the nodes around it, not on them
    np.testing.assert_array_equal(unknown, expected)
    np.testing.assert_array_equal(grid_to_pixels(values, (3, 3)), values)


def test_places_take_the_pixel_they_lie_in_and_the_borders_outside():
    codes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    places = np.array([[0.4, 0.6], [1.6, 2.4], [-3.0, 1.0], [2.0, 9.0]])
    found = at_nearest_pixels(codes, places)
    assert found.dtype == np.uint8
    assert found.tolist() == [1, 10, 1, 11]
    assert at_nearest_pixels(codes, np.zeros((0, 2))).shape == (0,)
