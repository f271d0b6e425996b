"""Column signals to a noise-free image: elliptical Gaussian cores by patches, wide tails on a coarse grid."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.imaging_config import OpticsConfig
from atomseg.simulate.sampling import uniform

# Patches reach this many standard deviations: exp(-3.5^2 / 2) is 2e-3 of the peak, less than the noise of any image.
CUT_SIGMA = 3.5
# Elements of a patch block evaluated at once: stays in cache, and small arrays are allocated without page faults.
BLOCK = 30_000


@dataclass(frozen=True)
class Profile:
    """Shape of a column in the image.

    Parameters
    ----------
    major_nm, minor_nm : float
        Standard deviations of the core along its axes, nm.
    theta_deg : float
        Direction of the major axis, degrees from +x towards +y.
    tail_nm : float
        Standard deviation of the wide Gaussian, nm.
    tail_per_nm, max_tail : float
        Share of the wide Gaussian in a column's light: growth with thickness, 1/nm, and limit.
    saturation_nm : float
        Thickness on which a column's peak saturates, nm.
    oxygen_scale : float
        Factor on oxygen columns.
    """

    major_nm: float
    minor_nm: float
    theta_deg: float
    tail_nm: float
    tail_per_nm: float
    max_tail: float
    saturation_nm: float
    oxygen_scale: float

    def covariance(self, pixel_size_nm: tuple[float, float]) -> np.ndarray:
        """(2, 2) covariance (y, x) of the core, pixels squared."""
        angle = np.deg2rad(self.theta_deg)
        major, minor = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        nm2 = self.major_nm**2 * np.outer(major, major) + self.minor_nm**2 * np.outer(minor, minor)
        return np.asarray(nm2 / np.outer(pixel_size_nm, pixel_size_nm))

    def tail_weight(self, thickness_nm: np.ndarray) -> np.ndarray:
        """Integrated signal in the tail relative to that in the core.

        The tail's share of a column's light is m (1 - exp(-(k t / m)^1.75)) with k = `tail_per_nm`, m = `max_tail`, t
        the thickness. A form that fits multislice images from 2 to 24 nm (benchmarks/accuracy/multislice_fit.py says
        how well); nothing is known beyond, where it goes on to m.
        """
        growth = self.tail_per_nm * thickness_nm / max(self.max_tail, 1e-6)
        share = -self.max_tail * np.expm1(-(growth**1.75))
        return np.asarray(share / (1.0 - share))

    def peak(self, thickness_nm: np.ndarray) -> np.ndarray:
        """Core of a full column, 1 for infinite thickness: tanh(t / `saturation_nm`), the course of multislice images.

        Proportional to thickness while the channelled beam stays on the column (some 5 nm), constant once it has left.
        """
        return np.asarray(np.tanh(thickness_nm / self.saturation_nm))


def draw_profile(config: OpticsConfig, extra_blur_nm: float, rng: np.random.Generator) -> Profile:
    """Random column shape; `extra_blur_nm` widens the core (misregistered frames)."""
    low, high = config.core_sigma_pm
    # The mode lies in the lower half: corrected probes with usual source size (50 pm of 35 to 95 pm).
    sigma = 1e-3 * float(rng.triangular(low, low + 0.3 * (high - low), high)) if high > low else 1e-3 * low
    ratio = np.sqrt(uniform(rng, config.ellipticity))
    return Profile(
        major_nm=float(np.hypot(sigma * ratio, extra_blur_nm)),
        minor_nm=float(np.hypot(sigma / ratio, extra_blur_nm)),
        theta_deg=float(rng.uniform(-90.0, 90.0)),
        tail_nm=uniform(rng, config.tail_sigma_nm),
        tail_per_nm=uniform(rng, config.tail_per_nm),
        max_tail=config.max_tail,
        saturation_nm=uniform(rng, config.saturation_nm),
        oxygen_scale=uniform(rng, config.oxygen_scale),
    )


def splat_cores(
    shape: tuple[int, int], yx_px: np.ndarray, peak: np.ndarray, covariance: np.ndarray, jitter_px: np.ndarray
) -> np.ndarray:
    """(H, W) float32 sum of elliptical Gaussians, each pixel sampled where its line really was.

    Parameters
    ----------
    shape : tuple of int
        Image size.
    yx_px : numpy.ndarray
        (N, 2) centres, pixels.
    peak : numpy.ndarray
        (N,) peak heights.
    covariance : numpy.ndarray
        (2, 2) covariance (y, x), pixels squared.
    jitter_px : numpy.ndarray
        (H, 2) displacement (y, x) of the samples of each line, pixels.
    """
    height, width = shape
    inverse = np.linalg.inv(covariance)
    slack = 0.5 + float(np.abs(jitter_px).max(initial=0.0))
    reach = [int(np.ceil(CUT_SIGMA * np.sqrt(covariance[i, i]) + slack)) for i in (0, 1)]
    centre = np.round(yx_px).astype(np.intp)
    seen = np.all((centre >= -np.array(reach)) & (centre < np.array(shape) + reach), axis=1) & (peak > 0)
    yx_px, peak, centre = yx_px[seen], peak[seen], centre[seen]
    order = np.argsort(centre[:, 0], kind="stable")  # neighbours in memory are summed together
    dy, dx = np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1)
    padded_width = width + 4 * reach[1] + 2
    total = np.zeros((height + 4 * reach[0] + 2) * padded_width)
    lines = np.pad(jitter_px, ((2 * reach[0], 2 * reach[0] + 2), (0, 0)), mode="edge")
    # exp(-(a y^2 + 2 b x y + c x^2) / 2) = exp(-(a - b^2/c) y^2 / 2) exp(-c (x + b y / c)^2 / 2): one exp a pixel.
    b_over_c, scale = inverse[0, 1] / inverse[1, 1], np.sqrt(0.5 * inverse[1, 1])
    row_factor = -0.5 * (inverse[0, 0] - inverse[0, 1] * b_over_c)
    steps = (dx * scale).astype(np.float32)
    chunk = max(1, BLOCK // (len(dy) * len(dx)))
    for start in range(0, len(peak), chunk):
        part = order[start : start + chunk]
        rows = centre[part, 0][:, None] + dy + 2 * reach[0]
        offset = centre[part] - yx_px[part]
        y = offset[:, :1] + dy + lines[rows, 0]
        x = (offset[:, 1:] + lines[rows, 1] + b_over_c * y) * scale
        patch = x.astype(np.float32)[:, :, None] + steps
        np.multiply(patch, patch, out=patch)
        np.exp(np.negative(patch, out=patch), out=patch)
        patch *= (peak[part, None] * np.exp(row_factor * y * y)).astype(np.float32)[:, :, None]
        low, high = int(rows[0, 0]) * padded_width, (int(rows[-1, -1]) + 1) * padded_width
        corner = rows * padded_width + (centre[part, 1] + 2 * reach[1])[:, None] - low
        index = corner[:, :, None] + dx
        total[low:high] += np.bincount(index.ravel(), patch.ravel(), high - low)
    image = total.reshape(-1, padded_width)
    return image[2 * reach[0] : 2 * reach[0] + height, 2 * reach[1] : 2 * reach[1] + width].astype(np.float32)


def splat_tails(
    shape: tuple[int, int], yx_px: np.ndarray, volume: np.ndarray, sigma_px: tuple[float, float]
) -> np.ndarray:
    """(H, W) float32 sum of wide round Gaussians of given integrals, deposited on a coarse grid first.

    Line jitter is far smaller than these widths and left out.

    Parameters
    ----------
    shape : tuple of int
        Image size.
    yx_px : numpy.ndarray
        (N, 2) centres, pixels.
    volume : numpy.ndarray
        (N,) integrals, in image units times pixels squared.
    sigma_px : tuple of float
        (y, x) standard deviations, pixels.
    """
    if len(volume) == 0:
        return np.zeros(shape, np.float32)
    step = np.array(sigma_px) / 1.5
    margin = np.array(sigma_px) * 3.0
    nodes = [int(np.ceil((n + 2 * m) / s)) + 2 for n, m, s in zip(shape, margin, step, strict=True)]
    at = (yx_px + margin) / step
    seen = np.all((at >= 0) & (at < np.array(nodes) - 1.001), axis=1)
    at, volume = at[seen], volume[seen]
    base = at.astype(np.intp)
    t = at - base
    coarse = np.zeros(nodes[0] * nodes[1])
    for i in (0, 1):
        for j in (0, 1):
            share = np.abs(1 - i - t[:, 0]) * np.abs(1 - j - t[:, 1])
            coarse += np.bincount((base[:, 0] + i) * nodes[1] + base[:, 1] + j, volume * share, nodes[0] * nodes[1])
    # Linear deposit spreads by step^2 / 6 (a triangle's variance): take it off the kernel to keep the total width.
    kernels = []
    for axis in (0, 1):
        sigma = np.sqrt(sigma_px[axis] ** 2 - step[axis] ** 2 / 6.0)
        grid = np.arange(nodes[axis]) * step[axis] - margin[axis]
        distance = (np.arange(shape[axis])[:, None] - grid[None, :]) / sigma
        kernels.append((np.exp(-0.5 * distance**2) / (sigma * np.sqrt(2 * np.pi))).astype(np.float32))
    return np.asarray(kernels[0] @ coarse.reshape(nodes).astype(np.float32) @ kernels[1].T)
