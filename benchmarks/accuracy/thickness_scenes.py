"""Scenes of the thickness benchmark: cathode surfaces whose reconstruction layers span none to 40 nm."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate import (
    BackgroundConfig,
    DefectConfig,
    DetectorConfig,
    DomainConfig,
    FaultConfig,
    LatticeConfig,
    LayerConfig,
    OpticsConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
)
from atomseg.simulate.expose import expose
from atomseg.simulate.layer import layer_occupancy
from atomseg.simulate.scan import Scan
from atomseg.simulate.scene import draw_exposure, finish
from atomseg.simulate.structure import Structure
from atomseg.types import Scene

# Mean depth of the layer, nm; two bands stand astride the bounds of the thickness classes.
BANDS = (
    (0.0, 0.0),
    (0.2, 0.8),
    (0.8, 2.0),
    (2.0, 4.0),
    (4.0, 6.0),
    (6.0, 11.0),
    (11.0, 18.0),
    (18.0, 22.0),
    (22.0, 40.0),
)
# A square of this many pixels is mapped in some eight seconds on one core.
MOST_PIXELS = 1500
# Bulk in view beyond the layer, as a multiple of its depth and in nm: about a third of the scenes cut the layer.
VIEW_SHARE, VIEW_MARGIN_NM = (0.7, 1.5), (6.0, 12.0)
LONGEST_FIELD_NM = 52.0
# An edge is looked for this close to where it was found.
NEAR_EDGE_NM = 1.5


@dataclass(frozen=True)
class Drawn:
    """One scene, with the specimen and the scan that its truth along any line is computed from."""

    scene: Scene
    structure: Structure
    scan: Scan
    conditions: dict[str, float | str | bool]

    def face(self, number: int) -> np.ndarray:
        """(P, 2) true points (y, x) of one face in view, nm of the image."""
        truth = self.scene.reconstruction.points
        mine = truth[truth["surface_id"] == number]
        return mine[["y_px", "x_px"]].to_numpy(dtype=float) * np.asarray(self.scan.pixel_size_nm)


def same(value: float) -> tuple[float, float]:
    """A range of no width."""
    return value, value


def draw(number: int, seed: int) -> Drawn:
    """Scene `number`: its band goes in turn, all else is random."""
    rng = np.random.default_rng([seed, number])
    low, high = BANDS[number % len(BANDS)]
    layer_nm = float(rng.uniform(low, high))
    kind = "crack" if rng.random() < 0.35 else "edge"
    field_nm = min(LONGEST_FIELD_NM, float(rng.uniform(*VIEW_SHARE) * layer_nm + rng.uniform(*VIEW_MARGIN_NM)))
    field_nm *= 1.4 if kind == "crack" else 1.0  # both sides of it
    field_nm = min(LONGEST_FIELD_NM, field_nm)
    pixel_nm = float(np.exp(rng.uniform(np.log(0.010), np.log(0.040))))
    pixel_nm = max(pixel_nm, field_nm / MOST_PIXELS)
    counts = float(np.exp(rng.uniform(np.log(200.0), np.log(2e4))))
    patchy = bool(layer_nm > 2.0 and rng.random() < 0.35)
    config = scene_config(layer_nm, kind=kind, field_nm=field_nm, pixel_nm=pixel_nm, counts=counts, patchy=patchy)
    structure, exposure = draw_exposure(config, rng)
    scene = finish(structure, exposure, expose([exposure])[0])
    layer = structure.layers[0]
    conditions: dict[str, float | str | bool] = {
        "layer_nm": layer_nm,
        "surface": kind,
        "field_nm": field_nm,
        "pixel_pm": 1e3 * pixel_nm,
        "counts": counts,
        "patchy": patchy,
        "front_nm": layer.width_nm,
        "mixed": layer.mixed_occupancy,
        "cover_nm": structure.outline.cover_nm,
        "cover_level": structure.outline.cover_level,
        "n_faults": len(structure.faults),
    }
    return Drawn(scene, structure, exposure.imaging.scan, conditions)


def scene_config(
    layer_nm: float, *, kind: str, field_nm: float, pixel_nm: float, counts: float, patchy: bool
) -> SceneConfig:
    """A cathode surface as a good microscope sees it, all that blurs a thickness included."""
    side = max(64, round(field_nm / pixel_nm))
    return SceneConfig(
        shape=(side, side),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        lattice=LatticeConfig(a_nm=(0.283, 0.289), c_nm=(1.38, 1.45), antisite=(0.0, 0.1), strain_rms=(0.0, 0.004)),
        surface=SurfaceConfig(
            p_none=0.0,
            p_edge=1.0 if kind == "edge" else 0.0,
            p_crack=1.0 if kind == "crack" else 0.0,
            offset=(-0.85, -0.5),
            crack_offset=(-0.3, 0.3),
            crack_width_nm=(1.0, 6.0),
            cover_level=(0.03, 1.5),
        ),
        layer=LayerConfig(
            p_layer=1.0 if layer_nm > 0 else 0.0,
            thickness_nm=same(max(layer_nm, 0.1)),
            second_face=(0.6, 1.6),
            # 30 nm of foil under 10 degrees smear a front to 1.5 nm rms. The envelope of a patchy layer is the rim of
            # 0.6 nm that its islands keep from the front: a wider front leaves no rim to be seen.
            front_width_nm=(0.05, 0.6 if patchy else 2.0),
            p_patchy=1.0 if patchy else 0.0,
            p_mixed=0.3,
            mixed_occupancy=(0.05, 0.35),
        ),
        faults=FaultConfig(p_bulk=0.2, p_layer=0.4, p_lamella=0.0, p_hybrid=0.0),
        domains=DomainConfig(p_twin=0.05, p_variant=0.0, p_grain=0.0),
        defects=DefectConfig(
            p_vacancies=0.1, p_missing=0.0, p_bending=0.1, p_dislocations=0.0, p_tetrahedral=0.1, p_overlap=0.0
        ),
        optics=OpticsConfig(core_sigma_pm=(38.0, 75.0), ellipticity=(1.0, 1.3), p_wide=0.0, mistilt_mrad=(0.0, 8.0)),
        background=BackgroundConfig(level=(0.02, 0.8), p_surface_step=0.2),
        scan=ScanConfig(
            pixel_size_nm=same(pixel_nm),
            shear=(0.0, 0.015),
            bend_nm=(0.0, 0.15),
            jitter_pm=(0.0, 15.0),
            wobble_pm=(0.0, 20.0),
            p_flyback=0.1,
            p_jump=0.0,
        ),
        detector=DetectorConfig(counts=same(counts), p_usual=0.0, p_gamma=0.05, p_filter=0.0),
    )


def true_depths(
    drawn: Drawn, number: int, yx_px: np.ndarray, inward: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is true along lines into the crystal, in nm of the specimen: scan distortion is an error of the measurement.

    Parameters
    ----------
    drawn : Drawn
        The scene.
    number : int
        Face that the lines enter.
    yx_px : numpy.ndarray
        (P, 2) points near the face, pixels.
    inward : numpy.ndarray
        (P, 2) unit vectors (y, x) in nm of the image.

    Returns
    -------
    thickness : numpy.ndarray
        (P,) depth below the true edge at which the mean occupancy last crosses one half, in view or not.
    outside : numpy.ndarray
        (P,) how far outside the true edge each point lies; NaN where the line does not meet the face.
    border : numpy.ndarray
        (P,) length of the line in the image from the point on, nm of the image.
    """
    pixel = np.asarray(drawn.scan.pixel_size_nm)
    start = _in_specimen(drawn.scan, yx_px)
    ahead = _in_specimen(drawn.scan, yx_px + inward / pixel) - start
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    face, layer = drawn.structure.outline.faces[number], drawn.structure.layers[number]
    near = np.arange(-NEAR_EDGE_NM, NEAR_EDGE_NM, 0.02)
    outer = start[:, None, :] + near[None, :, None] * ahead[:, None, :]
    enters = face.depth(outer[..., 0], outer[..., 1]) > 0
    meets = enters.any(axis=1) & ~enters.all(axis=1)
    outside = np.where(meets, near[enters.argmax(axis=1)], np.nan)
    along = np.arange(0.0, 1.5 * LONGEST_FIELD_NM, 0.05)
    edge = start + np.nan_to_num(outside)[:, None] * ahead
    at = edge[:, None, :] + along[None, :, None] * ahead[:, None, :]
    bulk = drawn.structure.lattices[0].antisite
    occupancy = layer_occupancy(face, layer, at[..., 0], at[..., 1], islands=None, bulk=bulk)
    full = occupancy >= 0.5
    last = full.shape[1] - full[:, ::-1].argmax(axis=1)
    thickness = np.where(full.any(axis=1), (last - 0.5) * 0.05, 0.0)
    return thickness, outside, _to_border(drawn.scan, yx_px, inward)


def _in_specimen(scan: Scan, yx_px: np.ndarray) -> np.ndarray:
    """(P, 2) nm in the specimen of points in the image: the scan inverted, whose bend is a small part of it."""
    pixel = np.asarray(scan.pixel_size_nm)
    inverse = np.linalg.inv(scan.matrix)
    middle = scan.to_pixels(np.zeros((1, 2)))
    found = ((yx_px - middle) * pixel) @ inverse.T
    for _ in range(6):
        found = found + ((yx_px - scan.to_pixels(found)) * pixel) @ inverse.T
    return np.asarray(found)


def _to_border(scan: Scan, yx_px: np.ndarray, inward: np.ndarray) -> np.ndarray:
    """(P,) distance from points to the image border along unit vectors, nm."""
    pixel = np.asarray(scan.pixel_size_nm)
    at, end = yx_px * pixel, (np.asarray(scan.shape) - 1) * pixel
    with np.errstate(divide="ignore"):
        room = np.where(inward > 0, (end - at) / inward, np.where(inward < 0, at / -inward, np.inf))
    return np.asarray(np.maximum(room, 0.0).min(axis=1))
