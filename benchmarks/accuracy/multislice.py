"""Accuracy on micrographs from multislice calculations, which no linear simulator made.

    python benchmarks/accuracy/multislice.py CASES [--only NAME ...] [--device cpu]

CASES holds one folder a case: image.tif, truth_columns.csv, truth_phase.png, truth.json. Everything is mapped with the
default model and scored with `atomseg.evaluate`; `over_bound` is the RMSE over the bound of the case's own intensities,
background and scan jitter (`multislice_bound`), for all columns, in bulk, and within 1 nm of a front and of vacuum.
Writes benchmarks/results/multislice.csv and .json.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from multislice_bound import over_bound
from record import RESULTS, write_json

from atomseg import map_micrograph
from atomseg.evaluate import evaluate
from atomseg.networks import load_model
from atomseg.types import Columns, Micrograph, Phase, PhaseMap, ReconstructionProfile, Scene, ThicknessSummary
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS

CLASSES = {"<5": "thin", "5-20": "intermediate", ">20": "thick"}


def true_columns(case: Path, pixel_nm: tuple[float, float]) -> Columns:
    """Truth table of a case in the package's own terms."""
    table = pd.read_csv(case / "truth_columns.csv", keep_default_na=False)
    blank = dict.fromkeys(("sigma_y_pm", "sigma_x_pm", "background", "theta_deg", "flags"), 0.0)
    return Columns(
        table.assign(
            id=np.arange(len(table)),
            y_nm=table["y_px"] * pixel_nm[0],
            x_nm=table["x_px"] * pixel_nm[1],
            amplitude=table["intensity"],
            fwhm_major_nm=0.1,
            fwhm_minor_nm=0.1,
            probability=1.0,
            **blank,
        )
    )


def true_thickness(told: dict[str, Any] | None, shape: tuple[int, int]) -> ReconstructionProfile:
    """True reconstruction layer; without summary where no surface is in view."""
    summary = None
    if told:
        summary = ThicknessSummary(
            mean_nm=told["mean_nm"],
            median_nm=None,
            p05_nm=None,
            p95_nm=None,
            lower_nm=None,
            upper_nm=None,
            censored=bool(told["censored"]),
            censored_fraction=float(told["censored_fraction"]),
            lower_bound_nm=told.get("visible_lower_bound_nm"),
            thickness_class=CLASSES[told["class_"]],  # type: ignore[arg-type]
            class_probability={},
            n_points=0,
        )
    points, faults = pd.DataFrame(columns=list(PROFILE_FIELDS)), pd.DataFrame(columns=list(FAULT_FIELDS))
    return ReconstructionProfile(points, faults, np.full(shape, np.nan, np.float32), summary)


def true_labels(case: Path) -> np.ndarray:
    """(H, W) uint8 true phases."""
    from skimage.io import imread

    return np.asarray(imread(case / "truth_phase.png"), dtype=np.uint8)


def read_case(case: Path, micrograph: Micrograph) -> Scene:
    """Micrograph and truth of a case."""
    told = json.loads((case / "truth.json").read_text(encoding="utf-8"))
    labels = true_labels(case)
    columns = true_columns(case, micrograph.calibration.pixel_size_nm)
    crystal = labels > 0
    if told["kind"] == "generic":
        # No layered oxide: its truth has no phases to compare with, and whatever phase is claimed is a false one.
        labels = np.full_like(labels, Phase.UNRESOLVED)
        columns = Columns(columns.table.drop(columns=["phase", "phase_alt"]))
    nothing = np.full(labels.shape, np.nan, np.float32)
    phases = PhaseMap(labels, np.ones_like(nothing), nothing, pd.DataFrame(columns=list(PHASE_FIELDS)), pd.DataFrame())
    thickness = true_thickness(told.get("reconstruction"), micrograph.shape)
    return Scene(micrograph, columns, phases, thickness, crystal, told)


def told_jitter_nm(scene: Scene) -> tuple[float, float]:
    """Standard deviation of the rows' displacement along y and x; the truth says x first."""
    x, y = scene.parameters["jitter_nm"]  # type: ignore[misc]
    return float(y), float(x)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name begins so")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    found = sorted(p.parent for p in arguments.cases.glob("*/truth.json"))
    chosen = [c for c in found if not arguments.only or c.name.startswith(tuple(arguments.only))]
    if not chosen:
        parser.error(f"no case with a truth.json in {arguments.cases}")
    model = load_model(None, device=arguments.device)
    rows = []
    for case in chosen:
        analysis = map_micrograph(case / "image.tif", model=model)
        scene = read_case(case, analysis.micrograph)
        row = {"case": case.name, **dataclasses.asdict(evaluate(analysis, scene))}
        jitter = told_jitter_nm(scene)
        row |= over_bound(analysis.micrograph, analysis.localized, scene.columns, true_labels(case), jitter)
        claimed = np.isin(analysis.phases.labels, (Phase.LAYERED, Phase.ROCKSALT, Phase.O1))
        row["phase_claimed"] = float(claimed.mean())
        row["seconds"] = round(analysis.provenance.seconds, 2)
        rows.append(row)
        print(case.name, *(f"{k}={row[k]}" for k in ("f1_50pm", "rmse_pm", "over_bound_all", "coverage90", "mean_iou")))
    flat = pd.DataFrame(rows).drop(columns=["iou", "confusion", "column_confusion"])
    if not arguments.only:
        RESULTS.mkdir(exist_ok=True)
        flat.round(4).to_csv(RESULTS / "multislice.csv", index=False)
        write_json("multislice", {"model": model.card.id, "cases": rows})
    print(flat.round(3).T.to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
