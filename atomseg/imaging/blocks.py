"""Means of blocks of pixels: a coarser image with less noise, for what needs no fine pixels."""

import numpy as np


def block_means(image: np.ndarray, block_px: tuple[int, int]) -> np.ndarray:
    """Means of blocks of pixels, (H // rows, W // columns) float64; pixels beyond the last whole block are left out.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W), at least one block.
    block_px : tuple of int
        Rows and columns of a block, >= 1.
    """
    rows, cols = block_px
    height, width = image.shape[0] // rows, image.shape[1] // cols
    whole = image[: height * rows, : width * cols]
    total = np.zeros((height, width))
    # One pixel of every block at a time: several times faster than a mean over the axes of a reshaped array.
    for dy in range(rows):
        for dx in range(cols):
            total += whole[dy::rows, dx::cols]
    return total / (rows * cols)


def block_variance_px(block_px: tuple[int, int]) -> tuple[float, float]:
    """Variance (y, x) of the places of the pixels in a block, px²: what averaging widens a Gaussian by."""
    rows, cols = block_px
    return (rows**2 - 1) / 12.0, (cols**2 - 1) / 12.0
