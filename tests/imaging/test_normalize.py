import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from atomseg.errors import ConfigError
from atomseg.imaging import NormalizeConfig, normalize, smooth


@pytest.fixture
def image():
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:160, :200]
    lattice = np.cos(2 * np.pi * rows / 9) * np.cos(2 * np.pi * cols / 11)
    lattice[:, :60] = 0  # vacuum on the left
    return (100 + 20 * lattice + rng.normal(0, 3, lattice.shape)).astype(np.float32)


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 0.0), (250.0, 0.0), (1.0, -80.0), (3.0, 700.0)])
def test_gain_and_offset_do_not_matter(image, gain, offset):
    one = normalize(image, 0.025).image
    other = normalize((gain * image + offset).astype(np.float32), 0.025).image
    assert np.abs(one - other).max() < 2e-3  # rounding of float32 intensities near 800 with contrast of 60


def test_it_can_be_undone(image):
    result = normalize(image, 0.025)
    assert np.allclose(result.image * result.scale + result.mean, image, atol=1e-3)
    assert (result.scale > 0).all()


def test_crystal_gets_unit_contrast_and_vacuum_noise_less(image):
    out = normalize(image, 0.025).image
    assert 0.85 < out[20:-20, 110:-20].std() < 1.15
    # Noise of 3 against a floor of 5 % of the crystal's variance, 109: 3 / sqrt(9 + 5.5) = 0.79, crystal reaches in.
    assert out[20:-20, 5:15].std() < 0.85


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 65535.0])
def test_an_image_without_contrast_gives_zeros(value):
    result = normalize(np.full((40, 50), value, np.float32), 0.025)
    assert not result.image.any()
    assert (result.scale == 1).all()
    assert np.allclose(result.mean, value)


@pytest.mark.parametrize("sigma", [2.0, 6.0, 24.0, 48.0])
def test_three_boxes_are_a_gaussian(sigma):
    size = int(10 * sigma) // 2 * 2 + 1
    point = np.zeros((size, size), np.float32)
    point[size // 2, size // 2] = 1
    ours, theirs = smooth(point, sigma), gaussian_filter(point, sigma, truncate=6)
    # In two dimensions three boxes are up to 11 % lower at the peak than the Gaussian; one box is 30 % lower.
    assert np.abs(ours - theirs).max() < 0.12 * theirs.max()
    rows = np.arange(size) - size // 2
    width = np.sqrt((ours.sum(axis=1) * rows**2).sum() / ours.sum())
    assert width == pytest.approx(sigma, rel=0.09 if sigma < 6 else 0.03)  # odd boxes are coarse at 2 px


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (10, 10)])
def test_tiny_images(shape):
    result = normalize(np.random.default_rng(0).random(shape).astype(np.float32), 0.025)
    assert np.isfinite(result.image).all()
    assert result.image.shape == shape


@pytest.mark.parametrize(
    ("key", "value"),
    [("mean_sigma_nm", 0.0), ("variance_sigma_nm", 100.0), ("floor_fraction", 0.0), ("floor_percentile", 101.0)],
)
def test_settings_out_of_range_name_the_key(key, value):
    with pytest.raises(ConfigError, match=key):
        NormalizeConfig(**{key: value})
