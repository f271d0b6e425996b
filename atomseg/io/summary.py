"""summary.json: what other programs read about one micrograph, and what is needed to load the result again."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from atomseg.types import (
    AnalysisRecord,
    Check,
    LatticeFrame,
    Micrograph,
    Provenance,
    ReconstructionProfile,
    ThicknessSummary,
    Verdict,
)

SCHEMA = "atomseg.summary/1"


def summarize(record: AnalysisRecord) -> dict[str, Any]:
    """The content of ``summary.json``, ready for JSON: plain types, None where a number is unknown.

    Parameters
    ----------
    record : AnalysisRecord
        The result of the pipeline.

    Returns
    -------
    dict
        Keys ``schema``, ``input``, ``calibration``, ``checks``, ``columns``, ``phase_fractions``, ``stacking``,
        ``thickness``, ``faults``, ``lattice``, ``dislocations``, ``warnings`` and ``provenance``.
    """
    calibration = record.micrograph.calibration
    summary = {
        "schema": SCHEMA,
        "input": input_dict(record.micrograph),
        "calibration": {"pixel_size_nm": list(calibration.pixel_size_nm), "origin": str(calibration.origin)},
        "checks": [check_dict(check) for check in record.checks],
        "columns": {"n": len(record.localized), "median_sigma_pm": _median_sigma_pm(record)},
        "phase_fractions": record.phases.fractions(),
        "stacking": dataclasses.asdict(record.phases.stacking),
        "thickness": thickness_dict(record.thickness),
        "faults": _faults(record),
        "lattice": record.lattice.summary if record.lattice else None,
        "dislocations": record.lattice.dislocation_summary if record.lattice else None,
        "warnings": list(record.warnings),
        "provenance": dataclasses.asdict(record.provenance),
    }
    return dict(json_ready(summary))


def input_dict(micrograph: Micrograph) -> dict[str, Any]:
    """Everything about a micrograph but its pixels and its calibration."""
    return {
        "path": micrograph.path,
        "name": micrograph.name,
        "sha256": micrograph.sha256,
        "shape": list(micrograph.shape),
        "frame": micrograph.frame,
        "n_frames": micrograph.n_frames,
        "n_invalid": 0 if micrograph.invalid is None else int(micrograph.invalid.sum()),
        "metadata": dict(micrograph.metadata),
        "warnings": list(micrograph.warnings),
    }


def check_dict(check: Check) -> dict[str, Any]:
    """One check."""
    return {"name": check.name, "value": check.value, "verdict": str(check.verdict), "message": check.message}


def checks_from(entries: list[dict[str, Any]]) -> tuple[Check, ...]:
    """Checks from their dictionaries."""
    return tuple(Check(e["name"], e["value"], Verdict(e["verdict"]), e["message"]) for e in entries)


def thickness_dict(profile: ReconstructionProfile) -> dict[str, Any] | None:
    """All surfaces together, with each surface below ``surfaces``; None when no surface is in view."""
    if profile.summary is None:
        return None
    surfaces = [{"surface_id": int(key), **_thickness(value)} for key, value in sorted(profile.surfaces.items())]
    return {**_thickness(profile.summary), "surfaces": surfaces}


def thickness_from(entry: Mapping[str, Any]) -> ThicknessSummary:
    """One surface from its dictionary."""
    names = {field.name: field.name for field in dataclasses.fields(ThicknessSummary)} | {"thickness_class": "class"}
    # A result of an earlier version lacks what has a default.
    return ThicknessSummary(**{name: entry[key] for name, key in names.items() if key in entry})


def surfaces_from(thickness: Mapping[str, Any] | None) -> dict[int, ThicknessSummary]:
    """Each surface by its id from ``thickness`` of ``summary.json``; none where that is None."""
    entries = () if thickness is None else thickness.get("surfaces") or ()
    return {int(entry["surface_id"]): thickness_from(entry) for entry in entries}


def _thickness(summary: ThicknessSummary) -> dict[str, Any]:
    entry = dataclasses.asdict(summary)
    return {("class" if name == "thickness_class" else name): value for name, value in entry.items()}


def frame_dict(frame: LatticeFrame) -> dict[str, Any]:
    """One lattice frame."""
    return dataclasses.asdict(frame)


def frames_from(entries: list[dict[str, Any]]) -> tuple[LatticeFrame, ...]:
    """Lattice frames from their dictionaries."""
    return tuple(LatticeFrame(_pair(e["row_yx_nm"]), _pair(e["stack_yx_nm"]), int(e["n_columns"])) for e in entries)


def provenance_from(entry: Mapping[str, Any]) -> Provenance:
    """Provenance from its dictionary."""
    return Provenance(**{field.name: entry[field.name] for field in dataclasses.fields(Provenance)})


def _pair(values: Any) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _median_sigma_pm(record: AnalysisRecord) -> float | None:
    sigma = record.localized.sigma_nm * 1e3
    known = sigma[np.isfinite(sigma)]
    return round(float(np.median(known)), 3) if known.size else None


def _faults(record: AnalysisRecord) -> dict[str, Any]:
    """``faults``; without numbers where no pair of layers could be told faulted from not."""
    table = record.thickness.faults
    numbers = record.lattice.fault_summary if record.lattice else {}
    if len(table) == 0:
        none_found = None if numbers.get("classified_pairs") == 0 else 0
        found = {
            "n": none_found,
            "total_length_nm": None if none_found is None else 0.0,
            "nearest_surface_nm": None,
        }
    else:
        found = {
            "n": len(table),
            "total_length_nm": float(table["length_nm"].sum()),
            "nearest_surface_nm": float(table["surface_distance_nm"].min()),
        }
    return found | numbers


def json_ready(value: Any) -> Any:
    """The same content in types that JSON has; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
