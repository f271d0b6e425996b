"""Connected parts of a mask."""

import numpy as np
from scipy.ndimage import generate_binary_structure, label


def large_parts(mask: np.ndarray, smallest_px: float, *, diagonal: bool) -> np.ndarray:
    """Connected parts of at least a number of pixels, (H, W) bool.

    Parameters
    ----------
    mask : numpy.ndarray
        (H, W) bool.
    smallest_px : float
        Least number of pixels of a part that stays.
    diagonal : bool
        Whether pixels that only touch at their corners belong together.
    """
    parts, _ = label(mask, generate_binary_structure(2, 2 if diagonal else 1))
    large = np.bincount(parts.ravel()) >= smallest_px
    large[0] = False
    return np.asarray(large[parts])
