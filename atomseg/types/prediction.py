"""What the network sees in a micrograph, on its own canonical pixel grid."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """Network outputs on the canonical grid.

    Parameters
    ----------
    heatmap : numpy.ndarray
        (H, W) float32 in 0..1, a peak a column.
    offset_px : numpy.ndarray
        (2, H, W) float32, vector (dy, dx) in canonical pixels from a pixel's centre to the nearest column.
    offset_sigma_px : numpy.ndarray
        (H, W) float32, standard deviation of each component of `offset_px`.
    restored : numpy.ndarray
        (H, W) float32, noise and background removed, super-resolved, in the intensity unit of the micrograph; 0 where
        crystal is less probable than not.
    crystal : numpy.ndarray
        (H, W) float32, probability that the pixel lies in crystal.
    pixel_size_nm : float
        Canonical pixel size.
    scale : tuple of float
        (y, x) input pixels per canonical pixel: ``input = (canonical + 0.5) * scale - 0.5``.
    input_shape : tuple of int
        Shape of the micrograph.
    model_id, model_sha256 : str
        Which weights.
    denoised : numpy.ndarray or None
        (H, W) float32, the micrograph without its noise, in its unit; None where the model has no such head.
    columns : numpy.ndarray or None
        (H, W) float32, columns at the width that they have in the image, without background, in the micrograph's unit;
        0 and None likewise.
    """

    heatmap: np.ndarray
    offset_px: np.ndarray
    offset_sigma_px: np.ndarray
    restored: np.ndarray
    crystal: np.ndarray
    pixel_size_nm: float
    scale: tuple[float, float]
    input_shape: tuple[int, int]
    model_id: str
    model_sha256: str
    heatmap_threshold: float = 0.5
    denoised: np.ndarray | None = None
    columns: np.ndarray | None = None

    def to_input_px(self, yx_canonical: np.ndarray) -> np.ndarray:
        """Positions on the canonical grid, (N, 2), as positions in input pixels."""
        return (np.asarray(yx_canonical, dtype=np.float64) + 0.5) * np.asarray(self.scale) - 0.5
