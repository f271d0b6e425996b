"""The page of a batch: all micrographs in one table, their thickness, and the groups where there are any."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atomseg.report.gather import MAPPED, micrograph_curves, number, read_cohort, thumbnail_uri
from atomseg.report.library import library_packed, render, script_json
from atomseg.report.style import PHASE_COLORS
from atomseg.types import Phase

# Names of the outcomes in cohort.json for people, in the order of the table.
_OUTCOMES = {
    "median": "median thickness",
    "restricted_mean": "restricted mean thickness",
    "p25": "lower quartile",
    "p75": "upper quartile",
    "beyond_5nm": "surface with more than 5 nm",
    "beyond_20nm": "surface with more than 20 nm",
    "rocksalt": "rocksalt",
    "o1": "O1",
    "layered": "R-3m",
    "unresolved": "unresolved",
    "fault_density": "O1 faults",
}
_WIDTH = 150.0  # of the little range drawing, in its own units


def cohort_html(rows: Sequence[Mapping[str, Any]], output: Path | None = None) -> str:
    """A page that opens offline, of one file.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of summary.csv; links are relative to the folder that holds the page.
    output : pathlib.Path, optional
        That folder: pictures, thickness curves and ``cohort.json`` are read from there. None makes a page of the rows
        alone.
    """
    counts = Counter(str(row["status"]) for row in rows)
    cohort, problem = (None, "") if output is None else read_cohort(output)
    curves = [] if output is None else micrograph_curves(rows, output)
    top = _largest(rows)
    return render(
        "report.html",
        title=f"{len(rows)} micrograph{'' if len(rows) == 1 else 's'}",
        told=", ".join(f"{n} {status}" for status, n in counts.items()) or "no micrographs",
        problem=problem,
        tiles=_tiles(rows, counts),
        phases=[(PHASE_COLORS[phase], phase.label) for phase in Phase if phase is not Phase.NONE],
        rows=[_table_row(row, output, top) for row in rows if row["status"] in MAPPED],
        failures=[(_name(row), str(row["status"]), str(row["reason"])) for row in rows if row["status"] not in MAPPED],
        classes=sorted({text for row in rows if (text := _text(row, "class"))}),
        cohort=cohort,
        estimates=[] if cohort is None else _estimates(cohort),
        differences=[] if cohort is None else [_difference(entry) for entry in cohort.get("differences", ())],
        plots=bool(curves or (cohort and cohort.get("groups"))),
        data=script_json({"curves": curves, "micrographs": _means(rows), "cohort": _drawn(cohort)}),
        packed=library_packed(),
        library="",
    )


def _table_row(row: Mapping[str, Any], output: Path | None, top: float) -> dict[str, Any]:
    folder = quote(str(row["folder"]))
    place = None if output is None else output / str(row["folder"])
    page = "overview.png" if place is not None and not (place / "page.html").is_file() else "page.html"
    thickness = number(row, "thickness_mean_nm")
    bound = number(row, "thickness_lower_bound_nm")
    return {
        "name": _name(row),
        "link": f"{folder}/{page}",
        "picture": (thumbnail_uri(place) if place else "") or f"{folder}/overview.png",
        "columns": number(row, "n_columns"),
        "sigma": number(row, "median_sigma_pm"),
        "shares": _shares(row),
        "thickness": _thickness(row),
        "depth": thickness if thickness is not None else bound,
        "range": _range(row, top),
        "class": _text(row, "class"),
        "certainty": number(row, "class_probability"),
        "faults": number(row, "n_faults"),
        "warnings": [line for line in _text(row, "warnings").split(" | ") if line],
    }


def _tiles(rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> list[tuple[str, str]]:
    mapped = [row for row in rows if row["status"] in MAPPED]
    columns = sum(int(number(row, "n_columns") or 0) for row in mapped)
    surfaces = sum((number(row, "n_surfaces") or 0) > 0 for row in mapped)
    classes = Counter(text for row in mapped if (text := _text(row, "class")))
    lost = sum(n for status, n in counts.items() if status not in MAPPED)
    tiles = [(f"{len(mapped):,}", "mapped"), (f"{columns:,}", "atomic columns"), (f"{surfaces:,}", "show a surface")]
    tiles += [(f"{classes[name]:,}", name) for name in ("thin", "intermediate", "thick") if classes[name]]
    return [*tiles, (f"{lost:,}", "failed or refused")] if lost else tiles


def _thickness(row: Mapping[str, Any]) -> str:
    mean, bound = number(row, "thickness_mean_nm"), number(row, "thickness_lower_bound_nm")
    if mean is None:
        return "" if bound is None else f"at least {bound:.1f} nm"
    text = f"{'at least ' if _text(row, 'censored').lower() == 'true' else ''}{mean:.1f} nm"
    low, high = number(row, "thickness_p05_nm"), number(row, "thickness_p95_nm")
    return text if low is None or high is None else f"{text} [{low:.1f} to {high:.1f}]"


def _range(row: Mapping[str, Any], top: float) -> dict[str, float] | None:
    """Places of a dot and a bar on a scale that all rows share; an open end where the layer is a lower bound."""
    mean, bound = number(row, "thickness_mean_nm"), number(row, "thickness_lower_bound_nm")
    middle = mean if mean is not None else bound
    if middle is None:
        return None
    low, high = number(row, "thickness_p05_nm"), number(row, "thickness_p95_nm")
    scale = (_WIDTH - 16.0) / top
    return {
        "dot": 4 + scale * middle,
        "low": 4 + scale * (middle if low is None else low),
        "high": 4 + scale * (middle if high is None else high),
        "open": float(mean is None or _text(row, "censored").lower() == "true"),
        "thin": 4 + scale * 5.0,
        "thick": 4 + scale * 20.0,
        "width": _WIDTH,
    }


def _largest(rows: Sequence[Mapping[str, Any]]) -> float:
    keys = ("thickness_mean_nm", "thickness_p95_nm", "thickness_lower_bound_nm")
    return max((value for row in rows for key in keys if (value := number(row, key)) is not None), default=0.0) or 6.0


def _shares(row: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(colour, name, share) of the phases that are there."""
    shares = ((phase, number(row, phase.key) or 0.0) for phase in Phase if phase is not Phase.NONE)
    return [(PHASE_COLORS[phase], phase.label, share) for phase, share in shares if share > 0.0]


def _means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Thickness of each micrograph for the plot of them all."""
    told = []
    for row in rows:
        mean, bound = number(row, "thickness_mean_nm"), number(row, "thickness_lower_bound_nm")
        if row["status"] in MAPPED and (mean is not None or bound is not None):
            seen = mean is not None and _text(row, "censored").lower() != "true"
            told.append({"name": str(row["folder"]), "value": mean if mean is not None else bound, "seen": seen,
                         "low": number(row, "thickness_p05_nm"), "high": number(row, "thickness_p95_nm"),
                         "class": _text(row, "class"), "link": f"{quote(str(row['folder']))}/page.html"})  # fmt: skip
    return told


def _drawn(cohort: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Groups with what is drawn of them."""
    if cohort is None:
        return None
    return [
        {
            "name": f"{group['group']}, {group['surface_kind']}",
            "curve": group["curve"],
            "particles": [
                {"name": particle["particle"], "value": particle["values"].get("median"),
                 "mean": particle["values"].get("restricted_mean"), "images": particle["images"]}
                for particle in group["particles"]
            ],
        }
        for group in cohort.get("groups", ())
        if group["curve"]
    ]  # fmt: skip


def _estimates(cohort: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a group, kind of surface and outcome, in words."""
    told = []
    for group in cohort.get("groups", ()):
        by_name = {entry["outcome"]: entry for entry in group["outcomes"]}
        for name, label in _OUTCOMES.items():
            entry = by_name.get(name)
            if entry is None or (entry["estimate"] is None and not entry["bound"]):
                continue
            counts = entry["counts"]
            told.append(
                {
                    "group": group["group"],
                    "kind": group["surface_kind"],
                    "outcome": label,
                    "value": _estimate(entry),
                    "n": f"{counts['particles']} / {counts['images']} / {counts['points']}",
                    "note": "descriptive only" if group["descriptive_only"] else "",
                }
            )
    return told


def _estimate(entry: Mapping[str, Any]) -> str:
    unit = entry["unit"]
    scale, suffix, digits = (100.0, " %", 1) if unit == "share" else (1.0, f" {unit}", 3 if unit == "1/nm" else 1)

    def shown(value: float) -> str:
        return f"{scale * value:.{digits}f}"

    low, high = entry["lower"], entry["upper"]
    if entry["bound"] == "beyond_view":
        return f"more than {shown(low)}{suffix}" if low is not None else "beyond the view"
    if entry["bound"] == "below_detection":
        return f"below {shown(high)}{suffix}" if high is not None else "below detection"
    text = f"{shown(entry['estimate'])}{suffix}"
    if low is None and high is None:
        return text
    return f"{text} [{'open' if low is None else shown(low)} to {'open' if high is None else shown(high)}]"


def _difference(entry: Mapping[str, Any]) -> dict[str, str]:
    test = str(entry["test"])
    if entry["p_value"] is not None:
        test += f", p = {entry['p_value']:.3g}"
        if entry["p_holm"] is not None:
            test += f" (Holm {entry['p_holm']:.3g})"
    value = "not reached" if entry["estimate"] is None else _estimate({**entry, "bound": ""})
    return {
        "outcome": _OUTCOMES.get(entry["outcome"], str(entry["outcome"]).replace("_", " ")),
        "pair": f"{', '.join(entry['first'])} − {', '.join(entry['second'])}",
        "value": value,
        "test": test,
        "n": " and ".join(str(n) for n in entry["particles"]),
    }


def _name(row: Mapping[str, Any]) -> str:
    return str(row["folder"] or row["file"])


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)
