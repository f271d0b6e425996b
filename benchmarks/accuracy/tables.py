"""Tables of the documentation from the results that are in benchmarks/results, as Markdown.

python benchmarks/accuracy/tables.py [tiers] [peers] [real_precision] [restoration] [multislice] [mosaic]
    [thickness] [error_bars]
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS


def markdown(table: pd.DataFrame, digits: dict[str, int]) -> str:
    """A table with this many digits a column; what has no number stays empty."""

    def cell(name: str, value: object) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return ""
        return f"{value:.{digits[name]}f}" if name in digits else str(value)

    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[cell(n, v) for n, v in zip(table.columns, row, strict=True)] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tiers(stored: dict) -> str:
    """By dose and column width: all pixel sizes together, worst and median of the regions."""
    table = pd.DataFrame(stored["rows"])
    whole, each = table[table["region"] == "all"], table[table["region"].isin(("bulk", "front", "vacuum"))]
    keys = ["counts", "sigma_pm"]
    outer, inner = whole.groupby(keys), each.groupby(keys)
    bare = table[table["region"] == "no film"].groupby(keys)
    rows = pd.DataFrame(
        {
            "F1 at 50 pm": outer["f1_50pm"].mean(),
            "F1 of the bound": outer["f1_of_bound"].mean(),
            "least, by region": inner["f1_50pm"].min(),
            "RMSE, pm": outer["rmse_pm"].mean(),
            "RMSE / bound": outer["rmse_over_bound"].median(),
            "without film": bare["rmse_over_bound"].median(),
            "largest, by region": inner["rmse_over_bound"].max(),
            "largest bias by region, pm": inner[["bias_y_pm", "bias_x_pm"]].agg(lambda v: v.abs().max()).max(axis=1),
            "in 90 % ellipse": outer["coverage90"].median(),
            "fewest, by region": inner["coverage90"].min(),
            "lattice slope": outer["slope_lattice"].median(),
        }
    ).reset_index()
    rows["counts"], rows["sigma_pm"] = rows["counts"].map("{:g}".format), rows["sigma_pm"].map("{:g}".format)
    rows = rows.rename(columns={"counts": "counts a column", "sigma_pm": "width, pm"})
    empty = table[table["empty_nm2"].notna()]
    rate = 100.0 * empty["false_in_empty"].sum() / empty["empty_nm2"].sum()
    three = ("F1 at 50 pm", "F1 of the bound", "least, by region", "in 90 % ellipse", "fewest, by region")
    two = ("RMSE, pm", "RMSE / bound", "without film", "largest, by region", "largest bias by region, pm")
    digits = dict.fromkeys(three, 3) | dict.fromkeys((*two, "lattice slope"), 2)
    note = f"False columns per 100 nm² of vacuum or amorphous: {rate:.2f} ({empty['empty_nm2'].sum():.0f} nm²)."
    return f"{markdown(rows, digits)}\n\n{note}\n\n{_outside(each)}"


def _outside(regions: pd.DataFrame) -> str:
    """How many regions miss what columns of 40 and 55 pm are to have."""
    rows = regions[regions["sigma_pm"] < 80.0]
    bias = rows[["bias_y_pm", "bias_x_pm"]].abs().max(axis=1)
    slope = (rows["slope_lattice"] - 1.0).abs()
    asked = {
        "F1 below 0.995 from 300 counts on": (rows["f1_50pm"] < 0.995)[rows["counts"] >= 300.0],
        "an error beyond 1.1 bounds up to 10 000 counts": (rows["rmse_over_bound"] > 1.1)[rows["counts"] <= 1e4],
        "fewer than 85 % in their ellipses": rows["coverage90"] < 0.85,
        "more than 95 %": rows["coverage90"] > 0.95,
        "a bias beyond 1 pm by two of its standard errors": bias > 1.0 + 2.0 * rows["bias_error_pm"],
        "a lattice slope beyond 1.00 ± 0.02 by two": slope > 0.02 + 2.0 * rows["slope_lattice_error"],
    }
    counts = "; ".join(f"{name}: {misses.sum()} of {len(misses)}" for name, misses in asked.items())
    return f"Of the regions with columns of 40 and 55 pm have {counts}."


def peers(stored: dict) -> str:
    """By program and kind of image."""
    table = pd.DataFrame(stored["summary"])
    names = {
        "method": "program",
        "kind": "images",
        "f1_50pm": "F1 at 50 pm",
        "f1_least": "least",
        "rmse_same_pm": "RMSE, pm",
        "ours_rmse_same_pm": "atomseg on the same columns, pm",
        "bias_most_pm": "largest bias, pm",
        "seconds_per_1000": "s per 1000 columns",
        "peak_mb": "peak memory, MB",
    }
    digits = dict.fromkeys(("F1 at 50 pm", "least", "s per 1000 columns"), 3)
    digits |= dict.fromkeys(("RMSE, pm", "atomseg on the same columns, pm", "largest bias, pm"), 2)
    return markdown(table[list(names)].rename(columns=names), digits | {"peak memory, MB": 0})


def real_precision(stored: dict) -> str:
    """By micrograph and program."""
    names = {
        "micrograph": "micrograph",
        "method": "program",
        "columns": "columns",
        "spread_pm": "spread, pm",
        "local_pm": "local error, pm",
        "split_pm": "odd / even rows, pm",
        "start_share": "left of the start",
        "shift_slope": "shift slope",
        "wave_slope": "wave slope",
        "moved_slope": "moved slope",
    }
    digits = dict.fromkeys(("spread, pm", "local error, pm", "odd / even rows, pm"), 2)
    table = pd.DataFrame(stored["rows"])
    table = table[list(names)].rename(columns=names)
    return markdown(table, digits | {"left of the start": 2, "shift slope": 3, "wave slope": 3, "moved slope": 3})


def error_bars(stored: dict) -> str:
    """One row a dose and effect."""
    names = {
        "counts": "counts",
        "jitter_pm": "jitter, pm",
        "interference_pm": "interference, pm",
        "period_rows": "period, rows",
        "filter_pm": "filter, pm",
        "rmse_y_pm": "RMSE y, pm",
        "rmse_x_pm": "RMSE x, pm",
        "claimed_y_pm": "claimed y, pm",
        "claimed_x_pm": "claimed x, pm",
        "in_90_ellipse": "in 90 % ellipse",
        "amplitude_over_claim": "amplitudes / claim",
    }
    table = pd.DataFrame(stored["rows"])[list(names)].rename(columns=names)
    digits = dict.fromkeys(("counts", "jitter, pm", "interference, pm", "period, rows", "filter, pm"), 0)
    digits |= dict.fromkeys([n for n in table if n.startswith(("RMSE", "claimed"))], 2)
    return markdown(table, digits | {"in 90 % ellipse": 2, "amplitudes / claim": 2})


def restoration(stored: dict) -> str:
    """PSNR and SSIM by dose, and what is invented."""
    table, parts = pd.DataFrame(stored["quality"]), []
    order = ["atomseg", "Gaussian", "Wiener", "non-local means", "total variation", "none"]
    for truth, rows in table.groupby("truth", sort=False):
        both = rows.assign(shown=[f"{p:.1f} / {s:.2f}" for p, s in zip(rows["psnr_db"], rows["ssim"], strict=True)])
        wide = both.pivot_table(index="counts", columns="method", values="shown", aggfunc="first")[order].reset_index()
        wide["counts"] = wide["counts"].map("{:g}".format)
        parts.append(f"{truth}, PSNR in dB / SSIM:\n\n{markdown(wide, {})}")
    empty = pd.DataFrame(stored["empty"]).drop(columns=["amount"])
    empty["counts"] = empty["counts"].map("{:g}".format)
    empty["unit"] = empty["unit"].map({"nm²": "100 nm²", "vacancies": "vacancy"})
    empty = empty.rename(columns={"unit": "per"})
    digits = dict.fromkeys(("energy_in_columns", "brightest_peak"), 3)
    parts.append(markdown(empty, digits | {"peaks_above_tenth": 2, "columns_reported": 2}))
    return "\n\n".join(parts)


def multislice(stored: dict) -> str:
    """One row a case."""
    cases = pd.DataFrame(stored["cases"])
    truth = cases["thickness_true_nm"].astype(float)

    def measured(mean_nm: float | None, true_nm: float) -> str:
        if mean_nm is None or np.isnan(mean_nm):
            return "" if np.isnan(true_nm) else "censored"
        return f"{mean_nm:.2f}"

    rows = pd.DataFrame(
        {
            "case": cases["case"].str.replace("_", " "),
            "columns F1 at 50 pm": cases["f1_50pm"],
            "position RMSE, pm": cases["rmse_pm"],
            "error / bound": cases["over_bound_all"],
            "beside vacuum": cases["over_bound_vacuum"],
            "90 % ellipses": cases["coverage90"],
            "phase mean IoU": cases["mean_iou"],
            "thickness, nm": [measured(*each) for each in zip(cases["thickness_nm"], truth, strict=True)],
            "truth, nm": truth,
            "class right": cases["class_right"].map({1: "yes", 0: "no"}).fillna(""),
        }
    )
    digits = {"columns F1 at 50 pm": 3, "position RMSE, pm": 1, "phase mean IoU": 3}
    return markdown(
        rows,
        digits | dict.fromkeys(("error / bound", "beside vacuum", "90 % ellipses", "truth, nm"), 2),
    )


def mosaic(stored: dict) -> str:
    """One row a group of scenes."""
    names = {
        "group": "scenes",
        "scenes": "number",
        "f1_50pm": "columns F1 at 50 pm",
        "f1_least": "least",
        "mean_iou": "phase mean IoU",
        "found": "surfaces found",
        "measured": "measured",
        "bias_nm": "bias, nm",
        "rmse_nm": "RMSE, nm",
        "worst_nm": "worst, nm",
        "covered": "inside 90 % interval",
        "censoring_right": "censoring right",
    }
    table = pd.DataFrame(stored["rows"])[list(names)].rename(columns=names)
    digits = {"number": 0, "measured": 0} | dict.fromkeys(("columns F1 at 50 pm", "least", "phase mean IoU"), 3)
    short = ("surfaces found", "bias, nm", "RMSE, nm", "worst, nm", "inside 90 % interval", "censoring right")
    return markdown(table, digits | dict.fromkeys(short, 2))


def thickness(stored: dict) -> str:
    """One column a band of true depth, the rows as `thickness.groups` has them."""
    table = pd.DataFrame(stored["rows"]).set_index("group")
    bands = [name for name in table.index if name == "no layer" or (name.endswith(" nm") and name[0].isdigit())]
    kept = table.loc[[*bands, "all"]]
    lines = {
        "bias of a face's mean, nm": kept["bias_nm"],
        "median error, nm": kept["median_abs_nm"],
        "RMSE, nm": kept["rmse_nm"],
        "means inside their 90 % interval": kept["covered"],
        "points inside theirs": kept["point_covered"],
        "thin, intermediate, thick right": kept["class_right"],
    }
    rows = pd.DataFrame(lines).astype(float).T.reset_index(names="layer")
    return markdown(rows, dict.fromkeys(rows.columns[1:], 2))


TABLES: dict[str, Callable[[dict], str]] = {
    "tiers": tiers,
    "peers": peers,
    "real_precision": real_precision,
    "error_bars": error_bars,
    "restoration": restoration,
    "multislice": multislice,
    "mosaic": mosaic,
    "thickness": thickness,
}


def main() -> int:
    for name in sys.argv[1:] or list(TABLES):
        path = RESULTS / f"{name}.json"
        if name not in TABLES or not path.is_file():
            print(f"{name}: no {path.name} in benchmarks/results; run benchmarks/accuracy/{name}.py first")
            continue
        stored = json.loads(path.read_text(encoding="utf-8"))
        told = stored["run"]
        print(f"## {name}\n\n{TABLES[name](stored)}\n")
        print(
            f"Model {stored['model']}, commit {told['commit']}, {told['date'][:10]}, {told['machine']['processor']}.\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
