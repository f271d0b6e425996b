"""Thickness of simulated reconstruction layers against their truth: bias, intervals, censoring, classes.

    python benchmarks/accuracy/thickness.py [--scenes 240] [--seed 0] [--quick] [--from-truth] [--model NAME|PATH]

Scenes are edges and cracks with layers of 0 to 40 nm (`thickness_scenes.BANDS` in turn), over dose, pixel size, front
width, roughness, patchiness, covers, faults and scan errors. ``--from-truth`` gives the measuring stage the true phases
instead of those of the mapped image: what is left are its own errors.

- The truth is the specimen's along the measured normals, from the true edge to where the mean occupancy last crosses
  one half, in nm of the specimen: unknown drift and shear count as errors. ``edge`` is how far outside the true edge a
  surface was found.
- Errors are mean measured less mean true thickness of surfaces that are censored neither in truth nor as found.
- ``covered``: the true mean lies in the interval; by point: the true depth does.
- ``point_recall``, of right-censoring: points whose layer truly ends over half a nm beyond their view, found censored;
  ``point_precision``: points found censored that truly see less than half a nm of bulk.
- ``cover_...``: overlayers that were measured (no bounds) on outer surfaces with a cover of at least 1 nm and 0.15 of
  a column's peak, fainter ones are not told from the background; ``bare_told_bare`` of those without one.
- Resumable: each scene is written as it is done (``--part``), and the same command goes on where it stopped.

About 7 s a scene on one core, 0.5 s with ``--from-truth`` (--quick: 18 scenes, nothing written).
Writes benchmarks/results/thickness.csv and .json (thickness_from_truth.* with ``--from-truth``).
"""

import argparse
import hashlib
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

from record import REPOSITORY, RESULTS, write_json
from thickness_scenes import BANDS, Drawn, draw, true_depths

from atomseg import map_micrograph
from atomseg.config import MapConfig
from atomseg.measure import measure
from atomseg.networks import Model, load_model
from atomseg.types import ReconstructionProfile

QUICK_SCENES = 18
# Spacing of the points in the truth's table.
TRUE_SPACING_NM = 0.25
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
    pixel = np.asarray(drawn.scan.pixel_size_nm)
    found = profile.points
    faces = {k: drawn.face(k) for k in range(len(drawn.structure.outline.faces))}
    faces = {k: at for k, at in faces.items() if len(at) * TRUE_SPACING_NM >= MapConfig().measure.shortest_surface_nm}
    owner: dict[int, int] = {}
    at = found[["y_px", "x_px"]].to_numpy(dtype=float) * pixel
    for surface in profile.surfaces:
        mine = at[(found["surface_id"] == surface).to_numpy()]
        gap = {k: float(np.median(cKDTree(face).query(mine)[0])) for k, face in faces.items()}
        nearest = min(gap, key=lambda k: gap[k]) if gap else -1
        owner[surface] = nearest if gap and gap[nearest] < NEAR_NM else -1
    rows = []
    for k, face in faces.items():
        mine = [s for s, o in owner.items() if o == k]
        row = {"false_surface": False, "face": k, "length_nm": TRUE_SPACING_NM * len(face), "found": bool(mine)}
        if mine:
            longest = max(mine, key=lambda s: profile.surfaces[s].n_points)
            row |= _face_row(drawn, k, profile, longest)
        else:
            truth = drawn.scene.reconstruction.points
            row["true_nm"] = float(truth["thickness_nm"][truth["surface_id"] == k].mean())
        rows.append(row)
    false = [s for s, o in owner.items() if o == -1]
    return rows + [{"false_surface": True, "n_points": profile.surfaces[s].n_points} for s in false]


def _face_row(drawn: Drawn, face: int, profile: ReconstructionProfile, surface: int) -> dict[str, Any]:
    """One true face against the longest surface found along it: the truth is that along the measured normals."""
    summary = profile.surfaces[surface]
    points = profile.points[profile.points["surface_id"] == surface]
    points = points[points["available_nm"] >= MapConfig().measure.detection_limit_nm].reset_index(drop=True)
    angle = np.deg2rad(points["normal_deg"].to_numpy(dtype=float))
    normal = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    full, outside, border = true_depths(drawn, face, points[["y_px", "x_px"]].to_numpy(dtype=float), normal)
    meets = np.isfinite(outside)
    row = {
        "true_nm": float(full.mean()),
        "true_censored": bool((full > border).mean() > 0.5),
        "mean_nm": summary.mean_nm,
        "lower_nm": summary.lower_nm,
        "upper_nm": summary.upper_nm,
        "censored": summary.censored,
        "bound_nm": summary.lower_bound_nm,
        "class": summary.thickness_class,
        "n_points": summary.n_points,
        "kind_right": summary.surface_kind == ("outer" if drawn.conditions["surface"] == "edge" else "crack"),
        "overlayer_nm": summary.overlayer_nm,
        "overlayer_bound_nm": summary.overlayer_lower_bound_nm,
        "edge_nm": float(outside[meets].mean()) if meets.any() else np.nan,
        "edge_std_nm": float(outside[meets].std()) if meets.any() else np.nan,
    }
    return row | _point_scores(points[meets], full[meets], border[meets])


def _point_scores(points: pd.DataFrame, full: np.ndarray, border: np.ndarray) -> dict[str, Any]:
    """Sums over the points of one surface."""
    event = points["event"].to_numpy(dtype=int) == 1
    both = event & (full < border)
    value, low, high = (points[name].to_numpy(dtype=float) for name in ("thickness_nm", "lower_nm", "upper_nm"))
    error = (value - full)[both]
    clear = full > border + CLEAR_NM
    return {
        "n_both": int(both.sum()),
        "error_sum": float(error.sum()),
        "error_sq": float((error**2).sum()),
        "n_inside": int(((low <= full) & (full <= high))[both].sum()),
        "n_clear": int(clear.sum()),
        "n_clear_found": int((clear & ~event).sum()),
        "n_called": int((~event).sum()),
        "n_called_right": int((~event & (full > border - CLEAR_NM)).sum()),
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
        "point_recall": _share(found["n_clear_found"], found["n_clear"]),
        "point_precision": _share(found["n_called_right"], found["n_called"]),
        "edge_nm": float(found["edge_nm"].mean()),
        "kind_right": float(found["kind_right"].astype(bool).mean()) if len(found) else np.nan,
        **_cover_scores(found[found["surface"] == "edge"]),
    }


def _cover_scores(outer: pd.DataFrame) -> dict[str, float]:
    """Overlayers of outer surfaces (those of a crack's two faces overlap): covers of at least 1 nm, and bare ones."""
    told = outer[outer["overlayer_nm"].notna()]
    bright = (told["cover_nm"] >= 1.0) & (told["cover_level"] >= 0.15)
    bare = told["cover_nm"] == 0
    error = (told["overlayer_nm"] - told["cover_nm"])[bright].to_numpy(dtype=float)
    return {
        "covers_measured": len(error),
        "cover_median_abs_nm": float(np.median(np.abs(error))) if len(error) else np.nan,
        "cover_within_1nm": float((np.abs(error) < 1.0).mean()) if len(error) else np.nan,
        "bare_told_bare": float((told["overlayer_nm"][bare] == 0).mean()) if bare.any() else np.nan,
    }


def _share(part: pd.Series, whole: pd.Series) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")


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


def code_hash() -> str:
    """Hash of the code that makes and measures a scene: what scenes done earlier have to share."""
    files = [*sorted((REPOSITORY / "atomseg").rglob("*.py")), Path(__file__).with_name("thickness_scenes.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def run(arguments: argparse.Namespace, model: Model | None, part: Path) -> pd.DataFrame:
    """Rows of all scenes, those of an earlier run of the same code among them."""
    key = [arguments.seed, code_hash(), None if model is None else model.sha256]
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
            print(number, told["surface"], "patchy" if told["patchy"] else "", shown, flush=True)
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
