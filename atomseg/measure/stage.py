"""The measurement stage."""

import numpy as np
import pandas as pd

from atomseg.measure.config import MeasureConfig
from atomseg.measure.faults import find_faults
from atomseg.measure.rays import Depths, attached_zone, cast, depth_map, smooth_occupancy
from atomseg.measure.statistics import Z90, summarize_points
from atomseg.measure.surface import Surface, find_surfaces, sample_maps, upsample
from atomseg.types import Calibration, LatticeFrame, PhaseMap, ReconstructionProfile, ThicknessSummary
from atomseg.types.reconstruction import PROFILE_FIELDS

PERIOD_WITHOUT_FRAME_NM = 0.249


def measure(phases: PhaseMap, calibration: Calibration, config: MeasureConfig) -> ReconstructionProfile:
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

    Returns
    -------
    ReconstructionProfile
        Without points and summary when no surface is in view or no crystal of it was judged.
    """
    pixel = calibration.pixel_size_nm
    maps = sample_maps(phases.labels, phases.occupancy, pixel, config.grid_nm)
    surfaces = find_surfaces(maps, config) if phases.frames else []
    depth = upsample(depth_map(maps, surfaces), phases.labels.shape)
    period = float(np.hypot(*phases.frames[0].row_yx_nm)) if phases.frames else PERIOD_WITHOUT_FRAME_NM
    faults = find_faults(phases.gaps, depth, pixel, period)
    if not surfaces:
        points = pd.DataFrame({name: pd.Series(dtype=float) for name in PROFILE_FIELDS})
        return ReconstructionProfile(points=points, faults=faults, depth_nm=depth)
    zone, occupancy = attached_zone(maps, config), smooth_occupancy(maps)
    tables = [
        _points(
            k, surface, cast(maps, zone, occupancy, surface, config), frame=phases.frames[0], pixel=pixel, config=config
        )
        for k, surface in enumerate(surfaces)
    ]
    points = pd.concat(tables, ignore_index=True)
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
        warnings=(*_unlike(each), *_warnings(judged)),
    )


def _points(
    surface_id: int,
    surface: Surface,
    depths: Depths,
    *,
    frame: LatticeFrame,
    pixel: tuple[float, float],
    config: MeasureConfig,
) -> pd.DataFrame:
    """Rows of thickness.csv for one surface."""
    stack = np.asarray(frame.stack_yx_nm) / np.hypot(*frame.stack_yx_nm)
    facet = np.rad2deg(np.arccos(np.clip(np.abs(surface.normal @ stack), 0, 1)))
    t, event = depths.thickness, depths.event
    variance = config.edge_sigma_nm**2 + config.front_sigma_nm**2 + (config.calibration_sigma * t) ** 2
    half = Z90 * np.sqrt(variance)
    none_seen = (t == 0) & (event == 1)
    upper = np.where(none_seen, config.detection_limit_nm, t + half)
    return pd.DataFrame(
        {
            "surface_id": surface_id,
            "s_nm": surface.s_nm,
            "y_px": surface.yx_nm[:, 0] / pixel[0],
            "x_px": surface.yx_nm[:, 1] / pixel[1],
            "normal_deg": np.rad2deg(np.arctan2(surface.normal[:, 0], surface.normal[:, 1])),
            "facet_deg": facet,
            "thickness_nm": t,
            "lower_nm": np.where(none_seen, 0.0, np.maximum(0.0, t - half)),
            "upper_nm": np.where(event == 1, upper, np.nan),
            "t_50_nm": depths.t_50,
            "t_rocksalt_nm": depths.t_rocksalt,
            "t_mix_nm": depths.t_mix,
            "front_width_nm": depths.front_width,
            "available_nm": depths.available,
            "event": event,
            "reason": depths.reason,
        }
    )


def _unlike(surfaces: dict[int, ThicknessSummary]) -> tuple[str, ...]:
    """A sentence where the surfaces in view are of different classes: pooled, they make a layer that is nowhere."""
    if len({summary.thickness_class for summary in surfaces.values()}) < 2:
        return ()
    told = [
        f"surface {k} at least {s.lower_bound_nm:.1f} nm" if s.mean_nm is None else f"surface {k} {s.mean_nm:.1f} nm"
        for k, s in surfaces.items()
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
