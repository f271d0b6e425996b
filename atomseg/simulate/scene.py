"""A whole scene: specimen, image formation, recording, truth."""

from typing import Literal

import numpy as np

from atomseg.simulate.background import draw_ground
from atomseg.simulate.config import SceneConfig
from atomseg.simulate.detector import draw_detector
from atomseg.simulate.expose import Exposed, Exposure, expose
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.record import parameters
from atomseg.simulate.render import draw_profile
from atomseg.simulate.scan import draw_scan
from atomseg.simulate.specimen import OXYGEN
from atomseg.simulate.structure import Structure, draw_structure
from atomseg.simulate.truth_columns import column_table, is_listed, named_columns
from atomseg.simulate.truth_phases import crystal_mask, crystal_outline, empty_phases, phase_map
from atomseg.simulate.truth_reconstruction import empty_reconstruction, reconstruction_profile
from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph, Scene


def simulate(config: SceneConfig, rng: np.random.Generator, *, truth: Literal["columns", "full"] = "full") -> Scene:
    """A micrograph drawn from a configuration, with its exact truth.

    Parameters
    ----------
    config : SceneConfig
        What to draw from.
    rng : numpy.random.Generator
        All randomness; the same state gives the same scene.
    truth : {"columns", "full"}
        ``columns`` leaves the phase map and the thickness profile empty (fast, for training).

    Returns
    -------
    Scene
        Columns carry drift, shear, strain, jumps, slow interference and afterglow but not the line jitter; where they
        stand in the specimen is in ``y_true_nm`` and ``x_true_nm``.
    """
    structure, exposure = draw_exposure(config, rng)
    return finish(structure, exposure, expose([exposure])[0], truth=truth)


def draw_exposure(config: SceneConfig, rng: np.random.Generator) -> tuple[Structure, Exposure]:
    """The random part of a scene, cheap: what stands in the beam and how it is imaged. The costly one is `expose`."""
    scan = draw_scan(config.scan, config.shape, rng)
    structure = draw_structure(config, scan.view, rng)
    detector = draw_detector(config.detector, rng)
    profile = draw_profile(config.optics, detector.registration_nm, rng, thickness_nm=structure.foil.thickness_nm)
    return structure, _exposure(config, structure, Imaging(scan, profile, detector), rng)


def finish(
    structure: Structure, exposure: Exposure, exposed: Exposed, *, truth: Literal["columns", "full"] = "full"
) -> Scene:
    """Image and truth of a scene that was exposed, on any device."""
    imaging = exposure.imaging
    scan, detector = imaging.scan, imaging.detector
    columns, shown = _columns(structure, exposure, exposed)
    micrograph = Micrograph(
        image=exposed.image.cpu().numpy(),
        calibration=Calibration(scan.pixel_size_nm, CalibrationOrigin.METADATA),
        name=f"simulated {structure.kind}",
        n_frames=detector.frames,
        frame="mean" if detector.frames > 1 else "single",
        metadata={"signal": "simulated HAADF"},
    )
    if truth == "columns":
        crystal = crystal_mask(structure, scan)
        phases, reconstruction = empty_phases(scan.shape, crystal), empty_reconstruction(scan.shape)
    else:
        seen = imaging.seen
        pixels = seen.jumped(seen.to_pixels(structure.sites.yx_nm))
        crystal = crystal_outline(structure, seen, pixels)
        phases = phase_map(structure, seen, pixels, shown, crystal)
        reconstruction = reconstruction_profile(structure, seen, crystal)
        columns = named_columns(columns)
    drawn = parameters(structure, imaging, exposed.tone)
    return Scene(micrograph, columns, phases, reconstruction, crystal, drawn, exposed.clean.cpu().numpy())


def _exposure(config: SceneConfig, structure: Structure, imaging: Imaging, rng: np.random.Generator) -> Exposure:
    """What the image is made of: columns with their signal, background, seed of the noise."""
    scan, profile = imaging.scan, imaging.profile
    sites, thickness = structure.sites, structure.thickness_nm
    pixels = scan.to_pixels(sites.yx_nm + profile.light_shift(sites.weight))
    scale = profile.peak(thickness) / profile.peak(np.array(structure.foil.thickness_nm))
    peak = imaging.peak_counts * profile.tilt_peak * sites.weight * scale
    peak *= np.where(sites.species == OXYGEN, profile.oxygen_scale, 1.0)
    # Heights of core and tail go as their integrals over their areas.
    tail_area = profile.tail_nm**2 / (scan.pixel_size_nm[0] * scan.pixel_size_nm[1])
    core_area = float(np.sqrt(np.linalg.det(imaging.covariance_px)))
    p_film = config.background.p_nothing_speckle if structure.kind == "nothing" else config.background.p_film
    return Exposure(
        imaging=imaging,
        yx_px=pixels,
        peak=peak,
        tail=peak * profile.tail_weight(thickness) * core_area / tail_area,
        ground=draw_ground(config.background, structure.outline, scan, p_film=p_film, rng=rng),
        seed=int(rng.integers(2**63)),
    )


def _columns(structure: Structure, exposure: Exposure, exposed: Exposed) -> tuple[Columns, np.ndarray]:
    """The table of the columns in the image, and which site of the structure each of them is."""
    imaging, sites = exposure.imaging, structure.sites
    scan = imaging.scan
    listed = np.flatnonzero(is_listed(sites))
    index, apparent = scan.appearances(exposure.yx_px[listed], float(np.sqrt(imaging.covariance_px[0, 0])))
    where = apparent + np.array([0.0, imaging.afterglow.shift_px])
    inside = np.all((where >= -0.5) & (where < np.asarray(scan.shape) - 0.5), axis=1)
    shown, apparent, where = listed[index[inside]], apparent[inside], where[inside]
    peak = exposure.peak[shown] * imaging.detector.line_gain(apparent[:, 0], scan.shape[0])
    ground = np.maximum(_sample(exposed.expected.cpu().numpy(), apparent) - peak, 0.0)
    table = column_table(sites.take(shown), where, peak, ground, imaging=imaging, tone=exposed.tone)
    return table, shown


def _sample(image: np.ndarray, yx_px: np.ndarray) -> np.ndarray:
    """(N,) image at points: quadratic through the nearest pixel and its neighbours, so that peaks keep their height."""
    last = np.asarray(image.shape) - 2
    centre = np.clip(np.round(yx_px).astype(np.intp), 1, last)
    t = np.clip(yx_px - centre, -1.0, 1.0)
    y, x = centre[:, 0], centre[:, 1]
    middle = image[y, x]
    value = middle.astype(np.float64)
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        up, down = image[y + dy, x + dx], image[y - dy, x - dx]
        value += 0.5 * t[:, axis] * (up - down) + 0.5 * t[:, axis] ** 2 * (up + down - 2 * middle)
    return value
