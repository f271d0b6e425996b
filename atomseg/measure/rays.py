"""Along each inward normal: how deep the reconstructed zone reaches, and how far one can see."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, uniform_filter1d
from scipy.spatial import cKDTree
from skimage.measure import label

from atomseg.measure.config import MeasureConfig
from atomseg.measure.surface import Maps, Surface
from atomseg.measure.zone import Zone
from atomseg.types import Phase

# A ray has met something else when it stays there for this long: shorter runs are outline noise.
LASTING_NM = 0.6
# Mean depth of a band behind a patchy layer, as a share of the length of its islands, from which on it is the bulk:
# were the layer to go on, a third to a half of its rays would end in an island, on average half way.
ISLAND_SHARE = 0.4
# Layered share of the layer from which on it is patchy.
PATCHY_SHARE = 0.02
# A face belongs to another side of the crystal when its normal is turned by more than 78 degrees: rough and stepped
# faces are turned by less. Looked for along the rays in steps of this length.
OTHER_FACE_COSINE, NEIGHBOUR_STEP_NM = 0.2, 0.3
# Probability from which on the phase of a place is certain: the limits of the front are those of a 90 % interval.
CERTAIN = 0.95
# Lateral smoothing of the occupancy under which t_50, t_rocksalt, t_mix and the front width are read.
OCCUPANCY_SMOOTHING_NM = 0.4
# Depth below the edge that is too close to it for an occupancy: one cation row and a half.
EDGE_SKIN_NM = 0.36
# Occupancy at which full rocksalt ends, and the levels between which the front width is taken.
FULL_ROCKSALT = 0.8
FRONT_LEVELS = (0.8, 0.2)


@dataclass(frozen=True)
class Depths:
    """Depths along the normals of one surface, nm.

    Parameters
    ----------
    thickness : numpy.ndarray
        (P,) depth of the deepest point of the zone; a lower bound where `event` is 0.
    shallow, deep : numpy.ndarray
        (P,) depths between which the front lies with 90 % probability, by the phase probabilities alone.
    t_50, t_rocksalt, t_mix, front_width, available : numpy.ndarray
        (P,) see `docs/thickness.md`.
    hidden : numpy.ndarray
        (P,) depth at which reconstructed crystal begins that no surface reaches, NaN where there is none.
    event : numpy.ndarray
        (P,) 1 where the end was seen.
    reason : list of str
        Why it was not.
    """

    thickness: np.ndarray
    shallow: np.ndarray
    deep: np.ndarray
    t_50: np.ndarray
    t_rocksalt: np.ndarray
    t_mix: np.ndarray
    front_width: np.ndarray
    available: np.ndarray
    hidden: np.ndarray
    event: np.ndarray
    reason: list[str]


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


@dataclass(frozen=True)
class Neighbours:
    """Points of all surfaces with their inward normals: which face is the nearest to a place in the crystal."""

    tree: cKDTree
    normal: np.ndarray

    @classmethod
    def of(cls, surfaces: list[Surface]) -> "Neighbours":
        """All points of some surfaces."""
        return cls(
            cKDTree(np.concatenate([surface.yx_nm for surface in surfaces])),
            np.concatenate([surface.normal for surface in surfaces]),
        )

    def first_of_another(self, yx_nm: np.ndarray, normal: np.ndarray, inside: np.ndarray, step_nm: float) -> np.ndarray:
        """(P,) sample from which on a place on each ray is nearer to a face that looks another way; the length if none.

        Parameters
        ----------
        yx_nm : numpy.ndarray
            (P, T, 2) samples of the rays.
        normal : numpy.ndarray
            (P, 2) their directions.
        inside : numpy.ndarray
            (P, T) bool, samples in the image.
        step_nm : float
            Distance of the samples.
        """
        every = max(1, round(NEIGHBOUR_STEP_NM / step_nm))
        at = inside[:, ::every]
        nearest = self.tree.query(yx_nm[:, ::every][at])[1]
        ray = np.broadcast_to(np.arange(len(normal))[:, None], at.shape)[at]
        other = np.zeros(at.shape, dtype=bool)
        other[at] = (self.normal[nearest] * normal[ray]).sum(axis=1) < OTHER_FACE_COSINE
        return np.where(other.any(axis=1), other.argmax(axis=1) * every, inside.shape[1])


def cast(
    maps: Maps,
    zone: Zone,
    occupancy: np.ndarray,
    surface: Surface,
    *,
    neighbours: Neighbours,
    config: MeasureConfig,
) -> Depths:
    """Measure along every normal of a surface, as far as the crystal is nearer to it than to a face across."""
    step_nm = config.grid_nm
    position = _ray_points(maps, surface, config)
    h, w = maps.labels.shape
    index = np.rint(position).astype(int)
    inside = (position >= 0).all(axis=-1) & (position[..., 0] <= h - 1) & (position[..., 1] <= w - 1)
    at = tuple(np.moveaxis(np.clip(index, 0, [h - 1, w - 1]), -1, 0))
    inside &= ~maps.unseen[at]
    end, reason = _ray_ends(np.where(inside, maps.labels[at], Phase.NONE), inside, max(1, round(LASTING_NM / step_nm)))
    across = neighbours.first_of_another(position * np.asarray(maps.step_nm), surface.normal, inside, step_nm)
    reason = ["other_surface" if across[k] < end[k] else name for k, name in enumerate(reason)]
    end = np.minimum(end, across)
    seen = np.arange(position.shape[1])[None, :] < end[:, None]
    deepest = _last(zone.reconstructed[at] & seen)
    islands = _island_length(zone.reconstructed[at], deepest, config)
    if islands > 0:
        # An island that touches the front hides it: the envelope is drawn across bays as wide as its patches are.
        deepest = _last(zone.attached[at] & seen)
    available, thickness = end * step_nm, deepest * step_nm
    shallow, deep = _front_limits(maps.reconstructed_probability[at], deepest, end)
    censored = _is_censored(deepest, deep, end, islands, config)
    profile = np.where(seen, occupancy[at], np.nan)
    t_50 = _first_below(profile, 0.5, step_nm)
    high, low = (_first_below(profile, level, step_nm) for level in FRONT_LEVELS)
    hidden = zone.hidden[at] & seen
    return Depths(
        thickness=np.where((thickness < config.detection_limit_nm / 2) & ~censored, 0.0, thickness),
        shallow=shallow * step_nm,
        deep=deep * step_nm,
        t_50=t_50,
        t_rocksalt=_first_below(profile, FULL_ROCKSALT, step_nm),
        t_mix=_first_below(profile, bulk_ceiling(maps), step_nm),
        front_width=np.where(np.nan_to_num(t_50) > 0, low - high, np.nan),
        available=available,
        hidden=np.where(hidden.any(axis=1), hidden.argmax(axis=1) * step_nm, np.nan),
        event=(~censored).astype(int),
        reason=[reason[k] if c else "" for k, c in enumerate(censored)],
    )


def _is_censored(
    deepest: np.ndarray, deep: np.ndarray, end: np.ndarray, islands_nm: float, config: MeasureConfig
) -> np.ndarray:
    """(P,) bool: the zone runs into the end of the ray, so that its own end was not seen."""
    beyond = (end - deepest) * config.grid_nm
    # Where nothing on the way to the end is certain to be bulk, the end of the layer was not seen either.
    censored = (deepest > 0) & (np.minimum(beyond, (end - deep) * config.grid_nm) < 0.5 * LASTING_NM)
    if islands_nm > 0:
        # Behind a patchy layer the layered crystal before the view ends can be one more island. A band of it along the
        # surface, longer and of more area than the islands are, can not.
        width = max(1, round(2 * islands_nm / config.point_spacing_nm))
        censored |= uniform_filter1d(beyond, width, mode="nearest") < ISLAND_SHARE * islands_nm
    # A ray that ends before anything could be seen on it has not seen an unreconstructed surface.
    return np.asarray(censored | (end * config.grid_nm < config.detection_limit_nm))


def _island_length(reconstructed: np.ndarray, deepest: np.ndarray, config: MeasureConfig) -> float:
    """Length, nm, that 95 % of the layered stretches inside a patchy layer do not exceed; 0 if the layer is not patchy.

    Each stretch counts as often as it is long: the chance that a view ends in it goes with its length.
    """
    within = np.arange(reconstructed.shape[1])[None, :] < deepest[:, None]
    layered = within & ~reconstructed
    if layered.sum() <= PATCHY_SHARE * max(1, int(within.sum())):
        return 0.0
    step = np.diff(np.pad(layered, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    length = np.sort(np.nonzero(step == -1)[1] - np.nonzero(step == 1)[1])
    share = np.cumsum(length) / length.sum()
    return float(length[np.searchsorted(share, 0.95)] * config.grid_nm)


def _last(mask: np.ndarray) -> np.ndarray:
    """(P,) samples up to and including the last True one of each row, 0 where there is none."""
    return np.where(mask.any(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1), 0)


def _front_limits(probability: np.ndarray, front: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples between which the front lies: around it, the run over which it is not certain which phase it is.

    Uncertain is a probability of reconstruction between 5 and 95 %; the runs begin at the front and end at the first
    certain sample, or where the ray does.
    """
    n = probability.shape[1]
    sample = np.arange(n)[None, :]
    sure_in = (probability >= CERTAIN) & (sample < front[:, None])
    sure_out = (probability <= 1.0 - CERTAIN) & (sample >= front[:, None])
    shallow = _last(sure_in)
    deep = np.where(sure_out.any(axis=1), sure_out.argmax(axis=1), n)
    return np.minimum(shallow, front), np.maximum(np.minimum(deep, end), front)


def _ray_points(maps: Maps, surface: Surface, config: MeasureConfig) -> np.ndarray:
    """(P, T, 2) grid positions of the samples along each normal."""
    extent = np.asarray(maps.labels.shape) * np.asarray(maps.step_nm)
    t = (np.arange(int(np.hypot(*extent) / config.grid_nm)) + 0.5) * config.grid_nm
    position = surface.yx_nm[:, None, :] + t[None, :, None] * surface.normal[:, None, :]
    return np.asarray(position / np.asarray(maps.step_nm))


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
    return np.where(maps.labels != Phase.NONE, depth, np.nan).astype(np.float32)
