"""What the network should answer for a scene, drawn on the canonical pixel grid."""

from dataclasses import dataclass

import numpy as np

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

_REACH_SIGMA = 3.0  # Gaussians are drawn this far, to 1 % of their peak


@dataclass(frozen=True, kw_only=True)
class TargetConfig(StageConfig):
    """How columns become target images.

    Parameters
    ----------
    heatmap_sigma_px : float
        Width of the peak that marks a column; columns 0.12 nm (4.8 px) apart must keep a valley between them.
    offset_radius_px : float
        Offsets are learned within this distance of a column.
    restored_sigma_nm : float
        Width of a column in the restored image: below any probe, so that the image is super-resolved.
    ignore_radius_px : float
        No heat map is asked for within this distance of a column that may or may not be seen.
    visible_snr : float
        Columns that need not be found are ignored above this matched-filter signal-to-noise ratio. Below it nothing is
        in the image, and the network must not claim a column from the lattice alone.
    dim_weight : float
        Weight of the heat map at required columns less than half as bright as the bright ones of their image:
        interlayer columns and light sublattices.
    """

    heatmap_sigma_px: float = 1.3
    offset_radius_px: float = 2.5
    restored_sigma_nm: float = 0.035
    ignore_radius_px: float = 2.5
    visible_snr: float = 2.0
    dim_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("heatmap_sigma_px", 0.5, 4.0),
            ("offset_radius_px", 0.75, 6.0),
            ("restored_sigma_nm", 0.01, 0.1),
            ("ignore_radius_px", 0.0, 10.0),
            ("visible_snr", 0.0, 20.0),
            ("dim_weight", 0.1, 20.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"targets.{name} is {value:g}; allowed {low:g} to {high:g}")


@dataclass(frozen=True)
class TrueColumns:
    """The columns of a training scene on the canonical grid.

    Parameters
    ----------
    yx_px : numpy.ndarray
        (N, 2) positions in canonical pixels.
    amplitude : numpy.ndarray
        (N,) own peak heights in the image's unit; NaN where only positions are known.
    required : numpy.ndarray
        (N,) bool, True where a detector must find the column.
    snr : numpy.ndarray
        (N,) matched-filter signal-to-noise ratios.
    bound_px : numpy.ndarray
        (N,) Cramer-Rao bounds of the distance from the true position, canonical pixels.
    covariance_px : numpy.ndarray
        (N, 2, 2) covariances (y, x) of the column's shape, canonical pixels squared.
    """

    yx_px: np.ndarray
    amplitude: np.ndarray
    required: np.ndarray
    snr: np.ndarray
    bound_px: np.ndarray
    covariance_px: np.ndarray


@dataclass(frozen=True)
class Targets:
    """Target images, float32.

    Parameters
    ----------
    heatmap : numpy.ndarray
        (H, W) in 0..1, Gaussian peaks at the required columns.
    heatmap_weight : numpy.ndarray
        (H, W), 0 where no answer is right or wrong.
    offset : numpy.ndarray
        (2, H, W) vector (dy, dx) to the nearest column, pixels.
    offset_weight : numpy.ndarray
        (H, W), 1 near required columns.
    restored : numpy.ndarray
        (H, W) noise-free narrow columns without background, in units of the local scale.
    columns : numpy.ndarray
        (H, W) the same at their own width.
    """

    heatmap: np.ndarray
    heatmap_weight: np.ndarray
    offset: np.ndarray
    offset_weight: np.ndarray
    restored: np.ndarray
    columns: np.ndarray


def draw_targets(columns: TrueColumns, scale: np.ndarray, pixel_size_nm: float, config: TargetConfig) -> Targets:
    """Target images of one scene.

    Parameters
    ----------
    columns : TrueColumns
        True columns; those outside the grid count where they reach into it.
    scale : numpy.ndarray
        (H, W) local scale of the normalization, in the image's unit.
    pixel_size_nm : float
        Canonical pixel size.
    config : TargetConfig
        Widths and radii.
    """
    shape = (scale.shape[0], scale.shape[1])
    required = columns.yx_px[columns.required]
    ignored = columns.yx_px[~columns.required & (columns.snr >= config.visible_snr)]
    heatmap = draw_peaks(required, shape, config.heatmap_sigma_px)
    weight = np.ones(shape, dtype=np.float32)
    weight[nearest_offsets(ignored, shape, config.ignore_radius_px)[1]] = 0.0
    # A required column beside an ignored one keeps its own peak in the loss.
    offset, near = nearest_offsets(required, shape, config.offset_radius_px)
    weight[near] = 1.0
    bright = bool(np.isfinite(columns.amplitude).all())
    dim = required[is_dim(columns)] if bright else required[:0]
    weight[nearest_offsets(dim, shape, config.offset_radius_px)[1]] = config.dim_weight
    narrow = config.restored_sigma_nm / pixel_size_nm
    restored = draw_sum(columns.yx_px, columns.amplitude, shape, narrow) if bright else np.zeros(shape)
    own = draw_shapes(columns, shape) if bright else np.zeros(shape)
    return Targets(
        heatmap=heatmap,
        heatmap_weight=weight,
        offset=offset,
        offset_weight=near.astype(np.float32),
        restored=(restored / scale).astype(np.float32),
        columns=(own / scale).astype(np.float32),
    )


def is_dim(columns: TrueColumns) -> np.ndarray:
    """Which of the required columns are less than half as bright as the bright ones of the image, (N,) bool."""
    amplitude = columns.amplitude[columns.required]
    return amplitude < 0.5 * np.quantile(amplitude, 0.9) if len(amplitude) else np.zeros(0, dtype=bool)


def draw_shapes(columns: TrueColumns, shape: tuple[int, int]) -> np.ndarray:
    """Columns at their own height and elliptical width, added up. (H, W) float64."""
    if not len(columns.yx_px):
        return np.zeros(shape)
    widest = float(np.sqrt(np.linalg.eigvalsh(columns.covariance_px)[:, -1].max()))
    reach = int(np.ceil(_REACH_SIGMA * widest))
    inside = np.all((columns.yx_px > -reach) & (columns.yx_px < np.array(shape) - 1 + reach), axis=1)
    yx, amplitude = columns.yx_px[inside], columns.amplitude[inside].astype(np.float32)
    inverse = np.linalg.inv(columns.covariance_px[inside]).astype(np.float32)[:, :, :, None, None]
    centre, step = np.rint(yx).astype(np.int64), np.arange(-reach, reach + 1)
    away = (centre - yx).astype(np.float32)
    dy, dx = away[:, 0, None, None] + step[:, None].astype(np.float32), away[:, 1, None, None] + step.astype(np.float32)
    power = inverse[:, 0, 0] * dy * dy + 2 * inverse[:, 0, 1] * dy * dx + inverse[:, 1, 1] * dx * dx
    # With a margin around the image no patch has to be cut.
    width = shape[1] + 4 * reach
    pixel = (
        ((centre[:, 0] + 2 * reach) * width + centre[:, 1] + 2 * reach)[:, None, None] + step[:, None] * width + step
    )
    values = amplitude[:, None, None] * np.exp(np.float32(-0.5) * power)
    flat = np.bincount(pixel.ravel(), weights=values.ravel(), minlength=(shape[0] + 4 * reach) * width)
    return flat.reshape(-1, width)[2 * reach : 2 * reach + shape[0], 2 * reach : 2 * reach + shape[1]]


def draw_peaks(yx_px: np.ndarray, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Unit Gaussian peaks; where they overlap the larger value counts. (H, W) float32."""
    # Of equal Gaussians the nearest one is the largest.
    distance2 = _nearest(yx_px, shape, _REACH_SIGMA * sigma_px)[1]
    return np.asarray(np.exp(distance2 * np.float32(-0.5 / sigma_px**2)))


def draw_sum(yx_px: np.ndarray, amplitude: np.ndarray, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Gaussian peaks of the given heights, added up. (H, W) float32."""
    reach = 5 * sigma_px  # 4e-6 of a peak
    inside = np.all((yx_px > -reach) & (yx_px < np.array(shape) - 1 + reach), axis=1)
    rows, cols = (
        (np.arange(n, dtype=np.float32)[:, None] - yx_px[inside, axis].astype(np.float32)) / np.float32(sigma_px)
        for axis, n in enumerate(shape)
    )
    # A Gaussian that ends: products of its far tails would be subnormal numbers, which cost processors tens of cycles.
    limit = np.float32(reach / sigma_px)
    rows, cols = (np.exp(t * t * np.float32(-0.5)) * (np.abs(t) < limit) for t in (rows, cols))
    return np.asarray((rows * amplitude[inside].astype(np.float32)) @ cols.T)


def nearest_offsets(yx_px: np.ndarray, shape: tuple[int, int], radius_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Vector from each pixel to its nearest column within a radius.

    Returns
    -------
    offset : numpy.ndarray
        (2, H, W) float32 (dy, dx), 0 where no column is near.
    near : numpy.ndarray
        (H, W) bool, True where one is.
    """
    offset, distance2 = _nearest(yx_px, shape, radius_px)
    return offset, np.isfinite(distance2)


def _nearest(yx_px: np.ndarray, shape: tuple[int, int], radius_px: float) -> tuple[np.ndarray, np.ndarray]:
    """(2, H, W) vector to the nearest column and (H, W) its squared length; 0 and infinite where none is near."""
    reach = int(np.ceil(radius_px))
    yx = np.asarray(yx_px, dtype=np.float64).reshape(-1, 2)
    centre = np.rint(yx).astype(np.int64)
    seen = np.all((centre >= -reach) & (centre < np.array(shape) + reach), axis=1)
    centre, yx = centre[seen], yx[seen]
    # With a margin around the image no patch has to be cut.
    width = shape[1] + 4 * reach
    step = np.arange(-reach, reach + 1)
    dy, dx = ((yx - centre)[:, axis, None] - step for axis in (0, 1))
    pixel = (
        ((centre[:, :1] + step + 2 * reach) * width)[:, :, None] + (centre[:, 1:] + step + 2 * reach)[:, None]
    ).ravel()
    distance2 = np.square(dy)[:, :, None] + np.square(dx)[:, None]
    near = np.flatnonzero(distance2 <= radius_px**2)
    pixel, distance2 = pixel[near], distance2.ravel()[near].astype(np.float32)
    nearest = np.full((shape[0] + 4 * reach) * width, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixel, distance2)
    first = distance2 == nearest[pixel]
    owner, row, col = np.unravel_index(near[first], (len(yx), len(step), len(step)))
    at = pixel[first]
    offset = np.zeros((2, len(nearest)), dtype=np.float32)
    offset[0, at], offset[1, at] = dy[owner, row], dx[owner, col]
    inner = (slice(2 * reach, 2 * reach + shape[0]), slice(2 * reach, 2 * reach + shape[1]))
    offset, nearest = offset.reshape(2, -1, width)[:, *inner], nearest.reshape(-1, width)[inner]
    return np.ascontiguousarray(offset), np.ascontiguousarray(nearest)


def _patches(
    yx_px: np.ndarray, shape: tuple[int, int], radius_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns, squared distances and owners of all pixels in a square around each column, inside the grid."""
    reach = int(np.ceil(radius_px))
    step = np.arange(-reach, reach + 1)
    centre = np.rint(yx_px).astype(np.int64).reshape(-1, 2)
    dy, dx = np.meshgrid(step, step, indexing="ij")
    rows = centre[:, 0, None] + dy.ravel()
    cols = centre[:, 1, None] + dx.ravel()
    owner = np.broadcast_to(np.arange(len(centre))[:, None], rows.shape)
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    rows, cols, owner = rows[inside], cols[inside], owner[inside]
    distance2 = (rows - yx_px[owner, 0]) ** 2 + (cols - yx_px[owner, 1]) ** 2
    return rows, cols, distance2, owner
