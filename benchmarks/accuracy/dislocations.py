"""Dislocations and O1 lamellae of simulated layered crystals: recall, false alarms, places.

    python benchmarks/accuracy/dislocations.py [--quick] [--scenes 40] [--seed 0]

Images of 13 nm at 20 pm, 3000 counts a column, a scan with up to 2 % of shear. The columns are the required ones of
the truth, moved by a known random error an axis, and along the scan lines by half as much in common for every 0.1 nm of
them (so the network is not part of these numbers), then classified and measured with the default settings.

- Recall counts true dislocations at least 1 nm inside the image whose projected Burgers vector is found within half its
  length, less than 1 nm away. True ones closer than 1 nm to each other are one with the sum of their vectors, and count
  when that is not zero; ends of lamellae of four gaps or more, which are walls of partials, are left out.
- False alarms are found dislocations without a true one, in 1000 nm² of searched crystal.
- Lamellae: O1 faults of two gaps or more and 2 nm or longer; a pair agrees when the centres are less than 0.6 nm apart
  and the lengths less than 1 nm.

Scenes are kept one by one in benchmarks/results/dislocations.csv and not measured again unless --fresh is given.
About 25 minutes on one core (--quick: 3 minutes, nothing is written).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json
from scenes import counting, same

from atomseg.classify import ClassifyConfig, classify
from atomseg.measure import LatticeConfig as MapLatticeConfig
from atomseg.measure import measure_lattice
from atomseg.measure.faults import find_faults
from atomseg.simulate import (
    DefectConfig,
    DomainConfig,
    FaultConfig,
    LatticeConfig,
    LayerConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
    simulate,
)
from atomseg.types import Columns, Scene

PIXEL_NM, SIDE_PX, COUNTS = 0.02, 640, 3000.0
LINE_NM = 0.1
# Kinds of scenes, and the random error of a column in pm an axis beside 0 to 3 pm of static displacement.
KINDS = ("perfect", "bent", "missing", "faulted", "rocksalt layer", "extra layer", "partial")
NOISES_PM = (3.0, 8.0, 12.0)
ONE_NM, INSIDE_NM, WALL_GAPS = 1.0, 1.0, 4
LAMELLA_NM, CENTRE_NM, LENGTH_NM = 2.0, 0.6, 1.0
TABLE = RESULTS / "dislocations.csv"


def scene_config(kind: str) -> SceneConfig:
    """What scenes of a kind are drawn from."""
    dislocated = kind in {"extra layer", "partial"}
    surface = 1.0 if kind == "rocksalt layer" else 0.0
    return SceneConfig(
        shape=(SIDE_PX, SIDE_PX),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        lattice=LatticeConfig(strain_rms=(0.0, 0.004), displacement_pm=(0.0, 3.0), antisite=(0.0, 0.08)),
        surface=SurfaceConfig(p_none=1.0 - surface, p_edge=surface, p_crack=0.0),
        layer=LayerConfig(p_layer=surface, thickness_nm=(2.0, 6.0)),
        faults=FaultConfig(p_bulk=1.0 if kind == "faulted" else 0.0, p_layer=0.0, p_hybrid=0.0, length_nm=(2.0, 9.0)),
        domains=DomainConfig(p_twin=0.0, p_variant=0.0, p_grain=0.0),
        defects=DefectConfig(
            p_vacancies=0.0,
            p_missing=1.0 if kind == "missing" else 0.0,
            p_bending=1.0 if kind == "bent" else 0.0,
            p_dislocations=1.0 if dislocated else 0.0,
            dislocation_number=(1, 2),
            dislocation_kinds=("plane",) if kind == "extra layer" else ("partial",),
            p_tetrahedral=0.0,
            p_overlap=0.0,
        ),
        scan=ScanConfig(
            pixel_size_nm=same(PIXEL_NM),
            shear=(0.0, 0.02),
            bend_nm=(0.0, 0.1),
            jitter_pm=same(0.0),
            p_wobble=0.0,
            p_flyback=0.0,
            p_jump=0.0,
        ),
        detector=counting(COUNTS),
    )


def seen_columns(scene: Scene, noise_pm: float, rng: np.random.Generator) -> Columns:
    """Required columns with a random error that the table admits."""
    table = scene.columns.table
    table = table[table["required"] == 1].reset_index(drop=True).copy()
    moved = table[["y_nm", "x_nm"]].to_numpy() + rng.normal(0.0, 1e-3 * noise_pm, (len(table), 2))
    lines = rng.normal(0.0, 0.5e-3 * noise_pm, int(moved[:, 0].max() / LINE_NM) + 2)
    moved[:, 1] += lines[(table["y_nm"].to_numpy().clip(0.0) / LINE_NM).astype(int)]
    table[["y_nm", "x_nm"]] = moved
    table[["y_px", "x_px"]] = moved / np.asarray(scene.micrograph.calibration.pixel_size_nm)
    table["sigma_y_pm"] = table["sigma_x_pm"] = noise_pm
    return Columns(table.assign(id=np.arange(len(table))))


def true_dislocations(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(D, 2) cores in the image and their projected Burgers vectors, (y, x), nm: dislocations, or ends of faults."""
    drawn: dict[str, Any] = scene.parameters  # type: ignore[assignment]
    lattice, scan = drawn["lattices"][0], drawn["scan"]
    angle = np.deg2rad(lattice["rotation_deg"])
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    height, third = lattice["c_nm"] / 6.0, lattice["sense"] * lattice["a_nm"] * np.sqrt(3.0) / 6.0
    cores = [(d["at_nm"], d["burgers_nm"]) for d in drawn["defects"]["dislocations"]]
    if not cores:
        for fault in drawn["faults"]:
            slip = fault["slip"] * third
            left, right = fault["u_nm"]
            v = fault["row"] * height
            cores += [((left, v), (-slip, 0.0)), ((right, v), (slip, 0.0))]
    if not cores:
        return np.zeros((0, 2)), np.zeros((0, 2))
    at = (np.array([c[0] for c in cores]) + np.asarray(lattice["origin_nm"])) @ axes
    burgers = np.array([c[1] for c in cores]) @ axes
    moved = at @ np.asarray(scan["matrix"]).T
    size = np.asarray(scan["shape"]) * np.asarray(scan["pixel_size_nm"])
    moved += (moved[:, :1] / (0.5 * size[0])) ** 2 * np.asarray(scan["bend_nm"])
    return moved + 0.5 * (size - np.asarray(scan["pixel_size_nm"])), burgers


def resolved(at: np.ndarray, burgers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cores closer than a core's width as one; the number of cores in each."""
    if len(at) == 0:
        return at, burgers, np.zeros(0, int)
    near = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) < ONE_NM
    n, group = connected_components(near)
    centre = np.array([at[group == k].mean(axis=0) for k in range(n)])
    total = np.array([burgers[group == k].sum(axis=0) for k in range(n)])
    return centre, total, np.bincount(group)


def compare_dislocations(scene: Scene, found: pd.DataFrame) -> dict[str, Any]:
    """Counts of one scene."""
    pixel = np.asarray(scene.micrograph.calibration.pixel_size_nm)
    at, burgers, members = resolved(*true_dislocations(scene))
    seen = found[["y_px", "x_px"]].to_numpy(float) * pixel
    vector = found[["b_y_nm", "b_x_nm"]].to_numpy(float)
    length = np.hypot(*burgers.T)
    distance = np.hypot(*(at[:, None] - seen[None]).transpose(2, 0, 1))
    unlike = np.hypot(*(burgers[:, None] - vector[None]).transpose(2, 0, 1)) > 0.5 * length[:, None]
    cost = np.where((distance > ONE_NM) | unlike, 1e3, distance)
    i, j = linear_sum_assignment(cost)
    i, j = i[cost[i, j] < ONE_NM], j[cost[i, j] < ONE_NM]
    size = (np.asarray(scene.micrograph.shape) - 1) * pixel
    inside = ((at > INSIDE_NM) & (at < size - INSIDE_NM)).all(axis=1)
    judged = inside & (length > 0.04) & (members < WALL_GAPS)
    hit = np.isin(np.arange(len(at)), i)
    # What is found at a wall is neither right nor wrong.
    at_wall = (distance[members >= WALL_GAPS] < 2.5).any(axis=0) if len(at) else np.zeros(len(seen), bool)
    wrong = ~np.isin(np.arange(len(seen)), j) & ~at_wall
    return {
        "true": int(judged.sum()),
        "found": int((judged & hit).sum()),
        "false": int(wrong.sum()),
        "distances_nm": " ".join(f"{d:.3f}" for d in distance[i, j]),
    }


def compare_lamellae(scene: Scene, found: pd.DataFrame) -> dict[str, int]:
    """Faults of lamellae of two gaps or more, 2 nm or longer: true, found, reported, right."""
    pixel = np.asarray(scene.micrograph.calibration.pixel_size_nm)
    true = scene.reconstruction.faults
    rows = set(true["row_lower"])
    many = [row - 2 in rows or row + 2 in rows for row in true["row_lower"]]
    true = true[np.array(many, bool) & (true["length_nm"] >= LAMELLA_NM)]
    found = found[(found["lamella_gaps"] >= 2) & (found["length_nm"] >= LAMELLA_NM)]
    at, seen = true[["y_px", "x_px"]].to_numpy(float) * pixel, found[["y_px", "x_px"]].to_numpy(float) * pixel
    near = np.hypot(*(at[:, None] - seen[None]).transpose(2, 0, 1)) < CENTRE_NM
    like = np.abs(true["length_nm"].to_numpy(float)[:, None] - found["length_nm"].to_numpy(float)[None]) < LENGTH_NM
    pair = near & like
    return {
        "lamellae": len(true),
        "lamellae_found": int(pair.any(axis=1).sum()),
        "lamellae_reported": len(found),
        "lamellae_right": int(pair.any(axis=0).sum()),
    }


def measure_scene(kind: str, noise_pm: float, seed: int) -> dict[str, Any]:
    """One row of the table."""
    rng = np.random.default_rng([KINDS.index(kind), round(noise_pm), seed])
    scene = simulate(scene_config(kind), rng)
    columns = seen_columns(scene, noise_pm, rng)
    calibration = scene.micrograph.calibration
    phases = classify(scene.micrograph, columns, ClassifyConfig())
    no_depth = np.full(scene.micrograph.shape, np.nan, np.float32)
    maps = measure_lattice(columns, phases, calibration, no_depth, MapLatticeConfig())
    faults = find_faults(phases.gaps, no_depth, calibration.pixel_size_nm, 0.249)
    return {
        "kind": kind,
        "noise_pm": noise_pm,
        "seed": seed,
        "columns": len(columns),
        "fitted": maps.summary["n_columns"],
        "area_nm2": maps.dislocation_summary["searched_area_nm2"],
        **compare_dislocations(scene, maps.dislocations),
        **compare_lamellae(scene, faults),
    }


def totals(table: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of scene and noise."""
    rows = []
    for (kind, noise), part in table.groupby(["kind", "noise_pm"], sort=False):
        text = " ".join(part["distances_nm"].dropna().astype(str))
        distance = np.array(text.split(), float)
        total = part.select_dtypes("number").sum()

        def share(name: str, of: str, total: pd.Series = total) -> float | None:
            return float(total[name] / total[of]) if total[of] else None

        rows.append(
            {
                "kind": kind,
                "noise_pm": noise,
                "scenes": len(part),
                "area_nm2": round(float(total["area_nm2"])),
                "true": int(total["true"]),
                "recall": share("found", "true"),
                "false_per_1000nm2": 1e3 * float(total["false"] / total["area_nm2"]) if total["area_nm2"] else None,
                "median_distance_nm": float(np.median(distance)) if len(distance) else None,
                "lamella_faults": int(total["lamellae"]),
                "lamella_recall": share("lamellae_found", "lamellae"),
                "lamella_precision": share("lamellae_right", "lamellae_reported"),
            }
        )
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=40, help="of each kind and noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="6 scenes of each kind at 8 pm; nothing is written")
    parser.add_argument("--fresh", action="store_true", help="measure scenes again that are in the table")
    arguments = parser.parse_args()
    noises, scenes = ((8.0,), 6) if arguments.quick else (NOISES_PM, arguments.scenes)
    keep = not arguments.quick
    known = pd.read_csv(TABLE).to_dict("records") if keep and TABLE.exists() and not arguments.fresh else []
    done = {(row["kind"], row["noise_pm"], row["seed"]): row for row in known}
    rows: list[dict[str, Any]] = []
    for noise in noises:
        for kind in KINDS:
            for seed in range(arguments.seed, arguments.seed + scenes):
                rows.append(done.get((kind, noise, seed)) or measure_scene(kind, noise, seed))
            print(totals(pd.DataFrame(rows)).tail(1).to_string(index=False, header=len(rows) == scenes), flush=True)
            if keep:
                RESULTS.mkdir(exist_ok=True)
                pd.DataFrame(rows).to_csv(TABLE, index=False)
    table = totals(pd.DataFrame(rows))
    if keep:
        setting = {"pixel_nm": PIXEL_NM, "side_px": SIDE_PX, "counts": COUNTS, "seed": arguments.seed}
        records = table.round(4).astype(object).where(table.notna(), None).to_dict("records")
        write_json("dislocations", {"setting": setting, "rows": records})
    print(table.round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
