"""The batch as a table (summary.csv) and as a page (report.html), each replaced in one step.

The table says what is in the output folder: one row a result, and one a file that could not be mapped. Several runs may
write the same one: each reads it, adds what it knows and replaces it while it holds the lock of the table.
"""

import csv
import io
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from atomseg.batch.claims import table_lock
from atomseg.batch.work import Outcome, read_result_summary
from atomseg.errors import OutputError
from atomseg.io import is_result_folder, replace_file, surfaces_from
from atomseg.report import cohort_html, surfaces_line
from atomseg.types import ThicknessSummary
from atomseg.types.reconstruction import by_thickness, surfaces_differ

# The page of a large batch takes longer to write than its table, and nobody looks at it every second. However many
# results there are, and however slow the disk is, the batch spends at most a twentieth of its time on it.
_PAGE_SECONDS = 10.0
_PAGE_SHARE = 0.05
_WITH_RESULT = frozenset({"done", "skipped"})

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
    "surfaces_differ",
    "thickest_surface_nm",
    "thickest_surface_censored",
    "thickest_surface_class",
    "surfaces",
    "n_faults",
    "warnings",
    "seconds",
)


class CohortTable:
    """summary.csv and report.html of an output folder, kept up while outcomes come.

    Parameters
    ----------
    output : pathlib.Path
        Output folder.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._untold: dict[str, dict[str, Any]] = {}
        self._page_due = -math.inf

    def begin(self) -> None:
        """Bring an earlier table in line with the folder: a killed run may have left results without a row.

        Raises
        ------
        OutputError
            If there is a summary.csv that is not one of atomseg.
        """
        if read_summary_table(self._output / "summary.csv") or any(_result_folders(self._output)):
            with suppress(OutputError):  # a full disk: the files are tried all the same
                self._write(in_line=True)

    def tell(self, outcomes: Iterable[Outcome]) -> None:
        """Add outcomes; while the disk is full they wait for the next call."""
        self._untold.update({outcome.folder: outcome_row(outcome) for outcome in outcomes})
        with suppress(OutputError):
            self._write(in_line=False)

    def end(self) -> None:
        """Write table and page for the last time.

        Raises
        ------
        OutputError
            If they can not be written.
        """
        if self._untold or (self._output / "summary.csv").exists():
            self._page_due = -math.inf
            self._write(in_line=True)

    def _write(self, *, in_line: bool) -> None:
        path = self._output / "summary.csv"
        with table_lock(self._output):
            earlier = read_summary_table(path)
            if in_line:
                _remove_temporary(self._output)
                earlier = with_found_results(earlier, self._output)
            rows = merge_rows(earlier, self._untold.values(), self._output)
            write_summary_table(rows, path)
            self._untold.clear()
            began = time.monotonic()
            if began >= self._page_due:
                replace_file(self._output / "report.html", cohort_html(rows, self._output).encode())
                ended = time.monotonic()
                self._page_due = ended + max(_PAGE_SECONDS, (ended - began) / _PAGE_SHARE)


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """One row of summary.csv: an earlier result that still holds is as done as one of this run."""
    found = outcome.status in _WITH_RESULT
    row: dict[str, Any] = dict.fromkeys(SUMMARY_FIELDS)
    row.update(file=outcome.source, folder=outcome.folder)
    row.update(status="done" if found else outcome.status, reason="" if found else outcome.reason)
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
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows, names = list(reader), reader.fieldnames or ()
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as exc:
        raise OutputError(f"{path} can not be read: {' '.join(str(exc).split())}; move it away") from exc
    if not {"file", "folder", "status"}.issubset(names):
        raise OutputError(f"{path} is not a summary written by atomseg; move it away or choose another output folder")
    return rows


def with_found_results(rows: Sequence[Mapping[str, Any]], output: Path) -> list[dict[str, Any]]:
    """The rows, and one for every result that has none, or whose row tells of a failure before it."""
    by_folder = {str(row["folder"]): dict(row) for row in rows}
    written = 0
    with suppress(FileNotFoundError):
        written = (output / "summary.csv").stat().st_mtime_ns
    for folder in _result_folders(output):
        row = by_folder.get(folder)
        if row is not None and row["status"] in _WITH_RESULT:
            continue
        with suppress(OSError, ValueError, KeyError, TypeError):
            if row is not None and (output / folder / "summary.json").stat().st_mtime_ns < written:
                continue  # the failure came later: an attempt to put another result in its place
            if not is_result_folder(output / folder):
                continue
            summary = read_result_summary(output / folder)
            source = str(summary["input"]["path"] or summary["input"]["name"])
            by_folder[folder] = outcome_row(Outcome(source, folder, "done", "", summary))
    return list(by_folder.values())


def merge_rows(
    earlier: Iterable[Mapping[str, Any]], rows: Iterable[Mapping[str, Any]], output: Path
) -> list[dict[str, Any]]:
    """Rows of this run, and earlier ones of which it says nothing and whose result is still there; by folder.

    An earlier failure stays until its file is told of again.
    """
    new = [dict(row) for row in rows]
    folders, files = {row["folder"] for row in new}, {row["file"] for row in new}

    def holds(row: Mapping[str, Any]) -> bool:
        if row["folder"] in folders:
            return False
        if row["status"] in _WITH_RESULT:
            return (output / str(row["folder"])).is_dir()
        return row["file"] not in files

    return sorted([*(dict(row) for row in earlier if holds(row)), *new], key=lambda row: str(row["folder"]))


def write_summary_table(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write summary.csv in one step.

    Raises
    ------
    OutputError
        If it can not be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_FIELDS)
    writer.writerows([_cell(row.get(name)) for name in SUMMARY_FIELDS] for row in rows)
    replace_file(path, text.getvalue().encode())


def _cell(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _result_folders(output: Path) -> Iterator[str]:
    """What look like result folders below an output folder, relative to it; not those of another one inside."""
    for place, folders, files in os.walk(output):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if here != output and ("summary.json" in files or "summary.csv" in files):
            folders.clear()
            if "summary.json" in files:
                yield here.relative_to(output).as_posix()


def _remove_temporary(output: Path) -> None:
    """Remove what a writer that was killed left; the lock of the table says that nobody writes now."""
    for name in ("summary.csv", "report.html"):
        for path in output.glob(f".{name}.*"):
            with suppress(OSError):
                path.unlink()


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
        **_surfaces(surfaces_from(summary.get("thickness"))),
        "n_faults": summary["faults"]["n"],
        "warnings": " | ".join(summary.get("warnings") or ()),
        "seconds": summary["provenance"]["seconds"],
    }


def _surfaces(surfaces: Mapping[int, ThicknessSummary]) -> dict[str, Any]:
    """What is said of the surfaces one by one; the numbers of all together hide a thick one beside a thin one."""
    if not surfaces:
        return {}
    _, thickest = by_thickness(surfaces)[0]
    return {
        "surfaces_differ": surfaces_differ(surfaces),
        "thickest_surface_nm": _rounded(thickest.least_nm, 3),
        "thickest_surface_censored": thickest.censored,
        "thickest_surface_class": thickest.thickness_class,
        "surfaces": surfaces_line(surfaces),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
