"""Peaks of the network's heat map, as starting positions in input pixels."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from atomseg.imaging import at_nearest_pixels
from atomseg.localize.sites import on_known_sites
from atomseg.types import Prediction

# Peaks are looked for in a disc of this radius: half the smallest distance of two columns that a network separates.
PEAK_RADIUS_NM = 0.05
# Peaks around one, itself included, that are asked together whether this is crystal. Speckle of an amorphous film can
# be as fine as columns are, and one grain of it looks like one; two dozen of them do not look like a lattice.
AROUND = 25
# Peaks from here up to the network's own threshold are looked at where others of their kind are sure; lower ones are
# hardly ever columns whose light is clear.
DOUBTED = 0.25
# Side of the box that is a column's core, nm, and the share of it that may be filled pixels.
CORE_NM, MOST_FILLED = 0.12, 0.5


@dataclass(frozen=True)
class Peaks:
    """Starting positions.

    Parameters
    ----------
    yx_px : numpy.ndarray
        (N, 2) float64, input pixels.
    probability : numpy.ndarray
        (N,) float64, height of the heat map.
    sigma_px : numpy.ndarray
        (N, 2) float64, the network's own error of y and x in input pixels.
    """

    yx_px: np.ndarray
    probability: np.ndarray
    sigma_px: np.ndarray

    def __len__(self) -> int:
        return len(self.probability)


def where_seen(peaks: Peaks, invalid: np.ndarray, pixel_size_nm: tuple[float, float], threshold: float) -> Peaks:
    """Peaks whose core was measured: what the network saw in filled pixels is no column, and no fit could tell.

    Parameters
    ----------
    peaks : Peaks
        All of them.
    invalid : numpy.ndarray
        (H, W) bool, pixels that were filled.
    pixel_size_nm : tuple of float
        (y, x) pixel size, nm.
    threshold : float
        Probability above which a peak is sure; without such there are none.
    """
    box = [max(3, round(CORE_NM / size)) for size in pixel_size_nm]
    kept = at_nearest_pixels(uniform_filter(invalid.astype(np.float32), box), peaks.yx_px) <= MOST_FILLED
    kept &= bool((peaks.probability[kept] > threshold).any())
    return Peaks(peaks.yx_px[kept], peaks.probability[kept], peaks.sigma_px[kept])


def find_peaks(prediction: Prediction, merge_nm: float, min_crystal: float = 0.0) -> Peaks:
    """Local maxima of the heat map in crystal, moved by the predicted offset.

    Those above the network's threshold, and doubted ones on sites where the image has columns (`sites`).

    Parameters
    ----------
    prediction : Prediction
        Network outputs.
    merge_nm : float
        Of peaks closer than this only the highest is kept, nm.
    min_crystal : float
        Probability of crystal below which a peak is not kept, as `crystal_around` tells it.

    Returns
    -------
    Peaks
        Sorted by row, then column.
    """
    heat = prediction.heatmap
    reach = max(1, int(PEAK_RADIUS_NM / prediction.pixel_size_nm))
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    highest = maximum_filter(heat, footprint=yy**2 + xx**2 <= reach**2 + 0.5, mode="constant", cval=-1.0)
    row, col = np.nonzero((heat >= highest) & (heat > min(DOUBTED, prediction.heatmap_threshold)))
    centre = np.stack([row, col], axis=-1).astype(np.float64) + prediction.offset_px[:, row, col].T
    probability = heat[row, col].astype(np.float64)
    kept = strongest(centre * prediction.pixel_size_nm, probability, merge_nm)
    sure = probability[kept] > prediction.heatmap_threshold
    kept = kept[sure | on_known_sites(centre[kept] * prediction.pixel_size_nm, sure)]
    kept = kept[crystal_around(centre[kept], prediction.crystal[row, col][kept]) >= min_crystal]
    yx_px = prediction.to_input_px(centre[kept])
    inside = in_view(yx_px, prediction.input_shape)
    # Doubted peaks are nothing without sure ones, which may have been outside crystal or the image.
    inside &= bool((probability[kept][inside] > prediction.heatmap_threshold).any())
    sigma = prediction.offset_sigma_px[row, col].astype(np.float64)[kept, None] * np.asarray(prediction.scale)
    return Peaks(yx_px[inside], probability[kept][inside], sigma[inside])


def in_view(yx_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N,) bool, the position lies on a pixel of the image: pixel centres are integers.

    Parameters
    ----------
    yx_px : numpy.ndarray
        (N, 2) float64, pixels.
    shape : tuple of int
        (H, W) of the image.
    """
    return np.asarray(((yx_px >= -0.5) & (yx_px < np.asarray(shape) - 0.5)).all(axis=1))


def crystal_around(yx: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(N,) probability that the neighbourhood of a peak is crystal: mean log odds of the `AROUND` nearest peaks.

    Parameters
    ----------
    yx : numpy.ndarray
        (N, 2) float64, peaks, any unit.
    probability : numpy.ndarray
        (N,) the network's probability of crystal at each.
    """
    if not len(yx):
        return np.zeros(0)
    odds = logit(np.clip(probability.astype(np.float64), 1e-6, 1.0 - 1e-6))
    near = cKDTree(yx).query(yx, k=min(AROUND, len(yx)))[1].reshape(len(yx), -1)
    return np.asarray(expit(odds[near].mean(axis=1)))


def strongest(yx_nm: np.ndarray, strength: np.ndarray, radius_nm: float) -> np.ndarray:
    """Indices, ascending, of points that have no stronger kept point within the radius.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) positions, nm.
    strength : numpy.ndarray
        (N,) larger wins.
    radius_nm : float
        Radius, nm.
    """
    kept = np.ones(len(yx_nm), dtype=bool)
    if len(yx_nm) < 2:
        return np.flatnonzero(kept)
    pairs = cKDTree(yx_nm).query_pairs(radius_nm, output_type="ndarray")
    # Strongest pairs first, so that a point that is itself removed removes nobody.
    rank = np.empty(len(strength), dtype=np.int64)
    rank[np.argsort(-strength, kind="stable")] = np.arange(len(strength))
    ordered = np.sort(rank[pairs], axis=1)
    point = np.argsort(rank)
    for first, second in ordered[np.lexsort((ordered[:, 1], ordered[:, 0]))]:
        if kept[point[first]]:
            kept[point[second]] = False
    return np.flatnonzero(kept)
