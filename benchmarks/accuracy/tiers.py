"""Simulated tiers of dose, pixel size and column width: what the whole path makes of cathode edges.

    python benchmarks/accuracy/tiers.py [--model NAME|PATH] [--quick] [--scenes 2] [--seed 0]

Scenes hold a surface, a reconstruction layer and the crystal below it; every second one has an amorphous cover and a
film. Columns are judged by where they stand: in the bulk, within 1 nm of the phase front, within 1 nm of vacuum.
`infer` and `localize` with their defaults, no setting is changed between tiers.

- F1 at 50 pm over required columns; the others are neither right nor wrong.
- RMSE is that of one coordinate, over the columns matched within 100 pm. `rmse_over_bound` divides by the Cramer-Rao
  bound of the joint problem (positions and heights of the column and of the required ones around it, a plane of
  background; `bounds.py`) with what line jitter does to a column of that height added in quadrature,
  `rmse_over_open` by the bound where the other columns, oxygen and lithium, are unknown too, each for itself: they
  stand 0.15 nm from dim interlayer columns, and only what is common to all of them can be known. `table_over_alone`
  is the simulator's own bound, a closed form, against the bound without neighbours and jitter.
- `f1_of_bound` is the F1 of a method that misses and invents nothing and errs by the bound: at low dose the errors of
  wide columns are larger than 50 pm now and then.
- The grains of a film displace columns and are in no bound; the region `no film` holds the scenes without one.
- Slopes: found on true sub-pixel offset, and found on true displacement from the middle of two opposite neighbours;
  below one, columns are pulled to pixels or to the lattice. `locking_px` is the amplitude of the error's first
  harmonic.
- False columns per 100 nm² of vacuum or amorphous further than 0.25 nm from crystal, and of images with nothing in
  them.

About 6 minutes on two cores (--quick: 2 minutes). Writes benchmarks/results/tiers.csv and .json.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bounds import FWHM_PER_SIGMA, gaussian_inverse, jitter_pm, joint_bound_nm
from record import RESULTS, write_json
from scenes import JITTER_CORRELATION, JITTER_PM, REGIONS, at, nothing, regions, tier
from scoring import EDGE_NM, Image, Tally, compare, in_empty

from atomseg.infer import infer
from atomseg.localize import LocalizeConfig, localize
from atomseg.networks import Model, load_model
from atomseg.simulate import simulate
from atomseg.types import Columns, Micrograph, Scene

COUNTS = (100.0, 300.0, 1e3, 3e3, 1e4, 1e5)
PIXELS_PM = (10.0, 20.0, 40.0)
WIDTHS_PM = (40.0, 55.0, 80.0)
FIELD_NM = 11.0
# Columns a scene whose bounds are computed, drawn at random.
JUDGED = 500
BORDER_NM = 0.1


def find(micrograph: Micrograph, model: Model) -> Columns:
    """The released path from image to columns."""
    return localize(micrograph, infer(micrograph, model), LocalizeConfig(), device=str(model.device))


@dataclass(frozen=True)
class Limits:
    """(N, 2) smallest errors of a scene's columns with jitter, nm (nan where not computed); oxygen known, unknown."""

    joint_nm: np.ndarray
    open_nm: np.ndarray
    table_over_alone: float

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Both bounds."""
        return self.joint_nm, self.open_nm


def limits_of(scene: Scene, rng: np.random.Generator) -> Limits:
    """Bounds of the required columns, of at most `JUDGED` of them."""
    table = scene.columns.table
    pixel = scene.micrograph.calibration.pixel_size_nm
    first = table.iloc[0]
    inverse = gaussian_inverse(
        first["fwhm_major_nm"] / FWHM_PER_SIGMA, first["fwhm_minor_nm"] / FWHM_PER_SIGMA, first["theta_deg"]
    )
    required = table["required"].to_numpy(dtype=bool)
    chosen = np.flatnonzero(required)
    if len(chosen) > JUDGED:
        chosen = np.sort(rng.choice(chosen, JUDGED, replace=False))
    # Detector values are counts (see `scenes.counting`).
    peak, level = table["amplitude"].to_numpy(), table["background"].to_numpy()
    jitter = 1e-3 * jitter_pm(JITTER_PM, JITTER_CORRELATION, inverse=inverse, pixel_y_nm=pixel[0])
    joint, everything, alone = (
        joint_bound_nm(
            scene.columns.yx_nm, peak, level, inverse=inverse, pixel_nm=pixel, chosen=chosen, unknown=unknown
        )
        for unknown in (_to_be_found(scene), np.ones(len(table), bool), np.zeros(len(table), bool))
    )
    ratio = float(np.median(scene.columns.sigma_nm[chosen] / alone)) if len(chosen) else float("nan")
    result = np.full((2, len(table), 2), np.nan)
    result[:, chosen] = np.sqrt(np.stack([joint, everything]) ** 2 + jitter**2)
    return Limits(result[0], result[1], ratio)


def _to_be_found(scene: Scene) -> np.ndarray:
    """(N,) bool, columns that are unknown in the joint problem: the required ones, and bright ones at the border."""
    table = scene.columns.table
    size = np.asarray(scene.micrograph.shape) * np.asarray(scene.micrograph.calibration.pixel_size_nm)
    position = scene.columns.yx_nm
    border = np.any((position < BORDER_NM) | (position > size - BORDER_NM), axis=1)
    bright = table["amplitude"].to_numpy() > 0.2 * np.median(table["amplitude"][table["required"] == 1])
    return np.asarray(table["required"].to_numpy(dtype=bool) | (border & bright))


def judge(scene: Scene, found: Columns, limits: Limits) -> tuple[dict[str, Tally], float, int]:
    """Tallies by region, area of vacuum and amorphous in nm², false columns in it."""
    pixel = scene.micrograph.calibration.pixel_size_nm
    required = scene.columns.table["required"].to_numpy(dtype=bool)
    size = (scene.micrograph.shape[0] * pixel[0], scene.micrograph.shape[1] * pixel[1])
    image = Image(found.yx_nm, scene.columns.yx_nm, required, pixel, found.sigma_nm, *limits.arrays, size)
    where = regions(scene)
    true_region, found_region = at(where, image.true_nm, pixel), at(where, image.found_nm, pixel)
    empty = distance_transform_edt(~scene.crystal, sampling=pixel) > EDGE_NM
    outside = in_empty(image.found_nm, empty, pixel)
    # False columns far out in vacuum are counted by area, those in and beside crystal by F1.
    result = {}
    for number, name in enumerate(REGIONS):
        nearby = (found_region == number) & ~outside
        result[name] = compare(image, true_region == number, nearby)
    return result, float(empty.sum() * pixel[0] * pixel[1]), int((outside & unmatched(image)).sum())


def unmatched(image: Image) -> np.ndarray:
    """(N,) bool, found columns without a true one within 100 pm."""
    from scipy.spatial import cKDTree

    if not len(image.true_nm) or not len(image.found_nm):
        return np.ones(len(image.found_nm), bool)
    return np.asarray(cKDTree(image.true_nm).query(image.found_nm)[0] > 0.1)


def with_bounds(tally: Tally) -> Tally:
    """Errors of the judged columns only, so that error and bound are of the same columns."""
    if not tally.bound_nm:
        return tally
    keep = [np.isfinite(b).all(1) for b in tally.bound_nm]
    lists = {
        n: [v[k] for v, k in zip(getattr(tally, n), keep, strict=True)]
        for n in ("error_nm", "bound_nm", "open_nm", "sigma_nm")
    }
    return Tally(**{**vars(tally), **lists})


def run_tier(counts: float, pixel_pm: float, sigma_pm: float, *, model: Model, scenes: int, seed: int) -> list[dict]:
    """Rows of one tier: one a region, and all together."""
    tallies = {name: Tally() for name in REGIONS}
    bare = Tally()
    area, invented, seconds, ratios = 0.0, 0, 0.0, []
    for number in range(scenes):
        rng = np.random.default_rng([seed, number, int(counts), int(pixel_pm), int(sigma_pm)])
        scene = simulate(tier(counts, pixel_pm, sigma_pm, field_nm=FIELD_NM, covered=number % 2 == 1), rng)
        started = time.perf_counter()
        found = find(scene.micrograph, model)
        seconds += time.perf_counter() - started
        limits = limits_of(scene, rng)
        ratios.append(limits.table_over_alone)
        parts, empty, false = judge(scene, found, limits)
        for name, part in parts.items():
            tallies[name] += part
            if number % 2 == 0:
                bare += part
        area, invented = area + empty, invented + false
    everything = Tally()
    for tally in tallies.values():
        everything += tally
    setting = {"counts": counts, "pixel_pm": pixel_pm, "sigma_pm": sigma_pm}
    rows = [
        {**setting, "region": name, **with_bounds(tally).row()}
        for name, tally in [*tallies.items(), ("no film", bare), ("all", everything)]
    ]
    rows[-1] |= {
        "empty_nm2": area,
        "false_in_empty": invented,
        "false_per_100nm2": 100.0 * invented / max(area, 1e-9),
        "table_over_alone": float(np.nanmedian(ratios)),
        "seconds": seconds,
    }
    return rows


def run_nothing(counts: float, pixel_pm: float, *, model: Model, seed: int) -> list[dict]:
    """False columns in vacuum and in an amorphous film, nothing else in view."""
    rows = []
    for film in (False, True):
        rng = np.random.default_rng([seed, int(film), int(counts), int(pixel_pm), 1])
        scene = simulate(nothing(counts, pixel_pm, field_nm=FIELD_NM, film=film), rng)
        found = find(scene.micrograph, model)
        row = {"counts": counts, "pixel_pm": pixel_pm, "region": "amorphous only" if film else "vacuum only"}
        row |= {"empty_nm2": FIELD_NM**2, "false_in_empty": len(found)}
        rows.append(row | {"false_per_100nm2": 100.0 * len(found) / FIELD_NM**2})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--scenes", type=int, default=2, help="scenes a tier; every second has an amorphous cover")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a third of the tiers; nothing is written")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model = load_model(arguments.model, device=arguments.device)
    rows: list[dict] = []
    for counts in COUNTS:
        for i, pixel_pm in enumerate(PIXELS_PM):
            for j, sigma_pm in enumerate(WIDTHS_PM):
                if arguments.quick and i != j:
                    continue
                rows += run_tier(counts, pixel_pm, sigma_pm, model=model, scenes=arguments.scenes, seed=arguments.seed)
                shown = {k: v for k, v in rows[-1].items() if isinstance(v, float)}
                print(" ".join(f"{k}={v:.3g}" for k, v in shown.items()), flush=True)
            rows += run_nothing(counts, pixel_pm, model=model, seed=arguments.seed)
    table = pd.DataFrame(rows)
    print(summary(table).to_string())
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / "tiers.csv", index=False)
        records = table.round(4).astype(object).where(table.notna(), None).to_dict("records")
        write_json("tiers", {"model": model.card.id, "model_sha256": model.sha256, "rows": records})
    return 0


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Worst tier of each dose."""
    whole = table[table["region"] == "all"].groupby("counts")
    each = table[table["region"].isin(REGIONS)].groupby("counts")
    nowhere = table[table["region"].str.contains("only")].groupby("counts")
    return pd.DataFrame(
        {
            "f1_least": each["f1_50pm"].min(),
            "f1_median": each["f1_50pm"].median(),
            "over_bound_most": each["rmse_over_bound"].max(),
            "over_bound_median": each["rmse_over_bound"].median(),
            "over_open_most": each["rmse_over_open"].max(),
            "bias_most_pm": whole[["bias_y_pm", "bias_x_pm"]].agg(lambda v: v.abs().max()).max(axis=1),
            "coverage_least": whole["coverage90"].min(),
            "coverage_most": whole["coverage90"].max(),
            "slope_lattice_least": whole["slope_lattice"].min(),
            "false_per_100nm2": 100 * whole["false_in_empty"].sum() / whole["empty_nm2"].sum(),
            "false_nothing": 100 * nowhere["false_in_empty"].sum() / nowhere["empty_nm2"].sum(),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
