"""The pixel size that a recognised layered-oxide lattice implies, for images that carry none or a wrong one."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from skimage.measure import block_reduce

from atomseg.classify.config import IN_PLANE_PERIOD_NM, ClassifyConfig
from atomseg.classify.frames import find_frames

# Pixel sizes tried, nm: the range of atomic-resolution work, in steps that the recognition's tolerance spans.
TRIAL_SIZES_NM = tuple(0.006 * 1.08**k for k in range(28))
COLUMN_SIGMA_NM = 0.05
# What is searched: squares of this many nanometres at the trial size, up to this many along either side of the image,
# so that bulk is found beside reconstruction layers and vacuum. Each is averaged down to about this pixel size: columns
# are then 1.5 pixels wide whatever the trial, and every trial costs the same.
WINDOW_NM = 6.0
WINDOWS_A_SIDE = 3
WORKING_PIXEL_NM = 0.03
# A window is a reading when more than this share of its spots, and this many, follow the lattice.
FOLLOWED, FEWEST_FOLLOWED = 0.5, 30
# Other lattices come that far by chance, at one window and trial. Two readings, of two windows or trials, have to agree
# to this fraction (scan distortion and the phases' periods differ by as much), and the best be followed by this share.
AGREEMENT = 0.05
BEST_FOLLOWED = 0.7


def suggest_pixel_size(image: np.ndarray) -> float | None:
    """Pixel size under which the image, or parts of it, are a layered oxide down the close-packed zone.

    Each trial size decides how large a column is; the bright spots of that size are found by a difference of Gaussians
    and asked, window by window, whether they follow the lattice. Every window that does tells a size by the in-plane
    period that it shows; the median of the largest group that agrees is taken.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) image.

    Returns
    -------
    float or None
        Pixel size in nm; None when no trial gives a layered-oxide lattice.
    """
    readings = []
    for size in TRIAL_SIZES_NM:
        if min(image.shape) * size < 2.0:
            continue  # less than eight periods
        for window, pixel_nm in _windows(image, size):
            support, period = _followed(window, pixel_nm)
            if support > FOLLOWED:
                readings.append((support, size * IN_PLANE_PERIOD_NM / period))
    return agreed_size(np.array(readings).reshape(-1, 2))


def agreed_size(readings: np.ndarray) -> float | None:
    """Size that most readings agree on.

    Parameters
    ----------
    readings : numpy.ndarray
        (N, 2) share of the spots that follow the lattice, and the size in nm that they tell.

    Returns
    -------
    float or None
        Pixel size in nm; None when it may be chance.
    """
    if len(readings) == 0:
        return None
    support, size = readings.T
    agree = np.abs(size / size[:, None] - 1) < AGREEMENT
    mine = agree[(agree @ support).argmax()]
    if mine.sum() < 2 or support[mine].max() < BEST_FOLLOWED:
        return None
    return float(np.median(size[mine]))


def _windows(image: np.ndarray, size_nm: float) -> Iterator[tuple[np.ndarray, float]]:
    """Windows spread over the image, at the working pixel size, and that pixel size."""
    side = round(WINDOW_NM / size_nm)
    factor = max(1, int(WORKING_PIXEL_NM / size_nm))
    for top in _starts(image.shape[0], side):
        for left in _starts(image.shape[1], side):
            window = np.asarray(image[top : top + side, left : left + side], dtype=np.float32)
            h, w = (n - n % factor for n in window.shape)
            yield block_reduce(window[:h, :w], (factor, factor), np.mean), size_nm * factor


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin along one axis: from end to end, with no more than half of each in the next."""
    count = int(np.clip(2 * length // side - 1, 1, WINDOWS_A_SIDE))
    if count == 1:
        return [max(0, length - side) // 2]
    return [round(start) for start in np.linspace(0, length - side, count)]


def _followed(window: np.ndarray, size_nm: float) -> tuple[float, float]:
    """Share of bright spots that follow a layered-oxide frame at this pixel size, and the period it shows."""
    sigma = COLUMN_SIGMA_NM / size_nm
    smooth = gaussian_filter(window, 0.7 * sigma) - gaussian_filter(window, 2.0 * sigma)
    reach = max(1, int(0.09 / size_nm))
    highest = smooth == maximum_filter(smooth, size=2 * reach + 1)
    peaks = np.argwhere(highest & (smooth > smooth.std()))
    peaks = peaks[((peaks >= reach) & (peaks < np.array(smooth.shape) - reach)).all(axis=1)]
    if not 30 <= len(peaks) <= 20_000:
        return 0.0, 1.0
    strength = smooth[peaks[:, 0], peaks[:, 1]].astype(float)
    positions = _vertices(smooth, peaks) * size_nm
    frames = find_frames(positions, strength, ClassifyConfig())
    follows = frames.domain >= 0
    if follows.sum() < FEWEST_FOLLOWED:
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
