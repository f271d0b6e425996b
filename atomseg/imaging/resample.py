"""Separable, anti-aliased resampling between pixel grids."""

import numpy as np
from scipy.ndimage import spline_filter
from scipy.sparse import csr_array

# Keys (1981), doi:10.1109/TASSP.1981.1163711: a = -1/2 makes cubic convolution exact for quadratics.
_KEYS_A = -0.5
_KEYS_SUPPORT = 2.0
# Pixels of repeated border before a spline is fitted: its memory of a pixel falls to a quarter with every pixel.
_BORDER_PX = 12


def canonical_shape(shape: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """Shape of the resampled grid: at least one pixel, the same field of view to half a pixel.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the input.
    scale : tuple of float
        (y, x) input pixels per output pixel.
    """
    return (max(1, round(shape[0] / scale[0])), max(1, round(shape[1] / scale[1])))


def resample(image: np.ndarray, scale: tuple[float, float], shape: tuple[int, int] | None = None) -> np.ndarray:
    """Resample an image onto a coarser or finer grid over the same field of view.

    Output pixel ``o`` looks at input coordinate ``(o + 0.5) * scale - 0.5`` on each axis. Cubic convolution when
    enlarging; when shrinking the same kernel is stretched by `scale`, which suppresses what the coarse grid can not
    hold. Beyond the border nothing is invented: the weights that fall inside are normalized to one.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) finite image; worked on in float32.
    scale : tuple of float
        (y, x) input pixels per output pixel, > 0.
    shape : tuple of int, optional
        Output shape; `canonical_shape` by default.

    Returns
    -------
    numpy.ndarray
        float32 image of that shape.

    Raises
    ------
    ValueError
        If the image is not 2D or a scale is not positive.
    """
    if image.ndim != 2:
        raise ValueError(f"resample takes one 2D image, got shape {image.shape}")
    if not min(scale) > 0:
        raise ValueError(f"scale is input pixels per output pixel and must be positive, got {scale}")
    height, width = shape if shape is not None else canonical_shape((image.shape[0], image.shape[1]), scale)
    rows = _axis_weights(image.shape[0], height, scale[0])
    cols = _axis_weights(image.shape[1], width, scale[1])
    halfway = rows @ image.astype(np.float32, copy=False)
    return np.ascontiguousarray((cols @ halfway.T).T, dtype=np.float32)


def spline_at(image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Cubic spline through the pixels of an image, at a grid of places; the border goes on as it is outside.

    Parameters
    ----------
    image : numpy.ndarray
        (h, w) image.
    rows, cols : numpy.ndarray
        (H,) and (W,) coordinates, pixels; no more than a few outside the image.

    Returns
    -------
    numpy.ndarray
        (H, W) float32.
    """
    padded = np.pad(image.astype(np.float32, copy=False), _BORDER_PX, mode="edge")
    knots = spline_filter(padded, order=3, output=np.float32, mode="nearest")
    over, along = (_spline_weights(at + _BORDER_PX, n) for at, n in zip((rows, cols), padded.shape, strict=True))
    return np.asarray(over @ np.ascontiguousarray((along @ knots.T).T))


def gaussian_at(image: np.ndarray, sigma_px: tuple[float, float], rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Gaussian blur of an image, at some of its rows and columns alone; the border goes on as it is outside.

    Parameters
    ----------
    image : numpy.ndarray
        (h, w) image.
    sigma_px : tuple of float
        (y, x) standard deviation, pixels; followed to four of them.
    rows, cols : numpy.ndarray
        (H,) and (W,) int, which.

    Returns
    -------
    numpy.ndarray
        (H, W) float32.
    """
    over, along = (
        _gaussian_weights(at, sigma, n) for at, sigma, n in zip((rows, cols), sigma_px, image.shape, strict=True)
    )
    lines = over @ image.astype(np.float32, copy=False)
    return np.ascontiguousarray((along @ np.ascontiguousarray(lines.T)).T)


def _gaussian_weights(at: np.ndarray, sigma: float, n: int) -> csr_array:
    """(len(at), n) float32 weights of a Gaussian around each place."""
    reach = int(4.0 * sigma + 0.5)
    taps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    values = np.tile((weights / weights.sum()).astype(np.float32), len(at))
    index = np.clip(at[:, None] + taps, 0, n - 1)
    return csr_array((values, (np.repeat(np.arange(len(at)), len(taps)), index.ravel())), shape=(len(at), n))


def _spline_weights(at: np.ndarray, n: int) -> csr_array:
    """(len(at), n) float32 values of the cubic B-splines of the four pixels around each place."""
    first = np.floor(at).astype(np.int64)
    t = at - first
    values = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6.0
    index = first[:, None] + np.arange(-1, 3)
    row = np.repeat(np.arange(len(at)), 4)
    return csr_array((values.astype(np.float32).ravel(), (row, index.ravel())), shape=(len(at), n))


def _axis_weights(n_in: int, n_out: int, scale: float) -> csr_array:
    """(n_out, n_in) float32 interpolation matrix of one axis."""
    stretch = max(scale, 1.0)
    centres = (np.arange(n_out) + 0.5) * scale - 0.5
    half = _KEYS_SUPPORT * stretch
    taps = np.arange(int(np.ceil(2 * half)) + 1)
    index = np.floor(centres - half).astype(np.int64)[:, None] + 1 + taps[None, :]
    weights = _keys((index - centres[:, None]) / stretch)
    inside = (index >= 0) & (index < n_in)
    weights = np.where(inside, weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    keep = inside & (weights != 0.0)
    row = np.broadcast_to(np.arange(n_out)[:, None], index.shape)
    entries = (weights[keep].astype(np.float32), (row[keep], index[keep]))
    return csr_array(entries, shape=(n_out, n_in))


def _keys(t: np.ndarray) -> np.ndarray:
    """Cubic convolution kernel, support ``|t| < 2``."""
    t = np.abs(t)
    near = ((_KEYS_A + 2) * t - (_KEYS_A + 3)) * t * t + 1
    far = _KEYS_A * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < _KEYS_SUPPORT, far, 0.0))
