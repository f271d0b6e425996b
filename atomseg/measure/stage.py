"""The measurement stage."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from atomseg.imaging import grid_to_pixels
from atomseg.measure.config import MeasureConfig
from atomseg.measure.faults import find_faults
from atomseg.measure.overlayer import Overlayer, find_overlayer, light_on_grid
from atomseg.measure.rays import Depths, Neighbours, cast, depth_map, smooth_occupancy
from atomseg.measure.statistics import point_interval, summarize_points
from atomseg.measure.surface import Maps, Surface, find_surfaces, sample_maps, smoother_normals
from atomseg.measure.zone import Zone, find_zone
from atomseg.types import Calibration, LatticeFrame, Micrograph, PhaseMap, ReconstructionProfile, ThicknessSummary
from atomseg.types.reconstruction import MEASURED_FIELDS, PROFILE_FIELDS, surfaces_differ

PERIOD_WITHOUT_FRAME_NM = 0.249
# Normals are smoothed over this share of the layer's depth, where that is longer than the configured length.
NORMAL_SHARE = 0.5


def measure(
    phases: PhaseMap, calibration: Calibration, config: MeasureConfig, *, micrograph: Micrograph | None = None
) -> ReconstructionProfile:
    """Measure the reconstruction layer along every surface in view.

    Thickness is the depth along the inward normal of the deepest point of the reconstructed zone (rocksalt or O1) that
    belongs to the surface, layered islands inside its envelope included.

    Parameters
    ----------
    phases : PhaseMap
        Phases of the micrograph.
    calibration : Calibration
        Its pixel size.
    config : MeasureConfig
        Settings.
    micrograph : Micrograph, optional
        The image itself, for the overlayer and for what was not seen; without it ``overlayer_nm`` is unknown, and
        invalid areas count as vacuum.

    Returns
    -------
    ReconstructionProfile
        Without points and summary when no surface is in view or no crystal of it was judged.
    """
    pixel = calibration.pixel_size_nm
    maps = sample_maps(phases, pixel, config.grid_nm, None if micrograph is None else micrograph.invalid)
    surfaces = find_surfaces(maps, config) if phases.frames else []
    depth = grid_to_pixels(depth_map(maps, surfaces), phases.labels.shape)
    period = float(np.hypot(*phases.frames[0].row_yx_nm)) if phases.frames else PERIOD_WITHOUT_FRAME_NM
    faults = find_faults(phases.gaps, depth, pixel, period)
    if not surfaces:
        points = pd.DataFrame({name: pd.Series(dtype=float) for name in (*PROFILE_FIELDS, *MEASURED_FIELDS)})
        return ReconstructionProfile(points=points, faults=faults, depth_nm=depth)
    zone = find_zone(maps, config)
    points = _all_points(
        maps, zone, surfaces, frame=phases.frames[0], pixel=pixel, config=config, micrograph=micrograph
    )
    # Rays that leave the view at once say nothing.
    judged = points[points["available_nm"] >= config.detection_limit_nm]
    if len(judged) == 0:
        return ReconstructionProfile(points=points, faults=faults, depth_nm=depth)
    each = {
        k: summarize_points(judged[judged["surface_id"] == k], config)
        for k in range(len(surfaces))
        if (judged["surface_id"] == k).any()
    }
    return ReconstructionProfile(
        points=points,
        faults=faults,
        depth_nm=depth,
        summary=summarize_points(judged, config),
        surfaces=each,
        warnings=(*unlike(each), *_warnings(judged), *_bridged(zone), *_lamellae(zone), *_hidden(judged)),
    )


def _all_points(
    maps: Maps,
    zone: Zone,
    surfaces: list[Surface],
    *,
    frame: LatticeFrame,
    pixel: tuple[float, float],
    config: MeasureConfig,
    micrograph: Micrograph | None,
) -> pd.DataFrame:
    """thickness.csv."""
    occupancy, neighbours = smooth_occupancy(maps), Neighbours.of(surfaces)
    light = None if micrograph is None else light_on_grid(micrograph, maps)
    tables = []
    for k, found in enumerate(surfaces):
        surface, depths = found, cast(maps, zone, occupancy, found, neighbours=neighbours, config=config)
        # What lies deep follows the surface on a scale of its depth: roughness above it does not turn its normal.
        scale = NORMAL_SHARE * float(np.median(depths.thickness))
        if scale > config.normal_smoothing_nm:
            surface = smoother_normals(found, scale, config)
            depths = cast(maps, zone, occupancy, surface, neighbours=neighbours, config=config)
        cover = None if light is None else find_overlayer(light, maps, surface, config)
        tables.append(_points(k, surface, depths, cover, frame=frame, pixel=pixel, config=config))
    return pd.concat(tables, ignore_index=True)


def _points(
    surface_id: int,
    surface: Surface,
    depths: Depths,
    cover: Overlayer | None,
    *,
    frame: LatticeFrame,
    pixel: tuple[float, float],
    config: MeasureConfig,
) -> pd.DataFrame:
    """Rows of thickness.csv for one surface."""
    stack = np.asarray(frame.stack_yx_nm) / np.hypot(*frame.stack_yx_nm)
    facet = np.rad2deg(np.arccos(np.clip(np.abs(surface.normal @ stack), 0, 1)))
    lower, upper = point_interval(depths, config)
    n = len(surface.s_nm)
    return pd.DataFrame(
        {
            "surface_id": surface_id,
            "s_nm": surface.s_nm,
            "y_px": surface.yx_nm[:, 0] / pixel[0],
            "x_px": surface.yx_nm[:, 1] / pixel[1],
            "normal_deg": np.rad2deg(np.arctan2(surface.normal[:, 0], surface.normal[:, 1])),
            "facet_deg": facet,
            "thickness_nm": depths.thickness,
            "lower_nm": lower,
            "upper_nm": upper,
            "t_50_nm": depths.t_50,
            "t_rocksalt_nm": depths.t_rocksalt,
            "t_mix_nm": depths.t_mix,
            "front_width_nm": depths.front_width,
            "available_nm": depths.available,
            "event": depths.event,
            "reason": depths.reason,
            "below_limit": ((depths.thickness < config.detection_limit_nm) & (depths.event == 1)).astype(int),
            "hidden_from_nm": depths.hidden,
            "overlayer_nm": np.full(n, np.nan) if cover is None else cover.thickness_nm,
            "overlayer_event": np.zeros(n, dtype=int) if cover is None else cover.event,
            "surface_kind": surface.kind,
        }
    )


def _bridged(zone: Zone) -> tuple[str, ...]:
    """A sentence where patches that do not touch were taken as one layer."""
    if zone.gap_nm <= 0:
        return ()
    return (
        f"patches of the layer do not touch in this plane: gaps of intact crystal up to {zone.gap_nm:.1f} nm, narrower "
        "than the patches are, count as islands in it",
    )


def _lamellae(zone: Zone) -> tuple[str, ...]:
    """A sentence where O1 lamellae leave the layer for the crystal."""
    if zone.lamellae_nm <= 0:
        return ()
    return (
        f"O1 lamellae run up to {zone.lamellae_nm:.1f} nm from the surface or its layer into the crystal: they are "
        "listed with the faults and are in no thickness",
    )


def _hidden(points: pd.DataFrame) -> tuple[str, ...]:
    """A sentence about reconstructed crystal that no surface reaches."""
    below = points["hidden_from_nm"].dropna()
    if len(below) == 0:
        return ()
    return (
        f"reconstructed crystal lies below intact crystal, from {float(below.min()):.1f} nm under the surface on "
        f"({100 * len(below) / len(points):.0f} % of the surface points): it is in no thickness",
    )


def unlike(surfaces: Mapping[int, ThicknessSummary]) -> tuple[str, ...]:
    """A sentence where the surfaces in view are of different classes, to be read before all others; none elsewhere.

    Parameters
    ----------
    surfaces : mapping
        Summary by surface id.
    """
    if not surfaces_differ(surfaces):
        return ()
    told = [
        f"surface {k} {'at least ' if s.mean_nm is None else ''}{s.least_nm or 0.0:.1f} nm" for k, s in surfaces.items()
    ]
    return (f"the surfaces in view differ ({', '.join(told)}): use the numbers of each, the overall mean mixes them",)


def _warnings(points: pd.DataFrame) -> tuple[str, ...]:
    """Sentences about what limits the numbers."""
    censored = points[points["event"] == 0]
    if len(censored) == 0:
        return ()
    share = 100 * len(censored) / len(points)
    reasons = ", ".join(str(name).replace("_", " ") for name in censored["reason"].value_counts().index)
    deepest = float(points["available_nm"].max())
    return (
        f"{share:.0f} % of the surface points are lower bounds (the layer meets: {reasons}); this image shows at most "
        f"{deepest:.1f} nm below the surface",
    )
