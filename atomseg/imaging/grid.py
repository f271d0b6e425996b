"""From a coarse grid that spans the pixel centres of an image to its pixels."""

import numpy as np


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
    for axis, n in enumerate(shape):
        at = np.linspace(0.0, values.shape[axis] - 1.0, n)
        weight = (at % 1.0).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        low, high = (np.take(values, side(at).astype(int), axis).astype(np.float32) for side in (np.floor, np.ceil))
        values = low + (high - low) * weight
    return values
