"""Forced photometry: how bright is the image at given sites, with the columns around them taken away."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csc_array, eye_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from atomseg.imaging.blocks import block_means, block_variance_px
from atomseg.types import Columns

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

# A fitted column this close to a site is the site's own column: it must not be subtracted before the site is measured.
# Neighbouring columns of the structures in scope are at least 0.13 nm apart, localisation errors stay below 0.03 nm.
SAME_SITE_NM = 0.06
# A Gaussian is below 4e-4 of its peak beyond four standard deviations.
RENDER_SIGMAS = 4.0
# Amplitude and background can only be told apart when most of the window is in the image.
MIN_WINDOW_FRACTION = 0.6
# Pixels finer than this share of a column's standard deviation are averaged first: the noise of a fit does not change,
# its cost falls with the square (up to 1.2 sigma the loss of information is under 1 %).
COARSEST_SHARE = 0.7
# Window pixels held at once: 8 bytes times some ten arrays of them stays near 100 MB.
CHUNK_PIXELS = 1_000_000


def column_covariances(columns: Columns) -> np.ndarray:
    """Covariance matrices of the columns' Gaussians.

    Parameters
    ----------
    columns : Columns
        Columns with `fwhm_major_nm`, `fwhm_minor_nm` and `theta_deg` (major axis, from +x towards +y).

    Returns
    -------
    numpy.ndarray
        (N, 2, 2) float64, order (y, x), nm².
    """
    table = columns.table
    theta = np.deg2rad(table["theta_deg"].to_numpy(dtype=np.float64))
    major = (table["fwhm_major_nm"].to_numpy(dtype=np.float64) / FWHM_PER_SIGMA) ** 2
    minor = (table["fwhm_minor_nm"].to_numpy(dtype=np.float64) / FWHM_PER_SIGMA) ** 2
    sin, cos = np.sin(theta), np.cos(theta)
    covariance = np.empty((len(table), 2, 2))
    covariance[:, 0, 0] = major * sin**2 + minor * cos**2
    covariance[:, 1, 1] = major * cos**2 + minor * sin**2
    covariance[:, 0, 1] = covariance[:, 1, 0] = (major - minor) * sin * cos
    return covariance


def render_columns(columns: Columns, shape: tuple[int, int], pixel_size_nm: tuple[float, float]) -> np.ndarray:
    """Sum of the columns' Gaussians, without their backgrounds.

    Parameters
    ----------
    columns : Columns
        Columns; rows with a number that is not finite are left out.
    shape : tuple of int
        (H, W) of the image.
    pixel_size_nm : tuple of float
        (y, x) pixel size, nm.

    Returns
    -------
    numpy.ndarray
        (H, W) float64, in the columns' intensity unit.
    """
    step = np.asarray(pixel_size_nm, dtype=np.float64)
    gaussians = _Gaussians.of(columns, step)
    model = np.zeros(shape[0] * shape[1])
    usable = np.flatnonzero(gaussians.finite)
    if not len(usable):
        return model.reshape(shape)
    # Sorted by reach, so that a few very wide columns do not set the window of all the others.
    ordered = usable[np.argsort(gaussians.reach_nm[usable])]
    for alike in np.array_split(ordered, min(8, len(ordered))):
        reach_nm = float(gaussians.reach_nm[alike].max())
        # From top to bottom, so that the columns of a window lie in one band of the image.
        part = alike[np.argsort(gaussians.centre_nm[alike, 0])]
        for window in _windows(gaussians.centre_nm[part], reach_nm, step, shape):
            value = gaussians.at(part[window.rows], window.offset_nm)
            index = window.index[window.inside]
            first = int(index.min(initial=model.size))
            light = np.bincount(index - first, weights=value[window.inside])
            model[first : first + len(light)] += light
    return model.reshape(shape)


def forced_amplitudes(
    image: np.ndarray,
    sites_yx_px: np.ndarray,
    fwhm_nm: float | np.ndarray,
    pixel_size_nm: tuple[float, float],
    *,
    neighbours: Columns | None = None,
    radius_nm: float = 0.12,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peak height of a round Gaussian column at each site: position and width fixed, amplitude and background free.

    The Gaussians of `neighbours` are subtracted first, except a column within 0.06 nm of the site, its own one.
    The overlap of the sites with each other is solved exactly: one sparse linear system for all of them.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float, the measured image.
    sites_yx_px : numpy.ndarray
        (M, 2) float, sites in pixels, (y, x).
    fwhm_nm : float or numpy.ndarray
        Full width at half maximum of a column, nm; one for all or (M,).
    pixel_size_nm : tuple of float
        (y, x) pixel size, nm.
    neighbours : Columns or None
        Fitted columns.
    radius_nm : float
        Radius of the window that is fitted, nm; grown where the widths or coarse pixels need it.

    Returns
    -------
    amplitude, amplitude_err, background : numpy.ndarray
        (M,) float64 each, in the image's unit. The error is one standard deviation, from the scatter left in the window
        (light of sites that are no neighbours counts as scatter). NaN where less than 60 % of the window is in view.

    Raises
    ------
    ValueError
        If shapes do not fit, or a width, the radius or a pixel size is not positive.
    """
    step = np.asarray(pixel_size_nm, dtype=np.float64)
    sites = np.asarray(sites_yx_px, dtype=np.float64).reshape(-1, 2)
    fwhm = np.broadcast_to(np.asarray(fwhm_nm, dtype=np.float64), len(sites))
    _check(image, fwhm, step, radius_nm)
    result = np.full((3, len(sites)), np.nan)
    usable = np.flatnonzero(np.isfinite(sites).all(1))
    if len(usable):
        bins = np.maximum(COARSEST_SHARE * float(fwhm.min()) / FWHM_PER_SIGMA // step, 1).astype(int)
        if bins.max() > 1 and (np.asarray(image.shape) >= bins).all():
            return _on_averaged_pixels(image, sites, fwhm, step, bins=bins, neighbours=neighbours, radius_nm=radius_nm)
        sites_nm, sigma_nm = sites[usable] * step, fwhm[usable] / FWHM_PER_SIGMA
        residual = np.asarray(image, dtype=np.float64)
        own = _OwnColumns.of(neighbours, sites_nm, step)
        if neighbours is not None:
            residual = residual - render_columns(neighbours, (image.shape[0], image.shape[1]), pixel_size_nm)
        # Amplitude and background separate only with pixels where the Gaussian has fallen below a fifth of its peak
        # (1.85 sigma), and with five pixels across.
        radius = max(radius_nm, 1.85 * float(np.median(sigma_nm)), 2.01 * float(step.max()))
        result[:, usable] = _fit_sites(residual, sites_nm, sigma_nm, radius_nm=radius, step=step, own=own)
    return result[0], result[1], result[2]


def _on_averaged_pixels(
    image: np.ndarray,
    sites: np.ndarray,
    fwhm: np.ndarray,
    step: np.ndarray,
    *,
    bins: np.ndarray,
    neighbours: Columns | None,
    radius_nm: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`forced_amplitudes` on blocks of `bins` pixels (y, x); a Gaussian averaged over a block is wider and lower."""
    block = (int(bins[0]), int(bins[1]))
    averaged = block_means(image, block)
    widening = FWHM_PER_SIGMA**2 * float((np.asarray(block_variance_px(block)) * step**2).mean())
    if neighbours is not None:
        table = neighbours.table
        major, minor = (table[name].to_numpy(dtype=np.float64) for name in ("fwhm_major_nm", "fwhm_minor_nm"))
        wide = {"fwhm_major_nm": np.sqrt(major**2 + widening), "fwhm_minor_nm": np.sqrt(minor**2 + widening)}
        lower = major * minor / (wide["fwhm_major_nm"] * wide["fwhm_minor_nm"])
        place = (neighbours.yx_px + 0.5) / bins - 0.5
        moved = {"y_px": place[:, 0], "x_px": place[:, 1], "amplitude": table["amplitude"] * lower, **wide}
        neighbours = Columns(table.assign(**moved))
    amplitude, error, background = forced_amplitudes(
        averaged,
        (sites + 0.5) / bins - 0.5,
        np.sqrt(fwhm**2 + widening),
        (float(step[0] * bins[0]), float(step[1] * bins[1])),
        neighbours=neighbours,
        radius_nm=radius_nm,
    )
    higher = 1.0 + widening / fwhm**2
    return amplitude * higher, error * higher, background


@dataclass(frozen=True)
class _Window:
    """Pixels around some sites: which sites, flat pixel index, is it in window and image, distance from the site."""

    rows: np.ndarray  # (n,) positions in the list of sites
    index: np.ndarray  # (n, k) flat index into the image, valid where `inside`
    inside: np.ndarray  # (n, k) bool
    offset_nm: np.ndarray  # (2, n, k) pixel centre minus site, (y, x)
    n_full: int  # pixels of a window that lies wholly in the image


def _windows(
    centre_nm: np.ndarray, radius_nm: float, step: np.ndarray, shape: tuple[int, int], per_site: int = 1
) -> Iterator[_Window]:
    """Round windows around the centres, a bounded number of pixels (times `per_site`) at a time."""
    half = np.ceil(radius_nm / step).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1).reshape(-1, 2)
    # Half a pixel diagonal of slack, because the centre of the grid is the nearest pixel and not the site.
    grid = grid[np.hypot(*(grid * step).T) <= radius_nm + 0.5 * np.hypot(*step)]
    n_full = max(1, round(math.pi * radius_nm**2 / float(step.prod())))
    chunk = max(1, CHUNK_PIXELS // (len(grid) * per_site))
    for start in range(0, len(centre_nm), chunk):
        rows = np.arange(start, min(start + chunk, len(centre_nm)))
        centre = centre_nm[rows].T[:, :, None]
        # Coordinates apart in memory: every product below runs over one of them.
        y, x = np.rint(centre / step[:, None, None]).astype(np.int64) + grid.T[:, None, :]
        offset = np.stack([y * step[0] - centre[0], x * step[1] - centre[1]])
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1]) & (_squared(offset) <= radius_nm**2)
        index = np.where(inside, y * shape[1] + x, 0)
        yield _Window(rows, index, inside, offset, n_full)


def _squared(offset_nm: np.ndarray) -> np.ndarray:
    """Squared length of (2, ...) vectors."""
    return np.asarray(offset_nm[0] ** 2 + offset_nm[1] ** 2)


@dataclass(frozen=True)
class _Gaussians:
    """The columns' Gaussians as arrays."""

    centre_nm: np.ndarray
    amplitude: np.ndarray
    precision: np.ndarray  # (N, 3): yy, xx, yx of the inverse covariance, 1/nm²
    reach_nm: np.ndarray
    finite: np.ndarray

    @classmethod
    def of(cls, columns: Columns, step: np.ndarray) -> "_Gaussians":
        covariance = column_covariances(columns)
        amplitude = columns.table["amplitude"].to_numpy(dtype=np.float64)
        centre_nm = columns.yx_px * step
        yy, xx, yx = covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1]
        determinant = yy * xx - yx**2
        finite = np.isfinite(amplitude) & np.isfinite(centre_nm).all(1) & np.isfinite(determinant) & (determinant > 0)
        safe = np.where(finite, determinant, 1.0)
        precision = np.stack([xx, yy, -yx], axis=-1) / safe[:, None]
        reach_nm = RENDER_SIGMAS * np.sqrt(np.maximum(yy, xx))
        return cls(centre_nm, amplitude, precision, reach_nm, finite)

    def at(self, rows: np.ndarray, offset_nm: np.ndarray) -> np.ndarray:
        """(n, k) values of the Gaussians `rows` at (2, n, k) offsets from their centres."""
        y, x = offset_nm
        yy, xx, yx = self.precision[rows].T[:, :, None]
        exponent = yy * y * y + xx * x * x + 2.0 * yx * y * x
        return self.amplitude[rows, None] * np.exp(-0.5 * exponent)


@dataclass(frozen=True)
class _OwnColumns:
    """Which fitted columns are the sites' own, and so were wrongly taken out of the image at that site."""

    gaussians: _Gaussians | None
    site: np.ndarray  # pairs: site ...
    column: np.ndarray  # ... and its column
    represented: np.ndarray  # (M,) bool, the site has a fitted column

    @classmethod
    def of(cls, neighbours: Columns | None, sites_nm: np.ndarray, step: np.ndarray) -> "_OwnColumns":
        none = np.zeros(0, dtype=np.int64)
        represented = np.zeros(len(sites_nm), dtype=bool)
        gaussians = None if neighbours is None else _Gaussians.of(neighbours, step)
        if gaussians is None or not gaussians.finite.any():
            return cls(None, none, none, represented)
        finite = np.flatnonzero(gaussians.finite)
        found = cKDTree(gaussians.centre_nm[finite]).query_ball_point(sites_nm, SAME_SITE_NM)
        site = np.repeat(np.arange(len(sites_nm)), [len(f) for f in found])
        column = finite[np.array([c for f in found for c in f], dtype=np.int64)]
        represented[site] = True
        return cls(gaussians, site, column, represented)

    def add_back(self, values: np.ndarray, window: _Window, sites_nm: np.ndarray) -> None:
        """Add the sites' own columns to the (n, k) residual `values` of a window, in place."""
        if self.gaussians is None:
            return
        chosen = (self.site >= window.rows[0]) & (self.site <= window.rows[-1])
        site, column = self.site[chosen], self.column[chosen]
        local = site - window.rows[0]
        shift = (sites_nm[site] - self.gaussians.centre_nm[column]).T[:, :, None]
        np.add.at(values, local, self.gaussians.at(column, window.offset_nm[:, local] + shift))


def _fit_sites(
    residual: np.ndarray,
    sites_nm: np.ndarray,
    sigma_nm: np.ndarray,
    *,
    radius_nm: float,
    step: np.ndarray,
    own: _OwnColumns,
) -> np.ndarray:
    """(3, M) amplitude, its error and background of every site; NaN where the window is not in the image.

    The amplitude of site i by least squares is linear in its window, sum_k w_ik (residual_k - sum_j A_j g_jk), so the
    amplitudes of all sites solve (1 + C) A = w . residual with C_ij = sum_k w_ik g_jk.
    """
    n = len(sites_nm)
    alone, level, error, mean_g = single = np.full((4, n), np.nan)
    pairs = _overlapping(sites_nm, radius_nm + RENDER_SIGMAS * float(sigma_nm.max()), own.represented)
    flat = residual.ravel()
    entries: list[np.ndarray] = []
    levels: list[np.ndarray] = []
    per_site = 1 + math.ceil(len(pairs) / n)
    for window in _windows(sites_nm, radius_nm, step, (residual.shape[0], residual.shape[1]), per_site):
        rows, inside = window.rows, window.inside
        values = np.where(inside, flat[window.index], 0.0)
        own.add_back(values, window, sites_nm)
        values[~inside] = 0.0
        count = inside.sum(1)
        shape = np.where(inside, np.exp(-0.5 * _squared(window.offset_nm) / sigma_nm[rows, None] ** 2), 0.0)
        mean_g[rows] = shape.sum(1) / np.maximum(count, 1)
        contrast = np.where(inside, shape - mean_g[rows, None], 0.0)
        power = (contrast**2).sum(1)
        usable = (count >= MIN_WINDOW_FRACTION * window.n_full) & (count > 3) & (power > 0)
        weight = contrast / np.where(usable, power, 1.0)[:, None]
        alone[rows] = np.where(usable, (weight * values).sum(1), np.nan)
        level[rows] = values.sum(1) / np.maximum(count, 1)
        scatter = np.where(inside, values - level[rows, None] - alone[rows, None] * contrast, 0.0)
        error[rows] = np.sqrt((scatter**2).sum(1) / np.maximum(count - 2, 1) / np.where(usable, power, np.nan))
        first, last = np.searchsorted(pairs[:, 0], [rows[0], rows[-1] + 1])
        part = pairs[first:last]
        local = part[:, 0] - rows[0]
        shift = (sites_nm[part[:, 0]] - sites_nm[part[:, 1]]).T[:, :, None]
        distance2 = _squared(window.offset_nm[:, local] + shift)
        other = np.where(inside[local], np.exp(-0.5 * distance2 / sigma_nm[part[:, 1], None] ** 2), 0.0)
        entries.append((weight[local] * other).sum(1))
        levels.append(other.sum(1) / np.maximum(count[local], 1))
    return _solve_overlap(single, pairs, np.concatenate(entries), np.concatenate(levels))


def _solve_overlap(single: np.ndarray, pairs: np.ndarray, entries: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Take the light of the other sites out of each site's amplitude and background.

    `single` (4, M) is amplitude, mean level, error and mean shape as if each site were alone; `entries` and `levels`
    (P,) are what the pair's second site adds to amplitude and level of the first, for an amplitude of one.
    """
    alone, level, error, mean_g = single
    n = len(alone)
    good = np.isfinite(alone)
    kept = good[pairs].all(1)
    index = (pairs[kept, 0], pairs[kept, 1])
    system = csc_array(eye_array(n) + coo_array((entries[kept], index), shape=(n, n)))
    amplitude = splu(system).solve(np.where(good, alone, 0.0))
    spill = coo_array((levels[kept], index), shape=(n, n)).tocsr() @ amplitude
    background = level - spill - amplitude * mean_g
    return np.stack([np.where(good, value, np.nan) for value in (amplitude, error, background)])


def _overlapping(sites_nm: np.ndarray, reach_nm: float, represented: np.ndarray) -> np.ndarray:
    """(P, 2) ordered pairs (i, j), sorted by i, of sites that see each other; j has no fitted column of its own.

    A site j that has a fitted column was already taken out of the image with that column. Two sites closer than
    `SAME_SITE_NM` measure the same thing and are left apart, their system would be singular.
    """
    half = cKDTree(sites_nm).query_pairs(reach_nm, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    pairs = np.concatenate([half, half[:, ::-1]])
    distance = np.hypot(*(sites_nm[pairs[:, 0]] - sites_nm[pairs[:, 1]]).T)
    pairs = pairs[(distance > SAME_SITE_NM) & ~represented[pairs[:, 1]]]
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _check(image: np.ndarray, fwhm_nm: np.ndarray, step: np.ndarray, radius_nm: float) -> None:
    """Refuse what can not be fitted."""
    if image.ndim != 2:
        raise ValueError(f"photometry needs a 2D image, got shape {image.shape}")
    if not (np.isfinite(fwhm_nm) & (fwhm_nm > 0)).all():
        raise ValueError("fwhm_nm must be positive and finite for every site; measure it from the fitted columns")
    if not (step > 0).all() or radius_nm <= 0:
        raise ValueError(f"pixel sizes {tuple(step)} nm and radius {radius_nm:g} nm must be positive")
