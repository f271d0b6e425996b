"""Micrographs assembled from multislice cells after a plan, and their truth."""

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mosaic_plans import FACE_STEP_NM, STACK_BLEND_NM, Plan, Stack
from multislice_images import CellImage, load

from atomseg.types import (
    Calibration,
    CalibrationOrigin,
    Columns,
    Micrograph,
    Phase,
    PhaseMap,
    ReconstructionProfile,
    Scene,
    ThicknessSummary,
)
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS

# Cells are read off a grid this fine in lattice coordinates, (across, along): 5 pm.
FINE = (96, 48)
O3 = ("O3_x0_200kV", "O3_x25_200kV", "rocksalt_200kV")
OCCUPANCIES = (0.0, 0.25, 1.0)
O1 = "O1_x0_200kV"
# Two gaps meet on a metal row, within this share of a layer; columns end at so many nm.
ROW_BLEND, OUTLINE_NM = 0.1, 0.03
# Sites of two stacks closer than this are one, nm.
SAME_SITE_NM = 0.03
# Atoms in a column that scatter its occupancy, a nm of foil: one in a hexagonal a.
ATOMS_PER_NM = 3.5


@lru_cache(maxsize=1)
def _cells() -> dict[str, CellImage]:
    return load()


def _table(name: str, blur: float) -> np.ndarray:
    """(T, nv, nu) blurred image of a cell on the fine grid of its lattice coordinates."""
    cell = _cells()[name]
    v, u = np.meshgrid(np.arange(FINE[0]) / FINE[0], np.arange(FINE[1]) / FINE[1], indexing="ij")
    return cell.at((u + cell.case.shift * v) * cell.case.column_nm, v * cell.case.layer_nm, blur)


def _read(table: np.ndarray, u: np.ndarray, v: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """A cell's image at lattice coordinates and thicknesses (as indices of the exit planes)."""
    at = [thickness, (v % 1.0) * FINE[0], (u % 1.0) * FINE[1]]
    wrapped = np.concatenate([table, table[:, :1]], axis=1)
    wrapped = np.concatenate([wrapped, wrapped[:, :, :1]], axis=2)
    return np.asarray(map_coordinates(wrapped, at, order=1, mode="nearest"))


def _sites(plan: Plan, beyond_nm: float = 0.0) -> pd.DataFrame:
    """Metal and interlayer sites of all stacks and so far beyond their ends, `present` where the crystal is."""
    reach = 1.45 * plan.field_nm / plan.column + 4
    columns = np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    rows = []
    for k, stack in enumerate(plan.stacks):
        for j in range(len(stack.o1)):
            layer = plan.first + j
            for species, more, up in (("TM", 0.0, 0.0), ("Li", 0.0 if stack.o1[j] else 2 / 3, 0.5)):
                along = columns + (stack.offset[j] + more) % 1.0
                rows.append(
                    pd.DataFrame({"along": along, "across": layer + up, "species": species, "stack": k, "gap": j})
                )
    table = pd.concat(rows, ignore_index=True)
    over, ends = beyond_nm / plan.column, np.array([-np.inf, *plan.ends, np.inf])
    begin, end = ends[table["stack"]], ends[table["stack"] + 1]
    mine = (table["along"] > begin - over) & (table["along"] <= end + over)
    yx = plan.place(table["along"].to_numpy(), table["across"].to_numpy())
    table = table.assign(y=yx[:, 0], x=yx[:, 1], present=plan.inside(yx) > 0)
    near = np.all((yx > -1.0) & (yx < plan.field_nm + 1.0), axis=1)
    return table[mine & near].reset_index(drop=True)


def make(plan: Plan) -> Scene:
    """The micrograph and its truth."""
    rng = np.random.default_rng(plan.seed)
    sites = _sites(plan)
    at = sites[["y", "x"]].to_numpy()
    thickness = _thickness(plan, at)
    mean = plan.occupancy(at)
    metal = (sites["species"] == "TM").to_numpy()
    atoms = np.maximum(ATOMS_PER_NM * thickness, 4).astype(int)
    drawn = rng.binomial(atoms, np.clip(mean, 0, 1)) / atoms
    sites = sites.assign(occupancy=np.where(metal, 1.0, drawn))
    light, yx, solid = _light(plan, sites, rng)
    micrograph = _exposed(plan, light, solid, rng)
    labels = _labels(plan, yx, solid)
    nothing = np.full(labels.shape, np.nan, np.float32)
    phases = PhaseMap(labels, np.ones_like(nothing), nothing, pd.DataFrame(columns=list(PHASE_FIELDS)), pd.DataFrame())
    return Scene(
        micrograph, _columns(plan, _with_faded(plan, sites)), phases, _thickness_truth(plan), labels > 0, _told(plan)
    )


def _with_faded(plan: Plan, sites: pd.DataFrame) -> pd.DataFrame:
    """The sites and, where stacks fade into each other, those of the other stack: columns of both are seen there."""
    more = _sites(plan, 2 * STACK_BLEND_NM)
    place = more[["y", "x"]].to_numpy()
    more = more[cKDTree(sites[["y", "x"]].to_numpy()).query(place)[0] > SAME_SITE_NM]
    metal = more["species"] == "TM"
    more = more.assign(occupancy=np.where(metal, 1.0, plan.occupancy(more[["y", "x"]].to_numpy())))
    return pd.concat([sites, more], ignore_index=True)


def _thickness(plan: Plan, yx: np.ndarray) -> np.ndarray:
    """Foil thickness, nm: a wedge from the edge on."""
    edge, most, slope = plan.foil
    return np.clip(edge + slope * np.maximum(plan.inside(yx), 0.0), 2.0, most)


def _bent(plan: Plan, y: np.ndarray) -> np.ndarray:
    """Slow drift along x by height in the image, nm."""
    return plan.bend[0] * np.sin(2 * np.pi * y / plan.field_nm + plan.bend[1])


def _light(plan: Plan, sites: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) fraction of the beam, (H, W, 2) place of each pixel without jitter, (H, W) bool crystal."""
    n = plan.side
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1) * plan.pixel
    still = grid.copy()
    still[..., 1] -= _bent(plan, grid[..., 0])
    seen = still.copy()
    seen[..., 0] += rng.normal(0.0, plan.jitter[0], n)[:, None]
    seen[..., 1] += rng.normal(0.0, plan.jitter[1], n)[:, None]
    solid = _solid(plan, seen, sites)
    gaps = sites[(sites["species"] == "Li") & sites["present"]]
    nearest = cKDTree(gaps[["y", "x"]].to_numpy()).query(seen.reshape(-1, 2), workers=2)[1]
    x = gaps["occupancy"].to_numpy()[nearest].reshape(n, n)
    x = gaussian_filter(x, OUTLINE_NM / plan.pixel)
    planes = _cells()[O1].thickness_nm
    thickness = np.interp(_thickness(plan, seen), planes, np.arange(len(planes)))
    along, across = plan.lattice(seen)
    light = np.zeros((n, n))
    tables = {name: _table(name, plan.blur) for name in (*O3, O1)}
    for share, stack in zip(plan.stack_shares(along), plan.stacks, strict=True):
        light += share * _stack_light(plan, stack, tables, along, across, x, thickness)
    return light * gaussian_filter(solid.astype(float), OUTLINE_NM / plan.pixel), still, solid


def _solid(plan: Plan, yx: np.ndarray, sites: pd.DataFrame) -> np.ndarray:
    """(H, W) bool: the nearest site is a column of the crystal."""
    deep = plan.inside(yx)
    solid = deep > 0
    close = np.abs(deep) < 0.5
    if close.any():
        nearest = cKDTree(sites[["y", "x"]].to_numpy()).query(yx[close])[1]
        solid[close] = sites["present"].to_numpy()[nearest]
    return solid


def _stack_light(  # noqa: PLR0917
    plan: Plan,
    stack: Stack,
    tables: dict[str, np.ndarray],
    along: np.ndarray,
    across: np.ndarray,
    x: np.ndarray,
    thickness: np.ndarray,
) -> np.ndarray:
    """Light of one stacking: each gap's cell, two of them blended on the metal row between."""
    row = np.floor(across).astype(int)
    v = across - row
    light = np.zeros_like(along)
    for move, share in (
        (0, np.clip(0.5 + 0.5 * v / ROW_BLEND, 0, 1) * np.clip(0.5 + 0.5 * (1 - v) / ROW_BLEND, 0, 1)),
        (-1, np.clip(0.5 - 0.5 * v / ROW_BLEND, 0, 1)),
        (1, np.clip(0.5 - 0.5 * (1 - v) / ROW_BLEND, 0, 1)),
    ):
        here = share > 0
        index = np.clip(row[here] + move - plan.first, 0, len(stack.o1) - 1)
        up = v[here] - move
        from_metal = along[here] - stack.offset[index]
        value = np.zeros(len(index))
        for o1 in (False, True):
            some = stack.o1[index] == o1
            if some.any():
                value[some] = _gap_light(
                    tables, from_metal[some], up[some], x[here][some], thickness[here][some], o1=o1
                )
        light[here] += share[here] * value
    return light


def _gap_light(
    tables: dict[str, np.ndarray], along: np.ndarray, up: np.ndarray, x: np.ndarray, thickness: np.ndarray, *, o1: bool
) -> np.ndarray:
    """Light in a gap, from its lower layer's metal column, by the occupancy of its interlayer sites."""
    if not o1:
        images = [_read(tables[name], along - up / 3, up, thickness) for name in O3]
        lower = np.clip(x / OCCUPANCIES[1], 0, 1)
        upper = np.clip((x - OCCUPANCIES[1]) / (OCCUPANCIES[2] - OCCUPANCIES[1]), 0, 1)
        return np.asarray(images[0] + lower * (images[1] - images[0]) + upper * (images[2] - images[1]))
    # No O1 cell with metal in its gaps was calculated: what it adds is taken from O3, around the site.
    empty, full = (_read(tables[name], along + 2 / 3 - up / 3, up, thickness) for name in (O3[0], O3[2]))
    away = np.hypot((along - np.round(along)) * 0.249, (up - 0.5) * 0.473)
    return np.asarray(_read(tables[O1], along, up, thickness) + x * (full - empty) * np.exp(-((away / 0.12) ** 2)))


def _exposed(plan: Plan, light: np.ndarray, solid: np.ndarray, rng: np.random.Generator) -> Micrograph:
    """Film, background, counts, read noise and 16 bits."""
    metal = _table(O3[0], plan.blur)[:, 0, 0]
    planes = _cells()[O1].thickness_nm
    peak = float(np.interp(plan.foil[1], planes, metal))
    speckle = gaussian_filter(rng.normal(size=light.shape), 0.06 / plan.pixel)
    film = plan.film * np.clip(1.0 + 0.25 * speckle / speckle.std(), 0, None) * peak
    # It covers the crystal thinly too, and ends somewhere outside.
    film = film * np.where(solid, 0.4, 1.0)
    column = 2 * np.pi * (plan.blur**2 + 0.035**2) / plan.pixel**2
    rate = plan.counts / column * (light + film + plan.background * peak) / peak
    counts = rng.poisson(np.maximum(rate, 0.0)) + rng.normal(0.0, 0.3, light.shape)
    gain = 20000.0 / max(float(np.quantile(counts, 0.999)), 1.0)
    image = np.clip(np.round(counts * gain + 500.0), 0, 65535)
    return Micrograph(image.astype(np.float32), Calibration((plan.pixel, plan.pixel), CalibrationOrigin.USER))


def _labels(plan: Plan, yx: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """(H, W) uint8 true phases."""
    along, across = plan.lattice(yx)
    row = np.floor(across).astype(int) - plan.first
    stack = np.searchsorted(plan.ends, along)
    o1 = np.stack([s.o1 for s in plan.stacks])[stack, np.clip(row, 0, len(plan.stacks[0].o1) - 1)]
    labels = np.where(plan.occupancy(yx) >= 0.5, int(Phase.ROCKSALT), int(Phase.LAYERED))
    # Filled with metal, a gap without shift is still none of rocksalt's.
    labels = np.where(o1, int(Phase.O1), labels)
    return np.where(solid, labels, 0).astype(np.uint8)


def _columns(plan: Plan, sites: pd.DataFrame) -> Columns:
    """True columns; those that must be found are at least half metal."""
    sites = sites[sites["present"]]
    y, x = sites["y"].to_numpy(), sites["x"].to_numpy()
    x = x + _bent(plan, y)
    edge = plan.field_nm - plan.pixel
    # Jitter can bring a column into view that stands a little outside.
    view = (y >= -0.1) & (x >= -0.1) & (y <= edge + 0.1) & (x <= edge + 0.1)
    margin = (y > 0.1) & (x > 0.1) & (y < edge - 0.1) & (x < edge - 0.1)
    metal = (sites["species"] == "TM").to_numpy()
    along = sites["along"].to_numpy()
    fading = np.zeros(len(sites), dtype=bool)
    for end in plan.ends:
        fading |= np.abs(along - end) * plan.column < 2 * STACK_BLEND_NM
    x_site = sites["occupancy"].to_numpy()
    table = pd.DataFrame(
        {
            "id": np.arange(len(sites)),
            "y_px": y / plan.pixel,
            "x_px": x / plan.pixel,
            "y_nm": y,
            "x_nm": x,
            "species": np.where(metal, "TM", np.where(x_site > 0.02, "mixed", "Li")),
            "occupancy": x_site,
            "required": margin & ~fading & (metal | (x_site >= 0.5)),
            "amplitude": x_site,
            "fwhm_major_nm": 0.1,
            "fwhm_minor_nm": 0.1,
            "probability": 1.0,
            **dict.fromkeys(("sigma_y_pm", "sigma_x_pm", "background", "theta_deg", "flags"), 0.0),
        }
    )
    table = table[view].reset_index(drop=True)
    return Columns(table.assign(id=np.arange(len(table))))


def faces_truth(plan: Plan) -> list[dict[str, float]]:
    """True mean depth of each face in view, its length in view, and the share of it whose front is out of view."""
    if plan.kind == "bulk":
        return []
    told = []
    n = len(plan.rough[0])
    along = (np.arange(n) - n // 2) * FACE_STEP_NM
    tangent = np.array([-plan.normal[1], plan.normal[0]])
    base = plan.origin + ((0.5 * plan.field_nm - plan.origin) @ tangent) * tangent
    for face, (rough, depth) in enumerate(zip(plan.rough, plan.depth, strict=True)):
        inward = plan.normal * (1 if face == 0 else -1)
        edge = base + along[:, None] * tangent + (0.5 * plan.gap + rough)[:, None] * inward
        front = edge + depth[:, None] * inward
        seen, ends = (np.all((p > 0) & (p < plan.field_nm), axis=1) for p in (edge, front))
        if seen.sum() * FACE_STEP_NM < 2.0:
            continue
        told.append(
            {
                "face": face,
                "length_nm": float(seen.sum() * FACE_STEP_NM),
                "true_nm": float(depth[seen].mean()),
                "hidden": float((~ends[seen]).mean()),
            }
        )
    return told


def _thickness_truth(plan: Plan) -> ReconstructionProfile:
    """Mean over the faces in view."""
    faces = faces_truth(plan)
    points, faults = pd.DataFrame(columns=list(PROFILE_FIELDS)), pd.DataFrame(columns=list(FAULT_FIELDS))
    summary = None
    if faces:
        weight = np.array([f["length_nm"] for f in faces])
        mean = float(np.average([f["true_nm"] for f in faces], weights=weight))
        hidden = float(np.average([f["hidden"] for f in faces], weights=weight))
        name = "thin" if mean < 5 else "intermediate" if mean <= 20 else "thick"
        nothing = dict.fromkeys(("median_nm", "p05_nm", "p95_nm", "lower_nm", "upper_nm", "lower_bound_nm"))
        summary = ThicknessSummary(
            mean_nm=mean,
            censored=hidden > 0.5,
            censored_fraction=hidden,
            thickness_class=name,  # type: ignore[arg-type]
            class_probability={},
            n_points=0,
            **nothing,
        )
    return ReconstructionProfile(points, faults, np.full((plan.side, plan.side), np.nan, np.float32), summary)


def _told(plan: Plan) -> dict[str, object]:
    """What the scene is, in words and numbers."""
    return {
        "kind": plan.kind,
        "layer_nm": plan.layer_nm,
        "patchy": plan.patches is not None,
        "pixel_pm": 1e3 * plan.pixel,
        "field_nm": plan.field_nm,
        "counts": plan.counts,
        "film": plan.film,
        "thickest_nm": plan.foil[1],
        "edge_thickness_nm": plan.foil[0],
        "front_nm": plan.front,
        "bulk": plan.bulk,
        "stacks": len(plan.stacks),
        "o1_gaps": int(sum(s.o1.sum() for s in plan.stacks)),
    }
