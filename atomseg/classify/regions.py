"""From gaps and columns to pixels: where the crystal is, and which phase each pixel of it has."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt
from scipy.spatial import Delaunay, QhullError, cKDTree
from scipy.special import ndtr

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.frames import Frames
from atomseg.classify.posterior import STATES
from atomseg.classify.rows import Chains
from atomseg.imaging import grid_to_pixels, large_parts, unseen_on_grid
from atomseg.types import Micrograph, Phase

# Empty circles of a crystal's column pattern are smaller than this: 0.27 nm between bare TM rows and in Si <110>,
# 0.28 nm in perovskites; a crack or a vacuum bay is larger.
LARGEST_HOLE_NM = 0.38
# Fewer square nanometres than this are not a crystal but stray detections.
SMALLEST_CRYSTAL_NM2 = 1.5
# A smaller hole is a cluster of vacancies or columns that were missed.
SMALLEST_VACUUM_NM2 = 3.0
# A pixel belongs to the nearest gap within this distance: a layer spacing and a half.
REACH_NM = 0.7


@dataclass(frozen=True)
class Grid:
    """Coarse sampling grid over the image, in nm."""

    y_nm: np.ndarray
    x_nm: np.ndarray

    @classmethod
    def over(cls, micrograph: Micrograph, step_nm: float) -> "Grid":
        """Grid that spans the pixel centres of an image."""
        (h, w), (py, px) = micrograph.shape, micrograph.calibration.pixel_size_nm
        ny, nx = (max(2, int(np.ceil((n - 1) * p / step_nm)) + 1) for n, p in ((h, py), (w, px)))
        return cls(np.linspace(0, (h - 1) * py, ny), np.linspace(0, (w - 1) * px, nx))

    @property
    def points(self) -> np.ndarray:
        """(ny·nx, 2) positions (y, x) in nm."""
        return np.stack(np.meshgrid(self.y_nm, self.x_nm, indexing="ij"), axis=-1).reshape(-1, 2)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return (len(self.y_nm), len(self.x_nm))

    @property
    def step(self) -> tuple[float, float]:
        """Exact spacing (y, x) in nm."""
        return (float(self.y_nm[1] - self.y_nm[0]), float(self.x_nm[1] - self.x_nm[0]))

    def nearest_to_pixels(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The value, of (ny·nx,), of the grid point nearest to each pixel centre."""
        y, x = (np.rint(np.linspace(0, m - 1, n)).astype(int) for m, n in zip(self.shape, shape, strict=True))
        return values.reshape(self.shape)[:, x][y]


def crystal_distance(yx_nm: np.ndarray, grid: Grid, outline_nm: float) -> np.ndarray:
    """Distance inside the crystal's outline on the grid, nm, negative outside; no more than `outline_nm` deep inside.

    The crystal is what the columns tile: the triangles of their Delaunay triangulation without large empty circles (an
    alpha shape), plus half a row around. Intensity plays no part, so a bright amorphous cover is not crystal.
    """
    outside = np.full(grid.shape, -1e3)
    mirrored = _mirror_at_borders(yx_nm, grid, 2 * LARGEST_HOLE_NM)
    if len(mirrored) < 4:
        return outside
    try:
        mesh = Delaunay(mirrored)
    except QhullError:
        return outside  # all columns on one line
    # Across the image border a lattice meets its mirror image at any distance up to twice its own spacing.
    at_border = (mesh.simplices >= len(yx_nm)).any(axis=1) & (mesh.simplices < len(yx_nm)).any(axis=1)
    largest = np.where(at_border, 1.6, 1.0) * LARGEST_HOLE_NM
    keep = _circumradius(mirrored[mesh.simplices]) < largest
    simplex = mesh.find_simplex(grid.points)
    inside = ((simplex >= 0) & keep[simplex]).reshape(grid.shape)
    inside = large_parts(inside, SMALLEST_CRYSTAL_NM2 / (grid.step[0] * grid.step[1]), diagonal=False)
    if not inside.any():
        return outside
    if inside.all():
        return np.full(grid.shape, 1e3)
    # Only the outline, a few grid steps outside the triangles, is ever interpolated: inside any constant will do.
    return outline_nm - distance_transform_edt(~inside, sampling=grid.step)


def edge_in_view(micrograph: Micrograph, yx_nm: np.ndarray, config: ClassifyConfig) -> bool:
    """Whether the crystal ends inside the image: more lies outside its outline than a few missing columns leave."""
    grid = Grid.over(micrograph, config.grid_nm)
    outside = crystal_distance(yx_nm, grid, config.outline_nm) < 0
    outside &= ~unseen_on_grid(micrograph.invalid, micrograph.calibration.pixel_size_nm, grid.shape)
    smallest_px = SMALLEST_VACUUM_NM2 / (grid.step[0] * grid.step[1])
    return bool(large_parts(outside, smallest_px, diagonal=False).any())


def _mirror_at_borders(yx_nm: np.ndarray, grid: Grid, reach_nm: float) -> np.ndarray:
    """Columns and, mirrored across the image border, those near it: the crystal does not end before the image."""
    out = yx_nm
    for axis, edge in ((0, grid.y_nm), (1, grid.x_nm)):
        low, high = out[:, axis] < reach_nm, out[:, axis] > edge[-1] - reach_nm
        first, last = out[low].copy(), out[high].copy()
        first[:, axis] *= -1
        last[:, axis] = 2 * edge[-1] - last[:, axis]
        out = np.concatenate([out, first, last])
    return out


def _circumradius(triangle: np.ndarray) -> np.ndarray:
    """Radius of the circle through the corners of (T, 3, 2) triangles."""
    a, b, c = (np.linalg.norm(triangle[:, i] - triangle[:, j], axis=1) for i, j in ((0, 1), (1, 2), (2, 0)))
    u, v = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    area = 0.5 * np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    return a * b * c / np.maximum(4 * area, 1e-12)


def paint(
    micrograph: Micrograph,
    columns_yx_nm: np.ndarray,
    *,
    frames: Frames,
    chains: Chains,
    gaps: pd.DataFrame,
    probability: np.ndarray,
    config: ClassifyConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phase, confidence and occupancy of every pixel.

    Layered and rocksalt part where the interlayer occupancy, interpolated between its sites, crosses the threshold;
    O1 and unresolved where the nearest pair of columns one layer apart says so.

    Returns
    -------
    labels : numpy.ndarray
        (H, W) uint8.
    confidence, occupancy : numpy.ndarray
        (H, W) float32.
    """
    shape = micrograph.shape
    grid = Grid.over(micrograph, config.grid_nm)
    crystal = grid_to_pixels(crystal_distance(columns_yx_nm, grid, config.outline_nm), shape) > 0
    if len(gaps) == 0:
        labels = np.where(crystal, _code(Phase.UNRESOLVED), _code(Phase.NONE))
        return labels, np.ones(shape, np.float32), np.full(shape, np.nan, np.float32)
    site = gaps[["y_nm", "x_nm"]].to_numpy()
    distance, nearest = cKDTree(site).query(grid.points, distance_upper_bound=REACH_NM, workers=2)
    judged = np.isfinite(distance)
    nearest = np.where(judged, nearest, 0).astype(np.int32)
    state = probability.argmax(axis=1)
    band = _nearest_pair(gaps, columns_yx_nm, grid.points[judged], _holes(gaps, columns_yx_nm, frames, chains, state))
    occupancy = grid_to_pixels(_interpolate(site, gaps["occupancy"].to_numpy(), grid, nearest), shape)

    def of_band(value: np.ndarray, elsewhere: float) -> np.ndarray:
        """A number of each gap on the pixels of its band."""
        coarse = np.full(len(judged), elsewhere, value.dtype)
        coarse[judged] = value[band]
        return grid.nearest_to_pixels(coarse, shape)

    # Layered and rocksalt are one band here: their border is where the occupancy crosses the threshold.
    codes = np.array([_code(Phase.LAYERED if p is Phase.ROCKSALT else p) for p in STATES])
    third = probability[:, :2].sum(axis=1)
    sure = np.where(codes[state] == Phase.LAYERED, third, probability[np.arange(len(state)), state])
    labels = of_band(codes[state], Phase.UNRESOLVED)
    confidence = of_band(sure.astype(np.float32), 1.0)
    above = (occupancy - config.occupancy_threshold) / of_band(gaps["occupancy_err"].to_numpy(np.float32), 1.0)
    parted = labels == Phase.LAYERED
    labels[parted & (above >= 0)] = Phase.ROCKSALT
    confidence[parted] *= ndtr(np.abs(above[parted]))
    labels[~crystal], confidence[~crystal] = Phase.NONE, 1.0
    occupancy[(labels == Phase.UNRESOLVED) | ~crystal] = np.nan
    return labels, confidence, occupancy


def _nearest_pair(gaps: pd.DataFrame, yx_nm: np.ndarray, at_nm: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """(P,) gap whose pair of columns is nearest to each of the places (P, 2).

    The middle of the pair, not the interlayer site beside it, so that faults do not shift to one side. Where one column
    of a row was not found, the gap before the hole stands there too: a hole is filled from its own row.
    """
    middle = 0.5 * (yx_nm[gaps["lower"].to_numpy()] + yx_nm[gaps["upper"].to_numpy()])
    before, after = missing
    points = np.concatenate([middle, 0.5 * (middle[before] + middle[after])])
    number = np.concatenate([np.arange(len(middle)), before]).astype(np.int32)
    _, found = cKDTree(points).query(at_nm, workers=2)
    return number[found]


def _holes(gaps: pd.DataFrame, yx_nm: np.ndarray, frames: Frames, chains: Chains, state: np.ndarray) -> np.ndarray:
    """(2, K) gaps of one state before and after a hole of one gap in a row."""
    following = chains.following
    before = np.flatnonzero(following >= 0)
    lower = gaps["lower"].to_numpy()
    step = np.linalg.norm(yx_nm[lower[following[before]]] - yx_nm[lower[before]], axis=1)
    before = before[step > 1.5 * np.linalg.norm(frames.row[lower[before]], axis=1)]
    before = before[state[before] == state[following[before]]]
    return np.stack([before, following[before]])


def _code(phase: Phase) -> np.uint8:
    """Phase code in the type of a map: larger types cost time and memory on every pixel."""
    return np.uint8(int(phase))


def _interpolate(site: np.ndarray, value: np.ndarray, grid: Grid, nearest: np.ndarray) -> np.ndarray:
    """Piecewise linear interpolation between sites, the nearest site's value outside their hull."""
    flat = value[nearest]
    if len(site) >= 4:
        try:
            linear = LinearNDInterpolator(Delaunay(site), value)(grid.points)
            flat = np.where(np.isfinite(linear), linear, flat)
        except QhullError:
            pass  # sites on one line: the nearest value is all there is
    return flat.reshape(grid.shape)
