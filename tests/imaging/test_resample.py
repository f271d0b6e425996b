import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from atomseg.imaging import canonical_shape, gaussian_at, resample, to_canonical
from atomseg.imaging.resample import spline_at


def ramp_image(shape):
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return (2.0 * rows - 3.0 * cols + 7.0).astype(np.float32)


@pytest.mark.parametrize("scale", [(0.24, 0.24), (0.6, 0.8), (1.0, 1.0), (1.7, 1.3), (4.2, 4.2)])
def test_a_ramp_keeps_its_value_at_the_mapped_coordinate(scale):
    """Half-pixel convention: input = (output + 0.5) * scale - 0.5; symmetric kernels reproduce straight lines."""
    shape = (120, 90)
    out = resample(ramp_image(shape), scale)
    rows = (np.arange(out.shape[0]) + 0.5) * scale[0] - 0.5
    cols = (np.arange(out.shape[1]) + 0.5) * scale[1] - 0.5
    expected = 2.0 * rows[:, None] - 3.0 * cols[None, :] + 7.0
    reach_y, reach_x = (int(np.ceil(2 * max(s, 1) / s)) + 1 for s in scale)  # kernels cut by the border are one-sided
    inner = (slice(reach_y, -reach_y), slice(reach_x, -reach_x))
    # A stretched kernel is sampled off its knots: the centre of its weights is right to 0.02 pixels, times slope 5.
    assert np.abs(out - expected)[inner].max() < 0.1


def test_a_constant_stays_constant_up_to_the_border():
    out = resample(np.full((37, 53), 1234.5, np.float32), (2.3, 0.7))
    # float32 sums of about ten weights that add up to one
    assert np.abs(out - 1234.5).max() < 1e-2


def test_scale_one_is_the_identity():
    image = np.random.default_rng(0).normal(size=(20, 31)).astype(np.float32)
    assert np.array_equal(resample(image, (1.0, 1.0)), image)


def test_shrinking_suppresses_what_the_coarse_grid_can_not_hold():
    """Stripes of 2.2 px seen at a third of the resolution must not come back as broad stripes."""
    stripes = np.cos(2 * np.pi * np.arange(300) / 2.2)[None, :].repeat(60, axis=0).astype(np.float32)
    out = resample(stripes, (3.0, 3.0))
    assert np.abs(out[5:-5, 5:-5]).max() < 0.05  # picking every third pixel leaves 1.0
    assert np.abs(stripes[:, 1::3]).max() > 0.99


def test_white_noise_loses_the_variance_that_averaging_takes():
    noise = np.random.default_rng(1).normal(size=(800, 800)).astype(np.float32)
    out = resample(noise, (4.0, 4.0))
    # The weights of an axis are k(t / 4) / 4; the integral of k**2 is 0.814 for Keys' kernel: variance (0.814 / 4)**2.
    assert out.var() == pytest.approx((0.814 / 4) ** 2, rel=0.04)  # 40 000 pixels, neighbours correlated


def test_a_peak_comes_back_at_its_place():
    scale, sigma, centre = (1.9, 2.4), 6.0, (61.3, 47.8)
    rows, cols = np.mgrid[:130, :110]
    image = np.exp(-0.5 * ((rows - centre[0]) ** 2 + (cols - centre[1]) ** 2) / sigma**2).astype(np.float32)
    out = resample(image, scale).astype(np.float64)
    rows, cols = np.mgrid[: out.shape[0], : out.shape[1]]
    found = np.array([(rows * out).sum(), (cols * out).sum()]) / out.sum()
    back = (found + 0.5) * np.array(scale) - 0.5
    assert np.abs(back - centre).max() < 0.01  # px of the input: 0.2 pm at 20 pm pixels


@pytest.mark.parametrize(("shape", "scale", "expected"), [((100, 50), (2, 2), (50, 25)), ((3, 1), (4.0, 4.0), (1, 1))])
def test_shape(shape, scale, expected):
    assert canonical_shape(shape, scale) == expected
    assert resample(np.ones(shape, np.float32), scale).shape == expected


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="2D image"):
        resample(np.zeros((2, 3, 4), np.float32), (1, 1))
    with pytest.raises(ValueError, match="positive"):
        resample(np.zeros((3, 4), np.float32), (0, 1))


def test_positions_follow_the_canonical_grid_there_and_back():
    view = to_canonical(np.random.default_rng(2).random((64, 80), np.float32), (0.02, 0.01))
    assert view.scale == pytest.approx((1.25, 2.5))
    yx = np.array([[0.0, 0.0], [10.25, 33.5]])
    back = (view.from_input_px(yx) + 0.5) * np.array(view.scale) - 0.5
    assert np.allclose(back, yx, atol=1e-12)


@pytest.mark.parametrize("shape", [(31, 47), (3, 60)])
def test_spline_is_that_of_an_independent_implementation_up_to_the_border(shape):
    rng = np.random.default_rng(2)
    image = rng.normal(100.0, 20.0, shape).astype(np.float32)
    rows, cols = (np.sort(rng.uniform(-0.9, n - 0.1, 80)) for n in shape)
    places = np.stack(np.meshgrid(rows, cols, indexing="ij"))
    # SciPy sums point by point in float64; float32 of some hundreds is good to 3e-5, and sixteen products are added.
    np.testing.assert_allclose(spline_at(image, rows, cols), map_coordinates(image, places, mode="nearest"), atol=3e-4)


@pytest.mark.parametrize("sigma", [(1.3, 1.3), (0.4, 9.0)])
def test_blur_at_some_places_is_that_of_the_whole_image_there(sigma):
    image = np.random.default_rng(4).normal(100.0, 20.0, (41, 57)).astype(np.float32)
    rows, cols = np.array([0, 3, 20, 39, 40]), np.arange(0, 57, 4)
    whole = gaussian_filter(image.astype(np.float64), sigma, mode="nearest")
    # float32 of some hundreds is good to 1e-5; up to seventy products of them are added.
    np.testing.assert_allclose(gaussian_at(image, sigma, rows, cols), whole[np.ix_(rows, cols)], atol=2e-4)
