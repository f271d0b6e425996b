"""Signal that is no column: background, amorphous film and cover."""

import numpy as np
from scipy.special import ndtr

from atomseg.simulate.imaging_config import BackgroundConfig
from atomseg.simulate.sampling import SmoothField, chance, log_uniform, uniform
from atomseg.simulate.scan import Scan
from atomseg.simulate.surface import Outline

# Amorphous matter fades out over this length at its rim.
RIM_NM = 0.15


def draw_background(config: BackgroundConfig, scan: Scan, *, p_film: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 background everywhere, in TM peaks: level, slope, step, amorphous film.

    Parameters
    ----------
    config : BackgroundConfig
        Ranges.
    scan : Scan
        Sampling.
    p_film : float
        Probability of an amorphous film.
    rng : numpy.random.Generator
        Randomness.
    """
    y, x = scan.axes_nm()
    half = 0.5 * min(scan.view.size_nm)
    level = log_uniform(rng, config.level)
    direction = rng.uniform(0, 2 * np.pi)
    slope, curve = uniform(rng, config.slope), uniform(rng, config.slope)
    across = (np.sin(direction) * y[:, None] + np.cos(direction) * x[None, :]) / (1.5 * half)
    image = level * (1.0 + slope * across + 0.5 * curve * across**2)
    if chance(rng, config.p_step):
        angle = rng.uniform(0, 2 * np.pi)
        side = np.sin(angle) * y[:, None] + np.cos(angle) * x[None, :] - rng.uniform(-0.7, 0.7) * half
        image += uniform(rng, config.step) * ndtr(side / rng.uniform(0.05, 0.6))
    if chance(rng, p_film):
        image += log_uniform(rng, config.film) * _speckle(config, scan, rng)
    return np.maximum(image, 0.0).astype(np.float32)


def cover(outline: Outline, config: BackgroundConfig, scan: Scan, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 amorphous cover outside the faces, in TM peaks."""
    y, x = scan.axes_nm()
    if not outline.faces or outline.cover_nm <= 0.0:
        return np.zeros(scan.shape, np.float32)
    outside = np.min([-face.depth_grid(y, x) for face in outline.faces], axis=0)
    inside_rim = ndtr(outside / RIM_NM) * ndtr((outline.cover_nm - outside) / (3 * RIM_NM))
    return np.asarray(outline.cover_level * inside_rim * _speckle(config, scan, rng), np.float32)


def _speckle(config: BackgroundConfig, scan: Scan, rng: np.random.Generator) -> np.ndarray:
    """(H, W) positive texture of mean about one."""
    y, x = scan.axes_nm()
    length = uniform(rng, config.speckle_nm)
    size = (scan.view.size_nm[0] * 1.02, scan.view.size_nm[1] * 1.02)
    fine = SmoothField(rng, size, (length, length)).grid(y, x)
    return np.maximum(1.0 + uniform(rng, config.speckle) * fine, 0.05)
