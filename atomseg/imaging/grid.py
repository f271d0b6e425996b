"""From a coarse grid that spans the pixel centres of an image to its pixels, and from its pixels to places."""

import numpy as np
from scipy.sparse import csr_array


def grid_to_pixels(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Linear between nodes, (H, W) float32; grid and pixels share their corner centres.

    One axis after the other: a hundred times fewer products than point by point.

    Parameters
    ----------
    values : numpy.ndarray
        (h, w) values at the nodes; NaN spreads to every pixel up to, not at, the next node.
    shape : tuple of int
        (H, W) of the pixels.
    """
    rows, cols = (_shares(nodes, pixels) for nodes, pixels in zip(values.shape, shape, strict=True))
    across = (cols @ values.T.astype(np.float32)).T
    return np.asarray(rows @ np.ascontiguousarray(across))


def _shares(nodes: int, pixels: int) -> csr_array:
    """(pixels, nodes) float32 shares of the nodes below and above each pixel; a pixel at a node has that node only."""
    at = np.linspace(0.0, nodes - 1.0, pixels)
    below = np.minimum(np.floor(at).astype(int), nodes - 1)
    above = np.minimum(below + 1, nodes - 1)
    share = (at - below).astype(np.float32)
    pixel = np.arange(pixels)
    entries = (np.concatenate([1.0 - share, share]), (np.tile(pixel, 2), np.concatenate([below, above])))
    shares = csr_array(entries, shape=(pixels, nodes))
    # A share of zero would still spread NaN.
    shares.eliminate_zeros()
    return shares


def at_nearest_pixels(values: np.ndarray, yx_px: np.ndarray) -> np.ndarray:
    """Values of the pixels that places lie in, (N,); those outside the image get the border's.

    Parameters
    ----------
    values : numpy.ndarray
        (H, W) any type.
    yx_px : numpy.ndarray
        (N, 2) places, pixels.
    """
    row, col = np.clip(np.rint(yx_px).astype(int).reshape(-1, 2), 0, np.array(values.shape) - 1).T
    return np.asarray(values[row, col])
