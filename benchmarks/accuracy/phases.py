"""Phases of pixels and columns against truth, with two baselines on the same images.

    python benchmarks/accuracy/phases.py [CASES] [--scenes N] [--seed S] [--hard] [--quick]

CASES is a folder of multislice cases (see multislice.py). Scenes are simulated: layers, faults, mixing, twins, at 100
to 1e4 counts a column, 12 to 32 pm pixels and columns 40 to 60 pm wide, scanned with up to 8 pm of line jitter and 20
pm of mains interference. With --hard everything else is drawn from the full range of `atomseg.simulate`: columns up to
110 pm wide, jitter to 30 pm, mistilt, defects, films, much of which nobody could judge. `core` leaves out pixels within
0.25 nm of a true boundary. Calibration: confidence of the named phase of crystal pixels against how often it is right.
Writes benchmarks/results/phases.csv and .json (phases_hard with --hard), unless --quick.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt, label

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from multislice import read_case
from phase_baselines import fourier_ratio, patch_clusters
from record import RESULTS, write_json

from atomseg import map_micrograph
from atomseg.evaluate.match import match_columns
from atomseg.evaluate.scores import agreement, column_agreement
from atomseg.io import read_micrograph
from atomseg.networks import load_model
from atomseg.simulate import (
    BackgroundConfig,
    DefectConfig,
    DetectorConfig,
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LayerConfig,
    OpticsConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
    simulate,
)
from atomseg.types import Phase, Scene

COUNTS = (100.0, 300.0, 1e3, 3e3, 1e4)
FIELD_NM, BOUNDARY_NM = 12.0, 0.25
# A lamella that counts: two rows (0.9 nm) and 2 nm.
LAMELLA_NM2 = 0.9 * 2.0


def usual(config: SceneConfig) -> SceneConfig:
    """A corrected microscope on a quiet day: the image decides, the question is whether the program does."""
    return replace(
        config,
        optics=OpticsConfig(core_sigma_pm=(40.0, 60.0), ellipticity=(1.0, 1.2), p_wide=0.0, p_mistilt=0.0),
        background=BackgroundConfig(level=(0.01, 0.3), p_step=0.0, p_surface_step=0.0, film=(0.02, 0.15)),
        scan=replace(
            config.scan, jitter_pm=(0.0, 8.0), wobble_pm=(0.0, 20.0), shear=(0.0, 0.02), p_flyback=0.0, p_jump=0.0
        ),
        defects=DefectConfig(
            p_vacancies=0.0, p_missing=0.0, p_bending=0.0, p_dislocations=0.0, p_tetrahedral=0.0, p_overlap=0.0
        ),
        foil=FoilConfig(thickness_nm=(5.0, 30.0)),
        detector=replace(config.detector, p_gamma=0.0),
    )


def scene_config(kind: str, counts: float, pixel_nm: float) -> SceneConfig:
    """A surface with its layer, or bulk with faults."""
    side = round(FIELD_NM / pixel_nm)
    layer = kind == "layer"
    return SceneConfig(
        shape=(side, side),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        surface=SurfaceConfig(
            p_none=0.0 if layer else 1.0,
            p_edge=0.8 * layer,
            p_crack=0.2 * layer,
            offset=(-0.6, 0.0),
            crack_width_nm=(0.6, 2.0),
        ),
        layer=LayerConfig(thickness_nm=(0.6, 8.0)),
        faults=FaultConfig(
            p_bulk=0.1 if layer else 0.85, p_lamella=0.6, density_per_nm=(0.05, 0.3), p_hybrid=0.0 if layer else 0.08
        ),
        domains=DomainConfig(p_twin=0.15, p_variant=0.0, p_grain=0.0),
        scan=ScanConfig(pixel_size_nm=(pixel_nm, pixel_nm)),
        detector=DetectorConfig(counts=(counts, counts), p_usual=0.0, p_filter=0.0, p_clipped=0.0),
    )


def cases(folder: Path | None, scenes: int, seed: int, *, hard: bool) -> Iterator[tuple[str, str, float, Scene]]:
    """Name, kind, counts and scene of every case."""
    for case in sorted(p.parent for p in folder.glob("*/truth.json")) if folder else []:
        if json.loads((case / "truth.json").read_text(encoding="utf-8"))["kind"] != "generic":
            yield case.name, "multislice", float("nan"), read_case(case, read_micrograph(case / "image.tif"))
    for i in range(scenes):
        rng = np.random.default_rng([seed, i])
        kind, counts = ("layer", "faults")[(i // len(COUNTS)) % 2], COUNTS[i % len(COUNTS)]
        config = scene_config(kind, counts, float(rng.uniform(0.012, 0.032)))
        yield f"{seed}-{i}", kind, counts, simulate(config if hard else usual(config), rng)


def core_of(truth: np.ndarray, pixel_nm: float) -> np.ndarray:
    """(H, W) bool, pixels away from true boundaries."""
    edge = np.zeros(truth.shape, bool)
    edge[:-1] |= truth[:-1] != truth[1:]
    edge[:, :-1] |= truth[:, :-1] != truth[:, 1:]
    return (
        np.asarray(distance_transform_edt(~edge) * pixel_nm > BOUNDARY_NM) if edge.any() else np.ones(truth.shape, bool)
    )


def lamellae(found: np.ndarray, truth: np.ndarray, pixel_nm: float) -> tuple[int, int]:
    """O1 regions of `truth` large enough to count, and how many of them are at least half O1 in `found`."""
    parts, n = label(truth == Phase.O1)
    area = np.bincount(parts.ravel(), minlength=n + 1) * pixel_nm**2
    hit = np.bincount(parts.ravel(), weights=(found == Phase.O1).ravel(), minlength=n + 1) * pixel_nm**2
    large = np.flatnonzero(area >= LAMELLA_NM2)
    large = large[large > 0]
    return len(large), int((hit[large] >= 0.5 * area[large]).sum())


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes that are there."""
    there = [k for k in range(4) if confusion[k].sum()]
    return (
        float(np.mean([2 * confusion[k, k] / (confusion[k].sum() + confusion[:, k].sum()) for k in there]))
        if there
        else float("nan")
    )


def judge(labels: np.ndarray, truth: np.ndarray, pixel_nm: float) -> dict[str, Any]:
    """Scores of one map of phases."""
    score = agreement(labels, truth)
    known = core_of(truth, pixel_nm) & (truth < 4)
    (n_true, recalled), (n_found, confirmed) = lamellae(labels, truth, pixel_nm), lamellae(truth, labels, pixel_nm)
    confusion = np.array(score.confusion)
    wrong = confusion[1:, :4].sum() - np.trace(confusion[1:, 1:4])
    return {
        "mean_iou": score.mean_iou,
        "core": float((labels == truth)[known].mean()) if known.any() else None,
        "abstention": score.abstention,
        "wrong": float(wrong / max(1, confusion[1:].sum())),
        "o1_true": n_true,
        "o1_recalled": recalled,
        "o1_found": n_found,
        "o1_confirmed": confirmed,
    }


def reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error in ten bins, and the bins."""
    bins, table, error = np.minimum((10 * confidence).astype(int), 9), [], 0.0
    for k in range(10):
        mine = bins == k
        if mine.any():
            entry = {
                "share": float(mine.mean()),
                "confidence": float(confidence[mine].mean()),
                "right": float(right[mine].mean()),
            }
            error += entry["share"] * abs(entry["confidence"] - entry["right"])
            table.append(entry)
    return error, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="?")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--hard", action="store_true", help="scenes of the full range")
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--quick", action="store_true", help="ten scenes, nothing written")
    arguments = parser.parse_args()
    model = load_model(None, device="cpu")
    rows, sure, right = [], [], []
    column_sums: dict[str, np.ndarray] = {}
    for name, kind, counts, scene in cases(
        arguments.cases, 10 if arguments.quick else arguments.scenes, arguments.seed, hard=arguments.hard
    ):
        truth, pixel_nm = scene.phases.labels, float(np.mean(scene.micrograph.calibration.pixel_size_nm))
        analysis = map_micrograph(scene.micrograph, model=model)
        labels = analysis.phases.labels
        columns = column_agreement(
            analysis.phases, scene.columns, match_columns(analysis.localized, scene.columns, 0.1)
        )
        confusion = np.array(columns.confusion) if columns else np.zeros((4, 5), int)
        group = f"{kind}, {counts:g}"
        column_sums[group] = column_sums.get(group, 0) + confusion
        maps = {
            "atomseg": labels,
            "Fourier ratio": fourier_ratio(scene.micrograph.image, pixel_nm),
            "patch clusters": patch_clusters(scene.micrograph.image, pixel_nm, truth),
        }
        for method, found in maps.items():
            rows.append(
                {"case": name, "kind": kind, "counts": counts, "method": method, **judge(found, truth, pixel_nm)}
            )
        rows[-3] |= {"macro_f1": macro_f1(confusion), "column_abstention": columns.abstention if columns else None}
        if kind != "multislice":
            named = np.flatnonzero(np.isin(labels, (1, 2, 3)) & (truth > 0) & (truth < 4))[::17]
            sure.append(analysis.phases.confidence.ravel()[named])
            right.append((labels == truth).ravel()[named])
        print(name, group, *(f"{r['method']} {r['mean_iou']:.3f}" for r in rows[-3:]), flush=True)
    table = pd.DataFrame(rows)
    error, bins = reliability(np.concatenate(sure), np.concatenate(right)) if sure else (None, [])
    summary = (
        table.drop(columns="case")
        .groupby(["kind", "counts", "method"], dropna=False)
        .mean(numeric_only=True)
        .reset_index()
    )
    print(summary.round(3).to_string())
    macro = {group: macro_f1(value) for group, value in column_sums.items()}
    print("column macro-F1, pooled:", {k: round(v, 3) for k, v in macro.items()})
    print(f"expected calibration error {error}", *bins, sep="\n")
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        name_of_results = "phases_hard" if arguments.hard else "phases"
        table.round(4).to_csv(RESULTS / f"{name_of_results}.csv", index=False)
        text = json.loads(table.to_json(orient="records"))
        write_json(
            name_of_results, {"rows": text, "column_macro_f1": macro, "calibration_error": error, "reliability": bins}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
