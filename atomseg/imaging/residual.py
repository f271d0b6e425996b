"""What a restored image left out: the part of the residual that noise does not explain."""

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter

from atomseg.imaging.noise import rough_power

# Rings of the power spectrum, cycles a pixel.
_RINGS = 64
# Noise and signal are compared over this distance, nm: a column and its nearest neighbours.
LOCAL_NM = 0.2
# Local power that is still taken for noise, in units of its expectation: 30 independent values scatter by a quarter.
NOISE_MARGIN = 1.5


def unexplained(image: np.ndarray, estimate: np.ndarray, pixel_size_nm: tuple[float, float]) -> np.ndarray:
    """The part of ``image - estimate`` that is no white noise, (H, W) float32: to be added to the estimate.

    Two Wiener gains multiply: one a spatial frequency (power of the residual in its ring over that of white noise), one
    a place (power of what is left, around it). Where the residual is noise alone both vanish, and nothing is added;
    where an image is so bright that the estimate's own errors stand out, they are put right.

    Parameters
    ----------
    image, estimate : numpy.ndarray
        (H, W) measured image and what it would be without noise, in the same unit.
    pixel_size_nm : tuple of float
        (y, x) size of the pixels.
    """
    residual = (image - estimate).astype(np.float32)
    sigma_px = LOCAL_NM / np.asarray(pixel_size_nm)
    noise = gaussian_filter(rough_power(residual), sigma_px)
    gain, passed = _spectral_gain(residual, float(noise.mean()))
    if passed == 0.0:
        return np.zeros_like(residual)
    pad = [(0, next_fast_len(n + int(4 * s)) - n) for n, s in zip(residual.shape, sigma_px, strict=True)]
    padded = np.pad(residual, pad, mode="symmetric")
    frequency = _frequency(padded.shape)
    band = irfft2(rfft2(padded) * np.interp(frequency, *gain), padded.shape)
    band = np.asarray(band[: residual.shape[0], : residual.shape[1]], np.float32)
    power = gaussian_filter(band**2, sigma_px)
    weight = np.clip(1.0 - NOISE_MARGIN * passed * noise / np.maximum(power, 1e-30), 0.0, 1.0)
    return np.asarray(weight * band, np.float32)


def _frequency(shape: tuple[int, ...]) -> np.ndarray:
    """Cycles a pixel of every element of a real transform."""
    return np.asarray(np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]))


def _spectral_gain(residual: np.ndarray, noise: float) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Wiener gain at the middles of rings of frequency, and the share of white noise that passes it."""
    window = np.outer(np.hanning(residual.shape[0]), np.hanning(residual.shape[1]))
    spectrum = np.abs(rfft2(residual * window)) ** 2 / (window**2).sum()
    frequency = _frequency(residual.shape)
    ring = np.minimum((frequency / 0.5 * _RINGS).astype(int), _RINGS - 1)
    count = np.maximum(np.bincount(ring.ravel(), minlength=_RINGS), 1)
    power = np.bincount(ring.ravel(), spectrum.ravel(), minlength=_RINGS) / count
    gain = np.clip(1.0 - noise / np.maximum(power, 1e-30), 0.0, 1.0)
    passed = float((count * gain**2).sum() / count.sum())
    return ((np.arange(_RINGS) + 0.5) / _RINGS * 0.5, gain), passed
