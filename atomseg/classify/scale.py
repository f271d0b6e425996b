"""The pixel size that a recognised layered-oxide lattice implies, for images that carry none."""

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from atomseg.classify.config import IN_PLANE_PERIOD_NM, ClassifyConfig
from atomseg.classify.frames import find_frames

# Pixel sizes tried, nm: the range of atomic-resolution work, in steps that the recognition's tolerance spans.
TRIAL_SIZES_NM = tuple(0.006 * 1.08**k for k in range(28))
COLUMN_SIGMA_NM = 0.05
WINDOW_PX = 1024


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
    h, w = (min(n, WINDOW_PX) for n in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    window = np.asarray(image[top : top + h, left : left + w], dtype=np.float32)
    best: tuple[float, float] | None = None
    for size in TRIAL_SIZES_NM:
        if min(window.shape) * size < 2.0:
            continue  # less than eight periods
        support, period = _followed(window, size)
        if support > 0.5 and (best is None or support > best[0]):
            best = (support, size * IN_PLANE_PERIOD_NM / period)
    return None if best is None else best[1]


def _followed(window: np.ndarray, size_nm: float) -> tuple[float, float]:
    """Share of bright spots that follow a layered-oxide frame at this pixel size, and the period it shows."""
    sigma = COLUMN_SIGMA_NM / size_nm
    smooth = gaussian_filter(window, 0.7 * sigma) - gaussian_filter(window, 2.0 * sigma)
    peaks = peak_local_max(smooth, min_distance=max(1, int(0.09 / size_nm)), threshold_abs=float(smooth.std()))
    if not 30 <= len(peaks) <= 20_000:
        return 0.0, 1.0
    strength = smooth[peaks[:, 0], peaks[:, 1]].astype(float)
    frames = find_frames(peaks * size_nm, strength, ClassifyConfig())
    follows = frames.domain >= 0
    if not follows.any():
        return 0.0, 1.0
    return float(follows.mean()), float(np.median(np.linalg.norm(frames.row[follows], axis=1)))
