"""A whole scene: specimen, image formation, recording, truth."""

from typing import Literal

import numpy as np

from atomseg.simulate.background import cover, draw_background
from atomseg.simulate.config import SceneConfig
from atomseg.simulate.detector import Tone, draw_detector, record
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.record import parameters
from atomseg.simulate.render import draw_profile, splat_cores, splat_tails
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
        Columns carry drift, shear, strain and slow interference but not the line jitter.
    """
    scan = draw_scan(config.scan, config.shape, rng)
    structure = draw_structure(config, scan.view, rng)
    detector = draw_detector(config.detector, rng)
    imaging = Imaging(scan, draw_profile(config.optics, detector.registration_nm, rng), detector)
    image, tone, columns, shown = _image(config, structure, imaging, rng)
    micrograph = Micrograph(
        image=image,
        calibration=Calibration(scan.pixel_size_nm, CalibrationOrigin.METADATA),
        name=f"simulated {structure.kind}",
        n_frames=detector.frames,
        frame="mean" if detector.frames > 1 else "single",
        metadata={"signal": "simulated HAADF"},
    )
    if truth == "columns":
        crystal = crystal_mask(structure, scan)
        phases, reconstruction = empty_phases(config.shape, crystal), empty_reconstruction(config.shape)
    else:
        pixels = scan.to_pixels(structure.sites.yx_nm)
        crystal = crystal_outline(structure, scan, pixels)
        phases = phase_map(structure, scan, pixels, shown, crystal)
        reconstruction = reconstruction_profile(structure, scan, crystal)
        columns = named_columns(columns)
    return Scene(micrograph, columns, phases, reconstruction, crystal, parameters(structure, imaging, tone))


def _image(
    config: SceneConfig, structure: Structure, imaging: Imaging, rng: np.random.Generator
) -> tuple[np.ndarray, Tone, Columns, np.ndarray]:
    """The recorded image, its tone curve, the table of its columns and their index in the structure."""
    scan, profile, counts = imaging.scan, imaging.profile, imaging.peak_counts
    sites, thickness = structure.sites, structure.thickness_nm
    covariance = imaging.covariance_px
    pixels = scan.to_pixels(sites.yx_nm)
    scale = profile.peak(thickness) / profile.peak(np.array(structure.foil.thickness_nm))
    peak = counts * sites.weight * scale * np.where(sites.species == OXYGEN, profile.oxygen_scale, 1.0)
    volume = 2 * np.pi * np.sqrt(np.linalg.det(covariance)) * peak * profile.tail_weight(thickness)
    tail_px = (profile.tail_nm / scan.pixel_size_nm[0], profile.tail_nm / scan.pixel_size_nm[1])
    expected = splat_tails(scan.shape, pixels, volume, tail_px)
    p_film = config.background.p_nothing_speckle if structure.kind == "nothing" else config.background.p_film
    expected += counts * draw_background(config.background, scan, p_film=p_film, rng=rng)
    expected += counts * cover(structure.outline, config.background, scan, rng)
    expected += splat_cores(scan.shape, pixels, peak, covariance, scan.lines_px())
    image, tone = record(expected, counts, imaging.detector, rng)
    apparent = scan.apparent_px(pixels, float(np.sqrt(covariance[0, 0])))
    last = np.asarray(scan.shape) - 0.5
    shown = np.flatnonzero(is_listed(sites) & np.all((apparent >= -0.5) & (apparent < last), axis=1))
    ground = np.maximum(_sample(expected, pixels[shown]) - peak[shown], 0.0)
    columns = column_table(sites.take(shown), apparent[shown], peak[shown], ground, imaging=imaging, tone=tone)
    return image, tone, columns, shown


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
