"""Surfaces: rough or stepped faces, and how deep a point lies below them."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.sampling import chance, log_uniform, smooth_noise, uniform
from atomseg.simulate.specimen import View
from atomseg.simulate.specimen_config import SurfaceConfig

# Samples of a surface profile along the face; finer than a column spacing so that steps stay sharp.
PROFILE_STEP_NM = 0.05


@dataclass(frozen=True)
class Face:
    """One face of the crystal.

    Parameters
    ----------
    normal_yx : tuple of float
        Unit vector (y, x) into the crystal.
    offset_nm : float
        Distance of the mean face from the image centre along the normal: depth of a point is r . n - offset - height.
    height_nm : numpy.ndarray
        (n,) profile along the face, nm, samples `PROFILE_STEP_NM` apart, centred on the image centre's foot.
    facet_deg : float
        Angle of the normal to the direction across the layers, 0 to 90 degrees.
    """

    normal_yx: tuple[float, float]
    offset_nm: float
    height_nm: np.ndarray
    facet_deg: float

    def along(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Coordinate along the face, nm."""
        return np.asarray(-self.normal_yx[1] * y + self.normal_yx[0] * x)

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Depth below the rough face along its mean normal, nm; negative outside."""
        mean = self.normal_yx[0] * y + self.normal_yx[1] * x - self.offset_nm
        return np.asarray(mean - profile_at(self.height_nm, self.along(y, x)))

    def depth_grid(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(len(y), len(x)) depth on a regular grid, nm."""
        return self.depth(y[:, None], x[None, :])


@dataclass(frozen=True)
class Outline:
    """All faces of the crystal and what covers them; no face means crystal everywhere.

    Parameters
    ----------
    faces : tuple of Face
        Crystal is where any of them has positive depth (one face: a half plane; two: both sides of a crack).
    cover_nm : float
        Thickness of the amorphous cover outside the faces, nm; 0 for none.
    cover_level : float
        Its brightness in TM peaks.
    """

    faces: tuple[Face, ...] = ()
    cover_nm: float = 0.0
    cover_level: float = 0.0

    def depths(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n faces, ...) depth below each face."""
        return np.stack([face.depth(y, x) for face in self.faces])


def profile_at(profile: np.ndarray, s_nm: np.ndarray) -> np.ndarray:
    """Linear lookup in a profile along a face."""
    at = np.clip(s_nm / PROFILE_STEP_NM + (len(profile) - 1) / 2, 0.0, len(profile) - 1.001)
    index = at.astype(np.intp)
    t = at - index
    return np.asarray(profile[index] * (1 - t) + profile[index + 1] * t)


def rough_profile(rng: np.random.Generator, view: View, rms_nm: float, correlation_nm: float) -> np.ndarray:
    """Smooth random profile, nm."""
    n = 2 * int(view.radius_nm / PROFILE_STEP_NM) + 3
    return rms_nm * smooth_noise(rng, n, PROFILE_STEP_NM, correlation_nm)


def stepped_profile(rng: np.random.Generator, view: View, step_nm: float, terrace_nm: float) -> np.ndarray:
    """Terraces of random width with steps up and down, nm, zero mean."""
    n = 2 * int(view.radius_nm / PROFILE_STEP_NM) + 3
    up = rng.random(n) < PROFILE_STEP_NM / max(terrace_nm, 2 * PROFILE_STEP_NM)
    walk = np.cumsum(up * rng.choice([-step_nm, step_nm], n))
    return np.asarray(walk - walk.mean())


def draw_outline(config: SurfaceConfig, view: View, across_deg: float, rng: np.random.Generator) -> Outline:
    """Random faces of a crystal.

    Parameters
    ----------
    config : SurfaceConfig
        Ranges.
    view : View
        Size of the image.
    across_deg : float
        Direction across the layers in the image, degrees from +x towards +y.
    rng : numpy.random.Generator
        Randomness.
    """
    weights = np.array([config.p_none, config.p_edge, config.p_crack])
    kind = int(rng.choice(3, p=weights / weights.sum()))
    if kind == 0:
        return Outline()
    facet = uniform(rng, config.facet_deg)
    angle = np.deg2rad(across_deg + facet)
    normal = (float(np.sin(angle)), float(np.cos(angle)))
    reach = 0.5 * min(view.size_nm)
    folded = abs((facet + 90.0) % 180.0 - 90.0)
    if kind == 1:
        faces: tuple[Face, ...] = (
            Face(normal, uniform(rng, config.offset) * reach, _height(config, view, rng), folded),
        )
    else:
        opening = log_uniform(rng, config.crack_width_nm)
        centre = uniform(rng, config.crack_offset) * reach
        back = (-normal[0], -normal[1])
        faces = (
            Face(normal, centre + opening / 2, _height(config, view, rng), folded),
            Face(back, -centre + opening / 2, _height(config, view, rng), folded),
        )
    covered = chance(rng, config.p_cover)
    return Outline(
        faces,
        uniform(rng, config.cover_nm) if covered else 0.0,
        log_uniform(rng, config.cover_level) if covered else 0.0,
    )


def _height(config: SurfaceConfig, view: View, rng: np.random.Generator) -> np.ndarray:
    correlation = log_uniform(rng, config.correlation_nm)
    if chance(rng, config.p_stepped):
        return stepped_profile(rng, view, uniform(rng, config.step_nm), correlation)
    return rough_profile(rng, view, uniform(rng, config.roughness_nm), correlation)
