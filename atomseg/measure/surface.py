"""The crystal's edge as a curve with inward normals."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates, zoom
from skimage.measure import find_contours

from atomseg.measure.config import MeasureConfig
from atomseg.types import Phase


@dataclass(frozen=True)
class Maps:
    """Phase maps on an isotropic grid that spans the pixel centres of the image."""

    labels: np.ndarray  # (H, W) uint8
    occupancy: np.ndarray  # (H, W) float32, NaN where unknown
    step_nm: tuple[float, float]

    @property
    def crystal(self) -> np.ndarray:
        """(H, W) bool."""
        return self.labels != Phase.NONE


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
    """

    yx_nm: np.ndarray
    normal: np.ndarray
    s_nm: np.ndarray
    closed: bool


def sample_maps(labels: np.ndarray, occupancy: np.ndarray, pixel_size_nm: tuple[float, float], step_nm: float) -> Maps:
    """Bring phase maps to an isotropic grid, the nearest pixel for each grid point."""
    size = [max(2, int(np.ceil((n - 1) * p / step_nm)) + 1) for n, p in zip(labels.shape, pixel_size_nm, strict=True)]
    rows = np.rint(np.linspace(0, labels.shape[0] - 1, size[0])).astype(int)
    cols = np.rint(np.linspace(0, labels.shape[1] - 1, size[1])).astype(int)
    step = tuple((n - 1) * p / (m - 1) for n, p, m in zip(labels.shape, pixel_size_nm, size, strict=True))
    return Maps(labels[np.ix_(rows, cols)], occupancy[np.ix_(rows, cols)], (step[0], step[1]))


def find_surfaces(maps: Maps, config: MeasureConfig) -> list[Surface]:
    """Edges between crystal and no crystal, the longest first; the image border is no edge."""
    crystal = maps.crystal
    if crystal.all() or not crystal.any():
        return []
    step = np.asarray(maps.step_nm)
    field = gaussian_filter(crystal.astype(np.float32), config.edge_smoothing_nm / step, mode="nearest")
    surfaces = []
    for contour in find_contours(field, 0.5):
        closed = bool(np.allclose(contour[0], contour[-1]))
        points = _resample(contour * step, config.point_spacing_nm)
        if points is None or _length(points) < config.shortest_surface_nm:
            continue
        surfaces.append(_with_normals(points, closed, field, step, config))
    return sorted(surfaces, key=lambda surface: -surface.s_nm[-1])


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _resample(points: np.ndarray, spacing: float) -> np.ndarray | None:
    """Points at equal arc length along a curve; None for a curve shorter than two spacings."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    if s[-1] < 2 * spacing:
        return None
    at = np.linspace(0, s[-1], max(3, round(s[-1] / spacing) + 1))
    return np.stack([np.interp(at, s, points[:, axis]) for axis in (0, 1)], axis=1)


def _with_normals(
    points: np.ndarray, closed: bool, field: np.ndarray, step: np.ndarray, config: MeasureConfig
) -> Surface:
    """Normals from the smoothed curve, turned towards the crystal."""
    sigma = config.normal_smoothing_nm / config.point_spacing_nm
    if closed:
        smooth = gaussian_filter1d(points, sigma, axis=0, mode="wrap")
        tangent = np.gradient(smooth, axis=0)
    else:
        # Point reflection at the ends keeps a straight edge straight up to the image border.
        n = min(len(points) - 1, int(4 * sigma) + 1)
        padded = np.concatenate([2 * points[0] - points[n:0:-1], points, 2 * points[-1] - points[-2 : -n - 2 : -1]])
        tangent = np.gradient(gaussian_filter1d(padded, sigma, axis=0), axis=0)[n : n + len(points)]
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    ahead = map_coordinates(field, ((points + 0.6 * normal) / step).T, order=1, mode="nearest")
    behind = map_coordinates(field, ((points - 0.6 * normal) / step).T, order=1, mode="nearest")
    # One side of a contour is the crystal's everywhere: the majority decides for the whole curve.
    if (ahead - behind).sum() < 0:
        normal = -normal
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return Surface(points, normal, s, closed)


def upsample(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring a grid map back to the pixels, linearly; grid and pixels share their corner centres."""
    factor = [n / m for n, m in zip(shape, values.shape, strict=True)]
    return zoom(values, factor, order=1, mode="nearest", grid_mode=False).astype(np.float32)
