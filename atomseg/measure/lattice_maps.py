"""Numbers of columns brought to the pixel grid, and profiles of them with depth."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomseg.imaging import at_nearest_pixels, grid_to_pixels
from atomseg.types import Phase, PhaseMap
from atomseg.types.lattice import DEPTH_PROFILE_FIELDS

# Farther from the nearest fitted column nothing is said: inside the TM lattice none is farther than 0.27 nm, beside a
# missing column 0.35 nm.
REACH_NM = 0.36
# Columns that a point between them is interpolated from.
BLENDED = 4
FEWEST_IN_BIN = 5


def pixel_maps(
    yx_nm: np.ndarray,
    values: dict[str, np.ndarray],
    *,
    shape: tuple[int, int],
    pixel_nm: tuple[float, float],
    crystal: np.ndarray,
    grid_nm: float,
) -> dict[str, np.ndarray]:
    """Maps (H, W) float32 of numbers of columns, NaN where no column with a number is near and outside crystal.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) columns.
    values : dict
        (N,) numbers by name, NaN where unknown; all are taken where the first one is known.
    shape, pixel_nm : tuple
        Pixel grid.
    crystal : numpy.ndarray
        (H, W) bool.
    grid_nm : float
        Sampling before the pixels.
    """
    first = next(iter(values.values()))
    known = np.isfinite(first)
    if known.sum() < BLENDED:
        return {name: np.full(shape, np.nan, np.float32) for name in values}
    axes = [
        np.linspace(0.0, n - 1.0, max(2, round((n - 1) * p / grid_nm) + 1))
        for n, p in zip(shape, pixel_nm, strict=True)
    ]
    nodes = np.stack(np.meshgrid(axes[0] * pixel_nm[0], axes[1] * pixel_nm[1], indexing="ij"), axis=-1)
    distance, near = cKDTree(yx_nm[known]).query(nodes.reshape(-1, 2), k=BLENDED, workers=2)
    weight = 1.0 / (distance**2 + 0.05**2)
    weight /= weight.sum(axis=1, keepdims=True)
    close = (distance[:, 0] <= REACH_NM).reshape(nodes.shape[:2]).astype(np.float32)
    outside = ~crystal | (grid_to_pixels(close, shape) <= 0.5)
    maps = {}
    for name, value in values.items():
        if np.isfinite(value[known]).all():
            coarse = (weight * value[known][near]).sum(axis=1).reshape(nodes.shape[:2])
            maps[name] = grid_to_pixels(coarse, shape)
            maps[name][outside] = np.nan
        else:
            maps[name] = np.full(shape, np.nan, np.float32)
    return maps


def occupancy_error_map(phases: PhaseMap, pixel_nm: tuple[float, float], grid_nm: float) -> np.ndarray:
    """(H, W) float32 standard error of the occupancy, that of the nearest site, where there is an occupancy."""
    shape = phases.labels.shape
    if len(phases.gaps) == 0:
        return np.full(shape, np.nan, np.float32)
    height, width = shape
    steps = [max(1, round(grid_nm / p)) for p in pixel_nm]
    rows, cols = np.arange(0, height, steps[0]), np.arange(0, width, steps[1])
    nodes = np.stack(np.meshgrid(rows * pixel_nm[0], cols * pixel_nm[1], indexing="ij"), axis=-1).reshape(-1, 2)
    near = cKDTree(phases.gaps[["y_nm", "x_nm"]].to_numpy()).query(nodes, workers=2)[1]
    error = phases.gaps["occupancy_err"].to_numpy(dtype=np.float32)[near].reshape(len(rows), len(cols))
    full = error[np.arange(height) // steps[0]][:, np.arange(width) // steps[1]]
    full[np.isnan(phases.occupancy)] = np.nan
    return full


def depth_profile(
    phases: PhaseMap,
    table: pd.DataFrame,
    yx_px: np.ndarray,
    depth_nm: np.ndarray,
    *,
    points: pd.DataFrame | None,
    pixel_nm: tuple[float, float],
    bin_nm: float,
) -> pd.DataFrame:
    """`DEPTH_PROFILE_FIELDS` in bins of depth below the surface, each surface for itself; empty without one.

    Parameters
    ----------
    phases : PhaseMap
        Labels and interlayer sites.
    table : pandas.DataFrame
        `LATTICE_FIELDS` of the columns.
    yx_px : numpy.ndarray
        (N, 2) columns, pixels.
    depth_nm : numpy.ndarray
        (H, W) depth, NaN where there is none.
    points : pandas.DataFrame or None
        Surface points, `PROFILE_FIELDS`; None takes all crystal as below surface 0.
    pixel_nm : tuple of float
        (y, x) pixel size.
    bin_nm : float
        Width of a bin.
    """
    rows: list[dict[str, float]] = []
    if np.isfinite(depth_nm[::8, ::8]).any():
        step = max(1, round(0.06 / min(pixel_nm)))
        area, label = depth_nm[::step, ::step], phases.labels[::step, ::step]
        pixel = step * np.argwhere(np.isfinite(area))
        label = label[np.isfinite(area)]
        site = phases.gaps[["y_nm", "x_nm"]].to_numpy() / np.asarray(pixel_nm)
        of_gap, of_column, of_pixel = (
            _Place(nearest_surface(where, points, pixel_nm), _bins(depth_nm, where, bin_nm))
            for where in (site, yx_px, pixel)
        )
        occupancy = [phases.gaps[name].to_numpy(float) for name in ("occupancy", "occupancy_err")]
        spacing = [table[name].to_numpy() for name in ("spacing_nm", "spacing_err_nm")]
        for surface in np.unique(of_pixel.surface):
            for b in range(int(of_pixel.bin[of_pixel.surface == surface].max()) + 1):
                rows.append(
                    {"surface_id": surface, "depth_nm": (b + 0.5) * bin_nm}
                    | _occupancy(*(v[of_gap.there(surface, b)] for v in occupancy))
                    | _fractions(label[of_pixel.there(surface, b)])
                    | _spacing(*(v[of_column.there(surface, b)] for v in spacing))
                )
    return pd.DataFrame(rows, columns=list(DEPTH_PROFILE_FIELDS)).astype(
        {"surface_id": np.int64, "n_columns": np.int64}
    )


class _Place(NamedTuple):
    """Nearest surface and bin of depth of places."""

    surface: np.ndarray
    bin: np.ndarray

    def there(self, surface: int, bin_: int) -> np.ndarray:
        return (self.surface == surface) & (self.bin == bin_)


def nearest_surface(yx_px: np.ndarray, points: pd.DataFrame | None, pixel_nm: tuple[float, float]) -> np.ndarray:
    """(N,) id of the surface nearest to each place; 0 without points."""
    if points is None or len(points) == 0 or len(yx_px) == 0:
        return np.zeros(len(yx_px), np.int64)
    at = points[["y_px", "x_px"]].to_numpy(float) * np.asarray(pixel_nm)
    near = cKDTree(at).query(yx_px * np.asarray(pixel_nm), workers=2)[1]
    return points["surface_id"].to_numpy(np.int64)[near]


def _bins(depth_nm: np.ndarray, yx_px: np.ndarray, bin_nm: float) -> np.ndarray:
    """(N,) bin of each place, -1 where there is no depth."""
    depth = at_nearest_pixels(depth_nm, yx_px)
    return np.where(np.isfinite(depth), np.nan_to_num(depth) // bin_nm, -1).astype(int)


def _occupancy(value: np.ndarray, error: np.ndarray) -> dict[str, float]:
    known = np.isfinite(value)
    value, error = value[known], error[known]
    if len(value) < FEWEST_IN_BIN:
        nan = np.nan
        return {"occupancy": nan, "occupancy_err": nan, "occupancy_p16": nan, "occupancy_p84": nan}
    # The smallest error of a site is its systematic part, which no averaging takes away.
    mean_error = np.sqrt(value.var(ddof=1) / len(value) + error.min() ** 2)
    low, high = np.quantile(value, [0.16, 0.84])
    return {
        "occupancy": value.mean(),
        "occupancy_err": float(mean_error),
        "occupancy_p16": low,
        "occupancy_p84": high,
    }


def _fractions(labels: np.ndarray) -> dict[str, float]:
    counts = np.bincount(labels.ravel(), minlength=len(Phase))
    total = max(1, int(counts[1:].sum()))
    return {phase.key: counts[phase] / total for phase in Phase if phase is not Phase.NONE}


def _spacing(value: np.ndarray, error: np.ndarray) -> dict[str, float]:
    known = np.isfinite(value)
    value, error = value[known], error[known]
    out: dict[str, float] = {"n_columns": len(value), "spacing_nm": np.nan, "spacing_err_nm": np.nan}
    if len(value) >= FEWEST_IN_BIN:
        out["spacing_nm"] = float(np.median(value))
        # Windows overlap: about one fit in ten is independent of the others.
        out["spacing_err_nm"] = float(np.median(error) / np.sqrt(max(1.0, len(value) / 10.0)))
    return out
