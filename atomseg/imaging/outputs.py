"""The five pictures that a network is asked for by name, on the micrograph's own pixels."""

import math
from dataclasses import dataclass

import numpy as np

from atomseg.errors import ConfigError, ModelError
from atomseg.imaging.canonical import CANONICAL_PIXEL_NM
from atomseg.imaging.resample import spline_at
from atomseg.imaging.residual import unexplained
from atomseg.types.prediction import Prediction

OUTPUTS = ("circular_mask", "gaussian_mask", "denoised", "denoised_without_background", "super_resolved")
# Heads that not every model has, by the output that is made of them; they are fields of `Prediction` too.
HEAD_OF_OUTPUT = {"denoised": "denoised", "denoised_without_background": "columns"}
# Half of the full width of a column at the 50 pm that are usual: neighbours 0.12 nm apart stay apart.
MASK_RADIUS_NM = 0.05


@dataclass(frozen=True)
class OutputImage:
    """A picture and its calibration.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.
    pixel_size_nm : tuple of float
        (y, x) size of its pixels.
    """

    image: np.ndarray
    pixel_size_nm: tuple[float, float]


def output_image(
    name: str, prediction: Prediction, image: np.ndarray, yx_px: np.ndarray, pixel_size_nm: tuple[float, float]
) -> OutputImage:
    """One of `OUTPUTS`.

    ``circular_mask`` is 1 within `MASK_RADIUS_NM` of a found column and 0 elsewhere. ``gaussian_mask`` is the heat map,
    0 to 1. ``denoised`` is the micrograph without noise: what the network makes of it, and what it left out that noise
    does not explain (`unexplained`). ``denoised_without_background`` is its columns alone at the width that they have,
    ``super_resolved`` its columns at 35 pm standard deviation; these three are in the micrograph's unit. All lie on its
    pixels; for ``super_resolved`` each is divided into the smallest whole number of parts of at most 25 pm.

    Parameters
    ----------
    name : str
        Which.
    prediction : Prediction
        What the network saw.
    image : numpy.ndarray
        (H, W) the micrograph.
    yx_px : numpy.ndarray
        (N, 2) found columns in input pixels.
    pixel_size_nm : tuple of float
        (y, x) size of the input's pixels.

    Raises
    ------
    ConfigError
        If there is no output of that name.
    ModelError
        If the model has no head for it.
    """
    if name not in OUTPUTS:
        raise ConfigError(f"no output {name!r}; allowed: {', '.join(OUTPUTS)}")
    if name == "circular_mask":
        return OutputImage(discs(yx_px, prediction.input_shape, pixel_size_nm, MASK_RADIUS_NM), pixel_size_nm)
    if name == "gaussian_mask":
        return OutputImage(np.clip(on_input_grid(prediction.heatmap, prediction), 0.0, 1.0), pixel_size_nm)
    if name == "super_resolved":
        parts = max(1, math.ceil(max(pixel_size_nm) / CANONICAL_PIXEL_NM - 1e-6))
        narrow = np.maximum(on_input_grid(prediction.restored, prediction, parts=parts), 0.0)
        return OutputImage(narrow, (pixel_size_nm[0] / parts, pixel_size_nm[1] / parts))
    plane: np.ndarray | None = getattr(prediction, HEAD_OF_OUTPUT[name])
    if plane is None:
        raise ModelError(f"model {prediction.model_id} does not answer {name!r}; use a later one, see atomseg models")
    shown = on_input_grid(plane, prediction)
    if name == "denoised":
        return OutputImage(shown + unexplained(image, shown, pixel_size_nm), pixel_size_nm)
    return OutputImage(np.maximum(shown, 0.0), pixel_size_nm)


def on_input_grid(plane: np.ndarray, prediction: Prediction, *, parts: int = 1) -> np.ndarray:
    """A canonical plane on the input's pixels, each divided into ``parts * parts``; (H, W) float32.

    `Prediction.scale` says how the grids lie: ``input = (canonical + 0.5) * scale - 0.5``, solved for canonical.
    """
    rows, cols = (
        (np.arange(parts * n) + 0.5) / (parts * step) - 0.5
        for n, step in zip(prediction.input_shape, prediction.scale, strict=True)
    )
    return spline_at(plane, rows, cols)


def discs(
    yx_px: np.ndarray, shape: tuple[int, int], pixel_size_nm: tuple[float, float], radius_nm: float
) -> np.ndarray:
    """1 where a pixel's centre lies within a distance of a point, 0 elsewhere; (H, W) float32."""
    out = np.zeros(shape, dtype=np.float32)
    size = np.asarray(pixel_size_nm)
    reach = np.ceil(radius_nm / size).astype(int)
    dy, dx = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    for yx in np.asarray(yx_px, dtype=np.float64).reshape(-1, 2):
        row, col = np.rint(yx).astype(int)
        rows, cols = row + dy, col + dx
        inside = ((rows - yx[0]) * size[0]) ** 2 + ((cols - yx[1]) * size[1]) ** 2 <= radius_nm**2
        inside &= (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
        out[rows[inside], cols[inside]] = 1.0
    return out
