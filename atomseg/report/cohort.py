"""The page of a batch: all micrographs in one table, their thickness, and the groups where there are any."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from atomseg.report.cohort_tables import difference_table, group_table
from atomseg.report.gather import MAPPED, count_newer, micrograph_curves, number, read_cohort, thumbnail_uri
from atomseg.report.plot_library import library_packed, render, script_json
from atomseg.report.style import PHASE_COLORS
from atomseg.types import Phase

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
        classes=sorted({text for row in rows if (text := _class(row))}),
        cohort=cohort,
        newer=0 if cohort is None or output is None else count_newer(rows, output),
        groups=None if cohort is None else group_table(cohort),
        differences=None if cohort is None else difference_table(cohort),
        plots=bool(curves or (cohort and cohort.get("groups"))),
        data=script_json({"curves": curves, "micrographs": _means(rows), "cohort": _drawn(cohort)}),
        packed=library_packed(),
        library="",
    )


def _table_row(row: Mapping[str, Any], output: Path | None, top: float) -> dict[str, Any]:
    folder = quote(str(row["folder"]))
    place = None if output is None else output / str(row["folder"])
    page = "overview.png" if place is not None and not (place / "page.html").is_file() else "page.html"
    return {
        "name": _name(row),
        "link": f"{folder}/{page}",
        "picture": (thumbnail_uri(place) if place else "") or f"{folder}/overview.png",
        "columns": number(row, "n_columns"),
        "sigma": number(row, "median_sigma_pm"),
        "shares": _shares(row),
        "thickness": _thickness(row),
        "depth": _headline(row)[0],
        "range": _range(row, top),
        "class": _class(row),
        "differ": _differ(row),
        "certainty": None if _differ(row) else number(row, "class_probability"),
        "faults": number(row, "n_faults"),
        "warnings": [line for line in _text(row, "warnings").split(" | ") if line],
    }


def _tiles(rows: Sequence[Mapping[str, Any]], counts: Counter[str]) -> list[tuple[str, str]]:
    mapped = [row for row in rows if row["status"] in MAPPED]
    columns = sum(int(number(row, "n_columns") or 0) for row in mapped)
    surfaces = sum((number(row, "n_surfaces") or 0) > 0 for row in mapped)
    classes = Counter(text for row in mapped if (text := _class(row)))
    differ = sum(map(_differ, mapped))
    lost = sum(n for status, n in counts.items() if status not in MAPPED)
    open_ = surfaces - sum(classes.values())
    tiles = [(f"{len(mapped):,}", "mapped"), (f"{columns:,}", "atomic columns"), (f"{surfaces:,}", "show a surface")]
    tiles += [(f"{classes[name]:,}", name) for name in ("thin", "intermediate", "thick") if classes[name]]
    tiles += [(f"{open_:,}", "class not decided")] if open_ > 0 else []
    tiles += [(f"{differ:,}", "of these with surfaces that differ")] if differ else []
    return [*tiles, (f"{lost:,}", "failed or refused")] if lost else tiles


def _differ(row: Mapping[str, Any]) -> bool:
    return _text(row, "surfaces_differ").lower() == "true"


def _class(row: Mapping[str, Any]) -> str:
    """Class of a micrograph; where its surfaces differ, that of the thickest."""
    return _text(row, "thickest_surface_class" if _differ(row) else "class")


def _headline(row: Mapping[str, Any]) -> tuple[float | None, bool]:
    """Thickness and whether it is a lower bound; where the surfaces differ, of the thickest: pooled it is of none."""
    if _differ(row):
        return number(row, "thickest_surface_nm"), _text(row, "thickest_surface_censored").lower() == "true"
    mean = number(row, "thickness_mean_nm")
    if mean is None:
        return number(row, "thickness_lower_bound_nm"), True
    return mean, _text(row, "censored").lower() == "true"


def _spread(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """5th and 95th percentile along the surface; none where they would be those of surfaces that differ."""
    return (None, None) if _differ(row) else (number(row, "thickness_p05_nm"), number(row, "thickness_p95_nm"))


def _thickness(row: Mapping[str, Any]) -> list[str]:
    """The headline, a line a surface where they differ."""
    if _differ(row):
        return _text(row, "surfaces").split(", ")
    told, bound = _headline(row)
    if told is None:
        return []
    text, (low, high) = f"{'at least ' if bound else ''}{told:.1f} nm", _spread(row)
    return [text if low is None or high is None else f"{text} [{low:.1f} to {high:.1f}]"]


def _range(row: Mapping[str, Any], top: float) -> dict[str, float] | None:
    """Places of a dot and a bar on a scale that all rows share; an open end where the layer is a lower bound."""
    middle, bound = _headline(row)
    if middle is None:
        return None
    low, high = _spread(row)
    scale = (_WIDTH - 16.0) / top
    return {
        "dot": 4 + scale * middle,
        "low": 4 + scale * (middle if low is None else low),
        "high": 4 + scale * (middle if high is None else high),
        "open": float(bound),
        "thin": 4 + scale * 5.0,
        "thick": 4 + scale * 20.0,
        "width": _WIDTH,
    }


def _largest(rows: Sequence[Mapping[str, Any]]) -> float:
    keys = ("thickness_mean_nm", "thickness_p95_nm", "thickness_lower_bound_nm", "thickest_surface_nm")
    return max((value for row in rows for key in keys if (value := number(row, key)) is not None), default=0.0) or 6.0


def _shares(row: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(colour, name, share) of the phases that are there."""
    shares = ((phase, number(row, phase.key) or 0.0) for phase in Phase if phase is not Phase.NONE)
    return [(PHASE_COLORS[phase], phase.label, share) for phase, share in shares if share > 0.0]


def _means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Thickness of each micrograph for the plot of them all."""
    told = []
    for row in rows:
        value, bound = _headline(row)
        if row["status"] in MAPPED and value is not None:
            low, high = _spread(row)
            told.append({"name": str(row["folder"]), "value": value, "seen": not bound, "low": low, "high": high,
                         "class": _class(row), "link": f"{quote(str(row['folder']))}/page.html"})  # fmt: skip
    return told


def _drawn(cohort: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Groups with what is drawn of them; a particle whose median lies deeper than its view has the depth of that."""
    if cohort is None:
        return None
    return [
        {
            "name": f"{group['group']}, {group['surface_kind'].replace('_', ' ')}",
            "curve": group["curve"],
            "median": next((e for e in group["outcomes"] if e["outcome"] == "median"), None),
            "particles": [
                {"name": particle["particle"], "value": particle["values"].get("median"),
                 "view": particle.get("view_nm"), "images": particle["images"]}
                for particle in group["particles"]
            ],
        }
        for group in cohort.get("groups", ())
        if group["curve"]
    ]  # fmt: skip


def _name(row: Mapping[str, Any]) -> str:
    return str(row["folder"] or row["file"])


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)
