"""Pixels as one plane of float32: colours judged, spikes and lost rows found and filled, odd units scaled."""

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from atomseg.errors import InputError

# JPEG chroma and a resampled screen tint keep grey pictures within a few per cent of grey; a coloured scale bar or a
# line of text covers less than 1 % of the pixels and is no reason to refuse the image. It hides what is below it, with
# a rim of this many pixels that are half of it.
_GREY_SPREAD = 0.06
_COLOURED_FRACTION = 0.01
_COLOURED_RIM_PX = 2
_LARGEST_INVALID_FRACTION = 0.5
# The image's contrast lies between these percentiles, of so many pixels.
_CONTRAST_PERCENTILES, _CONTRAST_PIXELS = (1.0, 99.5), 1_000_000
# A spike is a pixel that lies so many times the contrast below or above it, and of which the third brightest neighbour
# has less than this share: at the peak of a column of 80 pm, seen with pixels of 45 pm, that is 0.35. Single counts of
# the lowest doses reach far above, nothing but a dead pixel far below. Twenty pixels at six times the contrast add 4
# false columns to 283 and displace the others by 5 pm; at less than three times no column is lost or added, and they
# are displaced by 1 pm.
_SPIKE_CONTRASTS, _SPIKE_SHARE = (1.0, 3.0), 0.2
# Both are counted from this quantile of the 5 x 5 pixels about it: below the median, because neighbouring columns can
# fill half of them.
_SPIKE_FLOORS = (0.5, 0.2)
# Windows that are looked at together.
_WINDOWS = 100_000
# Rows that can be lost together (more are a blank area), how far the median of one that holds one number is from its
# neighbours', of the contrast, pixels that are asked for it, and the share of rows whose contrast it is.
_MOST_ROWS, _ROW_JUMP, _ROW_PIXELS, _ORDINARY_ROWS = 4, 0.05, 512, 0.95
# Contrasts that float32 and everything after it can work with: their squares and their noise's do not leave it.
_CONTRASTS = (1e-6, 1e12)


def grey(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One plane from a colour image whose channels agree.

    Parameters
    ----------
    plane : numpy.ndarray
        (H, W, C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); alpha is ignored.

    Returns
    -------
    numpy.ndarray
        (H, W) mean of the colour channels, float32 (or the channel itself when there is only one).
    numpy.ndarray
        (H, W) bool, pixels that are coloured, or beside such.

    Raises
    ------
    InputError
        If the image is really coloured, or the number of channels is another.
    """
    n_channels = plane.shape[-1]
    if n_channels in (1, 2):
        return plane[..., 0], np.zeros(plane.shape[:-1], dtype=bool)
    if n_channels not in (3, 4):
        raise InputError(f"has {n_channels} channels a pixel; allowed are grey, RGB and RGBA")
    colours = plane[..., :3].astype(np.float32)
    full = float(np.iinfo(plane.dtype).max) if plane.dtype.kind in "ui" else float(np.nanmax(np.abs(colours)) or 1.0)
    coloured = np.ptp(colours, axis=-1) / full > _GREY_SPREAD
    if coloured.mean() > _COLOURED_FRACTION:
        raise InputError(
            f"is a colour image ({coloured.mean():.0%} of its pixels are not grey): a figure, a map or a false-colour "
            "picture; give the grey-scale micrograph"
        )
    if coloured.any():
        coloured = ndimage.binary_dilation(coloured, np.ones((3, 3)), iterations=_COLOURED_RIM_PX)
    return colours.mean(axis=-1, dtype=np.float32), coloured


def find_spikes(image: np.ndarray) -> np.ndarray:
    """(H, W) bool, pixels hit by an X-ray or a cosmic particle, or dead: far beyond the contrast, and alone.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32; NaN and infinities are none.
    """
    spikes = np.zeros(image.shape, dtype=bool)
    low, high = contrast_between(image)
    if not high > low:
        return spikes  # nearly all pixels are alike: nothing says what is far
    for sign, edge, contrasts, floor in zip((-1.0, 1.0), (low, high), _SPIKE_CONTRASTS, _SPIKE_FLOORS, strict=True):
        beyond = contrasts * (high - low)
        far = image > edge + beyond if sign > 0 else image < edge - beyond
        for r, c, seen in _windows(image, *np.nonzero(far)):
            window = sign * np.where(np.isfinite(seen), seen, np.nan)
            ordered, known = np.sort(window, axis=1), np.isfinite(window).sum(axis=1)
            excess = np.nan_to_num(window - ordered[np.arange(len(r)), (floor * known).astype(int), None])
            own, beside = excess[:, 12], np.sort(excess[:, [6, 7, 8, 11, 13, 16, 17, 18]], axis=1)[:, -3]
            spikes[r, c] = np.isfinite(image[r, c]) & (own > beyond) & (beside <= _SPIKE_SHARE * own)
    return spikes


def find_lost_rows(image: np.ndarray) -> np.ndarray:
    """(H, W) bool, scan rows that hold one number, or lie beyond the rows around them by the whole contrast.

    Of a lattice along the scan, rows through columns are brighter than the others by half of the contrast.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.
    """
    some = np.nan_to_num(image[:, :: max(1, image.shape[1] // _ROW_PIXELS)])
    typical = np.median(some, axis=1)
    off = np.abs(typical - ndimage.median_filter(typical, 2 * _MOST_ROWS + 1, mode="nearest"))
    # Lost rows can be more of an image than its contrast leaves out.
    low, high = contrast_between(some[off <= np.quantile(off, _ORDINARY_ROWS)])
    constant = image.max(axis=1) == image.min(axis=1)
    constant &= ~ndimage.binary_opening(constant, np.ones(_MOST_ROWS + 1))
    lost = ((off > high - low) | (constant & (off > _ROW_JUMP * (high - low)))) & (high > low)
    return np.repeat(lost[:, None], image.shape[1], axis=1)


def fill_invalid(image: np.ndarray, invalid: np.ndarray) -> np.ndarray:
    """The image with invalid pixels replaced by the median of the valid ones around them.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.
    invalid : numpy.ndarray
        (H, W) bool.

    Raises
    ------
    InputError
        If more than half of the pixels are invalid.
    """
    count = int(invalid.sum())
    if count == 0:
        return image
    if count > _LARGEST_INVALID_FRACTION * image.size:
        raise InputError(
            f"{count / image.size:.0%} of its pixels are NaN, infinite or blank; at most half may be: crop it"
        )
    # Median of the 5 x 5 neighbourhood where it has valid pixels (a hot neighbour does not spread), else of all.
    filled = np.where(invalid, np.median(image[~invalid]), image)
    for r, c, window in _windows(np.where(invalid, np.nan, image), *np.nonzero(invalid)):
        known = np.isfinite(window).any(axis=1)
        filled[r[known], c[known]] = np.nanmedian(window[known], axis=1)
    return np.asarray(filled.astype(np.float32))


def scaled(image: np.ndarray) -> tuple[np.ndarray, str | None]:
    """The image in units in which its contrast is no extreme number, and a note when they are not the file's.

    Currents in ampere are 1e-12 and less: their squares would leave float32.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32, finite.
    """
    low, high = contrast_between(image)
    # Of an image whose pixels are nearly all alike the few others are the contrast.
    contrast = high - low or float(image.max()) - float(image.min())
    if contrast == 0.0 or _CONTRASTS[0] <= contrast <= _CONTRASTS[1]:
        return image, None
    power = -math.floor(math.log10(contrast))
    note = f"intensities are multiplied by 1e{power}: their contrast of {contrast:.2g} is no number to work with"
    return (image * 10.0**power).astype(np.float32), note


def contrast_between(values: np.ndarray) -> tuple[float, float]:
    """Low and high value between which pixels lie, but for few; both 0 without a finite one.

    Parameters
    ----------
    values : numpy.ndarray
        An image, or some of its pixels.
    """
    step = max(1, round((values.size / _CONTRAST_PIXELS) ** (1.0 / values.ndim)))
    some = values[(slice(None, None, step),) * values.ndim]
    some = some[np.isfinite(some)].astype(np.float64)
    low, high = np.percentile(some, _CONTRAST_PERCENTILES) if some.size else (0.0, 0.0)
    return float(low), float(high)


def _windows(
    image: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places, so many at a time, and the 5 x 5 pixels about each, (n, 25), NaN outside the image."""
    padded = np.pad(image, 2, constant_values=np.nan) if len(rows) else image
    for start in range(0, len(rows), _WINDOWS):
        r, c = rows[start : start + _WINDOWS], cols[start : start + _WINDOWS]
        yield r, c, np.stack([padded[r + i, c + j] for i in range(5) for j in range(5)], axis=1)
