"""Areas of an image that were not seen: what lies there is neither crystal nor vacuum."""

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

# Invalid pixels narrower than this hide no column: a row, a spike.
NARROWEST_NM = 0.1
# The crystal's outline beside an unseen area is that of the columns that are seen: it can end this far before.
MARGIN_NM = 0.4


def unseen_area(invalid: np.ndarray, pixel_size_nm: tuple[float, float]) -> np.ndarray:
    """(H, W) bool, invalid pixels so many together that they hide what is there: all of a box of the least size."""
    size = [max(3, round(NARROWEST_NM / p)) for p in pixel_size_nm]
    whole = minimum_filter(invalid, size, mode="nearest")
    return np.asarray(invalid & maximum_filter(whole, [n + 1 - n % 2 for n in size], mode="nearest"))


def unseen_on_grid(
    invalid: np.ndarray | None, pixel_size_nm: tuple[float, float], shape: tuple[int, int]
) -> np.ndarray:
    """(h, w) bool, nodes of a grid that spans the pixel centres which lie in or within 0.4 nm of an unseen area.

    Parameters
    ----------
    invalid : numpy.ndarray or None
        (H, W) bool.
    pixel_size_nm : tuple of float
        (y, x) pixel size, nm.
    shape : tuple of int
        (h, w) of the grid.
    """
    area = None if invalid is None else unseen_area(invalid, pixel_size_nm)
    if area is None or not area.any():
        return np.zeros(shape, dtype=bool)
    rows, cols = (np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(area.shape, shape, strict=True))
    step = [(n - 1) * p / (m - 1) for n, p, m in zip(area.shape, pixel_size_nm, shape, strict=True)]
    y, x = (np.arange(-int(MARGIN_NM / s), int(MARGIN_NM / s) + 1) * s for s in step)
    return np.asarray(binary_dilation(area[np.ix_(rows, cols)], np.hypot(y[:, None], x) <= MARGIN_NM))
