"""What noise does not explain comes back; what it does explain stays away."""

import numpy as np
import pytest

from atomseg.imaging.residual import unexplained

PIXEL_NM = (0.02, 0.02)
SHAPE = (256, 320)
# Away from the rim, where local means see less.
INNER = (slice(16, -16), slice(16, -16))


def columns(width_nm: float = 0.05) -> np.ndarray:
    """Square lattice of Gaussians of height 1, on the left half of the image."""
    y, x = (np.arange(n) * PIXEL_NM[0] for n in SHAPE)
    wave = [((v + 0.15) % 0.3 - 0.15) ** 2 for v in (y, x)]
    image = np.exp(-0.5 * (wave[0][:, None] + wave[1][None, :]) / width_nm**2)
    image[:, SHAPE[1] // 2 :] = 0.0
    return image


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values[INNER] ** 2).mean()))


@pytest.mark.parametrize("counts", [3.0, 100.0])
def test_noise_alone_is_left_out(counts):
    truth = counts * (0.3 + columns())
    noisy = np.random.default_rng(0).poisson(truth)
    # A right estimate: what comes back is a small part of the noise that a hundred columns' means would still have.
    assert rms(unexplained(noisy, truth, PIXEL_NM)) < 0.05 * rms(noisy - truth)


def test_the_error_of_an_estimate_is_put_right_where_it_stands_out():
    counts = 3000.0
    truth = counts * (0.3 + columns())
    noisy = np.random.default_rng(1).poisson(truth)
    estimate = counts * (0.3 + 0.9 * columns(0.054))
    put_right = estimate + unexplained(noisy, estimate, PIXEL_NM)
    before, after = rms(estimate - truth), rms(put_right - truth)
    # Noise of 30 to 60 counts a pixel against errors of 300: better than the estimate and than the image itself.
    assert after < 0.25 * before
    assert after < rms(noisy - truth)
    # On the empty half there was nothing to put right.
    empty = unexplained(noisy, estimate, PIXEL_NM)[32:-32, SHAPE[1] // 2 + 32 : -32]
    assert np.sqrt((empty**2).mean()) < 0.1 * np.sqrt(0.3 * counts)


def test_unit_and_offset_do_not_matter():
    truth = 500.0 * (0.3 + columns())
    noisy = np.random.default_rng(2).poisson(truth)
    estimate = 0.9 * truth
    one = unexplained(noisy, estimate, PIXEL_NM)
    other = unexplained(7.0 * noisy + 100.0, 7.0 * estimate + 100.0, PIXEL_NM)
    assert np.allclose(other, 7.0 * one, rtol=1e-3, atol=1e-3 * np.abs(other).max())
