"""The statistics of groups as two tables for a page: groups by outcome, and differences by outcome."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

# Names of the outcomes in cohort.json for people, in the order of the tables.
OUTCOMES = {
    "median": "median thickness",
    "restricted_mean": "mean thickness",
    "p25": "quartiles",
    "beyond_5nm": "surface beyond 5 nm",
    "beyond_20nm": "surface beyond 20 nm",
    "layered": "R-3m",
    "rocksalt": "rocksalt",
    "o1": "O1",
    "unresolved": "unresolved",
    "fault_density": "O1 faults",
}
# Factor, unit and digits by the unit in cohort.json.
_UNITS = {"share": (100.0, " %", 1), "1/nm": (1.0, " /nm", 3)}
_QUARTILES = ("p25", "p75")
_POINTS = " pp"  # a difference of shares is no share

Cells = dict[str, Any]


def _names(there: Collection[str], tau_nm: float | None) -> list[tuple[str, str]]:
    """(key, name) of the outcomes that are there, in the order of the tables."""
    to = "" if tau_nm is None else f", cut at {tau_nm:.1f} nm"
    return [(key, name + (to if key == "restricted_mean" else "")) for key, name in OUTCOMES.items() if key in there]


def group_table(cohort: Mapping[str, Any]) -> dict[str, Any] | None:
    """Heading and rows of the table of groups; None where there is nothing in it.

    Parameters
    ----------
    cohort : mapping
        Content of cohort.json.
    """
    groups = cohort.get("groups", ())
    there = {entry["outcome"] for group in groups for entry in group["outcomes"] if _known(entry)}
    names = _names(there - {_QUARTILES[1]}, cohort.get("tau_nm"))
    rows = [_group_row(group, names) for group in groups]
    return {"names": [name for _, name in names], "rows": rows} if names else None


def _group_row(group: Mapping[str, Any], names: Sequence[tuple[str, str]]) -> Cells:
    entries = {entry["outcome"]: entry for entry in group["outcomes"] if _known(entry)}
    first = entries.get("median") or next(iter(entries.values()), None)
    counts = {} if first is None else first["counts"]
    share = counts.get("right_censored")
    return {
        "group": group["group"],
        "kind": str(group["surface_kind"]).replace("_", " "),
        "n": _n(counts),
        "bounds": "" if share is None else f"{100 * share:.0f} % lower bounds",
        "note": "descriptive only" if group["descriptive_only"] else "",
        "cells": [_cell_of(key, entries, counts) for key, _ in names],
    }


def _cell_of(key: str, entries: Mapping[str, Mapping[str, Any]], usual: Mapping[str, Any]) -> Cells | None:
    if key in _QUARTILES:
        told = [estimate_text(entries[name]) if name in entries else "unknown" for name in _QUARTILES]
        return {"value": told[0], "interval": told[1], "n": ""} if any(name in entries for name in _QUARTILES) else None
    return None if key not in entries else _cell(entries[key], usual)


def _cell(entry: Mapping[str, Any], usual: Mapping[str, Any]) -> Cells:
    """Value and interval of one outcome, and how much stands behind it where that is not what the row says."""
    counts = entry["counts"]
    n = f"{counts['particles']} / {counts['images']}"
    same = all(counts[key] == usual[key] for key in ("particles", "images"))
    return {"value": estimate_text(entry), "interval": interval_text(entry), "n": "" if same else f"n = {n}"}


def difference_table(cohort: Mapping[str, Any]) -> dict[str, Any] | None:
    """Heading and rows of the table of differences; None where there are none.

    Parameters
    ----------
    cohort : mapping
        Content of cohort.json.
    """
    entries = cohort.get("differences", ())
    names = _names({entry["outcome"] for entry in entries}, cohort.get("tau_nm"))
    pairs: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for entry in entries:
        pairs.setdefault((*entry["first"], *entry["second"]), {})[entry["outcome"]] = entry
    rows = [_difference_row(pair, told, names) for pair, told in pairs.items()]
    return {"names": [name for _, name in names], "rows": rows} if rows else None


def _difference_row(
    pair: tuple[str, ...], told: Mapping[str, Mapping[str, Any]], names: Sequence[tuple[str, str]]
) -> Cells:
    first, kind, second, other = (str(word).replace("_", " ") for word in pair)
    return {
        "pair": f"{first}: {kind} − {other}" if first == second else f"{first} − {second}",
        "kind": "" if first == second else kind,
        "n": " and ".join(str(n) for n in next(iter(told.values()))["particles"]) + " particles",
        "test": ", ".join(dict.fromkeys(str(entry["test"]) for entry in told.values() if entry["p_value"] is not None))
        or str(next(iter(told.values()))["test"]),
        "cells": [None if key not in told else _difference_cell(told[key]) for key, _ in names],
    }


def _difference_cell(entry: Mapping[str, Any]) -> Cells:
    p = "" if entry["p_value"] is None else f"p = {entry['p_value']:.2g}"
    if p and entry["p_holm"] is not None:
        p += f", Holm {entry['p_holm']:.2g}"
    if entry["estimate"] is None:
        return {"value": "not reached", "interval": interval_text(entry), "n": p}
    value = _shown(entry["estimate"], entry["unit"], sign=True)
    return {"value": value + _suffix(entry, points=True), "interval": interval_text(entry), "n": p}


def estimate_text(entry: Mapping[str, Any]) -> str:
    """The estimate with its unit, or the bound that is all that is known."""
    low, high, unit, suffix = entry["lower"], entry["upper"], entry["unit"], _suffix(entry)
    if entry["bound"] == "beyond_view":
        return f"more than {_shown(low, unit)}{suffix}" if low is not None else "beyond the view"
    if entry["bound"] == "below_detection":
        return f"below {_shown(high, unit)}{suffix}" if high is not None else "below detection"
    return f"{_shown(entry['estimate'], unit)}{suffix}"


def interval_text(entry: Mapping[str, Any]) -> str:
    """The interval in brackets; empty where there is none, or where a bound says it."""
    low, high, unit = entry["lower"], entry["upper"], entry["unit"]
    if (low is None and high is None) or entry.get("bound"):
        return ""
    return f"[{'open' if low is None else _shown(low, unit)} to {'open' if high is None else _shown(high, unit)}]"


def _known(entry: Mapping[str, Any]) -> bool:
    return entry["estimate"] is not None or bool(entry["bound"])


def _n(counts: Mapping[str, Any]) -> str:
    told = [(counts.get(key, 0), key) for key in ("particles", "images", "points")]
    return ", ".join(f"{n:,} {key if n != 1 else key[:-1]}" for n, key in told if n)


def _suffix(entry: Mapping[str, Any], *, points: bool = False) -> str:
    unit = entry["unit"]
    return _POINTS if points and unit == "share" else _UNITS[unit][1] if unit in _UNITS else f" {unit}"


def _shown(value: float, unit: str, *, sign: bool = False) -> str:
    scale, _, digits = _UNITS.get(unit, (1.0, "", 1))
    rounded = round(scale * value, digits) + 0.0  # no minus before a zero
    text = f"{abs(rounded):.{digits}f}"
    return ("−" if rounded < 0 else "+" if sign and rounded > 0 else "") + text
