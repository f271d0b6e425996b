"""Faces of the crystal: normals of a curve, the two faces of a crack, and what a surface is a surface of."""

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from atomseg.measure.config import MeasureConfig
from atomseg.types import SurfaceKind

# Two faces closer than this across vacuum are those of a crack; wider openings leave the view or are outer surfaces.
CRACK_NM = 8.0
# A hole at least this many times longer than wide is a crack that closes within the image, a rounder one a pore.
CRACK_ASPECT = 3.0
# A curve that turns by more than this over `TIP_NM` of its length folds back on itself: the tip of a crack. Facets of a
# particle meet at less.
TIP_TURN_DEG = 125.0
TIP_NM = 5.0
# Curves are smoothed by this much before their turning is judged: columns at the edge turn it, too.
TIP_SMOOTHING_NM = 0.8


def curve_normals(points: np.ndarray, closed: bool, sigma: float) -> np.ndarray:
    """Unit normals of a smoothed curve, to one side of it.

    Parameters
    ----------
    points : numpy.ndarray
        (P, 2) points (y, x) at equal distances.
    closed : bool
        Whether the last point is the first.
    sigma : float
        Standard deviation of the smoothing, points.

    Returns
    -------
    numpy.ndarray
        (P, 2).
    """
    if closed:
        # The last point is the first: left out, it would count twice.
        tangent = np.gradient(gaussian_filter1d(np.tile(points[:-1], (3, 1)), sigma, axis=0, mode="wrap"), axis=0)
        n = len(points) - 1
        tangent = np.concatenate([tangent[n : 2 * n], tangent[n : n + 1]])
    else:
        # Point reflection at the ends keeps a straight edge straight up to the image border.
        n = min(len(points) - 1, int(4 * sigma) + 1)
        padded = np.concatenate([2 * points[0] - points[n:0:-1], points, 2 * points[-1] - points[-2 : -n - 2 : -1]])
        tangent = np.gradient(gaussian_filter1d(padded, sigma, axis=0), axis=0)[n : n + len(points)]
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9))


def split_at_tips(points: np.ndarray, closed: bool, config: MeasureConfig) -> list[tuple[np.ndarray, bool]]:
    """The faces of one edge: itself, or its two sides where it folds back at the tip of a crack.

    Parameters
    ----------
    points : numpy.ndarray
        (P, 2) points (y, x), nm, `config.point_spacing_nm` apart.
    closed : bool
        Whether the edge closes on itself.
    config : MeasureConfig
        Settings.

    Returns
    -------
    list of (numpy.ndarray, bool)
        Points of each face and whether it closes on itself.
    """
    if closed and aspect(points) < CRACK_ASPECT:
        return [(points, True)]
    tips = _tips(points, closed, config)
    if closed:
        if len(tips) < 2:
            return [(points, True)]
        points = np.roll(points[:-1], -tips[0], axis=0)
        cuts = [0, *(t - tips[0] for t in tips[1:]), len(points)]
        points = np.concatenate([points, points[:1]])
    else:
        cuts = [0, *tips, len(points) - 1]
    return [(points[a : b + 1], False) for a, b in pairwise(cuts)]


def _tips(points: np.ndarray, closed: bool, config: MeasureConfig) -> list[int]:
    """Indices of the points at which a curve folds back, faces shorter than `TIP_NM` not told apart."""
    reach = max(1, round(0.5 * TIP_NM / config.point_spacing_nm))
    body = points[:-1] if closed else points
    n = len(body)
    if n < 4 * reach:
        return []
    normal = curve_normals(points, closed, TIP_SMOOTHING_NM / config.point_spacing_nm)[:n]
    index = np.arange(n)
    if closed:
        turn = (normal[(index - reach) % n] * normal[(index + reach) % n]).sum(axis=1)
    else:
        turn = np.ones(n)
        inner = slice(2 * reach, n - 2 * reach)
        turn[inner] = (normal[index[inner] - reach] * normal[index[inner] + reach]).sum(axis=1)
    chosen: list[int] = []
    for k in np.argsort(turn):
        if turn[k] > np.cos(np.deg2rad(TIP_TURN_DEG)):
            break
        apart = [min(abs(int(k) - c), n - abs(int(k) - c)) if closed else abs(int(k) - c) for c in chosen]
        if all(distance >= 2 * reach for distance in apart):
            chosen.append(int(k))
    return sorted(chosen)


def aspect(points: np.ndarray) -> float:
    """Length over width of a closed curve, from the second moments of its points."""
    moments = np.linalg.eigvalsh(np.cov(points.T))
    return float(np.sqrt(moments[1] / max(moments[0], 1e-12)))


def surface_kind(
    points: np.ndarray, normal: np.ndarray, closed: bool, crystal: np.ndarray, step_nm: np.ndarray
) -> SurfaceKind:
    """What a surface is a surface of, by geometry alone.

    Parameters
    ----------
    points, normal : numpy.ndarray
        (P, 2) points and inward unit normals, nm.
    closed : bool
        Whether it closes on itself.
    crystal : numpy.ndarray
        (H, W) share of crystal, 0 to 1, on a grid of `step_nm`.
    step_nm : numpy.ndarray
        (2,) grid step (y, x), nm.
    """
    if closed and _encloses_vacuum(points, normal):
        return "pore" if aspect(points) < CRACK_ASPECT else "crack"
    away = np.arange(0.5, CRACK_NM, 0.1)
    at = (points[:, None, :] - away[None, :, None] * normal[:, None, :]) / step_nm
    there = map_coordinates(crystal, at.reshape(-1, 2).T, order=1, mode="constant", cval=0.0).reshape(at.shape[:2])
    return "crack" if (there > 0.5).any(axis=1).mean() > 0.5 else "outer"


def _encloses_vacuum(points: np.ndarray, normal: np.ndarray) -> bool:
    """Whether the inward normals of a closed curve, which point into crystal, point out of what it encloses."""
    return bool(((points - points[:-1].mean(axis=0)) * normal).sum() > 0)
