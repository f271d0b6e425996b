"""Along each inward normal: how deep the reconstructed zone reaches, and how far one can see."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, map_coordinates
from skimage.measure import label

from atomseg.measure.config import MeasureConfig
from atomseg.measure.surface import Maps, Surface
from atomseg.types import Phase

RECONSTRUCTED = (Phase.ROCKSALT, Phase.O1)
# A ray has met something else when it stays there for this long: shorter runs are outline noise.
LASTING_NM = 0.6
# Radius of the opening that cuts off faults one gap high (0.44 to 0.48 nm), and keeps lamellae of two.
SINGLE_FAULT_NM = 0.32
# Layered stretch, as a share of the depth reached, that is still taken for an island of the layer.
ISLAND_SHARE = 0.1
# Lateral smoothing of the occupancy under which t_50, t_rocksalt, t_mix and the front width are read.
OCCUPANCY_SMOOTHING_NM = 0.4
# Depth below the edge that is too close to it for an occupancy: one cation row and a half.
EDGE_SKIN_NM = 0.36
# Occupancy at which full rocksalt ends, and the levels between which the front width is taken.
FULL_ROCKSALT = 0.8
FRONT_LEVELS = (0.8, 0.2)


@dataclass(frozen=True)
class Depths:
    """Depths along the normals of one surface, nm."""

    thickness: np.ndarray
    t_50: np.ndarray
    t_rocksalt: np.ndarray
    t_mix: np.ndarray
    front_width: np.ndarray
    available: np.ndarray
    event: np.ndarray
    reason: list[str]


def attached_zone(maps: Maps, config: MeasureConfig) -> np.ndarray:
    """(H, W) bool, the reconstructed zone that belongs to a surface, with its small layered islands closed."""
    reconstructed = np.isin(maps.labels, RECONSTRUCTED)
    if not reconstructed.any() or maps.crystal.all():
        return np.zeros_like(reconstructed)
    zone = _closed(reconstructed, config.closing_nm, maps.step_nm) & maps.crystal
    # Opening, with the vacuum as part of what is opened so that a thin skin stays: a single fault that leaves the layer
    # for the bulk is a fault of the bulk.
    zone &= ~_closed(~(zone | ~maps.crystal), SINGLE_FAULT_NM, maps.step_nm)
    below_surface = distance_transform_edt(maps.crystal, sampling=maps.step_nm) <= config.attached_nm
    parts = label(zone, connectivity=2)
    attached = np.zeros(parts.max() + 1, dtype=bool)
    attached[np.unique(parts[below_surface & reconstructed])] = True
    attached[0] = False
    return attached[parts]


def _closed(mask: np.ndarray, radius_nm: float, step_nm: tuple[float, float]) -> np.ndarray:
    """Morphological closing with a disk; beyond the image the mask is taken to go on as it ends there."""
    if radius_nm <= 0:
        return mask
    n = int(np.ceil(radius_nm / min(step_nm))) + 1
    padded = np.pad(mask, n, mode="edge")
    dilated = distance_transform_edt(~padded, sampling=step_nm) <= radius_nm
    if dilated.all():
        return np.ones_like(mask)
    closed = distance_transform_edt(dilated, sampling=step_nm) > radius_nm
    return (closed | padded)[n:-n, n:-n]


def smooth_occupancy(maps: Maps) -> np.ndarray:
    """Occupancy averaged over a small disk, NaN-aware."""
    known = np.isfinite(maps.occupancy)
    sigma = OCCUPANCY_SMOOTHING_NM / np.asarray(maps.step_nm)
    weight = gaussian_filter(known.astype(np.float32), sigma)
    total = gaussian_filter(np.where(known, maps.occupancy, 0.0).astype(np.float32), sigma)
    return np.where(known & (weight > 0.05), total / np.maximum(weight, 1e-6), np.nan)


def bulk_ceiling(maps: Maps) -> float:
    """Occupancy below which crystal is bulk: median of the layered pixels plus two robust standard deviations."""
    values = maps.occupancy[(maps.labels == Phase.LAYERED) & np.isfinite(maps.occupancy)]
    if values.size < 100:
        return -np.inf  # no bulk in view to return to
    low = values[values <= np.median(values)]  # the mixed part of the layer lies above the median
    return float(np.median(values) + 2 * 1.4826 * np.median(np.median(values) - low) + 0.02)


def cast(maps: Maps, zone: np.ndarray, occupancy: np.ndarray, surface: Surface, config: MeasureConfig) -> Depths:
    """Measure along every normal of a surface."""
    t, position = _ray_points(maps, surface, config)
    h, w = maps.labels.shape
    index = np.rint(position).astype(int)
    inside = (position >= 0).all(axis=-1) & (position[..., 0] <= h - 1) & (position[..., 1] <= w - 1)
    index = np.clip(index, 0, [h - 1, w - 1])
    labels = np.where(inside, maps.labels[index[..., 0], index[..., 1]], Phase.NONE)
    lasting = max(1, round(LASTING_NM / config.grid_nm))
    end, reason = _ray_ends(labels, inside, lasting)
    seen = np.arange(len(t))[None, :] < end[:, None]
    in_zone = zone[index[..., 0], index[..., 1]] & seen
    deepest = np.where(in_zone.any(axis=1), in_zone.shape[1] - in_zone[:, ::-1].argmax(axis=1), 0)
    available = end * config.grid_nm
    thickness = deepest * config.grid_nm
    # The zone runs into the end of the ray: its own end was not seen. Behind a thick layer, which may be patchy, a
    # short layered stretch before the view ends can be an island of it.
    beyond = LASTING_NM / 2 + np.minimum(ISLAND_SHARE * thickness, config.closing_nm)
    censored = (deepest > 0) & (available - thickness < beyond)
    # A ray that ends before anything could be seen on it has not seen an unreconstructed surface.
    censored |= available < config.detection_limit_nm
    profile = map_coordinates(np.nan_to_num(occupancy, nan=-1.0), position.transpose(2, 0, 1), order=0, mode="nearest")
    profile = np.where(seen & (profile >= 0), profile, np.nan)
    ceiling = bulk_ceiling(maps)
    t_50 = _first_below(profile, 0.5, config.grid_nm)
    high, low = (_first_below(profile, level, config.grid_nm) for level in FRONT_LEVELS)
    return Depths(
        thickness=np.where((thickness < config.detection_limit_nm / 2) & ~censored, 0.0, thickness),
        t_50=t_50,
        t_rocksalt=_first_below(profile, FULL_ROCKSALT, config.grid_nm),
        t_mix=_first_below(profile, ceiling, config.grid_nm),
        front_width=np.where(np.nan_to_num(t_50) > 0, low - high, np.nan),
        available=available,
        event=(~censored).astype(int),
        reason=[reason[k] if c else "" for k, c in enumerate(censored)],
    )


def _ray_points(maps: Maps, surface: Surface, config: MeasureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Depths and grid positions (P, T, 2) of the samples along each normal."""
    extent = np.asarray(maps.labels.shape) * np.asarray(maps.step_nm)
    t = (np.arange(int(np.hypot(*extent) / config.grid_nm)) + 0.5) * config.grid_nm
    position = surface.yx_nm[:, None, :] + t[None, :, None] * surface.normal[:, None, :]
    return t, position / np.asarray(maps.step_nm)


def _ray_ends(labels: np.ndarray, inside: np.ndarray, lasting: int) -> tuple[np.ndarray, list[str]]:
    """Sample at which each ray stops being judged crystal, and why."""
    length = labels.shape[1]
    border = np.where(inside.all(axis=1), length, (~inside).argmax(axis=1))
    vacuum = _first_run(labels == Phase.NONE, lasting, start=lasting)
    unjudged = _first_run(labels == Phase.UNRESOLVED, lasting, start=0)
    end = np.minimum(np.minimum(border, vacuum), unjudged)
    names = []
    for k in range(len(end)):
        if border[k] <= min(vacuum[k], unjudged[k]):
            names.append("field_of_view")
        else:
            names.append("other_surface" if vacuum[k] <= unjudged[k] else "unresolved_crystal")
    return end, names


def _first_run(mask: np.ndarray, lasting: int, start: int) -> np.ndarray:
    """First index from `start` on at which `mask` is True for `lasting` samples in a row; the length where never."""
    n = mask.shape[1]
    mask = mask.copy()
    mask[:, :start] = False
    total = np.cumsum(np.pad(mask, ((0, 0), (1, 0))), axis=1)
    run = total[:, lasting:] - total[:, :-lasting] == lasting if n >= lasting else np.zeros((len(mask), 1), bool)
    return np.where(run.any(axis=1), run.argmax(axis=1), n)


def _first_below(profile: np.ndarray, level: float, step_nm: float) -> np.ndarray:
    """Depth at which each profile first falls below a level, 0 where it starts below it, NaN where it never does."""
    below = profile < level
    skin = max(1, round(EDGE_SKIN_NM / step_nm))
    below[:, :skin] = False  # the outermost columns have neighbours on one side only
    first = below.argmax(axis=1)
    depth = np.where(first <= skin, 0.0, first * step_nm)
    return np.where(below.any(axis=1), depth, np.nan)


def depth_map(maps: Maps, surfaces: list[Surface]) -> np.ndarray:
    """(H, W) depth below the nearest surface, nm; NaN outside crystal, and everywhere when there is no surface."""
    if not surfaces:
        return np.full(maps.labels.shape, np.nan, np.float32)
    edge = np.zeros(maps.labels.shape, dtype=bool)
    for surface in surfaces:
        where = np.clip(np.rint(surface.yx_nm / np.asarray(maps.step_nm)).astype(int), 0, np.array(edge.shape) - 1)
        edge[where[:, 0], where[:, 1]] = True
    # Vacuum that no measured surface bounds (a speck) does not count.
    outside = ~maps.crystal
    parts = label(outside, connectivity=1)
    touched = np.unique(parts[binary_dilation(edge, iterations=8)])
    source = np.isin(parts, touched[touched > 0])
    depth = distance_transform_edt(~source, sampling=maps.step_nm)
    return np.where(maps.crystal, depth, np.nan).astype(np.float32)
