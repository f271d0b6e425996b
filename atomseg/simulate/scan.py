"""From the specimen to pixels: smooth distortions that columns follow, and line errors that they do not."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from atomseg.simulate.imaging_config import ScanConfig
from atomseg.simulate.sampling import chance, log_uniform, uniform
from atomseg.simulate.specimen import View


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

    @property
    def view(self) -> View:
        """Size of the image, nm."""
        return View((self.shape[0] * self.pixel_size_nm[0], self.shape[1] * self.pixel_size_nm[1]))

    def to_pixels(self, yx_nm: np.ndarray) -> np.ndarray:
        """(N, 2) pixel coordinates (y, x) of specimen points, line errors left out."""
        moved = yx_nm @ self.matrix.T
        t = moved[:, :1] / (0.5 * self.view.size_nm[0])
        moved = moved + t**2 * np.asarray(self.bend_nm)
        pixels = moved / np.asarray(self.pixel_size_nm) + (np.asarray(self.shape) - 1) / 2
        start = np.maximum(pixels[:, 1], -2.0 * self.flyback_length_px)
        pixels[:, 1] -= self.flyback_px * np.exp(-start / self.flyback_length_px)
        return np.asarray(pixels)

    def lines_px(self) -> np.ndarray:
        """(H, 2) displacement (y, x) of the sampling points of each line, jitter and mains interference together."""
        phase = 2 * np.pi * np.arange(self.shape[0])[:, None] / self.wobble_rows + self.wobble_phase
        return np.asarray(self.jitter_px + np.sin(phase) * np.asarray(self.wobble_px))

    def apparent_px(self, yx_px: np.ndarray, sigma_rows: float) -> np.ndarray:
        """(N, 2) where columns appear: mains interference that is slow against a column moves it, fast averages out.

        Parameters
        ----------
        yx_px : numpy.ndarray
            (N, 2) from `to_pixels`.
        sigma_rows : float
            Standard deviation of a column along y, pixels: a column averages the lines it covers with this weight.
        """
        damping = np.exp(-2.0 * (np.pi * sigma_rows / self.wobble_rows) ** 2)
        phase = 2 * np.pi * yx_px[:, :1] / self.wobble_rows + self.wobble_phase
        # A line r samples the specimen at r + displacement: what lies at p appears at p - displacement.
        return np.asarray(yx_px - damping * np.sin(phase) * np.asarray(self.wobble_px))

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
    )


def _jitter(config: ScanConfig, rows: int, pixel: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """(rows, 2) AR(1) line jitter, pixels."""
    rms_nm = 1e-3 * uniform(rng, config.jitter_pm)
    rho = uniform(rng, config.jitter_correlation)
    white = rng.standard_normal((rows + 50, 2)) * np.sqrt(1.0 - rho**2)
    coloured = lfilter([1.0], [1.0, -rho], white, axis=0)[50:]
    return np.asarray(coloured * rms_nm * np.array([1 / 3, 1.0]) / np.asarray(pixel))
