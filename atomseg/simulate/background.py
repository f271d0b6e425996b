"""Signal that is no column: background, amorphous film and cover."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from atomseg.simulate.imaging_config import BackgroundConfig
from atomseg.simulate.sampling import SmoothField, chance, log_uniform, uniform
from atomseg.simulate.scan import Scan
from atomseg.simulate.surface import Outline

# Amorphous matter fades out over this length at its rim.
RIM_NM = 0.15
# Distance of the nodes that the background is interpolated from. Its sharpest part, a step of 50 pm, is followed to 2 %
# of its height (one eighth of the squared distance times the curvature of an error function), all others far better.
NODE_NM = 0.03


@dataclass(frozen=True)
class Ground:
    """Background on a grid of nodes; linear in between.

    Parameters
    ----------
    nodes : numpy.ndarray
        (n_y, n_x) float32, TM peaks.
    origin_nm : tuple of float
        (y, x) of the first node from the image centre, nm.
    step_nm : float
        Distance of nodes.
    """

    nodes: np.ndarray
    origin_nm: tuple[float, float]
    step_nm: float


def draw_ground(
    config: BackgroundConfig, outline: Outline, scan: Scan, *, p_film: float, rng: np.random.Generator
) -> Ground:
    """Random background, film, surface step and cover of one image.

    Parameters
    ----------
    config : BackgroundConfig
        Ranges.
    outline : Outline
        Faces of the crystal and what covers them.
    scan : Scan
        Sampling.
    p_film : float
        Probability of an amorphous film.
    rng : numpy.random.Generator
        Randomness.
    """
    step = max(NODE_NM, min(scan.pixel_size_nm))
    margin = float(np.abs(scan.jumps_px * np.asarray(scan.pixel_size_nm)).max())
    y, x = (np.arange(int(np.ceil((size + 2 * margin) / step)) + 2) * step for size in scan.view.size_nm)
    y, x = y - y[-1] / 2, x - x[-1] / 2
    nodes = _background(config, scan, y, x, p_film=p_film, rng=rng)
    if outline.faces:
        depth = np.max([face.depth_grid(y, x) for face in outline.faces], axis=0)
        if chance(rng, config.p_surface_step):
            nodes += log_uniform(rng, config.surface_step) * ndtr(depth / rng.uniform(0.05, 0.6))
        if outline.cover_nm > 0.0:
            inside_rim = ndtr(-depth / RIM_NM) * ndtr((outline.cover_nm + depth) / (3 * RIM_NM))
            nodes += outline.cover_level * inside_rim * _speckle(config, scan, y, x, rng)
    return Ground(nodes.astype(np.float32), (float(y[0]), float(x[0])), step)


def _background(
    config: BackgroundConfig, scan: Scan, y: np.ndarray, x: np.ndarray, *, p_film: float, rng: np.random.Generator
) -> np.ndarray:
    """(len(y), len(x)) background everywhere, in TM peaks: level, slope, step, amorphous film."""
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
        image += log_uniform(rng, config.film) * _speckle(config, scan, y, x, rng)
    return np.asarray(np.maximum(image, 0.0))


def _speckle(
    config: BackgroundConfig, scan: Scan, y: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(len(y), len(x)) positive texture of mean about one."""
    length = uniform(rng, config.speckle_nm)
    size = (scan.view.size_nm[0] * 1.02, scan.view.size_nm[1] * 1.02)
    fine = SmoothField(rng, size, (length, length)).grid(y, x)
    return np.maximum(1.0 + uniform(rng, config.speckle) * fine, 0.05)
