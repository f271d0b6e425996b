"""From the specimen to pixels: smooth distortions that columns follow, and line errors that they do not."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from atomseg.simulate.imaging_config import ScanConfig
from atomseg.simulate.sampling import chance, integer, log_uniform, uniform
from atomseg.simulate.specimen import View

# Each round leaves a quarter of the error at most, at 60 pm of interference and 6 pm a pixel: 5e-5 pixels in the end.
WOBBLE_ROUNDS = 8


@dataclass(frozen=True)
class Scan:
    """Sampling of one image.

    Parameters
    ----------
    shape : tuple of int
        (H, W), pixels.
    pixel_size_nm : tuple of float
        (y, x), nm: what the calibration says.
    matrix : numpy.ndarray
        (2, 2) image position = specimen position @ matrix.T, both nm from the centre: drift, shear, scan calibration.
    bend_nm : tuple of float
        (y, x) displacement at the first and last line by the quadratic part of the drift, nm.
    wobble_px : tuple of float
        (y, x) amplitude of mains interference, pixels.
    wobble_rows, wobble_phase : float
        Its period in rows and phase in rad.
    flyback_px, flyback_length_px : float
        Largest stretch displacement at the start of a line and its decay length, pixels.
    jitter_px : numpy.ndarray
        (H, 2) displacement (y, x) of the sampling points of each line, pixels: jitter alone.
    jump_rows : tuple of int
        First line after each sudden jump, in rising order.
    jumps_px : numpy.ndarray
        (number of jumps + 1, 2) displacement (y, x) of the sampling points before, between and after them, pixels.
    late_px : float
        How far along the lines everything appears late (afterglow), pixels: of what is seen, never of what is sampled.
    """

    shape: tuple[int, int]
    pixel_size_nm: tuple[float, float]
    matrix: np.ndarray
    bend_nm: tuple[float, float]
    wobble_px: tuple[float, float]
    wobble_rows: float
    wobble_phase: float
    flyback_px: float
    flyback_length_px: float
    jitter_px: np.ndarray
    jump_rows: tuple[int, ...]
    jumps_px: np.ndarray
    late_px: float = 0.0

    @property
    def view(self) -> View:
        """Size of the image, nm."""
        return View((self.shape[0] * self.pixel_size_nm[0], self.shape[1] * self.pixel_size_nm[1]))

    def to_pixels(self, yx_nm: np.ndarray) -> np.ndarray:
        """(N, 2) pixel coordinates (y, x) of specimen points, line errors and jumps left out."""
        moved = yx_nm @ self.matrix.T
        t = moved[:, :1] / (0.5 * self.view.size_nm[0])
        moved = moved + t**2 * np.asarray(self.bend_nm)
        pixels = moved / np.asarray(self.pixel_size_nm) + (np.asarray(self.shape) - 1) / 2
        start = np.maximum(pixels[:, 1], -2.0 * self.flyback_length_px)
        pixels[:, 1] += self.late_px - self.flyback_px * np.exp(-start / self.flyback_length_px)
        return np.asarray(pixels)

    def lines_px(self) -> np.ndarray:
        """(H, 2) displacement (y, x) of the sampling points of each line: jitter, mains interference and jumps."""
        rows = np.arange(self.shape[0])
        phase = 2 * np.pi * rows[:, None] / self.wobble_rows + self.wobble_phase
        jumps = self.jumps_px[np.searchsorted(self.jump_rows, rows, side="right")]
        return np.asarray(self.jitter_px + np.sin(phase) * np.asarray(self.wobble_px) + jumps)

    def appearances(self, yx_px: np.ndarray, sigma_rows: float) -> tuple[np.ndarray, np.ndarray]:
        """Where columns appear: not at all, once or twice where the image jumps.

        Mains interference that is slow against a column moves it, fast interference averages out.

        Parameters
        ----------
        yx_px : numpy.ndarray
            (N, 2) from `to_pixels`.
        sigma_rows : float
            Standard deviation of a column along y, pixels: a column averages the lines that it covers.

        Returns
        -------
        index : numpy.ndarray
            (M,) which column.
        yx_px : numpy.ndarray
            (M, 2) where it appears, pixels.
        """
        ends = (-np.inf, *(row - 0.5 for row in self.jump_rows), np.inf)
        index, where = [], []
        for first, last, jump in zip(ends[:-1], ends[1:], self.jumps_px, strict=True):
            # A line r samples the specimen at r + displacement: what lies at p appears at p - displacement.
            moved = self._wobbled(yx_px - jump, sigma_rows)
            seen = np.flatnonzero((moved[:, 0] >= first) & (moved[:, 0] < last))
            index.append(seen)
            where.append(moved[seen])
        return np.concatenate(index), np.concatenate(where)

    def _wobbled(self, yx_px: np.ndarray, sigma_rows: float) -> np.ndarray:
        """Points as mains interference moves them, by its phase on the lines where they appear, which it moves too."""
        if not any(self.wobble_px):
            return yx_px
        # In a least-squares fit of a Gaussian the shift of a line along x counts by its peak squared, along y by its
        # slope squared: averages of a sine over a Gaussian half as wide in the square, times y squared for the latter.
        square = (np.pi * sigma_rows / self.wobble_rows) ** 2
        amplitude = np.exp(-square) * np.array([1.0 - 2.0 * square, 1.0]) * np.asarray(self.wobble_px)
        moved = yx_px
        for _ in range(WOBBLE_ROUNDS):
            phase = 2 * np.pi * moved[:, :1] / self.wobble_rows + self.wobble_phase
            moved = yx_px - np.sin(phase) * amplitude
        return np.asarray(moved)

    def jumped(self, yx_px: np.ndarray) -> np.ndarray:
        """(N, 2) one place for each point of `to_pixels`, moved as the part of the image is that it lies in."""
        part = np.searchsorted(np.asarray(self.jump_rows) - 0.5, yx_px[:, 0], side="right")
        return np.asarray(yx_px - self.jumps_px[part])

    def rows_to_jump(self, y_px: np.ndarray) -> np.ndarray:
        """(N,) distance from the nearest jump, lines; infinite without jumps."""
        distance = np.full(len(y_px), np.inf)
        for row in self.jump_rows:
            distance = np.minimum(distance, np.abs(y_px - (row - 0.5)))
        return distance

    def axes_nm(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixel centres along y and x, nm from the image centre."""
        y = (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.pixel_size_nm[0]
        x = (np.arange(self.shape[1]) - (self.shape[1] - 1) / 2) * self.pixel_size_nm[1]
        return y, x


def draw_scan(config: ScanConfig, shape: tuple[int, int], rng: np.random.Generator) -> Scan:
    """Random sampling and scan errors."""
    size = log_uniform(rng, config.pixel_size_nm)
    half = uniform(rng, config.anisotropy) * rng.choice([-1.0, 1.0])
    pixel = (size * (1 + half), size * (1 - half))
    signs = rng.choice([-1.0, 1.0], 3)
    shear, stretch = uniform(rng, config.shear) * signs[0], uniform(rng, config.shear) * signs[1]
    matrix = np.array([[1.0 + 0.5 * stretch, 0.0], [shear, 1.0 - 0.5 * stretch]])
    bend = uniform(rng, config.bend_nm) * signs[2] * min(shape[0] * size / 10.0, 1.0)
    direction = rng.uniform(0, 2 * np.pi)
    wobble = 1e-3 * uniform(rng, config.wobble_pm) / size if chance(rng, config.p_wobble) else 0.0
    rows = log_uniform(rng, config.wobble_rows)
    length = uniform(rng, config.flyback_length) * shape[1]
    stretch_start = uniform(rng, config.flyback) if chance(rng, config.p_flyback) else 0.0
    jump_rows, jumps = _jumps(config, shape[0], rng)
    return Scan(
        shape=shape,
        pixel_size_nm=pixel,
        matrix=matrix,
        bend_nm=(bend * float(np.sin(direction)), bend * float(np.cos(direction))),
        wobble_px=(0.3 * wobble, wobble),
        wobble_rows=rows,
        wobble_phase=float(rng.uniform(0, 2 * np.pi)),
        # A stretch falling off as exp(-x / length) displaces the start of the line by stretch times length.
        flyback_px=stretch_start * length,
        flyback_length_px=length,
        jitter_px=_jitter(config, shape[0], pixel, rng),
        jump_rows=jump_rows,
        jumps_px=jumps / np.asarray(pixel),
    )


def _jumps(config: ScanConfig, rows: int, rng: np.random.Generator) -> tuple[tuple[int, ...], np.ndarray]:
    """First lines after the jumps, and (jumps + 1, 2) displacements before, between and after them, nm."""
    number = integer(rng, config.jumps) if chance(rng, config.p_jump) else 0
    length, angle = rng.uniform(*config.jump_nm, number), rng.uniform(0, 2 * np.pi, number)
    steps = length[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    # Columns shift by what their half of the image moved: the middle stays where it is on average.
    return tuple(sorted(int(row) for row in rng.integers(1, rows, number))), total - total.mean(axis=0)


def _jitter(config: ScanConfig, rows: int, pixel: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """(rows, 2) AR(1) line jitter, pixels."""
    rms_nm = 1e-3 * uniform(rng, config.jitter_pm)
    rho = uniform(rng, config.jitter_correlation)
    white = rng.standard_normal((rows + 50, 2)) * np.sqrt(1.0 - rho**2)
    coloured = lfilter([1.0], [1.0, -rho], white, axis=0)[50:]
    return np.asarray(coloured * rms_nm * np.array([1 / 3, 1.0]) / np.asarray(pixel))
