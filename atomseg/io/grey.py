"""Pixels as one plane of float32: colours judged, invalid pixels filled."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from atomseg.errors import InputError

# JPEG chroma and a resampled screen tint keep grey pictures within a few per cent of grey; a coloured scale bar or a
# line of text covers less than 1 % of the pixels and is no reason to refuse the image.
_GREY_SPREAD = 0.06
_COLOURED_FRACTION = 0.01
_LARGEST_INVALID_FRACTION = 0.5


def grey(plane: np.ndarray) -> tuple[np.ndarray, str | None]:
    """One plane from a colour image whose channels agree.

    Parameters
    ----------
    plane : numpy.ndarray
        (..., C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); alpha is ignored.

    Returns
    -------
    numpy.ndarray
        (...) mean of the colour channels, float32 (or the channel itself when there is only one).
    str or None
        A warning when a few pixels are coloured.

    Raises
    ------
    InputError
        If the image is really coloured, or the number of channels is another.
    """
    n_channels = plane.shape[-1]
    if n_channels in (1, 2):
        return plane[..., 0], None
    if n_channels not in (3, 4):
        raise InputError(f"has {n_channels} channels a pixel; allowed are grey, RGB and RGBA")
    colours = plane[..., :3].astype(np.float32)
    full = float(np.iinfo(plane.dtype).max) if plane.dtype.kind in "ui" else float(np.nanmax(np.abs(colours)) or 1.0)
    spread = np.ptp(colours, axis=-1) / full
    coloured = float(np.mean(spread > _GREY_SPREAD))
    if coloured > _COLOURED_FRACTION:
        raise InputError(
            f"is a colour image ({coloured:.0%} of its pixels are not grey): a figure, a map or a false-colour "
            "picture; give the grey-scale micrograph"
        )
    note = f"{int(np.sum(spread > _GREY_SPREAD))} pixels are coloured (annotations?)" if coloured else None
    return colours.mean(axis=-1, dtype=np.float32), note


class Filled(NamedTuple):
    """An image that is finite everywhere, and the mask of what had to be filled (None when nothing)."""

    image: np.ndarray
    invalid: np.ndarray | None


def fill_invalid(image: np.ndarray) -> Filled:
    """Replace NaN and infinities by the median of the valid pixels around them.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.

    Returns
    -------
    Filled
        The image and the mask of invalid pixels.

    Raises
    ------
    InputError
        If more than half of the pixels are invalid.
    """
    invalid = ~np.isfinite(image)
    count = int(invalid.sum())
    if count == 0:
        return Filled(image, None)
    if count > _LARGEST_INVALID_FRACTION * image.size:
        raise InputError(f"{count / image.size:.0%} of its pixels are NaN or infinite; at most half may be")
    nearest = ndimage.distance_transform_edt(invalid, return_distances=False, return_indices=True)
    filled = image[tuple(nearest)]
    # Median of the 5 x 5 neighbourhood where it has valid pixels: a hot neighbour does not spread.
    rows, cols = np.nonzero(invalid)
    padded = np.pad(np.where(invalid, np.nan, image), 2, constant_values=np.nan)
    for start in range(0, count, 100_000):
        r, c = rows[start : start + 100_000], cols[start : start + 100_000]
        windows = np.stack([padded[r + i, c + j] for i in range(5) for j in range(5)], axis=1)
        known = np.isfinite(windows).any(axis=1)
        filled[r[known], c[known]] = np.nanmedian(windows[known], axis=1)
    return Filled(filled.astype(np.float32), invalid)
