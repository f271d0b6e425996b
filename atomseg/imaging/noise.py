"""Noise of an image, told from what is smooth in it."""

import numpy as np
from scipy.ndimage import convolve

# Second differences along both axes: blind to anything smooth over three pixels, 36 times the variance of white noise.
_SECOND_DIFFERENCES = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0])


def rough_power(image: np.ndarray) -> np.ndarray:
    """Square of what changes from pixel to pixel, (H, W) of the image's dtype; its mean is the variance of white noise.

    J. Immerkaer, Computer Vision and Image Understanding 64 (1996) 300, 10.1006/cviu.1996.0060.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) floating.
    """
    return np.asarray(convolve(image, _SECOND_DIFFERENCES.astype(image.dtype)) ** 2 / 36.0)
