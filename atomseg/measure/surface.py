"""The crystal's edge as a curve with inward normals."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from skimage.measure import find_contours

from atomseg.imaging import unseen_on_grid
from atomseg.measure.config import MeasureConfig
from atomseg.measure.faces import curve_normals, split_at_tips, surface_kind
from atomseg.types import Phase, PhaseMap, SurfaceKind

# A curve of fewer points has no normals.
LEAST_POINTS = 3


@dataclass(frozen=True)
class Maps:
    """Phase maps on an isotropic grid that spans the pixel centres of the image."""

    labels: np.ndarray  # (H, W) uint8
    crystal: np.ndarray  # (H, W) bool; in unseen places as in the nearest seen one
    unseen: np.ndarray  # (H, W) bool, in or beside an area that was not seen
    occupancy: np.ndarray  # (H, W) float32, NaN where unknown
    reconstructed_probability: np.ndarray  # (H, W) float32, of rocksalt or O1; one half where crystal is not judged
    step_nm: tuple[float, float]


@dataclass(frozen=True)
class Surface:
    """One connected piece of crystal edge.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (P, 2) points along the edge.
    normal : numpy.ndarray
        (P, 2) inward unit normals (y, x).
    s_nm : numpy.ndarray
        (P,) arc length.
    closed : bool
        Whether the edge closes on itself (a pore, a particle).
    kind : str
        What it is a surface of, see `SurfaceKind`.
    """

    yx_nm: np.ndarray
    normal: np.ndarray
    s_nm: np.ndarray
    closed: bool
    kind: SurfaceKind


def sample_maps(
    phases: PhaseMap, pixel_size_nm: tuple[float, float], step_nm: float, invalid: np.ndarray | None
) -> Maps:
    """Bring phase maps, and what was not seen (`invalid` pixels), to an isotropic grid, the nearest pixel each."""
    shape = phases.labels.shape
    size = [max(2, int(np.ceil((n - 1) * p / step_nm)) + 1) for n, p in zip(shape, pixel_size_nm, strict=True)]
    rows = np.rint(np.linspace(0, shape[0] - 1, size[0])).astype(int)
    cols = np.rint(np.linspace(0, shape[1] - 1, size[1])).astype(int)
    step = tuple((n - 1) * p / (m - 1) for n, p, m in zip(shape, pixel_size_nm, size, strict=True))
    labels, occupancy, confidence = (
        values[np.ix_(rows, cols)] for values in (phases.labels, phases.occupancy, phases.confidence)
    )
    probability = np.where(np.isin(labels, (Phase.ROCKSALT, Phase.O1)), confidence, 1.0 - confidence)
    probability = np.where(labels == Phase.UNRESOLVED, np.float32(0.5), probability)
    unseen, crystal = unseen_on_grid(invalid, pixel_size_nm, labels.shape), labels != Phase.NONE
    if unseen.any() and not unseen.all():
        nearest = distance_transform_edt(unseen, sampling=step, return_distances=False, return_indices=True)
        crystal = crystal[tuple(nearest)]
    return Maps(labels, crystal, unseen, occupancy, probability.astype(np.float32), (step[0], step[1]))


def find_surfaces(maps: Maps, config: MeasureConfig) -> list[Surface]:
    """Edges between crystal and no crystal, the longest first; the border of what is seen is no edge.

    The two faces of a crack whose tip is in view are two surfaces.
    """
    crystal = maps.crystal
    if crystal.all() or not crystal.any():
        return []
    step = np.asarray(maps.step_nm)
    field = gaussian_filter(crystal.astype(np.float32), config.edge_smoothing_nm / step, mode="nearest")
    surfaces = []
    for contour in find_contours(field, 0.5):
        whole = _resample(contour * step, config.point_spacing_nm)
        if whole is None:
            continue
        faces = split_at_tips(whole, bool(np.allclose(contour[0], contour[-1])), config)
        for points, closed in (part for face in faces for part in _seen(*face, maps)):
            if _length(points) < config.shortest_surface_nm:
                continue
            normal = _inward(points, closed, field, step, config)
            kind = surface_kind(points, normal, closed, field, step)
            surfaces.append(Surface(points, normal, arc_length(points), closed, kind))
    return sorted(surfaces, key=lambda surface: -surface.s_nm[-1])


def _seen(points: np.ndarray, closed: bool, maps: Maps) -> list[tuple[np.ndarray, bool]]:
    """The parts of a curve that lie where the image shows something, and whether they close on themselves."""
    at = np.clip(np.rint(points / np.asarray(maps.step_nm)).astype(int), 0, np.array(maps.unseen.shape) - 1)
    unseen = maps.unseen[at[:, 0], at[:, 1]]
    if not unseen.any():
        return [(points, closed)]
    if closed:
        first = int(unseen.argmax())
        points, unseen = np.roll(points[:-1], -first, axis=0), np.roll(unseen[:-1], -first)
    change = np.flatnonzero(np.diff(np.pad(~unseen, 1).astype(np.int8)))
    return [(points[start:stop], False) for start, stop in change.reshape(-1, 2) if stop - start >= LEAST_POINTS]


def arc_length(points: np.ndarray) -> np.ndarray:
    """(P,) length along a curve from its first point, nm."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _length(points: np.ndarray) -> float:
    return float(arc_length(points)[-1])


def _resample(points: np.ndarray, spacing: float) -> np.ndarray | None:
    """Points at equal arc length along a curve; None for a curve shorter than two spacings."""
    s = arc_length(points)
    if s[-1] < 2 * spacing:
        return None
    at = np.linspace(0, s[-1], max(3, round(s[-1] / spacing) + 1))
    return np.stack([np.interp(at, s, points[:, axis]) for axis in (0, 1)], axis=1)


def _inward(points: np.ndarray, closed: bool, field: np.ndarray, step: np.ndarray, config: MeasureConfig) -> np.ndarray:
    """(P, 2) normals of the smoothed curve, turned towards the crystal."""
    normal = curve_normals(points, closed, config.normal_smoothing_nm / config.point_spacing_nm)
    ahead = map_coordinates(field, ((points + 0.6 * normal) / step).T, order=1, mode="nearest")
    behind = map_coordinates(field, ((points - 0.6 * normal) / step).T, order=1, mode="nearest")
    # One side of a contour is the crystal's everywhere: the majority decides for the whole curve.
    return -normal if (ahead - behind).sum() < 0 else normal


def smoother_normals(surface: Surface, smoothing_nm: float, config: MeasureConfig) -> Surface:
    """The same surface with normals that follow it on a longer scale."""
    normal = curve_normals(surface.yx_nm, surface.closed, smoothing_nm / config.point_spacing_nm)
    turned = normal if (normal * surface.normal).sum() > 0 else -normal
    return replace(surface, normal=turned)
