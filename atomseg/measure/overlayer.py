"""Amorphous material outside the crystal edge: how far it reaches before the vacuum."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from atomseg.measure.config import MeasureConfig
from atomseg.measure.surface import Maps, Surface
from atomseg.types import Micrograph

# The light of the outermost columns reaches this far out (tails of 0.15 to 0.3 nm, two of their standard deviations).
TAIL_NM = 0.6
# Thicker covers are not followed.
FURTHEST_NM = 20.0
STEP_NM = 0.1
# The speckle of amorphous matter (grains of 0.05 to 0.4 nm) is averaged over this much along the surface and outwards.
ALONG_NM, OUT_NM = 1.5, 0.25
# Levels on both sides of the rim are means over this length.
LEVEL_NM = 0.8
# The rim falls within this length: roughness and speckle. A slower fall is a background that slopes.
RIM_NM = 1.2
# A drop is one when it exceeds this many of its own errors, and this share of the crystal's light above the vacuum.
LEAST_ERRORS, LEAST_SHARE = 4.0, 0.03


@dataclass(frozen=True)
class Overlayer:
    """Thickness of what lies on one surface.

    Parameters
    ----------
    thickness_nm : numpy.ndarray
        (P,) 0 where vacuum begins at the edge, NaN where it can not be measured, a lower bound where `event` is 0.
    event : numpy.ndarray
        (P,) 1 where its outer rim was seen, or where there is none.
    """

    thickness_nm: np.ndarray
    event: np.ndarray


def find_overlayer(image: np.ndarray, maps: Maps, surface: Surface, config: MeasureConfig) -> Overlayer:
    """Follow the light outwards from each surface point to where it drops to the vacuum's.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32 light on the grid of `maps`, see `light_on_grid`.
    maps : Maps
        Phases.
    surface : Surface
        One surface.
    config : MeasureConfig
        Settings.

    Notes
    -----
    Only what drops within the view can be seen. A cover that fills everything outside the crystal evenly can not be told
    from vacuum when there is no darker place in view: it is reported as 0 unless some other place outside is darker.
    """
    out = np.arange(TAIL_NM, FURTHEST_NM, STEP_NM)
    at = (surface.yx_nm[:, None, :] - out[None, :, None] * surface.normal[:, None, :]) / np.asarray(maps.step_nm)
    shape = np.asarray(maps.labels.shape)
    inside = ((at >= 0) & (at <= shape - 1)).all(axis=-1)
    vacuum = map_coordinates((~maps.crystal).astype(np.float32), at.reshape(-1, 2).T, order=0, mode="nearest")
    open_to = _first_false(inside & (vacuum.reshape(at.shape[:2]) > 0.5))
    light = map_coordinates(image, at.reshape(-1, 2).T, order=1, mode="nearest").reshape(at.shape[:2])
    known = np.arange(len(out))[None, :] < open_to[:, None]
    profile, weight = _averaged_along(light, known, ALONG_NM / config.point_spacing_nm)
    noise, dark, crystal = _levels(image, maps)
    return _rims(profile, known, noise, dark, least=LEAST_SHARE * (crystal - dark), weight=weight)


def light_on_grid(micrograph: Micrograph, maps: Maps) -> np.ndarray:
    """(H, W) float32 light on the grid of the maps, smoothed against shot noise and speckle."""
    pixel = np.asarray(micrograph.calibration.pixel_size_nm)
    smooth = gaussian_filter(micrograph.image.astype(np.float32), OUT_NM / pixel, mode="nearest")
    rows, cols = (
        np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(smooth.shape, maps.labels.shape, strict=True)
    )
    return np.asarray(smooth[np.ix_(rows, cols)])


def _first_false(mask: np.ndarray) -> np.ndarray:
    return np.where(mask.all(axis=1), mask.shape[1], (~mask).argmax(axis=1))


def _averaged_along(light: np.ndarray, known: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Profiles averaged with their neighbours along the surface where those are known, and the weight of what was."""
    weight = gaussian_filter1d(known.astype(np.float32), sigma, axis=0, mode="nearest")
    total = gaussian_filter1d(np.where(known, light, 0.0).astype(np.float32), sigma, axis=0, mode="nearest")
    return np.where(known, total / np.maximum(weight, 1e-6), np.nan), weight


def _levels(image: np.ndarray, maps: Maps) -> tuple[float, float, float]:
    """Scatter of the smoothed light from place to place, the darkest level outside the crystal, the crystal's level."""
    outside, inside = image[~maps.crystal], image[maps.crystal]
    if outside.size == 0 or inside.size == 0:
        return 0.0, 0.0, 0.0
    # The scatter of neighbouring rows of grid points, a smoothing length apart, where both are outside.
    lag = max(1, round(2 * OUT_NM / maps.step_nm[0]))
    both = ~maps.crystal[lag:] & ~maps.crystal[:-lag]
    difference = (image[lag:] - image[:-lag])[both]
    noise = 1.4826 * float(np.median(np.abs(difference))) / np.sqrt(2.0) if difference.size else 0.0
    return noise, float(np.quantile(outside, 0.02)) + 2.0 * noise, float(np.median(inside))


def _rims(
    profile: np.ndarray, known: np.ndarray, noise: float, dark: float, *, least: float, weight: np.ndarray
) -> Overlayer:
    """Outermost drop of each profile; 0 where it is dark from the start, a bound where it stays bright to its end."""
    n_points, n = profile.shape
    level, rim = round(LEVEL_NM / STEP_NM), round(RIM_NM / STEP_NM)
    thickness, event = np.full(n_points, np.nan), np.zeros(n_points, dtype=int)
    total = np.nancumsum(np.pad(profile, ((0, 0), (1, 0))), axis=1)
    for k in range(n_points):
        last = int(known[k].sum())
        if last < level:
            continue  # nothing of the outside is in view here
        mean = (total[k, level : last + 1] - total[k, : last - level + 1]) / level
        # Independent places in a mean: along the surface, and outwards.
        independent = max(1.0, 2.0 * ALONG_NM / OUT_NM * 0.5) * max(1.0, LEVEL_NM / (2 * OUT_NM))
        enough = max(least, LEAST_ERRORS * noise / np.sqrt(independent))
        gap = level + rim
        drop = mean[:-gap] - mean[gap:] if len(mean) > gap else np.zeros(0)
        near = mean[0]
        if len(drop) and drop.max() > enough:
            place = _steepest(profile[k, :last], int(drop.argmax()), level, rim)
            # What falls on the way from the first bright place to the rim is a slope, no rim, unless it falls there.
            if drop.max() > 0.5 * (mean.max() - mean.min()):
                thickness[k], event[k] = TAIL_NM + place * STEP_NM, 1
                continue
        bright = near > dark + enough
        thickness[k] = TAIL_NM + last * STEP_NM if bright else 0.0
        event[k] = 0 if bright else 1
    return Overlayer(thickness, event)


def _steepest(profile: np.ndarray, start: int, level: int, rim: int) -> float:
    """Sample at which a profile crosses the middle between its levels before and behind a rim."""
    before = profile[start : start + level].mean()
    behind = profile[start + level + rim : start + 2 * level + rim].mean()
    part = profile[start : start + 2 * level + rim]
    below = np.flatnonzero(part < 0.5 * (before + behind))
    first = int(below[0]) if len(below) else level
    if first == 0:
        return float(start)
    high, low = part[first - 1], part[first]
    return float(start + first - 1 + (high - 0.5 * (before + behind)) / max(high - low, 1e-12))
