"""True thickness of the reconstruction layer along every surface in view."""

import numpy as np
import pandas as pd

from atomseg.simulate.layer import Layer, layer_occupancy
from atomseg.simulate.record import no_rows
from atomseg.simulate.scan import Scan
from atomseg.simulate.spacing import expanded, opened
from atomseg.simulate.structure import Structure
from atomseg.simulate.surface import Face, profile_at
from atomseg.types import ReconstructionProfile, ThicknessClass, ThicknessSummary
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS

POINT_SPACING_NM = 0.25
DEPTH_STEP_NM = 0.05
# Occupancies that define the three depths: end of full rocksalt, mid-point of the front, return to the bulk's value.
ROCKSALT_OCCUPANCY, MID_OCCUPANCY, MIX_EXCESS = 0.8, 0.5, 0.05
THIN_BELOW_NM, THICK_ABOVE_NM = 5.0, 20.0


def empty_reconstruction(shape: tuple[int, int]) -> ReconstructionProfile:
    """No surface, no fault."""
    return ReconstructionProfile(
        points=no_rows(PROFILE_FIELDS),
        faults=no_rows(FAULT_FIELDS),
        depth_nm=np.full(shape, np.nan, np.float32),
    )


def reconstruction_profile(structure: Structure, scan: Scan, crystal: np.ndarray) -> ReconstructionProfile:
    """True thickness of the layer below each face, and the O1 faults.

    ``thickness_nm`` is the depth along the mean inward normal, from the rough face, where the mean occupancy
    crosses one half: the envelope of a patchy layer. Faults of the layer end inside it. Where the normal leaves the
    image first, ``thickness_nm`` is the depth in view and ``event`` is 0.

    Parameters
    ----------
    structure : Structure
        The specimen.
    scan : Scan
        Sampling.
    crystal : numpy.ndarray
        (H, W) bool.
    """
    depth = depth_map(structure, scan, crystal)
    faults = _fault_table(structure, scan)
    if structure.kind != "cathode" or not structure.outline.faces:
        return ReconstructionProfile(empty_reconstruction(scan.shape).points, faults, depth)
    pairs = zip(structure.outline.faces, structure.layers, strict=True)
    tables = [_face_points(structure, scan, face, layer, i) for i, (face, layer) in enumerate(pairs)]
    points = pd.concat(tables, ignore_index=True)
    surfaces = {i: summarize(table) for i, table in enumerate(tables) if len(table)}
    return ReconstructionProfile(
        points=points,
        faults=faults,
        depth_nm=depth,
        summary=summarize(points) if len(points) else None,
        surfaces=surfaces,
    )


def depth_map(structure: Structure, scan: Scan, crystal: np.ndarray) -> np.ndarray:
    """(H, W) float32 depth along the mean normal of the face above, nm; NaN outside crystal or without a face."""
    if not structure.outline.faces:
        return np.full(scan.shape, np.nan, np.float32)
    y, x = scan.axes_nm()
    depth = np.max([face.depth_grid(y, x) for face in structure.outline.faces], axis=0)
    return np.where(crystal, np.maximum(depth, 0.0), np.nan).astype(np.float32)


def _face_points(structure: Structure, scan: Scan, face: Face, layer: Layer, number: int) -> pd.DataFrame:
    """One row a surface point in view."""
    normal = np.asarray(face.normal_yx)
    along = np.array([-normal[1], normal[0]])
    reach = scan.view.radius_nm
    s = np.arange(-reach, reach, POINT_SPACING_NM)
    start = (face.offset_nm + profile_at(face.height_nm, s))[:, None] * normal + s[:, None] * along
    depth = np.arange(0.0, 2 * reach, DEPTH_STEP_NM)
    in_view = _in_view(structure, scan, start[:, None, :] + depth[None, :, None] * normal)
    seen = np.flatnonzero(in_view[:, 0])
    s, start, in_view = s[seen], start[seen], in_view[seen]
    available = np.where(in_view.all(axis=1), depth[-1], depth[np.argmin(in_view, axis=1)])
    bulk = structure.lattices[0].antisite
    occupancy = _occupancy_along(face, layer, start, depth, bulk)
    mid = _deepest(occupancy >= MID_OCCUPANCY, depth)
    event = mid < available
    pixels = scan.to_pixels(start)
    front = profile_at(layer.thickness_nm, s)
    thickness = np.where(event, _refined(occupancy, depth, mid, front), available)
    table = {
        "surface_id": np.full(len(s), number),
        "s_nm": s,
        "y_px": pixels[:, 0],
        "x_px": pixels[:, 1],
        "normal_deg": np.full(len(s), np.rad2deg(np.arctan2(normal[0], normal[1]))),
        "facet_deg": np.full(len(s), face.facet_deg),
        "thickness_nm": thickness,
        "lower_nm": thickness,
        "upper_nm": np.where(event, thickness, np.inf),
        "t_50_nm": thickness,
        "t_rocksalt_nm": np.minimum(_deepest(occupancy >= ROCKSALT_OCCUPANCY, depth), available),
        "t_mix_nm": np.minimum(_deepest(occupancy >= bulk + MIX_EXCESS, depth), available),
        "front_width_nm": np.full(len(s), layer.width_nm if layer.exists else np.nan),
        "available_nm": available,
        "event": event.astype(int),
        "reason": np.where(event, "", _reason(structure)),
    }
    return pd.DataFrame(table)[list(PROFILE_FIELDS)]


def _reason(structure: Structure) -> str:
    """Why depths end; with a grain in view some end at the border all the same, which is not told apart."""
    return "unresolved_crystal" if structure.second == "grain" else "image_border"


def _in_view(structure: Structure, scan: Scan, yx_nm: np.ndarray) -> np.ndarray:
    """Bool for points of any leading shape: inside the image and not in a grain out of its zone."""
    pixels = scan.to_pixels(yx_nm.reshape(-1, 2))
    seen = np.all((pixels >= 0) & (pixels <= np.asarray(scan.shape) - 1.0), axis=1).reshape(yx_nm.shape[:-1])
    if structure.boundary is not None and structure.second == "grain":
        seen &= structure.boundary.side_nm(yx_nm[..., 0], yx_nm[..., 1]) < 0
    return np.asarray(seen)


def _occupancy_along(face: Face, layer: Layer, start: np.ndarray, depth: np.ndarray, bulk: float) -> np.ndarray:
    """(points, depths) mean occupancy below each surface point, islands left out."""
    normal = np.asarray(face.normal_yx)
    at = start[:, None, :] + depth[None, :, None] * normal
    return layer_occupancy(face, layer, at[..., 0], at[..., 1], islands=None, bulk=bulk)


def _deepest(inside: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(points,) largest depth at which a condition holds, 0 where it never does."""
    last = inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)
    return np.where(inside.any(axis=1), depth[last], 0.0)


def _refined(occupancy: np.ndarray, depth: np.ndarray, mid: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Depth of the crossing between two samples by linear interpolation; 0 where there is no layer."""
    below = np.minimum((mid / DEPTH_STEP_NM).round().astype(int), len(depth) - 2)
    rows = np.arange(len(mid))
    high, low = occupancy[rows, below], occupancy[rows, below + 1]
    share = np.clip((high - MID_OCCUPANCY) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    return np.where((front > 0) & (high >= MID_OCCUPANCY), depth[below] + share * DEPTH_STEP_NM, 0.0)


def summarize(points: pd.DataFrame) -> ThicknessSummary:
    """Exact statistics of the points; a lower bound alone when more than half of them are censored."""
    value, event = points["thickness_nm"].to_numpy(float), points["event"].to_numpy(int)
    censored_fraction = float(1.0 - event.mean())
    bound = float(np.median(value[event == 0])) if censored_fraction > 0 else None
    if censored_fraction > 0.5:
        thick = bound is not None and bound > THICK_ABOVE_NM
        return ThicknessSummary(
            mean_nm=None,
            median_nm=None,
            p05_nm=None,
            p95_nm=None,
            lower_nm=bound,
            upper_nm=None,
            censored=True,
            censored_fraction=censored_fraction,
            lower_bound_nm=bound,
            thickness_class="thick" if thick else None,
            class_probability={"thick": 1.0} if thick else {},
            n_points=len(value),
        )
    seen = value[event == 1]
    mean = float(seen.mean())
    name = thickness_class(mean)
    p05, median, p95 = (float(q) for q in np.quantile(seen, [0.05, 0.5, 0.95]))
    return ThicknessSummary(
        mean_nm=mean,
        median_nm=median,
        p05_nm=p05,
        p95_nm=p95,
        lower_nm=mean,
        upper_nm=mean,
        censored=False,
        censored_fraction=censored_fraction,
        lower_bound_nm=bound,
        thickness_class=name,
        class_probability={name: 1.0},
        n_points=len(value),
    )


def thickness_class(mean_nm: float) -> ThicknessClass:
    """Class of a mean: thin below 5 nm, thick above 20 nm, intermediate between (Zhang et al., Nano Lett. 2022)."""
    if mean_nm < THIN_BELOW_NM:
        return "thin"
    return "thick" if mean_nm > THICK_ABOVE_NM else "intermediate"


def _fault_table(structure: Structure, scan: Scan) -> pd.DataFrame:
    """The visible part of each O1 fault."""
    if not structure.faults:
        return empty_reconstruction((1, 1)).faults
    lattice, rows = structure.lattices[0], []
    u = np.arange(-scan.view.radius_nm, scan.view.radius_nm, DEPTH_STEP_NM)
    for number, fault in enumerate(structure.faults):
        row = np.full(len(u), fault.row)
        across = row + opened(structure.faults, u, row, lattice.row_nm) / lattice.row_nm
        yx = lattice.frame.to_yx(u, across)
        yx = yx + expanded(structure.outline, structure.layers, lattice.frame, lattice.period_nm, yx)
        inside = (u > fault.u_nm[0]) & (u < fault.u_nm[1]) & _in_view(structure, scan, yx)
        if structure.outline.faces:
            depth = structure.outline.depths(yx[:, 0], yx[:, 1]).max(axis=0)
            inside &= depth > 0
        if not inside.any():
            continue
        part = np.flatnonzero(inside)
        centre = scan.to_pixels(yx[part[len(part) // 2]][None])[0]
        ends = sum(fault.u_nm[0] < u[i] - DEPTH_STEP_NM < u[i] + DEPTH_STEP_NM < fault.u_nm[1] for i in part[[0, -1]])
        rows.append(
            {
                "fault_id": number,
                "row_lower": fault.row - 1,
                "row_upper": fault.row + 1,
                "y_px": centre[0],
                "x_px": centre[1],
                "length_nm": len(part) * DEPTH_STEP_NM,
                "ends_in_view": 2 - int(ends),
                "surface_distance_nm": float(depth[part].min()) if structure.outline.faces else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=list(FAULT_FIELDS))
