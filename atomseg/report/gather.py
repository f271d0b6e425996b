"""What the cohort's page shows beyond summary.csv: small pictures, thickness curves, statistics of the groups."""

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.measure.statistics import kaplan_meier

MAPPED = frozenset({"done", "skipped"})
_CURVE_STEPS = 60


def thumbnail_uri(folder: Path) -> str:
    """The small picture of a result as a data URI; empty where there is none."""
    try:
        content = (folder / "thumbnail.jpg").read_bytes()
    except OSError:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def thickness_points(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N,) thickness in nm and (N,) event of a result's surface points; empty where there are none."""
    try:
        with (folder / "thickness.csv").open(newline="", encoding="utf-8") as stream:
            pairs = [(float(row["thickness_nm"]), int(float(row["event"]))) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError):
        pairs = []  # no result, or one that is being written: the page leaves its curve out
    values = np.array(pairs, dtype=float).reshape(-1, 2)
    known = np.isfinite(values[:, 0])
    return values[known, 0], values[known, 1].astype(int)


def micrograph_curves(rows: Sequence[Mapping[str, Any]], output: Path) -> list[dict[str, Any]]:
    """Share of each micrograph's surface whose layer goes beyond a depth (Kaplan-Meier), with its end in view.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of summary.csv.
    output : pathlib.Path
        The folder that they are relative to.
    """
    curves = []
    for row in rows:
        if row["status"] not in MAPPED:
            continue
        value, event = thickness_points(output / str(row["folder"]))
        if len(value):
            curves.append({"name": str(row["folder"]), **survival_curve(value, event)})
    return curves


def survival_curve(value: np.ndarray, event: np.ndarray) -> dict[str, list[float]]:
    """Depths and the share beyond them as a staircase; it ends at the largest depth that was seen.

    Parameters
    ----------
    value : numpy.ndarray
        (N,) thickness, nm; lower bounds where censored.
    event : numpy.ndarray
        (N,) 1 where the end was seen.
    """
    times, beyond = kaplan_meier(value, event)
    end = float(value.max())
    if len(times) > _CURVE_STEPS:
        # Fewer steps for the eye; the values are those of the full curve.
        depths = np.linspace(0.0, end, _CURVE_STEPS)
        place = np.searchsorted(times, depths, side="right")
        shares = np.concatenate([[1.0], beyond])[place]
    else:
        steps = np.concatenate([[1.0], beyond])
        depths, shares = np.concatenate([[0.0], times, [end]]), np.concatenate([steps, steps[-1:]])
    return {"depth": [round(float(d), 3) for d in depths], "beyond": [round(float(s), 4) for s in shares]}


def read_cohort(output: Path) -> tuple[dict[str, Any] | None, str]:
    """Content of cohort.json, and why it could not be used where it is there but can not be read."""
    path = output / "cohort.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as exc:
        return None, f"{path.name} can not be read ({' '.join(str(exc).split())}): say atomseg report again"
    if not isinstance(content, dict) or not str(content.get("schema", "")).startswith("atomseg.cohort/1"):
        return None, f"{path.name} is of another version: say atomseg report again"
    return content, ""


def count_newer(rows: Sequence[Mapping[str, Any]], output: Path) -> int:
    """Micrographs that were mapped after cohort.json was written, so that its groups do not hold them."""

    def written_ns(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except OSError:
            return 0

    told = written_ns(output / "cohort.json")
    summaries = (output / str(row["folder"]) / "summary.json" for row in rows if row["status"] in MAPPED)
    return sum(written_ns(path) > told for path in summaries)


def number(row: Mapping[str, Any], key: str) -> float | None:
    """A number of summary.csv, also as read back as text; None where it is empty."""
    value = row.get(key)
    if value is None or value == "":
        return None
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        return None
    return parsed if math.isfinite(parsed) else None
