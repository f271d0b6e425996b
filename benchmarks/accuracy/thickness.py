"""Thickness of simulated reconstruction layers against their truth: bias, intervals, censoring, classes.

    python benchmarks/accuracy/thickness.py [--scenes 240] [--seed 0] [--quick] [--from-truth] [--model NAME|PATH]

Scenes are edges and cracks with layers of 0 to 40 nm (`thickness_scenes.BANDS` in turn), over dose, pixel size, front
width, roughness, patchiness, covers, faults and scan errors. ``--from-truth`` gives the measuring stage the true phases
instead of those of the mapped image: what is left are its own errors.

- A found surface belongs to the true face that its points are nearest to; ``edge`` is how far it lies outside it.
- ``error`` is mean measured less mean true thickness of surfaces that are censored neither in truth nor as found, over
  the stretch that both see.
- ``covered``: the true mean lies in the interval; by point: the true depth does.
- ``point_recall``, of right-censoring: points whose layer truly ends more than half a nm beyond what they see, found censored;
  ``point_precision``: points found censored that truly see less than half a nm of bulk.
- Resumable: each scene is written as it is done (``--part``), and the same command goes on where it stopped.

About 7 s a scene on one core, 0.5 s with ``--from-truth`` (--quick: 18 scenes, nothing written).
Writes benchmarks/results/thickness.csv and .json (thickness_from_truth.* with ``--from-truth``).
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import REPOSITORY, RESULTS, commit, write_json
from thickness_scenes import BANDS, Drawn, draw

from atomseg import map_micrograph
from atomseg.config import MapConfig
from atomseg.measure import measure
from atomseg.networks import Model, load_model
from atomseg.types import ReconstructionProfile

QUICK_SCENES = 18
# A surface further than this from every true face is none.
NEAR_NM = 1.5
# A ray that sees less than this of the bulk can not tell whether the layer goes on: half a nm, the detection limit.
CLEAR_NM = 0.5


def profile_of(drawn: Drawn, model: Model | None) -> ReconstructionProfile:
    """What is measured: on the true phases when there is no model."""
    micrograph = drawn.scene.micrograph
    if model is None:
        return measure(drawn.scene.phases, micrograph.calibration, MapConfig().measure, micrograph=micrograph)
    return map_micrograph(micrograph, model=model).thickness


def compare(drawn: Drawn, profile: ReconstructionProfile) -> list[dict[str, Any]]:
    """One row a true face in view, and one a surface found where there is none."""
    pixel = np.asarray(drawn.scene.micrograph.calibration.pixel_size_nm)
    found = profile.points
    faces = [face for face in drawn.faces if len(face) >= 8]
    rows: list[dict[str, Any]] = []
    owner: dict[int, int] = {}
    if faces and len(found):
        at = found[["y_px", "x_px"]].to_numpy(dtype=float) * pixel
        gap = np.stack([cKDTree(face[["y_px", "x_px"]].to_numpy(dtype=float) * pixel).query(at)[0] for face in faces])
        for surface in found["surface_id"].unique():
            mine = (found["surface_id"] == surface).to_numpy()
            nearest = np.median(gap[:, mine], axis=1)
            owner[int(surface)] = int(nearest.argmin()) if nearest.min() < NEAR_NM else -1
    for k, face in enumerate(faces):
        surfaces = [s for s, o in owner.items() if o == k and s in profile.surfaces]
        rows.append(_face_row(face, profile, surfaces, pixel))
    false = [s for s, o in owner.items() if o == -1 and s in profile.surfaces]
    rows += [{"false_surface": True, "n_points": profile.surfaces[s].n_points} for s in false]
    return rows


def _face_row(
    face: pd.DataFrame, profile: ReconstructionProfile, surfaces: list[int], pixel: np.ndarray
) -> dict[str, Any]:
    """One true face against the longest surface found along it."""
    censored = (face["available_nm"] - face["full_nm"]).to_numpy(dtype=float) < 0
    row: dict[str, Any] = {
        "false_surface": False,
        "true_nm": float(face["full_nm"].mean()),
        "true_censored": bool(censored.mean() > 0.5),
        "length_nm": 0.25 * len(face),
        "found": bool(surfaces),
    }
    if not surfaces:
        return row
    surface = max(surfaces, key=lambda s: profile.surfaces[s].n_points)
    summary = profile.surfaces[surface]
    points = profile.points[profile.points["surface_id"] == surface].reset_index(drop=True)
    points = points[points["available_nm"] >= MapConfig().measure.detection_limit_nm]
    at = points[["y_px", "x_px"]].to_numpy(dtype=float) * pixel
    there = face[["y_px", "x_px"]].to_numpy(dtype=float) * pixel
    nearest = cKDTree(there).query(at)[1]
    true = face.iloc[nearest].reset_index(drop=True)
    row |= {
        "true_nm": float(true["full_nm"].mean()),
        "true_censored": bool((true["available_nm"] < true["full_nm"]).mean() > 0.5),
        "mean_nm": summary.mean_nm,
        "lower_nm": summary.lower_nm,
        "upper_nm": summary.upper_nm,
        "censored": summary.censored,
        "bound_nm": summary.lower_bound_nm,
        "class": summary.thickness_class,
        "n_points": summary.n_points,
    }
    return row | _point_scores(points, true, at, there[nearest])


def _point_scores(points: pd.DataFrame, true: pd.DataFrame, at: np.ndarray, there: np.ndarray) -> dict[str, Any]:
    """Sums over the points of one surface."""
    angle = np.deg2rad(true["normal_deg"].to_numpy(dtype=float))
    outside = -((at - there) * np.stack([np.sin(angle), np.cos(angle)], axis=1)).sum(axis=1)
    event, full = points["event"].to_numpy(dtype=int) == 1, true["full_nm"].to_numpy(dtype=float)
    # Depth that is truly in view: what both the true and the measured ray can see, whichever is less.
    seen = np.minimum(true["available_nm"].to_numpy(dtype=float), points["available_nm"].to_numpy(dtype=float))
    both = event & (full < seen)
    value = points["thickness_nm"].to_numpy(dtype=float)
    low, high = points["lower_nm"].to_numpy(dtype=float), points["upper_nm"].to_numpy(dtype=float)
    error = (value - full)[both]
    clear = full > seen + CLEAR_NM
    return {
        "edge_nm": float(outside.mean()),
        "edge_std_nm": float(outside.std()),
        "n_both": int(both.sum()),
        "error_sum": float(error.sum()),
        "error_sq": float((error**2).sum()),
        "n_inside": int(((low <= full) & (full <= high))[both].sum()),
        "n_clear": int(clear.sum()),
        "n_clear_found": int((clear & ~event).sum()),
        "n_called": int((~event).sum()),
        "n_called_right": int((~event & (full > seen - CLEAR_NM)).sum()),
    }


def score(table: pd.DataFrame) -> dict[str, float]:
    """Numbers of some faces together."""
    faces = table[~table["false_surface"].astype(bool)]
    found = faces[faces["found"].astype(bool)]
    both = found[~found["true_censored"].astype(bool) & ~found["censored"].astype(bool)]
    error = (both["mean_nm"] - both["true_nm"]).to_numpy(dtype=float)
    truly, called = found["true_censored"].astype(bool), found["censored"].astype(bool)
    low, high, true = (both[name].to_numpy(dtype=float) for name in ("lower_nm", "upper_nm", "true_nm"))
    name = pd.cut(faces["true_nm"].astype(float), [-1.0, 5.0, 20.0, 1e3], labels=["thin", "intermediate", "thick"])
    decided = both["class"].notna()
    right = both["class"].astype(object) == name.loc[both.index].astype(object)
    n = max(1, int(found["n_both"].sum()))
    return {
        "faces": len(faces),
        "found": float(faces["found"].astype(bool).mean()),
        "measured": len(both),
        "bias_nm": float(error.mean()) if len(error) else np.nan,
        "median_abs_nm": float(np.median(np.abs(error))) if len(error) else np.nan,
        "rmse_nm": float(np.sqrt((error**2).mean())) if len(error) else np.nan,
        "worst_nm": float(np.abs(error).max()) if len(error) else np.nan,
        "covered": float(((low <= true) & (true <= high)).mean()) if len(error) else np.nan,
        "class_right": float(right[decided].mean()) if decided.any() else np.nan,
        "censored_recall": float(called[truly].mean()) if truly.any() else np.nan,
        "censored_precision": float(truly[called].mean()) if called.any() else np.nan,
        "point_bias_nm": float(found["error_sum"].sum() / n),
        "point_rmse_nm": float(np.sqrt(found["error_sq"].sum() / n)),
        "point_covered": float(found["n_inside"].sum() / n),
        "point_recall": float(found["n_clear_found"].sum() / max(1, found["n_clear"].sum())),
        "point_precision": float(found["n_called_right"].sum() / max(1, found["n_called"].sum())),
        "edge_nm": float(found["edge_nm"].mean()),
    }


def groups(table: pd.DataFrame) -> pd.DataFrame:
    """Scores of everything, by depth of the layer, and by condition."""
    kept: dict[str, Mapping[str, float]] = {"all": score(table)}
    true = table["true_nm"].astype(float)
    for low, high in ((-1.0, 0.05), (0.05, 0.8), (0.8, 2), (2, 4), (4, 6), (6, 11), (11, 18), (18, 22), (22, 99)):
        part = table[(true > low) & (true <= high)]
        if len(part):
            kept["no layer" if low < 0 else f"{low:g}-{high:g} nm"] = score(part)
    conditions = {
        "edge": table["surface"] == "edge",
        "crack": table["surface"] == "crack",
        "patchy": table["patchy"].astype(bool),
        "not patchy": ~table["patchy"].astype(bool),
        "bright cover": (table["cover_nm"] > 0) & (table["cover_level"] >= 0.3),
        "no cover": table["cover_nm"] == 0,
        "below 1000 counts": table["counts"] < 1e3,
        "1000 counts or more": table["counts"] >= 1e3,
        "pixels below 20 pm": table["pixel_pm"] < 20,
        "front above 1 nm": table["front_nm"] > 1,
    }
    kept |= {name: score(table[mask]) for name, mask in conditions.items() if mask.any()}
    return pd.DataFrame(kept).T


def run(arguments: argparse.Namespace, model: Model | None, part: Path) -> pd.DataFrame:
    """Rows of all scenes, those of an earlier run of the same code among them."""
    key = [arguments.seed, commit(), None if model is None else model.sha256]
    rows = [row for row in map(json.loads, part.read_text().splitlines()) if row["key"] == key] if part.exists() else []
    done = {row["scene"] for row in rows}
    part.parent.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.first, arguments.first + arguments.scenes):
        if number in done:
            continue
        drawn = draw(number, arguments.seed)
        started = time.perf_counter()
        profile = profile_of(drawn, model)
        told = {"key": key, "scene": number, "seconds": round(time.perf_counter() - started, 2), **drawn.conditions}
        new = [{**told, **row} for row in compare(drawn, profile)]
        with part.open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in new)
        rows += new
        for row in new:
            names = ("true_nm", "mean_nm", "lower_nm", "upper_nm", "bound_nm", "edge_nm")
            shown = {k: round(row[k], 2) for k in names if row.get(k) is not None}
            print(number, drawn.conditions["surface"], "patchy" if drawn.conditions["patchy"] else "", shown, flush=True)
    return pd.DataFrame(rows).drop(columns="key")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SCENES} scenes; nothing is written")
    parser.add_argument("--from-truth", action="store_true", help="measure the true phases; no network")
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--part", type=Path, default=None, help="file that holds the scenes done so far")
    arguments = parser.parse_args()
    name = "thickness_from_truth" if arguments.from_truth else "thickness"
    if arguments.quick:
        arguments.scenes = QUICK_SCENES
    model = None if arguments.from_truth else load_model(arguments.model)
    table = run(arguments, model, arguments.part or REPOSITORY / ".cache" / f"{name}.jsonl")
    scores = groups(table)
    print(scores.T.round(3).to_string())
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / f"{name}.csv", index=False)
        plain = scores.round(4).reset_index(names="group").astype(object)
        rows = plain.where(plain.notna(), None).to_dict("records")
        kept = {"model": None if model is None else model.card.id, "scenes": int(table["scene"].nunique())}
        write_json(name, {**kept, "bands_nm": BANDS, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
