"""Shape of a column in the image, and the noise-free image of many columns."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.imaging_config import OpticsConfig
from atomseg.simulate.sampling import chance, uniform


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
    tilt_mrad, tilt_deg : float
        Angle between beam and zone axis, mrad, and its direction in the image, degrees from +x towards +y.
    smear_nm : float
        Standard deviation of the displacements that the mistilt spreads a column's signal over, nm.
    light_shift_nm : float
        Displacement of the lightest columns against the heaviest along the tilt, nm.
    """

    major_nm: float
    minor_nm: float
    theta_deg: float
    tail_nm: float
    tail_per_nm: float
    max_tail: float
    saturation_nm: float
    oxygen_scale: float
    tilt_mrad: float = 0.0
    tilt_deg: float = 0.0
    smear_nm: float = 0.0
    light_shift_nm: float = 0.0

    def covariance(self, pixel_size_nm: tuple[float, float]) -> np.ndarray:
        """(2, 2) covariance (y, x) of the core, pixels squared."""
        angle = np.deg2rad(self.theta_deg)
        major, minor = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        nm2 = self.major_nm**2 * np.outer(major, major) + self.minor_nm**2 * np.outer(minor, minor)
        nm2 += self.smear_nm**2 * np.outer(self.tilt_yx, self.tilt_yx)
        return np.asarray(nm2 / np.outer(pixel_size_nm, pixel_size_nm))

    @property
    def tilt_yx(self) -> np.ndarray:
        """(2,) unit vector (y, x) of the mistilt."""
        angle = np.deg2rad(self.tilt_deg)
        return np.array([np.sin(angle), np.cos(angle)])

    @property
    def tilt_peak(self) -> float:
        """Peak of a column relative to the same one without mistilt: the signal stays, the area grows."""
        pixel = (1.0, 1.0)
        return float(self.major_nm * self.minor_nm / np.sqrt(np.linalg.det(self.covariance(pixel))))

    def light_shift(self, weight: np.ndarray) -> np.ndarray:
        """(N, 2) displacement (y, x) of columns of given signal relative to a full column, nm."""
        missing = np.clip(1.0 - weight, 0.0, 1.0)
        return np.asarray(self.light_shift_nm * missing[:, None] * self.tilt_yx)

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


def draw_profile(
    config: OpticsConfig, extra_blur_nm: float, rng: np.random.Generator, *, thickness_nm: float = 0.0
) -> Profile:
    """Random column shape.

    Parameters
    ----------
    config : OpticsConfig
        Ranges.
    extra_blur_nm : float
        Widens the core (misregistered frames), nm.
    rng : numpy.random.Generator
        Randomness.
    thickness_nm : float
        Thickness of the foil, over which a mistilt smears columns.
    """
    low, high = config.core_sigma_pm
    # The mode lies in the lower half: corrected probes with usual source size (50 pm of 35 to 95 pm).
    sigma = 1e-3 * float(rng.triangular(low, low + 0.3 * (high - low), high)) if high > low else 1e-3 * low
    if chance(rng, config.p_wide):
        sigma = 1e-3 * uniform(rng, config.wide_sigma_pm)
    ratio = np.sqrt(uniform(rng, config.ellipticity))
    saturation = uniform(rng, config.saturation_nm)
    tilt = _mistilt(config, rng) if chance(rng, config.p_mistilt) else 0.0
    return Profile(
        major_nm=float(np.hypot(sigma * ratio, extra_blur_nm)),
        minor_nm=float(np.hypot(sigma / ratio, extra_blur_nm)),
        theta_deg=float(rng.uniform(-90.0, 90.0)),
        tail_nm=uniform(rng, config.tail_sigma_nm),
        tail_per_nm=uniform(rng, config.tail_per_nm),
        max_tail=config.max_tail,
        saturation_nm=saturation,
        oxygen_scale=uniform(rng, config.oxygen_scale),
        tilt_mrad=tilt,
        tilt_deg=float(rng.uniform(-180.0, 180.0)),
        smear_nm=1e-3 * tilt * depth_spread_nm(thickness_nm, saturation),
        light_shift_nm=1e-3 * tilt * uniform(rng, config.tilt_shift_pm_per_mrad),
    )


def depth_spread_nm(thickness_nm: float, saturation_nm: float) -> float:
    """Standard deviation of the depths that a column's signal comes from, nm.

    The signal of a depth z falls as sech²(z / saturation), the derivative of `Profile.peak`. Without saturation it is
    thickness / sqrt(12), for thick foils sqrt(pi²/12 - ln²2) = 0.585 of the saturation length.
    """
    depth = (np.arange(400) + 0.5) / 400.0 * thickness_nm
    weight = np.cosh(np.minimum(depth / saturation_nm, 50.0)) ** -2.0
    mean = float(np.average(depth, weights=weight))
    return float(np.sqrt(np.average((depth - mean) ** 2, weights=weight)))


def _mistilt(config: OpticsConfig, rng: np.random.Generator) -> float:
    """Angle in mrad: people tilt to the zone axis, so that small angles are more common."""
    low, high = config.mistilt_mrad
    return float(rng.triangular(low, low, high)) if high > low else low
