"""Scenes of the accuracy benchmarks: one dose, one pixel size, one column width, Poisson noise, known jitter."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from atomseg.simulate import (
    BackgroundConfig,
    DefectConfig,
    DetectorConfig,
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    OpticsConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
)
from atomseg.types import Phase, Scene

# Static displacements that no lattice gives away (thermal ones are in the width): what the slope is measured on.
DISPLACEMENT_PM = 6.0
JITTER_PM, JITTER_CORRELATION = 4.0, 0.3
NEAR_NM = 1.0
REGIONS = ("bulk", "front", "vacuum")


def same(value: float) -> tuple[float, float]:
    """A range of no width."""
    return value, value


def tier(counts: float, pixel_pm: float, sigma_pm: float, *, field_nm: float, covered: bool) -> SceneConfig:
    """A particle's edge with a reconstruction layer: bulk, phase front and vacuum (or an amorphous cover) in view.

    Parameters
    ----------
    counts : float
        Counts under the core of a transition-metal column.
    pixel_pm, sigma_pm : float
        Pixel size and standard deviation of the core, pm.
    field_nm : float
        Side of the image.
    covered : bool
        An amorphous cover of 1 to 3 nm lies on the surface and a thin film over everything.
    """
    side = max(16, round(1e3 * field_nm / pixel_pm))
    return SceneConfig(
        shape=(side, side),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        lattice=LatticeConfig(displacement_pm=same(DISPLACEMENT_PM), antisite=(0.02, 0.12), strain_rms=(0.0, 0.004)),
        surface=SurfaceConfig(
            p_none=0.0,
            p_edge=1.0,
            p_crack=0.0,
            offset=(-0.4, -0.3),
            p_cover=1.0 if covered else 0.0,
            cover_nm=(1.0, 3.0),
            cover_level=(0.1, 0.5),
        ),
        layer=LayerConfig(p_layer=1.0, thickness_nm=(2.0, 4.0), p_patchy=0.0, front_width_nm=(0.1, 0.4)),
        faults=FaultConfig(p_bulk=0.0, p_layer=0.0, p_hybrid=0.0),
        defects=DefectConfig(
            p_vacancies=0.0, p_missing=0.0, p_bending=0.0, p_dislocations=0.0, p_tetrahedral=0.0, p_overlap=0.0
        ),
        domains=DomainConfig(p_twin=0.0, p_variant=0.0, p_grain=0.0),
        foil=FoilConfig(thickness_nm=(8.0, 20.0), edge_thickness_nm=(4.0, 8.0), edge_length_nm=(0.5, 3.0)),
        optics=OpticsConfig(core_sigma_pm=same(sigma_pm), ellipticity=(1.0, 1.15), p_wide=0.0, p_mistilt=0.0),
        background=BackgroundConfig(level=(0.05, 0.3), p_step=0.0, p_film=1.0 if covered else 0.0, film=(0.03, 0.15)),
        scan=ScanConfig(
            pixel_size_nm=same(1e-3 * pixel_pm),
            anisotropy=same(0.0),
            shear=(0.0, 0.015),
            jitter_pm=same(JITTER_PM),
            jitter_correlation=same(JITTER_CORRELATION),
            p_wobble=0.0,
            p_flyback=0.0,
            p_jump=0.0,
        ),
        detector=counting(counts),
    )


def nothing(counts: float, pixel_pm: float, *, field_nm: float, film: bool) -> SceneConfig:
    """No crystal: vacuum, or an amorphous film; counts as in `tier` set the scale of its brightness."""
    side = max(16, round(1e3 * field_nm / pixel_pm))
    return SceneConfig(
        shape=(side, side),
        p_cathode=0.0,
        p_other=0.0,
        p_nothing=1.0,
        optics=OpticsConfig(core_sigma_pm=same(50.0), p_wide=0.0),
        background=BackgroundConfig(level=(0.05, 0.5), p_nothing_speckle=1.0 if film else 0.0, film=(0.1, 0.6)),
        scan=ScanConfig(pixel_size_nm=same(1e-3 * pixel_pm), anisotropy=same(0.0)),
        detector=counting(counts),
    )


def counting(counts: float) -> DetectorConfig:
    """A detector that counts: image values are counts, and noise is Poisson's alone."""
    return DetectorConfig(
        counts=same(counts),
        p_usual=0.0,
        excess_noise=same(1.0),
        read_noise=same(0.0),
        offset=same(0.0),
        gain=same(1.0),
        formats=("float32",),
        p_clipped=0.0,
        p_gamma=0.0,
        p_afterglow=0.0,
        p_frames=0.0,
        p_ramp=0.0,
        p_filter=0.0,
    )


def regions(scene: Scene) -> np.ndarray:
    """(H, W) index into `REGIONS`: within 1 nm of vacuum, else within 1 nm of a phase front, else bulk."""
    labels, pixel = scene.phases.labels, scene.micrograph.calibration.pixel_size_nm
    result = np.zeros(labels.shape, np.int8)
    layer = np.isin(labels, (Phase.ROCKSALT, Phase.O1))
    if layer.any() and (labels == Phase.LAYERED).any():
        front = np.where(
            layer,
            distance_transform_edt(labels != Phase.LAYERED, sampling=pixel),
            distance_transform_edt(~layer, sampling=pixel),
        )
        result[front <= NEAR_NM] = 1
    if (labels == Phase.NONE).any():
        result[distance_transform_edt(labels != Phase.NONE, sampling=pixel) <= NEAR_NM] = 2
    return result


def at(image: np.ndarray, yx_nm: np.ndarray, pixel_nm: tuple[float, float]) -> np.ndarray:
    """(N,) values of an image at positions (nearest pixel)."""
    index = np.clip(np.round(yx_nm / np.asarray(pixel_nm)).astype(int), 0, np.asarray(image.shape) - 1)
    return np.asarray(image[index[:, 0], index[:, 1]])
