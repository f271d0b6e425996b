"""Amorphous material outside the crystal edge: how far it reaches before the vacuum."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, map_coordinates

from atomseg.imaging import gaussian_at
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
# A drop is one when it exceeds this many of its own errors, and this share of the crystal's light above the vacuum:
# fainter ones are the background's.
LEAST_ERRORS, LEAST_SHARE = 4.0, 0.08
# Outside that is brighter than the darkest place outside by this share of the crystal's light is covered, even if it
# does not end in view; between the two shares nothing is said.
BRIGHT_SHARE = 0.25
# Gaps between columns are looked for in the outermost crystal, in light smoothed by this much; the dimmest tenth.
GAP_DEPTH_NM, GAP_SMOOTHING_NM, GAP_QUANTILE = 3.0, 0.04, 0.1


@dataclass(frozen=True)
class Light:
    """The image on the grid of the maps, and its levels.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32, smoothed against shot noise and speckle.
    noise : float
        Scatter of the smoothed light outside the crystal, from one place to the next.
    dark, crystal, gaps : float
        Darkest level outside, median level of the crystal, level of the gaps between its outermost columns.
    """

    image: np.ndarray
    noise: float
    dark: float
    crystal: float
    gaps: float


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


def find_overlayer(light: Light, maps: Maps, surface: Surface, config: MeasureConfig) -> Overlayer:
    """Follow the light outwards from each surface point to where it drops to the vacuum's.

    Parameters
    ----------
    light : Light
        See `light_on_grid`.
    maps : Maps
        Phases.
    surface : Surface
        One surface.
    config : MeasureConfig
        Settings.

    Notes
    -----
    Only what drops within the view can be measured. Outside that is evenly as dark as the darkest place outside, and
    darker than the gaps between columns, is taken for vacuum: a faint cover that fills the view looks the same.
    """
    out = np.arange(TAIL_NM, FURTHEST_NM, STEP_NM)
    at = (surface.yx_nm[:, None, :] - out[None, :, None] * surface.normal[:, None, :]) / np.asarray(maps.step_nm)
    inside = ((at >= 0) & (at <= np.asarray(maps.labels.shape) - 1)).all(axis=-1)
    flat = at.reshape(-1, 2).T
    inside &= ~map_coordinates(maps.unseen, flat, order=0, mode="nearest").reshape(inside.shape)
    crystal = map_coordinates(maps.crystal.astype(np.float32), flat, order=0, mode="nearest").reshape(inside.shape)
    open_to = _first_false(inside)
    facing = _first_false(crystal < 0.5)
    # The light of an opposite face reaches out as far as that of this one.
    open_to = np.minimum(open_to, np.where(facing < inside.shape[1], facing - round(TAIL_NM / STEP_NM), open_to))
    profile = map_coordinates(light.image, flat, order=1, mode="nearest").reshape(inside.shape)
    known = np.arange(len(out))[None, :] < open_to[:, None]
    profile = _averaged_along(profile, known, ALONG_NM / config.point_spacing_nm)
    found = [_rim(profile[k, : int(known[k].sum())], light) for k in range(len(profile))]
    return Overlayer(np.array([thickness for thickness, _ in found]), np.array([event for _, event in found]))


def light_on_grid(micrograph: Micrograph, maps: Maps) -> Light:
    """The image on the grid of the maps."""
    py, px = micrograph.calibration.pixel_size_nm
    rows, cols = (
        np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(micrograph.shape, maps.labels.shape, strict=True)
    )
    smooth, sharp = (
        gaussian_at(micrograph.image, (width / py, width / px), rows, cols) for width in (OUT_NM, GAP_SMOOTHING_NM)
    )
    crystal, outside = maps.crystal & ~maps.unseen, ~maps.crystal & ~maps.unseen
    if not outside.any() or not crystal.any():
        return Light(smooth, 0.0, 0.0, 0.0, 0.0)
    # The scatter between rows of grid points two smoothing lengths apart, where both are outside.
    lag = max(1, round(2 * OUT_NM / maps.step_nm[0]))
    difference = (smooth[lag:] - smooth[:-lag])[outside[lag:] & outside[:-lag]]
    noise = 1.4826 * float(np.median(np.abs(difference))) / np.sqrt(2.0) if difference.size else 0.0
    depth = distance_transform_edt(crystal, sampling=maps.step_nm)
    outermost = crystal & (depth < GAP_DEPTH_NM)
    return Light(
        image=smooth,
        noise=noise,
        dark=float(np.quantile(smooth[outside], 0.02)) + 2.0 * noise,
        crystal=float(np.median(smooth[crystal])),
        gaps=float(np.quantile(sharp[outermost], GAP_QUANTILE)),
    )


def _first_false(mask: np.ndarray) -> np.ndarray:
    return np.where(mask.all(axis=1), mask.shape[1], (~mask).argmax(axis=1))


def _averaged_along(light: np.ndarray, known: np.ndarray, sigma: float) -> np.ndarray:
    """Profiles averaged with their neighbours along the surface where those are known, NaN elsewhere."""
    weight = gaussian_filter1d(known.astype(np.float32), sigma, axis=0, mode="nearest")
    total = gaussian_filter1d(np.where(known, light, 0.0).astype(np.float32), sigma, axis=0, mode="nearest")
    return np.where(known, total / np.maximum(weight, 1e-6), np.nan)


def _rim(profile: np.ndarray, light: Light) -> tuple[float, int]:
    """Thickness and event of one profile: its steepest drop; 0 where it is dark from the start, else a bound."""
    level, rim = round(LEVEL_NM / STEP_NM), round(RIM_NM / STEP_NM)
    if len(profile) < level:
        return np.nan, 0  # nothing of the outside is in view here
    mean = np.convolve(profile, np.full(level, 1.0 / level), mode="valid")
    contrast = max(light.crystal - light.dark, 0.0)
    independent = ALONG_NM / OUT_NM * LEVEL_NM / (2 * OUT_NM)
    enough = max(LEAST_SHARE * contrast, LEAST_ERRORS * light.noise / np.sqrt(independent))
    gap = level + rim
    drop = mean[:-gap] - mean[gap:] if len(mean) > gap else np.zeros(0)
    # What falls slowly, over more than the length of a rim, is a background that slopes.
    steepest = int(drop.argmax()) if len(drop) else 0
    steep = len(drop) > 0 and drop[steepest] > max(enough, 0.5 * float(mean.max() - mean.min()))
    # Behind a rim lies vacuum, which is darker than the gaps between columns; else speckle is taken for one.
    if steep and mean[steepest + gap] < light.gaps:
        return TAIL_NM + _crossing(profile, steepest, level, rim) * STEP_NM, 1
    near = float(mean[0])
    if near <= light.dark + enough and near < light.gaps:
        return 0.0, 1
    if near > light.dark + max(enough, BRIGHT_SHARE * contrast) or near >= light.gaps:
        return TAIL_NM + len(profile) * STEP_NM, 0
    return np.nan, 0


def _crossing(profile: np.ndarray, start: int, level: int, rim: int) -> float:
    """Sample at which a profile crosses the middle between its levels before and behind a rim."""
    part = profile[start : start + 2 * level + rim]
    middle = 0.5 * (part[:level].mean() + part[level + rim :].mean())
    below = np.flatnonzero(part < middle)
    first = int(below[0]) if len(below) else level
    if first == 0:
        return float(start)
    high, low = part[first - 1], part[first]
    return float(start + first - 1 + (high - middle) / max(high - low, 1e-12))
