"""The batch as a table (summary.csv) and as a page (report.html), each written whole after every file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from atomseg.batch.work import Outcome
from atomseg.errors import OutputError
from atomseg.report import cohort_html

SUMMARY_FIELDS = (
    "file",
    "folder",
    "status",
    "reason",
    "pixel_size_y_nm",
    "pixel_size_x_nm",
    "pixel_size_origin",
    "n_columns",
    "median_sigma_pm",
    "layered",
    "rocksalt",
    "o1",
    "unresolved",
    "thickness_mean_nm",
    "thickness_p05_nm",
    "thickness_p95_nm",
    "thickness_lower_bound_nm",
    "censored",
    "class",
    "class_probability",
    "n_surfaces",
    "n_faults",
    "warnings",
    "seconds",
)


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """One row of summary.csv."""
    row: dict[str, Any] = dict.fromkeys(SUMMARY_FIELDS)
    row.update(file=outcome.source, folder=outcome.folder, status=outcome.status, reason=outcome.reason)
    if outcome.summary:
        row.update(_numbers(outcome.summary))
    return row


def read_summary_table(path: Path) -> list[dict[str, Any]]:
    """Rows of an earlier summary.csv; none when there is no such file.

    Raises
    ------
    OutputError
        If the file is there but is not a summary.
    """
    if not path.exists():
        return []
    try:
        table = pd.read_csv(path, dtype=object, keep_default_na=False)
    except (OSError, ValueError) as exc:
        raise OutputError(f"{path} can not be read: {' '.join(str(exc).split())}; move it away") from exc
    if not {"file", "folder", "status"}.issubset(table.columns):
        raise OutputError(f"{path} is not a summary written by atomseg; move it away or choose another output folder")
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def merge_rows(
    earlier: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]], output: Path
) -> list[dict[str, Any]]:
    """Rows of this run, and of earlier runs where their result is still there and this run says nothing of it."""
    new = [dict(row) for row in rows]
    told = {row["folder"] for row in new} | {row["file"] for row in new}
    kept = [
        dict(row)
        for row in earlier
        if row["folder"] not in told and row["file"] not in told and (output / str(row["folder"])).is_dir()
    ]
    return [*kept, *new]


def write_cohort(rows: list[dict[str, Any]], output: Path) -> None:
    """Write summary.csv and report.html, each replaced in one step.

    Raises
    ------
    OutputError
        If they can not be written.
    """
    table = pd.DataFrame(rows, columns=list(SUMMARY_FIELDS), dtype=object)
    _replace(output / "summary.csv", table.to_csv(index=False, lineterminator="\n"))
    _replace(output / "report.html", cohort_html(rows, output))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    except OSError as exc:
        raise OutputError(f"{path} can not be written: {exc.strerror or exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    thickness = summary.get("thickness") or {}
    fractions = summary["phase_fractions"]
    pixel_y, pixel_x = summary["calibration"]["pixel_size_nm"]
    kind = thickness.get("class")
    return {
        "pixel_size_y_nm": pixel_y,
        "pixel_size_x_nm": pixel_x,
        "pixel_size_origin": summary["calibration"]["origin"],
        "n_columns": summary["columns"]["n"],
        "median_sigma_pm": _rounded(summary["columns"]["median_sigma_pm"], 2),
        **{key: _rounded(fractions.get(key), 4) for key in ("layered", "rocksalt", "o1", "unresolved")},
        "thickness_mean_nm": _rounded(thickness.get("mean_nm"), 3),
        "thickness_p05_nm": _rounded(thickness.get("p05_nm"), 3),
        "thickness_p95_nm": _rounded(thickness.get("p95_nm"), 3),
        "thickness_lower_bound_nm": _rounded(thickness.get("lower_bound_nm"), 3),
        "censored": thickness.get("censored"),
        "class": kind,
        "class_probability": _rounded((thickness.get("class_probability") or {}).get(kind), 3) if kind else None,
        "n_surfaces": len(thickness.get("surfaces") or ()),
        "n_faults": summary["faults"]["n"],
        "warnings": " | ".join(summary.get("warnings") or ()),
        "seconds": summary["provenance"]["seconds"],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
