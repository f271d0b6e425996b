"""The numbers of a result in words, as they stand in the figure and on the screen."""

import math
from collections.abc import Mapping

import numpy as np

from atomseg.types import AnalysisRecord, Phase, ReconstructionProfile, ThicknessSummary, Verdict
from atomseg.types.reconstruction import by_thickness, surfaces_differ

# More surfaces than this are counted, not listed; the thickest are.
MOST_SURFACES = 4


def thickness_text(record: AnalysisRecord) -> str:
    """The reconstruction layer in one line; surface by surface where their classes differ."""
    summary = record.thickness.summary
    if summary is None:
        return "no surface in view"
    if surfaces_differ(record.thickness.surfaces):
        return "; ".join(surface_lines(record.thickness))
    return summary_text(summary)


def surface_rows(profile: ReconstructionProfile, most: int = MOST_SURFACES) -> list[tuple[str, str]]:
    """Name, and thickness with class, of each surface, the thickest first."""
    ordered = by_thickness(profile.surfaces)
    rows = [(f"Surface {key}", _told(summary)) for key, summary in ordered[:most]]
    return [*rows, (f"and {len(ordered) - most} more", "")] if len(ordered) > most else rows


def surface_lines(profile: ReconstructionProfile, most: int = MOST_SURFACES) -> list[str]:
    """A line a surface, the thickest first; without its name where there is only one."""
    rows = surface_rows(profile, most)
    if len(profile.surfaces) <= 1:
        return [told for _, told in rows] or ["no surface in view"]
    return [f"{name.lower()}: {told}" if told else name for name, told in rows]


def _told(summary: ThicknessSummary) -> str:
    kind = "class not decided" if summary.thickness_class is None else class_text(summary)
    return f"{summary_text(summary)}, {kind}"


def surfaces_line(surfaces: Mapping[int, ThicknessSummary]) -> str:
    """Each surface with its thickness and class in a few words, the thickest first."""
    told = []
    for key, summary in by_thickness(surfaces):
        bound = "at least " if summary.censored else ""
        thickness = "not measurable" if summary.least_nm is None else f"{bound}{summary.least_nm:.1f} nm"
        told.append(f"surface {key}: {thickness} ({summary.thickness_class or 'class not decided'})")
    return ", ".join(told)


def summary_text(summary: ThicknessSummary) -> str:
    """Mean with its range; a lower bound where most of the layer leaves the view."""
    if summary.mean_nm is None:
        if summary.lower_bound_nm is None:
            return "not measurable"
        return f"at least {summary.lower_bound_nm:.1f} nm"
    text = f"{'at least ' if summary.censored else ''}{summary.mean_nm:.1f} nm mean"
    if summary.p05_nm is not None and summary.p95_nm is not None:
        text += f" [{summary.p05_nm:.1f} to {summary.p95_nm:.1f}, 5-95 %]"
    return text


def class_text(summary: ThicknessSummary) -> str:
    """The class with its probability."""
    if summary.thickness_class is None:
        return "not decided"
    probability = summary.class_probability.get(summary.thickness_class, math.nan)
    return f"{summary.thickness_class} (p = {probability:.2f})"


def phases_text(record: AnalysisRecord) -> str:
    """Shares of the crystal's area."""
    fractions = record.phases.fractions()
    shares = [
        f"{phase.label} {_percent(fractions[phase.key])}" for phase in Phase if fractions.get(phase.key, 0.0) > 0.0
    ]
    return ", ".join(shares) or "no crystal found"


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def checks_text(record: AnalysisRecord) -> str:
    """How many checks say what, and the names of those that are not ok."""
    told = [
        f"{verdict}: {', '.join(names)}"
        for verdict in (Verdict.STOP, Verdict.WARN)
        if (names := [check.name for check in record.checks if check.verdict is verdict])
    ]
    fine = sum(check.verdict is Verdict.OK for check in record.checks)
    return "; ".join([*told, f"{fine} ok"]).replace("_", " ")


def result_rows(record: AnalysisRecord) -> list[tuple[str, str]]:
    """Names and values of the numbers that belong beside the picture."""
    size_y, size_x = (1e3 * size for size in record.micrograph.calibration.pixel_size_nm)
    size = (
        f"{size_x:.2f} pm" if math.isclose(size_x, size_y, rel_tol=1e-4) else f"{size_y:.2f} x {size_x:.2f} pm (y, x)"
    )
    height, width = record.micrograph.shape
    sigma = np.nanmedian(record.localized.sigma_nm) * 1e3 if len(record.localized) else math.nan
    columns = str(len(record.localized))
    if math.isfinite(sigma):
        columns += f", standard error {sigma:.1f} pm (median)"
    rows = [
        ("Image", f"{width} x {height} px, {record.micrograph.frame} frame"),
        ("Pixel", f"{size} ({record.micrograph.calibration.origin})"),
        ("Columns", columns),
        ("Crystal", phases_text(record)),
        *_thickness_rows(record.thickness),
    ]
    faults = len(record.thickness.faults)
    if faults:
        rows.append(("O1 faults", str(faults)))
    rows.append(("Checks", checks_text(record)))
    rows.append(("Model", f"{record.provenance.model_id}, atomseg {record.provenance.version}"))
    return rows


def _thickness_rows(profile: ReconstructionProfile) -> list[tuple[str, str]]:
    summary = profile.summary
    if summary is None:
        return [("Thickness", "no surface in view")]
    faces = "" if len(profile.surfaces) <= 1 else f"{len(profile.surfaces)} surfaces, "
    points = ("Surface", f"{faces}{summary.n_points} points, {summary.censored_fraction:.0%} lower bounds")
    if surfaces_differ(profile.surfaces):
        # Pooled, they make a layer that is nowhere.
        return [*surface_rows(profile), points]
    return [("Thickness", summary_text(summary)), ("Class", class_text(summary)), points]


def warning_lines(record: AnalysisRecord) -> list[str]:
    """What a person must read, the reasons to judge nothing first."""
    stops = [check.message for check in record.checks if check.verdict is Verdict.STOP and check.message]
    return list(dict.fromkeys([*stops, *record.warnings]))


def defect_rows(record: AnalysisRecord) -> list[tuple[str, str]]:
    """Stacking and dislocations, where they were looked for."""
    rows = []
    stacking = record.phases.stacking
    if stacking.sequence:
        counts = ", ".join(f"{n} {label}" for label, n in stacking.counts.items() if n)
        rows.append(("Layers", f"{counts}; {stacking.twins} twin boundaries"))
        rows.append(("Stacking", stacking.sequence))
    if record.lattice is not None and len(record.lattice.dislocations):
        kinds = record.lattice.dislocations["kind"].value_counts()
        rows.append(("Dislocations", ", ".join(f"{n} {str(kind).replace('_', ' ')}" for kind, n in kinds.items())))
    return rows
