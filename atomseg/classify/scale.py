"""The pixel size that a recognised layered-oxide lattice implies, for images that carry none."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.measure import block_reduce

from atomseg.classify.config import IN_PLANE_PERIOD_NM, ClassifyConfig
from atomseg.classify.frames import find_frames

# Pixel sizes tried, nm: the range of atomic-resolution work, in steps that the recognition's tolerance spans.
TRIAL_SIZES_NM = tuple(0.006 * 1.08**k for k in range(28))
COLUMN_SIGMA_NM = 0.05
# What is searched: this many nanometres at the trial size, averaged down to about this pixel size. A column is then 1.5
# pixels wide whatever the trial, and every trial costs the same.
WINDOW_NM = 12.0
WORKING_PIXEL_NM = 0.03


def suggest_pixel_size(image: np.ndarray) -> float | None:
    """Pixel size under which the image is a layered oxide down the close-packed zone.

    Each trial size decides how large a column is; the bright spots of that size are found by a difference of Gaussians
    and asked whether they follow the lattice. The best-followed trial is refined by the in-plane period that it shows.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) image.

    Returns
    -------
    float or None
        Pixel size in nm; None when no trial gives a layered-oxide lattice.
    """
    best: tuple[float, float] | None = None
    for size in TRIAL_SIZES_NM:
        if min(image.shape) * size < 2.0:
            continue  # less than eight periods
        support, period = _followed(*_window(image, size))
        if support > 0.5 and (best is None or support > best[0]):
            best = (support, size * IN_PLANE_PERIOD_NM / period)
    return None if best is None else best[1]


def _window(image: np.ndarray, size_nm: float) -> tuple[np.ndarray, float]:
    """Central part of the image at the working pixel size, and that pixel size."""
    h, w = (min(n, round(WINDOW_NM / size_nm)) for n in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    window = np.asarray(image[top : top + h, left : left + w], dtype=np.float32)
    factor = max(1, int(WORKING_PIXEL_NM / size_nm))
    trimmed = window[: h - h % factor, : w - w % factor]
    return block_reduce(trimmed, (factor, factor), np.mean), size_nm * factor


def _followed(window: np.ndarray, size_nm: float) -> tuple[float, float]:
    """Share of bright spots that follow a layered-oxide frame at this pixel size, and the period it shows."""
    sigma = COLUMN_SIGMA_NM / size_nm
    smooth = gaussian_filter(window, 0.7 * sigma) - gaussian_filter(window, 2.0 * sigma)
    peaks = peak_local_max(smooth, min_distance=max(1, int(0.09 / size_nm)), threshold_abs=float(smooth.std()))
    peaks = peaks[((peaks > 0) & (peaks < np.array(smooth.shape) - 1)).all(axis=1)]
    if not 30 <= len(peaks) <= 20_000:
        return 0.0, 1.0
    strength = smooth[peaks[:, 0], peaks[:, 1]].astype(float)
    positions = _vertices(smooth, peaks) * size_nm
    frames = find_frames(positions, strength, ClassifyConfig())
    follows = frames.domain >= 0
    if not follows.any():
        return 0.0, 1.0
    period = float(np.median(np.linalg.norm(frames.row[follows], axis=1)))
    around = cKDTree(positions).query_ball_point(positions[follows], 1.3 * period, return_length=True)
    if np.median(around) > 5:  # the column itself and more than four like neighbours
        return 0.0, 1.0  # every fcc-like crystal looks like rocksalt at some scale; stripes identify a layered oxide
    return float(follows.mean()), period


def _vertices(smooth: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Sub-pixel positions (N, 2) of local maxima: the vertex of the parabola through three pixels along each axis."""
    y, x = peaks.T
    out = peaks.astype(float)
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        before, here, after = smooth[y - dy, x - dx], smooth[y, x], smooth[y + dy, x + dx]
        curvature = 2 * here - before - after
        out[:, axis] += np.where(curvature > 0, (after - before) / (2 * np.maximum(curvature, 1e-9)), 0.0)
    return out
